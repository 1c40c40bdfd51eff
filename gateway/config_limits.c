/* See config_parts.h: limits and the result cache. Rates come as text, rules and patterns as
 * subtrees, and limits of single tools also from the environment, which wins over the file. */
#include "gateway/config_parts.h"
#include "gateway/methods.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_RULES = 1000, MAX_PATH = 160, DAY_MS = 24 * 3600 * 1000 };

#define RATE_VARIABLE "MCP_RATE_LIMIT_"

/* ---- rates ---- */

static bool read_rate(struct config_draft *d, const char *path, const char *text, struct rate *out)
{
    struct err e;
    if (rate_parse(str_of(text), out, &e))
        return true;
    config_report(d, false, path, "'%.64s' %s", text, e.msg);
    return false;
}

static void add_tool(struct config_draft *d, const char *name, size_t n, bool folded,
                     const char *path, const char *text)
{
    struct limits_config *l = &d->c.limits;
    struct rate rate;
    if (!read_rate(d, path, text, &rate))
        return;
    l->tools = xrealloc(l->tools, (l->tool_count + 1) * sizeof *l->tools);
    l->tools[l->tool_count++] = (struct tool_rate){xmemdup0(name, n), folded, rate};
}

bool config_is_rate_variable(struct str name)
{
    return name.n > sizeof RATE_VARIABLE - 1 && str_starts(name, STR(RATE_VARIABLE)) &&
           !str_eq(name, STR(RATE_VARIABLE "DEFAULT"));
}

static void read_variables(struct config_draft *d)
{
    for (char *const *at = d->environ; at && *at; at++) {
        struct str value = str_of(*at), name;
        char path[MAX_PATH];
        if (!str_split(&value, '=', &name) || value.n == 0 || !config_is_rate_variable(name))
            continue;
        (void)snprintf(path, sizeof path, "%.*s", STR_FMT(name));
        add_tool(d, name.p + sizeof RATE_VARIABLE - 1, name.n - (sizeof RATE_VARIABLE - 1), true,
                 path, value.p);
    }
}

static void read_tools(struct config_draft *d)
{
    read_variables(d);
    for (size_t i = 0; i < d->rates_per_tool; i++) {
        const struct name_value *p = &d->rate_per_tool[i];
        char path[MAX_PATH];
        (void)snprintf(path, sizeof path, "limits.perTool.%s", p->name);
        add_tool(d, p->name, strlen(p->name), false, path, p->value);
    }
}

/* ---- rules ---- */

struct rule_draft {
    struct limit_rule r;
    char *rate;
    char **per;
    int fail; /* enum limit_fail; -1: as the others */
};

static const struct option_choice fail_modes[] = {
    {"local", FAIL_LOCAL}, {"open", FAIL_OPEN}, {"closed", FAIL_CLOSED}, {NULL, 0}};
static const struct option rule_rows[] = {
    {.name = "name", .type = OPT_STRING, OPT_AT(rule_draft, r.name), .min = 1, .max = 64},
    {.name = "match.tools", .type = OPT_LIST, OPT_AT(rule_draft, r.tools)},
    {.name = "match.tenants", .type = OPT_LIST, OPT_AT(rule_draft, r.tenants)},
    {.name = "match.methods", .type = OPT_LIST, OPT_AT(rule_draft, r.methods)},
    {.name = "per", .type = OPT_LIST, OPT_AT(rule_draft, per), .flags = OPT_INPUT},
    {.name = "rate", .type = OPT_STRING, OPT_AT(rule_draft, rate), .max = 64, .flags = OPT_INPUT},
    {.name = "failMode",
     .type = OPT_CHOICE,
     OPT_AT(rule_draft, fail),
     .choices = fail_modes,
     .flags = OPT_INPUT},
};
static const struct option_table rule_table = {rule_rows, sizeof rule_rows / sizeof *rule_rows};

static unsigned per_of(const char *word)
{
    static const struct {
        const char *word;
        unsigned per;
    } words[] = {{"tenant", PER_TENANT}, {"principal", PER_PRINCIPAL}, {"tool", PER_TOOL}};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(word, words[i].word) == 0)
            return words[i].per;
    return 0;
}

static void check_per(const struct option_reader *r, const struct yaml_node *node)
{
    struct rule_draft *d = r->base;
    const struct yaml_node *at = yaml_get(node, "per");
    if (!at || at->kind == YAML_NULL)
        d->r.per = PER_TENANT | PER_TOOL;
    for (char **w = d->per; w && *w; w++) {
        if (!per_of(*w)) {
            option_report(r, false, at, "per",
                          "'%.64s' is unknown: write tenant, principal and tool, or [] for one "
                          "window for all",
                          *w);
        }
        d->r.per |= per_of(*w);
    }
}

static void check_methods(const struct option_reader *r, const struct yaml_node *node)
{
    static const struct option *const row = &rule_rows[3];
    struct rule_draft *d = r->base;
    if (!d->r.methods)
        (void)!option_list_add(row, d, method_tools_call.name);
    for (char **w = d->r.methods; *w; w++) {
        const struct method *m = method_find(str_of(*w));
        if (!m || m->action != METHOD_CALL || m->route == ROUTE_REF) {
            option_report(r, false, yaml_get(node, "match"), "match.methods",
                          "'%.64s' cannot be limited: write tools/call, prompts/get or "
                          "resources/read",
                          *w);
        }
    }
}

static void read_rule(struct config_draft *cd, const struct yaml_node *node, size_t i)
{
    struct limits_config *l = &cd->c.limits;
    struct option_reader r = config_file_reader(cd);
    struct rule_draft d = {.fail = -1};
    const struct yaml_node *rate = yaml_get(node, "rate");
    struct err e;
    char path[MAX_PATH];
    (void)snprintf(path, sizeof path, "limits.rules[%zu]", i);
    r.table = &rule_table;
    r.base = &d;
    r.origins = NULL;
    r.path = path;
    options_read_tree(&r, node);
    check_per(&r, node);
    check_methods(&r, node);
    config_check_globs(&r, yaml_get(node, "match"), "match.tools", d.r.tools);
    if (!d.rate)
        option_report(&r, false, node, NULL, "needs a rate: write rate: 100/min");
    else if (!rate_parse(str_of(d.rate), &d.r.rate, &e))
        option_report(&r, false, rate, "rate", "'%.64s' %s", d.rate, e.msg);
    l->by_principal |= (d.r.per & PER_PRINCIPAL) != 0;
    l->across_tenants |= !(d.r.per & (PER_TENANT | PER_PRINCIPAL));
    d.r.fail = d.fail < 0 ? l->fail : (enum limit_fail)d.fail;
    if (!d.r.name)
        d.r.name = xstrdup(path + sizeof "limits." - 1);
    options_fini(&rule_table, &d, OPT_INPUT);
    l->rules = xrealloc(l->rules, (l->rule_count + 1) * sizeof *l->rules);
    l->rules[l->rule_count++] = d.r;
}

static void read_rules(struct config_draft *d, const struct yaml_node *list)
{
    struct option_reader r = config_file_reader(d);
    size_t i = 0;
    if (!list || list->kind == YAML_NULL)
        return;
    if (list->kind != YAML_LIST || list->count > MAX_RULES) {
        option_report(&r, false, list, "limits.rules",
                      "must be a list of at most %d rules: [{match: {tools: [\"*\"]}, rate: "
                      "100/min}]",
                      (int)MAX_RULES);
        return;
    }
    for (const struct yaml_node *n = list->first; n; n = n->next)
        read_rule(d, n, i++);
    for (size_t a = 0; a < d->c.limits.rule_count; a++) {
        for (size_t b = 0; b < a; b++) {
            if (strcmp(d->c.limits.rules[a].name, d->c.limits.rules[b].name) == 0)
                option_report(&r, false, list, "limits.rules", "has two rules called '%.64s'",
                              d->c.limits.rules[a].name);
        }
    }
}

/* ---- cache ---- */

struct cache_draft {
    int ttl_ms;
    bool shared;
};

static const struct option_choice scopes[] = {{"private", false}, {"public", true}, {NULL, 0}};
static const struct option cache_rows[] = {
    {.name = "ttl", .type = OPT_MSEC, OPT_AT(cache_draft, ttl_ms), .min = 0, .max = DAY_MS},
    {.name = "scope", .type = OPT_CHOICE, OPT_AT(cache_draft, shared), .choices = scopes},
};
static const struct option_table cache_table = {cache_rows, sizeof cache_rows / sizeof *cache_rows};

static void read_cache_rule(struct config_draft *cd, const struct yaml_node *node)
{
    struct cache_config *c = &cd->c.cache;
    struct option_reader r = config_file_reader(cd);
    struct cache_draft d = {.ttl_ms = -1};
    struct err e;
    char path[MAX_PATH];
    char *globs[] = {(char *)(uintptr_t)node->key, NULL};
    (void)snprintf(path, sizeof path, "cache.tools.%s", node->key);
    r.table = &cache_table;
    r.base = &d;
    r.origins = NULL;
    r.path = path;
    config_check_globs(&r, node, NULL, globs);
    if (node->kind != YAML_TEXT)
        options_read_tree(&r, node);
    else if (!option_set(&cache_rows[0], &d, node->text, &e))
        option_report(&r, false, node, NULL, "'%.64s' %s", node->text, e.msg);
    c->rules = xrealloc(c->rules, (c->rule_count + 1) * sizeof *c->rules);
    c->rules[c->rule_count++] = (struct cache_rule){xstrdup(node->key), d.ttl_ms, d.shared};
}

static void read_cache(struct config_draft *d, const struct yaml_node *tools)
{
    struct option_reader r = config_file_reader(d);
    if (!tools || tools->kind == YAML_NULL)
        return;
    if (tools->kind != YAML_MAP || tools->count > MAX_RULES) {
        option_report(&r, false, tools, "cache.tools",
                      "must be a map of at most %d patterns: {\"search_*\": {ttl: 30s}}",
                      (int)MAX_RULES);
        return;
    }
    for (const struct yaml_node *n = tools->first; n; n = n->next)
        read_cache_rule(d, n);
}

/* ---- tenants ---- */

/* What the policy says of its tenants, checked there. */
static void read_tenants(struct config_draft *d)
{
    const struct policy *p = &d->c.policy;
    struct limits_config *l = &d->c.limits;
    struct err e;
    l->tenants = xcalloc(p->tenant_count + 1, sizeof *l->tenants);
    for (size_t i = 0; i < p->tenant_count; i++) {
        const struct policy_tenant *t = &p->tenants[i];
        if (t->rate_limit && rate_parse(str_of(t->rate_limit), &l->tenants[i], &e))
            (void)map_set(&l->tenant_by_name, str_of(t->name), &l->tenants[i]);
    }
}

/* ---- proxies ---- */

static void read_proxies(struct config_draft *d)
{
    struct config *c = &d->c;
    for (char **z = d->proxies; z && *z; z++) {
        struct cidr range;
        struct err e;
        if (!cidr_parse(str_trim(str_of(*z)), &range, &e)) {
            config_report(d, false, "trustedProxies", "'%.64s' %s", *z, e.msg);
            continue;
        }
        c->trusted_proxies =
            xrealloc(c->trusted_proxies, (c->trusted_proxy_count + 1) * sizeof range);
        c->trusted_proxies[c->trusted_proxy_count++] = range;
    }
}

/* ---- all ---- */

void config_read_limits(struct config_draft *d, const struct yaml_node *root)
{
    if (d->rate_default && str_trim(str_of(d->rate_default)).n)
        (void)read_rate(d, "limits.default", d->rate_default, &d->c.limits.fallback);
    read_tools(d);
    read_tenants(d);
    read_rules(d, yaml_get(yaml_get(root, "limits"), "rules"));
    read_cache(d, yaml_get(yaml_get(root, "cache"), "tools"));
    read_proxies(d);
}

static void free_list(strlist list)
{
    for (char **z = list; z && *z; z++)
        free(*z);
    free(list);
}

void config_limits_fini(struct config *c)
{
    for (size_t i = 0; i < c->limits.tool_count; i++)
        free(c->limits.tools[i].name);
    free(c->limits.tools);
    for (size_t i = 0; i < c->limits.rule_count; i++) {
        struct limit_rule *r = &c->limits.rules[i];
        free(r->name);
        free_list(r->tools);
        free_list(r->tenants);
        free_list(r->methods);
    }
    free(c->limits.rules);
    free(c->limits.tenants);
    map_fini(&c->limits.tenant_by_name);
    for (size_t i = 0; i < c->cache.rule_count; i++)
        free(c->cache.rules[i].tools);
    free(c->cache.rules);
    free(c->trusted_proxies);
}
