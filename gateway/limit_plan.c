/* See limits.h: plans. Of the default, a tool's own limit and what the operator wrote for the tool,
 * one counts, the most particular; of the rules, all that match. */
#include "gateway/limits.h"

#include "gateway/metrics_rows.h"

#include <ctype.h>
#include <stdlib.h>

static bool in_globs(char *const *globs, struct str name)
{
    for (char *const *g = globs; g && *g; g++)
        if (str_glob(str_of(*g), name))
            return true;
    return !globs;
}

static bool in_words(char *const *words, struct str word)
{
    for (char *const *w = words; w && *w; w++)
        if (str_eq(str_of(*w), word))
            return true;
    return false;
}

/* Is `folded` the name in upper case, with '_' for what no variable's name can hold? */
static bool is_folded(struct str name, struct str folded)
{
    bool same = name.n == folded.n;
    for (size_t i = 0; same && i < name.n; i++) {
        unsigned char c = (unsigned char)name.p[i];
        same = folded.p[i] == (isalnum(c) ? (char)toupper(c) : '_');
    }
    return same;
}

static bool is_named(const struct tool_rate *r, struct str name)
{
    return r->folded ? is_folded(name, str_of(r->name)) : str_eq(name, str_of(r->name));
}

static const struct rate *rate_of(const struct limit_target *t, const char **name)
{
    const struct limits_config *l = &t->config->limits;
    *name = "tool";
    for (size_t i = 0; i < l->tool_count; i++)
        if (is_named(&l->tools[i], t->public_name) || is_named(&l->tools[i], t->name))
            return &l->tools[i].rate;
    if (t->traits && rate_is_set(t->traits->rate))
        return &t->traits->rate;
    *name = "default";
    return rate_is_set(l->fallback) ? &l->fallback : NULL;
}

static void add(struct limit_plan *p, struct limit_window w)
{
    w.refused = metric_series(&metric_rows[M_RATE_LIMITED], w.name, NULL);
    p->at = xrealloc(p->at, (p->n + 1) * sizeof *p->at);
    p->at[p->n++] = w;
}

void limit_plan_build(const struct limit_target *t, struct limit_plan *out)
{
    const struct limits_config *l = &t->config->limits;
    const char *name;
    const struct rate *rate = t->method->route == ROUTE_TOOL ? rate_of(t, &name) : NULL;
    *out = (struct limit_plan){0};
    if (rate)
        add(out, (struct limit_window){
                     .name = name, .rate = *rate, .per = PER_TENANT | PER_TOOL, .fail = l->fail});
    if (l->tenant_by_name.count)
        add(out, (struct limit_window){
                     .name = "tenant", .sort = WINDOW_TENANT, .per = PER_TENANT, .fail = l->fail});
    for (size_t i = 0; i < l->rule_count; i++) {
        const struct limit_rule *r = &l->rules[i];
        if (in_words(r->methods, t->method->name) && in_globs(r->tools, t->public_name)) {
            add(out, (struct limit_window){.name = r->name,
                                           .sort = WINDOW_RULE,
                                           .rate = r->rate,
                                           .per = r->per,
                                           .fail = r->fail,
                                           .tenants = r->tenants});
        }
    }
}

void limit_plan_fini(struct limit_plan *p)
{
    free(p->at);
    *p = (struct limit_plan){0};
}
