/* See call_stages.h. A stage lives from admission until the call is sent, or its end is delivered;
 * of a call that others wait for, until what it brought is theirs.
 *
 * Limits come first where hits count, else between the cache and the upstream: what the cache
 * answers costs the upstream nothing. */
#include "gateway/call_stages.h"

#include "base/clock.h"
#include "gateway/cache_priv.h"
#include "gateway/catalog.h"
#include "gateway/flight.h"
#include "gateway/quota.h"
#include "gateway/refusal.h"

#include <stdlib.h>

struct stage {
    struct call *call; /* NULL: given up, or ended */
    struct limit_check check;
    struct limit_plan own; /* of a target without an entry */
    bool passed;           /* the limits */
    struct cache_use use;
    bool cached, looked; /* it may use the cache; it has */
    struct flight_seat seat;
    /* To be delivered */
    bool deferred;
    struct refusal *refusal;
    struct cache_value *value;
    struct err refused; /* kind ERR_NONE: not */
};

static void pass_limits(struct stage *st);

bool stages_concern(const struct call *c)
{
    if (quota_concerns(c->shard, c->principal, QUOTA_CONCURRENT))
        return true;
    if (c->entry)
        return c->entry->gated || c->access.limit;
    const struct config *cfg = c->catalog->config;
    return rate_is_set(cfg->limits.fallback) || cfg->limits.tool_count || cfg->limits.rule_count ||
           cfg->limits.tenant_by_name.count || c->access.limit ||
           catalog_read_policy(cfg, c->up->index).by_result;
}

static void stage_free(struct stage *st)
{
    if (st->call)
        st->call->stage = NULL;
    flight_leave(&st->seat);
    limit_check_cancel(&st->check);
    limit_plan_fini(&st->own);
    if (st->refusal)
        refusal_fini(st->refusal);
    free(st->refusal);
    cache_value_unref(&st->value);
    free(st);
}

/* Takes the call from its stage, which is freed. */
static struct call *leave(struct stage *st)
{
    struct call *c = st->call;
    stage_free(st);
    return c;
}

/* ---- ends of our own ---- */

static void finish_with(struct call *c, const struct cache_value *v)
{
    int64_t left = v->until_ms - clock_ms();
    call_finish(c, &(struct outcome){.kind = OUT_RESULT,
                                     .doc = &v->doc,
                                     .modern = v->modern,
                                     .kept = true,
                                     .shared = v->shared,
                                     .ttl_ms = left > 0 ? left : 0});
}

static void deliver(void *arg)
{
    struct stage *st = arg;
    struct call *c = st->call;
    if (c) {
        st->call = NULL;
        c->stage = NULL;
        if (st->refused.kind != ERR_NONE)
            call_fail(c, &st->refused);
        else if (st->value)
            finish_with(c, st->value);
        else
            call_finish(c, &st->refusal->outcome);
    }
    stage_free(st);
}

/* A call never ends before whoever began it is back. */
static void deliver_soon(struct stage *st)
{
    st->deferred = true;
    loop_defer(st->call->shard->loop, deliver, st);
}

static void refuse(struct stage *st)
{
    flight_leave(&st->seat);
    st->refusal = xmalloc(sizeof *st->refusal);
    refusal_init(st->refusal, &st->check);
    deliver_soon(st);
}

/* ---- sending ---- */

static void go(struct stage *st)
{
    struct call *c = st->call;
    if (st->cached)
        metric_add(metric_of(M_CACHE_MISSES), 1);
    if (!st->seat.flight)
        stage_free(st);
    call_send(c);
}

/* ---- the cache ---- */

static void on_lead(struct flight_seat *s)
{
    struct stage *st = (struct stage *)((char *)s - offsetof(struct stage, seat));
    if (st->passed)
        go(st);
    else
        pass_limits(st);
}

static void on_flight_end(struct flight_seat *s, enum flight_end how, struct cache_value *v,
                          const struct err *e, bool from_store)
{
    struct stage *st = (struct stage *)((char *)s - offsetof(struct stage, seat));
    const struct cache *cache = st->call->shard->cache;
    switch (how) {
    case FLIGHT_VALUE:
        metric_add(from_store ? cache->hits_store : cache->hits_flight, 1);
        finish_with(leave(st), v);
        break;
    case FLIGHT_FAILED: call_fail(leave(st), e); break;
    case FLIGHT_ALONE: on_lead(s); break;
    }
}

static void look(struct stage *st)
{
    struct cache *cache = st->call->shard->cache;
    struct cache_value *v = cache_find(cache, &st->use);
    st->looked = true;
    if (v) {
        metric_add(cache->hits_local, 1);
        st->value = cache_value_ref(v);
        deliver_soon(st);
        return;
    }
    st->seat = (struct flight_seat){.use = &st->use, .lead = on_lead, .end = on_flight_end};
    if (flight_join(cache, &st->seat))
        metric_add(metric_of(M_CACHE_WAITS), 1);
}

/* ---- limits ---- */

static void on_verdict(struct limit_check *k, enum limit_verdict v)
{
    struct stage *st = k->arg;
    if (v == LIMIT_REFUSED) {
        refuse(st);
        return;
    }
    st->passed = true;
    if (st->cached && !st->looked)
        look(st);
    else
        go(st);
}

static const struct limit_plan *plan_of(struct stage *st)
{
    const struct call *c = st->call;
    if (c->entry)
        return &c->entry->limits;
    limit_plan_build(&(struct limit_target){.config = c->catalog->config,
                                            .method = c->method,
                                            .public_name = c->public_target,
                                            .name = c->target},
                     &st->own);
    return &st->own;
}

static void pass_limits(struct stage *st)
{
    st->check.plan = plan_of(st);
    enum limit_verdict v = limit_check(&st->check);
    if (v != LIMIT_WAITS)
        on_verdict(&st->check, v);
}

/* ---- the call's side ---- */

static bool is_target(const struct method *m)
{
    return m->action == METHOD_CALL && m->route != ROUTE_REF;
}

void stages_begin(struct call *c)
{
    struct stage *st = xcalloc(1, sizeof *st);
    st->call = c;
    c->stage = st;
    st->check = (struct limit_check){.call = c, .fn = on_verdict, .arg = st};
    if (!quota_take(c->shard, c->principal, QUOTA_CONCURRENT, &c->seat, &st->refused)) {
        deliver_soon(st);
        return;
    }
    if (!is_target(c->method)) {
        go(st);
        return;
    }
    limit_check_prepare(&st->check);
    st->cached = cache_use_of(c, &st->use);
    if (st->cached && !c->catalog->config->limits.count_hits)
        look(st);
    else
        pass_limits(st);
}

void stages_cancel(struct call *c)
{
    struct stage *st = c->stage;
    c->stage = NULL;
    st->call = NULL;
    if (st->deferred)
        flight_leave(&st->seat); /* deliver frees it */
    else
        stage_free(st);
}

void stages_alone(struct call *c)
{
    struct stage *st = c->stage;
    flight_land(&st->seat, NULL, NULL);
    stage_free(st);
}

void stages_done(struct call *c, const struct outcome *o)
{
    struct stage *st = c->stage;
    struct cache_value *v = cache_value_of(o, st->use.policy);
    flight_land(&st->seat, v, o->kind == OUT_FAILED ? o->err : NULL);
    cache_value_unref(&v);
    stage_free(st);
}
