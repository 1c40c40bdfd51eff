/* The kinds of error, and the message for people. gateway/jsonrpc maps a kind to HTTP and
 * JSON-RPC. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/alloc.h"

enum err_kind {
    ERR_NONE,
    ERR_BAD_REQUEST,  /* the peer sent what its protocol forbids */
    ERR_TOO_LARGE,    /* over a limit of ours */
    ERR_UNAUTHENTIC,  /* no or wrong credential */
    ERR_FORBIDDEN,    /* known, but may not */
    ERR_NOT_FOUND,    /* no such thing, or hidden */
    ERR_CONFLICT,     /* a state that does not allow it */
    ERR_TIMEOUT,      /* a deadline passed */
    ERR_UNAVAILABLE,  /* an upstream, a child or a store is away */
    ERR_BAD_UPSTREAM, /* an upstream answered what its protocol forbids */
    ERR_CONFIG,       /* what the operator wrote */
    ERR_SYSTEM,       /* the operating system refused */
    ERR_INTERNAL,     /* ours */
};

struct err {
    enum err_kind kind;
    char msg[384]; /* one line, no secrets */
};

/* Fills e (which may be NULL) and yields false, so that a failing branch is one line. */
#define err_set(e, kind, ...) (err_fill(e, kind, __VA_ARGS__), false)
/* The function behind err_set. */
void err_fill(struct err *e, enum err_kind kind, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* The kind as a stable lower-case word ("timeout"), for logs and `data.reason`. */
const char *err_kind_name(enum err_kind kind);

#endif
