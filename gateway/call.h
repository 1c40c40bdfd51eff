/* One request in flight: who asks, what, of which mount; events go to its sink, whatever era either
 * side speaks. */
#ifndef GATEWAY_CALL_H
#define GATEWAY_CALL_H

#include "auth/policy.h"
#include "gateway/gateway.h"
#include "gateway/jsonrpc.h"
#include "gateway/methods.h"

struct call;
struct session;
struct upstream;
struct urequest;
struct ask;
struct catalog_entry;
struct relay;
struct stage;
struct exchange;

/* How a call ended. Everything is borrowed until the sink returns. */
struct outcome {
    enum { OUT_RESULT, OUT_ERROR, OUT_FAILED } kind;
    const struct json_doc *doc; /* RESULT, ERROR: what the upstream sent */
    uint32_t tok;               /* the result, or the error object */
    bool modern;                /* the upstream's era: shape of result and error */
    const struct err *err;      /* FAILED: ours */
    /* Of our own outcomes; 0 for those of upstreams. */
    int status;        /* HTTP status of an ERROR, where it can still be set */
    int retry_after_s; /* for a Retry-After field */
    bool kept;         /* a result from the cache, which holds ttl_ms longer … */
    bool shared;       /* … for all of a tenant */
    int64_t ttl_ms;
};

/* Where a call's events go. All are called on the call's own loop; done exactly once, unless the
 * call is cancelled. */
struct call_sink {
    /* params of notifications/progress; the token in it is the upstream's and is to be replaced by
     * the caller's. */
    void (*progress)(struct call *c, const struct json_doc *d, uint32_t params);
    /* params of notifications/message. */
    void (*log)(struct call *c, const struct json_doc *d, uint32_t params);
    /* A legacy upstream asks while the call runs. Takes the ask: answers it with ask_answer or
     * ask_refuse, now or later. */
    void (*input)(struct call *c, struct ask *ask);
    /* A result that may want the call once more (MCP 2026-07-28 basic/patterns/mrtr). True: the
     * call lives on, the sink sends it again with call_send, or ends it. False: it is the end.
     * NULL: always false. */
    bool (*suspended)(struct call *c, const struct outcome *o);
    void (*done)(struct call *c, const struct outcome *o);
    /* The upstream's stream broke off and will be taken up again: the answer will take its time.
     * May be NULL. */
    void (*held)(struct call *c);
};

enum { LOG_LEVEL_NONE = -1, LOG_LEVEL_DEFAULT = 1 /* info */ };

struct call {
    struct shard *shard;
    const struct method *method;
    const struct call_sink *sink;
    void *arg; /* of the sink */

    /* The request: its params (JSON_NONE: none); the doc stays valid until the call has ended. */
    const struct json_doc *doc;
    uint32_t params;
    uint32_t target_tok; /* where in doc the target stands; JSON_NONE: nowhere */
    uint32_t state_tok;  /* and requestState */
    /* Who asks */
    struct principal *principal;     /* counted */
    const struct exchange *exchange; /* by which it came, until call_admit returned; NULL: none */
    struct session *session;         /* legacy clients; NULL for the gateway's own calls */
    struct str session_name; /* its id, where the session itself is on another shard; or empty */
    struct str client_caps, client_info; /* raw JSON objects, or empty */
    struct str affinity; /* keeps its upstream sessions apart from others of its principal */
    unsigned caps;       /* what a modern client can answer: enum client_cap */
    int log_level; /* index of MCP's levels, 0 = debug; LOG_LEVEL_NONE: no log messages wanted */
    struct str progress_token; /* raw JSON, or empty */
    struct str
        param_fields; /* unrecognised Mcp-Param-* lines to hand on to a modern HTTP upstream */

    /* Where it goes */
    struct upstream *up; /* counted; set by call_resolve or by the gateway's own callers */
    const struct catalog_entry *entry; /* borrowed from catalog; NULL for unlisted names */
    struct catalog *catalog;           /* counted: keeps entry */
    struct str target;                 /* the upstream's own name or URI */
    struct str public_target;          /* what the client wrote */
    struct str upstream_state;         /* opened requestState, to be sent instead of the client's */
    struct str retry; /* raw members for params: what a retry brings, of a client that cannot */

    /* What the policy said (gateway/access.h); in the arena. */
    struct {
        enum policy_effect effect;
        bool decided;
        bool accepted;     /* a person accepted an earlier round of it */
        uint64_t spends;   /* the sealed approval that it brings: good for one call; 0: none */
        struct str rule;   /* the rule that decided; empty: none */
        const char *limit; /* its limit, as a rate; NULL: none */
        strlist scopes;    /* refused for a scope: all that the operation takes; else NULL */
    } access;
    double progress; /* the last one that was told */

    _Atomic int *seat;         /* in its tenant's quota of calls under way */
    struct approval *approval; /* while a person is asked */
    struct urequest *ureq;
    struct relay *relay; /* when another shard has the conversation */
    struct stage *stage; /* between admission and sending: limits and cache; NULL: none */
    bool legacy_client, live, admitted;
    bool progressed; /* progress holds something */
    bool refreshed;  /* its headers were made anew, see upstream_refresh.c */
    int64_t started_us;
    struct arena arena;
};

/* Resolves the target: fills up, entry, target and so on, sends nothing. False: e says why
 * (ERR_NOT_FOUND, ERR_UNAVAILABLE …). The caller has filled shard, method, doc, params and who
 * asks. */
bool call_resolve(struct call *c, struct err *e) MUST_USE;
/* Counts it, passes it through limits and cache (call_stages.h) and sends it. The sink's done comes
 * later, never before this returned, unless call_cancel is called first. */
void call_admit(struct call *c, const struct call_sink *sink, void *arg);
/* For the approval: the call, which is admitted and live, goes on to its limits and its server. */
void call_go_on(struct call *c);
/* Starts a call whose up, target and target_tok are set. Counted in metrics as upstream traffic
 * only. */
void call_send(struct call *c);
/* Gives the call up: the upstream is told in its way; the sink is not called any more. Fine when it
 * has ended. */
void call_cancel(struct call *c);
/* For upstreams: ends the call with o. */
void call_finish(struct call *c, const struct outcome *o);
/* For upstreams: the call is about to ask its client something, so that what comes is an answer to
 * that client alone. */
void call_asks(struct call *c);
/* For upstreams: ends the call with an error of ours. */
void call_fail(struct call *c, const struct err *e);
/* Releases what the call holds (not the struct). Cancels it if it still runs. */
void call_fini(struct call *c);

#endif
