/* What the files of the cache share. Not for others. */
#ifndef GATEWAY_CACHE_PRIV_H
#define GATEWAY_CACHE_PRIV_H

#include "gateway/cache.h"
#include "gateway/flight.h"

#include <sys/queue.h>

TAILQ_HEAD(cache_entries, cache_entry);

/* All kept results of one target. */
struct cache_set {
    char *name;
    size_t name_len;
    bool by_result; /* void when its server says that the target changed */
    size_t n;
    struct cache_entries entries; /* used last first */
};

struct cache_entry {
    struct cache_value *value;
    char *text; /* of its key */
    size_t text_len;
    struct cache_set *set;
    size_t bytes;
    TAILQ_ENTRY(cache_entry) all, in_set;
};

struct cache {
    struct shard *shard;
    uint8_t secret[32]; /* of keys; of the fleet */
    bool has_secret;
    struct map by_text;       /* text of a key -> entry */
    struct map sets;          /* set's name -> set */
    struct cache_entries all; /* used last first */
    size_t bytes;
    struct map flights; /* text of a key -> flight */
    bool alone;         /* no other loop or process has a share */
    struct store_sub news;
    struct buf scratch; /* for texts of keys */
    struct metric *hits_local, *hits_store, *hits_flight;
};

/* What keys are made with. */
struct str cache_secret(struct cache *c);
/* The key in the store for what belongs to a text: its value ("v") or its lock ("l"). */
struct str cache_store_key(struct cache *c, struct store_key *room, struct str text,
                           const char *what);

#endif
