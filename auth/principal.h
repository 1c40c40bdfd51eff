/* Who is calling, once authentication has said so. Immutable and counted; any thread may hold one.
 */
#ifndef AUTH_PRINCIPAL_H
#define AUTH_PRINCIPAL_H

#include "base/str.h"

#include <stdatomic.h>

struct policy_subject;

struct principal {
    atomic_int refs;
    /* Names it where state is bound to it: in seals, and in the keys of the store. "anonymous", or
     * the hex digest of issuer, subject, client and tenant. */
    char *key;
    char *tenant;                    /* the name of its tenant; "" for none */
    char *issuer, *subject, *client; /* "" where the credential does not say */
    char **scopes;                   /* granted; NULL-terminated; NULL: none */
    char *claims;                    /* the verified claims as JSON text; NULL: none */
    int64_t expires_ms;              /* wall time when its credential ends; INT64_MAX: never */
    bool anonymous;                  /* gave no credential */
    /* What the policy in force when it came in says of it, or NULL. Owned; set before it is
     * shared. */
    struct policy_subject *standing;
};

/* What a principal is made of. All borrowed. */
struct principal_facts {
    struct str issuer, subject, client, tenant, claims;
    char *const *scopes; /* NULL-terminated, may be NULL */
    int64_t expires_ms;  /* 0: never */
    bool anonymous;
};

/* The one caller that gave no credential and has no tenant. Returns a new reference. */
struct principal *principal_anonymous(void);
/* Returns owned, with one reference. */
struct principal *principal_new(const struct principal_facts *f);
/* The same caller within a tenant: another principal, for nothing that is bound to the one may be
 * used by the other. Returns owned. */
struct principal *principal_in_tenant(const struct principal *p, const char *tenant);
struct principal *principal_ref(struct principal *p);
/* Nulls *p. */
void principal_unref(struct principal **p);

bool principal_has_scope(const struct principal *p, const char *scope);
/* Has it all scopes of a NULL-terminated list (NULL: none)? */
bool principal_has_scopes(const struct principal *p, char *const *scopes);

static inline struct str principal_key(const struct principal *p)
{
    return str_of(p->key);
}

#endif
