/* See call.h. Every call that was admitted ends exactly once: answered, failed or cancelled (the
 * conservation that the metrics show). */
#include "gateway/call.h"

#include "base/clock.h"
#include "gateway/access.h"
#include "gateway/approval.h"
#include "gateway/audit_call.h"
#include "gateway/call_stages.h"
#include "gateway/catalog.h"
#include "gateway/quota.h"
#include "gateway/upstream.h"

static const char *ref_name(const struct call *c, uint32_t ref, enum method_route *route,
                            uint32_t *tok)
{
    if (json_str_eq(c->doc, json_get(c->doc, ref, STR("type")), STR("ref/prompt"))) {
        *route = ROUTE_PROMPT;
        *tok = json_get(c->doc, ref, STR("name"));
        return "name";
    }
    *route = ROUTE_URI;
    *tok = json_get(c->doc, ref, STR("uri"));
    return "uri";
}

/* Finds where in params the target's name stands. */
static bool find_target(struct call *c, enum method_route *route, struct err *e)
{
    const char *what = c->method->route == ROUTE_URI ? "uri" : "name";
    *route = c->method->route;
    if (*route == ROUTE_REF)
        what = ref_name(c, json_get(c->doc, c->params, STR("ref")), route, &c->target_tok);
    else
        c->target_tok = json_get(c->doc, c->params, str_of(what));
    if (!json_is(c->doc, c->target_tok, JSON_STRING))
        return err_set(e, ERR_BAD_REQUEST, "params.%s is missing or not a string", what);
    c->public_target = json_str(c->doc, c->target_tok, &c->arena);
    if (memchr(c->public_target.p, '\0', c->public_target.n))
        return err_set(e, ERR_BAD_REQUEST, "params.%s holds a NUL", what);
    return true;
}

static const char *kind_word(enum method_route route)
{
    switch (route) {
    case ROUTE_TOOL: return "tool";
    case ROUTE_PROMPT: return "prompt";
    case ROUTE_URI: return "resource";
    case ROUTE_NONE:
    case ROUTE_REF: break;
    }
    return "target";
}

/* The same for what is not there and for what the caller may not know of. */
static bool unknown(const struct call *c, enum method_route route, struct err *e)
{
    int shown = (int)(c->public_target.n < 200 ? c->public_target.n : 200);
    return err_set(e, ERR_NOT_FOUND, "unknown %s: %.*s", kind_word(route), shown,
                   c->public_target.p);
}

bool call_resolve(struct call *c, struct err *e)
{
    enum method_route route;
    struct target t;
    struct catalog *cat = c->shard->catalog;
    if (!find_target(c, &route, e))
        return false;
    if (!cat || !catalog_resolve(cat, route, c->public_target, &c->arena, &t))
        return unknown(c, route, e);
    if (!access_check(c, route, &t, e)) {
        audit_denied(c, e);
        return e->kind == ERR_NOT_FOUND ? unknown(c, route, e) : false;
    }
    const struct mount_info *m = &cat->mounts[t.mount];
    const char *name = cat->config->mounts[t.mount].name;
    if (m->state == MOUNT_NEEDS_AUTH)
        return err_set(e, ERR_UNAVAILABLE,
                       "upstream %s needs authorization; its operator has to configure it", name);
    if (t.mount >= (int)c->shard->upstream_count)
        return err_set(e, ERR_UNAVAILABLE, "upstream %s is not there any more", name);
    c->up = upstream_ref(c->shard->upstreams[t.mount]);
    c->catalog = catalog_ref(cat);
    c->entry = t.entry;
    c->target = t.name;
    return true;
}

void call_admit(struct call *c, const struct call_sink *sink, void *arg)
{
    c->sink = sink;
    c->arg = arg;
    c->started_us = clock_us();
    c->admitted = true;
    metric_add(metric_of(M_ADMITTED), 1);
    metric_add(metric_of(M_INFLIGHT), 1);
    if (approval_needed(c) && (c->access.spends || !c->access.accepted)) {
        c->live = true;
        approval_begin(c);
    } else {
        call_go_on(c);
    }
    c->exchange = NULL;
}

void call_go_on(struct call *c)
{
    if (stages_concern(c)) {
        c->live = true;
        stages_begin(c);
    } else {
        call_send(c);
    }
}

void call_send(struct call *c)
{
    c->live = true;
    upstream_send(c);
}

static const char *outcome_name(const struct outcome *o)
{
    switch (o->kind) {
    case OUT_RESULT:
        return json_is(o->doc, json_get(o->doc, o->tok, STR("isError")), JSON_TRUE) ? "tool_error"
                                                                                    : "ok";
    case OUT_ERROR: return "error";
    case OUT_FAILED: break;
    }
    return "failed";
}

static void ended(struct call *c, enum metric_row how, const char *outcome)
{
    c->live = false;
    quota_give(&c->seat);
    if (!c->admitted)
        return;
    c->admitted = false;
    metric_add(metric_of(M_INFLIGHT), -1);
    metric_add(metric_of(how), 1);
    metric_observe_us(metric_of(M_REQUEST_SECONDS), clock_us() - c->started_us);
    audit_call(c, outcome);
}

void call_finish(struct call *c, const struct outcome *o)
{
    if (!c->live)
        return;
    if (o->kind == OUT_RESULT && c->sink->suspended && c->sink->suspended(c, o))
        return;
    ended(c, o->kind == OUT_FAILED ? M_FAILED : M_ANSWERED, outcome_name(o));
    approval_cancel(c);
    if (c->stage)
        stages_done(c, o);
    c->sink->done(c, o);
}

void call_asks(struct call *c)
{
    if (c->stage)
        stages_alone(c);
}

void call_fail(struct call *c, const struct err *e)
{
    call_finish(c, &(struct outcome){.kind = OUT_FAILED, .err = e});
}

void call_cancel(struct call *c)
{
    if (!c->live)
        return;
    ended(c, M_CANCELLED, "cancelled");
    approval_cancel(c);
    if (c->stage)
        stages_cancel(c);
    upstream_cancel(c);
}

void call_fini(struct call *c)
{
    call_cancel(c);
    upstream_unref(&c->up);
    catalog_unref(&c->catalog);
    principal_unref(&c->principal);
    arena_fini(&c->arena);
}
