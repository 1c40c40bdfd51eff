/* Hashes, random bytes, base64url, constant-time compare, and authenticated sealing with rotating
 * keys. On OpenSSL. */
#ifndef BASE_CRYPTO_H
#define BASE_CRYPTO_H

#include "base/err.h"
#include "base/str.h"

/* SHA-256 of the concatenation of n slices. */
void crypto_sha256(const struct str *parts, size_t n, uint8_t out[32]);
/* SHA-1, for protocols that name things by it. Nothing else: it is broken. */
void crypto_sha1(struct str data, uint8_t out[20]);
/* HMAC-SHA-256 (RFC 2104). */
void crypto_hmac(struct str key, struct str data, uint8_t out[32]);
/* The same of the concatenation of n slices. */
void crypto_hmac_parts(struct str key, const struct str *parts, size_t n, uint8_t out[32]);
/* Cryptographically secure random bytes; aborts when the system has none. */
void crypto_random(void *out, size_t n);
/* Equal? Time depends only on n. */
bool crypto_equal(const void *a, const void *b, size_t n);
/* Overwrites a secret so that the compiler cannot leave it out. */
void crypto_wipe(void *p, size_t n);
/* Lower-case hex of n bytes, appended. */
void crypto_hex(struct buf *out, const void *p, size_t n);
/* base64url without padding (RFC 4648 §5), appended. */
void crypto_b64url(struct buf *out, const void *p, size_t n);
/* Strict decode of base64url without padding: false on any other byte, wrong length or non-zero
 * trailing bits. */
bool crypto_b64url_decode(struct buf *out, struct str s) MUST_USE;
/* Plain base64 with padding, strict both ways (RFC 4648 §4); for `=?base64?…?=` header values. */
void crypto_b64(struct buf *out, const void *p, size_t n);
bool crypto_b64_decode(struct buf *out, struct str s) MUST_USE;

/* Keys that seal tokens for clients to hold. Each key has an 8-byte id derived from itself (the
 * first bytes of SHA-256("headgate key id" || key)). Immutable after set-up; safe for all
 * threads. */
struct sealer;

/* Keys of 32 bytes; the first mints, all open (two-phase rotation: first add as last, then move to
 * first). n >= 1. Copies the keys. Returns owned. */
struct sealer *sealer_new(const uint8_t (*keys)[32], size_t n);
void sealer_free(struct sealer **s);

/* Appends base64url(version byte 1 | key id 8 | nonce 16 | ciphertext | tag 16). The token's key is
 * HMAC-SHA-256(K, nonce), the cipher AES-256-GCM with a fixed zero IV (each key is used once).
 * purpose separates uses
 * ("session", "cursor", "state"); context is bound but not contained (principal, method, …):
 * opening needs both equal. */
void sealer_seal(const struct sealer *s, const char *purpose, struct str context, struct str plain,
                 struct buf *out);
/* Appends the plaintext. False (and nothing appended) on anything wrong: ERR_BAD_REQUEST without
 * saying what. */
bool sealer_open(const struct sealer *s, const char *purpose, struct str context, struct str token,
                 struct buf *plain, struct err *e) MUST_USE;

#endif
