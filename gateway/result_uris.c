/* See result_uris.h. */
#include "gateway/result_uris.h"

#include "gateway/catalog.h"

static void replace(const struct json_doc *d, uint32_t tok, struct str uri, struct json_edits *es,
                    struct arena *a)
{
    struct buf b = {0};
    json_write_str(&b, uri);
    json_edit_replace(es, d, tok, (struct str){arena_dup(a, b.p, b.n), b.n});
    buf_fini(&b);
}

static uint32_t member(const struct json_doc *d, uint32_t obj, struct str name)
{
    return json_is(d, obj, JSON_OBJECT) ? json_get(d, obj, name) : JSON_NONE;
}

static void edit_contents(const struct call *c, const struct json_doc *d, uint32_t list,
                          struct json_edits *es, struct arena *a)
{
    for (uint32_t k = json_first(d, list); k != JSON_NONE; k = json_next(d, list, k)) {
        uint32_t u = member(d, k, STR("uri"));
        if (u != JSON_NONE && json_str_eq(d, u, c->target))
            replace(d, u, c->public_target, es, a);
    }
}

/* One block of content: a link names the resource itself, an embedded resource holds it. */
static void edit_block(const struct mount_config *m, const struct json_doc *d, uint32_t block,
                       struct json_edits *es, struct arena *a)
{
    uint32_t type = member(d, block, STR("type")), u = JSON_NONE;
    struct buf uri = {0};
    if (type != JSON_NONE && json_str_eq(d, type, STR("resource_link")))
        u = member(d, block, STR("uri"));
    else if (type != JSON_NONE && json_str_eq(d, type, STR("resource")))
        u = member(d, member(d, block, STR("resource")), STR("uri"));
    if (!json_is(d, u, JSON_STRING))
        return;
    catalog_public_uri(m, json_str(d, u, a), true, &uri);
    replace(d, u, buf_str(&uri), es, a);
    buf_fini(&uri);
}

static void edit_blocks(const struct mount_config *m, const struct json_doc *d, uint32_t list,
                        struct json_edits *es, struct arena *a)
{
    if (!json_is(d, list, JSON_ARRAY)) {
        edit_block(m, d, list, es, a);
        return;
    }
    for (uint32_t k = json_first(d, list); k != JSON_NONE; k = json_next(d, list, k))
        edit_block(m, d, k, es, a);
}

void result_edit_uris(const struct call *c, const struct json_doc *d, uint32_t tok,
                      struct json_edits *es, struct arena *a)
{
    const struct mount_config *m = c->up->cfg;
    uint32_t contents =
        c->method->route == ROUTE_URI ? json_get(d, tok, STR("contents")) : JSON_NONE;
    if (json_is(d, contents, JSON_ARRAY) && !str_eq(c->target, c->public_target))
        edit_contents(c, d, contents, es, a);
    if (!m->prefix_uris || c->method->route == ROUTE_URI)
        return;
    edit_blocks(m, d, json_get(d, tok, STR("content")), es, a);
    uint32_t messages = json_get(d, tok, STR("messages"));
    for (uint32_t k = json_is(d, messages, JSON_ARRAY) ? json_first(d, messages) : JSON_NONE;
         k != JSON_NONE; k = json_next(d, messages, k))
        edit_blocks(m, d, member(d, k, STR("content")), es, a);
}
