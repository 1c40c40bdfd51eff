/* See config_parts.h: tenants, rules and visibility. */
#include "base/crypto.h"
#include "gateway/config_parts.h"
#include "gateway/rate.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_TENANTS = 10000, MAX_RULES = 10000, MAX_TESTS = 64, MAX_POINTER = 512 };

static char **take(char ***list)
{
    char **out = *list;
    *list = NULL;
    return out;
}

static void check_rate(const struct option_reader *r, const struct yaml_node *node,
                       const char *path, const char *rate)
{
    struct rate parsed;
    struct err e;
    if (rate && !rate_parse(str_of(rate), &parsed, &e))
        option_report(r, false, yaml_get(node, path), path, "'%.32s' %s", rate, e.msg);
}

/* ---- tests ---- */

/* A plain value that reads as JSON is that; what is in quotes, and all else, is a string. */
static struct jsontest_value value_of(const struct yaml_node *n)
{
    struct json_doc d = {0};
    size_t len = strlen(n->text);
    struct jsontest_value v = {.type = JSON_STRING, .len = len};
    if (n->kind == YAML_NULL)
        v.type = JSON_NULL;
    else if (!n->quoted && json_parse(&d, n->text, len, NULL) && !json_is(&d, 0, JSON_OBJECT) &&
             !json_is(&d, 0, JSON_ARRAY) && !json_is(&d, 0, JSON_STRING))
        v.type = json_type(&d, 0);
    v.text = xmemdup0(n->text, len);
    json_fini(&d);
    return v;
}

static void add_value(struct jsontest *t, const struct yaml_node *n)
{
    t->values = xrealloc(t->values, (t->n + 1) * sizeof *t->values);
    t->values[t->n++] = value_of(n);
}

static bool number_of(const struct yaml_node *n, double *out)
{
    struct json_doc d = {0};
    bool ok = n && n->kind == YAML_TEXT && json_parse(&d, n->text, strlen(n->text), NULL) &&
              json_is(&d, 0, JSON_NUMBER);
    *out = ok ? json_double(&d, 0) : 0;
    json_fini(&d);
    return ok;
}

static bool read_range(const struct yaml_node *n, struct jsontest *t)
{
    return n->kind == YAML_LIST && n->count == 2 && number_of(n->first, &t->min) &&
           number_of(n->first->next, &t->max) && t->min <= t->max;
}

/* {absent: true}: also {absent: false} means present. */
static bool read_presence(const struct yaml_node *n, bool absent, struct jsontest *t)
{
    bool yes;
    if (!option_parse_bool(str_of(n->text), &yes))
        return false;
    t->kind = yes == absent ? JSONTEST_ABSENT : JSONTEST_PRESENT;
    return true;
}

static const char *read_condition(const struct yaml_node *n, struct jsontest *t)
{
    if (strcmp(n->key, "equals") == 0) {
        t->kind = JSONTEST_EQUALS;
        add_value(t, n);
        return n->kind == YAML_TEXT || n->kind == YAML_NULL ? NULL : "needs one value in equals";
    }
    if (strcmp(n->key, "in") == 0) {
        t->kind = JSONTEST_IN;
        for (const struct yaml_node *v = n->first; v; v = v->next)
            add_value(t, v);
        return n->kind == YAML_LIST && n->count ? NULL : "needs a list in in: [a, b]";
    }
    if (strcmp(n->key, "glob") == 0) {
        t->kind = JSONTEST_GLOB;
        t->glob = xstrdup(n->text);
        return n->kind == YAML_TEXT ? NULL : "needs a text in glob";
    }
    if (strcmp(n->key, "range") == 0) {
        t->kind = JSONTEST_RANGE;
        return read_range(n, t) ? NULL : "needs two numbers in range: [1, 10]";
    }
    if (strcmp(n->key, "absent") == 0 || strcmp(n->key, "present") == 0)
        return read_presence(n, n->key[0] == 'a', t) ? NULL : "needs true or false there";
    return "knows equals, in, glob, range, absent and present";
}

/* A name without '/' is a member of the top. */
static char *pointer_of(const char *key)
{
    struct buf b = {0};
    if (*key == '/')
        return xstrdup(key);
    buf_addc(&b, '/');
    for (; *key; key++) {
        if (*key == '~' || *key == '/')
            buf_adds(&b, *key == '~' ? "~0" : "~1");
        else
            buf_addc(&b, *key);
    }
    buf_addc(&b, '\0');
    return b.p;
}

static bool read_test(const struct option_reader *r, const struct yaml_node *n, const char *path,
                      struct jsontest *t)
{
    const char *fault = NULL;
    *t = (struct jsontest){.pointer = pointer_of(n->key), .kind = JSONTEST_EQUALS};
    if (!jsontest_is_pointer(t->pointer) || strlen(t->pointer) > MAX_POINTER)
        fault = "is not a JSON pointer, as /path or /items/0";
    else if (n->kind == YAML_MAP && n->count == 1)
        fault = read_condition(n->first, t);
    else if (n->kind == YAML_TEXT || n->kind == YAML_NULL)
        add_value(t, n);
    else
        fault = "needs one value or one condition, as {in: [a, b]}";
    if (fault)
        option_report(r, false, n, path, "'%.64s' %s", n->key, fault);
    return !fault;
}

static void read_tests(const struct option_reader *r, const struct yaml_node *map, const char *path,
                       struct jsontest **tests, size_t *count)
{
    if (!map || map->kind == YAML_NULL)
        return;
    if (map->kind != YAML_MAP || map->count > MAX_TESTS) {
        option_report(r, false, map, path, "must be a map of JSON pointers and at most %d tests",
                      (int)MAX_TESTS);
        return;
    }
    *tests = xcalloc(map->count + 1, sizeof **tests);
    for (const struct yaml_node *n = map->first; n; n = n->next)
        (void)read_test(r, n, path, &(*tests)[(*count)++]);
}

static void read_notes(const struct option_reader *r, const struct yaml_node *map,
                       struct policy_notes *out)
{
    static const char *const names[] = {"readOnly", "destructive", "idempotent", "openWorld"};
    for (const struct yaml_node *n = map ? map->first : NULL; n; n = n->next) {
        bool yes = false, known = false;
        for (size_t i = 0; n->key && i < sizeof names / sizeof *names; i++) {
            size_t len = strlen(names[i]);
            if (strncmp(n->key, names[i], len) != 0 ||
                (n->key[len] && strcmp(n->key + len, "Hint") != 0))
                continue;
            known = option_parse_bool(str_of(n->text), &yes);
            out->said |= (uint8_t)(1U << i);
            out->yes |= (uint8_t)((unsigned)yes << i);
        }
        if (!known) {
            option_report(r, false, n, "annotations",
                          "knows readOnly, destructive, idempotent and openWorld, each true or "
                          "false");
        }
    }
}

/* ---- tenants ---- */

static void add_match(struct policy_tenant *t, struct policy_tenant_match m)
{
    t->match = xrealloc(t->match, (t->matches + 1) * sizeof *t->match);
    t->match[t->matches++] = m;
}

static void read_match(const struct option_reader *r, const struct yaml_node *n,
                       struct policy_tenant *t)
{
    const struct yaml_node *claim = yaml_get(n, "claim"), *value = yaml_get(n, "value");
    const struct yaml_node *issuer = yaml_get(n, "issuer"), *client = yaml_get(n, "clientId");
    const struct yaml_node *host = yaml_get(n, "host");
    struct policy_tenant_match m = {0};
    if (claim && value && n->count == 2) {
        m.kind = MATCH_CLAIM;
        m.test = (struct jsontest){.pointer = pointer_of(claim->text), .kind = JSONTEST_IN};
        for (const struct yaml_node *v = value->first; v; v = v->next)
            add_value(&m.test, v);
        if (value->kind != YAML_LIST)
            add_value(&m.test, value);
        add_match(t, m);
    } else if ((issuer || client || host) && n->count == 1) {
        const struct yaml_node *one = issuer ? issuer : client ? client : host;
        m.kind = issuer ? MATCH_ISSUER : client ? MATCH_CLIENT : MATCH_HOST;
        m.value = xstrdup(one->text);
        add_match(t, m);
    } else {
        option_report(r, false, n, "match",
                      "is {claim: NAME, value: V}, {issuer: I}, {clientId: GLOB} or {host: GLOB}");
    }
}

static void read_matches(const struct option_reader *r, const struct yaml_node *n,
                         struct policy_tenant *t)
{
    if (!n || n->kind == YAML_NULL)
        return;
    if (n->kind == YAML_MAP)
        read_match(r, n, t);
    for (const struct yaml_node *k = n->kind == YAML_LIST ? n->first : NULL; k; k = k->next)
        read_match(r, k, t);
}

/* A tenant's name stands in paths and in keys. */
static bool is_tenant_name(const char *z)
{
    size_t n = strspn(z, "abcdefghijklmnopqrstuvwxyz0123456789-");
    return n > 0 && n <= 63 && !z[n] && z[0] != '-';
}

/* upstreams may be a map, whose values are read once there are mounts. */
static void read_tenant_tree(const struct option_reader *r, struct yaml_node *n,
                             struct policy_tenant *t)
{
    struct yaml_node *map = yaml_get(n, "upstreams");
    if (!map || map->kind != YAML_MAP) {
        options_read_tree(r, n);
        return;
    }
    size_t at = 0;
    t->mounts = xcalloc(map->count + 1, sizeof *t->mounts);
    for (const struct yaml_node *k = map->first; k; k = k->next)
        t->mounts[at++] = xstrdup(k->key);
    map->kind = YAML_NULL;
    options_read_tree(r, n);
    map->kind = YAML_MAP;
}

static void read_tenant(struct option_reader *r, struct config_draft *d, struct yaml_doc *doc,
                        struct yaml_node *n)
{
    struct policy *p = &d->c.policy;
    struct policy_tenant t = {.name = xstrdup(n->key)};
    options_defaults(&tenant_table, &t);
    r->base = &t;
    if (!is_tenant_name(t.name))
        option_report(r, false, n, NULL, "is no name for a tenant: a-z, 0-9 and '-', at most 63");
    config_expand(r, d->environ, doc, n, "");
    read_tenant_tree(r, n, &t);
    read_matches(r, yaml_get(n, "match"), &t);
    read_notes(r, yaml_get(n, "annotations"), &t.filter.must);
    check_rate(r, n, "rateLimit", t.rate_limit);
    p->tenants = xrealloc(p->tenants, (p->tenant_count + 1) * sizeof *p->tenants);
    p->tenants[p->tenant_count++] = t;
}

static void read_tenants(struct config_draft *d, struct option_reader r, struct yaml_doc *doc)
{
    struct yaml_node *map = yaml_get(doc->root, "tenants");
    char path[96];
    r.table = &tenant_table;
    r.origins = NULL;
    if (!map || map->kind == YAML_NULL)
        return;
    if (map->kind != YAML_MAP || map->count > MAX_TENANTS) {
        option_report(&r, false, map, "tenants", "must be a map of at most %d tenants by name",
                      (int)MAX_TENANTS);
        return;
    }
    for (struct yaml_node *n = map->first; n; n = n->next) {
        (void)snprintf(path, sizeof path, "tenants.%s", n->key);
        r.path = path;
        read_tenant(&r, d, doc, n);
    }
}

/* What tokens and issuers say of tenants must be there. */
static void check_named_tenants(struct config_draft *d)
{
    const struct auth_config *a = &d->c.auth;
    for (size_t i = 0; i < a->token_count; i++) {
        const char *name = a->tokens[i].who->tenant;
        if (*name && !policy_tenant_of(&d->c.policy, name))
            config_report(d, false, "auth.tokens", "names the tenant '%.63s', which is not there",
                          name);
    }
    for (size_t i = 0; i < a->issuer_count; i++) {
        const char *name = a->issuers[i].tenant;
        if (name && !policy_tenant_of(&d->c.policy, name))
            config_report(d, false, "auth.jwt", "names the tenant '%.63s', which is not there",
                          name);
    }
}

/* ---- rules ---- */

static unsigned kinds_of(const struct option_reader *r, const struct yaml_node *n,
                         char *const *list)
{
    static const char *const names[] = {"tool", "prompt", "resource"};
    unsigned out = 0;
    for (char *const *z = list; z && *z; z++) {
        unsigned bit = 0;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            bit |= strcmp(*z, names[i]) == 0 ? 1U << i : 0;
        if (!bit)
            option_report(r, false, n, "kinds", "'%.32s' is not tool, prompt or resource", *z);
        out |= bit;
    }
    return list ? out : POLICY_ANY;
}

static void read_rule(struct option_reader *r, struct config_draft *d, struct yaml_doc *doc,
                      struct yaml_node *n, size_t place)
{
    struct policy *p = &d->c.policy;
    struct policy_rule_draft k = {0};
    char name[32];
    options_defaults(&policy_rule_table, &k);
    r->base = &k;
    config_expand(r, d->environ, doc, n, "");
    options_read_tree(r, n);
    (void)snprintf(name, sizeof name, "#%zu", place + 1);
    k.r.name = k.r.name ? k.r.name : xstrdup(name);
    k.r.kinds = kinds_of(r, n, k.kinds);
    read_notes(r, yaml_get(n, "annotations"), &k.r.notes);
    read_tests(r, yaml_get(n, "claims"), "claims", &k.r.claims, &k.r.claim_count);
    read_tests(r, yaml_get(n, "args"), "args", &k.r.args, &k.r.arg_count);
    check_rate(r, n, "limit", k.r.limit);
    if (k.r.limit && k.r.effect != POLICY_ALLOW)
        option_report(r, false, n, "limit", "goes with effect: allow");
    p->rules = xrealloc(p->rules, (p->rule_count + 1) * sizeof *p->rules);
    p->rules[p->rule_count++] = k.r;
    k.r = (struct policy_rule){0};
    options_fini(&policy_rule_table, &k, 0);
}

static void read_rules(struct config_draft *d, struct option_reader r, struct yaml_doc *doc)
{
    struct yaml_node *list = yaml_get(yaml_get(doc->root, "policy"), "rules");
    char path[48];
    size_t i = 0;
    r.table = &policy_rule_table;
    r.origins = NULL;
    if (!list || list->kind == YAML_NULL)
        return;
    if (list->kind != YAML_LIST || list->count > MAX_RULES) {
        option_report(&r, false, list, "policy.rules", "must be a list of at most %d rules",
                      (int)MAX_RULES);
        return;
    }
    for (struct yaml_node *n = list->first; n; n = n->next, i++) {
        (void)snprintf(path, sizeof path, "policy.rules[%zu]", i);
        r.path = path;
        read_rule(&r, d, doc, n, i);
    }
}

void config_read_policy(struct config_draft *d, struct yaml_doc *doc)
{
    struct policy *p = &d->c.policy;
    struct option_reader r = config_plain_reader(d);
    r.file = d->c.source;
    r.lines = true;
    p->enable_tags = take(&d->policy.enable_tags);
    p->disable_tags = take(&d->policy.disable_tags);
    p->allowlist = d->policy.allowlist;
    p->require_tenant = d->policy.require_tenant;
    if (p->enable_tags && !p->allowlist)
        config_report(d, true, "visibility.enableTags",
                      "has no effect with mode blocklist: write mode allowlist");
    if (p->allowlist && !p->enable_tags)
        config_report(d, true, "visibility.mode",
                      "is allowlist, but there are no enableTags: nothing is hidden by it");
    read_tenants(d, r, doc);
    read_rules(d, r, doc);
    check_named_tenants(d);
    policy_seal(p);
}
