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

static void add_word(strlist *words, struct str word)
{
    size_t n = 0;
    while (*words && (*words)[n])
        if (str_eq(str_of((*words)[n++]), word))
            return;
    *words = xrealloc(*words, (n + 2) * sizeof **words);
    (*words)[n] = xmemdup0(word.p, word.n);
    (*words)[n + 1] = NULL;
}

static void add_words(strlist *words, char *const *more)
{
    for (; more && *more; more++)
        add_word(words, str_of(*more));
}

/* Words with blanks between them, for the entries that the glob names. */
static void add_configured(strlist *words, const struct name_value *pairs, size_t n,
                           struct str name)
{
    for (size_t i = 0; i < n; i++) {
        struct str rest = str_of(pairs[i].value), word;
        while (str_glob(str_of(pairs[i].name), name) && str_split(&rest, ' ', &word))
            if (word.n)
                add_word(words, word);
    }
}

static void add_listed_tags(const struct json_doc *d, uint32_t meta, struct str member,
                            strlist *tags)
{
    uint32_t own = json_get(d, meta, member);
    if (!json_is(d, own, JSON_OBJECT))
        return;
    strlist words = read_words(d, json_get(d, own, STR("tags")));
    add_words(tags, words);
    for (char **w = words; w && *w; w++)
        free(*w);
    free(words);
}

static struct policy_notes read_notes(const struct json_doc *d, uint32_t tok)
{
    static const char *const names[] = {"readOnlyHint", "destructiveHint", "idempotentHint",
                                        "openWorldHint"};
    struct policy_notes out = {0};
    uint32_t notes = json_get(d, tok, STR("annotations"));
    for (size_t i = 0; json_is(d, notes, JSON_OBJECT) && i < sizeof names / sizeof *names; i++) {
        uint32_t v = json_get(d, notes, str_of(names[i]));
        bool yes = json_is(d, v, JSON_TRUE);
        if (yes || json_is(d, v, JSON_FALSE)) {
            out.said |= (uint8_t)(1U << i);
            out.yes |= (uint8_t)((unsigned)yes << i);
        }
    }
    return out;
}

void traits_add(const struct json_doc *d, uint32_t tok, const struct mount_config *m, bool tool,
                struct str name, struct traits *t)
{
    uint32_t meta = meta_of(d, tok);
    if (json_is(d, meta, JSON_OBJECT)) {
        add_listed_tags(d, meta, STR("_fastmcp"), &t->tags);
        add_listed_tags(d, meta, STR("fastmcp"), &t->tags);
    }
    add_words(&t->scopes, m->required_scopes);
    if (!tool)
        return;
    add_configured(&t->tags, m->tool_tags, m->tool_tag_count, name);
    add_configured(&t->scopes, m->tool_scopes, m->tool_scope_count, name);
    if (m->trust_annotations || mount_is_local(m))
        t->notes = read_notes(d, tok);
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
