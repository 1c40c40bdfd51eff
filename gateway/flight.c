/* See flight.h.
 *
 *   FLIGHT_ASKS   looks into the store, then for its lock (nothing of it when no one shares it)
 *   FLIGHT_FLIES  the leader's call is under way
 *   FLIGHT_LANDED those who waited are told, some at a time; no longer in the table
 *
 * A flight lives as long as it has a leader, or those who waited are told. */
#include "gateway/flight.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "gateway/cache_priv.h"
#include "gateway/gateway.h"

#include <assert.h>
#include <stdlib.h>

enum { LOCK_MS = 5000, WAIT_MS = 200, POLL_MS = 20, SLICE = 32, GENERATION_MAX = 32 };
enum { ASK_GENERATION = CACHE_SCOPES, ASKS }; /* after the values, by scope */

struct generation {
    char text[GENERATION_MAX];
    size_t n;
};

/* One question to the store, and what it said. */
struct asked {
    struct flight *flight;
    struct store_op op;
    struct cache_value *value;
    struct generation generation; /* of the value; of the target */
};

TAILQ_HEAD(seats, flight_seat);

struct flight {
    struct cache *cache;
    enum { FLIGHT_ASKS, FLIGHT_FLIES, FLIGHT_LANDED } phase;
    struct cache_use use; /* its texts are own copies */
    struct str text;      /* one of them: what it is found by */
    bool listed, spoilt, locked, knows_generation, away;
    struct flight_seat *leader;
    struct seats waiting;
    struct asked asked[ASKS];
    int unanswered;
    struct store_op lock;
    char token[33]; /* of the lock: empty before it was tried */
    struct timer timer;
    int64_t wait_until_ms;
    /* Landed */
    enum flight_end how;
    struct cache_value *value;
    struct err err;
    bool from_store;
};

static void ask(struct flight *f);
static void judge(struct flight *f);

/* ---- life ---- */

static struct str copy(struct str s)
{
    return (struct str){xmemdup0(s.p, s.n), s.n};
}

static void drop_copy(struct str *s)
{
    free((char *)(uintptr_t)s->p);
    *s = (struct str){0};
}

static struct str found_by(const struct cache_use *u)
{
    return u->text[u->text[CACHE_OWN].n ? CACHE_OWN : CACHE_TENANT];
}

static struct flight *flight_new(struct cache *c, const struct cache_use *u)
{
    struct flight *f = xcalloc(1, sizeof *f);
    f->cache = c;
    f->use = *u;
    f->use.mount = copy(u->mount);
    f->use.target = copy(u->target);
    for (int i = 0; i < CACHE_SCOPES; i++)
        f->use.text[i] = copy(u->text[i]);
    f->text = found_by(&f->use);
    TAILQ_INIT(&f->waiting);
    for (int i = 0; i < ASKS; i++)
        f->asked[i].flight = f;
    f->listed = true;
    (void)map_set(&c->flights, f->text, f);
    return f;
}

static void unlist(struct flight *f)
{
    if (f->listed)
        (void)map_del(&f->cache->flights, f->text);
    f->listed = false;
}

static void unlock(struct flight *f)
{
    struct store_key room;
    struct store_reply r;
    if (!f->locked)
        return;
    f->locked = false;
    (void)store_del_if(f->cache->shard->store, NULL, cache_store_key(f->cache, &room, f->text, "l"),
                       str_of(f->token), &r);
}

static void flight_free(struct flight *f)
{
    unlist(f);
    unlock(f);
    timer_clear(&f->timer);
    store_cancel(&f->lock);
    for (int i = 0; i < ASKS; i++) {
        store_cancel(&f->asked[i].op);
        cache_value_unref(&f->asked[i].value);
    }
    cache_value_unref(&f->value);
    drop_copy(&f->use.mount);
    drop_copy(&f->use.target);
    for (int i = 0; i < CACHE_SCOPES; i++)
        drop_copy(&f->use.text[i]);
    free(f);
}

/* ---- landing ---- */

/* Tells some of those who wait, and the rest in a later turn of the loop. */
static void tell(void *arg)
{
    struct flight *f = arg;
    struct flight_seat *s;
    for (int i = 0; i < SLICE && (s = TAILQ_FIRST(&f->waiting)); i++) {
        TAILQ_REMOVE(&f->waiting, s, link);
        s->flight = NULL;
        s->end(s, f->how, f->value, &f->err, f->from_store);
    }
    if (TAILQ_EMPTY(&f->waiting))
        flight_free(f);
    else
        loop_post(f->cache->shard->loop, tell, f);
}

static void land(struct flight *f, enum flight_end how, struct cache_value *v, const struct err *e)
{
    unlist(f);
    unlock(f);
    f->phase = FLIGHT_LANDED;
    f->how = how;
    f->value = v ? cache_value_ref(v) : NULL;
    if (e)
        f->err = *e;
    if (f->leader) /* it was not needed */
        TAILQ_INSERT_HEAD(&f->waiting, f->leader, link);
    f->leader = NULL;
    loop_post(f->cache->shard->loop, tell, f);
}

static void keep(struct flight *f, struct cache_value *v)
{
    struct store_key room;
    struct store_reply r;
    struct str text = f->use.text[v->shared ? CACHE_TENANT : CACHE_OWN];
    const struct generation *g = &f->asked[ASK_GENERATION].generation;
    int64_t left = v->until_ms - clock_ms();
    cache_put(f->cache, &f->use, v);
    if (f->cache->alone || left <= 0 || (f->use.policy.by_result && !f->knows_generation) ||
        v->text.n > STORE_VALUE_MAX / 2)
        return;
    struct buf *out = &f->cache->scratch;
    out->n = 0;
    cache_value_write(v, (struct str){g->text, g->n}, out);
    (void)store_set(f->cache->shard->store, NULL, cache_store_key(f->cache, &room, text, "v"),
                    buf_str(out), left, STORE_ALWAYS, &r);
}

void flight_land(struct flight_seat *s, struct cache_value *v, const struct err *e)
{
    struct flight *f = s->flight;
    assert(f && f->leader == s && f->phase == FLIGHT_FLIES);
    s->flight = NULL;
    f->leader = NULL;
    if (v && !f->spoilt)
        keep(f, v);
    else
        v = NULL;
    land(f, v ? FLIGHT_VALUE : e ? FLIGHT_FAILED : FLIGHT_ALONE, v, e);
}

/* ---- the store ---- */

static void take_off(struct flight *f)
{
    f->phase = FLIGHT_FLIES;
    f->leader->lead(f->leader);
}

static void on_poll(void *arg)
{
    ask(arg);
}

static void take_lock(struct flight *f, const struct store_reply *r)
{
    if (r->status == STORE_HELD) {
        f->wait_until_ms = clock_ms() + WAIT_MS;
        timer_set(&f->timer, f->cache->shard->loop, POLL_MS, on_poll, f);
        return;
    }
    f->locked = r->status == STORE_OK;
    take_off(f);
}

static void on_lock(const struct store_reply *r, void *arg)
{
    take_lock(arg, r);
}

static void lock(struct flight *f)
{
    struct store_key room;
    struct store_reply r;
    struct buf hex = {.p = f->token, .cap = sizeof f->token};
    uint8_t random[16];
    crypto_random(random, sizeof random);
    crypto_hex(&hex, random, sizeof random);
    f->token[hex.n] = '\0';
    f->lock.fn = on_lock;
    f->lock.arg = f;
    if (store_set(f->cache->shard->store, &f->lock, cache_store_key(f->cache, &room, f->text, "l"),
                  str_of(f->token), LOCK_MS, STORE_IF_ABSENT, &r))
        take_lock(f, &r);
}

static bool same_generation(const struct generation *a, const struct generation *b)
{
    return a->n == b->n && memcmp(a->text, b->text, a->n) == 0;
}

static struct cache_value *found(const struct flight *f)
{
    const struct generation *now = &f->asked[ASK_GENERATION].generation;
    for (int i = 0; i < CACHE_SCOPES; i++) {
        const struct asked *a = &f->asked[i];
        if (a->value && !f->spoilt &&
            (!f->use.policy.by_result ||
             (f->knows_generation && same_generation(&a->generation, now))))
            return a->value;
    }
    return NULL;
}

/* All answers are here. */
static void judge(struct flight *f)
{
    struct cache_value *v = found(f);
    if (v) {
        cache_put(f->cache, &f->use, v);
        f->from_store = true;
        land(f, FLIGHT_VALUE, v, NULL);
    } else if (f->away || (f->token[0] && clock_ms() >= f->wait_until_ms)) {
        take_off(f);
    } else if (f->token[0]) {
        timer_set(&f->timer, f->cache->shard->loop, POLL_MS, on_poll, f);
    } else {
        lock(f);
    }
}

static void take(struct asked *a, const struct store_reply *r)
{
    struct flight *f = a->flight;
    struct str g = {0};
    f->away |= r->status == STORE_AWAY;
    if (a == &f->asked[ASK_GENERATION]) {
        f->knows_generation = r->status != STORE_AWAY;
        g = r->status == STORE_OK ? r->value : g;
    } else if (r->status == STORE_OK) {
        a->value = cache_value_read(r->value, &g);
    }
    a->generation.n = g.n <= GENERATION_MAX ? g.n : 0;
    if (a->generation.n)
        memcpy(a->generation.text, g.p, a->generation.n);
    f->unanswered--;
}

static void on_asked(const struct store_reply *r, void *arg)
{
    struct asked *a = arg;
    take(a, r);
    if (a->flight->unanswered == 0)
        judge(a->flight);
}

static void ask_one(struct flight *f, int which, struct str key)
{
    struct asked *a = &f->asked[which];
    struct store_reply r;
    a->op.fn = on_asked;
    a->op.arg = a;
    f->unanswered++;
    cache_value_unref(&a->value);
    if (store_get(f->cache->shard->store, &a->op, key, &r))
        take(a, &r);
}

/* Looks whether the store has the value; the questions go out together. */
static void ask(struct flight *f)
{
    struct cache *c = f->cache;
    struct store_key room;
    f->unanswered = 1; /* so that answers at once do not judge too early */
    if (f->use.policy.by_result)
        ask_one(f, ASK_GENERATION,
                cache_generation_key(c->shard->store, &room, f->use.mount, f->use.target));
    for (int i = 0; i < CACHE_SCOPES; i++)
        if (f->use.text[i].n)
            ask_one(f, i, cache_store_key(c, &room, f->use.text[i], "v"));
    if (--f->unanswered == 0)
        judge(f);
}

/* ---- seats ---- */

bool flight_join(struct cache *c, struct flight_seat *s)
{
    struct flight *f = map_get(&c->flights, found_by(s->use));
    bool waits = f != NULL;
    if (!f)
        f = flight_new(c, s->use);
    s->flight = f;
    if (waits) {
        TAILQ_INSERT_TAIL(&f->waiting, s, link);
        return true;
    }
    f->leader = s;
    if (c->alone)
        take_off(f);
    else
        ask(f);
    return false;
}

/* The new leader begins in a turn of its own: its predecessor's end may be far down the stack. */
static void on_promoted(void *arg)
{
    struct flight *f = arg;
    f->leader->lead(f->leader);
}

void flight_leave(struct flight_seat *s)
{
    struct flight *f = s->flight;
    if (!f)
        return;
    s->flight = NULL;
    if (f->leader != s) {
        TAILQ_REMOVE(&f->waiting, s, link);
        return;
    }
    f->leader = TAILQ_FIRST(&f->waiting);
    if (!f->leader) {
        flight_free(f);
        return;
    }
    TAILQ_REMOVE(&f->waiting, f->leader, link);
    if (f->phase == FLIGHT_FLIES)
        timer_set(&f->timer, f->cache->shard->loop, 0, on_promoted, f);
}

void flight_spoil(struct cache *c, struct str mount, struct str target)
{
    struct str key;
    void *value;
    size_t at = 0;
    struct flight *found_one = NULL;
    do {
        found_one = NULL;
        for (at = 0; !found_one && map_next(&c->flights, &at, &key, &value);) {
            struct flight *f = value;
            if (str_eq(f->use.mount, mount) && str_eq(f->use.target, target))
                found_one = f;
        }
        if (found_one) {
            found_one->spoilt = true;
            unlist(found_one); /* who comes from now on does not wait for it */
        }
    } while (found_one);
}
