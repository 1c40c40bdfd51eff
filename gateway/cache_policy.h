/* Whether a target's results are kept. */
#ifndef GATEWAY_CACHE_POLICY_H
#define GATEWAY_CACHE_POLICY_H

#include <stdbool.h>

struct cache_policy {
    int ttl_ms;     /* 0: not kept, unless by_result */
    bool shared;    /* one result for all of a tenant; else one for each caller */
    bool by_result; /* the result says how long (ttlMs) and, where shared, for whom (cacheScope) */
};

#endif
