/* The promise of a rate window, against random traffic: an exact one decides as the log of all
 * admissions would; one in parts never admits too many, and its error stays within its bound. */
#include "store/store_rate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { CALLS = 20000 };

static uint32_t seed;

static uint32_t roll(uint32_t n)
{
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % n;
}

static int64_t admitted_since(const int64_t *at, size_t n, int64_t out)
{
    int64_t count = 0;
    while (n > 0 && at[n - 1] > out) {
        count++;
        n--;
    }
    return count;
}

/* Bursts and pauses. */
static int64_t step_us(int64_t window_us, int64_t limit)
{
    return roll(50 + 2 * (uint32_t)limit) == 0 ? window_us / (1 + roll(3))
                                               : (int64_t)roll((uint32_t)(window_us / limit));
}

static void exact_windows_decide_as_the_whole_log_would(void **state)
{
    (void)state;
    static const int64_t limits[] = {1, 2, 7, 100, STORE_EXACT_MAX};
    int64_t *at = xcalloc(CALLS, sizeof *at);
    for (size_t k = 0; k < sizeof limits / sizeof *limits; k++) {
        struct store_window w = {.limit = limits[k], .window_ms = 1000};
        struct store_rate r = {0};
        int64_t now = 1000000000;
        size_t n = 0;
        for (int i = 0; i < CALLS; i++) {
            now += step_us(1000000, w.limit);
            int64_t count = admitted_since(at, n, now - 1000000);
            struct store_verdict v = store_rate_look(&r, &w, now);
            assert_int_equal(v.left, w.limit - count);
            if (v.left == 0) {
                assert_int_equal(v.retry_us, at[n - (size_t)w.limit] + 1000000 - now);
                continue;
            }
            store_rate_take(&r, &w, now);
            at[n++] = now;
        }
        store_rate_fini(&r);
    }
    free(at);
}

static void windows_in_parts_never_admit_too_many_and_refuse_little_too_long(void **state)
{
    (void)state;
    int64_t *at = xcalloc(CALLS * 4, sizeof *at);
    struct store_window w = {.limit = STORE_EXACT_MAX + 1, .window_ms = 1000};
    struct store_rate r = {0};
    int64_t now = 1000000000, part = 1000000 / STORE_BUCKETS + 1;
    size_t n = 0, refused = 0;
    for (int i = 0; i < CALLS * 4; i++) {
        now += step_us(1000000, w.limit) * 3 / 2;
        int64_t count = admitted_since(at, n, now - 1000000);
        assert_true(count <= w.limit);
        struct store_verdict v = store_rate_look(&r, &w, now);
        if (v.left == 0) {
            /* The error: it may still count what left within the last part. */
            assert_true(admitted_since(at, n, now - 1000000 - part) >= w.limit);
            assert_in_range(v.retry_us, 1, 1000000 + part);
            refused++;
            struct store_rate later = r;
            later.at = xcalloc(STORE_BUCKETS + 1, sizeof *later.at);
            memcpy(later.at, r.at, (STORE_BUCKETS + 1) * sizeof *later.at);
            assert_true(store_rate_look(&later, &w, now + v.retry_us).left > 0);
            store_rate_fini(&later);
            continue;
        }
        assert_true(v.left <= w.limit - count);
        store_rate_take(&r, &w, now);
        at[n++] = now;
    }
    assert_true(refused > 100 && n > 10000);
    store_rate_fini(&r);
    free(at);
}

static void a_window_that_changes_its_kind_begins_anew(void **state)
{
    (void)state;
    struct store_window w = {.limit = 1, .window_ms = 1000};
    struct store_rate r = {0};
    assert_int_equal(store_rate_look(&r, &w, 1).left, 1);
    store_rate_take(&r, &w, 1);
    assert_int_equal(store_rate_look(&r, &w, 2).left, 0);
    w.limit = 5000;
    assert_int_equal(store_rate_look(&r, &w, 3).left, 5000);
    store_rate_take(&r, &w, 3);
    w.window_ms = 5000;
    assert_int_equal(store_rate_look(&r, &w, 4).left, 5000);
    w.limit = 3;
    assert_int_equal(store_rate_look(&r, &w, 5).left, 3);
    store_rate_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_windows_decide_as_the_whole_log_would),
        cmocka_unit_test(windows_in_parts_never_admit_too_many_and_refuse_little_too_long),
        cmocka_unit_test(a_window_that_changes_its_kind_begins_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
