/* See quota.h. */
#include "gateway/quota.h"

#include "gateway/config.h"
#include "gateway/gateway.h"
#include "gateway/metrics_rows.h"

#include <stdlib.h>

struct counts {
    _Atomic int n[POLICY_QUOTAS];
};

static const char *const names[POLICY_QUOTAS] = {"sessions", "parked", "concurrent"};
static const char *const held[POLICY_QUOTAS] = {"sessions", "calls that wait for answers",
                                                "calls under way"};

void quota_book_init(struct quota_book *b)
{
    pthread_mutex_init(&b->lock, NULL);
}

void quota_book_fini(struct quota_book *b)
{
    void *counts;
    for (size_t at = 0; map_next(&b->by_tenant, &at, &(struct str){0}, &counts);)
        free(counts);
    map_fini(&b->by_tenant);
    pthread_mutex_destroy(&b->lock);
}

static struct counts *counts_of(struct quota_book *b, const char *tenant)
{
    pthread_mutex_lock(&b->lock);
    struct counts *c = map_get(&b->by_tenant, str_of(tenant));
    if (!c) {
        c = xcalloc(1, sizeof *c);
        (void)map_set(&b->by_tenant, str_of(tenant), c);
    }
    pthread_mutex_unlock(&b->lock);
    return c;
}

static int limit_of(const struct shard *s, const struct principal *who, enum policy_quota q)
{
    const struct policy *p = &s->config->policy;
    const struct policy_tenant *t;
    if (!*who->tenant || !p->quotas)
        return 0;
    t = who->standing && who->standing->generation == p->generation
            ? who->standing->tenant
            : policy_tenant_of(p, who->tenant);
    return t ? t->quotas[q] : 0;
}

bool quota_concerns(const struct shard *s, const struct principal *who, enum policy_quota q)
{
    return limit_of(s, who, q) > 0;
}

bool quota_take(struct shard *s, const struct principal *who, enum policy_quota q,
                _Atomic int **seat, struct err *e)
{
    int limit = limit_of(s, who, q);
    *seat = NULL;
    if (limit == 0)
        return true;
    _Atomic int *count = &counts_of(&s->gw->quotas, who->tenant)->n[q];
    if (atomic_fetch_add(count, 1) < limit) {
        *seat = count;
        return true;
    }
    atomic_fetch_sub(count, 1);
    metric_add(metric_series(&metric_rows[M_QUOTA_REFUSED], names[q], NULL), 1);
    return err_set(e, ERR_UNAVAILABLE, "tenant %s has %d %s already (quotas.%s)", who->tenant,
                   limit, held[q], names[q]);
}

void quota_give(_Atomic int **seat)
{
    if (*seat)
        atomic_fetch_sub(*seat, 1);
    *seat = NULL;
}
