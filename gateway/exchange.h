/* The seam between a client's transport and everything above it: one request and its answer.
 * HTTP/1.1 implements it; so do channels (stdio, HTTP+SSE, batches). */
#ifndef GATEWAY_EXCHANGE_H
#define GATEWAY_EXCHANGE_H

#include "auth/principal.h"
#include "base/http1.h"
#include "base/net.h"

struct shard;
struct channel;
struct exchange;

/* What a transport does for an exchange. */
struct exchange_ops {
    void (*reply)(struct exchange *x, int status, struct str fields, struct str body);
    void (*stream_begin)(struct exchange *x, struct str fields);
    bool (*event)(struct exchange *x, struct str id, struct str message);
    bool (*prime)(struct exchange *x, struct str id, int retry_ms); /* NULL: it does not resume */
    bool (*beat)(struct exchange *x);
    bool (*endpoint)(struct exchange *x, struct str reference); /* HTTP only */
    void (*stream_end)(struct exchange *x);
    void (*move)(struct exchange *x, struct shard *to);
    void (*take_body)(struct exchange *x, struct buf *out);
    void (*hold)(struct exchange *x);
    void (*resume)(struct exchange *x);
};

struct exchange {
    const struct exchange_ops *ops;
    struct shard *shard;
    const struct http1_head *head; /* until the answer has begun; NULL on pipes */
    struct channel *channel;       /* NULL: HTTP */
    struct str cancel_id;          /* on a channel: the modern request's id, raw JSON */
    struct str body;               /* whole; stays where it is until the answer has ended */
    const struct net_addr *peer;
    struct principal *principal; /* counted; NULL until the head was let in */
    bool local_listener;         /* came in on a loopback address */
    bool admin_listener;         /* came in on admin.listen */
    bool link_listener;          /* came in from another replica */
    bool relayed;                /* and is unwrapped: a client's request to that one */
    bool answered, streaming;
    bool held;                             /* see exchange_hold */
    void (*on_closed)(struct exchange *x); /* the client went away before the answer ended; x is
                                              invalid afterwards */
    void *arg;                             /* of who answers */
    struct str fields; /* to add to the answer: the origin check's, and exchange_add_field's; in the
                          arena */
    struct arena arena; /* lives until the answer has ended */
};

/* Adds a line to the answer's head; without effect once that is written. */
void exchange_add_field(struct exchange *x, struct str name, struct str value);
/* Answers with a whole body (copied if it cannot be written at once). fields: complete header lines
 * made by http1_add_field, without Content-Length and Connection. After it x must not be used. */
void exchange_reply(struct exchange *x, int status, struct str fields, struct str body);
/* Answers with a JSON body. */
void exchange_reply_json(struct exchange *x, int status, struct str body);
/* Begins a 200 text/event-stream answer. fields: more header lines. */
void exchange_stream_begin(struct exchange *x, struct str fields);
/* Writes one message on the stream, in the transport's framing; id: the event's, for transports
 * that resume, or empty. False when the client reads too slowly and the stream was cut (x is
 * invalid then). */
bool exchange_event(struct exchange *x, struct str id, struct str message);
/* Tells the client from where, and after what time, it can take the stream up again. Id: empty for
 * none. False as above. */
bool exchange_prime(struct exchange *x, struct str id, int retry_ms);
/* HTTP+SSE: tells the client where to POST (MCP 2024-11-05 basic/transports). False as above. */
bool exchange_endpoint(struct exchange *x, struct str reference);
/* Keeps a stream on which nothing happens from looking idle. False as above. */
bool exchange_beat(struct exchange *x);
/* Ends the stream. After it x must not be used. */
void exchange_stream_end(struct exchange *x);
/* Hands over the memory that x->body lies in (out is the caller's now), for a request that outlives
 * its client; in on_closed. */
void exchange_take_body(struct exchange *x, struct buf *out);
/* While the head is judged: nothing more is read until exchange_resume. on_closed tells when the
 * client is cut meanwhile. */
void exchange_hold(struct exchange *x);
/* Reads on: the body, and then the request is dispatched. Nothing happens when it was answered
 * meanwhile. */
void exchange_resume(struct exchange *x);
/* Hands the exchange with its connection to another shard's loop, where its request is dispatched
 * again. */
void exchange_move(struct exchange *x, struct shard *to);

#endif
