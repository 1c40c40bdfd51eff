/* The data plane's HTTP/1.1 server on one shard's loop: connections, limits and deadlines; requests
 * go up as exchanges. */
#ifndef GATEWAY_HTTP_SERVER_H
#define GATEWAY_HTTP_SERVER_H

#include "gateway/exchange.h"

struct shard;

enum http_listener { HTTP_FOR_CLIENTS, HTTP_FOR_ADMIN, HTTP_FOR_REPLICAS };

struct http_server *http_server_new(struct shard *s);
/* Closes all connections and frees. */
void http_server_free(struct http_server **h);
/* Takes over an accepted socket. From any thread by loop_post through http_server_adopt. */
void http_server_adopt(struct shard *s, int fd, enum http_listener kind);
/* Accepts on fd (not closed by us) and spreads connections over the gateway's shards, least loaded
 * first. */
void http_server_listen(struct http_server *h, int fd, enum http_listener kind);
/* Stops accepting clients, after taking what is queued in the kernel. Other replicas are served to
 * the end: they have to hear where things are. */
void http_server_unlisten(struct http_server *h);
/* Closes idle connections; from now on every answer closes its connection. */
void http_server_drain(struct http_server *h);
/* Cuts every connection that is left. */
void http_server_cut(struct http_server *h);

#endif
