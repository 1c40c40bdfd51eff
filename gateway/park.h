/* Parked calls: a legacy server asks in the middle of a call, and a modern client hears of it as
 * `input_required`. The call stays open; the client's retry brings the answers and takes the call
 * over (docs/eras.md). A parked call belongs to the shard that began it. */
#ifndef GATEWAY_PARK_H
#define GATEWAY_PARK_H

#include "gateway/mcp_http.h"
#include "gateway/state.h"

struct park;

struct parks *parks_new(struct shard *s);
/* Gives all up. */
void parks_free(struct parks **p);
/* Gives up those that wait for a client, which could not come back (drain). */
void parks_drain(struct shard *s);

/* A question for r's client; takes the ask. For the modern codec's sink. */
void park_input(struct request *r, struct ask *a);
/* r's call has ended with this message (built with r->id). Answers r, or keeps the answer until the
 * client comes for it; takes r. */
void park_done(struct request *r, int status, struct str message);
/* r brings answers to the parked call that st names. Takes r: answered, its exchange moved to the
 * shard that has the call, or handed over to the call's own request. */
void park_retry(struct request *r, const struct state *st, const uint8_t binding[STATE_BINDING]);
/* Has this replica the call that st names? Else only the replica st->replica can take the retry. */
bool park_is_ours(const struct gateway *gw, const struct state *st);
/* What the state of r, which is parked, is bound to. */
void park_binding(const struct request *r, uint8_t out[STATE_BINDING]);
/* r is about to be freed: its client gave up. */
void park_forget(struct request *r);

#endif
