/* requestState: what a client carries from a round to its retry (MCP 2026-07-28
 * basic/patterns/mrtr), sealed, and bound to who asked for what. */
#ifndef GATEWAY_STATE_H
#define GATEWAY_STATE_H

#include "gateway/call.h"

enum state_kind {
    STATE_PASS,    /* the upstream's own state, inside ours */
    STATE_PARK,    /* a live call waits for the answers */
    STATE_RECALL,  /* nothing waits: the retry is a call of its own */
    STATE_APPROVE, /* nothing was sent: a person has to accept the call */
    STATE_MINTED,  /* no state of a round: an approver's word, which the caller brings in _meta */
};

struct state {
    enum state_kind kind;
    struct str mount;
    int64_t expires_ms; /* wall time */
    struct str raw;     /* PASS: the upstream's, raw JSON */
    /* PARK: who has the call, which one it is, and which of its rounds this is */
    struct str replica;
    int shard;
    uint64_t park, nonce; /* APPROVE, MINTED: nonce alone */
    uint64_t questions;   /* RECALL: how many there were */
};

enum { STATE_BINDING = 32 };

/* A digest of who asks what: principal, method, public target, and the arguments however they are
 * spelled. */
void state_binding(const struct call *c, uint8_t out[STATE_BINDING]);
/* The same for a caller of that key, and arguments that are a value of d. */
struct state_subject {
    struct str who, method, target;
    const struct json_doc *d;
    uint32_t args;
};
void state_binding_of(const struct state_subject *s, uint8_t out[STATE_BINDING]);
/* Appends the sealed state as a JSON string. */
void state_seal(const struct sealer *s, const uint8_t binding[STATE_BINDING],
                const struct state *st, struct buf *out);
/* Opens a client's token. Slices of out come from the arena. False: forged, cut, for another
 * request, or expired. */
bool state_open(const struct sealer *s, const uint8_t binding[STATE_BINDING], struct str token,
                struct arena *a, struct state *out) MUST_USE;
/* Reads what is inside a seal; pure, slices of plain. */
bool state_parse(struct str plain, struct state *out) MUST_USE;

#endif
