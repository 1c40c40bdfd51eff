/* See http1.h. A head is read in one pass over a table of character classes; what decides the
 * framing is noted on the way and judged at the end, so that nothing is framed by guesswork (RFC
 * 9112 §6.3, §11.2). Error messages never hold the peer's bytes. A head that is still incomplete is
 * read again from its start: it is at most HTTP1_MAX_HEAD long. */
#include "base/http1.h"

#include "base/http1_text.h"

#include <assert.h>

enum {
    MAX_METHOD = 32,
    MAX_LENGTH_DIGITS = 15, /* of Content-Length: below 2^53, exact wherever it ends up */
    MAX_CHUNK_DIGITS = 15,  /* below 2^60: the size cannot wrap */
    MAX_CHUNK_LINE = 256,
    MAX_TRAILERS = 8 * 1024,
};

struct parser {
    const char *p, *end;
    struct http1_head *h;
    enum err_kind kind;
    int status;
    struct err *e;
    /* What the fields said about framing. */
    int hosts, lengths, codings;
    struct str coding;
    bool close, keep, expect;
};

static enum http1_result bad(struct parser *x, int status, const char *why)
{
    bool large = status == 414 || status == 431;
    x->status = status;
    err_fill(x->e, large && x->kind == ERR_BAD_REQUEST ? ERR_TOO_LARGE : x->kind, "HTTP: %s", why);
    return HTTP1_BAD;
}

static enum http1_result take_crlf(struct parser *x)
{
    if (x->p == x->end)
        return HTTP1_MORE;
    if (*x->p != '\r')
        return bad(x, 400, *x->p == '\n' ? "bare LF" : "forbidden character");
    if (x->end - x->p < 2)
        return HTTP1_MORE;
    if (x->p[1] != '\n')
        return bad(x, 400, "CR without LF");
    x->p += 2;
    return HTTP1_DONE;
}

static enum http1_result take_version(struct parser *x)
{
    static const char name[] = "HTTP/";
    for (size_t i = 0; name[i]; i++, x->p++) {
        if (x->p == x->end)
            return HTTP1_MORE;
        if (*x->p != name[i])
            return bad(x, 400, "malformed start line");
    }
    if (x->end - x->p < 3)
        return HTTP1_MORE;
    if (x->p[1] != '.' || (unsigned)(x->p[0] - '0') > 9 || (unsigned)(x->p[2] - '0') > 9)
        return bad(x, 400, "malformed version");
    if (x->p[0] != '1' || x->p[2] > '1')
        return bad(x, 505, "version other than 1.0 and 1.1");
    x->h->minor = x->p[2] - '0';
    x->p += 3;
    return HTTP1_DONE;
}

/* Like http1_skip(…, HTTP1_VCHAR), eight bytes at a time while none is a control character. */
static const char *skip_value(const char *p, const char *end)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    while (end - p >= 8) {
        uint64_t w, del;
        memcpy(&w, p, sizeof w);
        del = w ^ (ones * 0x7f);
        if ((((w - ones * 0x20) & ~w) | ((del - ones) & ~del)) & (ones * 0x80))
            break;
        p += 8;
    }
    return http1_skip(p, end, HTTP1_VCHAR);
}

/* name is a token and want lower-case letters and '-', so that setting one bit folds the case. */
static inline bool name_is(struct str name, struct str want)
{
    unsigned diff = 0;
    for (size_t i = 0; i < want.n; i++)
        diff |= ((unsigned char)name.p[i] | 0x20U) ^ (unsigned char)want.p[i];
    return diff == 0;
}

static enum http1_result note_length(struct parser *x, struct str v)
{
    if (x->lengths++)
        return bad(x, 400, "more than one Content-Length");
    if (v.n > MAX_LENGTH_DIGITS || !str_to_u64(v, &x->h->content_length))
        return bad(x, 400, "malformed Content-Length");
    return HTTP1_DONE;
}

static enum http1_result note_expect(struct parser *x, struct str v)
{
    x->expect = true;
    if (x->h->status == 0 && !str_ieq(v, STR("100-continue")))
        return bad(x, 417, "unknown expectation");
    return HTTP1_DONE;
}

/* Keeps what the field says about framing and persistence. */
static enum http1_result note_field(struct parser *x, const struct http1_field *f)
{
    switch (f->name.n) {
    case 4:
        if (name_is(f->name, STR("host")) && x->hosts++ == 0)
            x->h->authority = f->value;
        break;
    case 6:
        if (name_is(f->name, STR("expect")))
            return note_expect(x, f->value);
        break;
    case 10:
        if (name_is(f->name, STR("connection"))) {
            x->close = x->close || http1_list_has(f->value, STR("close"));
            x->keep = x->keep || http1_list_has(f->value, STR("keep-alive"));
        }
        break;
    case 14:
        if (name_is(f->name, STR("content-length")))
            return note_length(x, f->value);
        break;
    case 17:
        if (name_is(f->name, STR("transfer-encoding")) && x->codings++ == 0)
            x->coding = f->value;
        break;
    default: break;
    }
    return HTTP1_DONE;
}

static enum http1_result bad_name(struct parser *x, const char *start)
{
    bool space = *x->p == ' ' || *x->p == '\t';
    if (space && x->p == start)
        return bad(x, 400, "folded header line");
    return bad(x, 400, space ? "space before the colon of a field" : "malformed field name");
}

static enum http1_result take_field(struct parser *x)
{
    struct http1_head *h = x->h;
    if (h->fields == HTTP1_MAX_FIELDS)
        return bad(x, 431, "too many header fields");
    struct http1_field *f = &h->field[h->fields];
    const char *start = x->p;
    x->p = http1_skip(start, x->end, HTTP1_TCHAR);
    if (x->p == x->end)
        return HTTP1_MORE;
    if (*x->p != ':' || x->p == start)
        return bad_name(x, start);
    f->name = (struct str){start, (size_t)(x->p - start)};
    start = ++x->p;
    x->p = skip_value(start, x->end);
    f->value = str_trim((struct str){start, (size_t)(x->p - start)});
    enum http1_result r = take_crlf(x);
    if (r != HTTP1_DONE)
        return r;
    h->fields++;
    return note_field(x, f);
}

static enum http1_result take_fields(struct parser *x)
{
    for (;;) {
        if (x->p == x->end)
            return HTTP1_MORE;
        if (*x->p == '\r')
            return take_crlf(x);
        enum http1_result r = take_field(x);
        if (r != HTTP1_DONE)
            return r;
    }
}

/* Checks that the codings are exactly "chunked" (RFC 9112 §6.1, §6.3). */
static enum http1_result judge_coding(struct parser *x)
{
    if (x->lengths)
        return bad(x, 400, "both Content-Length and Transfer-Encoding");
    if (x->h->minor == 0)
        return bad(x, 400, "Transfer-Encoding in HTTP/1.0");
    if (x->codings > 1)
        return bad(x, 400, "more than one Transfer-Encoding");
    if (str_ieq(x->coding, STR("chunked")))
        return HTTP1_DONE;
    /* A body whose last coding is not chunked has no end that can be known: 400, not 501. */
    struct str rest = x->coding, part, last = {0};
    int chunked = 0;
    while (str_split(&rest, ',', &part)) {
        last = str_trim(part);
        chunked += str_ieq(last, STR("chunked"));
    }
    bool final = chunked == 1 && str_ieq(last, STR("chunked"));
    return bad(x, final ? 501 : 400, "Transfer-Encoding other than chunked");
}

static enum http1_result judge_framing(struct parser *x)
{
    struct http1_head *h = x->h;
    h->keep_alive = h->minor == 1 ? !x->close : x->keep && !x->close;
    h->framing = x->lengths ? HTTP1_LENGTH : HTTP1_NO_BODY;
    if (!x->codings)
        return HTTP1_DONE;
    h->framing = HTTP1_CHUNKED;
    return judge_coding(x);
}

static enum http1_result take_method(struct parser *x)
{
    const char *start = x->p;
    const char *end = x->end - start > MAX_METHOD ? start + MAX_METHOD + 1 : x->end;
    x->p = http1_skip(start, end, HTTP1_TCHAR);
    x->h->method = (struct str){start, (size_t)(x->p - start)};
    if (x->h->method.n > MAX_METHOD)
        return bad(x, 400, "method too long");
    if (x->p == x->end)
        return HTTP1_MORE;
    if (*x->p != ' ' || x->p == start)
        return bad(x, 400, "malformed method");
    x->p++;
    return HTTP1_DONE;
}

/* http://authority/path (RFC 9112 §3.2.2), for requests that a client took for a proxy's. */
static enum http1_result split_absolute(struct parser *x, struct str *authority)
{
    struct str t = x->h->target;
    size_t skip = t.n >= 8 && str_ieq((struct str){t.p, 8}, STR("https://")) ? 8 : 7;
    if (skip == 7 && (t.n < 7 || !str_ieq((struct str){t.p, 7}, STR("http://"))))
        return bad(x, 400, "malformed target");
    struct str rest = {t.p + skip, t.n - skip};
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    *authority = (struct str){rest.p, n};
    if (n < rest.n && rest.p[n] == '?')
        return bad(x, 400, "target without a path");
    x->h->target = n < rest.n ? (struct str){rest.p + n, rest.n - n} : STR("/");
    return HTTP1_DONE;
}

static enum http1_result judge_target(struct parser *x, struct str *authority)
{
    struct http1_head *h = x->h;
    if (str_eq(h->method, STR("CONNECT")))
        return bad(x, 400, "CONNECT is not served");
    if (str_eq(h->target, STR("*"))) {
        if (!str_eq(h->method, STR("OPTIONS")))
            return bad(x, 400, "target * is for OPTIONS");
    } else if (h->target.p[0] != '/') {
        enum http1_result r = split_absolute(x, authority);
        if (r != HTTP1_DONE)
            return r;
    }
    if (!http1_escapes_valid(h->target))
        return bad(x, 400, "malformed escape in the target");
    h->path = h->target;
    const char *mark = memchr(h->target.p, '?', h->target.n);
    if (mark) {
        h->path.n = (size_t)(mark - h->target.p);
        h->query = (struct str){mark + 1, h->target.n - h->path.n - 1};
    }
    return HTTP1_DONE;
}

static enum http1_result take_target(struct parser *x)
{
    const char *start = x->p;
    x->p = http1_skip(start, x->end, HTTP1_TARGET);
    x->h->target = (struct str){start, (size_t)(x->p - start)};
    if (x->h->target.n > HTTP1_MAX_TARGET)
        return bad(x, 414, "target too long");
    if (x->p == x->end)
        return HTTP1_MORE;
    if (*x->p != ' ' || x->p == start)
        return bad(x, 400, *x->p == '#' ? "fragment in the target" : "malformed target");
    x->p++;
    return HTTP1_DONE;
}

/* One Host, and the same as an absolute target's authority (RFC 9112 §3.2). */
static enum http1_result judge_host(struct parser *x, struct str authority)
{
    struct str host, given = x->h->authority;
    uint16_t port;
    if (x->hosts > 1)
        return bad(x, 400, "more than one Host");
    if (x->hosts == 0 && x->h->minor == 1)
        return bad(x, 400, "no Host");
    if (x->hosts && !http1_split_authority(given, &host, &port))
        return bad(x, 400, "malformed Host");
    if (!authority.p)
        return HTTP1_DONE;
    if (!http1_split_authority(authority, &host, &port) || (x->hosts && !str_ieq(given, authority)))
        return bad(x, 400, "target and Host differ");
    x->h->authority = authority;
    return HTTP1_DONE;
}

static enum http1_result request(struct parser *x)
{
    struct str authority = {0};
    enum http1_result r;
    if (x->p < x->end && *x->p == '\r') { /* one stray CRLF after a body (RFC 9112 §2.2) */
        if ((r = take_crlf(x)) != HTTP1_DONE)
            return r;
    }
    if ((r = take_method(x)) != HTTP1_DONE || (r = take_target(x)) != HTTP1_DONE ||
        (r = take_version(x)) != HTTP1_DONE || (r = take_crlf(x)) != HTTP1_DONE ||
        (r = judge_target(x, &authority)) != HTTP1_DONE || (r = take_fields(x)) != HTTP1_DONE ||
        (r = judge_framing(x)) != HTTP1_DONE || (r = judge_host(x, authority)) != HTTP1_DONE)
        return r;
    bool body = x->h->framing == HTTP1_CHUNKED || x->h->content_length > 0;
    x->h->expect_continue = x->expect && x->h->minor == 1 && body;
    return HTTP1_DONE;
}

/* Empties a head but for the array of fields, which is only read up to h->fields. */
static void reset_head(struct http1_head *h)
{
    memset(h, 0, offsetof(struct http1_head, field));
    h->fields = 0;
}

/* NOLINTNEXTLINE(readability-function-size): six parameters are the contract */
enum http1_result http1_parse_request(const char *buf, size_t n, struct http1_head *h, size_t *used,
                                      int *status, struct err *e)
{
    reset_head(h);
    *used = 0;
    if (n == 0)
        return HTTP1_MORE;
    size_t limit = n < HTTP1_MAX_HEAD ? n : HTTP1_MAX_HEAD;
    struct parser x = {.p = buf, .end = buf + limit, .h = h, .kind = ERR_BAD_REQUEST, .e = e};
    enum http1_result r = request(&x);
    if (r == HTTP1_MORE && limit == HTTP1_MAX_HEAD)
        r = bad(&x, 431, "head too large");
    if (r == HTTP1_DONE)
        *used = (size_t)(x.p - buf);
    if (r == HTTP1_BAD)
        *status = x.status;
    return r;
}

static enum http1_result take_status(struct parser *x)
{
    if (x->end - x->p < 5)
        return HTTP1_MORE;
    const char *s = x->p;
    if (s[0] != ' ' || s[1] < '1' || s[1] > '5' || (unsigned)(s[2] - '0') > 9 ||
        (unsigned)(s[3] - '0') > 9)
        return bad(x, 502, "malformed status line");
    x->h->status = (s[1] - '0') * 100 + (s[2] - '0') * 10 + (s[3] - '0');
    x->p += 4;
    /* The space before an empty reason is missing in some servers' answers; nothing hangs on it. */
    if (*x->p == ' ')
        x->p = skip_value(x->p, x->end);
    return take_crlf(x);
}

static enum http1_result response(struct parser *x, bool head_request)
{
    struct http1_head *h = x->h;
    enum http1_result r;
    if ((r = take_version(x)) != HTTP1_DONE || (r = take_status(x)) != HTTP1_DONE ||
        (r = take_fields(x)) != HTTP1_DONE || (r = judge_framing(x)) != HTTP1_DONE)
        return r;
    h->authority = (struct str){0};
    if (head_request || h->status < 200 || h->status == 204 || h->status == 304) {
        h->framing = HTTP1_NO_BODY;
    } else if (h->framing == HTTP1_NO_BODY) {
        h->framing = HTTP1_UNTIL_CLOSE;
        h->keep_alive = false;
    }
    return HTTP1_DONE;
}

/* NOLINTNEXTLINE(readability-function-size): six parameters are the contract */
enum http1_result http1_parse_response(const char *buf, size_t n, bool head_request,
                                       struct http1_head *h, size_t *used, struct err *e)
{
    reset_head(h);
    *used = 0;
    if (n == 0)
        return HTTP1_MORE;
    size_t limit = n < HTTP1_MAX_HEAD ? n : HTTP1_MAX_HEAD;
    struct parser x = {.p = buf, .end = buf + limit, .h = h, .kind = ERR_BAD_UPSTREAM, .e = e};
    enum http1_result r = response(&x, head_request);
    if (r == HTTP1_MORE && limit == HTTP1_MAX_HEAD)
        r = bad(&x, 502, "head too large");
    if (r == HTTP1_DONE)
        *used = (size_t)(x.p - buf);
    return r;
}

const struct http1_field *http1_field(const struct http1_head *h, struct str name)
{
    for (int i = 0; i < h->fields; i++) {
        if (h->field[i].name.n == name.n && str_ieq(h->field[i].name, name))
            return &h->field[i];
    }
    return NULL;
}

struct str http1_value(const struct http1_head *h, struct str name)
{
    const struct http1_field *f = http1_field(h, name);
    return f ? f->value : (struct str){0};
}

int http1_count(const struct http1_head *h, struct str name)
{
    int n = 0;
    for (int i = 0; i < h->fields; i++)
        n += h->field[i].name.n == name.n && str_ieq(h->field[i].name, name);
    return n;
}

/* Where a chunked body is (RFC 9112 §7.1). */
enum body_state {
    CHUNK_FIRST, /* the first digit of a size */
    CHUNK_SIZE,
    CHUNK_SPACE, /* after the size: white space that must lead to an extension */
    CHUNK_EXT,
    CHUNK_LF,
    CHUNK_DATA,
    DATA_CR,
    DATA_LF,
    TRAILER_START,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    END_LF,
};

void http1_body_init(struct http1_body *b, const struct http1_head *h, uint64_t max_bytes)
{
    *b = (struct http1_body){.framing = h->framing, .max = max_bytes, .state = CHUNK_FIRST};
    if (h->framing == HTTP1_LENGTH)
        b->left = h->content_length;
    b->done = h->framing == HTTP1_NO_BODY || (h->framing == HTTP1_LENGTH && b->left == 0);
}

static unsigned hex_value(char c)
{
    return (c <= '9' ? (unsigned)c - '0' : ((unsigned)c | 0x20U) - 'a' + 10U);
}

static bool bad_chunk(struct err *e)
{
    return err_set(e, ERR_BAD_REQUEST, "HTTP: malformed chunk");
}

static bool too_large(const struct http1_body *b, struct err *e)
{
    return err_set(e, ERR_TOO_LARGE, "HTTP: body over %llu bytes", (unsigned long long)b->max);
}

static bool end_of_size(struct http1_body *b, char c, struct err *e)
{
    switch (c) {
    case '\r': b->state = CHUNK_LF; return true;
    case ';': b->state = CHUNK_EXT; return true;
    case ' ':
    case '\t': b->state = CHUNK_SPACE; return true;
    default: return bad_chunk(e);
    }
}

static bool size_digit(struct http1_body *b, char c, struct err *e)
{
    if (b->line_bytes > MAX_CHUNK_DIGITS)
        return bad_chunk(e);
    b->left = b->left * 16 + hex_value(c);
    b->state = CHUNK_SIZE;
    return true;
}

static bool size_line_done(struct http1_body *b, char c, struct err *e)
{
    if (c != '\n')
        return bad_chunk(e);
    if (b->left > b->max - b->total)
        return too_large(b, e);
    b->state = b->left ? CHUNK_DATA : TRAILER_START;
    b->line_bytes = 0;
    return true;
}

static bool expect(struct http1_body *b, char c, char want, enum body_state next, struct err *e)
{
    b->state = (uint8_t)next;
    b->line_bytes = 0;
    return c == want || bad_chunk(e);
}

/* One byte of a trailer section: name ":" value CRLF, again and again, then CRLF. */
static bool trailer_byte(struct http1_body *b, char c, struct err *e)
{
    if (++b->line_bytes > MAX_TRAILERS)
        return err_set(e, ERR_TOO_LARGE, "HTTP: trailers too large");
    switch ((enum body_state)b->state) {
    case TRAILER_START:
        b->state = c == '\r' ? END_LF : TRAILER_NAME;
        return c == '\r' || http1_is(c, HTTP1_TCHAR) || bad_chunk(e);
    case TRAILER_NAME:
        b->state = c == ':' ? TRAILER_VALUE : TRAILER_NAME;
        return c == ':' || http1_is(c, HTTP1_TCHAR) || bad_chunk(e);
    case TRAILER_VALUE:
        b->state = c == '\r' ? TRAILER_LF : TRAILER_VALUE;
        return c == '\r' || http1_is(c, HTTP1_VCHAR) || bad_chunk(e);
    case TRAILER_LF: b->state = TRAILER_START; return c == '\n' || bad_chunk(e);
    default: b->done = c == '\n'; return b->done || bad_chunk(e);
    }
}

/* One byte of a chunk's size line. */
static bool size_byte(struct http1_body *b, char c, struct err *e)
{
    if (++b->line_bytes > MAX_CHUNK_LINE)
        return bad_chunk(e);
    switch ((enum body_state)b->state) {
    case CHUNK_FIRST: return http1_is(c, HTTP1_HEX) ? size_digit(b, c, e) : bad_chunk(e);
    case CHUNK_SIZE: return http1_is(c, HTTP1_HEX) ? size_digit(b, c, e) : end_of_size(b, c, e);
    case CHUNK_SPACE: return c != '\r' ? end_of_size(b, c, e) : bad_chunk(e);
    case CHUNK_EXT:
        b->state = c == '\r' ? CHUNK_LF : CHUNK_EXT;
        return c == '\r' || http1_is(c, HTTP1_VCHAR) || bad_chunk(e);
    default: return size_line_done(b, c, e);
    }
}

static bool framing_byte(struct http1_body *b, char c, struct err *e)
{
    if (b->state < CHUNK_DATA)
        return size_byte(b, c, e);
    if (b->state >= TRAILER_START)
        return trailer_byte(b, c, e);
    return b->state == DATA_CR ? expect(b, c, '\r', DATA_LF, e)
                               : expect(b, c, '\n', CHUNK_FIRST, e);
}

/* The next piece of a body (or chunk) of which b->left bytes are to come. */
static struct str take_piece(struct http1_body *b, const char *p, size_t n)
{
    size_t take = n < b->left ? n : (size_t)b->left;
    b->left -= take;
    b->total += take;
    return (struct str){p, take};
}

/* NOLINTNEXTLINE(readability-function-size): six parameters are the contract */
bool http1_body_feed(struct http1_body *b, const char *p, size_t n, size_t *used, struct str *data,
                     struct err *e)
{
    size_t i = 0;
    *used = 0;
    *data = (struct str){p, 0};
    if (b->done)
        return true;
    if (b->framing == HTTP1_CHUNKED) {
        while (i < n && b->state != CHUNK_DATA && !b->done) {
            if (!framing_byte(b, p[i++], e))
                return false;
        }
    } else {
        if (b->framing == HTTP1_UNTIL_CLOSE)
            b->left = n;
        if (b->left > b->max - b->total)
            return too_large(b, e);
    }
    if (i < n && !b->done) {
        *data = take_piece(b, p + i, n - i);
        if (b->left == 0 && b->framing == HTTP1_CHUNKED)
            b->state = DATA_CR;
        b->done = b->left == 0 && b->framing == HTTP1_LENGTH;
    }
    *used = i + data->n;
    return true;
}

bool http1_body_eof(struct http1_body *b, struct err *e)
{
    if (b->framing == HTTP1_UNTIL_CLOSE)
        b->done = true;
    return b->done || err_set(e, ERR_BAD_REQUEST, "HTTP: body cut short");
}

bool http1_add_field(struct buf *out, struct str name, struct str value)
{
    if (!http1_is_token(name) ||
        (value.n && skip_value(value.p, value.p + value.n) != value.p + value.n))
        return false;
    char *at = buf_reserve(out, name.n + value.n + 4);
    memcpy(at, name.p, name.n);
    at += name.n;
    *at++ = ':';
    *at++ = ' ';
    if (value.n)
        memcpy(at, value.p, value.n);
    at[value.n] = '\r';
    at[value.n + 1] = '\n';
    out->n += name.n + value.n + 4;
    return true;
}

void http1_add_status(struct buf *out, int status)
{
    assert(status >= 100 && status <= 999);
    buf_adds(out, "HTTP/1.1 ");
    buf_add_u64(out, (uint64_t)status);
    buf_addc(out, ' ');
    buf_adds(out, http1_reason(status));
    buf_add(out, "\r\n", 2);
}
