/* May this caller use what its call names? One decision for lists (gateway/view.h) and calls; what
 * is hidden from a caller answers as what does not exist. */
#ifndef GATEWAY_ACCESS_H
#define GATEWAY_ACCESS_H

#include "gateway/call.h"
#include "gateway/catalog.h"

/* Judges the target of a call whose doc, params, principal and public_target are set; notes the
 * decision in c->access. False: e is ERR_NOT_FOUND (hidden; the caller words it as for an unknown
 * name), ERR_FORBIDDEN (a rule says so), or ERR_FORBIDDEN with c->access.scopes set: the scopes
 * that it takes, of which one is missing. */
bool access_check(struct call *c, enum method_route route, const struct target *t,
                  struct err *e) MUST_USE;
/* May the caller see this resource? For subscriptions, which are no calls. */
bool access_may_see(struct shard *s, const struct principal *who, struct str uri,
                    const struct target *t);
/* May it hear, by the policy and the catalog of now, that this resource has changed? */
bool access_hears_of(struct shard *s, const struct principal *who, struct str uri);

#endif
