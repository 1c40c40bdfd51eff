/* See catalog.h: what a call of an entry has to pass, worked out once when the catalog is made. */
#include "gateway/catalog.h"

static struct cache_policy policy_of(const struct config *cfg, const struct catalog_entry *e)
{
    struct cache_policy p = {.ttl_ms = e->traits.cache_ttl_ms};
    for (size_t i = 0; i < cfg->cache.rule_count; i++) {
        const struct cache_rule *r = &cfg->cache.rules[i];
        if (!str_glob(str_of(r->tools), e->public_name))
            continue;
        p.shared = r->shared;
        if (r->ttl_ms >= 0)
            p.ttl_ms = r->ttl_ms;
        break;
    }
    return cfg->cache.enabled ? p : (struct cache_policy){0};
}

static void gate(const struct config *cfg, const struct method *m, struct catalog_entry *e)
{
    struct limit_target t = {.config = cfg,
                             .method = m,
                             .public_name = e->public_name,
                             .name = e->name,
                             .traits = &e->traits};
    limit_plan_build(&t, &e->limits);
    if (m->route == ROUTE_TOOL)
        e->cache = policy_of(cfg, e);
    else if (m->route == ROUTE_URI)
        e->cache = catalog_read_policy(cfg, e->mount);
    e->gated = e->limits.n > 0 || e->cache.ttl_ms > 0 || e->cache.by_result;
}

void catalog_gates(struct catalog *c)
{
    const struct method *methods[KINDS] = {
        [KIND_TOOLS] = &method_tools_call,
        [KIND_PROMPTS] = method_find(STR("prompts/get")),
        [KIND_RESOURCES] = method_find(STR("resources/read")),
        [KIND_TEMPLATES] = method_find(STR("resources/read")),
    };
    for (int k = 0; k < KINDS; k++)
        for (uint32_t i = 0; i < c->list[k].n; i++)
            gate(c->config, methods[k], &c->list[k].entries[i]);
}

struct cache_policy catalog_read_policy(const struct config *cfg, int mount)
{
    enum mount_cache cache = cfg->mounts[mount].cache;
    if (!cfg->cache.enabled || cache == MOUNT_CACHE_OFF)
        return (struct cache_policy){0};
    return (struct cache_policy){.by_result = true, .shared = cache == MOUNT_CACHE_PUBLIC};
}
