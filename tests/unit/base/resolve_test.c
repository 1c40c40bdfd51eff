/* The resolver with a name service of our own: answers arrive once, on the right loop, never early;
 * names are asked for once and kept for a while; a cancel is final; one slow name holds up nobody
 * else. */
#include "base/net.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static bool gate_open;   /* names in .slow wait until it is */
static int gate_waiting; /* how many do */
static atomic_int questions;

static void wait_at_gate(void)
{
    pthread_mutex_lock(&gate_lock);
    gate_waiting++;
    pthread_cond_broadcast(&gate_moved);
    while (!gate_open)
        pthread_cond_wait(&gate_moved, &gate_lock);
    gate_waiting--;
    pthread_mutex_unlock(&gate_lock);
}

static void set_gate(bool open)
{
    pthread_mutex_lock(&gate_lock);
    gate_open = open;
    pthread_cond_broadcast(&gate_moved);
    pthread_mutex_unlock(&gate_lock);
}

static void wait_until_asked(int n)
{
    pthread_mutex_lock(&gate_lock);
    while (gate_waiting < n)
        pthread_cond_wait(&gate_moved, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
}

static struct addrinfo *make_answer(const char *v4, struct addrinfo *next)
{
    struct addrinfo *a = xcalloc(1, sizeof *a);
    struct net_addr addr;
    assert_true(net_addr_literal(str_of(v4), 0, &addr));
    a->ai_family = addr.ss.ss_family;
    a->ai_addrlen = addr.len;
    a->ai_addr = xcalloc(1, sizeof addr.ss);
    memcpy(a->ai_addr, &addr.ss, addr.len);
    a->ai_next = next;
    return a;
}

static int fake_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                            struct addrinfo **out)
{
    (void)service;
    assert_int_equal(hints->ai_socktype, SOCK_STREAM);
    atomic_fetch_add(&questions, 1);
    if (strstr(host, ".slow"))
        wait_at_gate();
    if (strstr(host, "bad."))
        return EAI_NONAME;
    if (strstr(host, "empty."))
        return 0;
    *out = make_answer("192.0.2.1", make_answer("2001:db8::1", NULL));
    for (int i = 0; strstr(host, "many.") && i < 40; i++)
        *out = make_answer("192.0.2.9", *out);
    return 0;
}

static void fake_freeaddrinfo(struct addrinfo *a)
{
    while (a) {
        struct addrinfo *next = a->ai_next;
        free(a->ai_addr);
        free(a);
        a = next;
    }
}

#define getaddrinfo  fake_getaddrinfo
#define freeaddrinfo fake_freeaddrinfo
#include "base/resolve.c" /* NOLINT(bugprone-suspicious-include) */

/* What a lookup led to. */
struct result {
    struct loop *loop;
    int calls, stop_after;
    size_t n;
    struct net_addr first, second;
    struct err err;
    pthread_t thread;
};

static void on_resolved(const struct net_addr *addrs, size_t n, const struct err *e, void *arg)
{
    struct result *r = arg;
    r->calls++;
    r->n = n;
    r->thread = pthread_self();
    assert_int_equal(e == NULL, n > 0);
    if (n > 0)
        r->first = addrs[0];
    if (n > 1)
        r->second = addrs[1];
    if (e)
        r->err = *e;
    if (r->calls >= r->stop_after)
        loop_stop(r->loop);
}

static void stop_now(void *arg)
{
    loop_stop(arg);
}

static int set_up(void **state)
{
    struct loop *l = loop_new("test");
    atomic_store(&questions, 0);
    set_gate(false);
    net_resolver_start();
    *state = l;
    return 0;
}

static int tear_down(void **state)
{
    struct loop *l = *state;
    set_gate(true);
    net_resolver_stop();
    loop_free(&l);
    return 0;
}

static struct result run_lookup(struct loop *l, const char *host)
{
    struct result r = {.loop = l, .stop_after = 1};
    (void)net_resolve(l, str_of(host), 443, on_resolved, &r);
    assert_int_equal(r.calls, 0);
    loop_run(l);
    assert_int_equal(r.calls, 1);
    return r;
}

static void assert_addr(const struct net_addr *a, const char *want)
{
    struct buf b = {0};
    net_addr_format(a, &b);
    buf_addc(&b, '\0');
    assert_string_equal(b.p, want);
    buf_fini(&b);
}

static void test_a_literal_is_answered_later_and_without_asking(void **state)
{
    struct result r = run_lookup(*state, "127.0.0.1");
    assert_int_equal(r.n, 1);
    assert_addr(&r.first, "127.0.0.1:443");
    r = run_lookup(*state, "::1");
    assert_addr(&r.first, "[::1]:443");
    assert_int_equal(atomic_load(&questions), 0);
}

static void test_a_name_is_answered_on_its_loop_with_all_addresses(void **state)
{
    struct result r = run_lookup(*state, "good.test");
    assert_int_equal(r.n, 2);
    assert_addr(&r.first, "192.0.2.1:443");
    assert_addr(&r.second, "[2001:db8::1]:443");
    assert_true(pthread_equal(r.thread, pthread_self()));
}

static void test_failures_say_why(void **state)
{
    const char *hosts[] = {"bad.test", "empty.test", ""};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct result r = run_lookup(*state, hosts[i]);
        assert_int_equal(r.err.kind, ERR_UNAVAILABLE);
        assert_non_null(strstr(r.err.msg, hosts[i]));
    }
}

static void test_malformed_names_are_not_asked_for(void **state)
{
    char long_name[300];
    memset(long_name, 'a', sizeof long_name);
    const struct str hosts[] = {{long_name, sizeof long_name}, STR("good\0.test")};
    for (int i = 0; i < 2; i++) {
        struct result r = {.loop = *state, .stop_after = 1};
        (void)net_resolve(*state, hosts[i], 1, on_resolved, &r);
        loop_run(*state);
        assert_int_equal(r.err.kind, ERR_UNAVAILABLE);
    }
    assert_int_equal(atomic_load(&questions), 0);
}

static void test_addresses_of_one_name_are_capped(void **state)
{
    struct result r = run_lookup(*state, "many.test");
    assert_int_equal(r.n, MAX_ADDRS);
}

static void test_an_answer_is_kept_for_a_while(void **state)
{
    (void)run_lookup(*state, "good.test");
    struct result r = run_lookup(*state, "good.test");
    assert_int_equal(r.n, 2);
    assert_addr(&r.first, "192.0.2.1:443");
    assert_int_equal(atomic_load(&questions), 1);
    clock_advance(KEEP_MS + 1);
    (void)run_lookup(*state, "good.test");
    assert_int_equal(atomic_load(&questions), 2);
}

static void test_a_failure_is_kept_only_briefly(void **state)
{
    (void)run_lookup(*state, "bad.test");
    clock_advance(KEEP_FAILURE_MS + 1);
    (void)run_lookup(*state, "bad.test");
    assert_int_equal(atomic_load(&questions), 2);
}

static void test_a_name_is_asked_for_once_for_all_who_wait(void **state)
{
    struct result r = {.loop = *state, .stop_after = 3};
    for (int i = 0; i < 3; i++)
        (void)net_resolve(*state, STR("a.slow"), 1, on_resolved, &r);
    wait_until_asked(1);
    set_gate(true);
    loop_run(*state);
    assert_int_equal(r.calls, 3);
    assert_int_equal(atomic_load(&questions), 1);
}

static void test_a_slow_name_does_not_hold_up_others(void **state)
{
    struct result slow = {.loop = *state, .stop_after = 2};
    struct net_lookup *first = net_resolve(*state, STR("a.slow"), 1, on_resolved, &slow);
    struct net_lookup *second = net_resolve(*state, STR("b.slow"), 1, on_resolved, &slow);
    wait_until_asked(2);
    (void)run_lookup(*state, "good.test");
    assert_int_equal(slow.calls, 0);
    net_lookup_cancel(&first);
    net_lookup_cancel(&second);
}

static void test_a_cancelled_lookup_never_calls_back(void **state)
{
    struct result r = {.loop = *state, .stop_after = 9};
    struct net_lookup *waiting = net_resolve(*state, STR("a.slow"), 1, on_resolved, &r);
    struct net_lookup *ready = net_resolve(*state, STR("127.0.0.1"), 1, on_resolved, &r);
    wait_until_asked(1);
    net_lookup_cancel(&waiting);
    net_lookup_cancel(&ready);
    assert_null(waiting);
    assert_null(ready);
    set_gate(true);
    (void)run_lookup(*state, "good.test");
    (void)run_lookup(*state, "a.slow"); /* its answer was kept all the same */
    assert_int_equal(r.calls, 0);
    assert_int_equal(atomic_load(&questions), 2);
    net_lookup_cancel(&ready);
}

static void test_a_cancel_among_several_leaves_the_others(void **state)
{
    struct result r = {.loop = *state, .stop_after = 2}, gone = {.loop = *state, .stop_after = 9};
    (void)net_resolve(*state, STR("a.slow"), 1, on_resolved, &r);
    struct net_lookup *middle = net_resolve(*state, STR("a.slow"), 1, on_resolved, &gone);
    (void)net_resolve(*state, STR("a.slow"), 1, on_resolved, &r);
    net_lookup_cancel(&middle);
    set_gate(true);
    loop_run(*state);
    assert_int_equal(r.calls, 2);
    assert_int_equal(gone.calls, 0);
}

struct self_cancel {
    struct loop *loop;
    struct net_lookup *lookup;
};

static void on_cancel_self(const struct net_addr *addrs, size_t n, const struct err *e, void *arg)
{
    (void)addrs;
    (void)n;
    (void)e;
    struct self_cancel *c = arg;
    net_lookup_cancel(&c->lookup);
    loop_stop(c->loop);
}

static void test_cancelling_from_the_callback_is_harmless(void **state)
{
    struct self_cancel c = {.loop = *state};
    c.lookup = net_resolve(*state, STR("good.test"), 1, on_cancel_self, &c);
    loop_run(*state);
    assert_null(c.lookup);
}

static void test_names_fail_while_the_helpers_are_stopped(void **state)
{
    net_resolver_stop();
    struct result r = run_lookup(*state, "good.test");
    assert_int_equal(r.err.kind, ERR_UNAVAILABLE);
    r = run_lookup(*state, "127.0.0.1");
    assert_int_equal(r.n, 1);
    net_resolver_start();
    r = run_lookup(*state, "good.test");
    assert_int_equal(r.n, 2);
}

static void *stop_resolver(void *arg)
{
    net_resolver_stop();
    return arg;
}

static void test_stopping_answers_what_still_waits(void **state)
{
    struct result asked_for = {.loop = *state, .stop_after = 9};
    struct result queued = {.loop = *state, .stop_after = 1};
    const char *hosts[] = {"a.slow", "b.slow", "c.slow", "d.slow"};
    for (int i = 0; i < HELPERS; i++)
        (void)net_resolve(*state, str_of(hosts[i]), 1, on_resolved, &asked_for);
    wait_until_asked(HELPERS);
    (void)net_resolve(*state, STR("e.slow"), 1, on_resolved, &queued);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, stop_resolver, NULL), 0);
    pthread_mutex_lock(&lock);
    bool was_running = running;
    pthread_mutex_unlock(&lock);
    while (was_running) {
        pthread_mutex_lock(&lock);
        was_running = running;
        pthread_mutex_unlock(&lock);
        sched_yield();
    }
    set_gate(true);
    pthread_join(t, NULL);
    loop_run(*state);
    assert_int_equal(asked_for.calls, HELPERS);
    assert_int_equal(queued.calls, 1);
    assert_int_equal(queued.err.kind, ERR_UNAVAILABLE);
}

static void test_kept_names_are_capped(void **state)
{
    struct result r = {.loop = *state, .stop_after = 1};
    for (int i = 0; i < MAX_NAMES + 50; i++) {
        char host[32];
        (void)snprintf(host, sizeof host, "n%d.test", i);
        r.calls = 0;
        (void)net_resolve(*state, str_of(host), 1, on_resolved, &r);
        loop_run(*state);
        assert_int_equal(r.n, 2);
    }
    assert_true(names.count <= MAX_NAMES);
}

static void test_too_many_open_questions_are_refused(void **state)
{
    static struct net_lookup *open[MAX_NAMES];
    struct result r = {.loop = *state, .stop_after = 1};
    struct result last = {.loop = *state, .stop_after = 1};
    for (int i = 0; i < MAX_NAMES; i++) {
        char host[32];
        (void)snprintf(host, sizeof host, "n%d.slow", i);
        open[i] = net_resolve(*state, str_of(host), 1, on_resolved, &r);
    }
    (void)net_resolve(*state, STR("good.test"), 1, on_resolved, &last);
    loop_run(*state);
    assert_int_equal(last.err.kind, ERR_UNAVAILABLE);
    for (int i = 0; i < MAX_NAMES; i++)
        net_lookup_cancel(&open[i]);
    assert_int_equal(r.calls, 0);
}

enum { STORM = 300 };

struct storm {
    struct result r;
    struct net_lookup *lookup[STORM];
    int wanted;
};

static void start_storm(void *arg)
{
    struct storm *s = arg;
    for (int i = 0; i < STORM; i++) {
        char host[32];
        (void)snprintf(host, sizeof host, "h%d.test", i % 17);
        s->lookup[i] = net_resolve(s->r.loop, str_of(host), 1, on_resolved, &s->r);
        if (i % 3 == 0)
            net_lookup_cancel(&s->lookup[i]);
    }
}

static void *run_storm(void *arg)
{
    struct storm *s = arg;
    s->r.loop = loop_new("storm");
    s->r.stop_after = STORM - STORM / 3;
    loop_post(s->r.loop, start_storm, s);
    loop_run(s->r.loop);
    loop_post(s->r.loop, stop_now, s->r.loop);
    loop_run(s->r.loop);
    loop_free(&s->r.loop);
    return NULL;
}

static void test_loops_of_several_threads_share_the_resolver(void **state)
{
    (void)state;
    static struct storm storms[3];
    pthread_t t[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&t[i], NULL, run_storm, &storms[i]), 0);
    for (int i = 0; i < 3; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(storms[i].r.calls, STORM - STORM / 3);
    }
    assert_true(atomic_load(&questions) <= 17);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_literal_is_answered_later_and_without_asking),
        TEST(test_a_name_is_answered_on_its_loop_with_all_addresses),
        TEST(test_failures_say_why),
        TEST(test_malformed_names_are_not_asked_for),
        TEST(test_addresses_of_one_name_are_capped),
        TEST(test_an_answer_is_kept_for_a_while),
        TEST(test_a_failure_is_kept_only_briefly),
        TEST(test_a_name_is_asked_for_once_for_all_who_wait),
        TEST(test_a_slow_name_does_not_hold_up_others),
        TEST(test_a_cancelled_lookup_never_calls_back),
        TEST(test_a_cancel_among_several_leaves_the_others),
        TEST(test_cancelling_from_the_callback_is_harmless),
        TEST(test_names_fail_while_the_helpers_are_stopped),
        TEST(test_stopping_answers_what_still_waits),
        TEST(test_kept_names_are_capped),
        TEST(test_too_many_open_questions_are_refused),
        TEST(test_loops_of_several_threads_share_the_resolver),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
