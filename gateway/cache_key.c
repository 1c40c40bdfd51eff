/* See cache.h: keys. A key is an HMAC over who asks, which server, which definition, which method
 * and target, and the arguments in canonical form; it tells nothing of them to who can read the
 * store. What could change a result and is no part of the key keeps a call out of the cache. */
#include "gateway/cache.h"

#include "base/crypto.h"
#include "base/json_canonical.h"
#include "gateway/cache_priv.h"
#include "gateway/call.h"
#include "gateway/catalog.h"

static void add_part(struct buf *out, struct str s)
{
    uint32_t n = (uint32_t)s.n;
    buf_add(out, &n, sizeof n);
    buf_add_str(out, s);
}

/* ---- the server ---- */

static void add_words(struct buf *out, char *const *words)
{
    for (; words && *words; words++)
        add_part(out, str_of(*words));
    add_part(out, (struct str){0});
}

/* Where the mount leads: a mount of the same name that leads elsewhere shares nothing. */
static void add_mount(struct buf *out, const struct mount_config *m)
{
    add_part(out, str_of(m->name));
    add_part(out, str_of(m->url));
    add_part(out, str_of(m->command));
    add_words(out, m->args);
}

/* ---- params ---- */

/* A line: no canonical text holds the end of one. */
static bool add_json(const struct json_doc *d, uint32_t tok, char sort, struct buf *out)
{
    buf_addc(out, sort);
    bool ok = json_canonical(d, tok, JSON_LOSSLESS, out);
    buf_addc(out, '\n');
    return ok;
}

/* Members of _meta that tell of the request and its sender, not of what is asked. */
static bool is_about_request(const struct json_doc *d, uint32_t name)
{
    static const char *const names[] = {"progressToken", "traceparent", "tracestate", "baggage"};
    struct str raw = json_raw(d, name);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (json_str_eq(d, name, str_of(names[i])))
            return true;
    return str_starts(raw, STR("\"io.modelcontextprotocol/"));
}

static bool add_meta(const struct json_doc *d, uint32_t meta, struct buf *out)
{
    if (meta == JSON_NONE)
        return true;
    if (!json_is(d, meta, JSON_OBJECT))
        return false;
    for (uint32_t k = json_first(d, meta); k != JSON_NONE; k = json_next(d, meta, k)) {
        if (is_about_request(d, k))
            continue;
        if (!add_json(d, k, 'm', out) || !add_json(d, k + 1, ':', out))
            return false;
    }
    return true;
}

static bool add_params(const struct call *c, struct buf *out)
{
    const struct json_doc *d = c->doc;
    for (uint32_t k = json_first(d, c->params); k != JSON_NONE; k = json_next(d, c->params, k)) {
        if (k + 1 == c->target_tok)
            continue;
        if (json_str_eq(d, k, STR("_meta"))) {
            if (!add_meta(d, k + 1, out))
                return false;
        } else if (json_str_eq(d, k, STR("arguments"))) {
            if (!add_json(d, k + 1, 'a', out))
                return false;
        } else {
            return false; /* requestState, inputResponses, a task, and what is yet to come */
        }
    }
    return true;
}

/* Without who asks; false when params hold what is not part of a key. */
static bool add_call(const struct call *c, struct buf *out)
{
    static const uint8_t none[sizeof c->entry->fingerprint];
    add_mount(out, &c->catalog->config->mounts[c->up->index]);
    add_part(out, c->method->name);
    add_part(out, c->target);
    buf_add(out, c->entry ? c->entry->fingerprint : none, sizeof none);
    return add_params(c, out);
}

/* ---- a call's keys ---- */

enum { LONG_TEXT = 1024 };

/* The text with who asks; as a digest when it is long. */
static struct str text_of(struct call *c, struct buf *text, enum cache_scope scope)
{
    size_t before = text->n;
    uint8_t digest[4 + 32] = {0xff, 0xff, 0xff, 0xff}; /* no mount's length */
    struct str s;
    add_part(text, str_of(c->principal->tenant));
    buf_addc(text, scope == CACHE_OWN ? 'p' : 't');
    if (scope == CACHE_OWN)
        add_part(text, principal_key(c->principal));
    s = buf_str(text);
    if (s.n > LONG_TEXT) {
        crypto_sha256(&s, 1, digest + 4);
        s = (struct str){(const char *)digest, sizeof digest};
    }
    s.p = arena_dup(&c->arena, s.p, s.n);
    text->n = before;
    return s;
}

static struct cache_policy policy_of(const struct call *c)
{
    const struct config *cfg = c->catalog->config;
    if (c->method == &method_tools_call)
        return c->entry ? c->entry->cache : (struct cache_policy){0};
    if (c->method->route == ROUTE_URI && c->method->cacheable)
        return catalog_read_policy(cfg, c->up->index);
    return (struct cache_policy){0};
}

bool cache_use_of(struct call *c, struct cache_use *u)
{
    struct cache_policy p = policy_of(c);
    *u = (struct cache_use){.policy = p, .mount = str_of(c->up->cfg->name), .target = c->target};
    if ((p.ttl_ms <= 0 && !p.by_result) || c->params == JSON_NONE || c->param_fields.n ||
        !c->shard->cache)
        return false;
    struct buf *text = &c->shard->cache->scratch;
    text->n = 0;
    if (!add_call(c, text))
        return false;
    if (p.by_result || !p.shared)
        u->text[CACHE_OWN] = text_of(c, text, CACHE_OWN);
    if (p.shared)
        u->text[CACHE_TENANT] = text_of(c, text, CACHE_TENANT);
    return true;
}

void cache_key(struct cache *c, struct str text, uint8_t out[CACHE_KEY_BYTES])
{
    crypto_hmac(cache_secret(c), text, out);
}
