/* JSON Web Tokens (RFC 7519, RFC 9068): which issuer a token claims to be from, and, once its
 * signature is known to be right, what its claims say. No I/O; fuzzed. */
#ifndef AUTH_JWT_H
#define AUTH_JWT_H

#include "auth/jws.h"
#include "auth/principal.h"

/* What is asked of the tokens of one issuer. */
struct jwt_rules {
    const char *issuer;     /* NULL: not compared */
    char *const *audiences; /* one of them must be in aud; NULL: not compared */
    int skew_s;             /* how far clocks may differ */
    int max_lifetime_s;     /* exp at most so far away; also from iat, when there is one */
    const char *scopes_claim, *client_claim; /* NULL: the usual ones */
};

/* The claims of a token, read. */
struct jwt_claims {
    struct json_doc doc;
    struct arena arena;
    struct str issuer, subject, client; /* borrowed from the payload or the arena */
    char **scopes;                      /* NULL-terminated, in the arena; NULL: none */
    int64_t expires_s;
};

/* Parses the payload: an object of single members. ERR_UNAUTHENTIC otherwise. Call
 * jwt_claims_fini in either case. */
bool jwt_claims_parse(struct jwt_claims *c, const struct jws *j, struct err *e) MUST_USE;
void jwt_claims_fini(struct jwt_claims *c);
/* Its iss, when that is a string; p NULL otherwise. Selects a configured issuer and proves nothing.
 */
struct str jwt_claims_issuer(struct jwt_claims *c);
/* Judges the claims at now_s (wall seconds) and fills the rest of c. The caller has verified the
 * signature. ERR_UNAUTHENTIC says what is wrong. */
bool jwt_claims_check(struct jwt_claims *c, const struct jws *j, const struct jwt_rules *rules,
                      int64_t now_s, struct err *e) MUST_USE;

#endif
