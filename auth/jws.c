/* See jws.h. Digests are fetched once; a key's EVP_PKEY is shared by all threads, which OpenSSL
 * allows. A failure of a primitive is a signature that is not right. */
#include "auth/jws.h"

#include "base/crypto.h"

#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <stdlib.h>

enum alg_kind { ALG_HMAC, ALG_RSA_PKCS1, ALG_RSA_PSS, ALG_ECDSA, ALG_EDDSA };

static const struct alg_row {
    const char *name;
    enum alg_kind kind;
    int digest;      /* index into digests; -1: none */
    size_t part_len; /* ECDSA: bytes of r and of s (RFC 7518 §3.4) */
} rows[JWS_ALGS] = {
    [JWS_HS256] = {"HS256", ALG_HMAC, 0, 0},      [JWS_HS384] = {"HS384", ALG_HMAC, 1, 0},
    [JWS_HS512] = {"HS512", ALG_HMAC, 2, 0},      [JWS_RS256] = {"RS256", ALG_RSA_PKCS1, 0, 0},
    [JWS_RS384] = {"RS384", ALG_RSA_PKCS1, 1, 0}, [JWS_RS512] = {"RS512", ALG_RSA_PKCS1, 2, 0},
    [JWS_PS256] = {"PS256", ALG_RSA_PSS, 0, 0},   [JWS_PS384] = {"PS384", ALG_RSA_PSS, 1, 0},
    [JWS_PS512] = {"PS512", ALG_RSA_PSS, 2, 0},   [JWS_ES256] = {"ES256", ALG_ECDSA, 0, 32},
    [JWS_ES384] = {"ES384", ALG_ECDSA, 1, 48},    [JWS_ES512] = {"ES512", ALG_ECDSA, 2, 66},
    [JWS_EDDSA] = {"EdDSA", ALG_EDDSA, -1, 0},
};

/* Set once, constant afterwards. */
static struct {
    pthread_once_t once;
    EVP_MD *md[3];
} digests = {.once = PTHREAD_ONCE_INIT};

static void fetch_digests(void)
{
    static const char *const names[] = {"SHA256", "SHA384", "SHA512"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!(digests.md[i] = EVP_MD_fetch(NULL, names[i], NULL)))
            abort();
}

static const EVP_MD *digest_of(const struct alg_row *row)
{
    (void)pthread_once(&digests.once, fetch_digests);
    return row->digest < 0 ? NULL : digests.md[row->digest];
}

enum jws_alg jws_alg_of(struct str name)
{
    int i = 0;
    while (i < JWS_ALGS && !str_eq(str_of(rows[i].name), name))
        i++;
    return (enum jws_alg)i;
}

/* ---- parsing ---- */

static const uint8_t *bytes_of(struct str s)
{
    return (const uint8_t *)s.p;
}

/* Members that would make us look elsewhere for a key, or read the payload in another way (RFC 7515
 * §4.1, RFC 7797 §3). */
static bool has_forbidden(const struct json_doc *d)
{
    static const char *const names[] = {"crit", "b64", "zip", "jku", "jwk", "x5u", "x5c", "cty"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (json_get(d, 0, str_of(names[i])) != JSON_NONE)
            return true;
    return false;
}

/* A member that is a string, or not there. */
static bool text_member(const struct json_doc *d, const char *name, struct arena *a,
                        struct str *out)
{
    uint32_t tok = json_get(d, 0, str_of(name));
    if (tok == JSON_NONE)
        return true;
    if (!json_is(d, tok, JSON_STRING))
        return false;
    *out = json_str(d, tok, a);
    out->p = out->p ? out->p : "";
    return true;
}

static bool read_header(struct jws *j, const struct json_doc *d, struct err *e)
{
    struct str alg = {0};
    if (!json_is(d, 0, JSON_OBJECT) || json_has_duplicates(d, 0))
        return err_set(e, ERR_UNAUTHENTIC, "the token's header is not an object of single members");
    if (has_forbidden(d))
        return err_set(e, ERR_UNAUTHENTIC, "the token's header holds a member that is not allowed");
    if (!text_member(d, "alg", &j->arena, &alg) || !text_member(d, "kid", &j->arena, &j->kid) ||
        !text_member(d, "typ", &j->arena, &j->typ))
        return err_set(e, ERR_UNAUTHENTIC, "a member of the token's header is not a string");
    if (j->kid.n > JWS_MAX_KID)
        return err_set(e, ERR_UNAUTHENTIC, "the token's kid is too long");
    j->alg = jws_alg_of(alg);
    return j->alg != JWS_ALGS ||
           err_set(e, ERR_UNAUTHENTIC, "the token names no algorithm that is known here");
}

bool jws_parse(struct jws *j, struct str token, struct err *e)
{
    struct str rest = token, head = {0}, body = {0};
    struct json_doc d = {.limits = {.max_depth = 8, .max_tokens = 200}};
    *j = (struct jws){.alg = JWS_ALGS};
    if (token.n > JWS_MAX_BYTES)
        return err_set(e, ERR_UNAUTHENTIC, "the token is too long");
    if (!str_split(&rest, '.', &head) || !str_split(&rest, '.', &body) || rest.n == 0 ||
        memchr(rest.p, '.', rest.n))
        return err_set(e, ERR_UNAUTHENTIC, "the token is not of three parts");
    j->input = (struct str){token.p, head.n + 1 + body.n};
    if (!crypto_b64url_decode(&j->header, head) || !crypto_b64url_decode(&j->payload, body) ||
        !crypto_b64url_decode(&j->signature, rest))
        return err_set(e, ERR_UNAUTHENTIC, "a part of the token is not base64url");
    bool ok = json_parse(&d, j->header.p ? j->header.p : "", j->header.n, NULL)
                  ? read_header(j, &d, e)
                  : err_set(e, ERR_UNAUTHENTIC, "the token's header is not JSON");
    json_fini(&d);
    return ok;
}

void jws_fini(struct jws *j)
{
    buf_fini(&j->header);
    buf_fini(&j->payload);
    buf_fini(&j->signature);
    arena_fini(&j->arena);
    *j = (struct jws){0};
}

/* ---- verification ---- */

static bool verify_hmac(const struct jws *j, const struct jws_key *key, const EVP_MD *md)
{
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (!key->secret ||
        !HMAC(md, key->secret, (int)key->secret_len, bytes_of(j->input), j->input.n, mac, &n))
        return false;
    bool ok = n == j->signature.n && crypto_equal(mac, j->signature.p, n);
    crypto_wipe(mac, sizeof mac);
    return ok;
}

/* The two numbers side by side, as a token has them, in DER, as OpenSSL wants them. Returns the
 * length, 0 when they are no signature. */
static int ecdsa_der(struct str raw, size_t part, uint8_t **der)
{
    ECDSA_SIG *sig = ECDSA_SIG_new();
    int n = 0;
    if (!sig)
        return 0;
    if (raw.n == 2 * part) {
        BIGNUM *r = BN_bin2bn(bytes_of(raw), (int)part, NULL);
        BIGNUM *s = BN_bin2bn(bytes_of(raw) + part, (int)part, NULL);
        if (r && s && ECDSA_SIG_set0(sig, r, s)) {
            n = i2d_ECDSA_SIG(sig, der);
        } else {
            BN_free(r);
            BN_free(s);
        }
    }
    ECDSA_SIG_free(sig);
    return n > 0 ? n : 0;
}

static bool set_pss(EVP_PKEY_CTX *ctx, const EVP_MD *md)
{
    return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
           EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1 &&
           EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, md) == 1;
}

static bool verify_asymmetric(const struct jws *j, const struct jws_key *key,
                              const struct alg_row *row)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL; /* belongs to ctx */
    const EVP_MD *md = digest_of(row);
    uint8_t *der = NULL;
    struct str sig = buf_str(&j->signature);
    int der_len = row->kind == ALG_ECDSA ? ecdsa_der(sig, row->part_len, &der) : 0;
    bool ok = ctx && key->pkey && sig.n > 0 && (row->kind != ALG_ECDSA || der_len > 0) &&
              EVP_DigestVerifyInit(ctx, &pctx, md, NULL, key->pkey) == 1 &&
              (row->kind != ALG_RSA_PSS || set_pss(pctx, md));
    if (ok && der)
        ok = EVP_DigestVerify(ctx, der, (size_t)der_len, bytes_of(j->input), j->input.n) == 1;
    else if (ok)
        ok = EVP_DigestVerify(ctx, bytes_of(sig), sig.n, bytes_of(j->input), j->input.n) == 1;
    OPENSSL_free(der);
    EVP_MD_CTX_free(ctx);
    if (!ok)
        ERR_clear_error();
    return ok;
}

bool jws_verify(const struct jws *j, const struct jws_key *key)
{
    if (j->alg >= JWS_ALGS || !(key->algs & 1U << j->alg))
        return false;
    const struct alg_row *row = &rows[j->alg];
    return row->kind == ALG_HMAC ? verify_hmac(j, key, digest_of(row))
                                 : verify_asymmetric(j, key, row);
}
