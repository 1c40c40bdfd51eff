/* See session_priv.h. What changes of a session after its id was made, as JSON in the store, so
 * that another replica can go on with it: the log level, subscriptions, the sessions that servers
 * gave it, and what its client declared when that is too long for the id. */
#include "gateway/session_priv.h"

#include "base/clock.h"
#include "gateway/catalog.h"
#include "gateway/era.h"
#include "gateway/owner.h"
#include "gateway/session_ids.h"
#include "gateway/usession.h"
#include "gateway/watch.h"

#include <stdlib.h>

enum { MARGIN_MS = 60000 };

static int64_t ttl_ms(const struct session *ss)
{
    return 2 * (int64_t)ss->shard->config->session_idle_ms + MARGIN_MS;
}

/* ---- writing ---- */

static void add_member(struct buf *out, const char *name)
{
    if (out->n > 1)
        buf_addc(out, ',');
    buf_addf(out, "\"%s\":", name);
}

static void add_conversations(const struct session *ss, struct buf *out)
{
    bool any = false;
    for (size_t i = 0; i < ss->conversation_count; i++) {
        const struct usession *us = ss->conversations[i];
        if (!us || us->state != US_READY || !us->sid[0])
            continue;
        if (!any)
            add_member(out, "upstreams");
        buf_adds(out, any ? ",[" : "[[");
        any = true;
        json_write_str(out, str_of(us->up->cfg->name));
        buf_addc(out, ',');
        json_write_str(out, str_of(us->sid));
        buf_addc(out, ',');
        json_write_str(out, str_of(us->info.version));
        buf_addc(out, ']');
    }
    if (any)
        buf_addc(out, ']');
}

static void write_state(const struct session *ss, struct buf *out)
{
    struct str uri;
    void *v;
    bool any = false;
    buf_addc(out, '{');
    if (ss->level) {
        add_member(out, "level");
        json_write_str(out, str_of(ss->level));
    }
    for (size_t at = 0; map_next(&ss->subscriptions, &at, &uri, &v); any = true) {
        if (!any)
            add_member(out, "subscriptions");
        buf_addc(out, any ? ',' : '[');
        json_write_str(out, uri);
    }
    if (any)
        buf_addc(out, ']');
    add_conversations(ss, out);
    if (strlen(ss->caps) + strlen(ss->client_info) > SESSION_ID_INFO_MAX) {
        add_member(out, "capabilities");
        buf_adds(out, ss->caps);
        add_member(out, "clientInfo");
        buf_adds(out, ss->client_info);
    }
    buf_addc(out, '}');
}

void session_save(struct session *ss)
{
    struct buf state = {0};
    if (!owner_shared(ss->shard) || ss->blind)
        return;
    write_state(ss, &state);
    if (state.n > 2 || ss->saved_ms)
        owner_save(ss->shard, str_of(ss->key), buf_str(&state), ttl_ms(ss));
    ss->saved_ms = clock_ms();
    buf_fini(&state);
}

static void on_save(void *arg)
{
    struct session *ss = arg;
    ss->save_due = false;
    if (!ss->ended)
        session_save(ss);
}

void session_changed(struct session *ss)
{
    if (ss->save_due || ss->ended || !owner_shared(ss->shard))
        return;
    ss->save_due = true;
    timer_set(&ss->save, ss->shard->loop, 0, on_save, ss);
}

void session_keep_saved(struct session *ss)
{
    if (ss->saved_ms && ss->saved_ms + ttl_ms(ss) / 3 < clock_ms())
        session_save(ss);
}

/* ---- reading ---- */

/* Counts a subscription of a shared upstream; those of its own sessions the servers remember. */
static void subscribe_again(struct session *ss, struct str uri)
{
    struct shard *s = ss->shard;
    struct arena a = {0};
    struct target t;
    if (session_subscribe(ss, uri, true) && s->catalog &&
        catalog_resolve(s->catalog, ROUTE_URI, uri, &a, &t) && t.mount < (int)s->upstream_count &&
        !upstream_per_client(s->upstreams[t.mount], ss->principal))
        watch_subscribe(s->gw, t.mount, t.name, true);
    arena_fini(&a);
}

static void keep_for_later(struct session *ss, const struct json_doc *d, uint32_t list)
{
    struct arena a = {0};
    for (uint32_t k = json_first(d, list); k != JSON_NONE; k = json_next(d, list, k)) {
        uint32_t sid, version;
        if (!json_is(d, k, JSON_ARRAY) || d->tok[k].count != 3)
            continue;
        uint32_t name = json_first(d, k);
        sid = json_next(d, k, name);
        version = json_next(d, k, sid);
        struct known *known = xcalloc(1, sizeof *known);
        struct str n = json_str(d, name, &a), i = json_str(d, sid, &a),
                   v = json_str(d, version, &a);
        known->mount = xmemdup0(n.p, n.n);
        known->sid = xmemdup0(i.p, i.n);
        known->version = xmemdup0(v.p, v.n);
        TAILQ_INSERT_TAIL(&ss->known, known, link);
    }
    arena_fini(&a);
}

static void known_free(struct session *ss, struct known *k)
{
    TAILQ_REMOVE(&ss->known, k, link);
    free(k->mount);
    free(k->sid);
    free(k->version);
    free(k);
}

void session_forget_known(struct session *ss)
{
    while (!TAILQ_EMPTY(&ss->known))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not follow TAILQ_REMOVE */
        known_free(ss, TAILQ_FIRST(&ss->known));
}

void session_adopt(struct session *ss, struct usession *us)
{
    struct known *k;
    TAILQ_FOREACH (k, &ss->known, link)
        if (strcmp(k->mount, us->up->cfg->name) == 0)
            break;
    if (!k)
        return;
    usession_adopt(us, k->sid, k->version);
    known_free(ss, k);
}

/* What servers may say without being asked arrives from now on. */
static void adopt_all(struct session *ss)
{
    struct shard *s = ss->shard;
    struct known *k, *next;
    for (k = TAILQ_FIRST(&ss->known); k; k = next) {
        next = TAILQ_NEXT(k, link);
        for (size_t i = 0; i < s->upstream_count; i++) {
            struct upstream *u = s->upstreams[i];
            if (strcmp(u->cfg->name, k->mount) == 0 && u->era == UP_LEGACY &&
                upstream_per_client(u, ss->principal)) {
                (void)session_usession(ss, u); /* takes k */
                break;
            }
        }
    }
}

static void replace(char **text, struct str raw)
{
    if (raw.n == 0)
        return;
    free(*text);
    *text = xmemdup0(raw.p, raw.n);
}

bool session_load(struct session *ss, struct str state)
{
    struct json_doc d = {0};
    struct arena a = {0};
    bool ok = json_parse(&d, state.p, state.n, NULL) && json_is(&d, 0, JSON_OBJECT);
    if (ok) {
        struct str level = json_str(&d, json_get(&d, 0, STR("level")), &a);
        uint32_t subs = json_get(&d, 0, STR("subscriptions"));
        uint32_t ups = json_get(&d, 0, STR("upstreams"));
        if (era_log_level(level) >= 0) {
            replace(&ss->level, level);
            ss->level_index = era_log_level(level);
        }
        replace(&ss->caps, json_raw(&d, json_get(&d, 0, STR("capabilities"))));
        replace(&ss->client_info, json_raw(&d, json_get(&d, 0, STR("clientInfo"))));
        for (uint32_t k = json_is(&d, subs, JSON_ARRAY) ? json_first(&d, subs) : JSON_NONE;
             k != JSON_NONE; k = json_next(&d, subs, k))
            subscribe_again(ss, json_str(&d, k, &a));
        if (json_is(&d, ups, JSON_ARRAY))
            keep_for_later(ss, &d, ups);
        ss->saved_ms = clock_ms();
        adopt_all(ss);
    }
    json_fini(&d);
    arena_fini(&a);
    return ok;
}
