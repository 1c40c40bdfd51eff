/* What an Mcp-Session-Id says. It is sealed and bound to its principal, and says enough for any
 * loop, and any replica with the same keys, to serve the session. */
#ifndef GATEWAY_SESSION_IDS_H
#define GATEWAY_SESSION_IDS_H

#include "gateway/gateway.h"

enum {
    SESSION_KEY_DIGITS = 32,
    /* Capabilities and clientInfo that are longer together stay out of the id. */
    SESSION_ID_INFO_MAX = 1024
};

/* For this long after it was made an id brings back a session that nobody has any more. */
#define SESSION_ID_LIFE_MS ((int64_t)24 * 3600 * 1000)

/* Slices are borrowed: of the caller when written, of the opened text when read. */
struct session_ticket {
    struct str replica;     /* the process that made it */
    struct str key;         /* names the session everywhere: SESSION_KEY_DIGITS of hex */
    struct str version;     /* the negotiated revision */
    int64_t made_ms;        /* wall clock */
    bool whole;             /* false: caps and client_info were too long */
    struct str caps;        /* raw JSON */
    struct str client_info; /* raw JSON */
};

/* Appends the sealed id. */
void session_ticket_seal(const struct sealer *s, struct str principal_key,
                         const struct session_ticket *t, struct buf *id);
/* Opens an id of that principal into text, which *t points into. False: forged, another
 * principal's, or of a format that this version does not know. */
bool session_ticket_open(const struct sealer *s, struct str principal_key, struct str id,
                         struct buf *text, struct session_ticket *t) MUST_USE;
/* The text inside the seal, alone: pure, for tests and fuzzing. */
void session_ticket_format(const struct session_ticket *t, struct buf *text);
bool session_ticket_parse(struct str text, struct session_ticket *t) MUST_USE;

#endif
