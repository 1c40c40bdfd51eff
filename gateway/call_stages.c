/* See call_stages.h. A stage lives from admission until the call is sent or its end is delivered.
 */
#include "gateway/call_stages.h"

#include "gateway/catalog.h"
#include "gateway/refusal.h"

#include <stdlib.h>

struct stage {
    struct call *call; /* NULL: given up, or ended */
    struct limit_check check;
    struct limit_plan own;   /* of a target without an entry */
    struct refusal *refusal; /* to be delivered */
};

bool stages_concern(const struct call *c)
{
    if (c->entry)
        return c->entry->gated;
    const struct config *cfg = c->catalog->config;
    return rate_is_set(cfg->limits.fallback) || cfg->limits.tool_count || cfg->limits.rule_count;
}

static void stage_free(struct stage *st)
{
    if (st->call)
        st->call->stage = NULL;
    limit_check_cancel(&st->check);
    limit_plan_fini(&st->own);
    if (st->refusal)
        refusal_fini(st->refusal);
    free(st->refusal);
    free(st);
}

static void send_on(struct stage *st)
{
    struct call *c = st->call;
    stage_free(st);
    call_send(c);
}

/* ---- refusals ---- */

static void deliver(void *arg)
{
    struct stage *st = arg;
    struct call *c = st->call;
    if (c) {
        st->call = NULL;
        c->stage = NULL;
        call_finish(c, &st->refusal->outcome);
    }
    stage_free(st);
}

static void refuse(struct stage *st)
{
    st->refusal = xmalloc(sizeof *st->refusal);
    refusal_init(st->refusal, &st->check);
    loop_defer(st->call->shard->loop, deliver, st);
}

/* ---- limits ---- */

static void on_verdict(struct limit_check *k, enum limit_verdict v)
{
    if (v == LIMIT_REFUSED)
        refuse(k->arg);
    else
        send_on(k->arg);
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
    st->check =
        (struct limit_check){.call = st->call, .plan = plan_of(st), .fn = on_verdict, .arg = st};
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
    if (is_target(c->method))
        pass_limits(st);
    else
        send_on(st);
}

void stages_cancel(struct call *c)
{
    struct stage *st = c->stage;
    c->stage = NULL;
    st->call = NULL;
    if (!st->refusal) /* else deliver frees it */
        stage_free(st);
}

void stages_done(struct call *c, const struct outcome *o)
{
    (void)c;
    (void)o;
}
