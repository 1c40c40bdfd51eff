/* Who is calling, once authentication has said so. Immutable and counted; any thread may hold one.
 */
#ifndef AUTH_PRINCIPAL_H
#define AUTH_PRINCIPAL_H

#include "base/str.h"

#include <stdatomic.h>

struct principal {
    atomic_int refs;
    /* Names it where state is bound to it: in seals, and in the keys of the store. "anonymous", or
     * the hex digest of issuer, subject and client. */
    char *key;
    char *tenant; /* the name of its tenant; "" for none */
};

/* The one caller that gave no credential. Returns a new reference. */
struct principal *principal_anonymous(void);
struct principal *principal_ref(struct principal *p);
/* Nulls *p. */
void principal_unref(struct principal **p);

static inline struct str principal_key(const struct principal *p)
{
    return str_of(p->key);
}

#endif
