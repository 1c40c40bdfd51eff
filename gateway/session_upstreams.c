/* See session_priv.h. A session's conversations with upstreams, what it told them, and what they
 * tell its client. */
#include "gateway/session_priv.h"

#include "gateway/access.h"
#include "gateway/era.h"
#include "gateway/lists.h"
#include "gateway/usession.h"
#include "gateway/view.h"
#include "gateway/watch.h"

#include <stdlib.h>

enum { MAX_SUBSCRIPTIONS = 1000 };

/* ---- conversations ---- */

static void tell_level(struct session *ss, struct usession *us)
{
    struct buf p = {0};
    struct str has = us->info.capabilities ? str_of(us->info.capabilities) : STR("{}");
    if (!ss->level || str_find(has, STR("\"logging\"")) < 0)
        return;
    buf_addf(&p, "{\"level\":\"%s\"}", ss->level);
    usession_tell(us, STR("logging/setLevel"), buf_str(&p));
    buf_fini(&p);
}

void session_set_log_level(struct session *ss, struct str level, int index)
{
    free(ss->level);
    ss->level = xmemdup0(level.p, level.n);
    ss->level_index = index;
    session_changed(ss);
    for (size_t i = 0; i < ss->conversation_count; i++)
        if (ss->conversations[i])
            tell_level(ss, ss->conversations[i]);
}

struct usession *session_conversation(struct session *ss, struct upstream *u)
{
    size_t i = (size_t)u->index;
    return i < ss->conversation_count && ss->conversation_up[i] == u ? ss->conversations[i] : NULL;
}

struct usession *session_usession(struct session *ss, struct upstream *u)
{
    size_t i = (size_t)u->index;
    if (i >= ss->conversation_count) {
        size_t n = i + 1;
        ss->conversations = xrealloc(ss->conversations, n * sizeof *ss->conversations);
        ss->conversation_up = xrealloc(ss->conversation_up, n * sizeof *ss->conversation_up);
        for (size_t k = ss->conversation_count; k < n; k++) {
            ss->conversations[k] = NULL;
            ss->conversation_up[k] = NULL;
        }
        ss->conversation_count = n;
    }
    if (ss->conversations[i] && ss->conversation_up[i] != u)
        usession_close(&ss->conversations[i]); /* of a mount that a reload replaced */
    if (!ss->conversations[i]) {
        ss->conversations[i] = usession_new(u, ss, ss->principal);
        ss->conversation_up[i] = u;
        session_adopt(ss, ss->conversations[i]);
    }
    return ss->conversations[i];
}

bool session_is_blind(struct session *ss, struct upstream *u)
{
    return ss->blind && upstream_per_client(u, ss->principal) && !session_conversation(ss, u);
}

/* The server forgot its session and gave another: it hears again what it was told before. */
static void subscribe_all(struct session *ss, struct usession *us)
{
    struct shard *s = ss->shard;
    struct arena a = {0};
    struct target t;
    struct str uri;
    void *v;
    for (size_t at = 0; s->catalog && map_next(&ss->subscriptions, &at, &uri, &v);) {
        struct buf p = {0};
        if (!catalog_resolve(s->catalog, ROUTE_URI, uri, &a, &t) || t.mount != us->up->index)
            continue;
        buf_adds(&p, "{\"uri\":");
        json_write_str(&p, t.name);
        buf_addc(&p, '}');
        usession_tell(us, STR("resources/subscribe"), buf_str(&p));
        buf_fini(&p);
    }
    arena_fini(&a);
}

void session_usession_ready(struct session *ss, struct usession *us, bool again)
{
    tell_level(ss, us);
    if (again)
        subscribe_all(ss, us);
    session_changed(ss);
}

void session_broadcast(struct session *ss, struct str method, struct str params)
{
    for (size_t i = 0; i < ss->conversation_count; i++)
        if (ss->conversations[i])
            usession_notify(ss->conversations[i], method, params);
}

void session_on_log(struct session *ss, struct upstream *u, const struct json_doc *d,
                    uint32_t params)
{
    (void)u;
    struct arena a = {0};
    struct buf m = {0};
    if (era_log_level(json_str(d, json_get(d, params, STR("level")), &a)) >= ss->level_index) {
        rpc_notification(&m, STR("notifications/message"), json_raw(d, params));
        session_send(ss, buf_str(&m));
    }
    arena_fini(&a);
    buf_fini(&m);
}

void session_on_notice(struct session *ss, const struct rpc_msg *m)
{
    struct arena a = {0};
    struct buf b = {0};
    rpc_notification(&b, json_str(m->doc, m->method, &a), json_raw(m->doc, m->params));
    session_send(ss, buf_str(&b));
    arena_fini(&a);
    buf_fini(&b);
}

/* ---- changes ---- */

bool session_subscribe(struct session *ss, struct str uri, bool on)
{
    bool has = map_get(&ss->subscriptions, uri) != NULL;
    if (has == on || (on && ss->subscription_count >= MAX_SUBSCRIPTIONS))
        return false;
    if (on)
        (void)map_set(&ss->subscriptions, uri, ss);
    else
        (void)map_del(&ss->subscriptions, uri);
    ss->subscription_count += on ? 1 : -1;
    session_changed(ss);
    return true;
}

bool session_subscribed(const struct session *ss, struct str uri)
{
    return map_get(&ss->subscriptions, uri) != NULL;
}

static void send_updated(struct session *ss, struct str public_uri)
{
    struct buf p = {0}, m = {0};
    if (!session_subscribed(ss, public_uri) ||
        !access_hears_of(ss->shard, ss->principal, public_uri))
        return;
    buf_adds(&p, "{\"uri\":");
    json_write_str(&p, public_uri);
    buf_addc(&p, '}');
    rpc_notification(&m, STR("notifications/resources/updated"), buf_str(&p));
    session_send(ss, buf_str(&m));
    buf_fini(&p);
    buf_fini(&m);
}

/* The public form of a mount's URI: as listed, or as it is. */
static struct str public_uri(const struct shard *s, int mount, struct str uri)
{
    const struct catalog_list *l = s->catalog ? &s->catalog->list[KIND_RESOURCES] : NULL;
    for (uint32_t i = 0; l && i < l->n; i++)
        if (l->entries[i].mount == mount && str_eq(l->entries[i].name, uri))
            return l->entries[i].public_name;
    return uri;
}

void session_on_updated(struct session *ss, struct upstream *u, struct str uri)
{
    send_updated(ss, public_uri(ss->shard, u->index, uri));
}

void sessions_resource_updated(struct shard *s, struct str uri)
{
    void *ss;
    for (size_t at = 0; s->sessions && map_next(&s->sessions->by_key, &at, NULL, &ss);)
        send_updated(ss, uri);
}

static void tell_lists(struct session *ss, unsigned kinds)
{
    for (int k = 0; k < KIND_TEMPLATES; k++) {
        struct buf m = {0};
        if (!(kinds & (1U << k)))
            continue;
        rpc_notification(&m, str_of(lists_changed_method((enum catalog_kind)k)), (struct str){0});
        session_send(ss, buf_str(&m));
        buf_fini(&m);
    }
}

void sessions_list_changed(struct shard *s, unsigned kinds)
{
    void *v;
    if (kinds & (1U << KIND_TEMPLATES)) /* templates have no notification of their own */
        kinds |= 1U << KIND_RESOURCES;
    for (size_t at = 0; s->sessions && map_next(&s->sessions->by_key, &at, NULL, &v);) {
        struct session *ss = v;
        tell_lists(ss, view_changes(s, ss->principal, kinds, &ss->seen));
    }
}

/* ---- the end ---- */

static void unsubscribe_all(struct session *ss)
{
    struct str uri;
    void *v;
    struct arena a = {0};
    for (size_t at = 0; map_next(&ss->subscriptions, &at, &uri, &v);) {
        struct target t;
        if (ss->shard->catalog && catalog_resolve(ss->shard->catalog, ROUTE_URI, uri, &a, &t) &&
            t.mount < (int)ss->shard->upstream_count &&
            !upstream_per_client(ss->shard->upstreams[t.mount], ss->principal))
            watch_subscribe(ss->shard->gw, t.mount, t.name, false);
    }
    arena_fini(&a);
    map_fini(&ss->subscriptions);
}

void session_upstreams_fini(struct session *ss, bool given_away)
{
    unsubscribe_all(ss);
    for (size_t i = 0; i < ss->conversation_count; i++) {
        if (given_away)
            usession_leave(&ss->conversations[i]);
        else
            usession_close(&ss->conversations[i]);
    }
}
