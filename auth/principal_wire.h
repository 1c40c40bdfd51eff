/* A principal on its way from one replica to another that will act for it. The replicas know each
 * other by the fleet's key; what carries the text authenticates it. */
#ifndef AUTH_PRINCIPAL_WIRE_H
#define AUTH_PRINCIPAL_WIRE_H

#include "auth/principal.h"

/* Appends what principal_read makes the same principal of. */
void principal_write(const struct principal *p, struct buf *out);
/* Returns owned; NULL: this is no such text. */
struct principal *principal_read(struct str text);

#endif
