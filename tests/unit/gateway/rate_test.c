/* Rates: every way to write one, and what is none. */
#include "gateway/rate.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void assert_rate(const char *text, uint32_t limit, int window_ms)
{
    struct rate r;
    struct err e = {0};
    if (!rate_parse(str_of(text), &r, &e))
        fail_msg("\"%s\" %s", text, e.msg);
    assert_int_equal(r.limit, limit);
    assert_int_equal(r.window_ms, window_ms);
}

static void assert_none(const char *text)
{
    struct rate r = {7, 7};
    struct err e = {0};
    if (rate_parse(str_of(text), &r, &e))
        fail_msg("\"%s\" is a rate", text);
    assert_false(rate_is_set(r));
    assert_int_equal(e.kind, ERR_CONFIG);
    assert_memory_equal(e.msg, "is not a rate: ", 15);
}

static void every_unit_is_known_in_any_case(void **state)
{
    (void)state;
    static const char *const seconds[] = {"5/s", "5/sec", "5/second", "5/SEC", "5/Second"};
    static const char *const minutes[] = {"5/m", "5/min", "5/minute", "5/MIN", "5/Minute"};
    static const char *const hours[] = {"5/h", "5/hr", "5/hour", "5/Hr"};
    static const char *const days[] = {"5/d", "5/day", "5/DAY"};
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++)
        assert_rate(seconds[i], 5, 1000);
    for (size_t i = 0; i < sizeof minutes / sizeof *minutes; i++)
        assert_rate(minutes[i], 5, 60000);
    for (size_t i = 0; i < sizeof hours / sizeof *hours; i++)
        assert_rate(hours[i], 5, 3600000);
    for (size_t i = 0; i < sizeof days / sizeof *days; i++)
        assert_rate(days[i], 5, 86400000);
}

static void blanks_do_not_matter(void **state)
{
    (void)state;
    assert_rate("  10 /\tmin \n", 10, 60000);
    assert_rate("10/ s", 10, 1000);
}

static void none_and_less_mean_never(void **state)
{
    (void)state;
    assert_rate("0/min", 0, 60000);
    assert_rate("-3/min", 0, 60000);
}

static void anything_else_is_refused(void **state)
{
    (void)state;
    static const char *const none[] = {
        "",        "/",     "10",       "10/",     "/min",    "ten/min",      "10/week",
        "10/mins", "1.5/s", "10/5 min", "10//min", "10/min/", "1000000001/s", "+1/s",
        "--1/s",   "-/s",   "1 0/s",    "10/m n",
    };
    for (size_t i = 0; i < sizeof none / sizeof *none; i++)
        assert_none(none[i]);
}

static void a_rate_is_shown_as_it_is_written(void **state)
{
    (void)state;
    static const char *const rates[] = {"1/s", "5/min", "0/h", "1000000000/day"};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        struct rate r;
        struct err e;
        struct buf b = {0};
        assert_true(rate_parse(str_of(rates[i]), &r, &e));
        rate_format(r, &b);
        assert_true(str_eq(buf_str(&b), str_of(rates[i])));
        buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_unit_is_known_in_any_case),
        cmocka_unit_test(blanks_do_not_matter),
        cmocka_unit_test(none_and_less_mean_never),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(a_rate_is_shown_as_it_is_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
