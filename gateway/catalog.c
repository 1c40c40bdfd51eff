/* See catalog.h. A list is built in two rounds: first every definition is read and gets its public
 * name (renamed ones before prefixed ones before plain ones, so that a prefix is its mount's own),
 * then the entries are rendered in mount order, then upstream order. Names depend on names alone:
 * neither on what is up nor on who answered first. */
#include "gateway/catalog.h"

#include <assert.h>
#include <stdlib.h>

enum { FINGERPRINT_BYTES = 16, MAX_INSTRUCTIONS = 32 * 1024 };

/* Who gets a name that several want: the lower rank. */
enum rank { RANK_RENAMED, RANK_PREFIXED, RANK_PLAIN, RANKS };

/* A definition on its way into a list. Names are places in names_text, which still moves. */
struct draft {
    struct str raw;
    int mount;
    enum rank rank;
    bool dropped;
    size_t name, name_len, public_name, public_len;
    struct header_param *params;
    size_t param_count;
    struct traits traits;
};

struct builder {
    struct catalog *c;
    const struct raw_list *lists;
    enum catalog_kind kind;
    struct json_doc doc;
    struct arena arena; /* of one definition */
    struct draft *drafts;
    size_t n;
    struct map taken; /* public name -> draft */
};

const char *mount_state_name(enum mount_state s)
{
    switch (s) {
    case MOUNT_CONNECTING: return "connecting";
    case MOUNT_UP: return "up";
    case MOUNT_STALE: return "stale";
    case MOUNT_DOWN: return "down";
    case MOUNT_NEEDS_AUTH: return "needs_auth";
    }
    return "unknown";
}

static struct str name_member(enum catalog_kind kind)
{
    switch (kind) {
    case KIND_TOOLS:
    case KIND_PROMPTS: return STR("name");
    case KIND_RESOURCES: return STR("uri");
    case KIND_TEMPLATES: return STR("uriTemplate");
    case KINDS: break;
    }
    return (struct str){0};
}

static bool is_named(enum catalog_kind kind)
{
    return kind == KIND_TOOLS || kind == KIND_PROMPTS;
}

static const struct mount_config *mount_of(const struct builder *b, const struct draft *d)
{
    return &b->c->config->mounts[d->mount];
}

static struct str stored(const struct builder *b, size_t at, size_t n)
{
    return (struct str){b->c->names_text.p + at, n};
}

/* ---- reading ---- */

static bool is_rename(const struct mount_config *m, struct str name)
{
    for (size_t i = 0; i < m->renames; i++)
        if (str_eq(str_of(m->rename[i].name), name))
            return true;
    return false;
}

static enum rank rank_of(const struct builder *b, const struct mount_config *m, struct str name)
{
    if (!is_named(b->kind))
        return RANK_PLAIN;
    if (b->kind == KIND_TOOLS && is_rename(m, name))
        return RANK_RENAMED;
    return m->prefix[0] ? RANK_PREFIXED : RANK_PLAIN;
}

static void hide(struct builder *b, const struct mount_config *m, struct str name)
{
    struct buf key = {0};
    buf_addf(&key, "%s/", m->name);
    buf_add_str(&key, name);
    (void)map_set(&b->c->hidden, buf_str(&key), b->c);
    buf_fini(&key);
}

/* Reads a tool's annotations. False: a client of a modern HTTP server must not use such a tool (MCP
 * 2026-07-28 basic/transports/streamable-http); elsewhere the annotations mean nothing. */
static bool read_params(struct builder *b, struct draft *d, struct str name)
{
    const struct mount_config *m = mount_of(b, d);
    struct catalog_entry params = {0};
    struct err why = {0};
    bool valid = catalog_read_params(&b->doc, 0, &params, &why);
    d->params = params.params;
    d->param_count = params.param_count;
    if (valid || m->transport != MOUNT_HTTP || b->c->mounts[d->mount].server.era != UP_MODERN)
        return true;
    log_warn("catalog.tool_hidden", L_STR("upstream", m->name), L_S("tool", name), L_ERR(&why));
    hide(b, m, name);
    return false;
}

/* Is the definition one that can be listed? Its name becomes *name. */
static bool read_name(struct builder *b, const struct mount_config *m, struct str raw,
                      struct str *name)
{
    struct err e;
    if (!json_parse(&b->doc, raw.p, raw.n, &e) || !json_is(&b->doc, 0, JSON_OBJECT))
        return false;
    uint32_t tok = json_get(&b->doc, 0, name_member(b->kind));
    if (!json_is(&b->doc, tok, JSON_STRING))
        return false;
    *name = json_str(&b->doc, tok, &b->arena);
    if (name->n == 0 || memchr(name->p, '\0', name->n))
        return false;
    if (json_has_duplicates(&b->doc, 0)) { /* readers would differ in what it says */
        log_warn("catalog.ambiguous_definition", L_STR("upstream", m->name), L_S("name", *name));
        return false;
    }
    return b->kind != KIND_TOOLS || catalog_tool_allowed(m, *name);
}

static void read_definition(struct builder *b, int mount, struct str raw, struct map *seen)
{
    const struct mount_config *m = &b->c->config->mounts[mount];
    struct draft *d = &b->drafts[b->n];
    struct str name;
    if (!read_name(b, m, raw, &name) || map_get(seen, name))
        return;
    *d = (struct draft){.raw = raw, .mount = mount, .rank = rank_of(b, m, name)};
    (void)map_set(seen, name, d);
    if (b->kind == KIND_TOOLS && !read_params(b, d, name))
        return;
    if (b->kind == KIND_TOOLS && mount_is_local(m))
        traits_read(&b->doc, 0, m->name, name, &d->traits);
    traits_add(&b->doc, 0, m, b->kind == KIND_TOOLS, name, &d->traits);
    d->name = b->c->names_text.n;
    d->name_len = name.n;
    buf_add_str(&b->c->names_text, name);
    b->n++;
}

static void read_definitions(struct builder *b)
{
    size_t mounts = b->c->mount_count, total = 0;
    for (size_t m = 0; m < mounts; m++)
        total += b->lists[m * KINDS + b->kind].n;
    b->drafts = xcalloc(total + 1, sizeof *b->drafts);
    for (size_t m = 0; m < mounts; m++) {
        const struct raw_list *l = &b->lists[m * KINDS + b->kind];
        struct map seen = {0};
        for (uint32_t i = 0; i < l->n; i++) {
            struct str raw = {l->text.p + l->off[i], l->off[i + 1] - l->off[i]};
            read_definition(b, (int)m, raw, &seen);
            arena_fini(&b->arena);
        }
        map_fini(&seen);
    }
}

/* ---- names ---- */

/* Appends the draft's public name, second: the one it gets when the first is taken. */
static void store_public(struct builder *b, struct draft *d, bool second)
{
    struct str name = stored(b, d->name, d->name_len);
    const struct mount_config *m = mount_of(b, d);
    struct buf out = {0};
    if (is_named(b->kind))
        catalog_public_name(b->c->config, m, b->kind, name, second, &out);
    else
        catalog_public_uri(m, name, m->prefix_uris || second, &out);
    d->public_name = b->c->names_text.n;
    d->public_len = out.n;
    buf_add_str(&b->c->names_text, buf_str(&out));
    buf_fini(&out);
}

static void drop(struct builder *b, struct draft *d)
{
    d->dropped = true;
    log_error("catalog.duplicate_dropped", L_STR("upstream", mount_of(b, d)->name),
              L_S("name", stored(b, d->public_name, d->public_len)));
}

static bool take_name(struct builder *b, struct draft *d)
{
    struct str name = stored(b, d->public_name, d->public_len);
    if (map_get(&b->taken, name))
        return false;
    (void)map_set(&b->taken, name, d);
    return true;
}

static void take_second_name(struct builder *b, struct draft *d, const struct draft *owner)
{
    struct str first = stored(b, d->public_name, d->public_len);
    if (is_named(b->kind))
        log_warn("catalog.duplicate_renamed", L_STR("upstream", mount_of(b, d)->name),
                 L_STR("owner", mount_of(b, owner)->name), L_S("name", first));
    store_public(b, d, true);
    if (!take_name(b, d))
        drop(b, d);
}

/* Names that carry no prefix meet by chance, so the operator says what is to happen then. */
static void settle_plain(struct builder *b, struct draft *d, struct draft *owner)
{
    switch (b->c->config->on_duplicate) {
    case DUPLICATE_WARN: take_second_name(b, d, owner); break;
    case DUPLICATE_ERROR: drop(b, d); break;
    case DUPLICATE_IGNORE: d->dropped = true; break;
    case DUPLICATE_REPLACE:
        if (owner->rank != RANK_PLAIN) { /* a prefix is its mount's own */
            take_second_name(b, d, owner);
            break;
        }
        owner->dropped = true;
        (void)map_set(&b->taken, stored(b, d->public_name, d->public_len), d);
        break;
    }
}

static void name_draft(struct builder *b, struct draft *d)
{
    store_public(b, d, false);
    struct draft *owner = map_get(&b->taken, stored(b, d->public_name, d->public_len));
    if (!owner)
        (void)take_name(b, d);
    else if (is_named(b->kind) && d->rank == RANK_PLAIN)
        settle_plain(b, d, owner);
    else
        take_second_name(b, d, owner);
}

static void name_drafts(struct builder *b)
{
    for (int rank = 0; rank < RANKS; rank++) {
        for (size_t i = 0; i < b->n; i++)
            if ((int)b->drafts[i].rank == rank)
                name_draft(b, &b->drafts[i]);
    }
}

/* ---- rendering ---- */

static void remove_member(struct json_edits *es, const struct json_doc *d, struct str name)
{
    uint32_t value = json_get(d, 0, name);
    if (value != JSON_NONE)
        json_edit_remove(es, d, 0, value - 1);
}

/* Legacy clients know structured results that are objects only. */
static bool has_modern_schema(const struct json_doc *d)
{
    uint32_t schema = json_get(d, 0, STR("outputSchema"));
    return schema != JSON_NONE && !json_str_eq(d, json_get(d, schema, STR("type")), STR("object"));
}

/* Appends the definition under its public name. */
static void render(struct builder *b, const struct draft *d, bool legacy, struct buf *out)
{
    struct json_edits es = {0};
    struct buf name = {0};
    uint32_t tok = json_get(&b->doc, 0, name_member(b->kind));
    struct str public_name = stored(b, d->public_name, d->public_len);
    if (!str_eq(public_name, stored(b, d->name, d->name_len))) {
        json_write_str(&name, public_name);
        json_edit_replace(&es, &b->doc, tok, buf_str(&name));
    }
    if (b->kind == KIND_TOOLS)
        remove_member(&es, &b->doc, STR("execution"));
    if (legacy)
        remove_member(&es, &b->doc, STR("outputSchema"));
    if (b->kind == KIND_TOOLS && mount_is_local(mount_of(b, d)))
        traits_edit(&es, &b->doc, 0);
    const struct json_tok *root = &b->doc.tok[0];
    json_edit_apply(&es, &b->doc, root->off, root->len, out);
    json_edits_fini(&es);
    buf_fini(&name);
}

/* Notes that entry i begins here, after a comma if it is not the first. */
static void begin_entry(struct catalog_list *l, int variant, uint32_t i)
{
    if (i > 0)
        buf_addc(&l->text[variant], ',');
    l->off[variant][i] = (uint32_t)l->text[variant].n;
}

/* From the first entry that differs on, the legacy text is kept apart. */
static void begin_legacy(struct catalog_list *l, size_t cap)
{
    l->off[1] = xcalloc(cap + 1, sizeof *l->off[1]);
    for (uint32_t i = 0; i < l->n; i++)
        l->off[1][i] = l->off[0][i];
    buf_add_str(&l->text[1], buf_str(&l->text[0]));
}

static void add_entry(struct builder *b, struct catalog_list *l, struct draft *d)
{
    struct catalog_entry *e = &l->entries[l->n];
    struct err err;
    uint8_t digest[32];
    bool parsed = json_parse(&b->doc, d->raw.p, d->raw.n, &err);
    assert(parsed); /* it was read before */
    (void)parsed;
    bool differs = b->kind == KIND_TOOLS && has_modern_schema(&b->doc);
    if (differs && !l->off[1])
        begin_legacy(l, b->n);
    begin_entry(l, 0, l->n);
    render(b, d, false, &l->text[0]);
    if (l->off[1]) {
        begin_entry(l, 1, l->n);
        render(b, d, differs, &l->text[1]);
    }
    crypto_sha256(&d->raw, 1, digest);
    memcpy(e->fingerprint, digest, FINGERPRINT_BYTES);
    e->mount = d->mount;
    e->index = l->n++;
    e->name.n = d->name_len;
    e->public_name.n = d->public_len;
    e->params = d->params;
    e->param_count = d->param_count;
    e->traits = d->traits;
    b->c->scoped |= e->traits.scopes != NULL;
    (void)map_set(&l->by_public, stored(b, d->public_name, d->public_len), e);
    b->c->mounts[d->mount].count[b->kind]++;
}

static void entry_fini(struct catalog_entry *e)
{
    catalog_params_fini(e);
    traits_fini(&e->traits);
    limit_plan_fini(&e->limits);
}

static void drop_draft(const struct draft *d)
{
    struct catalog_entry e = {
        .params = d->params, .param_count = d->param_count, .traits = d->traits};
    entry_fini(&e);
}

/* Fills the list; names stay places in names_text for now: *places holds them, two an entry. */
static void add_entries(struct builder *b, size_t **places)
{
    struct catalog_list *l = &b->c->list[b->kind];
    l->entries = xcalloc(b->n + 1, sizeof *l->entries);
    l->off[0] = xcalloc(b->n + 1, sizeof *l->off[0]);
    *places = xcalloc(2 * b->n + 1, sizeof **places);
    for (size_t i = 0; i < b->n; i++) {
        struct draft *d = &b->drafts[i];
        if (d->dropped) {
            drop_draft(d);
            continue;
        }
        (*places)[2 * l->n] = d->name;
        (*places)[2 * l->n + 1] = d->public_name;
        add_entry(b, l, d);
    }
    for (int v = 0; v < 2; v++)
        if (l->off[v]) /* as if a comma followed the last one, too */
            l->off[v][l->n] = (uint32_t)(l->text[v].n + (l->n > 0));
}

static void build_list(struct catalog *c, const struct raw_list *lists, enum catalog_kind kind,
                       size_t **places)
{
    struct builder b = {.c = c, .lists = lists, .kind = kind};
    read_definitions(&b);
    name_drafts(&b);
    add_entries(&b, places);
    json_fini(&b.doc);
    arena_fini(&b.arena);
    map_fini(&b.taken);
    free(b.drafts);
}

static void place_names(struct catalog *c, enum catalog_kind kind, const size_t *places)
{
    struct catalog_list *l = &c->list[kind];
    for (uint32_t i = 0; i < l->n; i++) {
        l->entries[i].name.p = c->names_text.p + places[2 * i];
        l->entries[i].public_name.p = c->names_text.p + places[2 * i + 1];
    }
}

/* ---- the merged view ---- */

static bool is_shown(const struct mount_info *m)
{
    return m->state == MOUNT_UP || m->state == MOUNT_STALE;
}

static void merge_capabilities(struct catalog *c, int mount, struct json_doc *d,
                               int *with_resources)
{
    const struct mount_info *m = &c->mounts[mount];
    struct err e;
    struct str text = str_of(m->server.capabilities);
    if (text.n == 0 || !json_parse(d, text.p, text.n, &e))
        return;
    uint32_t resources = json_get(d, 0, STR("resources"));
    if (json_is(d, resources, JSON_OBJECT)) {
        ++*with_resources;
        c->resources_mount = mount;
    }
    if (!is_shown(m))
        return;
    c->has[KIND_TOOLS] |= json_is(d, json_get(d, 0, STR("tools")), JSON_OBJECT);
    c->has[KIND_PROMPTS] |= json_is(d, json_get(d, 0, STR("prompts")), JSON_OBJECT);
    c->has[KIND_RESOURCES] |= json_is(d, resources, JSON_OBJECT);
    c->subscribe |= json_is(d, json_get(d, resources, STR("subscribe")), JSON_TRUE);
    c->completions |= json_is(d, json_get(d, 0, STR("completions")), JSON_OBJECT);
    c->logging |= json_is(d, json_get(d, 0, STR("logging")), JSON_OBJECT);
}

/* The text of one server's instructions under its name. */
static void add_instructions(const struct catalog *c, size_t mount, struct json_doc *d,
                             struct buf *out)
{
    const struct mount_config *cfg = &c->config->mounts[mount];
    const struct mount_info *m = &c->mounts[mount];
    struct arena a = {0};
    struct err e;
    struct str raw = str_of(m->server.instructions);
    if (!is_shown(m) || raw.n == 0 || !json_parse(d, raw.p, raw.n, &e))
        return;
    struct str text = json_str(d, 0, &a);
    if (text.n > 0) {
        buf_addf(out, "# %s\n", cfg->name);
        if (cfg->prefix[0])
            buf_addf(out, "(its tools are named %s%s\xe2\x80\xa6)\n", cfg->prefix,
                     c->config->separator);
        buf_add_str(out, text);
        buf_adds(out, "\n\n");
    }
    arena_fini(&a);
}

static size_t cut_at(struct str text, size_t n)
{
    while (n > 0 && n < text.n && ((unsigned char)text.p[n] & 0xc0) == 0x80)
        n--;
    return n;
}

/* Writes the text as a JSON string of at most MAX_INSTRUCTIONS bytes, cut between characters. */
static void write_bounded(struct str text, struct buf *out)
{
    if (text.n > MAX_INSTRUCTIONS)
        text.n = cut_at(text, MAX_INSTRUCTIONS);
    while (text.n > 0) {
        json_write_str(out, text);
        if (out->n <= MAX_INSTRUCTIONS)
            return;
        size_t less = (out->n - MAX_INSTRUCTIONS) / 6 + 1; /* a byte becomes six at most */
        text.n = less < text.n ? cut_at(text, text.n - less) : 0;
        out->n = 0;
    }
}

void catalog_instructions(const struct catalog *c, const bool *shown, struct buf *out)
{
    struct json_doc d = {0};
    struct buf text = {0};
    for (size_t m = 0; m < c->mount_count; m++)
        if (!shown || shown[m])
            add_instructions(c, m, &d, &text);
    write_bounded(buf_str(&text), out);
    buf_fini(&text);
    json_fini(&d);
}

static void merge(struct catalog *c)
{
    struct json_doc d = {0};
    int with_resources = 0;
    for (size_t m = 0; m < c->mount_count; m++)
        merge_capabilities(c, (int)m, &d, &with_resources);
    if (with_resources != 1)
        c->resources_mount = -1;
    c->has[KIND_TEMPLATES] = c->has[KIND_RESOURCES];
    json_fini(&d);
    catalog_instructions(c, NULL, &c->instructions);
}

static void copy_mounts(struct catalog *c, const struct mount_info *infos)
{
    c->mounts = xcalloc(c->mount_count + 1, sizeof *c->mounts);
    for (size_t m = 0; m < c->mount_count; m++) {
        struct mount_info *to = &c->mounts[m];
        to->state = infos[m].state;
        to->since_ms = infos[m].since_ms;
        to->error = infos[m].error ? xstrdup(infos[m].error) : NULL;
        server_info_copy(&to->server, &infos[m].server);
    }
}

struct catalog *catalog_build(struct config *config, const struct raw_list *lists,
                              const struct mount_info *infos)
{
    struct catalog *c = xcalloc(1, sizeof *c);
    size_t *places[KINDS];
    atomic_init(&c->refs, 1);
    c->config = config_ref(config);
    c->mount_count = config->mount_count;
    copy_mounts(c, infos);
    for (int k = 0; k < KINDS; k++)
        build_list(c, lists, (enum catalog_kind)k, &places[k]);
    for (int k = 0; k < KINDS; k++) {
        place_names(c, (enum catalog_kind)k, places[k]);
        free(places[k]);
    }
    catalog_gates(c);
    merge(c);
    return c;
}

struct catalog *catalog_ref(struct catalog *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

static void list_fini(struct catalog_list *l)
{
    for (uint32_t i = 0; i < l->n; i++)
        entry_fini(&l->entries[i]);
    free(l->entries);
    map_fini(&l->by_public);
    for (int v = 0; v < 2; v++) {
        buf_fini(&l->text[v]);
        free(l->off[v]);
    }
}

void catalog_unref(struct catalog **c)
{
    struct catalog *old = *c;
    *c = NULL;
    if (!old || atomic_fetch_sub_explicit(&old->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (int k = 0; k < KINDS; k++)
        list_fini(&old->list[k]);
    for (size_t m = 0; m < old->mount_count; m++) {
        server_info_fini(&old->mounts[m].server);
        free(old->mounts[m].error);
    }
    free(old->mounts);
    buf_fini(&old->instructions);
    buf_fini(&old->names_text);
    map_fini(&old->hidden);
    config_unref(&old->config);
    free(old);
}

bool catalog_same(const struct catalog *a, const struct catalog *b, enum catalog_kind kind)
{
    const struct catalog_list *x = &a->list[kind], *y = &b->list[kind];
    return str_eq(buf_str(&x->text[0]), buf_str(&y->text[0])) &&
           str_eq(buf_str(&x->text[1]), buf_str(&y->text[1]));
}

struct str catalog_page(const struct catalog *c, enum catalog_kind kind, bool legacy, uint32_t at,
                        uint32_t n)
{
    const struct catalog_list *l = &c->list[kind];
    int variant = legacy && l->off[1] ? 1 : 0;
    if (at >= l->n || n == 0)
        return (struct str){0};
    if (n > l->n - at)
        n = l->n - at;
    const uint32_t *off = l->off[variant];
    return (struct str){l->text[variant].p + off[at], off[at + n] - 1 - off[at]};
}
