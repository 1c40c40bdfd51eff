/* Event ids and the log of a session's events. */
#include "gateway/replay.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void check_round_trip(const struct replay_id *id, const char *text)
{
    struct buf out = {0}, scratch = {0};
    struct replay_id got;
    replay_id_format(id, &out);
    assert_true(str_eq(buf_str(&out), str_of(text)));
    assert_true(replay_id_parse(buf_str(&out), &scratch, &got));
    assert_int_equal(got.epoch, id->epoch);
    assert_int_equal(got.stream, id->stream);
    assert_true(got.seq == id->seq);
    assert_true(str_eq(got.request, id->request));
    buf_fini(&out);
    buf_fini(&scratch);
}

static void test_ids_are_read_as_they_were_written(void **state)
{
    (void)state;
    check_round_trip(&(struct replay_id){.epoch = 0xfe, .stream = 0, .seq = 1}, "fe.0.1");
    check_round_trip(&(struct replay_id){UINT32_MAX, UINT32_MAX, UINT64_MAX, STR("\"a\"")},
                     "ffffffff.ffffffff.ffffffffffffffff.ImEi");
}

static void test_ids_that_are_none_are_refused(void **state)
{
    static const char *const bad[] = {"",       "1",       "1.2",     "1.2.",        ".2.3",
                                      "1..3",   "1.2.G",   "1.2.3A",  "123456789.2", "-1.2.3",
                                      "1.2.3 ", "1.2.3.!", "1.2.3.=", "1.2.3.A",     "1.2.3.4.5",
                                      " 1.2.3"};
    struct buf scratch = {0};
    struct replay_id id;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (replay_id_parse(str_of(bad[i]), &scratch, &id))
            fail_msg("taken: %s", bad[i]);
    buf_fini(&scratch);
}

static void test_a_long_id_of_a_request_stays_out(void **state)
{
    char request[REPLAY_REQUEST_MAX + 1];
    struct buf out = {0};
    (void)state;
    memset(request, '1', sizeof request);
    replay_id_format(&(struct replay_id){1, 2, 3, {request, sizeof request}}, &out);
    assert_true(str_eq(buf_str(&out), STR("1.2.3")));
    buf_fini(&out);
}

static void test_a_stream_is_read_from_where_it_broke_off(void **state)
{
    struct replay_log l = {0};
    (void)state;
    assert_null(replay_after(&l, 1, 0));
    replay_add(&l, 1, 1, STR("a"), 0);
    replay_add(&l, 2, 1, STR("other"), 0);
    replay_add(&l, 1, 2, STR("b"), 0);
    const struct replay_event *ev = replay_after(&l, 1, 0);
    assert_true(str_eq(ev->data, STR("a")));
    ev = replay_next(ev);
    assert_true(str_eq(ev->data, STR("b")));
    assert_null(replay_next(ev));
    assert_true(replay_after(&l, 1, 1) == ev);
    replay_drop(&l, 1);
    assert_null(replay_after(&l, 1, 0));
    assert_true(str_eq(replay_after(&l, 2, 0)->data, STR("other")));
    replay_fini(&l);
}

static void test_the_log_is_bounded_in_number_bytes_and_age(void **state)
{
    static char big[REPLAY_MAX_BYTES / 2 + 1];
    struct replay_log l = {0};
    (void)state;
    for (uint64_t i = 1; i <= REPLAY_MAX_EVENTS + 5; i++)
        replay_add(&l, 1, i, STR("x"), 0);
    assert_int_equal(l.count, REPLAY_MAX_EVENTS);
    assert_int_equal(replay_after(&l, 1, 0)->seq, 6);
    replay_add(&l, 2, 1, (struct str){big, sizeof big}, 0);
    replay_add(&l, 2, 2, (struct str){big, sizeof big}, 0);
    assert_int_equal(l.count, 1); /* never the newest */
    assert_int_equal(replay_after(&l, 2, 0)->seq, 2);
    replay_trim(&l, REPLAY_MAX_AGE_MS);
    assert_int_equal(l.count, 1);
    replay_trim(&l, REPLAY_MAX_AGE_MS + 1);
    assert_int_equal(l.count, 0);
    assert_int_equal(l.bytes, 0);
    replay_fini(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids_are_read_as_they_were_written),
        cmocka_unit_test(test_ids_that_are_none_are_refused),
        cmocka_unit_test(test_a_long_id_of_a_request_stays_out),
        cmocka_unit_test(test_a_stream_is_read_from_where_it_broke_off),
        cmocka_unit_test(test_the_log_is_bounded_in_number_bytes_and_age),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
