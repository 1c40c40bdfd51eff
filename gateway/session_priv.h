/* What the files of the session share. Not for others. */
#ifndef GATEWAY_SESSION_PRIV_H
#define GATEWAY_SESSION_PRIV_H

#include "gateway/expiry.h"
#include "gateway/replay.h"
#include "gateway/session.h"
#include "gateway/view.h"

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
    bool opened;        /* standing: by a client, once */
    bool answered;      /* its last event is the answer */
    bool logged;        /* the store has events of it */
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

/* A session that a server gave it, at another replica. */
struct known {
    char *mount, *sid, *version;
    TAILQ_ENTRY(known) link;
};

struct session {
    struct shard *shard;
    struct principal *principal; /* counted */
    _Atomic int *seat;           /* in its tenant's quota */
    char *id;
    char *key; /* what names it: where it is in the table */
    const char *version;
    char *caps, *client_info;
    char *level;     /* as set; NULL: not yet */
    int64_t made_ms; /* wall clock */
    int64_t used_ms;
    TAILQ_ENTRY(session) by_use; /* in the table: longest unused first */

    struct stream standing;
    struct timer beat;
    struct view_seen seen;
    struct expiry expiry;         /* of who reads the standing stream */
    TAILQ_HEAD(, stream) streams; /* of requests */
    struct replay_log log;
    size_t charged;             /* of the log */
    TAILQ_HEAD(, rerun) reruns; /* streams that are sent again from the store */

    struct timer save;
    int64_t kept_ms;           /* when its claim was prolonged */
    int64_t saved_ms;          /* 0: nothing of it is in the store */
    TAILQ_HEAD(, known) known; /* sessions of servers that it had elsewhere */

    uint64_t next_id;
    TAILQ_HEAD(, request) requests;
    TAILQ_HEAD(, pending) pending;
    struct usession **conversations; /* by mount */
    struct upstream **conversation_up;
    size_t conversation_count;
    struct map subscriptions; /* public URI -> the session itself */
    int subscription_count;

    int level_index;
    unsigned can;         /* session_can, once known */
    uint32_t epoch;       /* of event ids */
    uint32_t last_stream; /* the number that was given last */
    int ended_streams;
    bool can_known;
    bool primes;    /* its client knows events without data */
    bool made_here; /* by this process */
    bool blind;     /* brought back while the store was away: what changed of it is not known */
    bool save_due;
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

/* session_state.c */
/* Takes over what changed of it since its id was made: raw JSON. False: it is none. */
bool session_load(struct session *ss, struct str state);
/* A conversation that begins: goes on with the server's session, when there is one. */
void session_adopt(struct session *ss, struct usession *us);
void session_forget_known(struct session *ss);
/* Keeps it in the store; prolongs what is kept. */
void session_save(struct session *ss);
void session_keep_saved(struct session *ss);

/* session_upstreams.c */
/* Its conversations end, or are left to whoever has it next; its subscriptions go. */
void session_upstreams_fini(struct session *ss, bool given_away);

/* session_stream.c */
void session_streams_init(struct session *ss);
/* The standing stream ends, and what was kept is dropped; in the store, unless others need it. */
void session_streams_fini(struct session *ss, bool given_away);
/* Ends the standing stream; its client comes back. */
void session_end_standing(struct session *ss);
/* Forgets what is too old. */
void session_streams_trim(struct session *ss);
/* Begins the answer's stream behind the event of that id. An event without data comes first where
 * the client knows such: from then on it can take the stream up again (MCP 2025-11-25
 * basic/transports). */
void session_stream_begin(const struct session *ss, const struct replay_id *id, struct exchange *x);
/* Writes an event. False: the client reads too slowly and was cut. */
bool session_stream_event(const struct replay_id *id, struct str message, struct exchange *x);
/* x is the standing stream from now on; begun: its answer has begun. */
void session_take_standing(struct session *ss, struct exchange *x, bool begun);
/* Nobody knows how the request ended: x's client hears at least that. */
void session_answer_lost(struct str request, bool begun, struct exchange *x);

/* session_log.c; nothing happens where no store is shared */
/* An event of a stream that a client opened goes into the store as well, without waiting for it. */
void session_log_add(struct stream *st, uint64_t seq, struct str message);
/* Nobody takes the stream up any more. */
void session_log_drop(struct stream *st);
/* Takes x: what came after that event of a former owner is sent again from the store, or x is told
 * that it is not known. False: there is no such store. */
bool session_log_resume(struct session *ss, struct exchange *x, const struct replay_id *id);
/* Is it the standing stream that is being sent again? */
bool session_log_stands(const struct session *ss);
/* Ends what is being sent again. */
void session_log_stop(struct session *ss);

#endif
