/* See watch.h. All state is control's; what upstreams tell on other shards comes by mail, with the
 * address of the mount's configuration as identity: shards keep or replace the upstream of a mount
 * alike.
 *
 *   CONNECTING -> UP <-> STALE        an error keeps the last good entries
 *        |        |
 *        +-> DOWN, NEEDS_AUTH -> UP   tried again with back-off */
#include "gateway/watch.h"

#include "base/clock.h"
#include "gateway/watch_priv.h"

#include <assert.h>
#include <stdlib.h>

enum { PING_EVERY_MS = 30000 };

static void check_settled(struct watch *w);
static void connect_soon(struct watched *m, int64_t ms);

int64_t watch_jitter(int64_t ms)
{
    uint16_t r;
    crypto_random(&r, sizeof r);
    return ms * 4 / 5 + ms * 2 / 5 * r / UINT16_MAX;
}

int64_t watch_backoff(int64_t *backoff_ms, int64_t min_ms)
{
    int64_t now = *backoff_ms < min_ms ? min_ms : *backoff_ms;
    *backoff_ms = now * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : now * 2;
    return now;
}

/* ---- settling ---- */

static void settle(void *arg)
{
    struct watch *w = arg;
    loop_fn fn = w->settled;
    if (!w->waiting)
        return;
    timer_clear(&w->settle);
    w->waiting = false;
    w->settled = NULL;
    watch_rebuild(w);
    fn(w->settled_arg);
}

static void check_settled(struct watch *w)
{
    for (size_t i = 0; i < w->n; i++)
        if (!w->mounts[i]->tried)
            return;
    if (w->waiting)
        timer_set(&w->settle, w->gw->control.loop, 0, settle, w);
}

/* ---- states ---- */

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void set_state(struct watched *m, enum mount_state state, const struct err *e)
{
    bool changed = state != m->info.state;
    assert(state != MOUNT_CONNECTING && (state == MOUNT_UP) == (e == NULL));
    if (!changed && same_text(m->info.error, e ? e->msg : NULL))
        return;
    free(m->info.error);
    m->info.error = e ? xstrdup(e->msg) : NULL;
    m->info.state = state;
    if (changed) {
        m->info.since_ms = clock_wall_ms();
        if (e)
            log_warn("upstream.down", L_STR("upstream", m->up->cfg->name),
                     L_STR("state", mount_state_name(state)), L_ERR(e));
    }
    watch_rebuild_soon(m->w);
}

static void set_failed(struct watched *m, const struct err *e)
{
    if (e->kind == ERR_UNAUTHENTIC)
        set_state(m, MOUNT_NEEDS_AUTH, e);
    else
        set_state(m, m->had_lists || m->online ? MOUNT_STALE : MOUNT_DOWN, e);
}

static void set_tried(struct watched *m)
{
    m->tried = true;
    check_settled(m->w);
}

void watch_fetched(struct watched *m, const struct err *e)
{
    bool failed = false, news = m->announce || m->info.state != MOUNT_UP;
    if (!m->fetch[KIND_TOOLS].call)
        refresh_done(m);
    if (e)
        m->failure = *e;
    for (int k = 0; k < KINDS; k++)
        failed = failed || m->fetch[k].failed;
    if (!m->online || fetch_running(m))
        return;
    if (failed)
        set_failed(m, &m->failure);
    else
        set_state(m, MOUNT_UP, NULL);
    if (news && !failed) {
        log_info("upstream.up", L_STR("upstream", m->up->cfg->name),
                 L_STR("era", m->info.server.era == UP_MODERN ? "modern" : "legacy"),
                 L_STR("version", m->info.server.version),
                 L_INT("tools", m->info.count[KIND_TOOLS]), L_INT("ms", clock_ms() - m->opened_ms));
    }
    m->announce = m->announce && failed;
    watch_rebuild_soon(m->w);
    set_tried(m);
}

/* ---- health ---- */

struct watched *watch_find(const struct gateway *gw, const struct mount_config *cfg)
{
    const struct watch *w = gw->watch;
    for (size_t i = 0; w && i < w->n; i++)
        if (w->mounts[i]->up->cfg == cfg)
            return w->mounts[i];
    return NULL;
}

static void mount_down(struct watched *m, const struct err *e)
{
    bool was_online = m->online;
    int64_t now = clock_ms(), wait;
    if (!was_online && !m->opening && timer_armed(&m->reopen)) {
        set_failed(m, e); /* a client's call tried too: keeps to the back-off */
        return;
    }
    m->online = m->opening = false;
    if (m->up->cfg->transport == MOUNT_HTTP && m->up->sse && e->kind == ERR_BAD_UPSTREAM)
        upstream_set_sse(m->up, false); /* it may have learnt streamable HTTP */
    metric_set(m->up_metric, 0);
    timer_clear(&m->ping);
    timer_clear(&m->recheck);
    fetch_pause(m);
    subs_down(m);
    set_failed(m, e);
    set_tried(m);
    if (was_online && now - m->up_ms >= STEADY_MS)
        m->backoff_ms = 0;
    if (was_online && m->backoff_ms == 0) {
        m->backoff_ms = RETRY_MIN_MS;
        wait = 0;
    } else {
        wait = watch_jitter(watch_backoff(&m->backoff_ms, RETRY_MIN_MS));
    }
    connect_soon(m, wait);
}

static bool is_gone(const struct err *e)
{
    return e->kind == ERR_UNAVAILABLE || e->kind == ERR_TIMEOUT || e->kind == ERR_UNAUTHENTIC;
}

/* A session that the server forgot: it says so with HTTP 404, whatever the body. */
static bool is_forgotten(const struct urequest *r, const struct rpc_msg *msg, struct err *e)
{
    if (!msg || msg->error == JSON_NONE || !r->us || !r->us->sid[0] || !r->http ||
        hreq_status(r->http) != 404)
        return false;
    (void)err_set(e, ERR_UNAVAILABLE, "upstream %s forgot the session", r->up->cfg->name);
    return true;
}

static void on_pong(struct urequest *r, const struct rpc_msg *msg, const struct err *e)
{
    struct gateway *gw = r->arg;
    struct watched *m = watch_find(gw, r->up->cfg);
    struct usession *us = r->us;
    struct err forgot;
    if (!m)
        return;
    m->pinging = false;
    if (is_forgotten(r, msg, &forgot))
        e = &forgot;
    if (!m->online || !e)
        return;
    if (us && us->state == US_READY && (is_gone(e) || us->sid[0]))
        usession_broken(us, e); /* tells on_session_down */
    else if (!us && is_gone(e))
        mount_down(m, e);
}

static void on_ping(void *arg)
{
    struct watched *m = arg;
    struct usession *us = m->up->shared;
    timer_set(&m->ping, m->w->gw->control.loop, PING_EVERY_MS, on_ping, m);
    if (m->pinging || (us && us->state != US_READY))
        return;
    m->pinging = true;
    upstream_ping(m->up, on_pong, m->w->gw);
}

/* A pipe tells of its end itself. */
static bool is_piped(const struct upstream *u)
{
    return !mount_is_http(u->cfg) || u->sse;
}

void watch_check(struct watched *m)
{
    if (m->online && !is_piped(m->up))
        timer_set(&m->ping, m->w->gw->control.loop, 0, on_ping, m);
}

/* ---- coming up ---- */

static bool is_true(const struct json_doc *d, uint32_t obj, struct str name)
{
    return json_is(d, json_get(d, obj, name), JSON_TRUE);
}

static void read_promises(struct promises *p, const char *capabilities)
{
    static const char *const names[] = {
        [KIND_TOOLS] = "tools", [KIND_PROMPTS] = "prompts", [KIND_RESOURCES] = "resources"};
    struct json_doc d = {0};
    struct err e;
    *p = (struct promises){0};
    if (capabilities && json_parse(&d, capabilities, strlen(capabilities), &e)) {
        for (int k = KIND_TOOLS; k <= KIND_RESOURCES; k++) {
            uint32_t cap = json_get(&d, 0, str_of(names[k]));
            p->has[k] = json_is(&d, cap, JSON_OBJECT);
            p->changes[k] = is_true(&d, cap, STR("listChanged"));
        }
        p->has[KIND_TEMPLATES] = p->has[KIND_RESOURCES];
        p->subscribe = is_true(&d, json_get(&d, 0, STR("resources")), STR("subscribe"));
    }
    json_fini(&d);
}

static void on_recheck(void *arg)
{
    struct watched *m = arg;
    timer_set(&m->recheck, m->w->gw->control.loop, m->up->cfg->era_recheck_ms, on_recheck, m);
    upstream_recheck(m->up);
}

static void mount_up(struct watched *m, const struct server_info *info)
{
    bool http = !is_piped(m->up);
    struct server_info fresh;
    server_info_copy(&fresh, info);
    server_info_fini(&m->info.server);
    m->info.server = fresh;
    read_promises(&m->promises, fresh.capabilities);
    if (!m->online) {
        m->announce = true;
        m->up_ms = clock_ms();
    }
    m->online = true;
    m->opening = false;
    metric_set(m->up_metric, 1);
    timer_clear(&m->reopen);
    if (http && fresh.era == UP_MODERN)
        usession_close(&m->up->shared); /* of a time when it was legacy */
    if (http)
        timer_set(&m->ping, m->w->gw->control.loop, PING_EVERY_MS, on_ping, m);
    timer_clear(&m->recheck);
    if (fresh.era == UP_LEGACY && !fresh.sse && m->up->cfg->era == ERA_PIN_AUTO &&
        m->up->cfg->transport == MOUNT_HTTP)
        timer_set(&m->recheck, m->w->gw->control.loop, m->up->cfg->era_recheck_ms, on_recheck, m);
    if (m->had_lists)
        watch_rebuild_soon(m->w); /* shards learn eras from the catalog */
    subs_up(m);
    fetch_all(m);
}

/* ---- opening ---- */

struct open_note {
    struct gateway *gw;
    struct shard *home;
    int index;
    const struct mount_config *cfg; /* identity only */
    bool sse;
};

/* Something that an upstream on another shard told; also that it was not there to be opened. */
struct event_note {
    struct gateway *gw;
    const struct mount_config *cfg; /* identity only */
    enum { NOTE_LIST, NOTE_UP, NOTE_DOWN } what;
    enum catalog_kind kind;
    struct server_info info;
    struct err err;
};

void watch_list_changed(struct watched *m, enum catalog_kind kind)
{
    fetch_kind(m, kind);
    if (kind == KIND_RESOURCES)
        fetch_kind(m, KIND_TEMPLATES);
}

static void on_event_note(void *arg)
{
    struct event_note *n = arg;
    struct watched *m = watch_find(n->gw, n->cfg);
    switch (n->what) {
    case NOTE_LIST:
        if (m) {
            watch_list_changed(m, n->kind);
            fleet_tell(m, n->kind);
        }
        break;
    case NOTE_UP:
        if (m)
            mount_up(m, &n->info);
        break;
    case NOTE_DOWN:
        if (m)
            mount_down(m, &n->err);
        break;
    }
    server_info_fini(&n->info);
    free(n);
}

/* Takes the note's contents; dealt with at once on control's thread. */
static void post_event(struct shard *from, const struct event_note *contents)
{
    struct event_note *n = xmalloc(sizeof *n);
    *n = *contents;
    n->gw = from->gw;
    if (from == &from->gw->control)
        on_event_note(n);
    else
        loop_post(from->gw->control.loop, on_event_note, n);
}

static void on_home_open(void *arg)
{
    struct open_note *n = arg;
    struct shard *s = n->home;
    struct upstream *u = (size_t)n->index < s->upstream_count ? s->upstreams[n->index] : NULL;
    struct event_note gone = {.cfg = n->cfg, .what = NOTE_DOWN};
    if (u && u->cfg == n->cfg) {
        if (n->sse && !u->sse)
            upstream_set_sse(u, true);
        upstream_open(u);
    } else {
        (void)err_set(&gone.err, ERR_UNAVAILABLE, "the upstream is being replaced");
        post_event(s, &gone);
    }
    free(n);
}

static void on_connect(void *arg)
{
    struct watched *m = arg;
    struct upstream *u = m->up;
    if (m->online || m->opening)
        return;
    m->opening = true;
    m->opened_ms = clock_ms();
    if (!u->home) {
        upstream_open(u);
        return;
    }
    struct open_note *n = xmalloc(sizeof *n);
    *n = (struct open_note){m->w->gw, u->home, u->index, u->cfg, u->sse};
    loop_post(u->home->loop, on_home_open, n);
}

static void connect_soon(struct watched *m, int64_t ms)
{
    timer_set(&m->reopen, m->w->gw->control.loop, ms, on_connect, m);
}

/* ---- events of upstreams: on any shard ---- */

/* Control's own conversations count, and the children's wherever they live; not what clients of a
 * data shard have. */
static bool is_watched(const struct upstream *u)
{
    return u->shard == (u->home ? u->home : &u->shard->gw->control);
}

static void on_list_changed(struct upstream *u, enum catalog_kind kind)
{
    post_event(u->shard, &(struct event_note){.cfg = u->cfg, .what = NOTE_LIST, .kind = kind});
}

static void on_session_up(struct upstream *u, const struct server_info *info)
{
    struct event_note n = {.cfg = u->cfg, .what = NOTE_UP};
    if (!is_watched(u))
        return;
    server_info_copy(&n.info, info);
    post_event(u->shard, &n);
}

static void on_session_down(struct upstream *u, const struct err *e)
{
    if (is_watched(u))
        post_event(u->shard, &(struct event_note){.cfg = u->cfg, .what = NOTE_DOWN, .err = *e});
}

static void on_session_moved(struct upstream *u)
{
    struct watched *m = watch_find(u->shard->gw, u->cfg);
    if (!m)
        return;
    m->opening = false;
    server_info_fini(&m->info.server); /* of a time when it was something else */
    connect_soon(m, 0);
}

/* ---- life ---- */

struct watch *watch_new(struct gateway *gw)
{
    static const struct upstream_events events = {on_list_changed, subs_publish_update,
                                                  on_session_up, on_session_down, on_session_moved};
    struct watch *w = xcalloc(1, sizeof *w);
    w->gw = gw;
    upstream_set_events(&events);
    return w;
}

static struct watched *watched_new(struct watch *w, struct upstream *u)
{
    struct watched *m = xcalloc(1, sizeof *m);
    m->w = w;
    m->up = upstream_ref(u);
    m->info.since_ms = clock_wall_ms();
    m->up_metric = metric_series(&metric_rows[M_UPSTREAM_UP], u->cfg->name, NULL);
    metric_set(m->up_metric, 0);
    TAILQ_INIT(&m->refreshes);
    fetch_init(m);
    subs_init(m);
    return m;
}

static void watched_free(struct watched *m)
{
    if (!m)
        return;
    timer_clear(&m->reopen);
    timer_clear(&m->ping);
    timer_clear(&m->recheck);
    refresh_give_up(m);
    subs_fini(m);
    fetch_fini(m);
    server_info_fini(&m->info.server);
    free(m->info.error);
    upstream_unref(&m->up);
    free(m);
}

void watch_free(struct watch **wp)
{
    struct watch *w = *wp;
    *wp = NULL;
    if (!w)
        return;
    timer_clear(&w->settle);
    timer_clear(&w->rebuild);
    store_unsubscribe(&w->fleet);
    for (size_t i = 0; i < w->n; i++)
        watched_free(w->mounts[i]);
    free(w->mounts);
    free(w->shown);
    free(w);
}

/* The mount of this upstream as it was, taken out of the old ones, or a new one. */
static struct watched *keep_or_make(struct watch *w, struct watched **old, size_t old_count,
                                    struct upstream *u)
{
    for (size_t i = 0; i < old_count; i++) {
        struct watched *m = old[i];
        if (m && m->up == u) {
            old[i] = NULL;
            return m;
        }
    }
    struct watched *fresh = watched_new(w, u);
    for (size_t i = 0; i < old_count; i++)
        if (old[i] && strcmp(old[i]->up->cfg->name, u->cfg->name) == 0)
            subs_move(old[i], fresh);
    return fresh;
}

static void drop_old(struct watched **old, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (old[i])
            metric_set(old[i]->up_metric, 0);
        watched_free(old[i]);
    }
    free(old);
}

void watch_start(struct watch *w, loop_fn settled, void *arg)
{
    struct shard *control = &w->gw->control;
    struct watched **old = w->mounts;
    size_t old_count = w->n;
    w->n = control->upstream_count;
    w->mounts = xcalloc(w->n + 1, sizeof *w->mounts);
    w->shown = xrealloc(w->shown, (w->n + 1) * sizeof *w->shown);
    for (size_t i = 0; i < w->n; i++)
        w->mounts[i] = keep_or_make(w, old, old_count, control->upstreams[i]);
    drop_old(old, old_count);
    for (size_t i = 0; i < w->n; i++)
        if (!w->mounts[i]->tried && !w->mounts[i]->opening)
            connect_soon(w->mounts[i], 0);
    fleet_listen(w);
    if (settled) {
        w->settled = settled;
        w->settled_arg = arg;
        w->waiting = true;
        timer_set(&w->settle, control->loop, control->config->startup_wait_ms, settle, w);
        check_settled(w);
    }
    if (!w->waiting)
        watch_rebuild(w);
}

const struct mount_info *watch_mounts(const struct watch *w, size_t *n)
{
    *n = w->n;
    for (size_t i = 0; i < w->n; i++)
        w->shown[i] = w->mounts[i]->info;
    return w->shown;
}

/* ---- subscriptions ---- */

struct subscribe_note {
    struct gateway *gw;
    int mount;
    char *uri;
    bool on;
};

static void on_subscribe(void *arg)
{
    struct subscribe_note *n = arg;
    const struct watch *w = n->gw->watch;
    if (w && n->mount >= 0 && (size_t)n->mount < w->n)
        subs_change(w->mounts[n->mount], str_of(n->uri), n->on);
    free(n->uri);
    free(n);
}

void watch_subscribe(struct gateway *gw, int mount, struct str uri, bool on)
{
    if (uri.n == 0 || memchr(uri.p, '\0', uri.n) || !gw->control.loop)
        return;
    struct subscribe_note *n = xmalloc(sizeof *n);
    *n = (struct subscribe_note){gw, mount, xmemdup0(uri.p, uri.n), on};
    loop_post(gw->control.loop, on_subscribe, n);
}
