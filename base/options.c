/* See options.h: the sources. A tree, the environment and flags are read by the same rows; every
 * problem is reported and reading goes on, so that one run shows all of them. */
#include "base/options.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_NAME = 96, MAX_SHOWN = 64, MAX_CANDIDATES = 128 };

void options_defaults(const struct option_table *t, void *base)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct option *o = &t->rows[i];
        struct err e;
        bool ok = true;
        if (o->def && o->type == OPT_LIST)
            ok = option_list_add(o, base, str_of(o->def));
        else if (o->def)
            ok = option_set(o, base, o->def, &e);
        if (!ok)
            abort();
    }
}

void options_fini(const struct option_table *t, void *base, unsigned flags)
{
    for (size_t i = 0; i < t->n; i++)
        if ((t->rows[i].flags & flags) == flags)
            option_clear(&t->rows[i], base);
}

const char *option_getenv(char *const *environ, const char *name)
{
    size_t n = strlen(name);
    for (; environ && *environ; environ++)
        if (strncmp(*environ, name, n) == 0 && (*environ)[n] == '=')
            return *environ + n + 1;
    return NULL;
}

/* Control characters would let a key or a value forge a second line. */
static void blunt(char *z)
{
    for (; *z; z++)
        if ((unsigned char)*z < ' ' || *z == 0x7f)
            *z = '?';
}

static void add_where(const struct option_reader *r, const struct yaml_node *node, const char *path,
                      struct buf *out)
{
    if (r->file)
        buf_adds(out, r->file);
    if (r->file && r->lines && node && node->line)
        buf_addf(out, ":%d", node->line);
    bool root = !r->path || !*r->path;
    if (r->file && (!root || (path && *path)))
        buf_addc(out, ' ');
    if (!root)
        buf_adds(out, r->path);
    if (!root && path && *path)
        buf_addc(out, '.');
    buf_adds(out, path ? path : "");
    buf_addc(out, '\0');
}

void option_report(const struct option_reader *r, bool warning, const struct yaml_node *node,
                   const char *path, const char *fmt, ...)
{
    char what[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    struct buf where = {0};
    add_where(r, node, path, &where);
    blunt(where.p);
    blunt(what);
    r->problem(r->arg, warning, where.p, what);
    buf_fini(&where);
}

/* Reports a scalar that option_set refused. shown NULL: the value is not for messages. */
static void report_value(const struct option_reader *r, const struct yaml_node *node,
                         const char *path, const char *shown, const struct err *e)
{
    if (shown && *shown) {
        option_report(r, false, node, path, "'%.*s%s' %s", MAX_SHOWN, shown,
                      strlen(shown) > MAX_SHOWN ? "…" : "", e->msg);
    } else {
        option_report(r, false, node, path, "%s", e->msg);
    }
}

static const struct option *find_row(const struct option_table *t, const char *name)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->rows[i].name && strcmp(t->rows[i].name, name) == 0)
            return &t->rows[i];
    return NULL;
}

/* Is there a row below "name."? */
static bool is_group(const struct option_table *t, const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < t->n; i++) {
        const char *row = t->rows[i].name;
        if (row && strncmp(row, name, n) == 0 && row[n] == '.')
            return true;
    }
    return false;
}

/* The row of which an alias is another spelling. */
static const struct option *main_row(const struct option_table *t, const struct option *alias)
{
    for (size_t i = 0; i < t->n; i++) {
        if (t->rows[i].offset == alias->offset && t->rows[i].type == alias->type &&
            !(t->rows[i].flags & OPT_ALIAS))
            return &t->rows[i];
    }
    return alias;
}

static const struct yaml_node *find_node(const struct yaml_node *map, const char *name)
{
    struct str rest = str_of(name), part;
    while (map && str_split(&rest, '.', &part)) {
        char key[MAX_NAME];
        (void)snprintf(key, sizeof key, "%.*s", STR_FMT(part));
        map = yaml_get(map, key);
    }
    return map;
}

static void read_list(const struct option_reader *r, const struct option *o,
                      const struct yaml_node *node, const char *path)
{
    if (node->kind == YAML_MAP) {
        option_report(r, false, node, path, "is a map, but must be a list: [a, b]");
        return;
    }
    option_clear(o, r->base);
    if (node->kind == YAML_TEXT && option_list_add(o, r->base, str_of(node->text)))
        return;
    for (const struct yaml_node *n = node->first; n; n = n->next) {
        if (n->kind != YAML_TEXT) {
            option_report(r, false, n, path, "holds %s, but each entry must be a text",
                          yaml_kind_name(n->kind));
        } else if (!option_list_add(o, r->base, str_of(n->text))) {
            option_report(r, false, n, path, "holds too many entries");
            return;
        }
    }
}

static void read_pairs(const struct option_reader *r, const struct option *o,
                       const struct yaml_node *node, const char *path)
{
    if (node->kind != YAML_MAP) {
        option_report(r, false, node, path, "is %s, but must be a map: {NAME: value}",
                      yaml_kind_name(node->kind));
        return;
    }
    option_clear(o, r->base);
    for (const struct yaml_node *n = node->first; n; n = n->next) {
        char name[MAX_NAME];
        (void)snprintf(name, sizeof name, "%s.%s", path, n->key);
        if (n->kind != YAML_TEXT) {
            option_report(r, r->lenient, n, name, "is %s, but must be a text%s",
                          yaml_kind_name(n->kind), r->lenient ? "; ignored" : "");
        } else if (!option_pairs_add(o, r->base, n->key, n->text)) {
            option_report(r, false, n, path, "holds too many entries");
            return;
        }
    }
}

static void note_origin(const struct option_reader *r, const struct option *o,
                        const struct yaml_node *node, const char *path)
{
    struct buf where = {0};
    if (!r->origins)
        return;
    add_where(r, node, path, &where);
    char **origin = &r->origins[o - r->table->rows];
    free(*origin);
    *origin = where.p;
}

static void read_row(const struct option_reader *r, const struct option *o,
                     const struct yaml_node *node)
{
    struct err e;
    if (o->type == OPT_SUBTREE || node->kind == YAML_NULL)
        return;
    note_origin(r, o, node, o->name);
    if (o->type == OPT_LIST)
        read_list(r, o, node, o->name);
    else if (o->type == OPT_PAIRS)
        read_pairs(r, o, node, o->name);
    else if (node->kind != YAML_TEXT) {
        option_report(r, false, node, o->name, "is %s, but must be a single value",
                      yaml_kind_name(node->kind));
    } else if (!option_set(o, r->base, node->text, &e)) {
        report_value(r, node, o->name, (o->flags & OPT_SECRET) ? NULL : node->shown, &e);
    }
}

/* Reports a key that no row knows, with the key of the same group (which ends with '.', or is
 * empty) that was meant. */
static void unknown_key(const struct option_reader *r, const struct yaml_node *node,
                        const char *group)
{
    static const char *const ignored[] = {"", "; ignored"};
    const char *names[MAX_CANDIDATES];
    char path[MAX_NAME];
    size_t n = 0, skip = strlen(group);
    for (size_t i = 0; i < r->table->n && n < MAX_CANDIDATES; i++) {
        const struct option *o = &r->table->rows[i];
        if (o->name && !(o->flags & OPT_ALIAS) && strncmp(o->name, group, skip) == 0)
            names[n++] = o->name + skip;
    }
    /* "timeouts.header" is a candidate for the typo "timeout" by its first part alone. */
    char parts[MAX_CANDIDATES][32];
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(parts[i], sizeof parts[i], "%.*s", (int)strcspn(names[i], "."), names[i]);
        names[i] = parts[i];
    }
    const char *meant = option_suggest(str_of(node->key), names, n);
    (void)snprintf(path, sizeof path, "%s%s", group, node->key);
    if (meant) {
        option_report(r, r->lenient, node, path, "is not a known key%s; did you mean '%s'?",
                      ignored[r->lenient], meant);
    } else {
        option_report(r, r->lenient, node, path, "is not a known key%s", ignored[r->lenient]);
    }
}

static void read_group(const struct option_reader *r, const struct yaml_node *root,
                       const struct yaml_node *map, const char *group)
{
    for (const struct yaml_node *node = map->first; node; node = node->next) {
        char name[MAX_NAME], below[MAX_NAME + 2];
        int len = snprintf(name, sizeof name, "%s%s", group, node->key);
        const struct option *o = NULL;
        bool dotted = len < 0 || len >= (int)sizeof name || strchr(node->key, '.');
        if (!dotted && (o = find_row(r->table, name)) != NULL) {
            const struct option *main = (o->flags & OPT_ALIAS) ? main_row(r->table, o) : o;
            if (main != o && find_node(root, main->name))
                option_report(r, false, node, name, "says the same as '%s': write only one of them",
                              main->name);
            read_row(r, o, node);
        } else if (dotted || !is_group(r->table, name)) {
            unknown_key(r, node, group);
        } else if (node->kind == YAML_MAP) {
            (void)snprintf(below, sizeof below, "%s.", name);
            read_group(r, root, node, below);
        } else if (node->kind != YAML_NULL) {
            option_report(r, false, node, name, "is %s, but must be a map",
                          yaml_kind_name(node->kind));
        }
    }
}

void options_read_tree(const struct option_reader *r, const struct yaml_node *map)
{
    if (map->kind == YAML_MAP)
        read_group(r, map, map, "");
    else if (map->kind != YAML_NULL)
        option_report(r, false, map, NULL, "is %s, but must be a map", yaml_kind_name(map->kind));
}

/* Sets a row from one text, as environment and flags have it. where is the variable or the flag. */
static void set_text(const struct option_reader *r, const struct option *o, const char *where,
                     const char *text)
{
    struct option_reader here = *r;
    here.file = NULL;
    here.path = where;
    struct err e;
    struct str rest = str_of(text), part;
    note_origin(&here, o, NULL, NULL);
    if (o->type != OPT_LIST) {
        if (!option_set(o, r->base, text, &e))
            report_value(&here, NULL, NULL, (o->flags & OPT_SECRET) ? NULL : text, &e);
        return;
    }
    while (str_split(&rest, ',', &part)) {
        part = str_trim(part);
        if (part.n && !option_list_add(o, r->base, part)) {
            option_report(&here, false, NULL, NULL, "holds too many entries");
            return;
        }
    }
}

void options_read_env(const struct option_reader *r, char *const *environ)
{
    for (size_t i = 0; i < r->table->n; i++) {
        const struct option *o = &r->table->rows[i];
        for (size_t k = 0; k < OPTION_MAX_ENVS && o->env[k]; k++) {
            const char *value = option_getenv(environ, o->env[k]);
            if (!value || !*value)
                continue;
            if (o->type == OPT_LIST)
                option_clear(o, r->base);
            set_text(r, o, o->env[k], value);
            break;
        }
    }
}

static bool is_flag(const struct option *o)
{
    return o->name && !(o->flags & OPT_ALIAS) && o->type != OPT_SUBTREE && o->type != OPT_PAIRS;
}

/* Compares names of options with case, '-', '_' and '.' aside. */
static bool same_name(struct str a, struct str b)
{
    size_t i = 0, k = 0;
    for (;;) {
        while (i < a.n && memchr("-_.", a.p[i], 3))
            i++;
        while (k < b.n && memchr("-_.", b.p[k], 3))
            k++;
        if (i == a.n || k == b.n)
            return i == a.n && k == b.n;
        if (tolower((unsigned char)a.p[i++]) != tolower((unsigned char)b.p[k++]))
            return false;
    }
}

static const struct option *find_flag(const struct option_table *t, struct str name)
{
    for (size_t i = 0; i < t->n; i++)
        if (is_flag(&t->rows[i]) && same_name(name, str_of(t->rows[i].name)))
            return &t->rows[i];
    return NULL;
}

static void unknown_flag(const struct option_reader *r, struct str name, const char *where)
{
    struct option_reader here = *r;
    here.file = NULL;
    here.path = where;
    const char *names[MAX_CANDIDATES];
    size_t n = 0;
    for (size_t i = 0; i < r->table->n && n < MAX_CANDIDATES; i++)
        if (is_flag(&r->table->rows[i]))
            names[n++] = r->table->rows[i].name;
    const char *meant = option_suggest(name, names, n);
    if (meant) {
        option_report(&here, false, NULL, NULL, "is not a known option; did you mean '--%s'?",
                      meant);
    } else {
        option_report(&here, false, NULL, NULL, "is not a known option; see --help");
    }
}

/* Reads the flag at *at and moves it past its value. lists: rows whose list was begun by an earlier
 * flag. */
static void read_flag(const struct option_reader *r, const char *const **at, bool *lists)
{
    const char *flag = *(*at)++;
    size_t n = strcspn(flag, "=");
    struct str name = {flag + 2, n > 2 ? n - 2 : 0};
    char where[MAX_NAME];
    (void)snprintf(where, sizeof where, "%.*s", (int)n, flag);
    const struct option *o = strncmp(flag, "--", 2) == 0 ? find_flag(r->table, name) : NULL;
    if (!o) {
        unknown_flag(r, name, where);
        return;
    }
    const char *value = flag[n] ? flag + n + 1 : NULL;
    if (!value && o->type == OPT_BOOL)
        value = "true";
    else if (!value && **at && strncmp(**at, "--", 2) != 0)
        value = *(*at)++;
    if (!value) {
        struct option_reader here = *r;
        here.file = NULL;
        here.path = where;
        option_report(&here, false, NULL, NULL, "needs a value: write %s=VALUE", where);
        return;
    }
    size_t row = (size_t)(o - r->table->rows);
    if (o->type == OPT_LIST && !lists[row])
        option_clear(o, r->base);
    lists[row] = true;
    set_text(r, o, where, value);
}

void options_read_flags(const struct option_reader *r, const char *const *flags)
{
    bool *lists = xcalloc(r->table->n, sizeof *lists);
    while (flags && *flags)
        read_flag(r, &flags, lists);
    free(lists);
}
