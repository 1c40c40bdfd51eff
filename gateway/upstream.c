/* See upstream.h. Requests on their way and their deadlines; the life of an upstream, and its
 * probe. What comes back is sorted in upstream_messages.c. */
#include "gateway/upstream.h"

#include "base/clock.h"
#include "gateway/era.h"
#include "gateway/session.h"
#include "gateway/usession.h"

#include <stdlib.h>

static struct upstream_events events;

void upstream_set_events(const struct upstream_events *ev)
{
    events = *ev;
}

const struct upstream_events *upstream_events(void)
{
    return &events;
}

/* ---- server_info ---- */

void server_info_fini(struct server_info *i)
{
    free(i->capabilities);
    free(i->instructions);
    free(i->name);
    *i = (struct server_info){0};
}

void server_info_copy(struct server_info *to, const struct server_info *from)
{
    *to = *from;
    to->capabilities = from->capabilities ? xstrdup(from->capabilities) : NULL;
    to->instructions = from->instructions ? xstrdup(from->instructions) : NULL;
    to->name = from->name ? xstrdup(from->name) : NULL;
}

/* ---- requests ---- */

struct urequest *urequest_new(struct upstream *u, struct usession *us)
{
    struct urequest *r = xcalloc(1, sizeof *r);
    r->up = upstream_ref(u);
    r->us = us;
    r->id = ++u->next_id;
    r->resume.retry_ms = -1;
    r->started_us = clock_us();
    r->max_at_ms = clock_ms() + u->cfg->max_ms;
    if (us)
        TAILQ_INSERT_TAIL(&us->reqs, r, link);
    return r;
}

void urequest_unlink(struct urequest *r)
{
    if (r->queued)
        local_unlink(r);
    else if (r->mismatched)
        TAILQ_REMOVE(&r->up->mismatched, r, link);
    else if (r->us)
        TAILQ_REMOVE(r->waiting ? &r->us->waiting : &r->us->reqs, r, link);
    r->waiting = r->mismatched = false;
}

/* Questions that belonged to a call outlive it: their answers still go to the server. */
static void forget_asks(const struct urequest *r)
{
    struct ask *a;
    if (!r->us || !r->call)
        return;
    TAILQ_FOREACH (a, &r->us->asks, link)
        if (a->call == r->call)
            a->call = NULL;
}

static void urequest_destroy(void *arg)
{
    struct urequest *r = arg;
    upstream_unref(&r->up);
    resume_forget(&r->resume);
    free(r->fail);
    free(r->session_id);
    free(r);
}

static void on_rested(void *arg)
{
    usession_pump(arg);
}

static void rested(struct urequest *r)
{
    if (r->us && r->us->pooled)
        upool_rest(r->us);
    else if (r->lane)
        local_rest(r);
    if (r->us && !TAILQ_EMPTY(&r->us->waiting))
        loop_defer(r->up->shard->loop, on_rested, r->us);
}

/* Unhooks r; its memory lives until the end of the turn. */
static void urequest_drop(struct urequest *r)
{
    r->ended = true;
    timer_clear(&r->timer);
    timer_clear(&r->resume.again);
    hreq_cancel(&r->http);
    forget_asks(r);
    urequest_unlink(r);
    rested(r);
    if (r->call)
        r->call->ureq = NULL;
    loop_defer(r->up->shard->loop, urequest_destroy, r);
}

/* What a client is told of a failure when details are masked; they may name hosts and programs. */
static void mask(struct upstream *u, struct err *e)
{
    const char *what = e->kind == ERR_UNAVAILABLE    ? "is not available"
                       : e->kind == ERR_TIMEOUT      ? "did not answer in time"
                       : e->kind == ERR_BAD_UPSTREAM ? "did not answer as it should"
                       : e->kind == ERR_SYSTEM || e->kind == ERR_INTERNAL ? "cannot be asked"
                                                                          : NULL;
    if (!what || !u->shard->config->local.mask_errors)
        return;
    log_debug("call.failed", L_STR("upstream", u->cfg->name), L_ERR(e));
    (void)err_set(e, e->kind, "upstream %s %s", u->cfg->name, what);
}

void urequest_fail(struct urequest *r, const struct err *e)
{
    if (r->ended)
        return;
    struct call *c = r->call;
    struct err copy = *e;
    metric_add(r->up->errors, 1);
    if (c)
        mask(r->up, &copy);
    urequest_drop(r);
    if (c)
        call_fail(c, &copy);
    else if (r->reply)
        r->reply(r, NULL, &copy);
}

void urequest_end(struct urequest *r, const struct outcome *o)
{
    struct call *c = r->call;
    urequest_drop(r);
    if (c)
        call_finish(c, o);
}

static void on_fail_soon(void *arg)
{
    struct urequest *r = arg;
    urequest_fail(r, r->fail);
}

void urequest_fail_soon(struct urequest *r, const struct err *e)
{
    if (!r->fail)
        r->fail = xmalloc(sizeof *r->fail);
    *r->fail = *e;
    timer_set(&r->timer, r->up->shard->loop, 0, on_fail_soon, r);
}

static void tell_cancelled(struct urequest *r)
{
    struct buf params = {0}, body = {0};
    buf_adds(&params, "{\"requestId\":");
    buf_add_u64(&params, r->id);
    buf_adds(&params, ",\"reason\":\"the caller gave up\"}");
    rpc_notification(&body, STR("notifications/cancelled"), buf_str(&params));
    usession_send(r->us, buf_str(&body));
    buf_fini(&params);
    buf_fini(&body);
}

static void on_timeout(void *arg)
{
    struct urequest *r = arg;
    struct err e;
    (void)err_set(&e, ERR_TIMEOUT, "upstream %s did not answer in time", r->up->cfg->name);
    if (r->us && r->us->state == US_READY && (r->call || !r->reply))
        tell_cancelled(r);
    if (!r->lane || !local_timed_out(r))
        urequest_fail(r, &e);
}

enum { ASK_SLACK_MS = 5000, LEFTOVER_MS = 5000, PROBE_MS = 10000, CLOSE_POLL_MS = 100 };

void urequest_arm(struct urequest *r, int64_t ms)
{
    int64_t left = r->max_at_ms - clock_ms();
    if (r->forever) {
        timer_clear(&r->timer);
        return;
    }
    if (r->asks > 0)
        ms = r->up->shard->config->parked_ms + ASK_SLACK_MS;
    else if (ms > left)
        ms = left;
    timer_set(&r->timer, r->up->shard->loop, ms, on_timeout, r);
}

static void on_leftover(void *arg)
{
    struct urequest *r = arg;
    hreq_cancel(&r->http);
    loop_defer(r->up->shard->loop, urequest_destroy, r);
}

static bool is_mismatch(const struct urequest *r, const struct rpc_msg *m)
{
    int64_t code = 0;
    return !r->us && m->error != JSON_NONE &&
           json_int(m->doc, json_get(m->doc, m->error, STR("code")), &code) &&
           code == RPC_HEADER_MISMATCH;
}

void urequest_answered(struct urequest *r, const struct rpc_msg *m)
{
    struct call *c = r->call;
    struct outcome o = {.kind = m->error == JSON_NONE ? OUT_RESULT : OUT_ERROR,
                        .doc = m->doc,
                        .tok = m->error == JSON_NONE ? m->result : m->error,
                        .modern = r->us ? r->us->info.era == UP_MODERN : true};
    metric_observe_us(r->up->seconds, clock_us() - r->started_us);
    forget_asks(r);
    r->call = NULL; /* the sink may look at the call, not at the request */
    if (c)
        c->ureq = NULL;
    /* The HTTP answer may go on after its message: let it end by itself so that the connection can
     * be used again. */
    if (r->http) {
        hreq_good(r->http);
        timer_set(&r->timer, r->up->shard->loop, LEFTOVER_MS, on_leftover, r);
    } else
        timer_clear(&r->timer);
    r->ended = true;
    urequest_unlink(r);
    rested(r);
    if (!r->http)
        loop_defer(r->up->shard->loop, urequest_destroy, r);
    if (c && is_mismatch(r, m) && urequest_refresh(c))
        return;
    if (c)
        call_finish(c, &o);
    else if (r->reply)
        r->reply(r, m, NULL);
}

/* ---- credentials ---- */

static const struct mount_credential *credential_of(const struct upstream *u,
                                                    const struct principal *who)
{
    return who ? mount_credential_of(u->cfg, who->tenant) : NULL;
}

struct http_pool *upstream_pool(struct upstream *u, const struct principal *who)
{
    const struct mount_credential *own = u->pool ? credential_of(u, who) : NULL;
    if (!own)
        return u->pool;
    if (!u->own_pools)
        u->own_pools = xcalloc(u->cfg->credential_count, sizeof *u->own_pools);
    struct http_pool **p = &u->own_pools[own - u->cfg->credentials];
    if (!*p)
        *p = http_pool_twin(u->pool, own);
    return *p;
}

/* ---- HTTP ---- */

static bool http_head(struct hreq *h, const struct http1_head *head, void *arg)
{
    (void)h;
    struct urequest *r = arg;
    if (r->ended)
        return false;
    struct str sid = http1_value(head, STR("Mcp-Session-Id"));
    if (sid.n > 0 && !r->call && !r->session_id && r->us && r->us->state == US_OPENING)
        r->session_id = xmemdup0(sid.p, sid.n);
    if (head->status == 200)
        urequest_arm(r, r->up->cfg->idle_ms);
    /* What these say is about our request to them, and never evidence of an era. */
    return head->status != 401 && head->status != 403 && head->status < 500;
}

static void http_message(struct hreq *h, struct str text, void *arg)
{
    struct urequest *r = arg;
    struct err e;
    if (r->ended)
        return;
    /* The session is gone, whatever else the body says: http_end opens another. */
    if (hreq_status(h) == 404 && r->us && r->us->sid[0] && r->call && !r->retried)
        return;
    if (!upstream_message(r->up, r->us, r, text, &e) && hreq_status(h) == 200)
        urequest_fail(r, &e);
}

static void http_note(struct hreq *h, const struct sse_event *ev, void *arg)
{
    (void)h;
    struct urequest *r = arg;
    if (r->us && r->us->info.era == UP_LEGACY)
        resume_note(&r->resume, ev);
}

void upstream_status_error(const struct upstream *u, int status, struct err *e)
{
    const char *name = u->cfg->name;
    if (status == 401 || status == 403) {
        (void)err_set(
            e, ERR_UNAUTHENTIC, "upstream %s needs authorization (HTTP %d): %s", name, status,
            u->cfg->bearer_hint ? "check its auth" : "configure auth.tokenEnv or auth.tokenFile");
    } else if (status == 200 || status == 202) {
        (void)err_set(e, ERR_BAD_UPSTREAM, "upstream %s ended its answer without a result", name);
    } else {
        (void)err_set(e, status >= 500 ? ERR_UNAVAILABLE : ERR_BAD_UPSTREAM,
                      "upstream %s answered HTTP %d", name, status);
    }
}

static void http_end(struct hreq *h, const struct err *e, void *arg)
{
    struct urequest *r = arg;
    struct err mine;
    int status = hreq_status(h);
    r->http = NULL;
    r->status = status;
    if (r->ended) {
        timer_clear(&r->timer);
        loop_defer(r->up->shard->loop, urequest_destroy, r);
        return;
    }
    bool expired = !e && status == 404 && r->us && r->us->sid[0] && !r->resume.begun;
    if (expired ? usession_expired(r->us, r) : urequest_resume(r, status))
        return;
    if (e)
        (void)err_set(&mine, e->kind, "upstream %s: %s", r->up->cfg->name, e->msg);
    else
        upstream_status_error(r->up, status, &mine);
    urequest_fail(r, &mine);
}

static const struct hreq_ops request_ops = {
    .on_head = http_head, .on_message = http_message, .on_note = http_note, .on_end = http_end};

static struct http_pool *pool_of(const struct urequest *r)
{
    return r->us ? r->us->pool : upstream_pool(r->up, r->call ? r->call->principal : NULL);
}

void urequest_get(struct urequest *r, struct str fields)
{
    r->http =
        hreq_start(pool_of(r), &(struct hreq_spec){.method = "GET", .fields = fields, .safe = true},
                   &request_ops, r);
}

static void transmit(struct urequest *r, struct str fields, struct str body, bool safe)
{
    metric_add(r->up->calls, 1);
    if (r->us && r->us->pipe) {
        r->us->pipe->ops->write(r->us->pipe, r->id, body);
    } else {
        r->http = hreq_start(
            pool_of(r),
            &(struct hreq_spec){
                .method = "POST", .fields = fields, .body = body, .safe = safe, .lines = r->lines},
            &request_ops, r);
    }
}

/* NOLINTNEXTLINE(readability-function-size): a request, its time and where its answer goes */
struct urequest *urequest_own(struct upstream *u, struct usession *us, struct str method,
                              struct str params, int timeout_ms, urequest_fn fn, void *arg)
{
    struct urequest *r = urequest_new(u, us);
    struct buf fields = {0}, body = {0};
    r->reply = fn;
    r->arg = arg;
    urequest_arm(r, timeout_ms);
    r->lines = str_eq(method, STR("subscriptions/listen"));
    bool handshake = str_eq(method, STR("initialize"));
    era_upstream_own(us && (us->info.era == UP_LEGACY || handshake) ? UP_LEGACY : UP_MODERN, r->id,
                     method, params, &fields, &body);
    if (us && !handshake)
        usession_fields(us, &fields);
    transmit(r, buf_str(&fields), buf_str(&body), true);
    buf_fini(&fields);
    buf_fini(&body);
    return r;
}

void urequest_call(struct upstream *u, struct usession *us, struct call *c, struct urequest *r)
{
    struct shard *s = u->shard;
    if (!r)
        r = urequest_new(u, us);
    r->call = c;
    c->ureq = r;
    urequest_arm(r, u->cfg->first_byte_ms);
    s->scratch.n = s->scratch2.n = 0;
    era_upstream_call(c, us, r->id, &s->scratch, &s->scratch2);
    transmit(r, buf_str(&s->scratch), buf_str(&s->scratch2), c->method->safe);
}

/* ---- calls ---- */

bool upstream_per_client(const struct upstream *u, const struct principal *who)
{
    if (credential_of(u, who) && u->era != UP_MODERN)
        return true;
    if (u->cfg->session == SESSION_PER_CLIENT)
        return true;
    return u->cfg->session == SESSION_AUTO && mount_is_http(u->cfg) && u->era == UP_LEGACY;
}

static void fail_soon(struct call *c, const struct err *e)
{
    struct urequest *r = urequest_new(c->up, NULL);
    r->call = c;
    c->ureq = r;
    urequest_fail_soon(r, e);
}

static void not_connected(struct call *c)
{
    struct err e;
    (void)err_set(&e, ERR_UNAVAILABLE, "upstream %s is not connected", c->up->cfg->name);
    fail_soon(c, &e);
}

/* The conversation that carries a call; NULL: none is free. */
static struct usession *usession_for(const struct call *c, struct err *e)
{
    struct upstream *u = c->up;
    bool own = upstream_per_client(u, c->principal);
    if (own && (!c->legacy_client || (!c->session && credential_of(u, c->principal))))
        return upool_take(u, c, e);
    if (own && c->session)
        return session_usession(c->session, u);
    if (!u->shared)
        u->shared = usession_new(u, NULL, NULL);
    return u->shared;
}

void upstream_send(struct call *c)
{
    struct upstream *u = c->up;
    bool piped = !mount_is_http(u->cfg) || u->sse;
    bool own = c->session && upstream_per_client(u, c->principal);
    if (u->home && u->home != u->shard && !own) {
        relay_send(c);
        return;
    }
    if (u->local) {
        local_send(c);
        return;
    }
    if (!piped && u->era == UP_MODERN) {
        urequest_call(u, NULL, c, NULL);
        return;
    }
    if (!piped && u->era == UP_UNKNOWN) {
        not_connected(c);
        return;
    }
    struct err e;
    struct usession *us = usession_for(c, &e);
    if (!us) {
        fail_soon(c, &e);
        return;
    }
    if (usession_takes(us, c)) {
        urequest_call(u, us, c, NULL);
        return;
    }
    struct urequest *r = urequest_new(u, us);
    r->call = c;
    c->ureq = r;
    usession_wait(us, r);
}

void upstream_cancel(struct call *c)
{
    struct urequest *r = c->ureq;
    if (!r) {
        if (c->up && c->up->home && c->up->home != c->up->shard)
            relay_cancel(c);
        return;
    }
    c->ureq = NULL;
    forget_asks(r);
    r->call = NULL;
    bool legacy = r->us && r->us->info.era == UP_LEGACY;
    if (r->us && r->us->state == US_READY)
        tell_cancelled(r);
    if (r->lane)
        local_cancelled(r);
    /* A legacy stream is read to its end and discarded; its deadline still holds. */
    if (!legacy || r->us->state != US_READY)
        urequest_drop(r);
}

void upstream_rest(struct call *c)
{
    if (c->ureq && c->ureq->http)
        hreq_rest(c->ureq->http);
}

/* ---- life ---- */

static struct shard *home_of(const struct upstream *u)
{
    struct gateway *gw = u->shard->gw;
    return &gw->shards[u->index % gw->shard_count];
}

void upstream_set_sse(struct upstream *u, bool sse)
{
    u->sse = sse;
    u->home = sse ? home_of(u) : NULL;
}

struct upstream *upstream_new(struct shard *s, struct config *config, int index)
{
    struct upstream *u = xcalloc(1, sizeof *u);
    struct err e;
    u->shard = s;
    u->config = config_ref(config);
    u->cfg = &config->mounts[index];
    u->index = index;
    u->refs = 1;
    /* Replicas use one session of a server: their ids of requests must not meet. */
    if (config->store.kind != STORE_IN_MEMORY) {
        uint32_t range;
        crypto_random(&range, sizeof range);
        u->next_id = (uint64_t)(range & 0xfffff) << 32;
    }
    TAILQ_INIT(&u->pooled);
    TAILQ_INIT(&u->mismatched);
    u->calls = metric_series(&metric_rows[M_UPSTREAM_CALLS], u->cfg->name, NULL);
    u->errors = metric_series(&metric_rows[M_UPSTREAM_ERRORS], u->cfg->name, NULL);
    u->seconds = metric_series(&metric_rows[M_UPSTREAM_SECONDS], u->cfg->name, NULL);
    if (mount_is_http(u->cfg)) {
        u->pool = http_pool_new(s, u->cfg, &e);
        if (!u->pool)
            log_error("upstream.unusable", L_STR("upstream", u->cfg->name), L_ERR(&e));
        upstream_set_sse(u, u->cfg->transport == MOUNT_SSE);
    } else if (u->cfg->session != SESSION_PER_CLIENT) {
        u->home = home_of(u);
    }
    if (u->cfg->transport == MOUNT_LOCAL && u->home == s)
        u->local = local_pool_new(u);
    return u;
}

struct upstream *upstream_ref(struct upstream *u)
{
    u->refs++;
    return u;
}

void upstream_unref(struct upstream **up)
{
    struct upstream *u = *up;
    *up = NULL;
    if (!u || --u->refs > 0)
        return;
    for (size_t i = 0; u->own_pools && i < u->cfg->credential_count; i++)
        http_pool_free(&u->own_pools[i]);
    free(u->own_pools);
    http_pool_free(&u->pool);
    free(u->listen_for);
    config_unref(&u->config);
    free(u);
}

/* Calls under way on the shared conversation end first, within the drain time. */
static void on_close_shared(void *arg)
{
    struct upstream *u = arg;
    bool late = clock_ms() >= u->close_at_ms;
    bool busy = u->shared && !TAILQ_EMPTY(&u->shared->reqs);
    busy = upool_close(u, late) || busy;
    busy = (u->local && local_pool_busy(u->local)) || busy;
    if (busy && !late) {
        timer_set(&u->closing, u->shard->loop, CLOSE_POLL_MS, on_close_shared, u);
        return;
    }
    timer_clear(&u->closing);
    usession_close(&u->shared);
    local_pool_close(&u->local);
    upstream_unref(&u);
}

void upstream_close(struct upstream *u, int64_t within_ms)
{
    bool begun = u->closed;
    u->closed = true;
    u->close_at_ms = clock_ms() + within_ms;
    if (!begun)
        on_close_shared(upstream_ref(u));
}

void upstream_cut(struct upstream *u)
{
    upstream_close(u, 0);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): only a reference of its own is gone */
    if (u->pool)
        http_pool_cut(u->pool);
    for (size_t i = 0; u->own_pools && i < u->cfg->credential_count; i++)
        if (u->own_pools[i])
            http_pool_cut(u->own_pools[i]);
}

void upstream_learn(struct upstream *u, const struct server_info *info)
{
    if (!mount_is_http(u->cfg))
        return;
    u->era = info->era;
    if (u->cfg->transport == MOUNT_HTTP && info->era != UP_UNKNOWN && info->sse != u->sse)
        upstream_set_sse(u, info->sse);
}

/* ---- probe ---- */

static void tell_up(struct upstream *u, const struct server_info *info)
{
    u->era = info->era;
    events.session_up(u, info);
}

static void open_legacy(struct upstream *u)
{
    if (!u->shared)
        u->shared = usession_new(u, NULL, NULL);
    usession_open(u->shared);
}

static void on_probe(struct urequest *r, const struct rpc_msg *m, const struct err *e)
{
    struct upstream *u = r->up;
    struct server_info info = {0};
    struct err bad;
    if (!m && e->kind != ERR_BAD_UPSTREAM) { /* away, refused, too slow: never evidence of an era */
        events.session_down(u, e);
        return;
    }
    enum up_era era = m ? era_upstream_judge(m) : UP_LEGACY;
    if (era == UP_MODERN && m->result != JSON_NONE &&
        era_upstream_read_discover(m->doc, m->result, &info, &bad)) {
        tell_up(u, &info);
        server_info_fini(&info);
    } else if (u->cfg->era == ERA_PIN_MODERN) {
        (void)err_set(&bad, ERR_BAD_UPSTREAM,
                      "upstream %s is pinned to era: modern but does not answer server/discover",
                      u->cfg->name);
        events.session_down(u, &bad);
    } else {
        open_legacy(u);
    }
}

static void on_recheck(struct urequest *r, const struct rpc_msg *m, const struct err *e)
{
    struct server_info info = {0};
    struct err bad;
    (void)e;
    if (m && m->result != JSON_NONE && !r->up->closed && era_upstream_judge(m) == UP_MODERN &&
        era_upstream_read_discover(m->doc, m->result, &info, &bad))
        tell_up(r->up, &info);
    server_info_fini(&info);
}

void upstream_recheck(struct upstream *u)
{
    if (u->pool && !u->closed)
        (void)urequest_own(u, NULL, STR("server/discover"), (struct str){0}, PROBE_MS, on_recheck,
                           NULL);
}

void upstream_open(struct upstream *u)
{
    struct err e;
    if (u->closed)
        return;
    if (u->local) {
        local_pool_open(u->local);
        return;
    }
    if (mount_is_http(u->cfg) && !u->pool) {
        (void)err_set(&e, ERR_CONFIG, "upstream %s cannot be used, see the log", u->cfg->name);
        events.session_down(u, &e);
    } else if (u->cfg->transport == MOUNT_STDIO || u->sse || u->cfg->era == ERA_PIN_LEGACY) {
        open_legacy(u);
    } else {
        (void)urequest_own(u, NULL, STR("server/discover"), (struct str){0},
                           u->cfg->first_byte_ms < PROBE_MS ? u->cfg->first_byte_ms : PROBE_MS,
                           on_probe, NULL);
    }
}

struct urequest *upstream_listen(struct upstream *u, struct str params, urequest_fn fn, void *arg)
{
    struct urequest *r =
        urequest_own(u, NULL, STR("subscriptions/listen"), params, u->cfg->first_byte_ms, fn, arg);
    r->forever = true;
    return r;
}

void upstream_unlisten(struct urequest **r)
{
    if (*r && !(*r)->ended) {
        if ((*r)->us && (*r)->us->pipe)
            tell_cancelled(*r);
        urequest_drop(*r);
    }
    *r = NULL;
}

struct listen_note {
    struct shard *home;
    int index;
    const struct mount_config *cfg; /* identity only */
    char *params;
};

static void on_listen_note(void *arg)
{
    struct listen_note *n = arg;
    struct shard *s = n->home;
    struct upstream *u = (size_t)n->index < s->upstream_count ? s->upstreams[n->index] : NULL;
    if (u && u->cfg == n->cfg) {
        free(u->listen_for);
        u->listen_for = n->params;
        n->params = NULL;
        if (u->shared && u->shared->state == US_READY && u->shared->info.era == UP_MODERN)
            usession_listen(u->shared);
    }
    free(n->params);
    free(n);
}

void upstream_listen_for(struct upstream *u, struct str params)
{
    struct listen_note *n = xmalloc(sizeof *n);
    *n = (struct listen_note){u->home, u->index, u->cfg, xmemdup0(params.p, params.n)};
    loop_post(u->home->loop, on_listen_note, n);
}

void upstream_ping(struct upstream *u, urequest_fn fn, void *arg)
{
    if (u->shared)
        (void)urequest_own(u, u->shared, STR("ping"), (struct str){0}, PROBE_MS, fn, arg);
    else
        (void)urequest_own(u, NULL, STR("server/discover"), (struct str){0}, PROBE_MS, fn, arg);
}

/* For usession.c: the shared conversation came up or went down. */
void upstream_session_up(struct upstream *u, const struct server_info *info)
{
    tell_up(u, info);
}

void upstream_session_down(struct upstream *u, const struct err *e)
{
    if (!u->closed)
        events.session_down(u, e);
}

void upstream_session_moved(struct upstream *u)
{
    upstream_set_sse(u, true);
    if (!u->closed)
        events.session_moved(u);
}
