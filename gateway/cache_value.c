/* See cache.h: values, in memory and as the store has them. There a head of one line says what the
 * result's own bytes do not:
 *
 *   1 <modern> <shared> <end, wall ms> <generation>\n<result>
 *
 * An unknown version is no value: replicas of several versions may share a store. */
#include "gateway/cache.h"

#include "base/clock.h"
#include "gateway/call.h"

#include <stdlib.h>

#define VERSION "1"

enum { MAX_GENERATION = 32 };

struct cache_value *cache_value_new(struct str text, bool modern, bool shared, int64_t ttl_ms)
{
    struct err e;
    struct cache_value *v = xcalloc(1, sizeof *v);
    *v = (struct cache_value){
        .refs = 1, .modern = modern, .shared = shared, .until_ms = clock_ms() + ttl_ms};
    buf_add_str(&v->text, text);
    v->doc.limits.max_tokens = UINT32_MAX; /* the same text was taken from an upstream */
    if (!json_parse(&v->doc, v->text.p, v->text.n, &e) || !json_is(&v->doc, 0, JSON_OBJECT))
        cache_value_unref(&v);
    return v;
}

struct cache_value *cache_value_ref(struct cache_value *v)
{
    v->refs++;
    return v;
}

void cache_value_unref(struct cache_value **vp)
{
    struct cache_value *v = *vp;
    *vp = NULL;
    if (!v || --v->refs > 0)
        return;
    json_fini(&v->doc);
    buf_fini(&v->text);
    free(v);
}

/* ---- what may be kept ---- */

static bool is_complete(const struct json_doc *d, uint32_t result)
{
    uint32_t type = json_get(d, result, STR("resultType"));
    return type == JSON_NONE || json_str_eq(d, type, STR("complete"));
}

static int64_t ttl_of(const struct json_doc *d, uint32_t result)
{
    double ms = json_double(d, json_get(d, result, STR("ttlMs")));
    return !(ms >= 1) ? 0 : ms > CACHE_TTL_MAX_MS ? CACHE_TTL_MAX_MS : (int64_t)ms;
}

struct cache_value *cache_value_of(const struct outcome *o, struct cache_policy p)
{
    int64_t ttl_ms = p.ttl_ms;
    bool shared = p.shared;
    if (o->kind != OUT_RESULT || o->kept || !json_is(o->doc, o->tok, JSON_OBJECT) ||
        !is_complete(o->doc, o->tok) ||
        json_is(o->doc, json_get(o->doc, o->tok, STR("isError")), JSON_TRUE))
        return NULL;
    if (p.by_result) {
        uint32_t scope = json_get(o->doc, o->tok, STR("cacheScope"));
        ttl_ms = ttl_of(o->doc, o->tok);
        shared = shared && scope != JSON_NONE && json_str_eq(o->doc, scope, STR("public"));
    }
    return ttl_ms > 0 ? cache_value_new(json_raw(o->doc, o->tok), o->modern, shared, ttl_ms) : NULL;
}

/* ---- in the store ---- */

void cache_value_write(const struct cache_value *v, struct str generation, struct buf *out)
{
    int64_t left = v->until_ms - clock_ms();
    buf_addf(out, VERSION " %d %d %lld %.*s\n", v->modern, v->shared,
             (long long)clock_wall_ms() + left, STR_FMT(generation));
    buf_add_str(out, buf_str(&v->text));
}

static bool read_flag(struct str word, bool *out)
{
    *out = str_eq(word, STR("1"));
    return *out || str_eq(word, STR("0"));
}

struct cache_value *cache_value_read(struct str text, struct str *generation)
{
    struct str head, word, modern_word, shared_word, end;
    bool modern, shared;
    uint64_t until;
    const char *line = text.n ? memchr(text.p, '\n', text.n) : NULL;
    if (!line)
        return NULL;
    head = (struct str){text.p, (size_t)(line - text.p)};
    text = (struct str){line + 1, text.n - head.n - 1};
    if (!str_split(&head, ' ', &word) || !str_eq(word, STR(VERSION)) ||
        !str_split(&head, ' ', &modern_word) || !read_flag(modern_word, &modern) ||
        !str_split(&head, ' ', &shared_word) || !read_flag(shared_word, &shared) ||
        !str_split(&head, ' ', &end) || !str_to_u64(end, &until) || head.n > MAX_GENERATION)
        return NULL;
    int64_t now = clock_wall_ms();
    if (until > INT64_MAX || (int64_t)until <= now)
        return NULL;
    int64_t left = (int64_t)until - now; /* by this machine's clock: never longer than any value */
    *generation = head;
    return cache_value_new(text, modern, shared, left < CACHE_TTL_MAX_MS ? left : CACHE_TTL_MAX_MS);
}
