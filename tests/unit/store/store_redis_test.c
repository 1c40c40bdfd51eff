/* The store in a real Redis, as the least-privileged user: the cases of every backend; what the ACL
 * grants and refuses. */
#include "tests/unit/store/store_cases.h"

#include "tests/unit/store/redis_fixture.h"

static struct process redis;
static struct store_hub *hub;

/* Time goes by for Redis only by waiting. */
static void wait_ms(int64_t ms)
{
    struct timer t = {0};
    timer_set(&t, loop, ms, (loop_fn)loop_stop, loop);
    while (timer_armed(&t))
        loop_run(loop);
}

static void open_store(const char *text)
{
    struct store_url url = {0};
    struct err e;
    assert_true(store_url_parse(str_of(text), &url, &e));
    const struct store_options o = {.url = &url,
                                    .prefix = "hg",
                                    .op_ms = 5000, /* not what is tested here */
                                    .connect_ms = 5000,
                                    .memory_bytes = 8 << 20,
                                    .keys = fleet_keys,
                                    .key_count = 2,
                                    .replica = "one"};
    metrics_register(store_metric_rows, store_metric_row_count);
    hub = store_hub_new(&o, &e);
    assert_non_null(hub);
    store_url_fini(&url);
    loop = loop_new("test");
    store = store_open(hub, loop);
    other = store_open(hub, loop);
    pass = wait_ms;
}

static void close_store(void)
{
    store_close(&store);
    store_close(&other);
    loop_free(&loop);
    store_hub_free(&hub);
    metrics_reset();
}

static int set_up(void **state)
{
    (void)state;
    char url[128];
    make_scratch();
    start_redis(&redis, "");
    (void)snprintf(url, sizeof url, "redis://app:secret@127.0.0.1:%u", redis.port);
    open_store(url);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_store();
    end_process(&redis);
    remove_scratch();
    fini_cases();
    return 0;
}

static void the_store_is_up_and_counts_itself(void **state)
{
    (void)state;
    assert_int_equal(DO(store, get, key_of("any")), STORE_ABSENT);
    assert_true(store_is_up(store));
    assert_string_equal(store_name(store), "redis");
    assert_true(store_local(store) != store);
    assert_int_equal(store_replicas(store), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CASES,
        cmocka_unit_test(the_store_is_up_and_counts_itself),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
