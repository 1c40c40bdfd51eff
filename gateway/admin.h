/* The control plane: JSON documents about the gateway, metrics; served by evhtp on a private unix
 * socket to which the data plane's codec forwards. */
#ifndef GATEWAY_ADMIN_H
#define GATEWAY_ADMIN_H

#include "gateway/exchange.h"
#include "gateway/gateway.h"

/* Documents, control thread. Each appends its body. */
void admin_info(struct gateway *gw, struct buf *out);
void admin_upstreams(struct gateway *gw, struct buf *out);
void admin_entries(struct gateway *gw, int kind,
                   struct buf *out); /* /api/tools, /api/prompts, /api/resources */
void admin_metrics(struct gateway *gw, struct buf *out);

/* An answer of the control plane. */
struct admin_answer {
    int status;
    const char *type;  /* Content-Type */
    const char *allow; /* with 405: what is allowed; else NULL */
    struct buf body;
};
/* Finds the route of a request (path as the client wrote it, without query) and fills *out, which
 * is empty; the caller frees out->body. Control thread. */
void admin_answer(struct gateway *gw, struct str method, struct str path, struct admin_answer *out);

/* Starts evhtp on a unix socket in a new 0700 directory (removed at the end); accepts only our own
 * process (SO_PEERCRED). Control thread. NULL with e. */
struct admin *admin_start(struct gateway *gw, struct err *e) MUST_USE;
void admin_stop(struct admin **a);
/* The path of its socket; does not change: any thread. */
const char *admin_socket(const struct admin *a);
/* Any data shard: forwards the exchange's request (method, path, body; never credentials) and
 * answers with what comes back; one connection a request; 502 when it fails. */
void admin_forward(struct exchange *x);

#endif
