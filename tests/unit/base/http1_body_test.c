/* Bodies: decoded the same wherever the pieces meet, malformed and oversized ones refused. */
#include "base/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define S(lit)                                                                                     \
    {                                                                                              \
        (lit), sizeof(lit) - 1                                                                     \
    } /* STR for tables of static storage */

static void assert_slice(struct str got, const char *want)
{
    if (!str_eq(got, str_of(want)))
        fail_msg("got \"%.*s\", wanted \"%s\"", STR_FMT(got), want);
}

/* Feeds in pieces that end at cut and at the end; appends what is decoded to out. Returns bytes
 * consumed or -1. */
static ptrdiff_t feed(struct http1_body *b, struct str in, size_t cut, struct buf *out,
                      struct err *e)
{
    size_t at = 0;
    const size_t ends[] = {cut, in.n};
    for (int i = 0; i < 2; i++) {
        size_t n = ends[i] - at;
        char *block = xmalloc(n);
        memcpy(block, in.p + at, n);
        size_t from = 0, used = 0;
        bool ok = true;
        do {
            struct str data;
            ok = http1_body_feed(b, block + from, n - from, &used, &data, e);
            buf_add_str(out, data);
            from += used;
        } while (ok && used && from < n && !b->done);
        free(block);
        at += from;
        if (!ok)
            return -1;
        if (b->done || at < ends[i])
            break;
    }
    return (ptrdiff_t)at;
}

static struct http1_body body_of(enum http1_framing framing, uint64_t length, uint64_t max)
{
    struct http1_head h = {.framing = framing, .content_length = length};
    struct http1_body b;
    http1_body_init(&b, &h, max);
    return b;
}

static void test_decodes_chunks_at_every_split_point(void **state)
{
    (void)state;
    struct str in = STR("5\r\nhello\r\n00A ;a=\"b;c\"\r\n, world!\r\n\r\n1;x\r\n.\r\n0;last\r\n"
                        "X-Sum: 1\r\nX-Two:\t2 \r\n\r\nGET /next");
    for (size_t cut = 0; cut <= in.n; cut++) {
        struct http1_body b = body_of(HTTP1_CHUNKED, 0, 100);
        struct buf out = {0};
        struct err e = {0};
        assert_int_equal(feed(&b, in, cut, &out, &e), in.n - strlen("GET /next"));
        assert_true(b.done);
        assert_slice(buf_str(&out), "hello, world!\r\n.");
        assert_int_equal(b.total, 16);
        assert_true(http1_body_eof(&b, &e));
        buf_fini(&out);
    }
}

static void test_decodes_a_length_at_every_split_point(void **state)
{
    (void)state;
    struct str in = STR("helloGET /next");
    for (size_t cut = 0; cut <= in.n; cut++) {
        struct http1_body b = body_of(HTTP1_LENGTH, 5, 5);
        struct buf out = {0};
        assert_int_equal(feed(&b, in, cut, &out, NULL), 5);
        assert_true(b.done);
        assert_slice(buf_str(&out), "hello");
        buf_fini(&out);
    }
}

static void test_empty_bodies_are_done_at_once(void **state)
{
    (void)state;
    const enum http1_framing framings[] = {HTTP1_NO_BODY, HTTP1_LENGTH};
    for (int i = 0; i < 2; i++) {
        struct http1_body b = body_of(framings[i], 0, 0);
        size_t used = 9;
        struct str data;
        assert_true(b.done);
        assert_true(http1_body_feed(&b, "abc", 3, &used, &data, NULL));
        assert_int_equal(used, 0);
        assert_int_equal(data.n, 0);
    }
}

#define ZEROS14 "00000000000000"

static const struct str bad_chunks[] = {
    S("\r\n"),
    S(";x\r\n"),
    S("g\r\n"),
    S("-1\r\n"),
    S("+1\r\n"),
    S("0x1\r\n"),
    S(" 1\r\n"),
    S("1 \r\n"),
    S("1 2\r\n"),
    S("1\n"),
    S("1\rX"),
    S("1;a\n"),
    S("1;a\rX"),
    S("1;\x01\r\n"),
    S("1;\0\r\n"),
    S("\x80\r\n"),
    S("10000000000000005\r\n"),
    S("1000000000000000\r\n"),
    S(ZEROS14 "01\r\n"),
    S("ffffffffffffffff\r\n"),
    S("1\r\nab"),
    S("1\r\na\n"),
    S("1\r\na\rX"),
    S("1\r\na0\r\n"),
    S("0\r\nX-A\r\n"),
    S("0\r\n: b\r\n"),
    S("0\r\nX : b\r\n"),
    S("0\r\n folded\r\n"),
    S("0\r\nX: b\n"),
    S("0\r\nX: b\r\n c\r\n"),
    S("0\r\nX: \0\r\n"),
    S("0\r\nX: b\rY"),
    S("0\r\n\rX"),
    S("0\r\n\n"),
};

static void test_refuses_malformed_chunks(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_chunks / sizeof bad_chunks[0]; i++) {
        for (size_t cut = 0; cut <= bad_chunks[i].n; cut++) {
            struct http1_body b = body_of(HTTP1_CHUNKED, 0, 100);
            struct buf out = {0};
            struct err e = {0};
            if (feed(&b, bad_chunks[i], cut, &out, &e) != -1 || b.done)
                fail_msg("chunk case %zu passes when cut at %zu", i, cut);
            assert_int_equal(e.kind, ERR_BAD_REQUEST);
            buf_fini(&out);
        }
    }
}

static void test_a_chunk_line_and_trailers_are_bounded(void **state)
{
    (void)state;
    const char *starts[] = {"1;", "0\r\nX: "};
    const enum err_kind kinds[] = {ERR_BAD_REQUEST, ERR_TOO_LARGE};
    for (int i = 0; i < 2; i++) {
        struct http1_body b = body_of(HTTP1_CHUNKED, 0, 100);
        struct buf in = {0}, out = {0};
        struct err e = {0};
        buf_adds(&in, starts[i]);
        for (int k = 0; k < 9000; k++)
            buf_addc(&in, 'x');
        assert_int_equal(feed(&b, buf_str(&in), 0, &out, &e), -1);
        assert_int_equal(e.kind, kinds[i]);
        buf_fini(&in);
        buf_fini(&out);
    }
}

static void test_bodies_over_the_limit_are_too_large(void **state)
{
    (void)state;
    const struct {
        enum http1_framing framing;
        uint64_t length;
        struct str in;
    } cases[] = {
        {HTTP1_LENGTH, 11, STR("a")}, /* refused before the bytes come */
        {HTTP1_CHUNKED, 0, STR("b\r\n")},
        {HTTP1_CHUNKED, 0, STR("6\r\n123456\r\n5\r\n")},
        {HTTP1_CHUNKED, 0, STR("1\r\n1\r\nfffffffffffffff\r\n")},
        {HTTP1_UNTIL_CLOSE, 0, STR("12345678901")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http1_body b = body_of(cases[i].framing, cases[i].length, 10);
        struct buf out = {0};
        struct err e = {0};
        assert_int_equal(feed(&b, cases[i].in, 1, &out, &e), -1);
        assert_int_equal(e.kind, ERR_TOO_LARGE);
        assert_true(out.n <= 10);
        buf_fini(&out);
    }
}

static void test_a_body_of_exactly_the_limit_passes(void **state)
{
    (void)state;
    struct http1_body b = body_of(HTTP1_CHUNKED, 0, 10);
    struct buf out = {0};
    assert_true(feed(&b, STR("6\r\n123456\r\n4\r\n7890\r\n0\r\n\r\n"), 7, &out, NULL) > 0);
    assert_true(b.done);
    assert_int_equal(out.n, 10);
    buf_fini(&out);
}

static void test_only_a_body_until_close_may_end_with_the_connection(void **state)
{
    (void)state;
    struct err e = {0};
    struct buf out = {0};
    struct http1_body b = body_of(HTTP1_UNTIL_CLOSE, 0, 10);
    assert_int_equal(feed(&b, STR("abc"), 1, &out, &e), 3);
    assert_false(b.done);
    assert_true(http1_body_eof(&b, &e));
    assert_true(b.done);
    b = body_of(HTTP1_LENGTH, 5, 10);
    assert_int_equal(feed(&b, STR("abc"), 1, &out, &e), 3);
    assert_false(http1_body_eof(&b, &e));
    b = body_of(HTTP1_CHUNKED, 0, 10);
    assert_int_equal(feed(&b, STR("1\r\na\r\n0\r\n"), 1, &out, &e), 9);
    assert_false(http1_body_eof(&b, &e));
    assert_int_equal(e.kind, ERR_BAD_REQUEST);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decodes_chunks_at_every_split_point),
        cmocka_unit_test(test_decodes_a_length_at_every_split_point),
        cmocka_unit_test(test_empty_bodies_are_done_at_once),
        cmocka_unit_test(test_refuses_malformed_chunks),
        cmocka_unit_test(test_a_chunk_line_and_trailers_are_bounded),
        cmocka_unit_test(test_bodies_over_the_limit_are_too_large),
        cmocka_unit_test(test_a_body_of_exactly_the_limit_passes),
        cmocka_unit_test(test_only_a_body_until_close_may_end_with_the_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
