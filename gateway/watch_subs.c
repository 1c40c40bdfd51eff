/* See watch_priv.h. Who wants to hear of which resource, and how the server is told: a legacy one
 * by resources/subscribe in the watch's own conversation, a modern HTTP one by a
 * subscriptions/listen stream with all URIs, opened anew when they change; a modern child by the
 * same in its own conversation. */
#include "base/clock.h"
#include "gateway/listen.h"
#include "gateway/session.h"
#include "gateway/watch_priv.h"

#include <stdlib.h>

enum { LISTEN_SOON_MS = 10, LISTEN_RETRY_MS = 1000 };

static void sync_sub(struct sub *s);
static void open_listen(void *arg);

/* ---- legacy ---- */

static void sub_free(struct sub *s)
{
    TAILQ_REMOVE(&s->m->subs, s, link);
    (void)map_del(&s->m->subs_by_uri, str_of(s->uri));
    own_call_drop(&s->call);
    free(s->uri);
    free(s);
}

static void on_told(const struct outcome *o, void *arg)
{
    struct sub *s = arg;
    if (o->kind != OUT_RESULT)
        log_warn("upstream.subscribe_failed", L_STR("upstream", s->m->up->cfg->name),
                 L_STR("uri", s->uri));
    own_call_drop(&s->call);
    if (s->stale)
        s->have = false;
    s->stale = false;
    sync_sub(s);
}

static bool tells(const struct watched *m)
{
    return m->online && m->promises.subscribe && m->info.server.era == UP_LEGACY;
}

/* Makes what the server was told what is wanted; one request at a time a URI. Frees s when nothing
 * is. */
static void sync_sub(struct sub *s)
{
    bool want = s->refs > 0;
    if (s->call)
        return;
    if (!tells(s->m) || want == s->have) {
        if (!want)
            sub_free(s);
        return;
    }
    struct buf params = {0};
    buf_adds(&params, "{\"uri\":");
    json_write_str(&params, str_of(s->uri));
    buf_addc(&params, '}');
    s->have = want;
    s->call = own_call_start(s->m->up, want ? "resources/subscribe" : "resources/unsubscribe",
                             &params, on_told, s);
    buf_fini(&params);
}

static void sync_all(struct watched *m)
{
    struct sub *next;
    for (struct sub *s = TAILQ_FIRST(&m->subs); s; s = next) {
        next = TAILQ_NEXT(s, link);
        s->stale = s->call != NULL;
        s->have = s->have && s->call;
        sync_sub(s);
    }
}

/* ---- modern ---- */

static bool can_listen(const struct watched *m)
{
    return m->online && m->info.server.era == UP_MODERN &&
           (m->up->cfg->transport == MOUNT_HTTP || m->up->home);
}

/* What the stream is to carry; false when that is nothing. */
static bool listen_params(const struct watched *m, struct buf *out)
{
    static const struct {
        enum catalog_kind kind;
        const char *member;
    } changes[] = {{KIND_TOOLS, "toolsListChanged"},
                   {KIND_PROMPTS, "promptsListChanged"},
                   {KIND_RESOURCES, "resourcesListChanged"}};
    struct sub *s;
    buf_adds(out, "{\"notifications\":{");
    size_t empty = out->n;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        if (m->promises.changes[changes[i].kind])
            buf_addf(out, "%s\"%s\":true", out->n > empty ? "," : "", changes[i].member);
    if (m->promises.subscribe && !TAILQ_EMPTY(&m->subs)) {
        buf_addf(out, "%s\"resourceSubscriptions\":", out->n > empty ? "," : "");
        char before = '[';
        TAILQ_FOREACH (s, &m->subs, link) {
            buf_addc(out, before);
            json_write_str(out, str_of(s->uri));
            before = ',';
        }
        buf_addc(out, ']');
    }
    bool any = out->n > empty;
    buf_adds(out, "}}");
    return any;
}

static void listen_soon(struct watched *m, int64_t ms)
{
    timer_set(&m->listen_timer, m->w->gw->control.loop, ms, open_listen, m);
}

static void on_listen_end(struct urequest *r, const struct rpc_msg *msg, const struct err *e)
{
    struct watched *m = r->arg;
    bool refused = msg && msg->error != JSON_NONE;
    m->listen = NULL;
    if (!m->online)
        return;
    if (clock_ms() - m->listen_ms >= STEADY_MS)
        m->listen_backoff_ms = 0;
    if (refused)
        m->listen_backoff_ms = RETRY_MAX_MS;
    m->missed = m->missed || !refused;
    if (e)
        log_debug("upstream.listen_ended", L_STR("upstream", m->up->cfg->name), L_ERR(e));
    listen_soon(m, watch_jitter(watch_backoff(&m->listen_backoff_ms, LISTEN_RETRY_MS)));
    if (e)
        watch_check(m);
}

/* Opens the stream, or a fresh one for what is wanted now; nothing gets lost between them. */
static void open_listen(void *arg)
{
    struct watched *m = arg;
    struct buf params = {0};
    struct urequest *old = m->listen;
    m->listen = NULL;
    if (m->up->home) { /* a child is listened to in its own conversation */
        if (can_listen(m) && listen_params(m, &params))
            upstream_listen_for(m->up, buf_str(&params));
        buf_fini(&params);
        return;
    }
    if (can_listen(m) && listen_params(m, &params)) {
        m->listen = upstream_listen(m->up, buf_str(&params), on_listen_end, m);
        m->listen_ms = clock_ms();
    }
    upstream_unlisten(&old);
    buf_fini(&params);
    if (m->listen && m->missed) {
        m->missed = false;
        for (int k = 0; k < KINDS; k++)
            fetch_kind(m, (enum catalog_kind)k);
    }
}

/* ---- the watch's side ---- */

void subs_init(struct watched *m)
{
    TAILQ_INIT(&m->subs);
}

void subs_fini(struct watched *m)
{
    struct sub *s;
    timer_clear(&m->listen_timer);
    upstream_unlisten(&m->listen);
    while ((s = TAILQ_FIRST(&m->subs)))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not follow TAILQ_REMOVE */
        sub_free(s);
    map_fini(&m->subs_by_uri);
}

static struct sub *sub_new(struct watched *m, struct str uri)
{
    struct sub *s = xcalloc(1, sizeof *s);
    s->m = m;
    s->uri = xmemdup0(uri.p, uri.n);
    TAILQ_INSERT_TAIL(&m->subs, s, link);
    (void)map_set(&m->subs_by_uri, uri, s);
    return s;
}

void subs_move(struct watched *from, struct watched *to)
{
    struct sub *s;
    TAILQ_FOREACH (s, &from->subs, link)
        if (s->refs > 0)
            sub_new(to, str_of(s->uri))->refs = s->refs;
}

void subs_up(struct watched *m)
{
    m->listen_backoff_ms = 0;
    m->missed = false; /* all lists are fetched now anyway */
    sync_all(m);
    open_listen(m);
}

void subs_down(struct watched *m)
{
    timer_clear(&m->listen_timer);
    upstream_unlisten(&m->listen);
}

void subs_change(struct watched *m, struct str uri, bool on)
{
    struct sub *s = map_get(&m->subs_by_uri, uri);
    if (!s && on)
        s = sub_new(m, uri);
    if (!s || (!on && s->refs == 0))
        return;
    s->refs += on ? 1 : -1;
    if (s->refs != (on ? 1 : 0))
        return;
    sync_sub(s);
    if (can_listen(m))
        listen_soon(m, LISTEN_SOON_MS);
}

/* ---- updates ---- */

struct update {
    atomic_int refs;
    int mount;
    char *name, *uri;
};

static void update_unref(struct update *up)
{
    if (atomic_fetch_sub_explicit(&up->refs, 1, memory_order_acq_rel) > 1)
        return;
    free(up->name);
    free(up->uri);
    free(up);
}

/* The public form of a mount's URI: as listed; else as its mount makes them. */
static struct str public_uri(const struct catalog *c, int mount, struct str uri,
                             struct buf *prefixed)
{
    const struct mount_config *m = &c->config->mounts[mount];
    const struct map *listed = &c->list[KIND_RESOURCES].by_public;
    const struct catalog_entry *e = map_get(listed, uri);
    if (e && e->mount == mount && str_eq(e->name, uri))
        return uri;
    catalog_public_uri(m, uri, true, prefixed);
    e = map_get(listed, buf_str(prefixed));
    return (e && e->mount == mount) || m->prefix_uris ? buf_str(prefixed) : uri;
}

static void on_shard_update(struct shard *s, void *arg)
{
    struct update *up = arg;
    const struct catalog *c = s->catalog;
    struct buf prefixed = {0};
    if (c && (size_t)up->mount < c->config->mount_count &&
        strcmp(c->config->mounts[up->mount].name, up->name) == 0) {
        struct str uri = public_uri(c, up->mount, str_of(up->uri), &prefixed);
        sessions_resource_updated(s, uri);
        listeners_resource_updated(s, uri);
    }
    buf_fini(&prefixed);
    update_unref(up);
}

void subs_publish_update(struct upstream *u, struct str uri)
{
    struct gateway *gw = u->shard->gw;
    if (u->closed || gw->shard_count == 0 || uri.n == 0 || memchr(uri.p, '\0', uri.n))
        return;
    struct update *up = xcalloc(1, sizeof *up);
    atomic_init(&up->refs, gw->shard_count);
    up->mount = u->index;
    up->name = xstrdup(u->cfg->name);
    up->uri = xmemdup0(uri.p, uri.n);
    gateway_post_all(gw, on_shard_update, up);
}
