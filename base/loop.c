/* See loop.h. A turn: libevent runs what is ready, then the deferred list is drained, since
 * libevent may still hold an event for what a callback just closed. Timers sit in a binary heap
 * behind one libevent timer; pushing a deadline back only notes the new time, and the heap learns
 * of it when the old one comes up. */
#include "base/loop.h"

#include "base/clock.h"

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { BEAT_MS = 100, LAG_BUCKETS = 40 };

struct post {
    loop_fn fn;
    void *arg;
};

struct post_list {
    struct post *at;
    size_t n, cap;
};

struct heap_entry {
    int64_t at_ms;
    struct timer *t;
};

struct sig {
    struct event *ev;
    loop_fn fn;
    void *arg;
    struct sig *next;
};

struct loop {
    struct event_base *base;
    const char *name;
    struct event *wake, *tick;
    int wake_fd;
    pthread_mutex_t lock; /* guards inbox and awake */
    struct post_list inbox;
    bool awake;
    struct post_list deferred;
    struct heap_entry *heap;
    uint32_t timers, timer_cap;
    int64_t tick_at_ms; /* when the libevent timer fires; INT64_MAX: unset */
    atomic_bool stop;
    struct sig *signals;
    struct timer beat;
    int64_t beat_due_us;
    _Atomic uint64_t lag[LAG_BUCKETS]; /* beats late by about 2^(i/2) µs */
    _Atomic uint64_t lag_max_us;
    _Atomic int64_t last_beat_ms;
};

static void list_add(struct post_list *l, loop_fn fn, void *arg)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 16;
        l->at = xrealloc(l->at, l->cap * sizeof *l->at);
    }
    l->at[l->n++] = (struct post){fn, arg};
}

static void run_inbox(struct loop *l)
{
    struct post_list work;
    pthread_mutex_lock(&l->lock);
    work = l->inbox;
    l->inbox = (struct post_list){0};
    l->awake = false;
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < work.n; i++)
        work.at[i].fn(work.at[i].arg);
    free(work.at);
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    uint64_t n;
    if (read(fd, &n, sizeof n) > 0)
        run_inbox(arg);
}

static void run_deferred(struct loop *l)
{
    for (size_t i = 0; i < l->deferred.n; i++) /* running ones may add more */
        l->deferred.at[i].fn(l->deferred.at[i].arg);
    l->deferred.n = 0;
}

static void heap_put(struct loop *l, uint32_t i, struct heap_entry e)
{
    l->heap[i] = e;
    e.t->slot = i + 1;
}

static void heap_up(struct loop *l, uint32_t i, struct heap_entry e)
{
    while (i > 0 && l->heap[(i - 1) / 2].at_ms > e.at_ms) {
        heap_put(l, i, l->heap[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    heap_put(l, i, e);
}

static void heap_down(struct loop *l, uint32_t i, struct heap_entry e)
{
    for (;;) {
        uint32_t k = 2 * i + 1;
        if (k >= l->timers)
            break;
        if (k + 1 < l->timers && l->heap[k + 1].at_ms < l->heap[k].at_ms)
            k++;
        if (l->heap[k].at_ms >= e.at_ms)
            break;
        heap_put(l, i, l->heap[k]);
        i = k;
    }
    heap_put(l, i, e);
}

static void heap_remove(struct loop *l, uint32_t i)
{
    l->heap[i].t->slot = 0;
    struct heap_entry last = l->heap[--l->timers];
    if (i == l->timers)
        return;
    if (i > 0 && l->heap[(i - 1) / 2].at_ms > last.at_ms)
        heap_up(l, i, last);
    else
        heap_down(l, i, last);
}

static void arm_tick(struct loop *l)
{
    if (l->timers == 0 || l->heap[0].at_ms >= l->tick_at_ms)
        return;
    l->tick_at_ms = l->heap[0].at_ms;
    int64_t ms = l->tick_at_ms - clock_ms();
    if (ms < 0)
        ms = 0;
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
    evtimer_add(l->tick, &tv);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct loop *l = arg;
    int64_t now = clock_ms();
    l->tick_at_ms = INT64_MAX;
    while (l->timers && l->heap[0].at_ms <= now) {
        struct timer *t = l->heap[0].t;
        if (t->at_ms > now) {
            heap_down(l, 0, (struct heap_entry){t->at_ms, t});
            continue;
        }
        heap_remove(l, 0);
        t->fn(t->arg);
    }
    arm_tick(l);
}

void timer_set(struct timer *t, struct loop *l, int64_t ms, loop_fn fn, void *arg)
{
    int64_t at = clock_ms() + (ms < 0 ? 0 : ms);
    t->fn = fn;
    t->arg = arg;
    t->at_ms = at;
    if (t->slot) {
        if (l->heap[t->slot - 1].at_ms <= at)
            return;
        heap_remove(l, t->slot - 1);
    }
    t->loop = l;
    if (l->timers == l->timer_cap) {
        l->timer_cap = l->timer_cap ? l->timer_cap * 2 : 64;
        l->heap = xrealloc(l->heap, l->timer_cap * sizeof *l->heap);
    }
    heap_up(l, l->timers++, (struct heap_entry){at, t});
    arm_tick(l);
}

void timer_clear(struct timer *t)
{
    if (t->slot)
        heap_remove(t->loop, t->slot - 1);
}

static unsigned lag_bucket(uint64_t us)
{
    unsigned i = 0;
    while (us > 1 && i < LAG_BUCKETS - 2) {
        i += us >= 2 ? 2 : 0;
        us >>= 1;
    }
    return i;
}

static void on_beat(void *arg)
{
    struct loop *l = arg;
    int64_t now = clock_us();
    uint64_t late = now > l->beat_due_us ? (uint64_t)(now - l->beat_due_us) : 0;
    late = late > 2000 ? late - 2000 : 0; /* the timers' own coarseness */
    atomic_fetch_add_explicit(&l->lag[lag_bucket(late)], 1, memory_order_relaxed);
    if (late > atomic_load_explicit(&l->lag_max_us, memory_order_relaxed))
        atomic_store_explicit(&l->lag_max_us, late, memory_order_relaxed);
    atomic_store_explicit(&l->last_beat_ms, now / 1000, memory_order_relaxed);
    l->beat_due_us = now + BEAT_MS * 1000;
    timer_set(&l->beat, l, BEAT_MS, on_beat, l);
}

void loop_lag(struct loop *l, struct loop_lag *out)
{
    uint64_t count[LAG_BUCKETS], total = 0, seen = 0;
    for (int i = 0; i < LAG_BUCKETS; i++)
        total += count[i] = atomic_load_explicit(&l->lag[i], memory_order_relaxed);
    *out = (struct loop_lag){.beats = total,
                             .max_us = atomic_exchange(&l->lag_max_us, 0),
                             .last_beat_ms = atomic_load(&l->last_beat_ms)};
    for (int i = 0; i < LAG_BUCKETS && total; i++) {
        seen += count[i];
        if (seen * 1000 >= total * 999) {
            out->p999_us = i ? (uint64_t)1 << (i / 2) : 0;
            break;
        }
    }
}

struct loop *loop_new(const char *name)
{
    struct loop *l = xcalloc(1, sizeof *l);
    struct event_config *cfg = event_config_new();
    event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
    l->base = event_base_new_with_config(cfg);
    event_config_free(cfg);
    l->name = name;
    l->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!l->base || l->wake_fd < 0)
        abort();
    pthread_mutex_init(&l->lock, NULL);
    l->tick_at_ms = INT64_MAX;
    l->tick = evtimer_new(l->base, on_tick, l);
    l->wake = event_new(l->base, l->wake_fd, EV_READ | EV_PERSIST, on_wake, l);
    event_add(l->wake, NULL);
    atomic_store(&l->last_beat_ms, clock_ms());
    return l;
}

void loop_run(struct loop *l)
{
    l->beat_due_us = clock_us() + BEAT_MS * 1000;
    timer_set(&l->beat, l, BEAT_MS, on_beat, l);
    while (!atomic_load_explicit(&l->stop, memory_order_relaxed)) {
        run_deferred(l); /* also what set-up code deferred before the first turn */
        event_base_loop(l->base, EVLOOP_ONCE);
    }
    run_deferred(l);
    timer_clear(&l->beat);
    atomic_store(&l->stop, false);
}

static void wake(struct loop *l)
{
    uint64_t one = 1;
    (void)!write(l->wake_fd, &one, sizeof one);
}

void loop_stop(struct loop *l)
{
    atomic_store(&l->stop, true);
    wake(l);
}

void loop_flush(struct loop *l)
{
    run_inbox(l);
    run_deferred(l);
}

void loop_free(struct loop **lp)
{
    struct loop *l = *lp;
    if (!l)
        return;
    loop_flush(l);
    while (l->signals) {
        struct sig *s = l->signals;
        l->signals = s->next;
        event_free(s->ev);
        free(s);
    }
    event_free(l->wake);
    event_free(l->tick);
    event_base_free(l->base);
    close(l->wake_fd);
    pthread_mutex_destroy(&l->lock);
    free(l->inbox.at);
    free(l->deferred.at);
    free(l->heap);
    free(l);
    *lp = NULL;
}

void loop_post(struct loop *l, loop_fn fn, void *arg)
{
    pthread_mutex_lock(&l->lock);
    list_add(&l->inbox, fn, arg);
    bool ring = !l->awake;
    l->awake = true;
    pthread_mutex_unlock(&l->lock);
    if (ring)
        wake(l);
}

void loop_defer(struct loop *l, loop_fn fn, void *arg)
{
    list_add(&l->deferred, fn, arg);
}

void loop_defer_free(struct loop *l, void *p)
{
    loop_defer(l, free, p);
}

static void on_signal(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct sig *s = arg;
    s->fn(s->arg);
}

void loop_on_signal(struct loop *l, int signum, loop_fn fn, void *arg)
{
    struct sig *s = xcalloc(1, sizeof *s);
    *s = (struct sig){.fn = fn, .arg = arg, .next = l->signals};
    s->ev = evsignal_new(l->base, signum, on_signal, s);
    evsignal_add(s->ev, NULL);
    l->signals = s;
}

struct event_base *loop_base(struct loop *l)
{
    return l->base;
}

const char *loop_name(const struct loop *l)
{
    return l->name;
}

int64_t loop_now(const struct loop *l)
{
    (void)l;
    return clock_ms();
}
