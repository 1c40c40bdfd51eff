/* Rate limits: which windows a call counts in (a plan, made with the catalog), and the decision
 * whether all of them have room for it (one operation of the store). */
#ifndef GATEWAY_LIMITS_H
#define GATEWAY_LIMITS_H

#include "gateway/config.h"
#include "gateway/methods.h"
#include "gateway/traits.h"
#include "store/store.h"

struct call;
struct catalog_entry;
struct metric;

/* One window. What it points to is the configuration's. */
struct limit_window {
    const char *name; /* of its rule; "default", "tool" or "tenant" */
    enum { WINDOW_TOOL = 't', WINDOW_RULE = 'r', WINDOW_TENANT = 'o', WINDOW_POLICY = 'p' } sort;
    struct rate rate; /* of a tenant: unset, for it is the calling one's */
    unsigned per;     /* enum limit_per */
    enum limit_fail fail;
    char *const *tenants;   /* NULL: all */
    struct metric *refused; /* mcp_rate_limited_total; NULL: not looked up yet */
};

/* All windows that calls of one target may count in. Zero-initialised: none. */
struct limit_plan {
    struct limit_window *at;
    size_t n;
};

/* What a plan is made for. */
struct limit_target {
    const struct config *config;
    const struct method *method;
    struct str public_name, name;
    const struct traits *traits; /* NULL: none */
};
void limit_plan_build(const struct limit_target *t, struct limit_plan *out);
void limit_plan_fini(struct limit_plan *p);

enum limit_verdict { LIMIT_ADMITTED, LIMIT_REFUSED, LIMIT_WAITS };

/* A decision. The caller sets call, plan, fn and arg, and keeps it in place until the verdict is
 * there, or limit_check_cancel. */
struct limit_check {
    struct call *call;
    const struct limit_plan *plan;
    void (*fn)(struct limit_check *k, enum limit_verdict v);
    void *arg;

    /* When refused */
    const struct limit_window *by;
    struct rate rate; /* of that window */
    int64_t retry_ms; /* -1: never */
    bool away;        /* not by a full window, but because the store is away */

    struct limit_window extra; /* private: what the policy's rule says, if it does */
    struct store_op op;        /* private */
    struct str who;            /* private: in the call's arena */
    size_t next; /* private: the first window that is not decided; after the plan's comes extra */
    size_t asked[STORE_WINDOWS_MAX]; /* private: indices into the plan */
    size_t asked_count;
};

/* Before the first decision, while call->exchange is there: notes what the policy said, and, where
 * some window asks for that, who calls. */
void limit_check_prepare(struct limit_check *k);
/* Decides. LIMIT_WAITS: fn says it later, on the call's loop; else it is not called. */
enum limit_verdict limit_check(struct limit_check *k);
/* fn is not called any more. */
void limit_check_cancel(struct limit_check *k);

#endif
