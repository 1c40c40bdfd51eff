/* Lines come out whole however the stream is cut, and no longer than allowed. */
#include "base/line_reader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static bool collect(struct str line, bool too_long, void *arg)
{
    struct buf *out = arg;
    buf_addf(out, "%s<%.*s>", too_long ? "!" : "", STR_FMT(line));
    return true;
}

static void check(const char *text, const char *want, size_t max)
{
    size_t n = strlen(text);
    for (size_t cut = 0; cut <= n; cut++) {
        struct line_reader r = {.max = max};
        struct buf out = {0};
        assert_true(line_reader_feed(&r, text, cut, collect, &out));
        assert_true(line_reader_feed(&r, text + cut, n - cut, collect, &out));
        line_reader_end(&r, collect, &out);
        if (!str_eq(buf_str(&out), str_of(want)))
            fail_msg("cut at %zu: %.*s", cut, (int)out.n, out.p);
        buf_fini(&out);
        line_reader_fini(&r);
    }
}

static void test_lines_are_whole_wherever_the_stream_is_cut(void **state)
{
    (void)state;
    check("a\nbc\r\n\n\r\nd", "<a><bc><d>", 0);
    check("", "", 0);
    check("\n\n", "", 0);
    check("a\rb\n", "<a\rb>", 0);
}

static bool mark(struct str line, bool too_long, void *arg)
{
    struct buf *out = arg;
    buf_addc(out, too_long ? '!' : '.');
    assert_true(line.n > 0 && (too_long || line.n <= 4));
    return true;
}

static void test_long_lines_are_dropped_and_told_once(void **state)
{
    (void)state;
    static const char text[] = "abcd\nabcde\nab\nabcdefghijklmnop\nabc";
    for (size_t cut = 0; cut < sizeof text; cut++) {
        struct line_reader r = {.max = 4};
        struct buf out = {0};
        assert_true(line_reader_feed(&r, text, cut, mark, &out));
        assert_true(r.part.n <= 4);
        assert_true(line_reader_feed(&r, text + cut, sizeof text - 1 - cut, mark, &out));
        line_reader_end(&r, mark, &out);
        if (!str_eq(buf_str(&out), STR(".!.!.")))
            fail_msg("cut at %zu: %.*s", cut, (int)out.n, out.p);
        buf_fini(&out);
        line_reader_fini(&r);
    }
}

static bool stop(struct str line, bool too_long, void *arg)
{
    (void)line;
    (void)too_long;
    return ++*(int *)arg < 2;
}

static void test_a_reader_stops_when_told(void **state)
{
    (void)state;
    struct line_reader r = {0};
    int seen = 0;
    assert_false(line_reader_feed(&r, "a\nb\nc\n", 6, stop, &seen));
    assert_int_equal(seen, 2);
    line_reader_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_are_whole_wherever_the_stream_is_cut),
        cmocka_unit_test(test_long_lines_are_dropped_and_told_once),
        cmocka_unit_test(test_a_reader_stops_when_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
