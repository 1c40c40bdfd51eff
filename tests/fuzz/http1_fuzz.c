/* Fuzzes the HTTP/1.1 codec: first byte picks request or response and the split point of the body.
 * Beyond not crashing, a parsed head must lie inside the input, be re-parsed the same from exactly
 * its own bytes, and not pass when cut. */
#include "base/http1.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *exact(const char *p, size_t n)
{
    char *copy = malloc(n ? n : 1);
    if (!copy)
        abort();
    if (n)
        memcpy(copy, p, n);
    return copy;
}

static enum http1_result parse(uint8_t mode, const char *p, size_t n, struct http1_head *h,
                               size_t *used)
{
    struct err e = {0};
    int status = 0;
    enum http1_result r;
    if (mode & 1) {
        r = http1_parse_response(p, n, (mode & 2) != 0, h, used, &e);
    } else {
        r = http1_parse_request(p, n, h, used, &status, &e);
        assert(r != HTTP1_BAD || (status >= 400 && status <= 505));
    }
    assert(r != HTTP1_BAD || e.kind != ERR_NONE);
    assert(*used <= n && (r == HTTP1_DONE) == (*used > 0));
    return r;
}

/* What a reference resolves to can stand in a request line, and is its own reference. */
static void check_reference(const struct http1_url *base, struct str ref)
{
    struct buf once = {0}, twice = {0};
    if (http1_resolve(base, ref, &once, NULL)) {
        assert(once.n > 0 && once.p[0] == '/');
        if (once.n <= HTTP1_MAX_TARGET && !str_starts(buf_str(&once), STR("//"))) {
            assert(http1_resolve(base, buf_str(&once), &twice, NULL));
            assert(str_starts(ref, STR("http")) || str_starts(ref, STR("//")) || ref.p[0] == '?' ||
                   str_eq(buf_str(&once), buf_str(&twice)));
        }
    }
    buf_fini(&once);
    buf_fini(&twice);
}

static void check_fields(const struct http1_head *h, const char *p, size_t n)
{
    struct buf out = {0};
    for (int i = 0; i < h->fields; i++) {
        const struct http1_field *f = &h->field[i];
        assert(f->name.p >= p && f->value.p + f->value.n <= p + n);
        assert(http1_add_field(&out, f->name, f->value)); /* what comes in can go out */
        assert(http1_field(h, f->name) && http1_count(h, f->name) > 0);
        (void)http1_accepts(f->value, STR("application/json"));
        (void)http1_type_is(f->value, STR("application/json"));
        struct http1_url url;
        (void)!http1_parse_url(f->value, &url, NULL);
        if (http1_parse_url(STR("http://h:8/a/b?c"), &url, NULL))
            check_reference(&url, f->value);
    }
    buf_fini(&out);
}

static void check_cut(uint8_t mode, const char *p, size_t used)
{
    struct http1_head h;
    size_t again = 0;
    char *copy = exact(p, used - 1);
    assert(parse(mode, copy, used - 1, &h, &again) != HTTP1_DONE);
    free(copy);
    copy = exact(p, used);
    assert(parse(mode, copy, used, &h, &again) == HTTP1_DONE && again == used);
    free(copy);
}

/* Decodes in two pieces; the decoded bytes do not depend on where they meet. */
static size_t decode(const struct http1_head *h, const char *p, size_t n, size_t cut,
                     struct buf *out, bool *ok)
{
    struct http1_body b;
    size_t at = 0;
    *ok = true;
    http1_body_init(&b, h, 1 << 16);
    for (int piece = 0; piece < 2 && *ok && !b.done; piece++) {
        size_t end = piece ? n : cut;
        char *copy = exact(p + at, end - at);
        size_t from = 0, len = end - at;
        while (*ok && !b.done && from < len) {
            struct str data;
            size_t used;
            struct err e = {0};
            *ok = http1_body_feed(&b, copy + from, len - from, &used, &data, &e);
            assert(used <= len - from && data.n <= used && (*ok ? used > 0 : e.kind != ERR_NONE));
            buf_add_str(out, data);
            from += used;
        }
        at += from;
        free(copy);
    }
    assert(out->n == b.total && b.total <= b.max);
    return at;
}

static void check_body(const struct http1_head *h, const char *p, size_t n, size_t cut)
{
    struct buf whole = {0}, split = {0};
    bool ok, split_ok;
    size_t used = decode(h, p, n, n, &whole, &ok);
    size_t split_used = decode(h, p, n, cut, &split, &split_ok);
    assert(ok == split_ok);
    if (ok)
        assert(used == split_used && str_eq(buf_str(&whole), buf_str(&split)));
    buf_fini(&whole);
    buf_fini(&split);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    uint8_t mode = data[0];
    size_t n = size - 1, used = 0;
    char *p = exact((const char *)data + 1, n);
    struct http1_head h;
    memset(&h, 0xa5, sizeof h);
    if (parse(mode, p, n, &h, &used) == HTTP1_DONE) {
        check_fields(&h, p, used);
        check_cut(mode, p, used);
        size_t rest = n - used;
        check_body(&h, p + used, rest, rest ? (mode >> 2) % (rest + 1) : 0);
    }
    struct http1_url url;
    (void)!http1_parse_url((struct str){p, n}, &url, NULL);
    free(p);
    return 0;
}
