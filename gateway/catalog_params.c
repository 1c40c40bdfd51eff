/* See catalog.h: x-mcp-header annotations of input schemas (MCP 2026-07-28
 * basic/transports/streamable-http, "Custom Headers from Tool Parameters"). A parameter is mirrored
 * only when a chain of `properties` leads to it; an annotation anywhere else makes the whole
 * definition invalid. */
#include "gateway/catalog.h"

#include <stdlib.h>

enum { MAX_PARAMS = 128, MAX_HEADER_NAME = 64, MAX_PATH = 64 };

/* Keywords whose values are schemas (or arrays of them), and keywords whose members are. */
static const char *const schema_keywords[] = {
    "items",
    "prefixItems",
    "contains",
    "additionalProperties",
    "additionalItems",
    "propertyNames",
    "anyOf",
    "oneOf",
    "unevaluatedProperties",
    "unevaluatedItems",
    "allOf",
    "not",
    "if",
    "then",
    "else",
    "contentSchema",
    NULL,
};
static const char *const schema_map_keywords[] = {
    "patternProperties", "dependentSchemas", "dependencies", "$defs", "definitions", NULL,
};

struct walk {
    const struct json_doc *d;
    struct catalog_entry *out;
    struct err *why;
    struct arena arena;
    struct str path[MAX_PATH];
    size_t depth;
};

static bool is_tchar(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_header_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_tchar(s.p[i]))
            return false;
    return s.n > 0 && s.n <= MAX_HEADER_NAME;
}

static bool is_mirrored_type(const struct json_doc *d, uint32_t type)
{
    return json_str_eq(d, type, STR("string")) || json_str_eq(d, type, STR("integer")) ||
           json_str_eq(d, type, STR("boolean"));
}

static bool is_taken(const struct catalog_entry *e, struct str name)
{
    for (size_t i = 0; i < e->param_count; i++) {
        const char *header = e->params[i].header + strlen("Mcp-Param-");
        if (str_ieq(str_of(header), name))
            return true;
    }
    return false;
}

static void add_param(struct walk *w, struct str name)
{
    struct catalog_entry *e = w->out;
    e->params = xrealloc(e->params, (e->param_count + 1) * sizeof *e->params);
    struct header_param *p = &e->params[e->param_count++];
    struct buf header = {0};
    buf_adds(&header, "Mcp-Param-");
    buf_add(&header, name.p, name.n + 1); /* json_str's caller made it end with a NUL */
    p->header = header.p;
    p->path = xcalloc(w->depth + 1, sizeof *p->path);
    for (size_t i = 0; i < w->depth; i++)
        p->path[i] = xmemdup0(w->path[i].p, w->path[i].n);
}

/* Takes one annotation, that of the property at the end of the path. */
static bool take(struct walk *w, uint32_t schema, uint32_t value, bool reachable)
{
    struct str raw = json_str(w->d, value, &w->arena);
    struct str at = w->depth ? w->path[w->depth - 1] : STR("inputSchema");
    int n = at.n < 64 ? (int)at.n : 64;
    if (!reachable || w->depth == 0) {
        return err_set(w->why, ERR_BAD_UPSTREAM,
                       "x-mcp-header near \"%.*s\" is not on a property that a chain of "
                       "properties leads to",
                       n, at.p);
    }
    if (!json_is(w->d, value, JSON_STRING) || !is_header_name(raw))
        return err_set(w->why, ERR_BAD_UPSTREAM, "x-mcp-header of \"%.*s\" is not a header name", n,
                       at.p);
    if (!is_mirrored_type(w->d, json_get(w->d, schema, STR("type")))) {
        return err_set(w->why, ERR_BAD_UPSTREAM,
                       "x-mcp-header of \"%.*s\": its type is not string, integer or boolean", n,
                       at.p);
    }
    struct str name = {arena_dup(&w->arena, raw.p, raw.n), raw.n};
    if (is_taken(w->out, name))
        return err_set(w->why, ERR_BAD_UPSTREAM, "x-mcp-header \"%.*s\" occurs twice",
                       STR_FMT(name));
    if (w->out->param_count == MAX_PARAMS)
        return err_set(w->why, ERR_BAD_UPSTREAM, "more than %d x-mcp-header", (int)MAX_PARAMS);
    add_param(w, name);
    return true;
}

static bool visit(struct walk *w, uint32_t schema, bool reachable);

static bool visit_properties(struct walk *w, uint32_t props, bool reachable)
{
    if (!json_is(w->d, props, JSON_OBJECT))
        return true;
    for (uint32_t k = json_first(w->d, props); k != JSON_NONE; k = json_next(w->d, props, k)) {
        struct str name = json_str(w->d, k, &w->arena);
        /* A path is kept as C strings, so a name with a NUL cannot be followed. */
        bool usable = w->depth < MAX_PATH && !(name.n && memchr(name.p, '\0', name.n));
        if (usable)
            w->path[w->depth++] = name;
        bool ok = visit(w, k + 1, reachable && usable);
        if (usable)
            w->depth--;
        if (!ok)
            return false;
    }
    return true;
}

/* Elements of an array, or values of an object's members: schemas that no chain of properties
 * leads to. */
static bool visit_children(struct walk *w, uint32_t parent)
{
    bool members = json_is(w->d, parent, JSON_OBJECT);
    for (uint32_t k = json_first(w->d, parent); k != JSON_NONE; k = json_next(w->d, parent, k))
        if (!visit(w, members ? k + 1 : k, false))
            return false;
    return true;
}

static bool visit_keywords(struct walk *w, uint32_t schema)
{
    for (size_t i = 0; schema_keywords[i]; i++) {
        uint32_t v = json_get(w->d, schema, str_of(schema_keywords[i]));
        if (json_is(w->d, v, JSON_OBJECT) && !visit(w, v, false))
            return false;
        if (json_is(w->d, v, JSON_ARRAY) && !visit_children(w, v))
            return false;
    }
    for (size_t i = 0; schema_map_keywords[i]; i++) {
        uint32_t v = json_get(w->d, schema, str_of(schema_map_keywords[i]));
        if (json_is(w->d, v, JSON_OBJECT) && !visit_children(w, v))
            return false;
    }
    return true;
}

/* Recursion is as deep as the scanner lets a text be. */
static bool visit(struct walk *w, uint32_t schema, bool reachable)
{
    if (!json_is(w->d, schema, JSON_OBJECT))
        return true;
    uint32_t value = json_get(w->d, schema, STR("x-mcp-header"));
    if (value != JSON_NONE && !take(w, schema, value, reachable))
        return false;
    return visit_properties(w, json_get(w->d, schema, STR("properties")), reachable) &&
           visit_keywords(w, schema);
}

void catalog_params_fini(struct catalog_entry *e)
{
    for (size_t i = 0; i < e->param_count; i++) {
        free(e->params[i].header);
        for (size_t k = 0; e->params[i].path[k]; k++)
            free(e->params[i].path[k]);
        free(e->params[i].path);
    }
    free(e->params);
    e->params = NULL;
    e->param_count = 0;
}

bool catalog_read_params(const struct json_doc *d, uint32_t tool, struct catalog_entry *out,
                         struct err *why)
{
    struct walk w = {.d = d, .out = out, .why = why};
    out->params = NULL;
    out->param_count = 0;
    bool ok = visit(&w, json_get(d, tool, STR("inputSchema")), true);
    if (!ok)
        catalog_params_fini(out);
    arena_fini(&w.arena);
    return ok;
}
