/* Sessions among replicas. A session lives on one loop of one replica: on the one that made it as
 * long as that is there, then on whoever is asked for it first and claims it in the store. Its
 * requests may arrive anywhere: those that arrive elsewhere go to the owner over the replica link
 * (envelope.h), and the answer comes back the same way. Without a link every replica serves what
 * arrives, from what the id says and the store remembers. */
#ifndef GATEWAY_OWNER_H
#define GATEWAY_OWNER_H

#include "gateway/exchange.h"
#include "gateway/gateway.h"

struct owners;
struct session;

struct owners *owners_new(struct shard *s);
/* What is being forwarded is answered with an error. */
void owners_free(struct owners **o);

/* Do replicas share a store, as configured? */
bool owner_shared(const struct shard *s);

/* x names a session in Mcp-Session-Id that lives on this shard, if anywhere in this process, but is
 * not here. Takes x: hands it to the owner, or brings the session here and dispatches x again, or
 * answers that there is none. */
void owner_find(struct exchange *x);

/* Hands x to that replica, which has what x is about. Takes x; gone answers it when the replica is
 * not there, or has not (any more) what it was asked for. */
typedef void (*owner_gone_fn)(struct exchange *x);
void owner_send(struct exchange *x, struct str replica, owner_gone_fn gone);
/* Appends the error that answers x's request; data raw JSON. False: x carries none (a GET, a
 * notification, an answer). */
bool owner_error(const struct exchange *x, int code, struct str message, struct str data,
                 struct buf *out);

/* A session has ended (not: was given away), by its client or unused; nobody shall bring it back.
 */
void owner_ended(struct shard *s, struct str key, int64_t made_ms, bool made_here, bool by_client);
/* A session that another replica made still lives here. */
void owner_keep(struct shard *s, struct str key);
/* What changed of a session since its id was made; state is raw JSON. Kept for ttl_ms. */
void owner_save(struct shard *s, struct str key, struct str state, int64_t ttl_ms);

/* The drain has begun: what comes for idle sessions goes elsewhere. */
void owners_drain(struct shard *s);

/* The replica link's listener, data shard 0: before the body is read, and with it. */
void link_on_head(struct exchange *x);
void link_on_request(struct exchange *x);
/* The answer to another replica: the session is not here (any more), look again. */
void link_refuse(struct exchange *x);

#endif
