/* See convert.h: what servers say to clients of another era or revision. */
#include "base/crypto.h"
#include "gateway/catalog.h"
#include "gateway/convert.h"
#include "gateway/era.h"

static uint32_t member(const struct json_doc *d, uint32_t obj, struct str name)
{
    return json_is(d, obj, JSON_OBJECT) ? json_get(d, obj, name) : JSON_NONE;
}

static bool is_word(const struct json_doc *d, uint32_t tok, struct str word)
{
    return json_is(d, tok, JSON_STRING) && json_str_eq(d, tok, word);
}

/* A JSON string in the arena. */
static struct str quoted(struct str s, struct arena *a)
{
    struct buf b = {0};
    json_write_str(&b, s);
    struct str out = {arena_dup(a, b.p, b.n), b.n};
    buf_fini(&b);
    return out;
}

/* ---- questions ---- */

/* Which server asks is for the user to see, and a client knows the gateway only (MCP 2026-07-28
 * client/elicitation). */
static void name_server(const struct convert_way *way, const struct json_doc *d, uint32_t message,
                        struct json_edits *es, struct arena *a)
{
    struct buf plain = {0};
    buf_addf(&plain, "[%s] ", way->from->cfg->name);
    buf_add_str(&plain, json_str(d, message, a));
    json_edit_replace(es, d, message, quoted(buf_str(&plain), a));
    buf_fini(&plain);
}

/* Titled choices (SEP-1330) as the revisions before have them: enum and enumNames. False: several
 * at once, which those cannot ask for. */
static bool old_choices(const struct json_doc *d, uint32_t property, struct json_edits *es,
                        struct arena *a)
{
    struct buf values = {0}, names = {0}, both = {0};
    if (is_word(d, member(d, property, STR("type")), STR("array")))
        return false;
    uint32_t one_of = member(d, property, STR("oneOf"));
    if (!json_is(d, one_of, JSON_ARRAY))
        return true;
    for (uint32_t k = json_first(d, one_of); k != JSON_NONE; k = json_next(d, one_of, k)) {
        uint32_t value = member(d, k, STR("const")), title = member(d, k, STR("title"));
        if (value == JSON_NONE)
            continue;
        buf_adds(&values, values.n ? "," : "");
        buf_add_str(&values, json_raw(d, value));
        buf_adds(&names, names.n ? "," : "");
        buf_add_str(&names, json_raw(d, title == JSON_NONE ? value : title));
    }
    buf_addf(&both, "\"enum\":[%.*s],\"enumNames\":[%.*s]", STR_FMT(buf_str(&values)),
             STR_FMT(buf_str(&names)));
    json_edit_insert(es, d, property, (struct str){arena_dup(a, both.p, both.n), both.n});
    for (uint32_t k = json_first(d, property); k != JSON_NONE; k = json_next(d, property, k))
        if (json_str_eq(d, k, STR("oneOf")))
            json_edit_remove(es, d, property, k);
    buf_fini(&values);
    buf_fini(&names);
    buf_fini(&both);
    return true;
}

static bool old_schema(const struct json_doc *d, uint32_t params, struct json_edits *es,
                       struct arena *a)
{
    uint32_t all = member(d, member(d, params, STR("requestedSchema")), STR("properties"));
    bool ok = true;
    for (uint32_t k = json_is(d, all, JSON_OBJECT) ? json_first(d, all) : JSON_NONE;
         k != JSON_NONE && ok; k = json_next(d, all, k))
        ok = old_choices(d, k + 1, es, a);
    return ok;
}

/* Members that belong to the hop between server and gateway. */
static void drop_hop(const struct convert_way *way, const struct json_doc *d, uint32_t params,
                     struct json_edits *es)
{
    static const char *const hop[] = {"_meta", "task", "elicitationId"};
    for (uint32_t k = json_first(d, params); k != JSON_NONE; k = json_next(d, params, k)) {
        bool gone = false;
        for (size_t i = 0; i < sizeof hop / sizeof *hop; i++)
            gone = gone || json_str_eq(d, k, str_of(hop[i]));
        if (gone)
            json_edit_remove(es, d, params, k);
        else if (way->several && json_str_eq(d, k, STR("includeContext")))
            json_edit_replace(es, d, k + 1, STR("\"none\"")); /* the gateway is no "this server" */
    }
}

/* A URL elicitation has an id in 2025-11-25 (client/elicitation); nobody asks for it again, so any
 * will do. */
static void add_elicitation_id(const struct json_doc *d, uint32_t params, struct json_edits *es,
                               struct arena *a)
{
    struct buf b = {0};
    uint8_t random[16];
    crypto_random(random, sizeof random);
    buf_adds(&b, "\"elicitationId\":\"");
    crypto_hex(&b, random, sizeof random);
    buf_addc(&b, '"');
    json_edit_insert(es, d, params, (struct str){arena_dup(a, b.p, b.n), b.n});
    buf_fini(&b);
}

bool convert_question(const struct convert_way *way, const struct json_doc *d, uint32_t method,
                      uint32_t params, struct buf *out)
{
    struct json_edits es = {0};
    struct arena a = {0};
    bool ok = true;
    if (!json_is(d, params, JSON_OBJECT) || d->tok[params].count == 0)
        return true;
    drop_hop(way, d, params, &es);
    if (json_str_eq(d, method, STR("elicitation/create"))) {
        uint32_t message = json_get(d, params, STR("message"));
        if (way->several && json_is(d, message, JSON_STRING))
            name_server(way, d, message, &es, &a);
        if (way->to && is_word(d, json_get(d, params, STR("mode")), STR("url")))
            add_elicitation_id(d, params, &es, &a);
        ok = !way->to || way->to->url || old_schema(d, params, &es, &a);
    }
    if (ok)
        json_edit_apply(&es, d, d->tok[params].off, d->tok[params].len, out);
    json_edits_fini(&es);
    arena_fini(&a);
    return ok;
}

void convert_url(const struct convert_way *way, const struct json_doc *d, uint32_t entry,
                 struct buf *out)
{
    struct json_edits es = {0};
    struct arena a = {0};
    uint32_t message = json_get(d, entry, STR("message"));
    drop_hop(way, d, entry, &es);
    if (way->several && json_is(d, message, JSON_STRING))
        name_server(way, d, message, &es, &a);
    if (json_get(d, entry, STR("mode")) == JSON_NONE)
        json_edit_insert(&es, d, entry, STR("\"mode\":\"url\""));
    json_edit_apply(&es, d, d->tok[entry].off, d->tok[entry].len, out);
    json_edits_fini(&es);
    arena_fini(&a);
}

/* ---- notifications ---- */

void convert_log(const struct convert_way *way, const struct json_doc *d, uint32_t params,
                 struct buf *out)
{
    struct json_edits es = {0};
    struct arena a = {0};
    struct buf insert = {0}, name = {0};
    uint32_t logger = json_get(d, params, STR("logger"));
    if (json_get(d, params, STR("data")) == JSON_NONE)
        buf_adds(&insert, "\"data\":\"\"");
    if (way->several) {
        buf_adds(&name, way->from->cfg->name);
        if (json_is(d, logger, JSON_STRING)) {
            buf_addc(&name, '/');
            buf_add_str(&name, json_str(d, logger, &a));
            json_edit_replace(&es, d, logger, quoted(buf_str(&name), &a));
        } else if (logger == JSON_NONE) {
            buf_addf(&insert, "%s\"logger\":", insert.n ? "," : "");
            json_write_str(&insert, buf_str(&name));
        }
    }
    if (insert.n)
        json_edit_insert(&es, d, params, buf_str(&insert));
    json_edit_apply(&es, d, d->tok[params].off, d->tok[params].len, out);
    json_edits_fini(&es);
    arena_fini(&a);
    buf_fini(&insert);
    buf_fini(&name);
}

bool convert_progress_value(const struct json_doc *d, uint32_t params, double *out)
{
    uint32_t tok = json_get(d, params, STR("progress"));
    if (tok == JSON_NONE)
        tok = json_get(d, params, STR("value"));
    if (!json_is(d, tok, JSON_NUMBER))
        return false;
    *out = json_double(d, tok);
    return true;
}

void convert_progress(const struct json_doc *d, uint32_t params, struct str token, struct buf *out)
{
    struct json_edits es = {0};
    bool proper = json_get(d, params, STR("progress")) != JSON_NONE;
    for (uint32_t k = json_first(d, params); k != JSON_NONE; k = json_next(d, params, k)) {
        if (json_str_eq(d, k, STR("progressToken")))
            json_edit_replace(&es, d, k + 1, token);
        else if (!proper && json_str_eq(d, k, STR("value")))
            json_edit_replace(&es, d, k, STR("\"progress\""));
    }
    json_edit_apply(&es, d, d->tok[params].off, d->tok[params].len, out);
    json_edits_fini(&es);
}

/* ---- results ---- */

static void replace_with_text(const struct json_doc *d, uint32_t block, struct str text,
                              struct json_edits *es, struct arena *a)
{
    struct buf b = {0};
    buf_adds(&b, "{\"type\":\"text\",\"text\":");
    json_write_str(&b, text);
    buf_addc(&b, '}');
    json_edit_replace(es, d, block, (struct str){arena_dup(a, b.p, b.n), b.n});
    buf_fini(&b);
}

static void audio_text(const struct json_doc *d, uint32_t block, struct json_edits *es,
                       struct arena *a)
{
    struct buf b = {0};
    struct str mime = json_str(d, member(d, block, STR("mimeType")), a);
    struct str data = json_str(d, member(d, block, STR("data")), a);
    size_t bytes = data.n / 4 * 3;
    for (size_t i = data.n; i > 0 && i + 2 > data.n && data.p[i - 1] == '='; i--)
        bytes--;
    buf_addf(&b, "[audio %.*s, %zu bytes]", mime.n < 64 ? (int)mime.n : 64, mime.p ? mime.p : "",
             bytes);
    replace_with_text(d, block, buf_str(&b), es, a);
    buf_fini(&b);
}

static void link_text(const struct convert_way *way, const struct json_doc *d, uint32_t block,
                      struct json_edits *es, struct arena *a)
{
    struct buf b = {0};
    struct str uri = json_str(d, member(d, block, STR("uri")), a);
    struct str name = json_str(d, member(d, block, STR("name")), a);
    if (name.n) {
        buf_add_str(&b, name);
        buf_adds(&b, ": ");
    }
    if (way->from->cfg->prefix_uris)
        catalog_public_uri(way->from->cfg, uri, true, &b);
    else
        buf_add_str(&b, uri);
    replace_with_text(d, block, buf_str(&b), es, a);
    buf_fini(&b);
}

static void edit_block(const struct convert_way *way, const struct json_doc *d, uint32_t block,
                       struct json_edits *es, struct arena *a)
{
    uint32_t type = member(d, block, STR("type"));
    if (!way->to->audio && is_word(d, type, STR("audio")))
        audio_text(d, block, es, a);
    else if (!way->to->resource_link && is_word(d, type, STR("resource_link")))
        link_text(way, d, block, es, a);
}

/* Blocks, one or several. */
static bool edit_content(const struct convert_way *way, const struct json_doc *d, uint32_t content,
                         struct json_edits *es, struct arena *a)
{
    bool text = false;
    if (!json_is(d, content, JSON_ARRAY)) {
        edit_block(way, d, content, es, a);
        return text;
    }
    for (uint32_t k = json_first(d, content); k != JSON_NONE; k = json_next(d, content, k)) {
        edit_block(way, d, k, es, a);
        text = text || is_word(d, member(d, k, STR("type")), STR("text"));
    }
    return text;
}

/* Structured content that this revision cannot have is left out, but its JSON stays as text. */
static void drop_structured(const struct json_doc *d, uint32_t result, bool has_text,
                            struct json_edits *es, struct arena *a)
{
    struct buf b = {0};
    uint32_t content = json_get(d, result, STR("content"));
    for (uint32_t k = json_first(d, result); k != JSON_NONE; k = json_next(d, result, k)) {
        if (!json_str_eq(d, k, STR("structuredContent")))
            continue;
        json_edit_remove(es, d, result, k);
        buf_adds(&b, "{\"type\":\"text\",\"text\":");
        json_write_str(&b, json_raw(d, k + 1));
        buf_addc(&b, '}');
    }
    if (!has_text && json_is(d, content, JSON_ARRAY)) {
        buf_adds(&b, d->tok[content].count ? "," : "");
        json_edit_add(es, d->tok[content].off + 1, 0, (struct str){arena_dup(a, b.p, b.n), b.n});
    }
    buf_fini(&b);
}

void convert_result(const struct convert_way *way, const struct json_doc *d, uint32_t result,
                    struct json_edits *es, struct arena *a)
{
    bool old = !way->to->audio || !way->to->resource_link;
    uint32_t content = json_get(d, result, STR("content"));
    uint32_t messages = json_get(d, result, STR("messages"));
    uint32_t structured = json_get(d, result, STR("structuredContent"));
    bool drop = structured != JSON_NONE &&
                (!way->to->resource_link || !json_is(d, structured, JSON_OBJECT));
    bool text = false;
    if (old || drop)
        text = edit_content(way, d, content, es, a);
    if (drop)
        drop_structured(d, result, text, es, a);
    for (uint32_t k = old && json_is(d, messages, JSON_ARRAY) ? json_first(d, messages) : JSON_NONE;
         k != JSON_NONE; k = json_next(d, messages, k))
        (void)edit_content(way, d, member(d, k, STR("content")), es, a);
}
