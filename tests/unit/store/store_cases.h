/* What every backend must do: one table of cases over the handles that a program sets up. Each
 * program includes it once. */
#ifndef TESTS_STORE_CASES_H
#define TESTS_STORE_CASES_H

#include "tests/unit/store/store_fixture.h"

/* ---- values ---- */

static void a_value_is_absent_until_set_and_after_it_was_deleted(void **state)
{
    (void)state;
    struct str k = key_of("value");
    assert_int_equal(DO(store, get, k), STORE_ABSENT);
    assert_int_equal(DO(store, del, k), STORE_ABSENT);
    assert_int_equal(DO(store, set, k, STR("one"), 60000, STORE_ALWAYS), STORE_OK);
    assert_int_equal(DO(other, get, k), STORE_OK);
    assert_value("one");
    assert_int_equal(DO(store, set, k, STR("two"), 60000, STORE_ALWAYS), STORE_OK);
    assert_int_equal(DO(other, get, k), STORE_OK);
    assert_value("two");
    assert_int_equal(DO(store, del, k), STORE_OK);
    assert_int_equal(DO(other, get, k), STORE_ABSENT);
}

static void only_the_first_sets_what_must_be_absent(void **state)
{
    (void)state;
    struct str k = key_of("lock");
    assert_int_equal(DO(store, set, k, STR("a"), 60000, STORE_IF_ABSENT), STORE_OK);
    assert_int_equal(DO(other, set, k, STR("b"), 60000, STORE_IF_ABSENT), STORE_HELD);
    assert_int_equal(DO(other, get, k), STORE_OK);
    assert_value("a");
}

static void a_lock_is_released_and_prolonged_by_its_holder_alone(void **state)
{
    (void)state;
    struct str k = key_of("held");
    assert_int_equal(DO(store, del_if, k, STR("a")), STORE_ABSENT);
    assert_int_equal(DO(store, extend, k, STR("a"), 60000), STORE_ABSENT);
    assert_int_equal(DO(store, set, k, STR("a"), 60000, STORE_IF_ABSENT), STORE_OK);
    assert_int_equal(DO(other, del_if, k, STR("b")), STORE_HELD);
    assert_int_equal(DO(other, del_if, k, STR("")), STORE_HELD);
    assert_int_equal(DO(other, extend, k, STR("b"), 1), STORE_HELD);
    assert_int_equal(DO(store, extend, k, STR("a"), 50000), STORE_OK);
    assert_int_equal(DO(other, get, k), STORE_OK);
    assert_value("a");
    assert_int_equal(DO(store, del_if, k, STR("a")), STORE_OK);
    assert_int_equal(DO(other, get, k), STORE_ABSENT);
}

static void a_value_ends_with_its_time(void **state)
{
    (void)state;
    struct str k = key_of("short"), kept = key_of("kept");
    assert_int_equal(DO(store, set, k, STR("x"), 60, STORE_ALWAYS), STORE_OK);
    assert_int_equal(DO(store, set, kept, STR("y"), 60, STORE_ALWAYS), STORE_OK);
    assert_int_equal(DO(store, extend, kept, STR("y"), 60000), STORE_OK);
    pass(80);
    assert_int_equal(DO(store, get, k), STORE_ABSENT);
    assert_int_equal(DO(other, set, k, STR("z"), 60000, STORE_IF_ABSENT), STORE_OK);
    assert_int_equal(DO(store, get, kept), STORE_OK);
    assert_value("y");
}

static void any_bytes_up_to_the_bound_come_back(void **state)
{
    (void)state;
    struct str k = key_of("bytes");
    char *big = xmalloc(STORE_VALUE_MAX + 1);
    for (size_t i = 0; i <= STORE_VALUE_MAX; i++)
        big[i] = (char)(i * 31);
    assert_int_equal(DO(store, set, k, STR(""), 60000, STORE_ALWAYS), STORE_OK);
    assert_int_equal(DO(other, get, k), STORE_OK);
    assert_value("");
    struct str all = {big, STORE_VALUE_MAX};
    assert_int_equal(DO(store, set, k, all, 60000, STORE_ALWAYS), STORE_OK);
    assert_int_equal(DO(other, get, k), STORE_OK);
    assert_true(str_eq(buf_str(&last.value), all));
    all.n++;
    assert_int_equal(DO(store, set, k, all, 60000, STORE_ALWAYS), STORE_AWAY);
    assert_int_equal(DO(store, del, k), STORE_OK);
    free(big);
}

/* ---- windows ---- */

static void a_window_admits_its_limit_and_one_more_when_it_says(void **state)
{
    (void)state;
    struct store_window w = window_of("three", 3, 400);
    for (int left = 2; left >= 0; left--) {
        assert_int_equal(DO(store, admit, &w, 1), STORE_OK);
        assert_int_equal(last.r.number, left);
    }
    assert_int_equal(DO(other, admit, &w, 1), STORE_HELD);
    assert_int_equal(last.r.window, 0);
    assert_in_range(last.r.retry_ms, 1, 400);
    pass(last.r.retry_ms);
    assert_int_equal(DO(other, admit, &w, 1), STORE_OK);
}

static void a_window_slides_from_one_admission_to_the_next(void **state)
{
    (void)state;
    struct store_window w = window_of("slides", 2, 900);
    assert_int_equal(DO(store, admit, &w, 1), STORE_OK);
    pass(300);
    assert_int_equal(DO(store, admit, &w, 1), STORE_OK);
    assert_int_equal(DO(store, admit, &w, 1), STORE_HELD);
    assert_in_range(last.r.retry_ms, 1, 600); /* the first leaves, the second stays */
    pass(last.r.retry_ms);
    assert_int_equal(DO(store, admit, &w, 1), STORE_OK);
}

static void refusals_do_not_count(void **state)
{
    (void)state;
    struct store_window w = window_of("one", 1, 300);
    assert_int_equal(DO(store, admit, &w, 1), STORE_OK);
    for (int i = 0; i < 20; i++)
        assert_int_equal(DO(store, admit, &w, 1), STORE_HELD);
    pass(last.r.retry_ms);
    assert_int_equal(DO(store, admit, &w, 1), STORE_OK);
}

static void all_windows_admit_or_none_counts(void **state)
{
    (void)state;
    struct store_window wide = window_of("wide", 10, 60000), tight = window_of("tight", 1, 60000),
                        tighter = window_of("tighter", 1, 90000);
    struct store_window both[] = {wide, tight, tighter};
    assert_int_equal(DO(store, admit, both, 3), STORE_OK);
    assert_int_equal(last.r.number, 0);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(DO(store, admit, both, 3), STORE_HELD);
        assert_int_equal(last.r.window, 2); /* the one that opens last */
        assert_in_range(last.r.retry_ms, 60001, 90000);
    }
    assert_int_equal(DO(store, admit, &wide, 1), STORE_OK);
    assert_int_equal(last.r.number, 8);
}

static void a_limit_of_zero_refuses_for_ever(void **state)
{
    (void)state;
    struct store_window w[] = {window_of("some", 5, 60000), window_of("none", 0, 60000)};
    assert_int_equal(DO(store, admit, w, 2), STORE_HELD);
    assert_int_equal(last.r.window, 1);
    assert_int_equal(last.r.retry_ms, -1);
    assert_int_equal(DO(store, admit, w, 1), STORE_OK);
    assert_int_equal(last.r.number, 4);
}

static void a_large_window_admits_exactly_its_limit(void **state)
{
    (void)state;
    struct store_window w = window_of("large", STORE_EXACT_MAX + 200, 3600000);
    for (int i = 0; i < STORE_EXACT_MAX + 200; i++)
        assert_int_equal(DO(store, admit, &w, 1), STORE_OK);
    assert_int_equal(last.r.number, 0);
    assert_int_equal(DO(other, admit, &w, 1), STORE_HELD);
    assert_in_range(last.r.retry_ms, 3500000, 3660001);
}

static void a_large_window_admits_again_when_it_says(void **state)
{
    (void)state;
    struct store_window w = window_of("rolling", STORE_EXACT_MAX + 1, 600);
    int admitted = 0;
    while (DO(store, admit, &w, 1) == STORE_OK)
        admitted++;
    assert_true(admitted > STORE_EXACT_MAX);
    pass(last.r.retry_ms);
    assert_int_equal(DO(store, admit, &w, 1), STORE_OK);
}

static void a_changed_limit_holds_from_the_next_call(void **state)
{
    (void)state;
    struct store_window w = window_of("changed", 4, 60000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(DO(store, admit, &w, 1), STORE_OK);
    w.limit = 2;
    assert_int_equal(DO(store, admit, &w, 1), STORE_HELD);
    w.limit = 6;
    assert_int_equal(DO(store, admit, &w, 1), STORE_OK);
    assert_int_equal(last.r.number, 1);
    w.limit = 5000;
    assert_int_equal(DO(store, admit, &w, 1), STORE_OK);
}

/* ---- logs ---- */

static void a_log_is_read_on_from_where_the_reader_was(void **state)
{
    (void)state;
    struct str k = key_of("log");
    assert_int_equal(DO(store, read, k, 0), STORE_ABSENT);
    for (int i = 1; i <= 5; i++)
        assert_int_equal(
            DO(store, append, k, ENTRY(i, ((struct str){"abcde" + i - 1, 1})), 0, 60000), STORE_OK);
    assert_int_equal(DO(other, read, k, 0), STORE_OK);
    assert_entries("1=a,2=b,3=c,4=d,5=e,");
    assert_int_equal(DO(other, read, k, 3), STORE_OK);
    assert_entries("4=d,5=e,");
    assert_int_equal(DO(other, read, k, 5), STORE_OK);
    assert_entries("");
    assert_int_equal(DO(other, read, k, 6), STORE_ABSENT);
}

static void a_reader_learns_that_entries_are_gone(void **state)
{
    (void)state;
    struct str k = key_of("trimmed");
    for (int i = 1; i <= 6; i++)
        assert_int_equal(DO(store, append, k, ENTRY(i, STR("v")), i - 2, 60000), STORE_OK);
    assert_int_equal(DO(other, read, k, 0), STORE_ABSENT);
    assert_int_equal(DO(other, read, k, 3), STORE_ABSENT);
    assert_int_equal(DO(other, read, k, 4), STORE_OK);
    assert_entries("5=v,6=v,");
}

static void a_second_writer_learns_where_the_log_ends(void **state)
{
    (void)state;
    struct str k = key_of("writers");
    assert_int_equal(DO(store, append, k, ENTRY(1, STR("a")), 0, 60000), STORE_OK);
    assert_int_equal(DO(store, append, k, ENTRY(2, STR("b")), 0, 60000), STORE_OK);
    assert_int_equal(DO(other, append, k, ENTRY(1, STR("x")), 0, 60000), STORE_HELD);
    assert_int_equal(last.r.number, 2);
    assert_int_equal(DO(other, append, k, ENTRY(3, STR("c")), 0, 60000), STORE_OK);
    assert_int_equal(DO(store, read, k, 0), STORE_OK);
    assert_entries("1=a,2=b,3=c,");
}

static void a_long_log_is_read_in_pieces(void **state)
{
    (void)state;
    enum { ENTRIES = STORE_READ_MAX + 10 };
    struct str k = key_of("long");
    for (int i = 1; i <= ENTRIES; i++)
        assert_int_equal(DO(store, append, k, ENTRY(i, STR("v")), 0, 60000), STORE_OK);
    assert_int_equal(DO(store, read, k, 0), STORE_OK);
    assert_int_equal(last.r.count, STORE_READ_MAX);
    assert_int_equal(DO(store, read, k, STORE_READ_MAX), STORE_OK);
    assert_int_equal(last.r.count, ENTRIES - STORE_READ_MAX);
}

static void large_entries_are_read_in_pieces(void **state)
{
    (void)state;
    struct str k = key_of("heavy");
    char *big = memset(xmalloc(STORE_VALUE_MAX), 'x', STORE_VALUE_MAX);
    struct str whole = {big, STORE_VALUE_MAX}, half = {big, STORE_READ_BYTES / 2};
    assert_int_equal(DO(store, append, k, ENTRY(1, half), 0, 60000), STORE_OK);
    assert_int_equal(DO(store, append, k, ENTRY(2, half), 0, 60000), STORE_OK);
    assert_int_equal(DO(store, append, k, ENTRY(3, whole), 0, 60000), STORE_OK);
    assert_int_equal(DO(store, read, k, 0), STORE_OK);
    assert_int_equal(last.r.count, 2);
    assert_int_equal(DO(store, read, k, 2), STORE_OK);
    assert_int_equal(last.r.count, 1);
    assert_true(str_eq((struct str){last.entries.p + 2, STORE_VALUE_MAX}, whole));
    assert_int_equal(DO(store, del, k), STORE_OK);
    free(big);
}

/* ---- sets ---- */

static void members_are_counted_while_they_live(void **state)
{
    (void)state;
    struct str k = key_of("members");
    assert_int_equal(DO(store, members, k), STORE_ABSENT);
    assert_int_equal(DO(store, join, k, STR("a"), 60000), STORE_OK);
    assert_int_equal(last.r.number, 1);
    assert_int_equal(DO(other, join, k, STR("b"), 60), STORE_OK);
    assert_int_equal(last.r.number, 2);
    assert_int_equal(DO(store, join, k, STR("a"), 60000), STORE_OK);
    assert_int_equal(last.r.number, 2);
    assert_int_equal(DO(store, members, k), STORE_OK);
    assert_int_equal(last.r.count, 2);
    pass(80);
    assert_int_equal(DO(store, members, k), STORE_OK);
    assert_entries("0=a,");
    assert_int_equal(DO(store, join, k, STR("c"), 60000), STORE_OK);
    assert_int_equal(last.r.number, 2);
    assert_int_equal(DO(store, leave, k, STR("a")), STORE_OK);
    assert_int_equal(DO(store, leave, k, STR("a")), STORE_ABSENT);
    assert_int_equal(DO(store, members, k), STORE_OK);
    assert_entries("0=c,");
}

static void a_full_set_takes_nobody_but_who_is_in_it(void **state)
{
    (void)state;
    struct str k = key_of("full");
    char name[16];
    for (int i = 0; i < STORE_MEMBERS_MAX; i++) {
        int n = snprintf(name, sizeof name, "m%d", i);
        assert_int_equal(DO(store, join, k, ((struct str){name, (size_t)n}), 60000), STORE_OK);
    }
    assert_int_equal(last.r.number, STORE_MEMBERS_MAX);
    assert_int_equal(DO(other, join, k, STR("late"), 60000), STORE_HELD);
    assert_int_equal(DO(other, join, k, STR("m7"), 60000), STORE_OK);
    assert_int_equal(DO(store, members, k), STORE_OK);
    assert_int_equal(last.r.count, STORE_MEMBERS_MAX);
    assert_int_equal(DO(store, del, k), STORE_OK);
}

/* ---- messages ---- */

static void a_message_reaches_every_subscription_once(void **state)
{
    (void)state;
    struct hearer a = {0}, b = {0}, c = {0};
    struct str channel = key_of("channel"), elsewhere = key_of("elsewhere");
    hear(&a, store, channel);
    hear(&b, other, channel);
    hear(&c, other, elsewhere);
    wait_for(&a, 1);
    wait_for(&b, 1);
    wait_for(&c, 1);
    assert_int_equal(DO(store, publish, channel, STR("one")), STORE_OK);
    assert_int_equal(DO(other, publish, channel, STR("")), STORE_OK);
    assert_int_equal(DO(other, publish, elsewhere, STR("far")), STORE_OK);
    wait_for(&a, 3);
    wait_for(&b, 3);
    wait_for(&c, 2);
    assert_heard(&c, "![far]");
    assert_int_equal(a.events, 3);
    assert_int_equal(b.events, 3);
    assert_non_null(strstr(a.heard.p, "[one]"));
    assert_non_null(strstr(b.heard.p, "[]"));
    store_unsubscribe(&a.sub);
    store_unsubscribe(&b.sub);
    store_unsubscribe(&c.sub);
    store_unsubscribe(&c.sub);
    buf_fini(&a.heard);
    buf_fini(&b.heard);
    buf_fini(&c.heard);
}

static void a_late_subscription_is_told_of_the_gap_alone(void **state)
{
    (void)state;
    struct hearer a = {0}, b = {0};
    struct str channel = key_of("late");
    hear(&a, store, channel);
    wait_for(&a, 1);
    hear(&b, store, channel);
    wait_for(&b, 1);
    assert_heard(&a, "!");
    assert_heard(&b, "!");
    store_unsubscribe(&a.sub);
    assert_int_equal(DO(store, publish, channel, STR("x")), STORE_OK);
    wait_for(&b, 2);
    assert_heard(&a, "!");
    assert_heard(&b, "![x]");
    store_unsubscribe(&b.sub);
    buf_fini(&a.heard);
    buf_fini(&b.heard);
}

static void a_callback_may_unsubscribe_others_and_itself(void **state)
{
    (void)state;
    struct hearer h[3] = {0}, end = {0};
    struct str channel = key_of("droppers");
    for (int i = 0; i < 3; i++) {
        hear(&h[i], store, channel);
        h[i].drop = &h[(i + 2) % 3].sub;
    }
    hear(&end, store, key_of("end"));
    for (int i = 0; i < 3; i++)
        wait_for(&h[i], 1);
    wait_for(&end, 1);
    assert_int_equal(DO(store, publish, channel, STR("x")), STORE_OK);
    assert_int_equal(DO(store, publish, key_of("end"), STR("x")), STORE_OK);
    wait_for(&end, 2);
    int heard = h[0].events + h[1].events + h[2].events;
    assert_int_equal(heard, 3 + 2); /* of three, one was dropped before its turn */
    for (int i = 0; i < 3; i++) {
        store_unsubscribe(&h[i].sub);
        buf_fini(&h[i].heard);
    }
    store_unsubscribe(&end.sub);
    buf_fini(&end.heard);
}

static void a_cancelled_operation_calls_nobody(void **state)
{
    (void)state;
    struct waiter w = {.op = {.fn = on_reply, .arg = &w}};
    struct str k = key_of("cancelled");
    if (!store_set(store, &w.op, k, STR("v"), 60000, STORE_ALWAYS, NULL)) {
        assert_true(store_waits(&w.op));
        store_cancel(&w.op);
    }
    assert_false(store_waits(&w.op));
    store_cancel(&w.op);
    assert_int_equal(DO(store, get, k), STORE_OK);
    assert_int_equal(w.calls, 0);
}

static void an_operation_without_a_waiter_is_done(void **state)
{
    (void)state;
    struct str k = key_of("unwaited");
    assert_true(store_set(store, NULL, k, STR("v"), 60000, STORE_ALWAYS, NULL));
    assert_int_equal(DO(store, get, k), STORE_OK);
    assert_true(store_del(store, NULL, k, NULL));
    assert_int_equal(DO(store, get, k), STORE_ABSENT);
}

#define STORE_CASES                                                                                \
    cmocka_unit_test(a_value_is_absent_until_set_and_after_it_was_deleted),                        \
        cmocka_unit_test(only_the_first_sets_what_must_be_absent),                                 \
        cmocka_unit_test(a_lock_is_released_and_prolonged_by_its_holder_alone),                    \
        cmocka_unit_test(a_value_ends_with_its_time),                                              \
        cmocka_unit_test(any_bytes_up_to_the_bound_come_back),                                     \
        cmocka_unit_test(a_window_admits_its_limit_and_one_more_when_it_says),                     \
        cmocka_unit_test(a_window_slides_from_one_admission_to_the_next),                          \
        cmocka_unit_test(refusals_do_not_count),                                                   \
        cmocka_unit_test(all_windows_admit_or_none_counts),                                        \
        cmocka_unit_test(a_limit_of_zero_refuses_for_ever),                                        \
        cmocka_unit_test(a_large_window_admits_exactly_its_limit),                                 \
        cmocka_unit_test(a_large_window_admits_again_when_it_says),                                \
        cmocka_unit_test(a_changed_limit_holds_from_the_next_call),                                \
        cmocka_unit_test(a_log_is_read_on_from_where_the_reader_was),                              \
        cmocka_unit_test(a_reader_learns_that_entries_are_gone),                                   \
        cmocka_unit_test(a_second_writer_learns_where_the_log_ends),                               \
        cmocka_unit_test(a_long_log_is_read_in_pieces),                                            \
        cmocka_unit_test(large_entries_are_read_in_pieces),                                        \
        cmocka_unit_test(a_full_set_takes_nobody_but_who_is_in_it),                                \
        cmocka_unit_test(members_are_counted_while_they_live),                                     \
        cmocka_unit_test(a_message_reaches_every_subscription_once),                               \
        cmocka_unit_test(a_late_subscription_is_told_of_the_gap_alone),                            \
        cmocka_unit_test(a_callback_may_unsubscribe_others_and_itself),                            \
        cmocka_unit_test(a_cancelled_operation_calls_nobody),                                      \
        cmocka_unit_test(an_operation_without_a_waiter_is_done)

#endif
