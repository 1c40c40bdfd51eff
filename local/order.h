/* What the gateway wants of a new worker: the first line on its connection, one JSON object. */
#ifndef LOCAL_ORDER_H
#define LOCAL_ORDER_H

#include "base/json.h"
#include "local/sandbox.h"

enum { ORDER_MAX_BYTES = 64 * 1024 };

struct order {
    struct str text;        /* the line, borrowed; the Python side reads its own members of it */
    bool describe;          /* load, tell the report as one line, and exit; else serve */
    struct sandbox sandbox; /* its strings are in the arena */
};

/* Reads {"describe": bool, "profile": "pure", "required": bool, "memoryMb": N, "cpuSeconds": N,
 * "files": N, "fileBytes": N, "read": […], "write": […], "ports": […], …}. All are optional but
 * profile. ERR_BAD_REQUEST. */
bool order_parse(struct str text, struct order *out, struct arena *a, struct err *e) MUST_USE;

#endif
