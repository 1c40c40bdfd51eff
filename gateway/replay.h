/* What a client may take up again after its stream broke off (MCP 2025-11-25 basic/transports
 * "Resumability and Redelivery"): event ids, and the bounded log of a session's events. No I/O. */
#ifndef GATEWAY_REPLAY_H
#define GATEWAY_REPLAY_H

#include "base/err.h"
#include "base/str.h"

#include <sys/queue.h>

enum {
    REPLAY_MAX_EVENTS = 1000,
    REPLAY_MAX_BYTES = 512 * 1024,
    REPLAY_MAX_AGE_MS = 10 * 60 * 1000,
    REPLAY_REQUEST_MAX = 64 /* a longer id of a request is not repeated in event ids */
};

/* An event's id: unique in its session, whoever serves it. */
struct replay_id {
    uint32_t epoch;     /* of whoever wrote it: each time a session is brought back, a new one */
    uint32_t stream;    /* 0: the standing (GET) stream */
    uint64_t seq;       /* 0: before the first event */
    struct str request; /* raw JSON id of the request that the stream answers; empty: none */
};
/* Appends it, visible ASCII without spaces. */
void replay_id_format(const struct replay_id *id, struct buf *out);
/* Reads one; request is decoded into scratch, which it points into. */
bool replay_id_parse(struct str text, struct buf *scratch, struct replay_id *id) MUST_USE;

struct replay_event {
    TAILQ_ENTRY(replay_event) link;
    uint32_t stream;
    uint64_t seq;
    int64_t at_ms;
    struct str data;
    char bytes[];
};

/* Zero-initialised is empty and valid. */
struct replay_log {
    TAILQ_HEAD(, replay_event) events; /* oldest first */
    size_t count, bytes;
    bool begun;
};
/* Keeps a copy of an event. The oldest go when there are too many, or too old; never the newest. */
void replay_add(struct replay_log *l, uint32_t stream, uint64_t seq, struct str data,
                int64_t now_ms);
/* Drops what is too old. */
void replay_trim(struct replay_log *l, int64_t now_ms);
/* The first event of that stream after seq, or NULL. Borrowed until the log changes. */
const struct replay_event *replay_after(const struct replay_log *l, uint32_t stream, uint64_t seq);
/* The next of the same stream, or NULL. */
const struct replay_event *replay_next(const struct replay_event *ev);
/* Drops all that is kept of a stream. */
void replay_drop(struct replay_log *l, uint32_t stream);
void replay_fini(struct replay_log *l);

#endif
