/* Which path goes where, and the checks that every request passes first. */
#ifndef GATEWAY_ROUTES_H
#define GATEWAY_ROUTES_H

#include "gateway/exchange.h"

/* The head is there, the body not yet: Host, Origin, CORS, path, method and type are judged. It may
 * answer. */
void routes_on_head(struct exchange *x);
/* The body is there too (or there is none). */
void routes_on_request(struct exchange *x);

#endif
