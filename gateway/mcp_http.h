/* The MCP endpoint over HTTP: POST, GET and DELETE on one path, before any era is known. */
#ifndef GATEWAY_MCP_HTTP_H
#define GATEWAY_MCP_HTTP_H

#include "gateway/call.h"
#include "gateway/exchange.h"

#include <sys/queue.h>

struct session;
struct session_place;
struct stream;
struct listen;
struct park;
struct rounds;

/* One POSTed message, from its arrival to its answer. */
struct request {
    struct exchange *x; /* NULL once the client is gone or the answer has ended */
    struct shard *shard;
    struct channel *channel; /* NULL: HTTP, whose headers say more */
    struct json_doc doc;
    struct rpc_msg msg;
    struct str id; /* raw JSON */
    const struct method *method;
    struct str method_name;
    struct session *session; /* legacy; counted by being in its list */
    struct stream *stream;   /* legacy: that of the answer, once it has begun */
    struct call call;
    struct park *park;     /* modern: the call is parked, or was */
    struct rounds *rounds; /* legacy: its client is asked, or was */
    struct buf kept;       /* what doc's text lies in, once the client is gone */
    bool sse_ok, json_ok;  /* what the client takes */
    bool modern;
    int64_t quiet_ms;                /* see quiet.h: since when; 0: it does not wait there */
    TAILQ_ENTRY(request) quiet_link; /* among those of its shard */
    TAILQ_ENTRY(request) link;       /* in its session */
};

/* Answers with a JSON-RPC error without id; fields: more header lines. */
void mcp_http_refuse(struct exchange *x, int status, struct str fields, int code, const char *why);
/* Does a POST carry JSON? Else it is refused (415). */
bool mcp_http_type_ok(struct exchange *x);
/* Judges a request's head but for its credential. False: it is answered. */
bool mcp_http_head(struct exchange *x);
void mcp_http_request(struct exchange *x);
/* A message of a channel. */
void mcp_http_message(struct exchange *x);

/* A request of a session that is not on this shard: to where it is. */
void mcp_http_send_away(struct exchange *x, const struct session_place *at);

/* Answers with one JSON message, as plain JSON or as the last event when the stream has begun, and
 * frees r. status counts only before a stream. */
void request_answer(struct request *r, int status, struct str message);
/* The same, but r stays: its call goes on without an exchange. False: the client turned out to be
 * gone, and r with it. */
bool request_release(struct request *r, int status, struct str message) MUST_USE;
/* r, which has no exchange, goes on with that of from: its id, tokens and what its client takes.
 * Frees from. */
void request_adopt(struct request *r, struct request *from);
/* Frees r; its exchange is the caller's. */
struct exchange *request_give_up(struct request *r);
/* Hands r's exchange to another shard, where the request begins anew. Frees r. */
void request_move(struct request *r, struct shard *to);
/* The same with an error built from code and text; data raw JSON or empty. */
void request_error(struct request *r, int status, int code, struct str message, struct str data);
/* r's text is no request: 400 with an error without id, and frees r. */
void request_invalid(struct request *r, int code, const char *why);
/* Adds Retry-After to the answer's head, if that is still to be written and seconds > 0. */
void request_retry_after(struct request *r, int seconds);
/* Sends a message before the answer: begins the stream if needed. False when the client is gone and
 * cannot come back for it. */
bool request_event(struct request *r, struct str message);
/* The answer will take its time: lets a client that can take up streams have one to take up. */
void request_hold(struct request *r);
/* The client comes back on another exchange, whose stream has begun; or leaves the one it has. */
void request_attach(struct request *r, struct exchange *x);
void request_detach(struct request *r);
/* 202 without body, and frees r. */
void request_accepted(struct request *r);
/* Starts r->call, which was resolved. */
void request_admit(struct request *r, const struct call_sink *sink);
/* Answers a call that call_resolve refused for a scope: 403 with a challenge. False: it was refused
 * for something else. */
bool request_challenged(struct request *r, const struct err *e);
/* Frees r without an answer. */
void request_free(struct request *r);

#endif
