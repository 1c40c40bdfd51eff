/* Pages of the catalog's lists with sealed cursors, and the merged view that initialize and
 * server/discover show. */
#ifndef GATEWAY_LISTS_H
#define GATEWAY_LISTS_H

#include "gateway/catalog.h"

struct request;

/* Appends `"tools":[…]` and, when there is more, `,"nextCursor":"…"`. cursor: the client's,
 * unescaped; p NULL: the first page. Any replica continues another's page: a cursor names the list
 * and its last entry, and is bound to who asks. ERR_BAD_REQUEST: not a cursor of ours, or its place
 * in the list is gone. */
bool lists_page(const struct request *r, struct str cursor, struct buf *out,
                struct err *e) MUST_USE;
/* Appends the capabilities object of the merged view (MCP server capabilities; listChanged always,
 * the gateway can change). */
void lists_capabilities(const struct catalog *c, bool legacy, struct buf *out);
/* Appends `,"instructions":"…"` of the servers that the caller sees, if they have any. */
void lists_instructions(const struct request *r, struct buf *out);
/* Appends the gateway's own serverInfo object. */
void lists_server_info(const struct config *cfg, struct buf *out);
/* Appends a notifications/…/list_changed message's method name for a kind; templates have none of
 * their own. */
const char *lists_changed_method(enum catalog_kind kind);

#endif
