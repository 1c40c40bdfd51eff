/* See cache.h. Kept results hang in two lists, each with what was used last in front: all of the
 * loop's, bounded in bytes, and those of one target, bounded in number. */
#include "gateway/cache.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "gateway/cache_priv.h"
#include "gateway/upstream.h"

#include <stdlib.h>

/* As much of a key as is short and plain to the store. */
enum { NAME_BYTES = 30, NAME_TEXT = 48 };
enum { ENTRY_BYTES = 512, GENERATION_TTL_MS = CACHE_TTL_MAX_MS + 3600 * 1000 };

/* ---- keys ---- */

struct str cache_secret(struct cache *c)
{
    const struct config *cfg = c->shard->config;
    if (!c->has_secret) {
        crypto_hmac((struct str){(const char *)cfg->seal_keys[0], 32}, STR("headgate result cache"),
                    c->secret);
        c->has_secret = true;
    }
    return (struct str){(const char *)c->secret, sizeof c->secret};
}

struct str cache_store_key(struct cache *c, struct store_key *room, struct str text,
                           const char *what)
{
    uint8_t key[CACHE_KEY_BYTES];
    char name[NAME_TEXT];
    struct buf tag = {.p = name, .cap = sizeof name};
    struct str part = str_of(what);
    cache_key(c, text, key);
    crypto_b64url(&tag, key, NAME_BYTES);
    return store_key(c->shard->store, room, "cache", buf_str(&tag), &part, 1);
}

struct str cache_generation_key(const struct store *s, struct store_key *room, struct str mount,
                                struct str target)
{
    struct str parts[] = {mount, target};
    return store_key(s, room, "cachegen", target, parts, 2);
}

/* ---- entries ---- */

static void drop_entry(struct cache *c, struct cache_entry *e)
{
    struct cache_set *set = e->set;
    (void)map_del(&c->by_text, (struct str){e->text, e->text_len});
    TAILQ_REMOVE(&c->all, e, all);
    TAILQ_REMOVE(&set->entries, e, in_set);
    c->bytes -= e->bytes;
    metric_add(metric_of(M_CACHE_ENTRIES), -1);
    metric_add(metric_of(M_CACHE_BYTES), -(int64_t)e->bytes);
    cache_value_unref(&e->value);
    free(e->text);
    free(e);
    if (--set->n > 0)
        return;
    (void)map_del(&c->sets, (struct str){set->name, set->name_len});
    free(set->name);
    free(set);
}

static void to_front(struct cache *c, struct cache_entry *e)
{
    if (e == TAILQ_FIRST(&c->all)) /* then it is first of its set, too */
        return;
    TAILQ_REMOVE(&c->all, e, all);
    TAILQ_INSERT_HEAD(&c->all, e, all);
    TAILQ_REMOVE(&e->set->entries, e, in_set);
    TAILQ_INSERT_HEAD(&e->set->entries, e, in_set);
}

static struct cache_value *find(struct cache *c, struct str text)
{
    struct cache_entry *e = text.n ? map_get(&c->by_text, text) : NULL;
    if (!e)
        return NULL;
    if (e->value->until_ms <= clock_ms()) {
        drop_entry(c, e);
        return NULL;
    }
    to_front(c, e);
    return e->value;
}

struct cache_value *cache_find(struct cache *c, const struct cache_use *u)
{
    struct cache_value *v = find(c, u->text[CACHE_OWN]);
    return v ? v : find(c, u->text[CACHE_TENANT]);
}

static struct str set_name(struct cache *c, struct str mount, struct str target)
{
    c->scratch.n = 0;
    buf_add_str(&c->scratch, mount);
    buf_addc(&c->scratch, '\0');
    buf_add_str(&c->scratch, target);
    return buf_str(&c->scratch);
}

static struct cache_set *set_of(struct cache *c, const struct cache_use *u)
{
    struct str name = set_name(c, u->mount, u->target);
    struct cache_set *set = map_get(&c->sets, name);
    if (set)
        return set;
    set = xcalloc(1, sizeof *set);
    set->name = xmemdup0(name.p, name.n);
    set->name_len = name.n;
    set->by_result = u->policy.by_result;
    TAILQ_INIT(&set->entries);
    (void)map_set(&c->sets, name, set);
    return set;
}

void cache_put(struct cache *c, const struct cache_use *u, struct cache_value *v)
{
    const struct cache_config *cfg = &c->shard->config->cache;
    struct str text = u->text[v->shared ? CACHE_TENANT : CACHE_OWN];
    size_t room = cfg->max_bytes / (size_t)c->shard->gw->shard_count;
    size_t bytes = ENTRY_BYTES + 2 * text.n + v->text.n + v->doc.cap * sizeof *v->doc.tok;
    struct cache_entry *e = map_get(&c->by_text, text);
    if (e)
        drop_entry(c, e);
    if (bytes > room || cfg->max_size == 0)
        return;
    struct cache_set *set = set_of(c, u);
    e = xcalloc(1, sizeof *e);
    e->value = cache_value_ref(v);
    e->set = set;
    e->bytes = bytes;
    e->text = xmemdup0(text.p, text.n);
    e->text_len = text.n;
    TAILQ_INSERT_HEAD(&c->all, e, all);
    TAILQ_INSERT_HEAD(&set->entries, e, in_set);
    set->n++;
    c->bytes += bytes;
    (void)map_set(&c->by_text, text, e);
    metric_add(metric_of(M_CACHE_ENTRIES), 1);
    metric_add(metric_of(M_CACHE_BYTES), (int64_t)bytes);
    while (set->n > (size_t)cfg->max_size)
        drop_entry(c, TAILQ_LAST(&set->entries, cache_entries));
    while (c->bytes > room)
        drop_entry(c, TAILQ_LAST(&c->all, cache_entries));
}

/* ---- what makes them void ---- */

void cache_drop(struct cache *c, struct str mount, struct str target)
{
    struct cache_set *set = map_get(&c->sets, set_name(c, mount, target));
    for (size_t n = set ? set->n : 0; n > 0; n--)
        drop_entry(c, TAILQ_FIRST(&set->entries)); /* the last one frees the set */
    flight_spoil(c, mount, target);
}

/* What was not heard may have changed: everything that hangs on news goes. */
static void drop_by_news(struct cache *c)
{
    struct cache_entry *next;
    for (struct cache_entry *e = TAILQ_FIRST(&c->all); e; e = next) {
        next = TAILQ_NEXT(e, all);
        if (e->set->by_result)
            drop_entry(c, e);
    }
}

static void on_news(enum store_event event, struct str body, void *arg)
{
    struct cache *c = arg;
    struct str mount;
    if (event == STORE_GAP)
        drop_by_news(c);
    else if (str_split(&body, '\n', &mount))
        cache_drop(c, mount, body);
}

/* The same for the loops of this process, also while the store is away. */
struct update {
    atomic_int refs;
    char *mount, *target;
    size_t target_len;
};

static void on_update(struct shard *s, void *arg)
{
    struct update *up = arg;
    if (s->cache)
        cache_drop(s->cache, str_of(up->mount), (struct str){up->target, up->target_len});
    if (atomic_fetch_sub_explicit(&up->refs, 1, memory_order_acq_rel) > 1)
        return;
    free(up->mount);
    free(up->target);
    free(up);
}

/* Where replicas tell each other what was updated. */
static struct str news_channel(const struct store *s, struct store_key *room)
{
    return store_key(s, room, "cache", STR("news"), NULL, 0);
}

/* First what tells who looks into the store, then the message: who hears it, finds it there. */
static void tell_replicas(struct store *s, struct str mount, struct str target)
{
    struct store_key room;
    struct store_reply r;
    struct buf text = {0};
    uint8_t random[16];
    crypto_random(random, sizeof random);
    crypto_b64url(&text, random, sizeof random);
    (void)store_set(s, NULL, cache_generation_key(s, &room, mount, target), buf_str(&text),
                    GENERATION_TTL_MS, STORE_ALWAYS, &r);
    text.n = 0;
    buf_add_str(&text, mount);
    buf_addc(&text, '\n');
    buf_add_str(&text, target);
    if (text.n <= STORE_MESSAGE_MAX)
        (void)store_publish(s, NULL, news_channel(s, &room), buf_str(&text), &r);
    buf_fini(&text);
}

void cache_resource_updated(struct upstream *u, struct str uri)
{
    struct gateway *gw = u->shard->gw;
    if (u->cfg->cache == MOUNT_CACHE_OFF || gw->shard_count == 0)
        return;
    struct update *up = xcalloc(1, sizeof *up);
    atomic_init(&up->refs, gw->shard_count);
    up->mount = xstrdup(u->cfg->name);
    up->target = xmemdup0(uri.p, uri.n);
    up->target_len = uri.n;
    gateway_post_all(gw, on_update, up);
    tell_replicas(u->shard->store, str_of(u->cfg->name), uri);
}

/* ---- life ---- */

struct cache *cache_new(struct shard *s)
{
    struct cache *c = xcalloc(1, sizeof *c);
    struct store_key room;
    const struct metric_def *hits = &metric_rows[M_CACHE_HITS];
    c->shard = s;
    c->alone = s->gw->shard_count == 1 && str_eq(str_of(store_name(s->store)), STR("memory"));
    TAILQ_INIT(&c->all);
    c->hits_local = metric_series(hits, "local", NULL);
    c->hits_store = metric_series(hits, "store", NULL);
    c->hits_flight = metric_series(hits, "flight", NULL);
    c->news.fn = on_news;
    c->news.arg = c;
    if (!c->alone)
        store_subscribe(s->store, &c->news, news_channel(s->store, &room));
    return c;
}

void cache_free(struct cache **cp)
{
    struct cache *c = *cp;
    *cp = NULL;
    if (!c)
        return;
    store_unsubscribe(&c->news);
    while (!TAILQ_EMPTY(&c->all))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not follow TAILQ_REMOVE */
        drop_entry(c, TAILQ_FIRST(&c->all));
    map_fini(&c->by_text);
    map_fini(&c->sets);
    map_fini(&c->flights);
    buf_fini(&c->scratch);
    crypto_wipe(c->secret, sizeof c->secret);
    free(c);
}
