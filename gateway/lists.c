/* See lists.h. */
#include "gateway/lists.h"

#include "gateway/mcp_http.h"
#include "gateway/view.h"

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
    *at = last->index;
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

/* The page that begins at place at of what the caller sees; *more: its last entry, when others
 * follow. */
static struct str page_of(const struct request *r, struct view *v, uint32_t at,
                          const struct catalog_entry **more)
{
    const struct shard *s = r->shard;
    enum catalog_kind kind = r->method->kind;
    const struct catalog_list *l = &s->catalog->list[kind];
    uint32_t all = v ? view_count(v, kind) : l->n, n = at < all ? all - at : 0;
    if (n > (uint32_t)s->config->page_size)
        n = (uint32_t)s->config->page_size;
    if (n && at + n < all)
        *more = &l->entries[v ? view_entry(v, kind, at + n - 1) : at + n - 1];
    if (v)
        return view_page(v, kind, !r->modern, at, n);
    return n ? catalog_page(s->catalog, kind, !r->modern, at, n) : (struct str){0};
}

bool lists_page(const struct request *r, struct str cursor, struct buf *out, struct err *e)
{
    struct shard *s = r->shard;
    enum catalog_kind kind = r->method->kind;
    uint32_t last = UINT32_MAX; /* entry of the page before */
    const struct catalog_entry *more = NULL;
    if (cursor.p && !find_place(r, cursor, &last, e))
        return false;
    buf_addf(out, "\"%s\":[", member[kind]);
    if (s->catalog) {
        struct view *v = view_of(s, r->call.principal);
        buf_add_str(out, page_of(r, v, v ? view_place_after(v, kind, last) : last + 1, &more));
    }
    buf_addc(out, ']');
    if (more)
        add_cursor(r, more->public_name, out);
    return true;
}

void lists_instructions(const struct request *r, struct buf *out)
{
    const struct catalog *c = r->shard->catalog;
    const struct view *v = c ? view_of(r->shard, r->call.principal) : NULL;
    struct str text = v ? view_instructions(v) : c ? buf_str(&c->instructions) : (struct str){0};
    if (text.n) {
        buf_adds(out, ",\"instructions\":");
        buf_add_str(out, text);
    }
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
