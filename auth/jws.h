/* Compact JWS (RFC 7515) and the algorithms of RFC 7518 §3 and RFC 8037: parsing, which is pure and
 * bounded, and verification with a key of ours. The algorithm is the key's: a token can only name
 * one that its key admits. */
#ifndef AUTH_JWS_H
#define AUTH_JWS_H

#include "base/json.h"

enum { JWS_MAX_BYTES = 8 * 1024, JWS_MAX_KID = 256 };

/* Rows of the table of algorithms; a key admits a set of them, bit 1 << alg. */
enum jws_alg {
    JWS_HS256,
    JWS_HS384,
    JWS_HS512,
    JWS_RS256,
    JWS_RS384,
    JWS_RS512,
    JWS_PS256,
    JWS_PS384,
    JWS_PS512,
    JWS_ES256,
    JWS_ES384,
    JWS_ES512,
    JWS_EDDSA,
    JWS_ALGS,
};

/* Sets of them by kind of key. */
enum {
    JWS_SET_HMAC = 1 << JWS_HS256 | 1 << JWS_HS384 | 1 << JWS_HS512,
    JWS_SET_RSA = 1 << JWS_RS256 | 1 << JWS_RS384 | 1 << JWS_RS512 | 1 << JWS_PS256 |
                  1 << JWS_PS384 | 1 << JWS_PS512,
    JWS_SET_ASYMMETRIC =
        JWS_SET_RSA | 1 << JWS_ES256 | 1 << JWS_ES384 | 1 << JWS_ES512 | 1 << JWS_EDDSA,
    /* What is accepted when nobody says: as above, but of an RSA key that does not name its
     * algorithm RS256 alone. */
    JWS_USUAL = 1 << JWS_ALGS,
    JWS_SET_USUAL = JWS_SET_ASYMMETRIC | JWS_USUAL,
};

/* The row of a name ("RS256"), or JWS_ALGS. "none" has no row. */
enum jws_alg jws_alg_of(struct str name);

struct evp_pkey_st;

/* One key. */
struct jws_key {
    char *kid; /* NULL: has none */
    size_t kid_len;
    unsigned algs;            /* what it may verify */
    struct evp_pkey_st *pkey; /* owned; NULL for a secret */
    uint8_t *secret;          /* owned; wiped */
    size_t secret_len;
};

/* A token taken apart. Zero-initialised is empty; slices point into the token or the buffers. */
struct jws {
    enum jws_alg alg;
    struct str kid;   /* p NULL: none */
    struct str typ;   /* p NULL: none */
    struct str input; /* what is signed */
    struct buf payload, signature;
    struct buf header;
    struct arena arena;
};

/* Takes a token apart. Refused (ERR_UNAUTHENTIC): over JWS_MAX_BYTES, not three parts of strict
 * base64url, a header that is no JSON object, holds a member twice, names no algorithm of the
 * table, or holds any of crit, b64, zip, jku, jwk, x5u, x5c, cty. Call jws_fini in either case. */
bool jws_parse(struct jws *j, struct str token, struct err *e) MUST_USE;
void jws_fini(struct jws *j);
/* Is the signature right under this key? Also false when the key does not admit the algorithm. */
bool jws_verify(const struct jws *j, const struct jws_key *key) MUST_USE;

#endif
