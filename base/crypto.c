/* See crypto.h. The algorithms are fetched once: an implicit fetch on every call costs more than
 * hashing a token does. A failure of OpenSSL on these primitives is a broken installation or no
 * memory, so it aborts. */
#include "base/crypto.h"

#include <limits.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    KEY_BYTES = 32,
    ID_BYTES = 8,
    NONCE_BYTES = 16,
    TAG_BYTES = 16,
    HEAD_BYTES = 1 + ID_BYTES + NONCE_BYTES,
    TOKEN_VERSION = 1,
    MAX_PLAIN = 1 << 30 /* EVP counts in int */
};

/* Set once, constant afterwards; OpenSSL lets all threads share fetched algorithms. */
static struct {
    pthread_once_t once;
    EVP_MD *sha256;
    EVP_MAC *hmac;
    EVP_CIPHER *gcm;
} algo = {.once = PTHREAD_ONCE_INIT};

static void must(bool ok)
{
    if (!ok)
        abort();
}

static void algo_fetch(void)
{
    algo.sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    algo.hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    algo.gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    must(algo.sha256 && algo.hmac && algo.gcm);
}

static void algo_init(void)
{
    must(pthread_once(&algo.once, algo_fetch) == 0);
}

static const uint8_t *bytes_of(struct str s)
{
    return (const uint8_t *)(s.p ? s.p : "");
}

void crypto_sha256(const struct str *parts, size_t n, uint8_t out[32])
{
    algo_init();
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    must(ctx && EVP_DigestInit_ex2(ctx, algo.sha256, NULL) == 1);
    for (size_t i = 0; i < n; i++)
        must(EVP_DigestUpdate(ctx, bytes_of(parts[i]), parts[i].n) == 1);
    must(EVP_DigestFinal_ex(ctx, out, NULL) == 1);
    EVP_MD_CTX_free(ctx);
}

void crypto_sha1(struct str data, uint8_t out[20])
{
    must(EVP_Digest(bytes_of(data), data.n, out, NULL, EVP_sha1(), NULL) == 1);
}

void crypto_hmac(struct str key, struct str data, uint8_t out[32])
{
    crypto_hmac_parts(key, &data, 1, out);
}

void crypto_hmac_parts(struct str key, const struct str *parts, size_t n, uint8_t out[32])
{
    static char name[] = "SHA256";
    algo_init();
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
        OSSL_PARAM_construct_end(),
    };
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(algo.hmac);
    size_t got = 0;
    must(ctx && EVP_MAC_init(ctx, bytes_of(key), key.n, params) == 1);
    for (size_t i = 0; i < n; i++)
        must(EVP_MAC_update(ctx, bytes_of(parts[i]), parts[i].n) == 1);
    must(EVP_MAC_final(ctx, out, &got, 32) == 1 && got == 32);
    EVP_MAC_CTX_free(ctx);
}

void crypto_random(void *out, size_t n)
{
    uint8_t *p = out;
    while (n) {
        int part = n < INT_MAX ? (int)n : INT_MAX;
        must(RAND_bytes(p, part) == 1);
        p += part;
        n -= (size_t)part;
    }
}

bool crypto_equal(const void *a, const void *b, size_t n)
{
    return n == 0 || CRYPTO_memcmp(a, b, n) == 0;
}

void crypto_wipe(void *p, size_t n)
{
    if (n)
        OPENSSL_cleanse(p, n);
}

void crypto_hex(struct buf *out, const void *p, size_t n)
{
    const uint8_t *in = p;
    char *to = buf_reserve(out, n * 2);
    for (size_t i = 0; i < n; i++) {
        to[2 * i] = "0123456789abcdef"[in[i] >> 4];
        to[2 * i + 1] = "0123456789abcdef"[in[i] & 15];
    }
    out->n += n * 2;
}

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

/* RFC 4648 §4 and §5 differ in the last two characters only. */
static const char b64_plain[] = ALNUM "+/";
static const char b64_url[] = ALNUM "-_";

static void b64_encode(struct buf *out, const char *abc, const uint8_t *in, size_t n)
{
    char *to = buf_reserve(out, n / 3 * 4 + 4);
    size_t at = 0, i = 0;
    for (; i + 3 <= n; i += 3) {
        uint32_t w = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
        for (int shift = 18; shift >= 0; shift -= 6)
            to[at++] = abc[w >> shift & 63];
    }
    if (i < n) {
        uint32_t w = (uint32_t)in[i] << 16 | (i + 1 < n ? (uint32_t)in[i + 1] << 8 : 0);
        to[at++] = abc[w >> 18];
        to[at++] = abc[w >> 12 & 63];
        if (i + 1 < n)
            to[at++] = abc[w >> 6 & 63];
    }
    out->n += at;
}

/* The value of one character, or -1. c62 and c63 are the two that differ. */
static int b64_value(char c, char c62, char c63)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == c62 ? 62 : c == c63 ? 63 : -1;
}

/* Decodes unpadded text; appends nothing when it is refused. */
static bool b64_decode(struct buf *out, const char *abc, struct str s)
{
    if (s.n % 4 == 1)
        return false;
    uint8_t *to = (uint8_t *)buf_reserve(out, s.n / 4 * 3 + 3);
    size_t at = 0;
    uint32_t acc = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < s.n; i++) {
        int v = b64_value(s.p[i], abc[62], abc[63]);
        if (v < 0)
            return false;
        acc = acc << 6 | (uint32_t)v;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            to[at++] = (uint8_t)(acc >> bits);
            acc &= (1U << bits) - 1;
        }
    }
    if (acc != 0)
        return false;
    out->n += at;
    return true;
}

void crypto_b64url(struct buf *out, const void *p, size_t n)
{
    b64_encode(out, b64_url, p, n);
}

bool crypto_b64url_decode(struct buf *out, struct str s)
{
    return b64_decode(out, b64_url, s);
}

void crypto_b64(struct buf *out, const void *p, size_t n)
{
    b64_encode(out, b64_plain, p, n);
    if (n % 3)
        buf_add(out, "==", 3 - n % 3);
}

bool crypto_b64_decode(struct buf *out, struct str s)
{
    if (s.n % 4 != 0)
        return false;
    for (int i = 0; i < 2 && s.n && s.p[s.n - 1] == '='; i++)
        s.n--;
    return b64_decode(out, b64_plain, s);
}

struct sealer_key {
    uint8_t id[ID_BYTES];
    uint8_t key[KEY_BYTES];
};

struct sealer {
    size_t n;
    struct sealer_key keys[];
};

struct sealer *sealer_new(const uint8_t (*keys)[32], size_t n)
{
    must(keys && n >= 1);
    struct sealer *s = xcalloc(1, sizeof *s + n * sizeof s->keys[0]);
    s->n = n;
    for (size_t i = 0; i < n; i++) {
        uint8_t hash[32];
        struct str key = {(const char *)keys[i], KEY_BYTES};
        crypto_sha256((struct str[]){STR("headgate key id"), key}, 2, hash);
        memcpy(s->keys[i].id, hash, ID_BYTES);
        memcpy(s->keys[i].key, keys[i], KEY_BYTES);
    }
    return s;
}

void sealer_free(struct sealer **s)
{
    if (!*s)
        return;
    crypto_wipe((*s)->keys, (*s)->n * sizeof(*s)->keys[0]);
    free(*s);
    *s = NULL;
}

/* What a token is bound to without containing it. */
struct binding {
    struct str purpose, context;
};

/* Sets ctx up for one token: the token's own key, zero IV (the key is never used twice), and as
 * additional data the head, the purpose with its length, so that it cannot run into the context,
 * and the context. */
static void gcm_begin(EVP_CIPHER_CTX *ctx, const struct sealer_key *k, const uint8_t *head,
                      const struct binding *bind, bool seal)
{
    static const uint8_t iv[12];
    uint8_t key[KEY_BYTES];
    uint8_t len[8];
    int got;
    algo_init();
    crypto_hmac((struct str){(const char *)k->key, KEY_BYTES},
                (struct str){(const char *)head + 1 + ID_BYTES, NONCE_BYTES}, key);
    must(EVP_CipherInit_ex2(ctx, algo.gcm, key, iv, seal, NULL) == 1);
    crypto_wipe(key, sizeof key);
    for (size_t i = 0; i < sizeof len; i++)
        len[i] = (uint8_t)((uint64_t)bind->purpose.n >> (8 * (7 - i)));
    must(bind->purpose.n <= MAX_PLAIN && bind->context.n <= MAX_PLAIN);
    must(EVP_CipherUpdate(ctx, NULL, &got, head, HEAD_BYTES) == 1);
    must(EVP_CipherUpdate(ctx, NULL, &got, len, sizeof len) == 1);
    must(EVP_CipherUpdate(ctx, NULL, &got, bytes_of(bind->purpose), (int)bind->purpose.n) == 1);
    must(EVP_CipherUpdate(ctx, NULL, &got, bytes_of(bind->context), (int)bind->context.n) == 1);
}

void sealer_seal(const struct sealer *s, const char *purpose, struct str context, struct str plain,
                 struct buf *out)
{
    must(plain.n <= MAX_PLAIN);
    struct binding bind = {str_of(purpose), context};
    size_t size = HEAD_BYTES + plain.n + TAG_BYTES;
    uint8_t *raw = xmalloc(size);
    int got = 0;
    raw[0] = TOKEN_VERSION;
    memcpy(raw + 1, s->keys[0].id, ID_BYTES);
    crypto_random(raw + 1 + ID_BYTES, NONCE_BYTES);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    must(ctx);
    gcm_begin(ctx, &s->keys[0], raw, &bind, true);
    must(EVP_CipherUpdate(ctx, raw + HEAD_BYTES, &got, bytes_of(plain), (int)plain.n) == 1);
    must((size_t)got == plain.n);
    must(EVP_CipherFinal_ex(ctx, raw + HEAD_BYTES + plain.n, &got) == 1 && got == 0);
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_BYTES, raw + HEAD_BYTES + plain.n) ==
         1);
    EVP_CIPHER_CTX_free(ctx);
    crypto_b64url(out, raw, size);
    free(raw);
}

static bool gcm_open(const struct sealer_key *k, const struct binding *bind,
                     const struct buf *token, struct buf *plain)
{
    uint8_t *raw = (uint8_t *)token->p, *tag = raw + token->n - TAG_BYTES;
    size_t size = token->n - HEAD_BYTES - TAG_BYTES;
    uint8_t *to = (uint8_t *)buf_reserve(plain, size + 1);
    int got = 0;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    must(ctx);
    gcm_begin(ctx, k, raw, bind, false);
    must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_BYTES, tag) == 1);
    must(EVP_CipherUpdate(ctx, to, &got, raw + HEAD_BYTES, (int)size) == 1);
    bool ok = EVP_CipherFinal_ex(ctx, to + size, &got) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (ok)
        plain->n += size;
    else
        crypto_wipe(to, size); /* nobody may see what was not authentic */
    return ok;
}

static const struct sealer_key *key_find(const struct sealer *s, const uint8_t *id)
{
    for (size_t i = 0; i < s->n; i++)
        if (memcmp(s->keys[i].id, id, ID_BYTES) == 0)
            return &s->keys[i];
    return NULL;
}

bool sealer_open(const struct sealer *s, const char *purpose, struct str context, struct str token,
                 struct buf *plain, struct err *e)
{
    struct buf raw = {0};
    bool ok = false;
    if (token.n > MAX_PLAIN || !crypto_b64url_decode(&raw, token) ||
        raw.n < HEAD_BYTES + TAG_BYTES || raw.p[0] != TOKEN_VERSION)
        goto out;
    const struct sealer_key *k = key_find(s, (const uint8_t *)raw.p + 1);
    if (k)
        ok = gcm_open(k, &(struct binding){str_of(purpose), context}, &raw, plain);
out:
    buf_fini(&raw);
    return ok || err_set(e, ERR_BAD_REQUEST, "the token is not valid");
}
