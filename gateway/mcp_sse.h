/* The HTTP+SSE transport towards clients (MCP 2024-11-05 basic/transports): a GET opens the stream
 * and names where to POST. Legacy only; the end of the stream is the end of the session. */
#ifndef GATEWAY_MCP_SSE_H
#define GATEWAY_MCP_SSE_H

#include "gateway/exchange.h"

struct sse_clients;

/* The streams of a shard. */
struct sse_clients *sse_clients_new(struct shard *s);
/* Ends each stream when nothing runs on it any more; none is opened. */
void sse_clients_drain(struct shard *s);
/* Ends all streams, before the sessions end. Nulls *cs. */
void sse_clients_free(struct sse_clients **cs);

/* ssePath: judges the head but for its credential (false: it is answered); opens the stream. */
bool mcp_sse_head(struct exchange *x);
void mcp_sse_open(struct exchange *x);
/* messagesPath: the same for what is POSTed; moved to the shard of its stream. */
bool mcp_sse_post_head(struct exchange *x);
void mcp_sse_post(struct exchange *x);

#endif
