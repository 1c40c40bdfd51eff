/* What a tenant may hold at a time, over all loops of this process: legacy sessions, parked calls,
 * calls under way. */
#ifndef GATEWAY_QUOTA_H
#define GATEWAY_QUOTA_H

#include "auth/policy.h"
#include "base/err.h"
#include "base/str.h"

#include <pthread.h>
#include <stdatomic.h>

struct shard;

/* The counts by tenant; they stay from a tenant's first use to the end. */
struct quota_book {
    pthread_mutex_t lock;
    struct map by_tenant;
};
void quota_book_init(struct quota_book *b);
void quota_book_fini(struct quota_book *b);

/* Does this caller's tenant have such a quota? Cheap. */
bool quota_concerns(const struct shard *s, const struct principal *who, enum policy_quota q);
/* Takes a place, if there is such a quota; false: all are taken, and e names the quota. Each that
 * was taken is given back with quota_give, on any thread. */
bool quota_take(struct shard *s, const struct principal *who, enum policy_quota q,
                _Atomic int **seat, struct err *e) MUST_USE;
/* Nulls *seat; fine when it is NULL. */
void quota_give(_Atomic int **seat);

#endif
