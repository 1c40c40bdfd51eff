/* Conversations with legacy servers and children (MCP 2025-11-25 basic/lifecycle,
 * basic/transports):
 *
 *   IDLE -> OPENING -> READY -> CLOSED
 *             ^  |        |
 *             +--+--------+   broken or expired: back to IDLE, opened again by the next call or by
 * the watch
 *
 * A child of unknown era is asked server/discover first; an error, silence or its exit means
 * legacy, and after the last two another child takes its place. */
#include "gateway/usession.h"

#include "base/clock.h"
#include "gateway/catalog.h"
#include "gateway/era.h"
#include "gateway/session.h"

#include <stdlib.h>

enum {
    HANDSHAKE_MS = 30000,
    CHILD_PROBE_MS = 3000,
    LEGACY_VERDICT_MS = 3600 * 1000,
    STREAM_WAIT_MS = 250,
    STREAM_TAKEN_MS = 10000
};

static void open_stream(void *arg);

struct usession *usession_new(struct upstream *u, struct session *owner,
                              const struct principal *who)
{
    struct usession *us = xcalloc(1, sizeof *us);
    us->up = upstream_ref(u);
    us->owner = owner;
    us->pool = upstream_pool(u, who);
    us->resume.retry_ms = -1;
    us->level = LOG_LEVEL_NONE;
    TAILQ_INIT(&us->reqs);
    TAILQ_INIT(&us->asks);
    TAILQ_INIT(&us->waiting);
    metric_add(metric_of(M_UPSTREAM_SESSIONS), 1);
    return us;
}

void usession_fields(const struct usession *us, struct buf *fields)
{
    if (us->pipe)
        return;
    bool ok = true;
    if (us->sid[0])
        ok = http1_add_field(fields, STR("Mcp-Session-Id"), str_of(us->sid));
    if (us->info.version[0])
        ok = http1_add_field(fields, STR("MCP-Protocol-Version"), str_of(us->info.version)) && ok;
    if (!ok)
        log_warn("upstream.session_id_unusable", L_STR("upstream", us->up->cfg->name));
}

/* ---- messages nobody waits for ---- */

static bool deaf_head(struct hreq *h, const struct http1_head *head, void *arg)
{
    (void)h;
    (void)head;
    (void)arg;
    return false;
}

static void deaf_message(struct hreq *h, struct str text, void *arg)
{
    (void)h;
    (void)text;
    (void)arg;
}

static void deaf_end(struct hreq *h, const struct err *e, void *arg)
{
    (void)h;
    struct upstream *u = arg;
    if (e)
        log_debug("upstream.notice_lost", L_STR("upstream", u->cfg->name), L_ERR(e));
    upstream_unref(&u);
}

static const struct hreq_ops deaf_ops = {
    .on_head = deaf_head, .on_message = deaf_message, .on_end = deaf_end};

static void post(struct usession *us, const char *method, struct str body)
{
    struct buf fields = {0};
    usession_fields(us, &fields);
    (void)hreq_start(us->pool,
                     &(struct hreq_spec){
                         .method = method, .fields = buf_str(&fields), .body = body, .safe = true},
                     &deaf_ops, upstream_ref(us->up));
    buf_fini(&fields);
}

void usession_send(struct usession *us, struct str body)
{
    if (us->pipe)
        us->pipe->ops->write(us->pipe, 0, body);
    else if (us->state == US_READY || us->state == US_OPENING)
        post(us, "POST", body);
}

void usession_notify(struct usession *us, struct str method, struct str params)
{
    struct buf body = {0};
    if (us->state != US_READY)
        return;
    rpc_notification(&body, method, params);
    usession_send(us, buf_str(&body));
    buf_fini(&body);
}

void usession_tell(struct usession *us, struct str method, struct str params)
{
    if (us->state == US_READY)
        (void)urequest_own(us->up, us, method, params, HANDSHAKE_MS, NULL, NULL);
}

/* ---- going down ---- */

static void fail_all(struct usession *us, const struct err *e)
{
    struct ask *a;
    while ((a = TAILQ_FIRST(&us->asks))) {
        TAILQ_REMOVE(&us->asks, a, link);
        a->us = NULL;
        if (a->on_cancelled)
            a->on_cancelled(a);
        a->on_cancelled = NULL;
        if (a->holder == NULL)
            ask_refuse(a, STR("{}"));
    }
    /* A failing call may make its client send another: take the lists as they are now. */
    struct urequest *r;
    TAILQ_FOREACH (r, &us->waiting, link)
        r->waiting = false;
    TAILQ_CONCAT(&us->reqs, &us->waiting, link);
    size_t n = 0;
    TAILQ_FOREACH (r, &us->reqs, link)
        n++;
    while (n-- > 0 && (r = TAILQ_FIRST(&us->reqs)))
        urequest_fail(r, e);
}

static void reset(struct usession *us)
{
    us->listen = NULL; /* it ends with the others */
    timer_clear(&us->resume.again);
    timer_clear(&us->settle);
    local_state_cancel(us);
    hreq_cancel(&us->stream);
    hreq_cancel(&us->hello);
    if (us->pipe)
        us->pipe->ops->stop(us->pipe);
    us->pipe = NULL;
    us->sid[0] = '\0';
    resume_forget(&us->resume);
    us->resume.retry_ms = -1;
    us->no_stream = us->levelling = false;
    us->level = LOG_LEVEL_NONE;
}

/* A child that was asked what it is before the handshake, and broke of it, was a throw-away: the
 * conversation goes on opening with a fresh one, which is not asked. */
static bool starts_over(struct usession *us, const struct err *e)
{
    struct urequest *r;
    if (us->state != US_OPENING || !us->probed)
        return false;
    log_info("upstream.probe_broke_it", L_STR("upstream", us->up->cfg->name), L_ERR(e));
    us->probed = false;
    us->up->child_legacy_ms = clock_ms() + LEGACY_VERDICT_MS;
    us->state = US_IDLE; /* so that what asked does nothing now */
    reset(us);
    while ((r = TAILQ_FIRST(&us->reqs)))
        urequest_fail(r, e);
    us->state = US_OPENING;
    us->pipe = stdio_start(us);
    return true;
}

void usession_broken(struct usession *us, const struct err *e)
{
    struct err copy = *e;
    if (us->state == US_CLOSED || starts_over(us, &copy))
        return;
    us->state = US_IDLE;
    reset(us);
    fail_all(us, &copy);
    if (us->worker)
        local_worker_down(us, &copy);
    else if (!us->owner && !us->pooled)
        upstream_session_down(us->up, &copy);
}

static void us_destroy(void *arg)
{
    struct usession *us = arg;
    server_info_fini(&us->info);
    upstream_unref(&us->up);
    free(us);
}

void usession_close(struct usession **usp)
{
    struct usession *us = *usp;
    struct err e;
    *usp = NULL;
    if (!us || us->state == US_CLOSED)
        return;
    if (us->state == US_READY && !us->pipe && us->sid[0])
        post(us, "DELETE", (struct str){0});
    us->state = US_CLOSED;
    (void)err_set(&e, ERR_CONFLICT, "the session with upstream %s has ended", us->up->cfg->name);
    reset(us);
    fail_all(us, &e);
    us->owner = NULL;
    metric_add(metric_of(M_UPSTREAM_SESSIONS), -1);
    loop_defer(us->up->shard->loop, us_destroy, us);
}

void usession_leave(struct usession **usp)
{
    if (*usp)
        (*usp)->sid[0] = '\0'; /* nothing to DELETE */
    usession_close(usp);
}

/* ---- coming up ---- */

void usession_refused(struct usession *us, uint64_t id, const struct err *e)
{
    struct urequest *r;
    TAILQ_FOREACH (r, &us->reqs, link)
        if (r->id == id)
            break;
    if (r)
        urequest_fail(r, e);
}

void usession_wait(struct usession *us, struct urequest *r)
{
    urequest_unlink(r);
    r->waiting = true;
    TAILQ_INSERT_TAIL(&us->waiting, r, link);
    usession_open(us);
    if (us->state == US_READY)
        usession_pump(us);
}

/* ---- calls in line ---- */

static void on_level(struct urequest *r, const struct rpc_msg *m, const struct err *e)
{
    struct usession *us = r->us;
    (void)m;
    (void)e; /* a server that knows no levels says what it says */
    us->levelling = false;
    usession_pump(us);
}

/* The level a call needs to hear its log messages; a legacy client that never set one takes what
 * comes. */
static int needed_level(const struct usession *us, const struct call *c)
{
    bool unset = c->legacy_client && c->log_level == LOG_LEVEL_DEFAULT;
    if (us->owner || us->info.era != UP_LEGACY || (unset && us->level == LOG_LEVEL_NONE))
        return LOG_LEVEL_NONE;
    return c->log_level;
}

/* Tells a server that others share of a lower level than it has, before the calls that want it. It
 * is never raised again: each call's messages are filtered anyway. */
static bool lower_level(struct usession *us)
{
    struct urequest *r;
    struct buf p = {0};
    int lowest = LOG_LEVEL_NONE;
    TAILQ_FOREACH (r, &us->waiting, link) {
        int level = needed_level(us, r->call);
        if (level != LOG_LEVEL_NONE && (lowest == LOG_LEVEL_NONE || level < lowest))
            lowest = level;
    }
    if (lowest == LOG_LEVEL_NONE || (us->level != LOG_LEVEL_NONE && us->level <= lowest) ||
        !us->info.capabilities || str_find(str_of(us->info.capabilities), STR("\"logging\"")) < 0)
        return false;
    us->level = lowest;
    us->levelling = true;
    buf_addf(&p, "{\"level\":\"%s\"}", era_log_name(lowest));
    (void)urequest_own(us->up, us, STR("logging/setLevel"), buf_str(&p), HANDSHAKE_MS, on_level,
                       NULL);
    buf_fini(&p);
    return true;
}

/* A server that cannot say for which call it asks has one at a time. */
static bool is_taken(const struct usession *us)
{
    const struct urequest *r;
    if (!us->up->cfg->interactive)
        return false;
    TAILQ_FOREACH (r, &us->reqs, link)
        if (r->call)
            return true;
    return false;
}

bool usession_takes(const struct usession *us, const struct call *c)
{
    int level = needed_level(us, c);
    return us->state == US_READY && !us->levelling &&
           (level == LOG_LEVEL_NONE || (us->level != LOG_LEVEL_NONE && us->level <= level)) &&
           !is_taken(us);
}

void usession_pump(struct usession *us)
{
    struct urequest *r;
    while (us->state == US_READY && !us->levelling && (r = TAILQ_FIRST(&us->waiting)) &&
           !is_taken(us) && !lower_level(us)) {
        urequest_unlink(r);
        TAILQ_INSERT_TAIL(&us->reqs, r, link);
        urequest_call(us->up, us, r->call, r);
    }
}

static void on_listen_end(struct urequest *r, const struct rpc_msg *m, const struct err *e)
{
    (void)m;
    (void)e;
    if (r->us->listen == r)
        r->us->listen = NULL;
}

void usession_listen(struct usession *us)
{
    struct urequest *old = us->listen;
    const char *params = us->up->listen_for;
    if (!params)
        params = "{\"notifications\":{\"toolsListChanged\":true,\"promptsListChanged\":true,"
                 "\"resourcesListChanged\":true}}";
    us->listen = urequest_own(us->up, us, STR("subscriptions/listen"), str_of(params), HANDSHAKE_MS,
                              on_listen_end, NULL);
    us->listen->forever = true;
    timer_clear(&us->listen->timer);
    upstream_unlisten(&old); /* the new one comes first on the pipe: nothing is lost between them */
}

static void ready(struct usession *us)
{
    us->state = US_READY;
    if (us->owner)
        session_usession_ready(us->owner, us, us->again);
    us->again = true;
    us->probed = false;
    if (us->pipe && us->info.era == UP_MODERN && !us->owner && !us->pooled)
        usession_listen(us);
    if (us->worker)
        local_worker_ready(us);
    else if (!us->owner && !us->pooled)
        upstream_session_up(us->up, &us->info);
    usession_pump(us);
}

/* A server of 2024-11-05 takes no POST here, but a GET (MCP 2025-11-25 basic/transports "Backwards
 * Compatibility"). Tried once, by who watches the mount. */
static bool wants_sse(const struct usession *us, const struct urequest *r)
{
    return !us->owner && !us->pipe && us->up->shard->index < 0 &&
           us->up->cfg->era != ERA_PIN_MODERN &&
           (r->status == 400 || r->status == 404 || r->status == 405);
}

/* The GET stream is open, or will not be soon. */
static void on_settled(void *arg)
{
    struct usession *us = arg;
    timer_clear(&us->settle);
    if (us->state == US_OPENING)
        ready(us);
}

/* HTTP requests overtake each other: those of a client wait until the server has heard that the
 * session is initialized. */
static void hello_end(struct hreq *h, const struct err *e, void *arg)
{
    (void)h;
    struct usession *us = arg;
    us->hello = NULL;
    if (e)
        log_debug("upstream.notice_lost", L_STR("upstream", us->up->cfg->name), L_ERR(e));
    if (us->state != US_OPENING)
        return;
    if (!us->owner && !us->pooled && us->up->shard->index >= 0) {
        ready(us);
        return;
    }
    /* Servers drop what they would say on a GET stream that is not there (yet). */
    timer_set(&us->settle, us->up->shard->loop, STREAM_WAIT_MS, on_settled, us);
    open_stream(us);
}

static void say_initialized(struct usession *us)
{
    static const struct hreq_ops ops = {
        .on_head = deaf_head, .on_message = deaf_message, .on_end = hello_end};
    struct str body = STR("{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}");
    struct buf fields = {0};
    if (us->pipe) {
        usession_send(us, body);
        ready(us);
        return;
    }
    usession_fields(us, &fields);
    us->hello =
        hreq_start(us->pool,
                   &(struct hreq_spec){
                       .method = "POST", .fields = buf_str(&fields), .body = body, .safe = true},
                   &ops, us);
    buf_fini(&fields);
}

static void on_initialized(struct urequest *r, const struct rpc_msg *m, const struct err *e)
{
    struct usession *us = r->us;
    struct err bad;
    if (us->state != US_OPENING)
        return;
    if (wants_sse(us, r)) {
        us->pipe = sse_start(us);
        return;
    }
    server_info_fini(&us->info);
    if (m && m->result == JSON_NONE) {
        struct arena a = {0};
        struct str msg = json_str(m->doc, json_get(m->doc, m->error, STR("message")), &a);
        (void)err_set(&bad, ERR_BAD_UPSTREAM, "upstream %s refused initialize: %.*s",
                      us->up->cfg->name, STR_FMT(msg));
        arena_fini(&a);
        e = &bad;
    } else if (m && !era_upstream_read_initialize(m->doc, m->result, &us->info, &bad)) {
        e = &bad;
    }
    if (e) {
        usession_broken(us, e);
        return;
    }
    if (r->session_id && strlen(r->session_id) < sizeof us->sid)
        memcpy(us->sid, r->session_id, strlen(r->session_id) + 1);
    us->info.stateful = us->sid[0] != '\0';
    us->info.sse = us->up->sse;
    say_initialized(us);
}

static void initialize(struct usession *us)
{
    struct buf params = {0};
    server_info_fini(&us->info);
    era_upstream_initialize(us, &params);
    (void)urequest_own(us->up, us, STR("initialize"), buf_str(&params), HANDSHAKE_MS,
                       on_initialized, NULL);
    buf_fini(&params);
}

static void on_child_probe(struct urequest *r, const struct rpc_msg *m, const struct err *e)
{
    struct usession *us = r->us;
    struct err bad;
    if (us->state != US_OPENING || !us->pipe)
        return;
    server_info_fini(&us->info);
    if (m && m->result != JSON_NONE && era_upstream_judge(m) == UP_MODERN &&
        era_upstream_read_discover(m->doc, m->result, &us->info, &bad)) {
        us->probed = false;
        ready(us);
    } else if (us->up->cfg->era == ERA_PIN_MODERN) {
        (void)err_set(&bad, ERR_BAD_UPSTREAM,
                      "upstream %s is pinned to era: modern but does not answer server/discover",
                      us->up->cfg->name);
        us->probed = false;
        usession_broken(us, &bad);
    } else if (e) {
        usession_broken(us, e); /* silence: it may hang */
    } else {
        us->up->child_legacy_ms = clock_ms() + LEGACY_VERDICT_MS;
        initialize(us);
    }
}

void usession_pipe_open(struct usession *us)
{
    struct upstream *u = us->up;
    if (u->cfg->transport == MOUNT_HTTP && !u->sse) {
        us->state = US_IDLE; /* it was a try; what was to be known is known */
        reset(us);
        upstream_session_moved(u);
        return;
    }
    if (u->sse || u->cfg->era == ERA_PIN_LEGACY || clock_ms() < u->child_legacy_ms) {
        initialize(us);
        return;
    }
    us->info.era = UP_MODERN;
    us->probed = u->cfg->era != ERA_PIN_MODERN;
    (void)urequest_own(u, us, STR("server/discover"), (struct str){0}, CHILD_PROBE_MS,
                       on_child_probe, NULL);
}

void usession_open(struct usession *us)
{
    if (us->state != US_IDLE)
        return;
    us->state = US_OPENING;
    if (us->worker)
        us->pipe = local_start(us);
    else if (us->up->cfg->transport == MOUNT_STDIO)
        us->pipe = stdio_start(us);
    else if (us->up->sse)
        us->pipe = sse_start(us);
    else
        initialize(us);
}

void usession_adopt(struct usession *us, const char *sid, const char *version)
{
    const struct catalog *c = us->up->shard->catalog;
    if (us->state != US_IDLE || us->up->cfg->transport != MOUNT_HTTP ||
        strlen(sid) >= sizeof us->sid || strlen(version) >= sizeof us->info.version)
        return;
    if (c && c->config == us->up->config && us->up->index < (int)c->mount_count)
        server_info_copy(&us->info, &c->mounts[us->up->index].server);
    us->info.era = UP_LEGACY;
    us->info.stateful = true;
    memcpy(us->sid, sid, strlen(sid) + 1);
    memcpy(us->info.version, version, strlen(version) + 1);
    us->state = US_READY;
    us->again = true;
    open_stream(us);
}

bool usession_expired(struct usession *us, struct urequest *r)
{
    if (r->retried || !r->call)
        return false;
    r->retried = true;
    log_info("upstream.session_expired", L_STR("upstream", us->up->cfg->name));
    timer_clear(&r->timer);
    if (us->state == US_READY) {
        us->state = US_IDLE;
        reset(us);
    }
    usession_wait(us, r);
    return true;
}

/* ---- the GET stream ---- */

static bool stream_head(struct hreq *h, const struct http1_head *head, void *arg)
{
    (void)h;
    struct usession *us = arg;
    if (timer_armed(&us->settle))
        timer_set(&us->settle, us->up->shard->loop, 0, on_settled, us);
    if (head->status == 200)
        return true;
    if (us->resume.id)
        resume_forget(&us->resume); /* it may only not know that event any more */
    else if (head->status == 409)
        us->resume.retry_ms = STREAM_TAKEN_MS; /* another replica has it, for now */
    else
        us->no_stream = true; /* 405: the server has none (MCP 2025-11-25 basic/transports) */
    return false;
}

static void stream_message(struct hreq *h, struct str text, void *arg)
{
    (void)h;
    struct usession *us = arg;
    struct err e;
    if (!upstream_message(us->up, us, NULL, text, &e))
        log_warn("upstream.bad_message", L_STR("upstream", us->up->cfg->name), L_ERR(&e));
}

static void stream_end(struct hreq *h, const struct err *e, void *arg)
{
    (void)h;
    struct usession *us = arg;
    us->stream = NULL;
    if (timer_armed(&us->settle))
        timer_set(&us->settle, us->up->shard->loop, 0, on_settled, us);
    if (us->state == US_CLOSED || us->no_stream)
        return;
    (void)e; /* a server that is gone is found out by the watch's pings */
    timer_set(&us->resume.again, us->up->shard->loop, resume_delay_ms(&us->resume), open_stream,
              us);
}

static void stream_note(struct hreq *h, const struct sse_event *ev, void *arg)
{
    (void)h;
    struct usession *us = arg;
    resume_note(&us->resume, ev);
}

static const struct hreq_ops stream_ops = {.on_head = stream_head,
                                           .on_message = stream_message,
                                           .on_note = stream_note,
                                           .on_end = stream_end};

static void open_stream(void *arg)
{
    struct usession *us = arg;
    struct buf fields = {0};
    usession_fields(us, &fields);
    resume_fields(&us->resume, &fields);
    us->stream = hreq_start(
        us->pool, &(struct hreq_spec){.method = "GET", .fields = buf_str(&fields), .safe = true},
        &stream_ops, us);
    buf_fini(&fields);
}
