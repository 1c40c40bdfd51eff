/* The stdio transport towards a client (MCP 2026-07-28 basic/transports/stdio): the gateway is the
 * child of one client, and speaks with it on stdin and stdout, one message a line, both eras. */
#ifndef GATEWAY_MCP_STDIO_H
#define GATEWAY_MCP_STDIO_H

#include "gateway/gateway.h"

struct mcp_stdio;

/* Begins to read, on that shard's loop. The end of stdin, or of who reads stdout, drains the
 * gateway. Returns owned. */
struct mcp_stdio *mcp_stdio_start(struct shard *s);
/* After the shard's thread has ended, before its sessions: ends the conversation; what is still to
 * be written is written, if the client reads it within a moment. Nulls *io. */
void mcp_stdio_stop(struct mcp_stdio **io);

#endif
