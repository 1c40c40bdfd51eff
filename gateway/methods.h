/* The table of MCP methods: which era has them, and how the gateway deals with each. */
#ifndef GATEWAY_METHODS_H
#define GATEWAY_METHODS_H

#include "base/str.h"

enum method_action {
    METHOD_TERMINATE, /* answered by the downstream codec itself */
    METHOD_LIST,      /* answered from the catalog */
    METHOD_CALL,      /* routed to one mount */
};

/* What in params names the target of a call. */
enum method_route { ROUTE_NONE, ROUTE_TOOL, ROUTE_PROMPT, ROUTE_URI, ROUTE_REF };

enum catalog_kind { KIND_TOOLS, KIND_PROMPTS, KIND_RESOURCES, KIND_TEMPLATES, KINDS };

struct method {
    struct str name;
    bool legacy, modern;
    enum method_action action;
    enum method_route route;
    enum catalog_kind kind; /* of lists */
    bool safe;              /* a read: may be sent again when the connection broke */
    bool interactive;       /* may ask for input (MCP 2026-07-28 basic/patterns/mrtr) */
    bool cacheable;         /* its result carries ttlMs and cacheScope in the modern era */
};

/* The row of a method, or NULL. */
const struct method *method_find(struct str name);
extern const struct method method_tools_call; /* the hot one */

#endif
