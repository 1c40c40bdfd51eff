/* Loops in threads of their own share one memory: together they admit what one would, and each
 * hears what any of them publishes. For the thread sanitizer too. */
#include "store/store.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { THREADS = 4, TURNS = 50, OPS_A_TURN = 40, LIMIT = 1000 };

static struct store_hub *hub;
static pthread_barrier_t all_subscribed;

struct party {
    pthread_t thread;
    struct loop *loop;
    struct store *store;
    struct store_sub sub;
    int turns, heard, gaps;
    int64_t admitted, locks;
};

static void on_party_message(enum store_event event, struct str body, void *arg)
{
    struct party *p = arg;
    if (event == STORE_GAP) {
        p->gaps++;
        return;
    }
    assert_true(str_eq(body, STR("news")));
    if (++p->heard == THREADS * TURNS)
        loop_stop(p->loop);
}

static struct str shared_key(struct party *p, struct store_key *k, const char *kind, int i)
{
    char name[16];
    int n = snprintf(name, sizeof name, "%d", i);
    return store_key(p->store, k, kind, STR("tag"), &(struct str){name, (size_t)n}, 1);
}

static void one_round(struct party *p, int i)
{
    struct store_key k[4];
    struct store_reply r;
    struct store_window w = {shared_key(p, &k[0], "window", 0), LIMIT, 3600000};
    assert_true(store_admit(p->store, NULL, &w, 1, &r));
    p->admitted += r.status == STORE_OK;
    struct str lock = shared_key(p, &k[1], "lock", i), value = shared_key(p, &k[2], "value", i % 8);
    assert_true(store_set(p->store, NULL, lock, STR("x"), 3600000, STORE_IF_ABSENT, &r));
    p->locks += r.status == STORE_OK;
    assert_true(store_set(p->store, NULL, value, value, 3600000, STORE_ALWAYS, &r));
    assert_true(store_get(p->store, NULL, value, &r));
    assert_true(r.status == STORE_OK && str_eq(r.value, value));
    assert_true(store_join(p->store, NULL, shared_key(p, &k[3], "set", 0), STR("m"), 3600000, &r));
}

static void on_turn(void *arg)
{
    struct party *p = arg;
    struct store_key k;
    for (int i = 0; i < OPS_A_TURN; i++)
        one_round(p, p->turns * OPS_A_TURN + i);
    (void)store_publish(p->store, NULL, shared_key(p, &k, "news", 0), STR("news"), NULL);
    if (++p->turns < TURNS)
        loop_post(p->loop, on_turn, p);
}

static void *run_party(void *arg)
{
    struct party *p = arg;
    struct store_key k;
    p->sub.fn = on_party_message;
    p->sub.arg = p;
    store_subscribe(p->store, &p->sub, shared_key(p, &k, "news", 0));
    (void)pthread_barrier_wait(&all_subscribed);
    loop_post(p->loop, on_turn, p);
    while (p->heard < THREADS * TURNS)
        loop_run(p->loop);
    store_unsubscribe(&p->sub);
    return NULL;
}

static void loops_share_one_memory(void **state)
{
    (void)state;
    struct party parties[THREADS] = {0};
    struct store_url url = {0};
    struct err e;
    int64_t admitted = 0, locks = 0;
    metrics_register(store_metric_rows, store_metric_row_count);
    hub = store_hub_new(
        &(struct store_options){.url = &url, .prefix = "hg", .memory_bytes = 64 << 20}, &e);
    assert_non_null(hub);
    (void)pthread_barrier_init(&all_subscribed, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        parties[i].loop = loop_new("party");
        parties[i].store = store_open(hub, parties[i].loop);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&parties[i].thread, NULL, run_party, &parties[i]), 0);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(parties[i].thread, NULL);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(parties[i].heard, THREADS * TURNS);
        assert_int_equal(parties[i].gaps, 1);
        admitted += parties[i].admitted;
        locks += parties[i].locks;
        store_close(&parties[i].store);
        loop_free(&parties[i].loop);
    }
    assert_int_equal(admitted, LIMIT);
    assert_int_equal(locks, TURNS * OPS_A_TURN); /* each taken by one of them */
    (void)pthread_barrier_destroy(&all_subscribed);
    store_hub_free(&hub);
    metrics_reset();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(loops_share_one_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
