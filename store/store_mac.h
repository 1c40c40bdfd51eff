/* What makes bytes that others hold ours again: version | key id | end | payload | MAC. The MAC is
 * over what the bytes are for, where they belong, and all of them. Pure; for all threads. */
#ifndef STORE_STORE_MAC_H
#define STORE_STORE_MAC_H

#include "base/str.h"

/* The scripts know both: what stands before the payload and after it. */
enum { STORE_MAC_HEAD = 1 + 4 + 8, STORE_MAC_TAIL = 32 };
enum { STORE_MAC_BYTES = STORE_MAC_HEAD + STORE_MAC_TAIL };

/* Keys of the fleet. Immutable. */
struct store_macs;

/* The first makes MACs, all are accepted; n >= 1. Derives keys of its own from them. Owned. */
struct store_macs *store_macs_new(const uint8_t (*keys)[32], size_t n);
void store_macs_free(struct store_macs **m);

/* What bytes are for. A value cannot pass for a message. */
enum store_purpose { STORE_FOR_VALUE, STORE_FOR_LOG, STORE_FOR_MEMBER, STORE_FOR_MESSAGE };

/* Where bytes belong: the key or channel, and in a log the number (else 0). */
struct store_place {
    enum store_purpose purpose;
    struct str key;
    int64_t seq;
};

/* Appends payload in its envelope. expires_ms: wall time, 0 for never. */
void store_mac_wrap(const struct store_macs *m, const struct store_place *at, int64_t expires_ms,
                    struct str payload, struct buf *out);
/* The payload within raw. False on anything wrong, and when it ended before now_ms by more than
 * replicas' clocks may differ (30 s). */
bool store_mac_open(const struct store_macs *m, const struct store_place *at, struct str raw,
                    int64_t now_ms, struct str *payload) MUST_USE;

#endif
