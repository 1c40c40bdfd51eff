/* What of calls and of the control plane goes to the audit log: who, what, decided how, with what
 * outcome. Arguments only as a digest; no credential. */
#ifndef GATEWAY_AUDIT_CALL_H
#define GATEWAY_AUDIT_CALL_H

#include "gateway/call.h"
#include "gateway/exchange.h"

/* A client's call has ended. outcome: "ok", "tool_error", "error", "failed", "cancelled". */
void audit_call(const struct call *c, const char *outcome);
/* A client's call was refused before it was admitted. */
void audit_denied(const struct call *c, const struct err *e);
/* Somebody came in to change something at the control plane. */
void audit_admin(const struct exchange *x);

#endif
