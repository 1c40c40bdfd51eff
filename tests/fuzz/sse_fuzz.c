/* Fuzzes the event stream reader and writer. The first byte of the input seeds where the stream is
 * cut and the limit; the rest is the stream. Beyond not crashing: fed in pieces a stream yields the
 * verdict and the events that it yields whole, and an event written with the stream as its data is
 * read back as one event of that data. */
#include "base/sse.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void add_slice(struct buf *out, struct str s)
{
    buf_addf(out, "%zu:", s.n);
    buf_add_str(out, s);
}

static void on_event(const struct sse_event *ev, void *arg)
{
    struct buf *out = arg;
    assert(ev->retry_ms >= -1);
    assert(!ev->id.n || !memchr(ev->id.p, '\0', ev->id.n));
    assert(!ev->data.n || !memchr(ev->data.p, '\r', ev->data.n));
    add_slice(out, ev->type);
    add_slice(out, ev->data);
    add_slice(out, ev->id);
    buf_addf(out, "%d %lld;", ev->has_id, (long long)ev->retry_ms);
}

/* Feeds pieces of up to step bytes, each in a block of exactly its size. */
static bool feed(struct sse_reader *r, const uint8_t *p, size_t n, size_t step, struct buf *out)
{
    uint32_t seed = (uint32_t)step;
    for (size_t at = 0, take; at < n; at += take) {
        seed = seed * 1664525 + 1013904223;
        take = 1 + (seed >> 8) % step;
        take = take < n - at ? take : n - at;
        char *copy = malloc(take);
        struct err e = {0};
        if (!copy)
            abort();
        memcpy(copy, p + at, take);
        bool ok = sse_feed(r, copy, take, on_event, out, &e);
        free(copy);
        assert(ok == (e.kind == ERR_NONE));
        if (!ok)
            return false;
    }
    return true;
}

static void check_pieces(const uint8_t *p, size_t n, uint8_t mode)
{
    size_t max = mode & 1 ? 16 : 0;
    struct sse_reader whole = {.max_event_bytes = max}, cut = {.max_event_bytes = max};
    struct buf a = {0}, b = {0};
    struct err e = {0};
    bool ok = sse_feed(&whole, (const char *)p, n, on_event, &a, &e);
    assert(feed(&cut, p, n, 1 + mode / 2, &b) == ok);
    assert(str_eq(buf_str(&a), buf_str(&b)));
    sse_fini(&whole);
    sse_fini(&cut);
    buf_fini(&a);
    buf_fini(&b);
}

/* The data as a reader sees it: every end of line is LF. */
static void normal_lines(struct buf *out, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (p[i] == '\n' && i && p[i - 1] == '\r')
            continue;
        buf_addc(out, p[i] == '\r' ? '\n' : (char)p[i]);
    }
}

static void check_written(const uint8_t *p, size_t n)
{
    struct buf wire = {0}, want = {0}, out = {0}, lines = {0};
    struct sse_reader r = {0};
    struct err e = {0};
    sse_write(&wire, STR("t"), STR("7"), (struct str){(const char *)p, n});
    sse_write_comment(&wire);
    normal_lines(&lines, p, n);
    on_event(&(struct sse_event){STR("t"), buf_str(&lines), STR("7"), true, -1}, &want);
    if (!sse_feed(&r, wire.p, wire.n, on_event, &out, &e))
        abort();
    assert(str_eq(buf_str(&want), buf_str(&out)));
    sse_fini(&r);
    buf_fini(&wire);
    buf_fini(&want);
    buf_fini(&out);
    buf_fini(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    check_pieces(data + 1, size - 1, data[0]);
    check_written(data + 1, size - 1);
    return 0;
}
