/* headgate check --explain: what the policy decides for a caller and a tool, without running. */
#ifndef GATEWAY_EXPLAIN_H
#define GATEWAY_EXPLAIN_H

#include "gateway/config.h"

/* principal: a JSON file, {"client", "subject", "issuer", "tenant", "scopes": [], "claims": {},
 * "item": {"kind", "upstream", "tags": [], "annotations": {}}}, all optional. args: a JSON file, or
 * NULL. Prints the decision; 0: allowed, 1: not, 2: a file cannot be read. */
int explain(const struct config *c, const char *principal, const char *tool, const char *args);
/* headgate approve: prints an approval of one call of that caller, tool and arguments, good for ten
 * minutes. The same files; 0: done, 1: the caller belongs nowhere, 2: a file cannot be read, or the
 * keys are not configured. */
int approve(const struct config *c, const char *principal, const char *tool, const char *args);

#endif
