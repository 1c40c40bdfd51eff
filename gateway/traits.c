/* See traits.h. */
#include "gateway/traits.h"

#include <stdlib.h>

#define MEMBER "dev.headgate/tool"

enum { MAX_WORDS = 64, MAX_WORD = 256, MAX_TTL_S = 24 * 3600 };

static uint32_t meta_of(const struct json_doc *d, uint32_t tok)
{
    return json_get(d, tok, STR("_meta"));
}

/* A list of words; tools say nothing by an absent or empty one. */
static strlist read_words(const struct json_doc *d, uint32_t list)
{
    struct arena a = {0};
    size_t n = 0;
    if (!json_is(d, list, JSON_ARRAY) || d->tok[list].count == 0)
        return NULL;
    strlist words = xcalloc(MAX_WORDS + 1, sizeof *words);
    for (uint32_t k = json_first(d, list); k != JSON_NONE && n < MAX_WORDS;
         k = json_next(d, list, k)) {
        struct str word = json_str(d, k, &a);
        if (word.n > 0 && word.n <= MAX_WORD && !memchr(word.p, '\0', word.n))
            words[n++] = xmemdup0(word.p, word.n);
    }
    arena_fini(&a);
    return words;
}

static void read_rate(const struct json_doc *d, uint32_t tok, const char *mount, struct str tool,
                      struct rate *out)
{
    struct arena a = {0};
    struct err e = {0};
    if (tok == JSON_NONE || json_is(d, tok, JSON_NULL))
        return;
    struct str text = json_is(d, tok, JSON_STRING) ? json_str(d, tok, &a) : json_raw(d, tok);
    if (!rate_parse(text, out, &e))
        log_warn("traits.rate_ignored", L_STR("upstream", mount), L_S("tool", tool),
                 L_S("value", text), L_ERR(&e));
    arena_fini(&a);
}

static int read_ttl(const struct json_doc *d, uint32_t tok)
{
    double s = json_double(d, tok); /* 0 when it is not there */
    if (!(s > 0))
        return 0;
    return s > MAX_TTL_S ? MAX_TTL_S * 1000 : (int)(s * 1000);
}

void traits_read(const struct json_doc *d, uint32_t tok, const char *mount, struct str tool,
                 struct traits *out)
{
    uint32_t own = json_get(d, meta_of(d, tok), STR(MEMBER));
    *out = (struct traits){0};
    if (!json_is(d, own, JSON_OBJECT))
        return;
    out->tags = read_words(d, json_get(d, own, STR("tags")));
    out->scopes = read_words(d, json_get(d, own, STR("requiredScopes")));
    out->cache_ttl_ms = read_ttl(d, json_get(d, own, STR("cacheTtl")));
    read_rate(d, json_get(d, own, STR("rateLimit")), mount, tool, &out->rate);
}

static void free_words(strlist *words)
{
    for (char **w = *words; w && *w; w++)
        free(*w);
    free(*words);
    *words = NULL;
}

void traits_fini(struct traits *t)
{
    free_words(&t->tags);
    free_words(&t->scopes);
}

void traits_edit(struct json_edits *es, const struct json_doc *d, uint32_t tok)
{
    uint32_t meta = meta_of(d, tok), own = json_get(d, meta, STR(MEMBER));
    if (own == JSON_NONE)
        return;
    if (d->tok[meta].count == 1)
        json_edit_remove(es, d, tok, meta - 1);
    else
        json_edit_remove(es, d, meta, own - 1);
}
