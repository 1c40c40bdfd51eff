/* What the files of the session share. Not for others. */
#ifndef GATEWAY_SESSION_PRIV_H
#define GATEWAY_SESSION_PRIV_H

#include "gateway/replay.h"
#include "gateway/session.h"

/* A stream of events to the client: the standing one that a GET opens, or the answer to a POST.
 * It outlives its connection: what is sent meanwhile is kept, and a GET with Last-Event-ID takes it
 * up again. */
struct stream {
    struct session *ss;
    uint32_t no;        /* 0: the standing one */
    uint64_t seq;       /* of the last event */
    uint64_t told;      /* standing: of the last event that went out to a client */
    struct exchange *x; /* standing: who reads; others: see r->x */
    struct request *r;  /* whose answer it is; NULL once that has ended */
    char *request;      /* r's raw id */
    TAILQ_ENTRY(stream) link;
};

/* A question to the client that waits for its answer. */
struct pending {
    struct session *ss;
    struct ask *ask;
    uint64_t id;
    struct request *on; /* whose stream it went out on; NULL: the standing one */
    TAILQ_ENTRY(pending) link;
};

struct session {
    struct shard *shard;
    struct principal *principal; /* counted */
    char *id;
    char *key; /* what names it: where it is in the table */
    const char *version;
    bool primes; /* its client knows events without data */
    char *caps, *client_info;
    unsigned can; /* session_can, once known */
    bool can_known;
    char *level; /* as set; NULL: not yet */
    int level_index;
    int64_t used_ms;
    TAILQ_ENTRY(session) by_use; /* in the table: longest unused first */

    uint32_t epoch; /* of event ids */
    struct stream standing;
    struct timer beat;
    uint32_t last_stream;
    TAILQ_HEAD(, stream) streams; /* of requests */
    int ended_streams;
    struct replay_log log;
    size_t charged; /* of the log */

    uint64_t next_id;
    TAILQ_HEAD(, request) requests;
    TAILQ_HEAD(, pending) pending;
    struct usession **conversations; /* by mount */
    struct upstream **conversation_up;
    size_t conversation_count;
    struct map subscriptions; /* public URI -> the session itself */
    int subscription_count;
    bool ended;
};

struct session_table {
    struct shard *shard;
    struct map by_key;
    TAILQ_HEAD(, session) by_use;
    struct timer sweep;
};

/* It was used now. */
void session_touch(struct session *ss);

/* session_stream.c */
void session_streams_init(struct session *ss);
/* The standing stream ends, and what was kept is dropped. */
void session_streams_fini(struct session *ss);
/* Ends the standing stream; its client comes back. */
void session_end_standing(struct session *ss);
/* Forgets what is too old. */
void session_streams_trim(struct session *ss);

#endif
