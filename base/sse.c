/* See sse.h (WHATWG HTML §9.2.5 parsing, §9.2.6 interpretation). A line that lies whole in one
 * chunk is read where it lies; only a line cut by the end of a chunk is gathered in r->line. Bytes
 * are handed on as they are: a reader of data checks UTF-8 itself. */
#include "base/sse.h"

#include <assert.h>

enum { MAX_EVENT = 16 * 1024 * 1024, KEEP_BYTES = 64 * 1024 };

static const char bom[3] = {'\xEF', '\xBB', '\xBF'};

/* One call of sse_feed. */
struct feed {
    struct sse_reader *r;
    sse_event_fn fn;
    void *arg;
    struct err *e;
};

static void set_buf(struct buf *b, struct str s)
{
    b->n = 0;
    buf_add_str(b, s);
}

/* Empties a buffer, and gives back what one large event made it grow to. */
static void clear_buf(struct buf *b)
{
    b->n = 0;
    if (b->cap > KEEP_BYTES)
        buf_fini(b);
}

/* Digits only; what does not fit an int64 is as good as for ever. */
static void set_retry(struct sse_reader *r, struct str value)
{
    int64_t ms = 0;
    bool over = false;
    for (size_t i = 0; i < value.n; i++) {
        int digit = value.p[i] - '0';
        if (digit < 0 || digit > 9)
            return;
        over |= __builtin_mul_overflow(ms, 10, &ms) || __builtin_add_overflow(ms, digit, &ms);
    }
    if (value.n == 0)
        return;
    r->retry_ms = over ? INT64_MAX : ms;
    r->has_retry = true;
}

static void field(struct sse_reader *r, struct str name, struct str value)
{
    if (str_eq(name, STR("data"))) {
        if (r->has_data)
            buf_addc(&r->data, '\n');
        buf_add_str(&r->data, value);
        r->has_data = true;
    } else if (str_eq(name, STR("event"))) {
        set_buf(&r->type, value);
    } else if (str_eq(name, STR("id"))) {
        if (value.n && memchr(value.p, '\0', value.n))
            return;
        set_buf(&r->id, value);
        r->has_id = true;
    } else if (str_eq(name, STR("retry"))) {
        set_retry(r, value);
    }
}

/* The empty line that ends an event. One that carries only a type is none. */
static void dispatch(const struct feed *f)
{
    struct sse_reader *r = f->r;
    if (r->has_data || r->has_id || r->has_retry) {
        struct sse_event ev = {.type = buf_str(&r->type),
                               .data = buf_str(&r->data),
                               .id = buf_str(&r->id),
                               .has_id = r->has_id,
                               .retry_ms = r->has_retry ? r->retry_ms : -1};
        f->fn(&ev, f->arg);
    }
    clear_buf(&r->data);
    clear_buf(&r->type);
    r->has_data = r->has_id = r->has_retry = false;
}

/* A whole line without its end. */
static void line(const struct feed *f, struct str s)
{
    if (s.n == 0) {
        dispatch(f);
        return;
    }
    const char *colon = memchr(s.p, ':', s.n);
    if (!colon) {
        field(f->r, s, (struct str){0});
        return;
    }
    struct str name = {s.p, (size_t)(colon - s.p)};
    struct str value = {colon + 1, s.n - name.n - 1};
    if (value.n && value.p[0] == ' ')
        value.p++, value.n--;
    field(f->r, name, value);
}

/* Takes bytes of one line; its end comes with them when ends is true. Of a comment only the colon
 * is kept. */
static bool take(const struct feed *f, const char *p, size_t n, bool ends)
{
    struct sse_reader *r = f->r;
    bool comment = r->line.n ? r->line.p[0] == ':' : n && p[0] == ':';
    if (comment)
        n = r->line.n ? 0 : 1;
    size_t max = r->max_event_bytes ? r->max_event_bytes : MAX_EVENT;
    size_t held = r->data.n + r->line.n;
    if (!comment && (held > max || n > max - held))
        return err_set(f->e, ERR_TOO_LARGE, "event of more than %zu bytes", max);
    if (ends && r->line.n == 0) {
        line(f, (struct str){p, n});
        return true;
    }
    buf_add(&r->line, p, n);
    if (ends) {
        line(f, buf_str(&r->line));
        clear_buf(&r->line);
    }
    return true;
}

/* Drops the byte order mark that may start the stream. One that is only begun turns out to be part
 * of the first line. */
static bool skip_bom(const struct feed *f, const char **p, const char *end)
{
    struct sse_reader *r = f->r;
    while (!r->started && *p < end) {
        if (**p == bom[r->bom_seen]) {
            ++*p;
            r->started = ++r->bom_seen == sizeof bom;
            continue;
        }
        r->started = true;
        if (!take(f, bom, r->bom_seen, false))
            return false;
    }
    return true;
}

bool sse_feed(struct sse_reader *r, const char *p, size_t n, sse_event_fn fn, void *arg,
              struct err *e)
{
    if (n == 0)
        return true;
    struct feed f = {r, fn, arg, e};
    const char *end = p + n, *lf = NULL;
    if (!skip_bom(&f, &p, end))
        return false;
    while (p < end) {
        if (r->after_cr) {
            r->after_cr = false;
            if (*p == '\n') {
                p++;
                continue;
            }
        }
        /* kept over lines that CR ends, or each of them would search the whole chunk for LF */
        if (!lf || lf < p)
            lf = memchr(p, '\n', (size_t)(end - p));
        if (!lf)
            lf = end;
        const char *cr = memchr(p, '\r', (size_t)(lf - p));
        const char *stop = cr ? cr : lf;
        if (!take(&f, p, (size_t)(stop - p), stop < end))
            return false;
        r->after_cr = cr != NULL;
        p = stop < end ? stop + 1 : end;
    }
    return true;
}

void sse_rest(struct sse_reader *r)
{
    if (r->line.n == 0)
        buf_fini(&r->line);
    if (r->data.n == 0)
        buf_fini(&r->data);
}

void sse_fini(struct sse_reader *r)
{
    buf_fini(&r->line);
    buf_fini(&r->data);
    buf_fini(&r->type);
    buf_fini(&r->id);
}

static bool is_one_line(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] == '\r' || s.p[i] == '\n' || s.p[i] == '\0')
            return false;
    return true;
}

static void write_field(struct buf *out, const char *name, struct str value)
{
    buf_adds(out, name);
    buf_add(out, ": ", 2);
    buf_add_str(out, value);
    buf_addc(out, '\n');
}

/* The length of s up to its first CR or LF. */
static size_t line_len(struct str s)
{
    const char *lf = s.n ? memchr(s.p, '\n', s.n) : NULL;
    size_t n = lf ? (size_t)(lf - s.p) : s.n;
    const char *cr = n ? memchr(s.p, '\r', n) : NULL;
    return cr ? (size_t)(cr - s.p) : n;
}

void sse_write(struct buf *out, struct str type, struct str id, struct str data)
{
    assert(is_one_line(type) && is_one_line(id));
    if (type.n)
        write_field(out, "event", type);
    if (id.n)
        write_field(out, "id", id);
    for (;;) {
        size_t n = line_len(data);
        write_field(out, "data", (struct str){data.p, n});
        if (n == data.n)
            break;
        n += data.p[n] == '\r' && n + 1 < data.n && data.p[n + 1] == '\n' ? 2 : 1;
        data.p += n;
        data.n -= n;
    }
    buf_addc(out, '\n');
}

void sse_write_comment(struct buf *out)
{
    buf_adds(out, ":\n\n");
}
