/* See err.h. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const kind_names[] = {
    [ERR_NONE] = "none",
    [ERR_BAD_REQUEST] = "bad_request",
    [ERR_TOO_LARGE] = "too_large",
    [ERR_UNAUTHENTIC] = "unauthenticated",
    [ERR_FORBIDDEN] = "forbidden",
    [ERR_NOT_FOUND] = "not_found",
    [ERR_CONFLICT] = "conflict",
    [ERR_TIMEOUT] = "timeout",
    [ERR_UNAVAILABLE] = "upstream_unavailable",
    [ERR_BAD_UPSTREAM] = "bad_upstream",
    [ERR_CONFIG] = "config",
    [ERR_SYSTEM] = "system",
    [ERR_INTERNAL] = "internal",
};

void err_fill(struct err *e, enum err_kind kind, const char *fmt, ...)
{
    if (!e)
        return;
    e->kind = kind;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(e->msg, sizeof e->msg, fmt, ap);
    va_end(ap);
}

const char *err_kind_name(enum err_kind kind)
{
    return kind_names[kind];
}
