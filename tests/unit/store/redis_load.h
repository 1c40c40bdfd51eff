/* For tests and the bench: operations of all kinds that run without end against a store, each
 * started when the one before it ended, and the proof that each ended exactly once. */
#ifndef TESTS_REDIS_LOAD_H
#define TESTS_REDIS_LOAD_H

#include "tests/unit/store/redis_store.h"

enum { WORKERS = 16, PAUSE_MS = 2 };

struct worker {
    struct store_op op;
    struct timer pause;
    int step;
    bool waits;
};

static struct load {
    struct worker at[WORKERS];
    int64_t started, ended, status[STATUSES];
    int64_t slowest_us; /* of what was answered later */
    int64_t ok_in_a_row;
    int64_t first_ok_us; /* the first OK since load_forget */
    int64_t begun_us[WORKERS];
    bool stopping;
} load;

static void load_next(void *arg);

static inline void load_done(struct worker *w, const struct store_reply *r)
{
    load.ended++;
    load.status[r->status]++;
    load.ok_in_a_row = r->status == STORE_AWAY ? 0 : load.ok_in_a_row + 1;
    if (r->status != STORE_AWAY && !load.first_ok_us)
        load.first_ok_us = clock_us();
    w->waits = false;
    if (!load.stopping)
        timer_set(&w->pause, loop, PAUSE_MS, load_next, w);
}

static inline void on_load_reply(const struct store_reply *r, void *arg)
{
    struct worker *w = arg;
    assert_true(w->waits);
    int64_t took = clock_us() - load.begun_us[w - load.at];
    load.slowest_us = took > load.slowest_us ? took : load.slowest_us;
    load_done(w, r);
}

static inline bool load_start(struct worker *w, struct store_reply *r)
{
    struct store_window window = window_of("load", 1000000, 60000);
    struct str k = key_of("load");
    switch (w->step++ % 5) {
    case 0: return store_set(store, &w->op, k, STR("value"), 60000, STORE_ALWAYS, r);
    case 1: return store_get(store, &w->op, k, r);
    case 2: return store_join(store, &w->op, key_of("load set"), STR("me"), 60000, r);
    case 3: return store_publish(store, &w->op, k, STR("body"), r);
    default: return store_admit(store, &w->op, &window, 1, r);
    }
}

static inline void load_next(void *arg)
{
    struct worker *w = arg;
    struct store_reply r;
    assert_false(w->waits);
    w->waits = true;
    load.started++;
    load.begun_us[w - load.at] = clock_us();
    if (load_start(w, &r))
        load_done(w, &r);
}

static inline void load_begin(void)
{
    load = (struct load){0};
    for (int i = 0; i < WORKERS; i++) {
        load.at[i].op = (struct store_op){.fn = on_load_reply, .arg = &load.at[i]};
        load_next(&load.at[i]);
    }
}

/* Runs the loop until n operations in a row were answered. */
static inline void load_until_well(int64_t n)
{
    load.ok_in_a_row = 0;
    while (load.ok_in_a_row < n)
        wait_ms(1);
}

static inline void load_until_away(void)
{
    for (int64_t before = load.status[STORE_AWAY]; load.status[STORE_AWAY] == before;)
        wait_ms(1);
}

/* Lets what is under way end. */
static inline void load_finish(void)
{
    load.stopping = true;
    for (int i = 0; i < WORKERS; i++) {
        timer_clear(&load.at[i].pause);
        while (load.at[i].waits)
            wait_ms(1);
        assert_false(store_waits(&load.at[i].op));
    }
    assert_int_equal(load.started, load.ended);
}

#endif
