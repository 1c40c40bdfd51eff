/* Rounds of input for legacy clients: a modern server answers a call with `input_required`, the
 * client is asked in its own way, and the call is sent again with the answers (MCP 2026-07-28
 * basic/patterns/mrtr). */
#ifndef GATEWAY_ROUNDS_H
#define GATEWAY_ROUNDS_H

#include "gateway/mcp_http.h"

struct rounds;

/* For the legacy codec's sink: o suspends r's call. True: taken over, the call goes on or has been
 * ended. False: o is an answer. */
bool rounds_suspended(struct request *r, const struct outcome *o);
/* r is about to be freed: what its client was asked is withdrawn. */
void rounds_free(struct request *r);

#endif
