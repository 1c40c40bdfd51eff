/* Who may come in: authentication of a request by its head, before its body is read. One a shard;
 * it remembers tokens that were right, and holds requests whose issuer's keys have to be fetched.
 * MCP 2026-07-28 basic/authorization; RFC 6750, RFC 9728. */
#ifndef GATEWAY_GATE_H
#define GATEWAY_GATE_H

#include "gateway/exchange.h"
#include "gateway/gateway.h"

struct gate;

struct gate *gate_new(struct shard *s);
void gate_free(struct gate **g);
/* The shard has another configuration: what was judged under the old one is forgotten. */
void gate_reset(struct gate *g);

enum gate_door {
    GATE_CLIENT,      /* the endpoint */
    GATE_ADMIN_READ,  /* the control plane's documents */
    GATE_ADMIN_WRITE, /* reload, drain */
};
/* Lets the request in (x->principal is set then), answers it with 400, 401 or 403, or holds it
 * until keys have come and then does one of these. */
void gate_enter(struct exchange *x, enum gate_door door);
/* Answers 403 insufficient_scope with one challenge that names all of scopes. */
void gate_refuse_scopes(struct exchange *x, char *const *scopes, struct str body);

/* Appends the origin under which clients know the gateway (never taken from a request). */
void gate_public_url(const struct gateway *gw, const struct config *cfg, struct buf *out);
/* Sets what the configuration's issuers need at run time. Control thread, before it is shared. */
void gate_attach(struct gateway *gw, struct config *cfg);

/* Is it the endpoint's path, or a tenant's (BASE/t/TENANT/mcp)? */
bool gate_is_endpoint(const struct config *cfg, struct str path);
/* Is it a metadata document's path (/.well-known/…)? */
bool gate_is_metadata(const struct exchange *x);
/* Answers it. */
void gate_metadata(struct exchange *x);

#endif
