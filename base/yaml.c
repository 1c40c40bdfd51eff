/* See yaml.h. One recursive descent over libyaml's events; its depth is capped, so the stack is
 * too. */
#include "base/yaml.h"

#include <stdio.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    struct yaml_doc *doc;
    size_t nodes;
    struct err *e;
};

static struct yaml_node *read_node(struct reader *r, yaml_event_t *ev, int depth);

static bool fail(struct reader *r, const yaml_mark_t *mark, enum err_kind kind, const char *what)
{
    r->doc->error_line = (int)mark->line + 1;
    return err_set(r->e, kind, "%s", what);
}

static bool next_event(struct reader *r, yaml_event_t *ev)
{
    if (yaml_parser_parse(&r->parser, ev))
        return true;
    const yaml_parser_t *p = &r->parser;
    const yaml_mark_t *mark = p->error == YAML_READER_ERROR ? &p->mark : &p->problem_mark;
    r->doc->error_line = (int)mark->line + 1;
    return err_set(r->e, ERR_CONFIG, "not valid YAML: %s%s%s",
                   p->problem ? p->problem : "unreadable", p->context ? " " : "",
                   p->context ? p->context : "");
}

static struct yaml_node *new_node(struct reader *r, enum yaml_kind kind, const yaml_event_t *ev)
{
    if (++r->nodes > YAML_MAX_NODES) {
        (void)fail(r, &ev->start_mark, ERR_TOO_LARGE, "too many values in one document");
        return NULL;
    }
    struct yaml_node *n = arena_alloc(&r->doc->arena, sizeof *n);
    *n = (struct yaml_node){
        .kind = kind, .line = (int)ev->start_mark.line + 1, .text = "", .shown = ""};
    return n;
}

static bool is_null_word(const char *s)
{
    return !*s || !strcmp(s, "~") || !strcmp(s, "null") || !strcmp(s, "Null") || !strcmp(s, "NULL");
}

/* Copies a scalar's text; NULL when it holds a NUL, which no option may. */
static const char *scalar_text(struct reader *r, const yaml_event_t *ev)
{
    const char *p = (const char *)ev->data.scalar.value;
    if (memchr(p, '\0', ev->data.scalar.length)) {
        (void)fail(r, &ev->start_mark, ERR_CONFIG, "a text may not hold a NUL character");
        return NULL;
    }
    return arena_dup(&r->doc->arena, p, ev->data.scalar.length);
}

static struct yaml_node *read_scalar(struct reader *r, const yaml_event_t *ev)
{
    const char *text = scalar_text(r, ev);
    if (!text)
        return NULL;
    bool plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    bool none = plain && is_null_word(text);
    struct yaml_node *n = new_node(r, none ? YAML_NULL : YAML_TEXT, ev);
    if (n)
        n->quoted = !plain;
    if (n && !none)
        n->text = n->shown = text;
    return n;
}

static struct yaml_node *read_list(struct reader *r, const yaml_event_t *start, int depth)
{
    struct yaml_node *list = new_node(r, YAML_LIST, start);
    struct yaml_node **tail = list ? &list->first : NULL;
    yaml_event_t ev;
    while (list && next_event(r, &ev)) {
        if (ev.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&ev);
            return list;
        }
        if (!(*tail = read_node(r, &ev, depth + 1)))
            return NULL;
        tail = &(*tail)->next;
        list->count++;
    }
    return NULL;
}

/* Reads one key from its event, which it consumes. NULL: refused. */
static const char *read_key(struct reader *r, yaml_event_t *ev, struct map *seen)
{
    const char *key = NULL;
    if (ev->type != YAML_SCALAR_EVENT || ev->data.scalar.anchor || ev->data.scalar.tag)
        (void)fail(r, &ev->start_mark, ERR_CONFIG, "a key must be a plain text");
    else
        key = scalar_text(r, ev);
    if (key && map_set(seen, str_of(key), r)) {
        char msg[160];
        (void)snprintf(msg, sizeof msg, "the key '%.100s' is given twice", key);
        (void)fail(r, &ev->start_mark, ERR_CONFIG, msg);
        key = NULL;
    }
    yaml_event_delete(ev);
    return key;
}

static bool read_members(struct reader *r, struct yaml_node *map, struct map *seen, int depth)
{
    struct yaml_node **tail = &map->first;
    yaml_event_t ev;
    while (next_event(r, &ev)) {
        if (ev.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&ev);
            return true;
        }
        int line = (int)ev.start_mark.line + 1;
        const char *key = read_key(r, &ev, seen);
        if (!key || !next_event(r, &ev) || !(*tail = read_node(r, &ev, depth + 1)))
            return false;
        (*tail)->key = key;
        (*tail)->line = line;
        tail = &(*tail)->next;
        map->count++;
    }
    return false;
}

static struct yaml_node *read_map(struct reader *r, const yaml_event_t *start, int depth)
{
    struct yaml_node *map = new_node(r, YAML_MAP, start);
    struct map seen = {0};
    bool ok = map && read_members(r, map, &seen, depth);
    map_fini(&seen);
    return ok ? map : NULL;
}

static bool is_decorated(const yaml_event_t *ev)
{
    if (ev->type == YAML_SCALAR_EVENT)
        return ev->data.scalar.anchor || ev->data.scalar.tag;
    if (ev->type == YAML_SEQUENCE_START_EVENT)
        return ev->data.sequence_start.anchor || ev->data.sequence_start.tag;
    return ev->data.mapping_start.anchor || ev->data.mapping_start.tag;
}

/* Reads the node that ev starts; consumes ev. */
static struct yaml_node *read_node(struct reader *r, yaml_event_t *ev, int depth)
{
    struct yaml_node *n = NULL;
    if (depth > YAML_MAX_DEPTH)
        (void)fail(r, &ev->start_mark, ERR_TOO_LARGE, "nested too deeply");
    else if (ev->type == YAML_ALIAS_EVENT || is_decorated(ev)) {
        (void)fail(r, &ev->start_mark, ERR_CONFIG,
                   "anchors, aliases and tags (&, *, !) are not accepted: write the value out, in "
                   "quotes if it starts with one of these");
    } else if (ev->type == YAML_SCALAR_EVENT) {
        n = read_scalar(r, ev);
    } else if (ev->type == YAML_SEQUENCE_START_EVENT) {
        n = read_list(r, ev, depth);
    } else {
        n = read_map(r, ev, depth);
    }
    yaml_event_delete(ev);
    return n;
}

/* Takes the next event and drops it, yielding its type. YAML_NO_EVENT: failed. */
static yaml_event_type_t skip_event(struct reader *r)
{
    yaml_event_t ev;
    if (!next_event(r, &ev))
        return YAML_NO_EVENT;
    yaml_event_type_t type = ev.type;
    yaml_event_delete(&ev);
    return type;
}

static bool read_document(struct reader *r)
{
    if (skip_event(r) != YAML_STREAM_START_EVENT)
        return false;
    yaml_event_type_t type = skip_event(r);
    if (type == YAML_STREAM_END_EVENT) {
        r->doc->root = arena_alloc(&r->doc->arena, sizeof *r->doc->root);
        *r->doc->root = (struct yaml_node){.line = 1, .text = "", .shown = ""};
        return true;
    }
    yaml_event_t ev;
    if (type != YAML_DOCUMENT_START_EVENT || !next_event(r, &ev))
        return false;
    r->doc->root = read_node(r, &ev, 1);
    if (!r->doc->root || skip_event(r) != YAML_DOCUMENT_END_EVENT)
        return false;
    type = skip_event(r);
    if (type == YAML_DOCUMENT_START_EVENT)
        return fail(r, &r->parser.mark, ERR_CONFIG, "only one document is accepted, remove '---'");
    return type == YAML_STREAM_END_EVENT;
}

bool yaml_parse(struct yaml_doc *d, struct str text, struct err *e)
{
    *d = (struct yaml_doc){0};
    if (text.n > YAML_MAX_BYTES)
        return err_set(e, ERR_TOO_LARGE, "larger than %d bytes", (int)YAML_MAX_BYTES);
    struct reader r = {.doc = d, .e = e};
    if (!yaml_parser_initialize(&r.parser))
        abort();
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)(text.p ? text.p : ""), text.n);
    bool ok = read_document(&r);
    yaml_parser_delete(&r.parser);
    if (!ok)
        d->root = NULL;
    return ok;
}

struct yaml_node *yaml_get(const struct yaml_node *map, const char *key)
{
    if (!map || map->kind != YAML_MAP)
        return NULL;
    for (struct yaml_node *n = map->first; n; n = n->next)
        if (strcmp(n->key, key) == 0)
            return n;
    return NULL;
}

const char *yaml_kind_name(enum yaml_kind kind)
{
    static const char *const names[] = {"nothing", "a single value", "a list", "a map"};
    return names[kind];
}

void yaml_doc_fini(struct yaml_doc *d)
{
    for (struct arena_block *b = d->arena.head; b; b = b->next)
        explicit_bzero(b + 1, b->used);
    arena_fini(&d->arena);
    *d = (struct yaml_doc){0};
}
