/* See listen.h. The acknowledgement is the first frame and names what can be honoured; every frame
 * carries the id of the listen request, its JSON type included. */
#include "gateway/listen.h"

#include "gateway/access.h"
#include "gateway/era.h"
#include "gateway/expiry.h"
#include "gateway/lists.h"
#include "gateway/view.h"
#include "gateway/watch.h"

#include <stdlib.h>

enum { MAX_URIS = 1000, HEARTBEAT_MS = 15000 };

struct wanted {
    struct str public_uri, name;
    int mount;
};

struct listen {
    struct request *r; /* its exchange, id and arena */
    struct exchange *x;
    unsigned kinds;
    struct wanted *uris;
    size_t uri_count;
    struct expiry expiry;
    struct view_seen seen;
    TAILQ_ENTRY(listen) link;
};

struct listeners {
    struct shard *shard;
    TAILQ_HEAD(, listen) all;
    struct timer beat;
};

static const struct {
    const char *filter;
    enum catalog_kind kind;
} filters[] = {{"toolsListChanged", KIND_TOOLS},
               {"promptsListChanged", KIND_PROMPTS},
               {"resourcesListChanged", KIND_RESOURCES}};

static bool write_raw(struct listen *l, struct str message)
{
    return exchange_event(l->x, (struct str){0}, message); /* false: on_closed has freed l */
}

static void add_meta(struct listen *l, struct buf *out)
{
    buf_adds(out, "\"_meta\":{\"" META_SUBSCRIPTION "\":");
    buf_add_str(out, l->r->id);
    buf_addc(out, '}');
}

static bool notify(struct listen *l, const char *method, struct str member)
{
    struct buf p = {0}, m = {0};
    buf_addc(&p, '{');
    add_meta(l, &p);
    if (member.n) {
        buf_addc(&p, ',');
        buf_add_str(&p, member);
    }
    buf_addc(&p, '}');
    rpc_notification(&m, str_of(method), buf_str(&p));
    bool ok = write_raw(l, buf_str(&m));
    buf_fini(&p);
    buf_fini(&m);
    return ok;
}

static void on_beat(void *arg)
{
    struct listeners *ls = arg;
    struct listen *l, *next;
    for (l = TAILQ_FIRST(&ls->all); l; l = next) {
        next = TAILQ_NEXT(l, link);
        (void)exchange_beat(l->x);
    }
    timer_set(&ls->beat, ls->shard->loop, HEARTBEAT_MS, on_beat, ls);
}

struct listeners *listeners_new(struct shard *s)
{
    struct listeners *ls = xcalloc(1, sizeof *ls);
    ls->shard = s;
    TAILQ_INIT(&ls->all);
    timer_set(&ls->beat, s->loop, HEARTBEAT_MS, on_beat, ls);
    return ls;
}

static void listen_free(struct listen *l)
{
    struct request *r = l->r;
    TAILQ_REMOVE(&r->shard->listeners->all, l, link);
    expiry_clear(&l->expiry);
    for (size_t i = 0; i < l->uri_count; i++)
        watch_subscribe(r->shard->gw, l->uris[i].mount, l->uris[i].name, false);
    free(l->uris);
    free(l);
    request_free(r);
}

static void on_closed(struct exchange *x)
{
    struct listen *l = x->arg;
    l->r->x = NULL;
    listen_free(l);
}

/* ---- opening ---- */

static void take_uris(struct listen *l, const struct json_doc *d, uint32_t list)
{
    struct shard *s = l->r->shard;
    if (!json_is(d, list, JSON_ARRAY) || d->tok[list].count == 0 || d->tok[list].count > MAX_URIS)
        return;
    l->uris = xcalloc(d->tok[list].count, sizeof *l->uris);
    for (uint32_t k = json_first(d, list); k != JSON_NONE; k = json_next(d, list, k)) {
        struct str uri = json_str(d, k, &l->r->call.arena);
        struct target t;
        if (!s->catalog || !uri.n || !s->catalog->subscribe ||
            !catalog_resolve(s->catalog, ROUTE_URI, uri, &l->r->call.arena, &t) ||
            !access_may_see(s, l->r->call.principal, uri, &t))
            continue;
        struct str name = {arena_dup(&l->r->call.arena, t.name.p, t.name.n), t.name.n};
        l->uris[l->uri_count++] = (struct wanted){uri, name, t.mount};
        watch_subscribe(s->gw, t.mount, name, true);
    }
}

static bool acknowledge(struct listen *l)
{
    struct buf n = {0};
    bool any = false;
    buf_adds(&n, "\"notifications\":{");
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        if (!(l->kinds & (1U << filters[i].kind)))
            continue;
        buf_addf(&n, "%s\"%s\":true", any ? "," : "", filters[i].filter);
        any = true;
    }
    if (l->uri_count) {
        buf_addf(&n, "%s\"resourceSubscriptions\":[", any ? "," : "");
        for (size_t i = 0; i < l->uri_count; i++) {
            buf_adds(&n, i ? "," : "");
            json_write_str(&n, l->uris[i].public_uri);
        }
        buf_addc(&n, ']');
    }
    buf_addc(&n, '}');
    bool ok = notify(l, "notifications/subscriptions/acknowledged", buf_str(&n));
    buf_fini(&n);
    return ok;
}

static void end_with_result(struct listen *l)
{
    struct buf b = {0};
    struct exchange *x = l->x;
    rpc_begin_result(&b, l->r->id);
    buf_adds(&b, "{\"resultType\":\"complete\",");
    add_meta(l, &b);
    buf_adds(&b, "}}");
    if (write_raw(l, buf_str(&b))) {
        x->on_closed = NULL;
        l->r->x = NULL;
        exchange_stream_end(x);
        listen_free(l);
    }
    buf_fini(&b);
}

static void on_expired(void *arg)
{
    end_with_result(arg);
}

void listen_open(struct request *r)
{
    const struct json_doc *d = &r->doc;
    uint32_t want = json_get(d, r->msg.params, STR("notifications"));
    if (!json_is(d, want, JSON_OBJECT)) {
        request_error(r, 400, RPC_INVALID_PARAMS,
                      STR("params.notifications is missing or not an object"), (struct str){0});
        return;
    }
    if (!r->sse_ok) {
        request_error(r, 406, RPC_INVALID_REQUEST, STR("Accept must admit text/event-stream"),
                      (struct str){0});
        return;
    }
    struct listen *l = xcalloc(1, sizeof *l);
    l->r = r;
    l->x = r->x;
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (json_is(d, json_get(d, want, str_of(filters[i].filter)), JSON_TRUE))
            l->kinds |= 1U << filters[i].kind;
    TAILQ_INSERT_TAIL(&r->shard->listeners->all, l, link);
    take_uris(l, d, json_get(d, want, STR("resourceSubscriptions")));
    l->x->arg = l;
    l->x->on_closed = on_closed;
    expiry_set(&l->expiry, r->shard->loop, r->call.principal, on_expired, l);
    view_note(r->shard, r->call.principal, &l->seen);
    exchange_stream_begin(l->x, (struct str){0});
    (void)acknowledge(l);
}

/* ---- changes ---- */

void listeners_list_changed(struct shard *s, unsigned kinds)
{
    struct listen *l, *next;
    if (kinds & (1U << KIND_TEMPLATES))
        kinds |= 1U << KIND_RESOURCES;
    for (l = s->listeners ? TAILQ_FIRST(&s->listeners->all) : NULL; l; l = next) {
        next = TAILQ_NEXT(l, link);
        unsigned changed = view_changes(s, l->r->call.principal, kinds, &l->seen);
        for (int k = 0; k < KIND_TEMPLATES; k++) {
            if ((changed & l->kinds & (1U << k)) &&
                !notify(l, lists_changed_method((enum catalog_kind)k), (struct str){0}))
                break;
        }
    }
}

void listeners_resource_updated(struct shard *s, struct str uri)
{
    struct listen *l, *next;
    struct buf b = {0};
    buf_adds(&b, "\"uri\":");
    json_write_str(&b, uri);
    for (l = s->listeners ? TAILQ_FIRST(&s->listeners->all) : NULL; l; l = next) {
        next = TAILQ_NEXT(l, link);
        for (size_t i = 0; i < l->uri_count; i++) {
            if (str_eq(l->uris[i].public_uri, uri)) {
                if (access_hears_of(s, l->r->call.principal, uri))
                    (void)notify(l, "notifications/resources/updated", buf_str(&b));
                break;
            }
        }
    }
    buf_fini(&b);
}

void listeners_drain(struct shard *s)
{
    while (s->listeners && !TAILQ_EMPTY(&s->listeners->all))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not follow TAILQ_REMOVE */
        end_with_result(TAILQ_FIRST(&s->listeners->all));
}

void listeners_free(struct listeners **lsp)
{
    struct listeners *ls = *lsp;
    if (!ls)
        return;
    listeners_drain(ls->shard);
    timer_clear(&ls->beat);
    free(ls);
    *lsp = NULL;
}
