/* What the files of the upstream share: requests on their way, conversations (a legacy session, or
 * the pipe of a child), and the codec towards servers of both eras. Not for others. */
#ifndef GATEWAY_USESSION_H
#define GATEWAY_USESSION_H

#include "gateway/upstream.h"
#include "gateway/upstream_http.h"

struct pipe;
struct worker;

/* What carries the messages of a conversation that is one pipe each way: a child's stdin and
 * stdout, or the stream and the POSTs of HTTP+SSE. It tells usession_pipe_open when it stands,
 * gives what comes in to upstream_message, and ends with usession_broken. */
struct pipe_ops {
    /* Sends one message; id: of the request that it is, 0 for others. May not call back at once. */
    void (*write)(struct pipe *p, uint64_t id, struct str message);
    /* Ends it; nothing calls back any more. */
    void (*stop)(struct pipe *p);
};
struct pipe {
    const struct pipe_ops *ops;
};

enum { POOL_KEY = 16 };

enum us_state { US_IDLE, US_OPENING, US_READY, US_CLOSED };

/* An answer to a request of the gateway's own. m NULL: e says why there is none. Both borrowed. */
typedef void (*urequest_fn)(struct urequest *r, const struct rpc_msg *m, const struct err *e);

/* Where a broken stream of events is taken up again. */
struct resume {
    char *id;         /* of the last event, owned; NULL when the server gave none */
    int64_t retry_ms; /* as the server asked; -1: it did not */
    int tries;        /* since the last event */
    bool begun;
    struct timer again;
};

/* One request sent to a server. Freed after its end, at the end of the turn. */
struct urequest {
    struct upstream *up; /* counted */
    struct usession *us; /* NULL: modern HTTP */
    struct hreq *http;
    struct call *call; /* NULL: given up, or the gateway's own */
    urequest_fn reply; /* the gateway's own */
    void *arg;
    uint64_t id;
    struct timer timer;
    int64_t max_at_ms;
    int64_t started_us;
    int asks;                     /* questions to the client that wait for an answer */
    bool ended, retried, waiting; /* waiting: in us->waiting, not in us->reqs */
    bool forever;                 /* a listen stream: no deadline */
    bool lines;                   /* its answer may be JSON lines */
    bool queued;                  /* in the line of a local pool */
    bool mismatched;              /* in up->mismatched */
    uint8_t lane;                 /* what it takes of a worker of that pool */
    int64_t asked_ms;             /* when the first of its questions went out */
    struct err *fail;             /* of urequest_fail_soon */
    int status;                   /* HTTP, at its end */
    struct resume resume;
    char *session_id;           /* as received with the answer to initialize */
    TAILQ_ENTRY(urequest) link; /* in us->reqs, up->mismatched, or nowhere */
};
TAILQ_HEAD(urequest_list, urequest);

/* A conversation. */
struct usession {
    struct upstream *up;    /* counted */
    struct session *owner;  /* NULL: shared */
    struct http_pool *pool; /* HTTP: of the upstream */
    enum us_state state;
    struct server_info info;
    char sid[256]; /* Mcp-Session-Id, "" when the server gives none */
    struct urequest_list reqs;
    TAILQ_HEAD(, ask) asks;
    struct urequest_list waiting; /* calls until it is open */
    struct hreq *stream;          /* the GET stream */
    struct hreq *hello;           /* notifications/initialized on its way */
    struct timer settle;          /* after it, until the GET stream is open */
    struct resume resume;         /* of that */
    struct urequest *listen;      /* of a modern child */
    bool probed;                  /* stdio, opening: it was asked what it is before the handshake */
    bool no_stream;
    int level;             /* as the server was told on behalf of calls; LOG_LEVEL_NONE: not */
    bool levelling;        /* it is being told */
    bool again;            /* it was open before */
    struct pipe *pipe;     /* stdio, HTTP+SSE, workers */
    struct worker *worker; /* of a local pool; NULL: it is none's */
    LIST_HEAD(, local_state_op) states; /* its requests to the store */

    /* On behalf of modern clients (upool.c). */
    bool pooled, once; /* once: for one call */
    unsigned caps;     /* declared to the server: enum client_cap */
    uint8_t key[POOL_KEY];
    int64_t used_ms;
    TAILQ_ENTRY(usession) pool_link; /* in up->pooled */
};

/* Takes r out of its conversation's lists. */
void urequest_unlink(struct urequest *r);
/* upstream.c: a request of the gateway's own on us (or modern HTTP when us is NULL): method and raw
 * params. */
struct urequest *urequest_own(struct upstream *u, struct usession *us, struct str method,
                              struct str params, int timeout_ms, urequest_fn fn, void *arg);
/* Sends a call on us (NULL: modern HTTP). r NULL: makes one; else one that waited. */
void urequest_call(struct upstream *u, struct usession *us, struct call *c, struct urequest *r);
/* Ends r: its call fails, or its reply gets e. */
void urequest_fail(struct urequest *r, const struct err *e);
/* Ends r: its call ends with o. */
void urequest_end(struct urequest *r, const struct outcome *o);
/* The server answered r with m, which ends it. */
void urequest_answered(struct urequest *r, const struct rpc_msg *m);
/* Sets its next deadline: ms from now, but never past the hard maximum; a question to a person
 * takes its time. */
void urequest_arm(struct urequest *r, int64_t ms);
/* The same as urequest_fail, but never before now has returned. */
void urequest_fail_soon(struct urequest *r, const struct err *e);
struct urequest *urequest_new(struct upstream *u, struct usession *us);
/* Whom upstream_set_events named. */
const struct upstream_events *upstream_events(void);

/* upstream_messages.c */
/* One message from the server; r: the request on whose stream it came, or NULL. False: not JSON-RPC
 * at all (e says why). */
bool upstream_message(struct upstream *u, struct usession *us, struct urequest *r, struct str text,
                      struct err *e);

/* Says what an HTTP status other than success means. */
void upstream_status_error(const struct upstream *u, int status, struct err *e);
/* The shared conversation came up, or went down. */
void upstream_session_up(struct upstream *u, const struct server_info *info);
void upstream_session_down(struct upstream *u, const struct err *e);
/* The server speaks HTTP+SSE: its conversation is to be opened where those live. */
void upstream_session_moved(struct upstream *u);

/* usession.c */
/* who: on whose behalf; NULL: the gateway's own. */
struct usession *usession_new(struct upstream *u, struct session *owner,
                              const struct principal *who);
/* Goes on with a session that the server gave this client at another replica. */
void usession_adopt(struct usession *us, const char *sid, const char *version);
/* Begins the handshake if it has not begun. */
void usession_open(struct usession *us);
/* Can a call be sent at once, in line with nothing? */
bool usession_takes(const struct usession *us, const struct call *c);
/* Sends the calls in line that can be sent. */
void usession_pump(struct usession *us);
/* Puts a call in line until the conversation is open and takes it. */
void usession_wait(struct usession *us, struct urequest *r);
/* The conversation broke: everything in it fails with e; shared ones tell session_down. */
void usession_broken(struct usession *us, const struct err *e);
/* The server forgot the session (HTTP 404): shakes hands again, r is sent again. False when that
 * was tried already. */
bool usession_expired(struct usession *us, struct urequest *r);
/* Sends a message without waiting for anything (a notification, or a response). */
void usession_send(struct usession *us, struct str body);
/* The header lines that a message on us needs. */
void usession_fields(const struct usession *us, struct buf *fields);
/* Messages can go both ways from now on. */
void usession_pipe_open(struct usession *us);
/* A modern child: opens its subscriptions/listen anew, for up->listen_for. */
void usession_listen(struct usession *us);
/* The server would not take request id: it fails with e. */
void usession_refused(struct usession *us, uint64_t id, const struct err *e);

/* upstream_resume.c */
/* An event came: its id and what it asks for are kept. */
void resume_note(struct resume *p, const struct sse_event *ev);
/* Forgets the event's id. */
void resume_forget(struct resume *p);
/* How long to wait before the stream is taken up. */
int64_t resume_delay_ms(const struct resume *p);
/* Appends Last-Event-ID, when there is one. */
void resume_fields(const struct resume *p, struct buf *fields);
/* The stream of r's answer ended without it, status being that of the last try (0: none). True: it
 * will be taken up again. */
bool urequest_resume(struct urequest *r, int status) MUST_USE;
/* upstream.c: asks for the rest of r's stream. */
void urequest_get(struct urequest *r, struct str fields);

/* upstream_stdio.c: a child. Ended as MCP asks: closes stdin, waits, SIGTERM, SIGKILL. */
struct pipe *stdio_start(struct usession *us);
/* upstream_sse.c */
struct pipe *sse_start(struct usession *us);
/* The session for a modern client's call, opened when it is used. NULL: there are too many. */
struct usession *upool_take(struct upstream *u, const struct call *c, struct err *e);
/* A request in a pooled session has ended. */
void upool_rest(struct usession *us);
/* Ends the sessions without calls, or all. True: some are left. */
bool upool_close(struct upstream *u, bool all);

/* upstream_local.c: the pool of workers of a local mount, on its home shard. */
struct pipe *local_start(struct usession *us);
void local_worker_ready(struct usession *us);
void local_worker_down(struct usession *us, const struct err *e);
void local_send(struct call *c);
/* r leaves the line; r has ended; r's time is over (false: nothing special about it); nobody waits
 * for r any more. */
void local_unlink(struct urequest *r);
void local_rest(struct urequest *r);
bool local_timed_out(struct urequest *r);
void local_cancelled(struct urequest *r);
struct local_pool *local_pool_new(struct upstream *u);
void local_pool_open(struct local_pool *p);
bool local_pool_busy(const struct local_pool *p);
/* Ends all workers, and the calls in them. Nulls *p. */
void local_pool_close(struct local_pool **p);

/* local_state.c: takes a worker's request for the state of the session of c (NULL: of none), if m
 * is one. */
bool local_state(struct usession *us, const struct call *c, const struct rpc_msg *m);
/* Those under way are not answered. */
void local_state_cancel(struct usession *us);
/* What workers know the caller's session by: hex digits. */
void local_session_name(const struct call *c, char out[65]);

/* upstream_refresh.c: the server refused the headers of a call on modern HTTP. True: the call goes
 * on, with what the server's tools are like now; false: that was tried, or is of no use. */
bool urequest_refresh(struct call *c) MUST_USE;

/* upstream_relay.c: calls to a conversation that lives on another shard. */
void relay_send(struct call *c);
void relay_cancel(struct call *c);

/* era_upstream.c: the codec. */
/* Appends header lines and body of the call's request. us NULL: modern HTTP. */
void era_upstream_call(const struct call *c, const struct usession *us, uint64_t id,
                       struct buf *fields, struct buf *body);
/* A request of the gateway's own to a server of era: adds what the era needs in params and header
 * lines. */
void era_upstream_own(enum up_era era, uint64_t id, struct str method, struct str params,
                      struct buf *fields, struct buf *body);
/* params of initialize, for this owner's conversation. */
void era_upstream_initialize(const struct usession *us, struct buf *params);
/* Reads the result of initialize or server/discover. */
bool era_upstream_read_initialize(const struct json_doc *d, uint32_t result,
                                  struct server_info *info, struct err *e);
bool era_upstream_read_discover(const struct json_doc *d, uint32_t result, struct server_info *info,
                                struct err *e);
/* What the answer to a probe says: modern, legacy, or nothing yet (UP_UNKNOWN). */
enum up_era era_upstream_judge(const struct rpc_msg *m);

#endif
