/* The HTTP/1.1 client of the data plane: one pool of keep-alive connections a mount,
 * credential and loop, requests that answer with one JSON body or a stream of SSE events. Knows
 * HTTP, not MCP. */
#ifndef GATEWAY_UPSTREAM_HTTP_H
#define GATEWAY_UPSTREAM_HTTP_H

#include "base/http1.h"
#include "base/sse.h"
#include "gateway/gateway.h"

struct http_pool;
struct hreq;

/* Callbacks of a request, on the pool's loop, never before hreq_start returned. */
struct hreq_ops {
    /* The answer's head: h is borrowed. Return false to hear of no message (the body is read
     * away). */
    bool (*on_head)(struct hreq *h, const struct http1_head *head, void *arg);
    /* One message: the whole body, or the data of one event. Borrowed. */
    void (*on_message)(struct hreq *h, struct str text, void *arg);
    /* An event of another type than "message", of a stream; NULL: they are skipped. Borrowed. */
    void (*on_event)(struct hreq *h, struct str type, struct str data, void *arg);
    /* Every event, before its message: what it says of the stream itself, its id and retry. May be
     * NULL. Borrowed. */
    void (*on_note)(struct hreq *h, const struct sse_event *ev, void *arg);
    /* The end: e NULL when the answer was complete. h is gone afterwards. */
    void (*on_end)(struct hreq *h, const struct err *e, void *arg);
};

struct hreq_spec {
    const char *method; /* "POST", "GET", "DELETE" */
    struct str fields;  /* complete header lines besides Host, credentials, Accept, Content-Type,
                           Content-Length */
    struct str body;
    const char *target; /* NULL: the URL's own */
    bool lines; /* a JSON answer has one message a line, as they come (not of MCP, but seen) */
    bool safe;  /* may be sent again when a reused connection breaks before any answer */
};

/* A pool for cfg on shard s's loop. NULL with ERR_CONFIG for a bad URL, CA file … Borrows cfg. */
struct http_pool *http_pool_new(struct shard *s, const struct mount_config *cfg,
                                struct err *e) MUST_USE;
/* A pool to the same server that shows it another credential, and shares no connection. Borrows
 * own. */
struct http_pool *http_pool_twin(const struct http_pool *p, const struct mount_credential *own);
/* Ends idle connections; the last request in flight frees the rest. Requests in flight are cut
 * without callbacks. */
void http_pool_free(struct http_pool **p);

/* Ends every request in flight with an error (their callbacks run). */
void http_pool_cut(struct http_pool *p);

/* Sends a request. Returns owned by the pool: valid until on_end or hreq_cancel. */
struct hreq *hreq_start(struct http_pool *p, const struct hreq_spec *spec,
                        const struct hreq_ops *ops, void *arg);
/* Drops the request and its connection; no callback any more. Nulls *h. */
void hreq_cancel(struct hreq **h);
/* Has any byte of it left? Also in on_end. */
bool hreq_wrote(const struct hreq *h);
int hreq_status(const struct hreq *h); /* 0 before the head */
/* Its answer rests for long: gives back the buffers that hold nothing. Not in a callback of its. */
void hreq_rest(struct hreq *h);
/* The answer made sense: only then is its connection used again. */
void hreq_good(struct hreq *h);

#endif
