/* See keyset.h. What a key may verify follows from its own kty, crv, alg and size, never from a
 * token. */
#include "auth/keyset.h"

#include "base/crypto.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>

enum { RSA_MIN_BITS = 2048, RSA_MAX_BITS = 4096, RSA_MIN_EXPONENT = 65537, ED25519_BYTES = 32 };

static const struct curve {
    const char *crv, *group;
    size_t bytes;
    enum jws_alg alg;
} curves[] = {
    {"P-256", "P-256", 32, JWS_ES256},
    {"P-384", "P-384", 48, JWS_ES384},
    {"P-521", "P-521", 66, JWS_ES512},
};

/* ---- one key ---- */

static const uint8_t *bytes_of(const struct buf *b)
{
    return (const uint8_t *)b->p;
}

/* A member in base64url of at most max bytes, and not empty. */
static bool bytes_member(const struct json_doc *d, uint32_t key, const char *name, size_t max,
                         struct buf *out)
{
    uint32_t tok = json_get(d, key, str_of(name));
    struct arena a = {0};
    bool ok = json_is(d, tok, JSON_STRING) && crypto_b64url_decode(out, json_str(d, tok, &a)) &&
              out->n > 0 && out->n <= max;
    arena_fini(&a);
    return ok;
}

static EVP_PKEY *make_key(const char *type, OSSL_PARAM_BLD *bld)
{
    EVP_PKEY *pkey = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(bld);
    if (!ctx || !params || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        EVP_PKEY_free(pkey);
        pkey = NULL;
        ERR_clear_error();
    }
    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);
    return pkey;
}

/* A modulus of a size that costs neither safety nor time, and the exponents that sane keys have. */
static bool rsa_is_sane(const BIGNUM *n, const BIGNUM *e)
{
    int bits = BN_num_bits(n);
    return bits >= RSA_MIN_BITS && bits <= RSA_MAX_BITS && BN_is_odd(n) && BN_is_odd(e) &&
           BN_num_bits(e) <= 64 && BN_get_word(e) >= RSA_MIN_EXPONENT;
}

/* Keys of a chip whose primes can be found (CVE-2017-15361): their moduli are powers of 65537
 * modulo every one of these primes, which hardly any other modulus is. */
static bool is_roca(const BIGNUM *n)
{
    static const unsigned primes[] = {11, 13, 17,  19,  37,  53,  61,  71, 73,
                                      79, 97, 103, 107, 109, 127, 151, 157};
    for (size_t i = 0; i < sizeof primes / sizeof *primes; i++) {
        unsigned p = primes[i], rest = (unsigned)BN_mod_word(n, p), power = 1;
        bool found = rest == 1;
        for (unsigned k = 1; k < p && !found; k++) {
            power = power * (65537 % p) % p;
            found = rest == power;
        }
        if (!found)
            return false;
    }
    return true;
}

static EVP_PKEY *read_rsa(const struct json_doc *d, uint32_t key)
{
    struct buf n = {0}, e = {0};
    EVP_PKEY *pkey = NULL;
    if (bytes_member(d, key, "n", RSA_MAX_BITS / 8 + 1, &n) && bytes_member(d, key, "e", 8, &e)) {
        BIGNUM *bn = BN_bin2bn(bytes_of(&n), (int)n.n, NULL);
        BIGNUM *be = BN_bin2bn(bytes_of(&e), (int)e.n, NULL);
        OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
        if (bn && be && bld && rsa_is_sane(bn, be) && !is_roca(bn) &&
            OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_N, bn) &&
            OSSL_PARAM_BLD_push_BN(bld, OSSL_PKEY_PARAM_RSA_E, be))
            pkey = make_key("RSA", bld);
        OSSL_PARAM_BLD_free(bld);
        BN_free(bn);
        BN_free(be);
    }
    buf_fini(&n);
    buf_fini(&e);
    return pkey;
}

/* A coordinate in a field of its size; some issuers leave leading zeros out. */
static void add_padded(struct buf *out, const struct buf *part, size_t size)
{
    for (size_t i = part->n; i < size; i++)
        buf_addc(out, '\0');
    buf_add(out, part->p, part->n);
}

static EVP_PKEY *read_ec(const struct json_doc *d, uint32_t key, const struct curve *c)
{
    struct buf x = {0}, y = {0}, point = {0};
    EVP_PKEY *pkey = NULL;
    OSSL_PARAM_BLD *bld = OSSL_PARAM_BLD_new();
    if (bld && bytes_member(d, key, "x", c->bytes, &x) && bytes_member(d, key, "y", c->bytes, &y)) {
        buf_addc(&point, 4);
        add_padded(&point, &x, c->bytes);
        add_padded(&point, &y, c->bytes);
        if (OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME, c->group, 0) &&
            OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY, point.p, point.n))
            pkey = make_key("EC", bld); /* refuses a point off the curve */
    }
    OSSL_PARAM_BLD_free(bld);
    buf_fini(&x);
    buf_fini(&y);
    buf_fini(&point);
    return pkey;
}

static EVP_PKEY *read_okp(const struct json_doc *d, uint32_t key)
{
    struct buf x = {0};
    EVP_PKEY *pkey = NULL;
    if (json_str_eq(d, json_get(d, key, STR("crv")), STR("Ed25519")) &&
        bytes_member(d, key, "x", ED25519_BYTES, &x) && x.n == ED25519_BYTES)
        pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, bytes_of(&x), x.n);
    buf_fini(&x);
    if (!pkey)
        ERR_clear_error();
    return pkey;
}

static const struct curve *curve_of(const struct json_doc *d, uint32_t key)
{
    uint32_t crv = json_get(d, key, STR("crv"));
    for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
        if (json_str_eq(d, crv, str_of(curves[i].crv)))
            return &curves[i];
    return NULL;
}

/* "use" and "key_ops", when they are there, must let it verify (RFC 7517 §4.2, §4.3). */
static bool may_verify(const struct json_doc *d, uint32_t key)
{
    uint32_t use = json_get(d, key, STR("use")), ops = json_get(d, key, STR("key_ops"));
    if (use != JSON_NONE && !json_str_eq(d, use, STR("sig")))
        return false;
    if (ops == JSON_NONE)
        return true;
    for (uint32_t k = json_first(d, ops); k != JSON_NONE; k = json_next(d, ops, k))
        if (json_str_eq(d, k, STR("verify")))
            return true;
    return false;
}

/* What the key's kind admits, cut down by its own "alg" when it has one: that names a padding
 * and the least digest (RFC 7520's own key says PS256 and signs with PS384). Of an elliptic curve
 * the curve has said all; "ES521" is a usual slip for ES512. */
static unsigned algs_of(const struct json_doc *d, uint32_t key, unsigned kind)
{
    static const unsigned families[] = {
        1U << JWS_RS256 | 1U << JWS_RS384 | 1U << JWS_RS512,
        1U << JWS_PS256 | 1U << JWS_PS384 | 1U << JWS_PS512,
        1U << JWS_ES256,
        1U << JWS_ES384,
        1U << JWS_ES512,
        1U << JWS_EDDSA,
    };
    uint32_t tok = json_get(d, key, STR("alg"));
    struct arena a = {0};
    if (tok == JSON_NONE)
        return kind;
    enum jws_alg alg =
        json_str_eq(d, tok, STR("ES521")) ? JWS_ES512 : jws_alg_of(json_str(d, tok, &a));
    unsigned admitted = 0;
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (alg != JWS_ALGS && families[i] & 1U << alg)
            admitted = kind & families[i] & ~((1U << alg) - 1);
    arena_fini(&a);
    return json_is(d, tok, JSON_STRING) ? admitted : 0;
}

static bool read_kid(const struct json_doc *d, uint32_t key, struct jws_key *out)
{
    uint32_t tok = json_get(d, key, STR("kid"));
    struct arena a = {0};
    if (tok == JSON_NONE)
        return true;
    struct str kid = json_str(d, tok, &a);
    bool ok = json_is(d, tok, JSON_STRING) && kid.n <= JWS_MAX_KID;
    if (ok) {
        out->kid = xmemdup0(kid.n ? kid.p : "", kid.n);
        out->kid_len = kid.n;
    }
    arena_fini(&a);
    return ok;
}

static void key_fini(struct jws_key *k)
{
    EVP_PKEY_free(k->pkey);
    if (k->secret)
        crypto_wipe(k->secret, k->secret_len);
    free(k->secret);
    free(k->kid);
    *k = (struct jws_key){0};
}

/* What an RSA key may verify that does not say it. */
static unsigned rsa_algs(unsigned algs)
{
    return algs & JWS_USUAL ? 1U << JWS_RS256 : JWS_SET_RSA;
}

static bool read_key(const struct json_doc *d, uint32_t key, unsigned algs, struct jws_key *out)
{
    *out = (struct jws_key){0};
    if (!json_is(d, key, JSON_OBJECT) || json_has_duplicates(d, key) || !may_verify(d, key))
        return false;
    uint32_t kty = json_get(d, key, STR("kty"));
    const struct curve *c = curve_of(d, key);
    if (json_str_eq(d, kty, STR("RSA"))) {
        bool says = json_get(d, key, STR("alg")) != JSON_NONE;
        out->algs = algs & algs_of(d, key, says ? JWS_SET_RSA : rsa_algs(algs));
        out->pkey = out->algs ? read_rsa(d, key) : NULL;
    } else if (json_str_eq(d, kty, STR("EC")) && c) {
        out->algs = algs & algs_of(d, key, 1U << c->alg);
        out->pkey = out->algs ? read_ec(d, key, c) : NULL;
    } else if (json_str_eq(d, kty, STR("OKP"))) {
        out->algs = algs & algs_of(d, key, 1U << JWS_EDDSA);
        out->pkey = out->algs ? read_okp(d, key) : NULL;
    }
    if (out->pkey && read_kid(d, key, out))
        return true;
    key_fini(out);
    return false;
}

/* ---- sets ---- */

static struct keyset *keyset_new(size_t n)
{
    struct keyset *k = xcalloc(1, sizeof *k);
    atomic_init(&k->refs, 1);
    k->keys = xcalloc(n + 1, sizeof *k->keys);
    return k;
}

struct keyset *keyset_from_jwks(struct str json, unsigned algs, struct err *e)
{
    struct json_doc d = {.limits = {.max_depth = 16, .max_tokens = 20000}};
    struct keyset *k = NULL;
    err_fill(e, ERR_BAD_UPSTREAM, "the key set holds no key that can be used");
    if (json.n > KEYSET_MAX_BYTES || !json_parse(&d, json.p ? json.p : "", json.n, e)) {
        json_fini(&d);
        return NULL;
    }
    uint32_t keys = json_get(&d, 0, STR("keys"));
    if (json_is(&d, keys, JSON_ARRAY) && !json_has_duplicates(&d, 0) &&
        d.tok[keys].count <= KEYSET_MAX_KEYS) {
        k = keyset_new(d.tok[keys].count);
        for (uint32_t t = json_first(&d, keys); t != JSON_NONE; t = json_next(&d, keys, t)) {
            bool usable = read_key(&d, t, algs & JWS_SET_USUAL, &k->keys[k->n]);
            k->n += usable;
            k->skipped += !usable;
        }
    } else {
        err_fill(e, ERR_BAD_UPSTREAM, "the document is not a key set of at most %d keys",
                 (int)KEYSET_MAX_KEYS);
    }
    json_fini(&d);
    if (k && k->n == 0)
        keyset_unref(&k);
    return k;
}

static unsigned algs_of_pkey(const EVP_PKEY *pkey, unsigned rsa)
{
    char group[32] = "";
    size_t n = 0;
    BIGNUM *modulus = NULL, *exponent = NULL;
    unsigned algs = 0;
    if (EVP_PKEY_is_a(pkey, "ED25519"))
        return 1U << JWS_EDDSA;
    if (EVP_PKEY_is_a(pkey, "RSA") &&
        EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_N, &modulus) &&
        EVP_PKEY_get_bn_param(pkey, OSSL_PKEY_PARAM_RSA_E, &exponent) &&
        rsa_is_sane(modulus, exponent) && !is_roca(modulus))
        algs = rsa;
    BN_free(modulus);
    BN_free(exponent);
    if (EVP_PKEY_is_a(pkey, "EC") && EVP_PKEY_get_group_name(pkey, group, sizeof group, &n)) {
        static const char *const names[] = {"prime256v1", "secp384r1", "secp521r1"};
        for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
            if (strcmp(group, names[i]) == 0 || strcmp(group, curves[i].group) == 0)
                algs = 1U << curves[i].alg;
    }
    return algs;
}

struct keyset *keyset_from_pem(struct str pem, unsigned algs, struct err *e)
{
    BIO *bio = pem.n < KEYSET_MAX_BYTES ? BIO_new_mem_buf(pem.p, (int)pem.n) : NULL;
    EVP_PKEY *pkey = bio ? PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL) : NULL;
    if (bio && !pkey && BIO_reset(bio) == 1) {
        X509 *cert = PEM_read_bio_X509(bio, NULL, NULL, NULL);
        pkey = cert ? X509_get_pubkey(cert) : NULL;
        X509_free(cert);
    }
    BIO_free(bio);
    ERR_clear_error();
    unsigned usable = pkey ? algs & algs_of_pkey(pkey, rsa_algs(algs)) & JWS_SET_ASYMMETRIC : 0;
    if (!usable) {
        err_fill(e, ERR_CONFIG,
                 pkey ? "is a key of another kind or size than the algorithm needs"
                      : "is not a public key in PEM");
        EVP_PKEY_free(pkey);
        return NULL;
    }
    struct keyset *k = keyset_new(1);
    k->keys[k->n++] = (struct jws_key){.algs = usable, .pkey = pkey};
    return k;
}

struct keyset *keyset_from_secret(struct str secret, unsigned algs, struct err *e)
{
    size_t least = algs & 1U << JWS_HS512 ? 64 : algs & 1U << JWS_HS384 ? 48 : 32;
    if (!(algs & JWS_SET_HMAC) || algs & JWS_SET_ASYMMETRIC) {
        err_fill(e, ERR_CONFIG, "is a shared secret, which goes with HS256, HS384 and HS512 only");
        return NULL;
    }
    if (secret.n < least) {
        err_fill(e, ERR_CONFIG, "is too short: it needs at least %zu bytes", least);
        return NULL;
    }
    struct keyset *k = keyset_new(1);
    k->keys[k->n++] = (struct jws_key){
        .algs = algs, .secret = (uint8_t *)xmemdup0(secret.p, secret.n), .secret_len = secret.n};
    return k;
}

struct keyset *keyset_ref(struct keyset *k)
{
    atomic_fetch_add_explicit(&k->refs, 1, memory_order_relaxed);
    return k;
}

void keyset_unref(struct keyset **kp)
{
    struct keyset *k = *kp;
    *kp = NULL;
    if (!k || atomic_fetch_sub_explicit(&k->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < k->n; i++)
        key_fini(&k->keys[i]);
    free(k->keys);
    free(k);
}

const struct jws_key *keyset_find(const struct keyset *k, struct str kid, enum jws_alg alg)
{
    const struct jws_key *found = NULL;
    for (size_t i = 0; i < k->n; i++) {
        const struct jws_key *key = &k->keys[i];
        if (!(key->algs & 1U << alg))
            continue;
        if (kid.p && key->kid && str_eq((struct str){key->kid, key->kid_len}, kid))
            return key;
        if (!kid.p && found)
            return NULL; /* which of them? */
        if (!kid.p)
            found = key;
    }
    /* A key of the operator's own has no name: the token's is not looked at. */
    if (kid.p && k->n == 1 && !k->keys[0].kid && k->skipped == 0 && k->keys[0].algs & 1U << alg)
        return &k->keys[0];
    return found;
}
