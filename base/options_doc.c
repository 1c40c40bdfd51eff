/* See options.h: what people read. Help, markdown and the redacted dump of a table. */
#include "base/json.h"
#include "base/options.h"

#include <ctype.h>
#include <stdlib.h>

enum { HELP_COLUMN = 34 };

/* "maxBodyBytes" as "max-body-bytes", "log.level" as "log-level". */
static void add_flag_name(const char *name, struct buf *out)
{
    for (; *name; name++) {
        if (isupper((unsigned char)*name))
            buf_addc(out, '-');
        buf_addc(out, *name == '.' ? '-' : (char)tolower((unsigned char)*name));
    }
}

static const char *type_name(const struct option *o)
{
    static const char *const names[] = {
        [OPT_STRING] = "text",   [OPT_CHARS] = "text",         [OPT_LIST] = "list",
        [OPT_PAIRS] = "map",     [OPT_BOOL] = "true or false", [OPT_INT] = "number",
        [OPT_MSEC] = "duration", [OPT_BYTES] = "size",         [OPT_CHOICE] = "word",
        [OPT_SUBTREE] = "map",
    };
    return names[o->type];
}

static void add_type(const struct option *o, const char *separator, struct buf *out)
{
    if (o->type != OPT_CHOICE) {
        buf_adds(out, type_name(o));
        return;
    }
    int last = -1;
    for (const struct option_choice *c = o->choices; c->name && *c->name; c++) {
        if (c->value != last)
            buf_addf(out, "%s%s", c == o->choices ? "" : separator, c->name);
        last = c->value;
    }
}

static const char *default_text(const struct option *o)
{
    return o->def && *o->def ? o->def : o->def_text;
}

static void add_envs(const struct option *o, const char *separator, struct buf *out)
{
    for (size_t i = 0; i < OPTION_MAX_ENVS && o->env[i]; i++)
        buf_addf(out, "%s%s", i ? separator : "", o->env[i]);
}

static bool is_documented(const struct option *o)
{
    return o->help && !(o->flags & OPT_ALIAS);
}

static void help_row(const struct option *o, struct buf *out)
{
    size_t start = out->n;
    buf_adds(out, "  ");
    if (o->name) {
        buf_adds(out, "--");
        add_flag_name(o->name, out);
        buf_adds(out, o->type == OPT_BOOL ? "[=BOOL]" : "=VALUE");
    } else {
        add_envs(o, ", ", out);
    }
    if (out->n - start >= HELP_COLUMN)
        buf_addc(out, '\n');
    size_t used = out->n - start >= HELP_COLUMN ? 0 : out->n - start;
    buf_addf(out, "%*s%s", (int)(HELP_COLUMN - used), "", o->help);
    const char *def = default_text(o);
    if (o->type == OPT_CHOICE) {
        buf_adds(out, " One of ");
        add_type(o, ", ", out);
        buf_addc(out, '.');
    }
    if (def)
        buf_addf(out, " Default: %s.", def);
    if (o->name && o->env[0]) {
        buf_adds(out, " Variable: ");
        add_envs(o, ", ", out);
        buf_addc(out, '.');
    }
    buf_addc(out, '\n');
}

void options_help(const struct option_table *t, struct buf *out)
{
    for (size_t i = 0; i < t->n; i++) {
        if (is_documented(&t->rows[i]) && t->rows[i].type != OPT_SUBTREE &&
            t->rows[i].type != OPT_PAIRS)
            help_row(&t->rows[i], out);
    }
}

static void add_cell(const char *text, struct buf *out)
{
    for (; *text; text++) {
        if (*text == '|')
            buf_addc(out, '\\');
        buf_addc(out, *text);
    }
}

static void markdown_row(const struct option *o, const char *prefix, struct buf *out)
{
    const char *def = default_text(o);
    if (o->name)
        buf_addf(out, "| `%s%s` | ", prefix, o->name);
    else
        buf_adds(out, "| | ");
    add_type(o, ", ", out);
    if (def && o->def)
        buf_addf(out, " | `%s` | ", def);
    else
        buf_addf(out, " | %s | ", def ? def : "");
    if (o->env[0]) {
        buf_addc(out, '`');
        add_envs(o, "`, `", out);
        buf_addc(out, '`');
    }
    buf_adds(out, " | ");
    add_cell(o->help, out);
    buf_adds(out, " |\n");
}

void options_markdown(const struct option_table *t, const char *prefix, struct buf *out)
{
    buf_adds(out, "| key | type | default | environment | meaning |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < t->n; i++)
        if (is_documented(&t->rows[i]))
            markdown_row(&t->rows[i], prefix, out);
}

static void dump_scalar(const struct option *o, const void *base, struct buf *out)
{
    struct buf text = {0};
    option_format(o, base, &text);
    if (o->type == OPT_BOOL || o->type == OPT_INT)
        buf_add_str(out, buf_str(&text));
    else if ((o->flags & OPT_SECRET) && text.n)
        buf_adds(out, "\"[redacted]\"");
    else
        json_write_str(out, buf_str(&text));
    buf_fini(&text);
}

static void dump_value(const struct option *o, const void *base, struct buf *out)
{
    const char *field = (const char *)base + o->offset;
    bool secret = o->flags & OPT_SECRET;
    if (o->type == OPT_LIST) {
        char **list;
        memcpy(&list, field, sizeof list);
        buf_addc(out, '[');
        for (size_t i = 0; list && list[i]; i++) {
            buf_adds(out, i ? "," : "");
            json_write_str(out, str_of(secret ? "[redacted]" : list[i]));
        }
        buf_addc(out, ']');
    } else if (o->type == OPT_PAIRS) {
        struct name_value *pairs;
        size_t n;
        memcpy(&pairs, field, sizeof pairs);
        memcpy(&n, (const char *)base + o->count_offset, sizeof n);
        buf_addc(out, '{');
        for (size_t i = 0; i < n; i++) {
            buf_adds(out, i ? "," : "");
            json_write_str(out, str_of(pairs[i].name));
            buf_addc(out, ':');
            json_write_str(out, str_of(secret ? "[redacted]" : pairs[i].value));
        }
        buf_addc(out, '}');
    } else {
        dump_scalar(o, base, out);
    }
}

/* A NULL string, an empty list or map says nothing: the dump leaves it out. */
static bool is_unset(const struct option *o, const void *base)
{
    const void *p = NULL;
    if (o->type == OPT_STRING || o->type == OPT_LIST || o->type == OPT_PAIRS)
        memcpy(&p, (const char *)base + o->offset, sizeof p);
    else
        return false;
    return !p;
}

void options_dump(const struct option_table *t, const void *base, struct buf *out)
{
    struct str group = {0};
    const char *comma = "";
    for (size_t i = 0; i < t->n; i++) {
        const struct option *o = &t->rows[i];
        if (!o->name || o->type == OPT_SUBTREE || (o->flags & (OPT_INPUT | OPT_ALIAS)) ||
            is_unset(o, base))
            continue;
        const char *dot = strchr(o->name, '.');
        struct str mine = {o->name, dot ? (size_t)(dot - o->name) : 0};
        if (group.n && !str_eq(group, mine)) {
            buf_addc(out, '}');
            comma = ",";
        }
        buf_adds(out, comma);
        if (mine.n && !str_eq(group, mine)) {
            json_write_str(out, mine);
            buf_adds(out, ":{");
        }
        group = mine;
        json_write_str(out, str_of(dot ? dot + 1 : o->name));
        buf_addc(out, ':');
        dump_value(o, base, out);
        comma = ",";
    }
    if (group.n)
        buf_addc(out, '}');
}
