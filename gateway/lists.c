/* See lists.h. */
#include "gateway/lists.h"

#include "gateway/mcp_http.h"

static const char *const member[KINDS] = {"tools", "prompts", "resources", "resourceTemplates"};

static bool find_place(const struct request *r, struct str cursor, uint32_t *at, struct err *e)
{
    const struct shard *s = r->shard;
    enum catalog_kind kind = r->method->kind;
    struct buf plain = {0};
    bool ok = sealer_open(s->gw->sealer, "cursor", principal_key(r->call.principal), cursor, &plain,
                          NULL) &&
              plain.n > 0 && plain.p[0] == (char)('0' + kind);
    const struct catalog_entry *last =
        ok && s->catalog
            ? map_get(&s->catalog->list[kind].by_public, (struct str){plain.p + 1, plain.n - 1})
            : NULL;
    buf_fini(&plain);
    if (!last)
        return err_set(e, ERR_BAD_REQUEST,
                       "the cursor is not valid (any more); list again without it");
    *at = last->index + 1;
    return true;
}

static void add_cursor(const struct request *r, struct str last, struct buf *out)
{
    struct buf plain = {0};
    buf_addc(&plain, (char)('0' + r->method->kind));
    buf_add_str(&plain, last);
    buf_adds(out, ",\"nextCursor\":\"");
    sealer_seal(r->shard->gw->sealer, "cursor", principal_key(r->call.principal), buf_str(&plain),
                out);
    buf_addc(out, '"');
    buf_fini(&plain);
}

bool lists_page(const struct request *r, struct str cursor, struct buf *out, struct err *e)
{
    const struct shard *s = r->shard;
    enum catalog_kind kind = r->method->kind;
    uint32_t at = 0, size = (uint32_t)s->config->page_size;
    if (cursor.p && !find_place(r, cursor, &at, e))
        return false;
    buf_addf(out, "\"%s\":[", member[kind]);
    const struct catalog_list *l = s->catalog ? &s->catalog->list[kind] : NULL;
    uint32_t n = l && at < l->n ? l->n - at : 0;
    if (n > size)
        n = size;
    if (n)
        buf_add_str(out, catalog_page(s->catalog, kind, !r->modern, at, n));
    buf_addc(out, ']');
    if (n && at + n < l->n)
        add_cursor(r, l->entries[at + n - 1].public_name, out);
    return true;
}

void lists_capabilities(const struct catalog *c, bool legacy, struct buf *out)
{
    bool any = false;
    buf_addc(out, '{');
    for (int k = 0; c && k < KIND_TEMPLATES; k++) {
        if (!c->has[k])
            continue;
        buf_addf(out, "%s\"%s\":{%s\"listChanged\":true}", any ? "," : "", member[k],
                 k == KIND_RESOURCES && c->subscribe ? "\"subscribe\":true," : "");
        any = true;
    }
    if (c && c->completions) {
        buf_addf(out, "%s\"completions\":{}", any ? "," : "");
        any = true;
    }
    if (c && (c->logging || legacy))
        buf_addf(out, "%s\"logging\":{}", any ? "," : "");
    buf_addc(out, '}');
}

void lists_server_info(const struct config *cfg, struct buf *out)
{
    buf_adds(out, "{\"name\":");
    json_write_str(out, str_of(cfg->server_name));
    buf_adds(out, ",\"version\":");
    json_write_str(out, str_of(cfg->server_version));
    buf_addc(out, '}');
}

const char *lists_changed_method(enum catalog_kind kind)
{
    static const char *const methods[KINDS] = {
        "notifications/tools/list_changed", "notifications/prompts/list_changed",
        "notifications/resources/list_changed", "notifications/resources/list_changed"};
    return methods[kind];
}
