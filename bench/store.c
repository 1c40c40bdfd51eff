/* What the store costs, and how soon it is back. Prints one JSON object a line: CPU of this process
 * an operation in ns, for memory and for a real redis-server with so many operations under way;
 * then, under load, Redis killed, stopped and failed over: how long until an operation was answered
 * again after Redis itself answered, and whether each operation ended once. */
#include "base/log.h"
#include "tests/unit/store/redis_load.h"

#include <sched.h>
#include <time.h>

enum { MEMORY_OPS = 1000000, REDIS_OPS = 50000, LONE_OPS = 3000, TURNS = 5, DEPTH_MAX = 64 };

static struct process redis, replica, sentinels[3];

static int64_t cpu_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

/* ---- what is measured ---- */

static struct str keys[16];
static struct store_key key_texts[16];
static struct store_window windows[3];

static void make_keys(void)
{
    for (int i = 0; i < 16; i++) {
        char name[16];
        int n = snprintf(name, sizeof name, "key%d", i);
        keys[i] =
            store_key(store, &key_texts[i], "bench", STR("tag"), &(struct str){name, (size_t)n}, 1);
    }
}

typedef bool (*measured_fn)(struct store_op *op, int64_t i, struct store_reply *r);

static bool do_get(struct store_op *op, int64_t i, struct store_reply *r)
{
    return store_get(store, op, keys[i % 8], r);
}

static bool do_set(struct store_op *op, int64_t i, struct store_reply *r)
{
    static const char value[256] = "value";
    return store_set(store, op, keys[i % 8], (struct str){value, sizeof value}, 60000, STORE_ALWAYS,
                     r);
}

/* The window is so short that nearly all are admitted, and its log is long. */
static bool do_admit(struct store_op *op, int64_t i, struct store_reply *r)
{
    windows[0] = (struct store_window){keys[8 + i % 4], 1000, 1};
    return store_admit(store, op, windows, 1, r);
}

static bool do_admit_3(struct store_op *op, int64_t i, struct store_reply *r)
{
    for (int k = 0; k < 3; k++)
        windows[k] = (struct store_window){keys[8 + (i + k) % 4], 1000, 1};
    return store_admit(store, op, windows, 3, r);
}

static bool do_admit_large(struct store_op *op, int64_t i, struct store_reply *r)
{
    windows[0] = (struct store_window){keys[12 + i % 4], 1000000, 60000};
    return store_admit(store, op, windows, 1, r);
}

static const struct measured {
    const char *name;
    measured_fn fn;
} all_measured[] = {
    {"set 256 B", do_set},
    {"get 256 B", do_get},
    {"admit", do_admit},
    {"admit 3 windows", do_admit_3},
    {"admit, limit 1,000,000", do_admit_large},
};

/* ---- so many under way ---- */

static struct run {
    const struct measured *m;
    struct store_op ops[DEPTH_MAX];
    int64_t begun_us[DEPTH_MAX], started, ended, want;
    int64_t *took_us;
    bool failed;
} run;

static void run_next(int slot);

static void on_run_reply(const struct store_reply *r, void *arg)
{
    int slot = (int)((struct store_op *)arg - run.ops);
    run.failed = run.failed || r->status == STORE_AWAY;
    run.took_us[run.ended++] = clock_us() - run.begun_us[slot];
    if (run.started < run.want)
        run_next(slot);
    else if (run.ended == run.want)
        loop_stop(loop);
}

static void run_next(int slot)
{
    struct store_reply r;
    run.ops[slot] = (struct store_op){.fn = on_run_reply, .arg = &run.ops[slot]};
    run.begun_us[slot] = clock_us();
    if (run.m->fn(&run.ops[slot], run.started++, &r))
        run.failed = true; /* Redis answers later; what comes at once is AWAY */
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void measure_redis(const struct measured *m, int depth)
{
    int64_t n = depth == 1 ? LONE_OPS : REDIS_OPS;
    run = (struct run){.m = m, .want = n, .took_us = xcalloc((size_t)n, sizeof(int64_t))};
    int64_t cpu = cpu_ns(), wall = clock_us();
    for (int i = 0; i < depth; i++)
        run_next(i);
    while (run.ended < run.want && !run.failed)
        loop_run(loop);
    cpu = cpu_ns() - cpu;
    wall = clock_us() - wall;
    qsort(run.took_us, (size_t)n, sizeof(int64_t), by_value);
    printf("{\"case\":\"store\",\"target\":\"redis\",\"op\":\"%s\",\"depth\":%d,\"cpu_ns\":%lld,"
           "\"rps\":%lld,\"p50_us\":%lld,\"p99_us\":%lld,\"errors\":%d}\n",
           m->name, depth, (long long)(cpu / n), (long long)(n * 1000000 / wall),
           (long long)run.took_us[n / 2], (long long)run.took_us[n * 99 / 100], run.failed);
    (void)fflush(stdout);
    free(run.took_us);
}

static void measure_memory(const struct measured *m)
{
    struct store_reply r;
    int64_t best = INT64_MAX;
    for (int turn = 0; turn < TURNS; turn++) {
        int64_t cpu = cpu_ns();
        for (int64_t i = 0; i < MEMORY_OPS; i++)
            (void)m->fn(NULL, i, &r);
        cpu = cpu_ns() - cpu;
        best = cpu < best ? cpu : best;
    }
    printf("{\"case\":\"store\",\"target\":\"memory\",\"op\":\"%s\",\"cpu_ns\":%lld}\n", m->name,
           (long long)(best / MEMORY_OPS));
    (void)fflush(stdout);
}

/* ---- chaos ---- */

static void report(const char *what, int64_t redis_back_us, int64_t gone_us)
{
    int64_t back = load.first_ok_us;
    load_until_well(200);
    load_finish();
    printf("{\"case\":\"store-chaos\",\"target\":\"%s\",\"away_ms\":%lld,\"back_ms\":%lld,"
           "\"slowest_op_ms\":%lld,\"ops\":%lld,\"ended\":%lld,\"away_answers\":%lld}\n",
           what, (long long)((back - gone_us) / 1000),
           (long long)(redis_back_us ? (back - redis_back_us) / 1000 : -1),
           (long long)(load.slowest_us / 1000), (long long)load.started, (long long)load.ended,
           (long long)load.status[STORE_AWAY]);
    (void)fflush(stdout);
}

/* From now on an OK means that the store is back. */
static void wait_for_ok(void)
{
    load.first_ok_us = 0;
    while (!load.first_ok_us)
        wait_ms(1);
}

static void chaos_stop(int64_t ms)
{
    load_begin();
    load_until_well(200);
    int64_t gone = clock_us();
    (void)kill(redis.pid, SIGSTOP);
    wait_ms(ms);
    (void)kill(redis.pid, SIGCONT);
    int64_t back = clock_us();
    wait_for_ok();
    report(ms < 1000 ? "stopped 300 ms" : "stopped 3 s", back, gone);
}

static void chaos_kill(void)
{
    load_begin();
    load_until_well(200);
    int64_t gone = clock_us();
    end_process(&redis);
    wait_ms(2000);
    load.first_ok_us = 0;
    start_redis(&redis, ""); /* returns when it answers a PING */
    int64_t back = clock_us();
    while (!load.first_ok_us)
        wait_ms(1);
    report("killed, restarted after 2 s", back, gone);
}

static void chaos_failover(void)
{
    char extra[64], port[8];
    start_redis(&redis, "");
    (void)snprintf(extra, sizeof extra, "replicaof 127.0.0.1 %u\n", redis.port);
    start_redis(&replica, extra);
    (void)snprintf(port, sizeof port, "%u", replica.port);
    for (int i = 0; i < 3; i++)
        start_sentinel(&sentinels[i], redis.port);
    for (int i = 0; i < 3; i++)
        while (!strstr(admin(sentinels[i].port, "SENTINEL ckquorum main"), "OK 3") ||
               !strstr(admin(sentinels[i].port, "SENTINEL master main"), "num-slaves\r\n$1\r\n1"))
            (void)poll(NULL, 0, 20);
    open_store_with((struct store_options){.op_ms = 50, .connect_ms = 200},
                    "redis+sentinel://app:secret@127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u/main",
                    sentinels[0].port, sentinels[1].port, sentinels[2].port);
    load_begin();
    load_until_well(200);
    int64_t gone = clock_us(), back = 0;
    end_process(&redis);
    load_until_away();
    load.first_ok_us = 0;
    while (!load.first_ok_us) {
        if (!back &&
            strstr(admin(sentinels[0].port, "SENTINEL get-master-addr-by-name main"), port))
            back = clock_us();
        wait_ms(2);
    }
    report("failover by Sentinel (down after 500 ms)", back ? back : clock_us(), gone);
    close_store();
    end_process(&redis);
    end_process(&replica);
    for (int i = 0; i < 3; i++)
        end_process(&sentinels[i]);
}

int main(int argc, char **argv)
{
    bool chaos = argc > 1 && strcmp(argv[1], "chaos") == 0;
    struct store_url url = {0};
    struct err e;
    log_configure(LV_ERROR, false);
    make_scratch();
    if (!chaos) {
        metrics_register(store_metric_rows, store_metric_row_count);
        hub = store_hub_new(
            &(struct store_options){.url = &url, .prefix = "hg", .memory_bytes = 64 << 20}, &e);
        loop = loop_new("bench");
        store = store_open(hub, loop);
        make_keys();
        for (size_t i = 0; i < sizeof all_measured / sizeof *all_measured; i++)
            measure_memory(&all_measured[i]);
        close_store();
    }
    start_redis(&redis, "");
    open_store_with((struct store_options){.op_ms = chaos ? 50 : 5000, .connect_ms = 200},
                    "redis://app:secret@127.0.0.1:%u", redis.port);
    make_keys();
    load_begin();
    load_until_well(1);
    load_finish();
    for (size_t i = 0; !chaos && i < sizeof all_measured / sizeof *all_measured; i++)
        for (int depth = 1; depth <= 64; depth *= 8)
            measure_redis(&all_measured[i], depth);
    for (int i = 0; chaos && i < TURNS; i++) {
        chaos_stop(300);
        chaos_stop(3000);
        chaos_kill();
    }
    close_store();
    end_process(&redis);
    redis = (struct process){0};
    if (chaos)
        chaos_failover();
    remove_scratch();
    return 0;
}
