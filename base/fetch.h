/* HTTP fetches off the hot path (key sets, discovery documents, webhooks) on libcurl multi, on one
 * loop. */
#ifndef BASE_FETCH_H
#define BASE_FETCH_H

#include "base/loop.h"

struct fetcher;
struct fetch;

struct fetch_request {
    const char *url;            /* http or https only */
    const char *method;         /* NULL: GET */
    const char *const *headers; /* NULL-terminated "Name: value" or NULL; CR/LF refused */
    struct str body;            /* sent when not empty */
    size_t max_bytes;           /* of the answer; 0 = 256 KiB */
    int timeout_ms;             /* in all; 0 = 2000 */
    const char *ca_file;        /* NULL: the system's */
    bool allow_private; /* an operator wrote this URL: private and loopback addresses are fine */
};
struct fetch_response {
    int status;
    struct str body; /* borrowed until the callback returns */
    struct str content_type;
};
/* Exactly once, never before fetch_start returned; r is NULL when e is set (ERR_UNAVAILABLE,
 * ERR_TIMEOUT, ERR_TOO_LARGE, ERR_FORBIDDEN by the address policy, ERR_CONFIG for a malformed URL,
 * method or header). The handle is dead once it ran. */
typedef void (*fetch_done_fn)(const struct fetch_response *r, const struct err *e, void *arg);

struct fetcher *fetcher_new(struct loop *l);
/* Cancels what is under way without callbacks. */
void fetcher_free(struct fetcher **f);
/* No redirects, no proxies from the environment, no cookies. The address policy (net_addr_allowed)
 * is applied to the resolved address at connect, so that names that re-bind cannot pass. Borrows
 * req until it returns. */
struct fetch *fetch_start(struct fetcher *f, const struct fetch_request *req, fetch_done_fn fn,
                          void *arg);
/* fn will not be called. Nulls *x. */
void fetch_cancel(struct fetch **x);

#endif
