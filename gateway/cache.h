/* The result cache: what may be kept and under which key; one loop's share of kept results, bounded
 * in number and bytes, and what makes them void. What replicas share of it goes through flight.h.
 */
#ifndef GATEWAY_CACHE_H
#define GATEWAY_CACHE_H

#include "base/json.h"
#include "base/loop.h"
#include "gateway/cache_policy.h"
#include "store/store.h"

struct call;
struct cache;
struct outcome;
struct shard;
struct upstream;

enum { CACHE_KEY_BYTES = 32, CACHE_TTL_MAX_MS = 24 * 3600 * 1000 };

/* ---- values ---- */

/* A result as its upstream sent it, whatever era that speaks. Counted, of one loop. */
struct cache_value {
    int refs;
    bool modern;      /* the upstream's era */
    bool shared;      /* holds for all of a tenant */
    int64_t until_ms; /* clock_ms */
    struct buf text;
    struct json_doc doc; /* of text */
};
/* Copies text, which is JSON; NULL when it is not. Returns one reference. */
struct cache_value *cache_value_new(struct str text, bool modern, bool shared, int64_t ttl_ms);
struct cache_value *cache_value_ref(struct cache_value *v);
void cache_value_unref(struct cache_value **v);
/* May this outcome be kept, and how long? A result that is complete and no error. Returns owned, or
 * NULL. */
struct cache_value *cache_value_of(const struct outcome *o, struct cache_policy p);

/* A value as it stands in the store. generation: of what it was made from, at most 32 bytes. */
void cache_value_write(const struct cache_value *v, struct str generation, struct buf *out);
/* Reads it; *generation is borrowed from text. Returns owned, or NULL: past its end, or not such a
 * text. Fuzzed. */
struct cache_value *cache_value_read(struct str text, struct str *generation);

/* ---- keys ---- */

/* Who may be answered with a result. */
enum cache_scope { CACHE_OWN, CACHE_TENANT, CACHE_SCOPES };

/* What a call may use of the cache. */
struct cache_use {
    struct cache_policy policy;
    /* Everything that a result depends on, by scope; empty where that scope is not to be read. In
     * the call's arena. Long ones are digests. */
    struct str text[CACHE_SCOPES];
    struct str mount, target; /* borrowed from the call */
};
/* False: the call's result is not to be kept nor to be taken from what was kept. */
bool cache_use_of(struct call *c, struct cache_use *u);
/* The key of a text where others see it: an HMAC, which tells nothing of what it was made of. */
void cache_key(struct cache *c, struct str text, uint8_t out[CACHE_KEY_BYTES]);

/* ---- one loop's share ---- */

struct cache *cache_new(struct shard *s);
void cache_free(struct cache **c);
/* A kept value that still holds, or NULL. Borrowed until the loop's turn ends. */
struct cache_value *cache_find(struct cache *c, const struct cache_use *u);
/* Keeps it (takes a reference of its own), unless it is too large. */
void cache_put(struct cache *c, const struct cache_use *u, struct cache_value *v);
/* Voids all results of a target, also those that are under way. */
void cache_drop(struct cache *c, struct str mount, struct str target);
/* Any loop: a resource of the upstream changed. All loops and replicas drop it. */
void cache_resource_updated(struct upstream *u, struct str uri);
/* The key in the store of what says how often a target has changed. */
struct str cache_generation_key(const struct store *s, struct store_key *room, struct str mount,
                                struct str target);

#endif
