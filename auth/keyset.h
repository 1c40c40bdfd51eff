/* Keys that verify tokens: a JWK set (RFC 7517), a PEM, or a shared secret. Immutable and counted;
 * any thread may hold one. Parsing does no I/O; fuzzed. */
#ifndef AUTH_KEYSET_H
#define AUTH_KEYSET_H

#include "auth/jws.h"

#include <stdatomic.h>

enum { KEYSET_MAX_BYTES = 256 * 1024, KEYSET_MAX_KEYS = 100 };

struct keyset {
    atomic_int refs;
    struct jws_key *keys;
    size_t n;
    size_t skipped; /* members of the set that cannot be used */
};

/* Reads a JWK set. Keys that cannot verify (of another use, another kind, too weak, malformed) are
 * passed over; symmetric ones always. algs: what may be verified at all (also JWS_USUAL). Errors:
 * no set, too large, no key left (ERR_BAD_UPSTREAM). Returns owned. */
struct keyset *keyset_from_jwks(struct str json, unsigned algs, struct err *e) MUST_USE;
/* Reads a public key or a certificate in PEM. Errors: ERR_CONFIG. */
struct keyset *keyset_from_pem(struct str pem, unsigned algs, struct err *e) MUST_USE;
/* A shared secret for HS*, at least as long as the digest (RFC 7518 §3.2). Errors: ERR_CONFIG. */
struct keyset *keyset_from_secret(struct str secret, unsigned algs, struct err *e) MUST_USE;
struct keyset *keyset_ref(struct keyset *k);
void keyset_unref(struct keyset **k);

/* The key with this id that admits alg; without an id the one key that admits it, when there is
 * only one. Borrowed, or NULL. */
const struct jws_key *keyset_find(const struct keyset *k, struct str kid, enum jws_alg alg);

#endif
