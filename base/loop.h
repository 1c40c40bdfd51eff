/* Event loops: one a thread, on libevent; timers, deferred calls, mailboxes between loops, signals
 * on the first. */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include "base/err.h"
#include "base/str.h"

struct event_base;
struct loop;

typedef void (*loop_fn)(void *arg);

/* A loop of the calling thread's. Returns owned. */
struct loop *loop_new(const char *name);
/* Runs what is still in the mailbox and the deferred list, then frees. */
void loop_free(struct loop **l);
/* Runs what is in the mailbox and the deferred list now; for a loop whose thread has ended. */
void loop_flush(struct loop *l);
/* Runs until loop_stop. */
void loop_run(struct loop *l);
/* Ends loop_run; from any thread. */
void loop_stop(struct loop *l);
struct event_base *loop_base(struct loop *l);
const char *loop_name(const struct loop *l);
/* Time at the start of this turn, in ms (clock_ms, cached). */
int64_t loop_now(const struct loop *l);
/* Runs fn(arg) on the loop's thread soon; from any thread; in order per sender. */
void loop_post(struct loop *l, loop_fn fn, void *arg);
/* Runs fn(arg) at the end of this turn; own thread only. "Never free inside your own callback":
 * free here. */
void loop_defer(struct loop *l, loop_fn fn, void *arg);
/* Calls free(p) at the end of this turn. */
void loop_defer_free(struct loop *l, void *p);

/* A timer; embed it; zero-initialised is unarmed. Belongs to one loop. */
struct timer {
    struct loop *loop;
    loop_fn fn;
    void *arg;
    int64_t at_ms;
    uint32_t slot; /* private: position in the loop's heap + 1; 0 = unarmed */
};
/* Arms (or re-arms) the timer; fn runs once, after ms. Coarse: ±2 ms. */
void timer_set(struct timer *t, struct loop *l, int64_t ms, loop_fn fn, void *arg);
/* Disarms; fine when unarmed. */
void timer_clear(struct timer *t);
static inline bool timer_armed(const struct timer *t)
{
    return t->slot != 0;
}

/* Calls fn on this loop when the process gets signum. Control loop only. */
void loop_on_signal(struct loop *l, int signum, loop_fn fn, void *arg);

/* The longest and the p99.9 lateness of this loop's turns in µs since the last call (own heartbeat
 * every 100 ms and the time a turn took); from any thread. */
struct loop_lag {
    uint64_t max_us, p999_us, beats;
    int64_t last_beat_ms;
};
void loop_lag(struct loop *l, struct loop_lag *out);

#endif
