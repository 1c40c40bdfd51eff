/* See principal.h. The anonymous one is never freed: its count starts with a reference of its own.
 */
#include "auth/principal.h"

#include <stdlib.h>

static char anonymous_key[] = "anonymous", anonymous_tenant[] = "";
static struct principal anonymous = {.refs = 1, .key = anonymous_key, .tenant = anonymous_tenant};

struct principal *principal_anonymous(void)
{
    return principal_ref(&anonymous);
}

struct principal *principal_ref(struct principal *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void principal_unref(struct principal **pp)
{
    struct principal *p = *pp;
    *pp = NULL;
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1)
        return;
    free(p->key);
    free(p->tenant);
    free(p);
}
