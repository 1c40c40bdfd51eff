/* subscriptions/listen streams of modern clients (MCP 2026-07-28 basic/patterns/subscriptions). */
#ifndef GATEWAY_LISTEN_H
#define GATEWAY_LISTEN_H

#include "gateway/mcp_http.h"

struct listeners *listeners_new(struct shard *s);
void listeners_free(struct listeners **l);
/* Opens the stream of r, acknowledges what can be honoured. Takes r. */
void listen_open(struct request *r);
/* Tells all streams that asked. kinds: bit 1 << kind. */
void listeners_list_changed(struct shard *s, unsigned kinds);
void listeners_resource_updated(struct shard *s, struct str public_uri);
/* Ends all streams with their result (drain). */
void listeners_drain(struct shard *s);

#endif
