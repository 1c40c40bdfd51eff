/* See config_parts.h: the upstreams. From the file they come as `upstreams`, or as a desktop client
 * or an editor writes them (`mcpServers`, `servers`); from the environment as MCP_MOUNT_SERVERS;
 * each as a map by name or as a list. */
#include "gateway/config_parts.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_MOUNTS = 500, MAX_PATH = 160 };

/* Where a mount was written, to name it when a later one clashes. */
struct origin {
    char *path;
    const char *file; /* borrowed */
    int line;         /* 0: it has no lines */
};

struct mounts {
    struct config_draft *d;
    struct yaml_doc *doc;
    struct option_reader
        reader;             /* of the source in hand; base and path change from mount to mount */
    struct origin *origins; /* one a mount */
};

static void draft_init(struct mount_draft *m)
{
    *m = (struct mount_draft){
        .transport = -1,
        .uris = CONFIG_URIS_UNSET,
        .auth = MOUNT_AUTH_UNSET,
    };
    options_defaults(&mount_table, m);
}

static bool says(const struct yaml_node *map, const char *key, bool wanted)
{
    const struct yaml_node *n = yaml_get(map, key);
    bool value;
    return n && option_parse_bool(str_of(n->text), &value) && value == wanted;
}

static void append(struct mounts *ms, struct mount_draft *m, const struct yaml_node *node,
                   const char *path)
{
    struct config *c = &ms->d->c;
    c->mounts = xrealloc(c->mounts, (c->mount_count + 1) * sizeof *c->mounts);
    ms->origins[c->mount_count] =
        (struct origin){xstrdup(path), ms->reader.file, ms->reader.lines ? node->line : 0};
    c->mounts[c->mount_count++] = m->m;
}

/* Other programs write "timeout": 60, some in seconds and some in milliseconds. */
static void pass_over_timeout(const struct option_reader *r, const struct yaml_node *node)
{
    struct yaml_node *n = yaml_get(node, "timeout");
    uint64_t number;
    if (!n || !str_to_u64(str_of(n->text), &number))
        return;
    option_report(r, true, n, "timeout", "has no unit, ignored; write it as 60s or 500ms");
    n->kind = YAML_NULL;
}

/* Reads one upstream. key: its name in a map, NULL in a list. One that is switched off is not
 * looked at. */
static void read_mount(struct mounts *ms, struct yaml_node *node, const char *key, const char *path)
{
    struct option_reader r = ms->reader;
    struct mount_draft m;
    r.path = path;
    if (node->kind != YAML_MAP) {
        option_report(&r, false, node, NULL,
                      "is %s, but must be a map: {url: https://…} or {command: …}",
                      yaml_kind_name(node->kind));
        return;
    }
    if (says(node, "disabled", true) || says(node, "enabled", false))
        return;
    config_expand(&r, ms->d->environ, ms->doc, node, "");
    if (r.lenient)
        pass_over_timeout(&r, node);
    draft_init(&m);
    r.base = &m;
    options_read_tree(&r, node);
    if (key && m.label)
        option_report(&r, true, node, "name", "ignored: in a map the key is the name");
    if (key) {
        free(m.label);
        m.label = xstrdup(key);
    }
    config_check_mount(&r, ms->d, node);
    options_fini(&mount_table, &m, OPT_INPUT);
    append(ms, &m, node, path);
}

/* Reads a map or a list of upstreams. path may be "": that of MCP_MOUNT_SERVERS. */
static void read_section(struct mounts *ms, const struct yaml_node *section, const char *path)
{
    char below[MAX_PATH];
    size_t i = 0;
    if (section->kind == YAML_NULL)
        return;
    if (section->kind == YAML_TEXT) {
        option_report(&ms->reader, false, section, path,
                      "is a single value, but must be a map of upstreams by name");
        return;
    }
    for (struct yaml_node *n = section->first; n; n = n->next, i++) {
        if (ms->d->c.mount_count == MAX_MOUNTS) {
            option_report(&ms->reader, false, n, path, "holds too many upstreams: at most %d",
                          (int)MAX_MOUNTS);
            return;
        }
        if (n->key)
            (void)snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "", n->key);
        else
            (void)snprintf(below, sizeof below, "%s[%zu]", path, i);
        read_mount(ms, n, n->key, below);
    }
}

static const char *const sections[] = {"upstreams", "mcpServers", "servers"};
enum { SECTIONS = sizeof sections / sizeof *sections };

static void read_file_sections(struct mounts *ms, const struct yaml_node *root)
{
    ms->reader.file = ms->d->c.source;
    ms->reader.lines = true;
    for (size_t i = 0; i < SECTIONS; i++) {
        const struct yaml_node *n = yaml_get(root, sections[i]);
        ms->reader.lenient = i > 0;
        if (n)
            read_section(ms, n, sections[i]);
    }
}

/* MCP_MOUNT_SERVERS: the section itself, or a document that holds one. Its keys that we do not know
 * are passed over. */
static void read_variable(struct mounts *ms)
{
    struct yaml_doc doc;
    struct err e;
    ms->doc = &doc;
    ms->reader.file = "MCP_MOUNT_SERVERS";
    ms->reader.lines = false;
    ms->reader.lenient = true;
    if (yaml_parse(&doc, str_of(ms->d->mount_servers), &e)) {
        const struct yaml_node *root = doc.root;
        for (size_t i = 0; i < SECTIONS; i++) {
            const struct yaml_node *inner = yaml_get(doc.root, sections[i]);
            if (inner && doc.root->count == 1)
                root = inner;
        }
        read_section(ms, root, "");
    } else {
        option_report(&ms->reader, false, NULL, NULL, "%s", e.msg);
    }
    yaml_doc_fini(&doc);
    ms->doc = NULL;
}

static void report_clash(struct mounts *ms, size_t later, size_t first, const char *what,
                         const char *value)
{
    const struct origin *a = &ms->origins[first], *b = &ms->origins[later];
    struct option_reader r = ms->reader;
    struct yaml_node at = {.line = b->line};
    r.file = b->file;
    r.lines = b->line > 0;
    if (a->line) {
        option_report(&r, false, &at, b->path, "has the %s '%.64s', as %.128s (line %d) has", what,
                      value, a->path, a->line);
    } else {
        option_report(&r, false, &at, b->path, "has the %s '%.64s', as %.128s has", what, value,
                      a->path);
    }
}

static void check_pairwise(struct mounts *ms)
{
    const struct config *c = &ms->d->c;
    for (size_t i = 0; i < c->mount_count; i++) {
        for (size_t k = 0; k < i; k++) {
            const struct mount_config *a = &c->mounts[k], *b = &c->mounts[i];
            if (strcmp(a->name, b->name) == 0)
                report_clash(ms, i, k, "name", b->name);
            else if (*b->prefix && strcmp(a->prefix, b->prefix) == 0)
                report_clash(ms, i, k, "namespace", b->prefix);
        }
    }
}

/* Public names that renamings ask for are used as they are, so no two may be the same. */
static void check_renames(struct mounts *ms)
{
    struct map seen = {0};
    const struct config *c = &ms->d->c;
    for (size_t i = 0; i < c->mount_count; i++) {
        for (size_t k = 0; k < c->mounts[i].renames; k++) {
            const char *to = c->mounts[i].rename[k].value;
            struct origin *first = map_set(&seen, str_of(to), &ms->origins[i]);
            if (first)
                report_clash(ms, i, (size_t)(first - ms->origins), "renamed tool", to);
        }
    }
    map_fini(&seen);
}

static bool has_mounts(const struct yaml_node *root)
{
    for (size_t i = 0; i < SECTIONS; i++) {
        const struct yaml_node *n = yaml_get(root, sections[i]);
        if (n && n->kind != YAML_NULL && (n->kind == YAML_TEXT || n->count))
            return true;
    }
    return false;
}

/* Says what is configured but not used in this mode; false when the mode leaves nothing to read. */
static bool check_mode(struct config_draft *d, bool in_file)
{
    d->c.gateway_mode = d->mode == CONFIG_MODE_GATEWAY || (d->mode == CONFIG_MODE_UNSET && in_file);
    if (d->mode == CONFIG_MODE_SERVER && in_file) {
        config_report(d, true, "mode",
                      "is server, so the upstreams of the file are not used; write gateway, or "
                      "leave MCP_MODE out");
    }
    if (d->mode != CONFIG_MODE_GATEWAY && d->mount_servers)
        config_report(d, true, "MCP_MOUNT_SERVERS",
                      "is not used without MCP_MODE=gateway, ignored");
    if (d->mode == CONFIG_MODE_GATEWAY && !in_file && !d->mount_servers)
        config_report(d, true, "mode", "is gateway, but there are no upstreams");
    return d->c.gateway_mode;
}

/* First, so that its URIs stay as they are. */
static void add_local(struct mounts *ms)
{
    struct yaml_node nowhere = {.kind = YAML_NULL};
    struct mount_draft m;
    draft_init(&m);
    config_local_mount(&ms->d->c, &m.m);
    options_fini(&mount_table, &m, OPT_INPUT);
    append(ms, &m, &nowhere, "local");
}

void config_read_mounts(struct config_draft *d, struct yaml_doc *doc)
{
    struct mounts ms = {.d = d, .doc = doc, .reader = config_plain_reader(d)};
    ms.reader.table = &mount_table;
    ms.reader.origins = NULL;
    bool gateway = check_mode(d, has_mounts(doc->root));
    ms.origins = xcalloc(MAX_MOUNTS + 1, sizeof *ms.origins);
    if (d->c.local.enabled)
        add_local(&ms);
    if (gateway)
        read_file_sections(&ms, doc->root);
    if (gateway && d->mount_servers && d->mode == CONFIG_MODE_GATEWAY)
        read_variable(&ms);
    check_pairwise(&ms);
    check_renames(&ms);
    for (size_t i = 0; i < d->c.mount_count; i++)
        free(ms.origins[i].path);
    free(ms.origins);
}
