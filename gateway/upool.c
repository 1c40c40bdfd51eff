/* Sessions with legacy servers on behalf of modern clients, who have none: a pool a mount and
 * shard, keyed by who calls, what that client can answer, and what else keeps strangers apart
 * (`affinity`). A session that rested for long is ended; so is the longest rested one when the pool
 * is full. */
#include "base/clock.h"
#include "gateway/convert.h"
#include "gateway/usession.h"

enum { SWEEP_MS = 5000 };

static bool is_busy(const struct usession *us)
{
    return !TAILQ_EMPTY(&us->reqs) || !TAILQ_EMPTY(&us->waiting);
}

static void drop(struct usession *us)
{
    struct upstream *u = us->up;
    TAILQ_REMOVE(&u->pooled, us, pool_link);
    u->pooled_count--;
    usession_close(&us);
}

static void sweep(void *arg)
{
    struct upstream *u = arg;
    struct usession *us, *next;
    int64_t limit = clock_ms() - u->cfg->pool_idle_ms;
    for (us = TAILQ_FIRST(&u->pooled); us; us = next) {
        next = TAILQ_NEXT(us, pool_link);
        if (!is_busy(us) && us->used_ms < limit)
            drop(us);
    }
    if (u->pooled_count)
        timer_set(&u->pool_sweep, u->shard->loop, SWEEP_MS, sweep, u);
}

bool upool_close(struct upstream *u, bool all)
{
    struct usession *us, *next;
    for (us = TAILQ_FIRST(&u->pooled); us; us = next) {
        next = TAILQ_NEXT(us, pool_link);
        if (all || !is_busy(us))
            drop(us);
    }
    if (u->pooled_count == 0)
        timer_clear(&u->pool_sweep);
    return u->pooled_count > 0;
}

static void key_of(const struct call *c, unsigned caps, uint8_t key[POOL_KEY])
{
    uint8_t digest[32];
    struct str who = principal_key(c->principal);
    uint64_t sizes[] = {caps, who.n};
    struct str parts[] = {{(const char *)sizes, sizeof sizes}, who, c->affinity};
    crypto_sha256(parts, sizeof parts / sizeof *parts, digest);
    memcpy(key, digest, POOL_KEY);
}

static struct usession *oldest_idle(struct upstream *u)
{
    struct usession *us, *found = NULL;
    TAILQ_FOREACH (us, &u->pooled, pool_link)
        if (!is_busy(us) && (!found || us->used_ms < found->used_ms))
            found = us;
    return found;
}

static struct usession *make(struct upstream *u, const struct call *c, const uint8_t key[POOL_KEY],
                             unsigned caps)
{
    struct usession *us = usession_new(u, NULL, c->principal);
    us->pooled = true;
    us->once = u->cfg->affinity == AFFINITY_REQUEST;
    us->caps = caps;
    memcpy(us->key, key, POOL_KEY);
    TAILQ_INSERT_TAIL(&u->pooled, us, pool_link);
    if (u->pooled_count++ == 0)
        timer_set(&u->pool_sweep, u->shard->loop, SWEEP_MS, sweep, u);
    return us;
}

struct usession *upool_take(struct upstream *u, const struct call *c, struct err *e)
{
    const struct mount_config *m = u->cfg;
    struct usession *us = NULL;
    uint8_t key[POOL_KEY];
    unsigned caps = m->superset_caps ? CAP_ALL : c->caps;
    if (m->roots)
        caps |= CAP_ROOTS;
    key_of(c, caps, key);
    TAILQ_FOREACH (us, &u->pooled, pool_link)
        if (!us->once && memcmp(us->key, key, POOL_KEY) == 0 && !(m->interactive && is_busy(us)))
            break;
    if (!us) {
        struct usession *old = u->pooled_count < m->pool_max ? NULL : oldest_idle(u);
        if (old)
            drop(old);
        if (u->pooled_count >= m->pool_max) {
            (void)err_set(e, ERR_UNAVAILABLE,
                          "all %d sessions with upstream %s are in use (sessions.max)", m->pool_max,
                          m->name);
            return NULL;
        }
        us = make(u, c, key, caps);
    }
    if (us != TAILQ_FIRST(&u->pooled)) { /* what is in use is found soon */
        TAILQ_REMOVE(&u->pooled, us, pool_link);
        TAILQ_INSERT_HEAD(&u->pooled, us, pool_link);
    }
    us->used_ms = clock_ms();
    return us;
}

static void on_drop_once(void *arg)
{
    struct usession *us = arg;
    if (us->state != US_CLOSED && !is_busy(us))
        drop(us);
}

void upool_rest(struct usession *us)
{
    us->used_ms = clock_ms();
    if (us->once && !is_busy(us) && us->state != US_CLOSED)
        loop_defer(us->up->shard->loop, on_drop_once, us);
}
