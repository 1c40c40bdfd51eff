/* Calls on which nothing happens for long: a proxy that cuts an idle connection would cancel a
 * modern call (MCP 2026-07-28 basic/patterns/cancellation). Their answer's stream is begun, and a
 * comment is sent on it each timeouts.heartbeat, where the client takes streams. */
#ifndef GATEWAY_QUIET_H
#define GATEWAY_QUIET_H

#include "gateway/mcp_http.h"

struct quiet *quiet_new(struct shard *s);
/* When no request is left. Nulls *q. */
void quiet_free(struct quiet **q);
/* Something was sent to r's client, or r begins to wait. Without effect where a stream is none of
 * the answer's, or not wanted. */
void quiet_since_now(struct request *r);
/* r ends, or its exchange does. */
void quiet_forget(struct request *r);

#endif
