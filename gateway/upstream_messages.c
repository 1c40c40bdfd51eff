/* See upstream.h. What a server sends: each message finds the request, the call or the conversation
 * that it is about. */
#include "base/clock.h"
#include "gateway/cache.h"
#include "gateway/convert.h"
#include "gateway/era.h"
#include "gateway/session.h"
#include "gateway/usession.h"

#include <stdlib.h>

enum { MAX_BATCH = 1000 };

static struct urequest *find_request(struct usession *us, uint64_t id)
{
    struct urequest *r;
    TAILQ_FOREACH (r, &us->reqs, link)
        if (r->id == id)
            return r;
    return NULL;
}

/* A worker's word for the call that its message belongs to. */
static struct urequest *named_call(struct usession *us, const struct rpc_msg *m)
{
    int64_t id;
    uint32_t meta = json_get(m->doc, m->params, STR("_meta"));
    uint32_t tok = json_get(m->doc, meta, STR("dev.headgate/request"));
    return us->worker && json_is(m->doc, tok, JSON_NUMBER) && json_int(m->doc, tok, &id)
               ? find_request(us, (uint64_t)id)
               : NULL;
}

/* The only call in flight: what a pipe says without an address can only belong to it (single-pipe
 * association). */
static struct urequest *only_call(struct usession *us, const struct rpc_msg *m)
{
    struct urequest *r, *found = named_call(us, m);
    if (found)
        return found;
    TAILQ_FOREACH (r, &us->reqs, link) {
        if (!r->call)
            continue;
        if (found)
            return NULL;
        found = r;
    }
    return found;
}

/* A number of ours that came back, maybe as a string. */
static bool read_number(const struct json_doc *d, uint32_t tok, uint64_t *out)
{
    struct arena a = {0};
    int64_t number = -1;
    bool ok =
        tok != JSON_NONE &&
        ((json_int(d, tok, &number) && number >= 0) ||
         (json_is(d, tok, JSON_STRING) && str_to_u64(json_str(d, tok, &a), (uint64_t *)&number)));
    *out = (uint64_t)number;
    arena_fini(&a);
    return ok;
}

/* ---- answers and notifications ---- */

static bool take_response(struct usession *us, struct urequest *r, const struct rpc_msg *m,
                          struct err *e)
{
    uint64_t id = 0;
    bool numbered = read_number(m->doc, m->id, &id);
    if (!r && us && numbered)
        r = find_request(us, id);
    if (!r) {
        log_debug("upstream.unknown_id");
        return true;
    }
    /* An error may come without our id when the server could not read it (JSON-RPC 2.0 §5). */
    bool anonymous =
        m->error != JSON_NONE && (m->id == JSON_NONE || json_is(m->doc, m->id, JSON_NULL));
    if (!(numbered && id == r->id) && !anonymous)
        return err_set(e, ERR_BAD_UPSTREAM, "upstream %s answered with an id that was not asked",
                       r->up->cfg->name);
    urequest_answered(r, m);
    return true;
}

/* A server that says value where progress belongs does not know tokens either: on a request's own
 * stream it means that request. */
static bool is_sloppy(const struct usession *us, const struct urequest *r, const struct rpc_msg *m)
{
    return !us && r && json_get(m->doc, m->params, STR("progress")) == JSON_NONE &&
           json_is(m->doc, json_get(m->doc, m->params, STR("value")), JSON_NUMBER);
}

static void take_progress(struct usession *us, struct urequest *r, const struct rpc_msg *m)
{
    uint64_t token;
    double value;
    uint32_t tok = json_get(m->doc, m->params, STR("progressToken"));
    bool numbered = read_number(m->doc, tok, &token);
    if (!r && us && numbered)
        r = find_request(us, token);
    if (!r || tok == JSON_NONE || (!(numbered && r->id == token) && !is_sloppy(us, r, m)))
        return;
    urequest_arm(r, r->up->cfg->idle_ms);
    struct call *c = r->call;
    if (!c || !c->progress_token.n || !convert_progress_value(m->doc, m->params, &value))
        return;
    if (c->progressed && value <= c->progress) /* MUST increase */
        return;
    c->progressed = true;
    c->progress = value;
    c->sink->progress(c, m->doc, m->params);
}

static void take_log(struct usession *us, struct urequest *r, const struct rpc_msg *m)
{
    if (!r && us)
        r = only_call(us, m);
    if (r && r->call) {
        if (r->call->log_level != LOG_LEVEL_NONE)
            r->call->sink->log(r->call, m->doc, m->params);
    } else if (us && us->owner) {
        session_on_log(us->owner, us->up, m->doc, m->params);
    }
}

static void take_cancelled(struct usession *us, const struct rpc_msg *m)
{
    struct ask *a;
    struct str id = json_raw(m->doc, json_get(m->doc, m->params, STR("requestId")));
    if (!us || id.n == 0)
        return;
    TAILQ_FOREACH (a, &us->asks, link) {
        if (str_eq(str_of(a->id), id)) {
            if (a->on_cancelled)
                a->on_cancelled(a);
            a->on_cancelled = NULL;
            ask_refuse(a, STR("{\"code\":-32603,\"message\":\"cancelled\"}"));
            return;
        }
    }
}

static void take_notification(struct upstream *u, struct usession *us, struct urequest *r,
                              const struct rpc_msg *m)
{
    static const struct {
        const char *method;
        enum catalog_kind kind;
    } lists[] = {{"notifications/tools/list_changed", KIND_TOOLS},
                 {"notifications/prompts/list_changed", KIND_PROMPTS},
                 {"notifications/resources/list_changed", KIND_RESOURCES}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        if (rpc_is(m, str_of(lists[i].method))) {
            upstream_events()->list_changed(u, lists[i].kind);
            return;
        }
    }
    if (m->params == JSON_NONE)
        return;
    if (rpc_is(m, STR("notifications/progress")))
        take_progress(us, r, m);
    else if (rpc_is(m, STR("notifications/message")))
        take_log(us, r, m);
    else if (rpc_is(m, STR("notifications/cancelled")))
        take_cancelled(us, m);
    else if (rpc_is(m, STR("notifications/resources/updated"))) {
        struct arena a = {0};
        struct str uri = json_str(m->doc, json_get(m->doc, m->params, STR("uri")), &a);
        cache_resource_updated(u, uri);
        if (us && us->owner)
            session_on_updated(us->owner, u, uri);
        else
            upstream_events()->resource_updated(u, uri);
        arena_fini(&a);
    } else if (rpc_is(m, STR("notifications/elicitation/complete")) && us && us->owner) {
        session_on_notice(us->owner, m);
    }
}

/* ---- questions ---- */

static void add_roots(const struct mount_config *m, struct buf *out)
{
    buf_adds(out, "{\"roots\":[");
    for (char **root = m->roots; root && *root; root++) {
        buf_adds(out, root == m->roots ? "{\"uri\":" : ",{\"uri\":");
        json_write_str(out, str_of(*root));
        buf_addc(out, '}');
    }
    buf_adds(out, "]}");
}

/* What the gateway answers itself: it is there, and the roots that were configured, or none. */
static void answer_itself(struct usession *us, const struct rpc_msg *m)
{
    struct buf body = {0};
    struct str id = json_raw(m->doc, m->id);
    if (rpc_is(m, STR("ping"))) {
        rpc_begin_result(&body, id);
        buf_adds(&body, "{}}");
    } else if (rpc_is(m, STR("roots/list"))) {
        rpc_begin_result(&body, id);
        add_roots(us->up->cfg, &body);
        buf_addc(&body, '}');
    } else {
        rpc_error(&body, id, RPC_METHOD_NOT_FOUND, STR("no client here can answer this"),
                  (struct str){0});
        log_warn("upstream.question_refused", L_STR("upstream", us->up->cfg->name),
                 L_S("method", json_raw(m->doc, m->method)));
    }
    usession_send(us, buf_str(&body));
    buf_fini(&body);
}

/* May the client of this call be asked? In a session of its own, always; in a shared one the call
 * is only known by its stream, or by being the only one. */
static bool asks_call(const struct usession *us, const struct call *c)
{
    return c && c->sink->input && (!us->owner || c->session == us->owner);
}

static void take_request(struct usession *us, struct urequest *r, const struct rpc_msg *m)
{
    if (!us) {
        log_warn("upstream.request_on_modern_stream");
        return;
    }
    if (!r)
        r = only_call(us, m);
    if (us->worker && local_state(us, r ? r->call : NULL, m))
        return;
    struct call *c = r && asks_call(us, r->call) ? r->call : NULL;
    bool fixed = rpc_is(m, STR("ping")) || (us->up->cfg->roots && rpc_is(m, STR("roots/list")));
    if (fixed || us->info.era == UP_MODERN || (!c && !us->owner)) {
        answer_itself(us, m);
        return;
    }
    struct ask *a = xcalloc(1, sizeof *a);
    struct str id = json_raw(m->doc, m->id);
    *a = (struct ask){.us = us,
                      .call = c,
                      .shared = !us->owner && !us->pooled,
                      .id = xmemdup0(id.p, id.n),
                      .doc = m->doc,
                      .method = m->method,
                      .params = m->params};
    TAILQ_INSERT_TAIL(&us->asks, a, link);
    if (c) {
        if (r->asks++ == 0)
            r->asked_ms = clock_ms();
        urequest_arm(r, 0);
        call_asks(c);
        c->sink->input(c, a);
    } else {
        session_on_ask(us->owner, a);
    }
}

/* ---- every message ---- */

/* Several messages in one text, as servers of 2025-03-26 may send them. */
static bool take_batch(struct upstream *u, struct usession *us, struct urequest *r, struct err *e)
{
    const struct json_doc *d = &u->shard->scratch_doc;
    uint32_t count = d->tok[0].count, n = 0;
    if (count == 0 || count > MAX_BATCH)
        return err_set(e, ERR_BAD_UPSTREAM, "upstream %s sent a batch of %u messages", u->cfg->name,
                       count);
    struct str *parts = xcalloc(count, sizeof *parts); /* each part is parsed into the same doc */
    for (uint32_t k = json_first(d, 0); k != JSON_NONE; k = json_next(d, 0, k))
        parts[n++] = json_raw(d, k);
    bool ok = true;
    for (uint32_t i = 0; i < n && ok && us->state != US_CLOSED; i++)
        ok = parts[i].p[0] != '[' && upstream_message(u, us, r && r->ended ? NULL : r, parts[i], e);
    free(parts);
    return ok;
}

bool upstream_message(struct upstream *u, struct usession *us, struct urequest *r, struct str text,
                      struct err *e)
{
    struct json_doc *d = &u->shard->scratch_doc;
    struct rpc_msg m;
    bool parsed = json_parse(d, text.p, text.n, e);
    if (parsed && json_is(d, 0, JSON_ARRAY) && us && era_batches(us->info.version))
        return take_batch(u, us, r, e);
    if (!parsed || !rpc_read(d, &m, e)) {
        char why[sizeof e->msg];
        memcpy(why, e->msg, sizeof why);
        return err_set(e, ERR_BAD_UPSTREAM, "upstream %s sent what is not JSON-RPC: %.200s",
                       u->cfg->name, why);
    }
    switch (m.kind) {
    case RPC_RESPONSE: return take_response(us, r, &m, e);
    case RPC_NOTIFICATION: take_notification(u, us, r, &m); break;
    case RPC_REQUEST: take_request(us, r, &m); break;
    }
    if (r && !r->ended)
        urequest_arm(r, u->cfg->idle_ms);
    return true;
}
