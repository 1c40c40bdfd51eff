/* See config_parts.h: variables in the texts of upstreams. One pass; what a variable holds is not
 * expanded again. */
#include "gateway/config_parts.h"

#include <ctype.h>
#include <stdio.h>

enum { MAX_EXPANDED = 64 * 1024, MAX_PATH = 160 };

struct expander {
    const struct option_reader *r;
    char *const *environ;
    struct yaml_doc *doc;
};

static bool is_variable(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && s.p[i] != '_')
            return false;
    return s.n > 0 && s.n < 128 && !isdigit((unsigned char)s.p[0]);
}

const char *config_shown_variable(const char *name)
{
    size_t n = strlen(name), lower = 0;
    for (size_t i = 0; i < n; i++)
        lower += name[i] >= 'a' && name[i] <= 'z';
    bool plausible = is_variable(str_of(name)) && lower == 0;
    return plausible ? name : "[…]";
}

/* Appends what stands for the inside of one ${…}. */
static bool expand_one(const struct expander *x, struct str inside, struct buf *out, struct err *e)
{
    struct str name = inside, fallback = {0};
    if (str_starts(inside, STR("input:"))) {
        return err_set(e, ERR_CONFIG,
                       "${%.*s} asks a person, and nobody is there to answer: set an environment "
                       "variable and write ${env:NAME}",
                       (int)(inside.n > 64 ? 64 : inside.n), inside.p);
    }
    if (str_starts(name, STR("env:")))
        name = (struct str){name.p + 4, name.n - 4};
    ptrdiff_t at = str_find(name, STR(":-"));
    if (at >= 0) {
        fallback = (struct str){name.p + at + 2, name.n - (size_t)at - 2};
        name.n = (size_t)at;
    }
    if (!is_variable(name)) {
        return err_set(e, ERR_CONFIG,
                       "holds a ${…} that is not understood: write ${NAME}, ${NAME:-default} or "
                       "${env:NAME}, and $${ for a plain ${");
    }
    char variable[128];
    (void)snprintf(variable, sizeof variable, "%.*s", STR_FMT(name));
    const char *value = option_getenv(x->environ, variable);
    if (!value && at < 0)
        return err_set(e, ERR_CONFIG, "the variable %s is not set: set it, or write ${%s:-default}",
                       variable, variable);
    if (at >= 0 && (!value || !*value))
        buf_add_str(out, fallback);
    else
        buf_adds(out, value);
    return true;
}

static bool expand_text(const struct expander *x, const char *text, struct buf *out, struct err *e)
{
    const char *open;
    while ((open = strstr(text, "${")) != NULL) {
        bool escaped = open > text && open[-1] == '$';
        buf_add(out, text, (size_t)(open - text) - escaped);
        text = open + 2;
        if (escaped) {
            buf_adds(out, "${");
            continue;
        }
        const char *close = strchr(text, '}');
        if (!close)
            return err_set(e, ERR_CONFIG, "has '${' without '}': write $${ for a plain ${");
        if (!expand_one(x, (struct str){text, (size_t)(close - text)}, out, e))
            return false;
        if (out->n > MAX_EXPANDED)
            return err_set(e, ERR_CONFIG, "is too long once its variables are filled in");
        text = close + 1;
    }
    buf_adds(out, text);
    return true;
}

static void expand_node(const struct expander *x, struct yaml_node *node, const char *path)
{
    char below[MAX_PATH];
    struct err e;
    struct buf out = {0};
    for (struct yaml_node *n = node->first; n; n = n->next) {
        if (n->key)
            (void)snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "", n->key);
        expand_node(x, n, n->key ? below : path);
    }
    if (node->kind != YAML_TEXT || !strstr(node->text, "${"))
        return;
    if (!expand_text(x, node->text, &out, &e))
        option_report(x->r, false, node, path, "%s", e.msg);
    else
        node->text = arena_dup(&x->doc->arena, out.p, out.n);
    if (out.p)
        explicit_bzero(out.p, out.n);
    buf_fini(&out);
}

void config_expand(const struct option_reader *r, char *const *environ, struct yaml_doc *doc,
                   struct yaml_node *node, const char *path)
{
    struct expander x = {r, environ, doc};
    expand_node(&x, node, path);
}
