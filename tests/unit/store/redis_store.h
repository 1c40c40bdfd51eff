/* For tests: the handles of store_fixture.h on a real Redis. Each program includes it once. */
#ifndef TESTS_REDIS_STORE_H
#define TESTS_REDIS_STORE_H

#include "tests/unit/store/redis_fixture.h"
#include "tests/unit/store/store_fixture.h"

static struct store_hub *hub;

/* Time goes by for Redis only by waiting. */
static void wait_ms(int64_t ms)
{
    struct timer t = {0};
    timer_set(&t, loop, ms + 2, (loop_fn)loop_stop, loop); /* timers are coarse */
    while (timer_armed(&t))
        loop_run(loop);
}

/* o: what is not as usual. */
static inline void open_store_with(struct store_options o, const char *fmt, ...)
{
    struct store_url url = {0};
    struct err e;
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (!store_url_parse(str_of(text), &url, &e))
        fail_msg("%s", e.msg);
    o.url = &url;
    o.prefix = "hg";
    o.op_ms = o.op_ms ? o.op_ms : 5000; /* deadlines are not what most tests are about */
    o.connect_ms = o.connect_ms ? o.connect_ms : 5000;
    o.memory_bytes = 8 << 20;
    o.keys = o.keys ? o.keys : fleet_keys;
    o.key_count = o.key_count ? o.key_count : 2;
    o.replica = "one";
    metrics_register(store_metric_rows, store_metric_row_count);
    hub = store_hub_new(&o, &e);
    if (!hub)
        fail_msg("%s", e.msg);
    store_url_fini(&url);
    loop = loop_new("test");
    store = store_open(hub, loop);
    other = store_open(hub, loop);
    pass = wait_ms;
}

#define open_store(...) open_store_with((struct store_options){0}, __VA_ARGS__)

static void close_store(void)
{
    store_close(&store);
    store_close(&other);
    loop_free(&loop);
    store_hub_free(&hub);
    metrics_reset();
    fini_cases();
}

static inline int64_t forged_so_far(void)
{
    int64_t sum = 0;
    for (int i = 0; i < FORGERIES; i++)
        sum += metric_get(hub->forged[i]);
    return sum;
}

#endif
