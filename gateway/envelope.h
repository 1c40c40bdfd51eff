/* What goes over the replica link: one request of a client, wrapped by the replica that it reached
 * for the one that owns what it is about. A MAC of the fleet's key covers all of it. Pure; fuzzed.
 */
#ifndef GATEWAY_ENVELOPE_H
#define GATEWAY_ENVELOPE_H

#include "base/crypto.h"

enum {
    ENVELOPE_KEYS_MAX = 16,
    ENVELOPE_NAME = 16, /* bytes of a replica's name */
    ENVELOPE_NONCE = 16,
    ENVELOPE_FRESH_MS = 30000,      /* clocks and queues may cost that much */
    ENVELOPE_OVERHEAD = 128 * 1024, /* at most, beside the body */
};

struct envelope_keys {
    size_t n;
    struct {
        uint8_t id[8], key[32];
    } key[ENVELOPE_KEYS_MAX];
};
/* Derives the link's keys from the fleet's: the first makes MACs, all are accepted. */
void envelope_keys_init(struct envelope_keys *k, const uint8_t (*fleet)[32], size_t n);
void envelope_keys_fini(struct envelope_keys *k);

/* Borrowed slices. */
struct envelope {
    struct str from, to; /* replicas, ENVELOPE_NAME bytes each */
    struct str nonce;    /* ENVELOPE_NONCE bytes, never used twice */
    int64_t sent_ms;     /* wall clock */
    struct str principal;
    struct str head; /* of the request, as HTTP/1.1 writes it */
    struct str body;
};
/* Appends it with its MAC. */
void envelope_seal(const struct envelope_keys *k, const struct envelope *env, struct buf *out);
/* Opens one: its slices lie in text. ERR_BAD_REQUEST: cut short, too long, of another version.
 * ERR_UNAUTHENTIC: not of this fleet. Who and when is for the caller to judge. */
bool envelope_open(const struct envelope_keys *k, struct str text, struct envelope *env,
                   struct err *e) MUST_USE;

#endif
