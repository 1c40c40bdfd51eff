/* See methods.h. */
#include "gateway/methods.h"

#define M(lit)                                                                                     \
    {                                                                                              \
        (lit), sizeof(lit) - 1                                                                     \
    }

const struct method method_tools_call = {.name = M("tools/call"),
                                         .legacy = true,
                                         .modern = true,
                                         .action = METHOD_CALL,
                                         .route = ROUTE_TOOL,
                                         .interactive = true};

static const struct method rows[] = {
    {.name = M("initialize"), .legacy = true},
    {.name = M("ping"), .legacy = true},
    {.name = M("logging/setLevel"), .legacy = true},
    {.name = M("resources/subscribe"), .legacy = true, .route = ROUTE_URI},
    {.name = M("resources/unsubscribe"), .legacy = true, .route = ROUTE_URI},
    {.name = M("server/discover"), .modern = true, .cacheable = true},
    {.name = M("subscriptions/listen"), .modern = true},
    {.name = M("tools/list"),
     .legacy = true,
     .modern = true,
     .action = METHOD_LIST,
     .kind = KIND_TOOLS,
     .safe = true,
     .cacheable = true},
    {.name = M("prompts/list"),
     .legacy = true,
     .modern = true,
     .action = METHOD_LIST,
     .kind = KIND_PROMPTS,
     .safe = true,
     .cacheable = true},
    {.name = M("resources/list"),
     .legacy = true,
     .modern = true,
     .action = METHOD_LIST,
     .kind = KIND_RESOURCES,
     .safe = true,
     .cacheable = true},
    {.name = M("resources/templates/list"),
     .legacy = true,
     .modern = true,
     .action = METHOD_LIST,
     .kind = KIND_TEMPLATES,
     .safe = true,
     .cacheable = true},
    {.name = M("prompts/get"),
     .legacy = true,
     .modern = true,
     .action = METHOD_CALL,
     .route = ROUTE_PROMPT,
     .safe = true,
     .interactive = true},
    {.name = M("resources/read"),
     .legacy = true,
     .modern = true,
     .action = METHOD_CALL,
     .route = ROUTE_URI,
     .safe = true,
     .interactive = true,
     .cacheable = true},
    {.name = M("completion/complete"),
     .legacy = true,
     .modern = true,
     .action = METHOD_CALL,
     .route = ROUTE_REF,
     .safe = true},
};

const struct method *method_find(struct str name)
{
    if (str_eq(name, method_tools_call.name))
        return &method_tools_call;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (str_eq(name, rows[i].name))
            return &rows[i];
    return NULL;
}
