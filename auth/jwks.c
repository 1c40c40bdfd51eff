/* See jwks.h. The slot's set is swapped under a mutex that is held for a pointer and a count; all
 * else belongs to the control loop. */
#include "auth/jwks.h"

#include "base/clock.h"
#include "base/fetch.h"
#include "base/log.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>

enum { STALE_MS = 24 * 3600 * 1000, RETRY_MS = 5000, FETCH_MS = 2000 };

struct waiter {
    struct jwks *jwks;
    struct loop *back;
    loop_fn fn;
    void *arg;
    uint64_t ended; /* fetches that had ended when it was asked */
    TAILQ_ENTRY(waiter) link;
};

struct jwks {
    atomic_int refs;
    char *url, *ca_file;
    unsigned algs;
    int ttl_ms, min_refresh_ms;
    struct jwks_keeper *keeper; /* outlives it: see jwks_keeper_free */
    pthread_mutex_t lock;       /* over set and fetched_ms */
    struct keyset *set;
    int64_t fetched_ms;
    _Atomic int64_t tried_ms; /* when the last fetch began; 0: never */
    atomic_bool fetching;
    _Atomic uint64_t ended; /* fetches */
    /* Of the control loop. */
    struct fetch *fetch;
    struct timer timer;
    TAILQ_HEAD(, waiter) waiters;
    LIST_ENTRY(jwks) link;
};

struct jwks_keeper {
    struct loop *loop;
    struct fetcher *fetcher;
    LIST_HEAD(, jwks) all;
    bool closed;
};

static void start_fetch(struct jwks *j);

/* ---- the slot ---- */

void jwks_unref(struct jwks **jp)
{
    struct jwks *j = *jp;
    *jp = NULL;
    if (!j || atomic_fetch_sub_explicit(&j->refs, 1, memory_order_acq_rel) > 1)
        return;
    keyset_unref(&j->set);
    (void)pthread_mutex_destroy(&j->lock);
    free(j->url);
    free(j->ca_file);
    free(j);
}

static struct jwks *jwks_ref(struct jwks *j)
{
    atomic_fetch_add_explicit(&j->refs, 1, memory_order_relaxed);
    return j;
}

struct keyset *jwks_current(struct jwks *j)
{
    struct keyset *k = NULL;
    (void)pthread_mutex_lock(&j->lock);
    if (j->set && clock_ms() - j->fetched_ms < STALE_MS)
        k = keyset_ref(j->set);
    (void)pthread_mutex_unlock(&j->lock);
    return k;
}

bool jwks_may_refresh(const struct jwks *j)
{
    int64_t tried = atomic_load(&j->tried_ms);
    return atomic_load(&j->fetching) || tried == 0 || clock_ms() - tried >= j->min_refresh_ms;
}

/* ---- fetching, on the control loop ---- */

static void answer_waiters(struct jwks *j)
{
    struct waiter *w;
    while ((w = TAILQ_FIRST(&j->waiters))) {
        TAILQ_REMOVE(&j->waiters, w, link);
        loop_post(w->back, w->fn, w->arg);
        jwks_unref(&(struct jwks *){w->jwks});
        free(w);
    }
}

static void on_timer(void *arg)
{
    start_fetch(arg);
}

static void take_set(struct jwks *j, struct keyset *set)
{
    (void)pthread_mutex_lock(&j->lock);
    struct keyset *old = j->set;
    j->set = set;
    j->fetched_ms = clock_ms();
    (void)pthread_mutex_unlock(&j->lock);
    keyset_unref(&old);
}

static void on_fetched(const struct fetch_response *r, const struct err *e, void *arg)
{
    struct jwks *j = arg;
    struct err bad = {0};
    struct keyset *set = NULL;
    j->fetch = NULL;
    if (r && r->status == 200)
        set = keyset_from_jwks(r->body, j->algs, &bad);
    else if (r)
        err_fill(&bad, ERR_BAD_UPSTREAM, "the answer has status %d", r->status);
    if (set) {
        log_info("auth.keys_fetched", L_STR("url", j->url), L_INT("keys", set->n),
                 L_INT("skipped", set->skipped));
        take_set(j, set);
    } else {
        log_warn("auth.keys_not_fetched", L_STR("url", j->url), L_ERR(e ? e : &bad));
    }
    atomic_fetch_add(&j->ended, 1);
    atomic_store(&j->fetching, false);
    int again = set ? j->ttl_ms / 5 * 4 : RETRY_MS;
    if (again < j->min_refresh_ms)
        again = j->min_refresh_ms;
    timer_set(&j->timer, j->keeper->loop, again, on_timer, j);
    answer_waiters(j);
}

static void start_fetch(struct jwks *j)
{
    if (j->fetch)
        return;
    timer_clear(&j->timer);
    atomic_store(&j->fetching, true);
    atomic_store(&j->tried_ms, clock_ms());
    j->fetch = fetch_start(j->keeper->fetcher,
                           &(struct fetch_request){.url = j->url,
                                                   .max_bytes = KEYSET_MAX_BYTES,
                                                   .timeout_ms = FETCH_MS,
                                                   .ca_file = j->ca_file,
                                                   .allow_private = true},
                           on_fetched, j);
}

static void on_wanted(void *arg)
{
    struct waiter *w = arg;
    struct jwks *j = w->jwks;
    bool answered = w->ended != atomic_load(&j->ended); /* by the fetch that was under way */
    TAILQ_INSERT_TAIL(&j->waiters, w, link);
    if (!j->fetch && !answered && jwks_may_refresh(j) && !j->keeper->closed)
        start_fetch(j);
    else if (!j->fetch)
        answer_waiters(j);
}

void jwks_refresh(struct jwks *j, struct loop *back, loop_fn fn, void *arg)
{
    struct waiter *w = xmalloc(sizeof *w);
    *w = (struct waiter){
        .jwks = jwks_ref(j), .back = back, .fn = fn, .arg = arg, .ended = atomic_load(&j->ended)};
    loop_post(j->keeper->loop, on_wanted, w);
}

/* ---- the keeper ---- */

struct jwks_keeper *jwks_keeper_new(struct loop *l)
{
    struct jwks_keeper *k = xcalloc(1, sizeof *k);
    k->loop = l;
    k->fetcher = fetcher_new(l);
    LIST_INIT(&k->all);
    return k;
}

static void forget(struct jwks *j)
{
    LIST_REMOVE(j, link);
    timer_clear(&j->timer);
    if (j->fetch)
        fetch_cancel(&j->fetch);
    answer_waiters(j);
    jwks_unref(&j);
}

void jwks_keeper_sweep(struct jwks_keeper *k)
{
    struct jwks *j, *next;
    for (j = LIST_FIRST(&k->all); j; j = next) {
        next = LIST_NEXT(j, link);
        if (atomic_load(&j->refs) == 1)
            forget(j);
    }
}

void jwks_keeper_free(struct jwks_keeper **kp)
{
    struct jwks_keeper *k = *kp;
    if (!k)
        return;
    *kp = NULL;
    k->closed = true;
    loop_flush(k->loop); /* who asked just before the end */
    while (!LIST_EMPTY(&k->all))
        forget(LIST_FIRST(&k->all));
    fetcher_free(&k->fetcher);
    free(k);
}

static bool same(const struct jwks *j, const struct jwks_options *o)
{
    bool ca =
        j->ca_file && o->ca_file ? strcmp(j->ca_file, o->ca_file) == 0 : !j->ca_file == !o->ca_file;
    return ca && strcmp(j->url, o->url) == 0 && j->algs == o->algs && j->ttl_ms == o->ttl_ms &&
           j->min_refresh_ms == o->min_refresh_ms;
}

struct jwks *jwks_get(struct jwks_keeper *k, const struct jwks_options *o)
{
    struct jwks *j;
    LIST_FOREACH (j, &k->all, link)
        if (same(j, o))
            return jwks_ref(j);
    j = xcalloc(1, sizeof *j);
    atomic_init(&j->refs, 2);
    j->keeper = k;
    j->url = xstrdup(o->url);
    j->ca_file = o->ca_file ? xstrdup(o->ca_file) : NULL;
    j->algs = o->algs;
    j->ttl_ms = o->ttl_ms;
    j->min_refresh_ms = o->min_refresh_ms;
    TAILQ_INIT(&j->waiters);
    if (pthread_mutex_init(&j->lock, NULL) != 0)
        abort();
    LIST_INSERT_HEAD(&k->all, j, link);
    start_fetch(j);
    return j;
}
