/* Slices of bytes, a growable byte buffer, a string-keyed map, and glob matching. No slice is
 * NUL-terminated. */
#ifndef BASE_STR_H
#define BASE_STR_H

#include "base/alloc.h"

#include <stdint.h>
#include <string.h>

/* Borrowed bytes: valid as long as what they point into. p may be NULL when n is 0. */
struct str {
    const char *p;
    size_t n;
};

#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})
/* For printf's "%.*s". */
#define STR_FMT(s) (int)(s).n, (s).p

static inline struct str str_of(const char *z)
{
    return (struct str){z, z ? strlen(z) : 0};
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Byte order; a prefix sorts first. Returns <0, 0, >0. */
int str_cmp(struct str a, struct str b);
/* ASCII case-insensitive equality (header names, RFC 9110 §5.1). */
bool str_ieq(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
/* The slice without ASCII spaces and tabs at both ends. */
struct str str_trim(struct str s);
/* Reads a non-negative decimal that fills the slice; false on anything else or overflow. */
bool str_to_u64(struct str s, uint64_t *out);
/* Finds needle in s; returns its offset or -1. */
ptrdiff_t str_find(struct str s, struct str needle);
/* Takes the part of *rest up to sep (sep is dropped); false when *rest is used up. An empty input
 * yields none. */
bool str_split(struct str *rest, char sep, struct str *part);
/* Matches name against a glob: '*' any run, '?' one byte; everything else literal. Linear space, no
 * recursion. */
bool str_glob(struct str glob, struct str name);

/* Growable bytes. Zero-initialised is empty and valid; p is owned by the buffer. */
struct buf {
    char *p;
    size_t n, cap;
};

/* Makes room for n more bytes and returns where they start; the caller adds to b->n itself. */
char *buf_reserve(struct buf *b, size_t n);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_adds(struct buf *b, const char *z);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_add_u64(struct buf *b, uint64_t v);
/* Drops the first n bytes. */
void buf_drop(struct buf *b, size_t n);
/* Frees the bytes; the buffer is empty and usable afterwards. */
void buf_fini(struct buf *b);

static inline void buf_add_str(struct buf *b, struct str s)
{
    buf_add(b, s.p, s.n);
}

static inline struct str buf_str(const struct buf *b)
{
    return (struct str){b->p, b->n};
}

/* Hash map from byte strings (copied) to pointers (borrowed). Open addressing; zero-initialised is
 * empty and valid. The hash is seeded per process so that keys from the wire cannot be chosen to
 * collide. */
struct map_slot {
    char *key;
    size_t key_len;
    uint64_t hash;
    void *value;
};
struct map {
    struct map_slot *slots;
    size_t cap, used, count;
};

/* The value stored under key, or NULL. */
void *map_get(const struct map *m, struct str key);
/* Stores value (not NULL) under key; returns the value it replaced, or NULL. */
void *map_set(struct map *m, struct str key, void *value);
/* Removes key; returns its value, or NULL when there was none. */
void *map_del(struct map *m, struct str key);
/* Walks in no particular order: start with *at = 0; false at the end. The map must not change
 * meanwhile. */
bool map_next(const struct map *m, size_t *at, struct str *key, void **value);
/* Frees keys and table, not the values. */
void map_fini(struct map *m);
/* Seeds the hash; once, before threads and before the first map. */
void map_seed(uint64_t seed);
/* The map's hash, for callers that keep tables of their own. */
uint64_t str_hash(struct str s);

#endif
