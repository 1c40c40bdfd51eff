/* See policy.h. What depends on the caller alone is judged once a caller (policy_subject_new), what
 * depends on the item once a class of callers and catalog (the gateway's views); only tests on
 * arguments are left for a call. */
#include "auth/policy.h"

#include "base/crypto.h"

#include <assert.h>
#include <stdlib.h>

/* ---- life ---- */

static void free_list(char **list)
{
    for (char **z = list; z && *z; z++)
        free(*z);
    free(list);
}

static void filter_fini(struct policy_filter *f)
{
    free_list(f->allow);
    free_list(f->deny);
    free_list(f->allow_tags);
    free_list(f->deny_tags);
}

static void tests_fini(struct jsontest *t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        jsontest_fini(&t[i]);
    free(t);
}

static void tenant_fini(struct policy_tenant *t)
{
    for (size_t i = 0; i < t->matches; i++) {
        jsontest_fini(&t->match[i].test);
        free(t->match[i].value);
    }
    free(t->match);
    free_list(t->mounts);
    filter_fini(&t->filter);
    free(t->rate_limit);
    free(t->name);
    principal_unref(&t->anonymous);
}

static void rule_fini(struct policy_rule *r)
{
    free_list(r->tenants);
    free_list(r->clients);
    free_list(r->scopes);
    free_list(r->mounts);
    free_list(r->names);
    free_list(r->tags);
    tests_fini(r->claims, r->claim_count);
    tests_fini(r->args, r->arg_count);
    free(r->limit);
    free(r->name);
}

void policy_fini(struct policy *p)
{
    for (size_t i = 0; i < p->tenant_count; i++)
        tenant_fini(&p->tenants[i]);
    free(p->tenants);
    for (size_t i = 0; i < p->rule_count; i++)
        rule_fini(&p->rules[i]);
    free(p->rules);
    free_list(p->enable_tags);
    free_list(p->disable_tags);
    *p = (struct policy){0};
}

void policy_seal(struct policy *p)
{
    assert(p->rule_count < UINT16_MAX);
    crypto_random(&p->generation, sizeof p->generation);
    p->active = p->tenant_count || p->rule_count || p->enable_tags || p->disable_tags;
    for (size_t i = 0; i < p->tenant_count; i++)
        p->tenants[i].anonymous = principal_new(
            &(struct principal_facts){.tenant = str_of(p->tenants[i].name), .anonymous = true});
    for (size_t i = 0; i < p->tenant_count; i++)
        for (int q = 0; q < POLICY_QUOTAS; q++)
            p->quotas |= p->tenants[i].quotas[q] > 0;
}

const struct policy_tenant *policy_tenant_of(const struct policy *p, const char *name)
{
    for (size_t i = 0; *name && i < p->tenant_count; i++)
        if (strcmp(p->tenants[i].name, name) == 0)
            return &p->tenants[i];
    return NULL;
}

/* ---- lists ---- */

static bool matches_any(char *const *globs, struct str s)
{
    for (; globs && *globs; globs++)
        if (str_glob(str_of(*globs), s))
            return true;
    return false;
}

/* A list that is not there admits all. */
static bool admits(char *const *globs, struct str s)
{
    return !globs || matches_any(globs, s);
}

static bool share(char *const *a, char *const *b)
{
    for (; a && *a; a++) {
        for (char *const *z = b; z && *z; z++)
            if (strcmp(*a, *z) == 0)
                return true;
    }
    return false;
}

static bool has_tag(const struct policy_item *i, char *const *wanted)
{
    return share(i->tags, wanted) || share(i->more_tags, wanted);
}

/* Are all annotations that must be said said so? */
static bool notes_match(struct policy_notes have, struct policy_notes must)
{
    return (have.said & must.said) == must.said && (have.yes & must.said) == (must.yes & must.said);
}

/* ---- tenants ---- */

static bool claims_hold(const struct jsontest *tests, size_t n, const struct principal *who)
{
    struct json_doc d = {0};
    bool ok = n == 0 || (who->claims && json_parse(&d, who->claims, strlen(who->claims), NULL));
    for (size_t i = 0; ok && i < n; i++)
        ok = jsontest_eval(&tests[i], &d, 0) == JSONTEST_TRUE;
    json_fini(&d);
    return ok;
}

static bool is_member(const struct policy_tenant *t, const struct principal *who)
{
    for (size_t i = 0; i < t->matches; i++) {
        const struct policy_tenant_match *m = &t->match[i];
        bool ok = false;
        switch (m->kind) {
        case MATCH_CLAIM: ok = claims_hold(&m->test, 1, who); break;
        case MATCH_ISSUER: ok = strcmp(m->value, who->issuer) == 0; break;
        case MATCH_CLIENT:
            ok = !who->anonymous && str_glob(str_of(m->value), str_of(who->client));
            break;
        case MATCH_HOST: break;
        }
        if (ok)
            return true;
    }
    return false;
}

static bool has_members(const struct policy_tenant *t)
{
    for (size_t i = 0; i < t->matches; i++)
        if (t->match[i].kind != MATCH_HOST)
            return true;
    return false;
}

static const struct policy_tenant *tenant_of_host(const struct policy *p, struct str host)
{
    for (size_t i = 0; i < p->tenant_count; i++) {
        const struct policy_tenant *t = &p->tenants[i];
        for (size_t k = 0; k < t->matches; k++)
            if (t->match[k].kind == MATCH_HOST && str_glob(str_of(t->match[k].value), host))
                return t;
    }
    return NULL;
}

static const struct policy_tenant *tenant_of_credential(const struct policy *p,
                                                        const struct principal *who)
{
    const struct policy_tenant *named = policy_tenant_of(p, who->tenant);
    for (size_t i = 0; !named && i < p->tenant_count; i++)
        if (is_member(&p->tenants[i], who))
            named = &p->tenants[i];
    return named;
}

/* The credential says whom a caller belongs to. The address can only say it for tenants that ask
 * for no credential of their own, and never against what the credential says. */
bool policy_place(const struct policy *p, const struct principal *who,
                  const struct policy_tenant *by_path, struct str host,
                  const struct policy_tenant **out)
{
    const struct policy_tenant *own = tenant_of_credential(p, who);
    const struct policy_tenant *asked = by_path ? by_path : tenant_of_host(p, host);
    *out = own ? own : asked;
    if (*who->tenant && !own)
        return false; /* its tenant is not there any more */
    if (asked && own && own != asked)
        return false;
    if (asked && !own && has_members(asked))
        return false;
    return *out || !p->require_tenant || p->tenant_count == 0;
}

/* ---- subjects ---- */

static bool may_concern(const struct policy_rule *r, const struct principal *who)
{
    return admits(r->tenants, str_of(who->tenant)) && admits(r->clients, str_of(who->client)) &&
           principal_has_scopes(who, r->scopes) && claims_hold(r->claims, r->claim_count, who);
}

struct policy_subject *policy_subject_new(const struct policy *p, const struct principal *who)
{
    struct policy_subject *s = xcalloc(1, sizeof *s + p->rule_count * sizeof *s->rules);
    s->generation = p->generation;
    s->tenant = policy_tenant_of(p, who->tenant);
    s->anonymous = who->anonymous;
    for (size_t i = 0; i < p->rule_count; i++)
        if (may_concern(&p->rules[i], who))
            s->rules[s->n++] = (uint16_t)i;
    uint8_t digest[32];
    const struct str parts[] = {
        {(const char *)&p->generation, sizeof p->generation},
        {s->anonymous ? "0" : "1", 1},
        {(const char *)s->rules, s->n * sizeof *s->rules},
        str_of(who->tenant),
    };
    crypto_sha256(parts, sizeof parts / sizeof *parts, digest);
    memcpy(s->class_id, digest, sizeof s->class_id);
    return s;
}

/* ---- decisions ---- */

/* Only items that carry tags can be hidden by them, but for tools: an allowlist shows no tool
 * without one of its tags. */
static bool is_visible(const struct policy *p, const struct policy_item *i)
{
    bool tagged = (i->tags && *i->tags) || (i->more_tags && *i->more_tags);
    if (p->disable_tags && has_tag(i, p->disable_tags))
        return false;
    if (!p->allowlist || !p->enable_tags || (i->kind != POLICY_TOOL && !tagged))
        return true;
    return has_tag(i, p->enable_tags);
}

static bool passes(const struct policy_filter *f, const struct policy_item *i)
{
    if (matches_any(f->deny, i->name) || (f->deny_tags && has_tag(i, f->deny_tags)))
        return false;
    if (f->allow_tags && !has_tag(i, f->allow_tags))
        return false;
    if (i->kind == POLICY_TOOL && (!admits(f->allow, i->name) || !notes_match(i->notes, f->must)))
        return false;
    return true;
}

static bool concerns(const struct policy_rule *r, const struct policy_item *i)
{
    return r->kinds & (unsigned)i->kind && admits(r->mounts, str_of(i->mount)) &&
           admits(r->names, i->name) && (!r->tags || has_tag(i, r->tags)) &&
           notes_match(i->notes, r->notes);
}

static enum jsontest_result args_hold(const struct policy_rule *r, const struct json_doc *d,
                                      uint32_t args)
{
    enum jsontest_result all = JSONTEST_TRUE;
    for (size_t i = 0; i < r->arg_count; i++) {
        enum jsontest_result one = jsontest_eval(&r->args[i], d, args);
        if (one == JSONTEST_AMBIGUOUS)
            return one;
        if (one == JSONTEST_FALSE)
            all = one;
    }
    return all;
}

static struct policy_decision hide(enum policy_reason why)
{
    return (struct policy_decision){.effect = POLICY_DENY, .reason = why, .hidden = true};
}

static struct policy_decision by_rules(const struct policy *p, const struct policy_subject *s,
                                       const struct policy_item *item, const struct json_doc *d,
                                       uint32_t args, size_t from)
{
    bool list = d == NULL, depends = false;
    size_t first = 0;
    for (size_t k = from; k < s->n; k++) {
        const struct policy_rule *r = &p->rules[s->rules[k]];
        if (!concerns(r, item))
            continue;
        if (r->arg_count && list) { /* whether it matches, the call will show */
            first = depends ? first : k;
            depends = true;
            continue;
        }
        enum jsontest_result holds = r->arg_count ? args_hold(r, d, args) : JSONTEST_TRUE;
        if (holds == JSONTEST_AMBIGUOUS)
            return (struct policy_decision){.effect = POLICY_DENY, .reason = BY_AMBIGUITY};
        if (holds == JSONTEST_TRUE) {
            return (struct policy_decision){.effect = r->effect,
                                            .reason = BY_RULE,
                                            .rule = r,
                                            .hidden = r->effect == POLICY_DENY && !depends &&
                                                      r->arg_count == 0,
                                            .depends = depends,
                                            .next_rule = first};
        }
    }
    enum policy_effect fallback = s->tenant ? s->tenant->fallback : POLICY_ALLOW;
    return (struct policy_decision){.effect = fallback,
                                    .reason = s->tenant ? BY_FALLBACK : BY_DEFAULT,
                                    .hidden = fallback == POLICY_DENY && !depends,
                                    .depends = depends,
                                    .next_rule = first};
}

struct policy_decision policy_decide(const struct policy *p, const struct policy_subject *s,
                                     const struct policy_item *item, const struct json_doc *d,
                                     uint32_t args, size_t from)
{
    const struct policy_tenant *t = s->tenant;
    if (from == 0 && !is_visible(p, item))
        return hide(BY_VISIBILITY);
    if (from == 0 && t && !admits(t->mounts, str_of(item->mount)))
        return hide(BY_TENANT_MOUNT);
    if (from == 0 && t && !passes(&t->filter, item))
        return hide(BY_TENANT_FILTER);
    return by_rules(p, s, item, d, args, from);
}

const char *policy_effect_name(enum policy_effect e)
{
    switch (e) {
    case POLICY_ALLOW: return "allow";
    case POLICY_DENY: return "deny";
    case POLICY_APPROVE: return "approve";
    }
    return "deny";
}

void policy_explain(const struct policy_decision *d, const struct policy_subject *s,
                    struct buf *out)
{
    const char *tenant = s->tenant ? s->tenant->name : "";
    switch (d->reason) {
    case BY_DEFAULT: buf_adds(out, "no rule matches: allowed by default"); break;
    case BY_VISIBILITY: buf_adds(out, "hidden by its tags"); break;
    case BY_TENANT_MOUNT: buf_addf(out, "its upstream is not the tenant %s's", tenant); break;
    case BY_TENANT_FILTER: buf_addf(out, "left out by the lists of the tenant %s", tenant); break;
    case BY_RULE: buf_addf(out, "rule %s", d->rule->name); break;
    case BY_FALLBACK: buf_addf(out, "no rule matches: the default of the tenant %s", tenant); break;
    case BY_AMBIGUITY: buf_adds(out, "a member of the arguments is given twice"); break;
    }
}
