/* Somebody else writes to our Redis: every key that the store keeps becomes every type and garbage,
 * channels carry forged messages. Nothing of it is served, each is counted, and the store goes on.
 */
#include "tests/unit/store/redis_store.h"

#include "store/store_mac.h"

static struct process redis;

static int set_up(void **state)
{
    (void)state;
    make_scratch();
    start_redis(&redis, "");
    open_store("redis://app:secret@127.0.0.1:%u", redis.port);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_store();
    end_process(&redis);
    remove_scratch();
    return 0;
}

static void assert_done(const char *answer)
{
    if (answer[0] == '-' || strstr(answer, "\n-"))
        fail_msg("%s", answer);
}

/* ---- what an attacker leaves at a key; %s is the key ---- */

static const char *const leavings[] = {
    "SET %s garbage",
    "SET %s \"\\x01\"",
    "SETRANGE %s 67108863 x",
    "SET %s \"\\x01 of the right length and version, and yet it is not ours\"",
    "RPUSH %s a b c",
    "SADD %s a b c",
    "ZADD %s 1 a 99999999999999 b 99999999999999 c",
    "HSET %s a b t 9 o 9 c d",
    "XADD %s 1-0 v garbage",
    "XADD %s 1-1 w x y z",
    "XADD %s 18446744073709551614-0 v garbage",
    "PFADD %s a",
    "SETBIT %s 7 1",
    "EVAL \"redis.call('XADD', KEYS[1], '1-0', 'v', string.rep('x', 4194304))\" 1 %s",
    "EVAL \"redis.call('ZADD', KEYS[1], 99999999999999, string.rep('x', 4194304))\" 1 %s",
    "EVAL \"redis.call('HSET', KEYS[1], 't', string.rep('x', 4194304))\" 1 %s",
    "EVAL \"redis.call('RPUSH', KEYS[1], string.rep('x', 4194304))\" 1 %s",
    "EVAL \"for i = 1, 5000 do redis.call('RPUSH', KEYS[1], 'x') end\" 1 %s",
    "EVAL \"for i = 1, 5000 do redis.call('ZADD', KEYS[1], 99999999999999, i) end\" 1 %s",
    "EVAL \"for i = 1, 5000 do redis.call('XADD', KEYS[1], i .. '-0', 'v', 'x') end\" 1 %s",
};
enum { LEAVINGS = sizeof leavings / sizeof *leavings };

static const char *leave(size_t i, struct str key)
{
    char name[STORE_KEY_MAX + 1], command[1024];
    (void)snprintf(name, sizeof name, "%.*s", STR_FMT(key));
    (void)admin(redis.port, "DEL %s", name);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(command, sizeof command, leavings[i], name);
#pragma GCC diagnostic pop
    const char *answer = admin(redis.port, "%s", command);
    assert_done(answer);
    return leavings[i];
}

static void no_foreign_value_is_served(void **state)
{
    (void)state;
    struct str k = key_of("value");
    for (size_t i = 0; i < LEAVINGS; i++) {
        const char *what = leave(i, k);
        int64_t before = forged_so_far();
        enum store_status got = DO(store, get, k);
        if (got != STORE_ABSENT || forged_so_far() != before + 1)
            fail_msg("%s: %d", what, got);
        assert_int_equal(DO(store, set, k, STR("ours"), 60000, STORE_ALWAYS), STORE_OK);
        assert_int_equal(DO(store, get, k), STORE_OK);
        assert_value("ours");
    }
}

static void no_foreign_lock_stands_in_the_way_of_its_holder(void **state)
{
    (void)state;
    struct str k = key_of("lock");
    for (size_t i = 0; i < LEAVINGS; i++) {
        (void)leave(i, k);
        assert_true(DO(store, extend, k, STR("me"), 1000) != STORE_OK);
        (void)leave(i, k);
        assert_true(DO(store, del_if, k, STR("me")) != STORE_OK);
        assert_true(DO(store, del, k) != STORE_AWAY);
        assert_int_equal(DO(store, set, k, STR("me"), 60000, STORE_IF_ABSENT), STORE_OK);
        assert_int_equal(DO(store, del_if, k, STR("me")), STORE_OK);
    }
}

static void no_foreign_entry_of_a_log_is_served(void **state)
{
    (void)state;
    struct str k = key_of("log");
    for (size_t i = 0; i < LEAVINGS; i++) {
        const char *what = leave(i, k);
        int64_t before = forged_so_far();
        enum store_status got = DO(store, read, k, 0);
        if (got != STORE_ABSENT || last.r.count || forged_so_far() != before + 1)
            fail_msg("%s: %d, forged %lld", what, got, (long long)(forged_so_far() - before));
        (void)leave(i, k);
        got = DO(store, append, k, ENTRY(3, STR("ours")), 0, 60000);
        if (got != STORE_OK && got != STORE_HELD)
            fail_msg("%s: %d", what, got);
        assert_int_equal(DO(store, read, k, 0), STORE_ABSENT);
        assert_true(DO(store, del, k) == STORE_OK);
        assert_int_equal(DO(store, append, k, ENTRY(1, STR("ours")), 0, 60000), STORE_OK);
        assert_int_equal(DO(store, read, k, 0), STORE_OK);
        assert_entries("1=ours,");
        assert_int_equal(DO(store, del, k), STORE_OK);
    }
}

static void entries_before_a_forged_one_are_served_and_none_after(void **state)
{
    (void)state;
    struct str k = key_of("tail");
    assert_int_equal(DO(store, append, k, ENTRY(1, STR("a")), 0, 60000), STORE_OK);
    assert_int_equal(DO(store, append, k, ENTRY(2, STR("b")), 0, 60000), STORE_OK);
    assert_done(admin(redis.port, "XADD %.*s 3-0 v forged", STR_FMT(k)));
    assert_int_equal(DO(store, append, k, ENTRY(4, STR("d")), 0, 60000), STORE_OK);
    assert_int_equal(DO(store, read, k, 0), STORE_OK);
    assert_entries("1=a,2=b,");
    assert_int_equal(DO(store, read, k, 2), STORE_ABSENT);
}

static void no_foreign_member_is_served(void **state)
{
    (void)state;
    struct str k = key_of("set");
    for (size_t i = 0; i < LEAVINGS; i++) {
        const char *what = leave(i, k);
        int64_t before = forged_so_far();
        enum store_status got = DO(store, members, k);
        bool empty = i == 6 || i == 14 || i == 18; /* a set of others' members */
        if (got != STORE_ABSENT || forged_so_far() == before)
            fail_msg("%s: %d", what, got);
        got = DO(store, join, k, STR("me"), 60000);
        if (got != STORE_OK && !(empty && got == STORE_HELD))
            fail_msg("%s: %d", what, got);
        if (got == STORE_OK) {
            assert_int_equal(DO(store, members, k), STORE_OK);
            assert_entries("0=me,");
        }
        assert_int_equal(DO(store, del, k), STORE_OK);
    }
}

static void windows_go_on_whatever_is_at_their_key(void **state)
{
    (void)state;
    static const int64_t limits[] = {5, 5000};
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < LEAVINGS; i++) {
            struct store_window w = window_of("window", limits[l], 60000);
            char key[STORE_KEY_MAX + 16];
            int n = snprintf(key, sizeof key, "%.*s%s", STR_FMT(w.key), l ? ":p60000" : ":x");
            const char *what = leave(i, (struct str){key, (size_t)n});
            enum store_status got = DO(store, admit, &w, 1);
            if (got == STORE_AWAY)
                fail_msg("%s: %d", what, got);
            (void)admin(redis.port, "DEL %s", key);
            assert_int_equal(DO(store, admit, &w, 1), STORE_OK);
            assert_int_equal(last.r.number, limits[l] - 1);
            (void)admin(redis.port, "DEL %s", key);
        }
}

/* ---- what was ours once, elsewhere ---- */

static void what_is_ours_counts_only_where_it_was_put(void **state)
{
    (void)state;
    struct str a = key_of("here"), b = key_of("there");
    assert_int_equal(DO(store, set, a, STR("v"), 60000, STORE_ALWAYS), STORE_OK);
    assert_done(admin(redis.port, "COPY %.*s %.*s REPLACE", STR_FMT(a), STR_FMT(b)));
    assert_int_equal(DO(store, get, b), STORE_ABSENT);
    assert_int_equal(DO(store, get, a), STORE_OK);
    /* One bit, anywhere. */
    size_t bits = (STORE_MAC_BYTES + 1) * 8;
    for (size_t bit = 0; bit < bits; bit++) {
        assert_done(admin(redis.port,
                          "EVAL \"return redis.call('SETBIT', KEYS[1], %zu, 1 - "
                          "redis.call('GETBIT', KEYS[1], %zu))\" 1 %.*s",
                          bit, bit, STR_FMT(a)));
        assert_int_equal(DO(store, get, a), STORE_ABSENT);
        assert_done(admin(redis.port,
                          "EVAL \"return redis.call('SETBIT', KEYS[1], %zu, 1 - "
                          "redis.call('GETBIT', KEYS[1], %zu))\" 1 %.*s",
                          bit, bit, STR_FMT(a)));
    }
    assert_int_equal(DO(store, get, a), STORE_OK);
    assert_done(admin(redis.port, "APPEND %.*s x", STR_FMT(a)));
    assert_int_equal(DO(store, get, a), STORE_ABSENT);
}

static void what_has_ended_is_not_brought_back(void **state)
{
    (void)state;
    struct str k = key_of("ended");
    assert_int_equal(DO(store, set, k, STR("v"), 50, STORE_ALWAYS), STORE_OK);
    assert_done(admin(redis.port, "PERSIST %.*s", STR_FMT(k)));
    clock_advance(60000);
    int64_t before = forged_so_far();
    assert_int_equal(DO(store, get, k), STORE_ABSENT);
    assert_int_equal(forged_so_far(), before + 1);
}

/* ---- messages ---- */

static void no_foreign_message_is_delivered(void **state)
{
    (void)state;
    struct hearer h = {0};
    struct str channel = key_of("channel"), elsewhere = key_of("elsewhere");
    hear(&h, store, channel);
    wait_for(&h, 1);
    int64_t before = metric_get(hub->forged[FORGED_MESSAGE]);
    assert_done(admin(redis.port, "PUBLISH %.*s garbage", STR_FMT(channel)));
    assert_done(admin(redis.port, "PUBLISH %.*s \"\"", STR_FMT(channel)));
    /* A value of ours, and a message of ours to another channel: kept by a listener, sent here. */
    assert_int_equal(DO(store, set, channel, STR("v"), 60000, STORE_ALWAYS), STORE_OK);
    assert_done(admin(redis.port,
                      "EVAL \"return redis.call('PUBLISH', KEYS[1], redis.call('GET', KEYS[1]))\" "
                      "1 %.*s",
                      STR_FMT(channel)));
    assert_int_equal(DO(store, publish, elsewhere, STR("x")), STORE_OK);
    assert_int_equal(DO(store, publish, channel, STR("ours")), STORE_OK);
    wait_for(&h, 2);
    assert_heard(&h, "![ours]");
    assert_int_equal(metric_get(hub->forged[FORGED_MESSAGE]), before + 3);
    store_unsubscribe(&h.sub);
    buf_fini(&h.heard);
}

/* 8 MiB is more than we take from the server, 64 MiB more than the server keeps for us. */
static void an_enormous_message_is_a_gap(void **state)
{
    (void)state;
    struct hearer h = {0};
    struct str channel = key_of("enormous");
    hear(&h, store, channel);
    wait_for(&h, 1);
    int64_t before = metric_get(hub->forged[FORGED_MESSAGE]);
    for (int mib = 8; mib <= 64; mib += 56) {
        assert_done(admin(redis.port,
                          "EVAL \"return redis.call('PUBLISH', KEYS[1], string.rep('x', %d))\" 1 "
                          "%.*s",
                          mib << 20, STR_FMT(channel)));
        wait_for(&h, h.events + 1);
    }
    assert_heard(&h, "!!!");
    assert_int_equal(metric_get(hub->forged[FORGED_MESSAGE]), before + 1);
    assert_int_equal(DO(store, publish, channel, STR("ours")), STORE_OK);
    wait_for(&h, 4);
    assert_heard(&h, "!!![ours]");
    store_unsubscribe(&h.sub);
    buf_fini(&h.heard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_foreign_value_is_served),
        cmocka_unit_test(no_foreign_lock_stands_in_the_way_of_its_holder),
        cmocka_unit_test(no_foreign_entry_of_a_log_is_served),
        cmocka_unit_test(entries_before_a_forged_one_are_served_and_none_after),
        cmocka_unit_test(no_foreign_member_is_served),
        cmocka_unit_test(windows_go_on_whatever_is_at_their_key),
        cmocka_unit_test(what_is_ours_counts_only_where_it_was_put),
        cmocka_unit_test(what_has_ended_is_not_brought_back),
        cmocka_unit_test(no_foreign_message_is_delivered),
        cmocka_unit_test(an_enormous_message_is_a_gap),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
