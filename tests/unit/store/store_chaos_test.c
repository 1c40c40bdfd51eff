/* Redis goes away under load in every way: each operation ends exactly once, nothing waits longer
 * than its deadline allows, and the store is back when Redis is. */
#include "tests/unit/store/redis_load.h"

#include "store/store_redis.h"

static struct redis_store *of(struct store *s)
{
    return (struct redis_store *)(void *)s;
}

static struct process redis, replica, sentinels[3];
static struct hearer hearer;

static void begin_with(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void begin_with(const char *fmt, ...)
{
    char url[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(url, sizeof url, fmt, ap);
    va_end(ap);
    open_store_with((struct store_options){.op_ms = 50, .connect_ms = 200}, "%s", url);
    hearer = (struct hearer){0};
    hear(&hearer, other, key_of("changes"));
    wait_for(&hearer, 1);
    load_begin();
    load_until_well(200);
}

static int set_up(void **state)
{
    (void)state;
    make_scratch();
    start_redis(&redis, "");
    begin_with("redis://app:secret@127.0.0.1:%u", redis.port);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    store_unsubscribe(&hearer.sub);
    buf_fini(&hearer.heard);
    close_store();
    end_process(&redis);
    end_process(&replica);
    for (int i = 0; i < 3; i++)
        end_process(&sentinels[i]);
    redis = replica = (struct process){0};
    remove_scratch();
    return 0;
}

/* All is as before: operations, state, messages. */
static void assert_well(void)
{
    load_until_well(200);
    assert_true(store_is_up(store));
    hearer.heard.n = 0;
    while (hearer.heard.n == 0 ||
           hearer.heard.p[hearer.heard.n - 1] != ']') { /* no gap: a message */
        assert_true(store_publish(store, NULL, key_of("changes"), STR("x"), NULL));
        wait_ms(20);
    }
    load_finish();
    assert_true(load.status[STORE_OK] > 0);
    assert_int_equal(forged_so_far(), 0);
}

static void a_killed_server_that_comes_back_is_used_again(void **state)
{
    (void)state;
    end_process(&redis);
    load_until_away();
    while (store_is_up(store))
        wait_ms(1);
    for (int i = 0; i < 20; i++) { /* nobody waits for what is known to be away */
        assert_int_equal(DO(store_local(store), set, key_of("own"), STR("v"), 1000, STORE_ALWAYS),
                         STORE_OK);
        wait_ms(5);
    }
    assert_int_equal(metric_get(hub->up), 0);
    start_redis(&redis, "");
    assert_well();
    assert_int_equal(metric_get(hub->up), 1);
    assert_true(metric_get(hub->reconnects) > 0);
}

static void a_server_that_stands_still_is_away_and_back_when_it_goes_on(void **state)
{
    (void)state;
    assert_int_equal(kill(redis.pid, SIGSTOP), 0);
    load_until_away();
    wait_ms(100);
    assert_int_equal(metric_get(hub->up), 0);
    assert_int_equal(kill(redis.pid, SIGCONT), 0);
    assert_well(); /* the same connection: it was no more than a pause */
    assert_int_equal(metric_get(hub->up), 1);
}

static void a_server_that_stands_still_for_long_is_left_and_found_again(void **state)
{
    (void)state;
    assert_int_equal(kill(redis.pid, SIGSTOP), 0);
    load_until_away();
    while (of(store)->link.failures < 2) /* attempts that nobody answers */
        wait_ms(5);
    assert_int_equal(DO(other, get, key_of("any")), STORE_AWAY);
    assert_int_equal(kill(redis.pid, SIGCONT), 0);
    assert_well();
}

static void a_connection_that_the_server_closes_is_made_again(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        int64_t before = metric_get(hub->reconnects);
        (void)admin(redis.port, "CLIENT KILL TYPE normal SKIPME yes");
        while (metric_get(hub->reconnects) == before)
            wait_ms(1);
        load_until_well(50);
    }
    int before = hearer.events;
    (void)admin(redis.port, "CLIENT KILL TYPE pubsub");
    wait_for(&hearer, before + 1);
    assert_true(hearer.heard.p[hearer.heard.n - 1] == '!');
    assert_well();
}

static void a_server_that_becomes_read_only_is_away_until_it_is_master_again(void **state)
{
    (void)state;
    assert_non_null(strstr(admin(redis.port, "REPLICAOF 127.0.0.1 %u", free_port()), "+OK"));
    load_until_away();
    while (of(store)->link.failures < 2)
        wait_ms(5);
    assert_false(store_is_up(store));
    assert_non_null(strstr(admin(redis.port, "REPLICAOF NO ONE"), "+OK"));
    assert_well();
}

static void closing_ends_what_is_under_way(void **state)
{
    (void)state;
    assert_int_equal(kill(redis.pid, SIGSTOP), 0);
    load.stopping = true;
    store_close(&store);
    for (int i = 0; i < WORKERS; i++) {
        timer_clear(&load.at[i].pause);
        assert_false(load.at[i].waits);
    }
    assert_int_equal(load.started, load.ended);
}

/* ---- Sentinel ---- */

static int set_up_sentinel(void **state)
{
    (void)state;
    char extra[64];
    make_scratch();
    start_redis(&redis, "");
    (void)snprintf(extra, sizeof extra, "replicaof 127.0.0.1 %u\n", redis.port);
    start_redis(&replica, extra);
    for (int i = 0; i < 3; i++)
        start_sentinel(&sentinels[i], redis.port);
    for (int i = 0; i < 3; i++)
        while (!strstr(admin(sentinels[i].port, "SENTINEL ckquorum main"), "OK 3") ||
               !strstr(admin(sentinels[i].port, "SENTINEL master main"), "num-slaves\r\n$1\r\n1"))
            (void)poll(NULL, 0, 20);
    begin_with("redis+sentinel://app:secret@127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u/main",
               sentinels[0].port, sentinels[1].port, sentinels[2].port);
    return 0;
}

static void the_new_master_is_used_after_a_failover(void **state)
{
    (void)state;
    end_process(&redis);
    load_until_away();
    assert_well();
    assert_non_null(strstr(admin(replica.port, "ROLE"), "master"));
}

int main(void)
{
#define CHAOS(test)    cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define FAILOVER(test) cmocka_unit_test_setup_teardown(test, set_up_sentinel, tear_down)
    const struct CMUnitTest tests[] = {
        CHAOS(a_killed_server_that_comes_back_is_used_again),
        CHAOS(a_server_that_stands_still_is_away_and_back_when_it_goes_on),
        CHAOS(a_server_that_stands_still_for_long_is_left_and_found_again),
        CHAOS(a_connection_that_the_server_closes_is_made_again),
        CHAOS(a_server_that_becomes_read_only_is_away_until_it_is_master_again),
        CHAOS(closing_ends_what_is_under_way),
        FAILOVER(the_new_master_is_used_after_a_failover),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
