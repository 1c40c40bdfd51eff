/* See access.h. */
#include "gateway/access.h"

#include "gateway/view.h"

#include <stdlib.h>

static enum catalog_kind kind_of(enum method_route route, const struct catalog *c,
                                 const struct catalog_entry *e)
{
    const struct catalog_list *templates = &c->list[KIND_TEMPLATES];
    switch (route) {
    case ROUTE_TOOL: return KIND_TOOLS;
    case ROUTE_PROMPT: return KIND_PROMPTS;
    case ROUTE_URI:
    case ROUTE_NONE:
    case ROUTE_REF: break;
    }
    bool is_template = e && e >= templates->entries && e < templates->entries + templates->n;
    return is_template ? KIND_TEMPLATES : KIND_RESOURCES;
}

/* Decides about a name that is in no list, or one that a template made. */
static struct policy_decision decide_unlisted(struct shard *s, const struct principal *who,
                                              const struct policy_item *item,
                                              const struct json_doc *d, uint32_t args)
{
    const struct policy *p = &s->config->policy;
    struct policy_subject *made;
    const struct policy_subject *standing = view_standing(p, who, &made);
    struct policy_decision out = policy_decide(p, standing, item, d, args, 0);
    out.rule = out.reason == BY_RULE ? out.rule : NULL;
    free(made);
    return out;
}

/* What is decided about the target. args in d decide when the lists' decision depends on them. */
static struct policy_decision decide(struct shard *s, const struct principal *who,
                                     enum catalog_kind kind, struct str name,
                                     const struct target *t, const struct json_doc *d,
                                     uint32_t args)
{
    struct view *v = view_of(s, who);
    struct policy_decision out = {.effect = POLICY_ALLOW};
    struct policy_item item = view_item(s->catalog, kind, t->entry, t->mount, name);
    if (!v)
        return out;
    bool listed = t->entry && str_eq(t->entry->public_name, name);
    if (t->entry)
        out = view_decision(s, v, kind, t->entry->index);
    /* An URI must be allowed as such, besides its template; a second name as the listed one. */
    if (!out.hidden && (!t->entry || (!listed && kind == KIND_TEMPLATES)))
        return decide_unlisted(s, who, &item, d, args);
    if (out.hidden || !out.depends)
        return out;
    struct policy_subject *made;
    const struct policy_subject *standing = view_standing(&s->config->policy, who, &made);
    if (t->entry)
        item.name = t->entry->public_name;
    out = policy_decide(&s->config->policy, standing, &item, d, args, out.next_rule);
    free(made);
    return out;
}

static bool lacks(const struct principal *who, char *const *scopes)
{
    return scopes && !principal_has_scopes(who, scopes);
}

/* All scopes of the operation, for one challenge: those of every caller, and those of the target.
 */
static strlist all_scopes(struct call *c, char *const *own)
{
    char *const *lists[] = {c->shard->config->auth.required_scopes, own};
    size_t n = 0, at = 0;
    for (int i = 0; i < 2; i++)
        for (char *const *z = lists[i]; z && *z; z++)
            n++;
    strlist out = arena_alloc(&c->arena, (n + 1) * sizeof *out);
    for (int i = 0; i < 2; i++) {
        for (char *const *z = lists[i]; z && *z; z++) {
            size_t k = 0;
            while (k < at && strcmp(out[k], *z) != 0)
                k++;
            if (k == at)
                out[at++] = arena_dup(&c->arena, *z, strlen(*z));
        }
    }
    return out;
}

/* What destroys needs a person's word, unless a rule has said something about it. */
static bool is_destructive(const struct call *c, const struct target *t,
                           const struct policy_decision *d)
{
    return c->shard->config->human_approval && t->entry && d->effect == POLICY_ALLOW &&
           d->reason != BY_RULE && t->entry->traits.notes.yes & NOTE_DESTRUCTIVE;
}

bool access_check(struct call *c, enum method_route route, const struct target *t, struct err *e)
{
    struct shard *s = c->shard;
    enum catalog_kind kind = kind_of(route, s->catalog, t->entry);
    uint32_t args = c->method->route == ROUTE_TOOL && c->params != JSON_NONE
                        ? json_get(c->doc, c->params, STR("arguments"))
                        : JSON_NONE;
    if (args != JSON_NONE && s->config->policy.rule_count && json_has_duplicates(c->doc, c->params))
        return err_set(e, ERR_BAD_REQUEST, "a member of params is given twice");
    struct policy_decision d = decide(s, c->principal, kind, c->public_target, t, c->doc, args);
    if (is_destructive(c, t, &d))
        d.effect = POLICY_APPROVE;
    c->access.effect = d.effect;
    c->access.decided = true;
    if (d.rule) {
        c->access.rule = (struct str){arena_dup(&c->arena, d.rule->name, strlen(d.rule->name)),
                                      strlen(d.rule->name)};
        c->access.limit =
            d.rule->limit ? arena_dup(&c->arena, d.rule->limit, strlen(d.rule->limit)) : NULL;
    }
    if (d.hidden)
        return err_set(e, ERR_NOT_FOUND, "hidden");
    if (d.effect == POLICY_DENY)
        return err_set(e, ERR_FORBIDDEN, "the policy does not allow this call");
    char *const *scopes =
        t->entry ? t->entry->traits.scopes : s->catalog->config->mounts[t->mount].required_scopes;
    if (!lacks(c->principal, scopes))
        return true;
    if (c->principal->anonymous)
        return err_set(e, ERR_NOT_FOUND, "hidden");
    c->access.scopes = all_scopes(c, scopes);
    return err_set(e, ERR_FORBIDDEN, "a scope is missing");
}

bool access_may_see(struct shard *s, const struct principal *who, struct str uri,
                    const struct target *t)
{
    enum catalog_kind kind = kind_of(ROUTE_URI, s->catalog, t->entry);
    char *const *scopes =
        t->entry ? t->entry->traits.scopes : s->catalog->config->mounts[t->mount].required_scopes;
    struct policy_decision d = decide(s, who, kind, uri, t, NULL, JSON_NONE);
    return !d.hidden && d.effect != POLICY_DENY && !lacks(who, scopes);
}

bool access_hears_of(struct shard *s, const struct principal *who, struct str uri)
{
    const struct policy *p = &s->config->policy;
    struct arena a = {0};
    struct target t;
    if (!s->catalog || (!p->active && !s->catalog->scoped))
        return true;
    bool known = !*who->tenant || policy_tenant_of(p, who->tenant);
    bool ok = known && catalog_resolve(s->catalog, ROUTE_URI, uri, &a, &t) &&
              access_may_see(s, who, uri, &t);
    arena_fini(&a);
    return ok;
}
