/* Upstreams: one shard's side of a mount. HTTP (modern and legacy) and stdio servers look alike
 * from above: calls go in, events come out; sessions, probes, pools and children stay inside. */
#ifndef GATEWAY_UPSTREAM_H
#define GATEWAY_UPSTREAM_H

#include "gateway/call.h"

#include <sys/queue.h>

struct local_pool;
struct usession;
struct http_pool;
struct hreq;

enum up_era { UP_UNKNOWN, UP_MODERN, UP_LEGACY };

struct upstream {
    struct shard *shard;
    struct config *config; /* counted: keeps cfg */
    const struct mount_config *cfg;
    int index;
    int refs;
    bool closed; /* its mount is gone or changed: no new calls */
    struct timer closing;
    int64_t close_at_ms;
    struct http_pool *pool;       /* HTTP */
    struct http_pool **own_pools; /* one a credential of cfg, made at first use; NULL: none */
    struct usession *shared;      /* legacy HTTP; stdio and HTTP+SSE on their home shard */
    TAILQ_HEAD(usession_list, usession) pooled; /* on behalf of modern clients; used last first */
    int pooled_count;
    struct timer pool_sweep;
    TAILQ_HEAD(, urequest) mismatched; /* calls that wait for the mount's tools as they are now */
    struct shard *home;                /* stdio and HTTP+SSE: the shard that has the shared pipe */
    bool sse;                          /* HTTP+SSE, as configured or found out */
    enum up_era era;                   /* as known on this shard */
    int64_t child_legacy_ms;  /* stdio: until then it counts as legacy, and is not probed */
    struct local_pool *local; /* local mounts, on their home shard */
    char *listen_for; /* params of a child's subscriptions/listen; NULL: changes of its lists */
    uint64_t next_id;
    char *token; /* of bearer_token_file, as last read */
    int64_t token_read_ms;
    struct metric *calls, *errors, *seconds;
};

/* What a server told of itself when a conversation began (initialize or server/discover). */
struct server_info {
    enum up_era era;
    char version[16];
    char *capabilities; /* raw JSON object, owned */
    char *instructions; /* raw JSON string, owned, NULL: none */
    char *name;         /* serverInfo.name as raw JSON string, owned, NULL */
    bool stateful;      /* the server gave a session id */
    bool sse;           /* HTTP+SSE */
};
void server_info_fini(struct server_info *i);
void server_info_copy(struct server_info *to, const struct server_info *from);

struct upstream *upstream_new(struct shard *s, struct config *config, int index);
struct upstream *upstream_ref(struct upstream *u);
/* The last reference stops the shared session or child and frees. Nulls *u. */
void upstream_unref(struct upstream **u);
/* The mount is gone: the shared conversation ends with the last of its calls, at the latest within
 * that time. */
void upstream_close(struct upstream *u, int64_t within_ms);
/* The same at the end of the process: nothing is waited for, every request ends. */
void upstream_cut(struct upstream *u);

/* Begins (or begins again) the conversation that tells what the server is: probe or handshake, and
 * for stdio the child itself. Ends in session_up or session_down. Fine when one is under way or
 * open. */
void upstream_open(struct upstream *u);
/* Data shards: takes over what control found out about an HTTP server. */
void upstream_learn(struct upstream *u, const struct server_info *info);
/* Does the server speak HTTP+SSE? Nothing of it is open when that changes. */
void upstream_set_sse(struct upstream *u, bool sse);

/* Local mounts: the shard's generation has changed, or there is none and e says why. */
void upstream_local_changed(struct upstream *u, const struct err *e);

/* Modern HTTP servers: opens subscriptions/listen with these raw params; what comes in goes to the
 * events. fn is called at its end. Returns what upstream_unlisten ends. */
struct urequest *upstream_listen(struct upstream *u, struct str params,
                                 void (*fn)(struct urequest *r, const struct rpc_msg *m,
                                            const struct err *e),
                                 void *arg);
/* Ends it without calling fn. Nulls *r. */
void upstream_unlisten(struct urequest **r);
/* The same for a modern child that is shared: what its conversation listens for from now on. From
 * any upstream of its mount. */
void upstream_listen_for(struct upstream *u, struct str params);
/* Asks a server that was found to be legacy once more what it is; session_up tells when it is
 * modern now. An upgraded server still shakes hands: only asking shows it. */
void upstream_recheck(struct upstream *u);
/* Is the server still there? Sends ping (legacy) or server/discover (modern) on what upstream_open
 * opened; fn gets the answer. */
void upstream_ping(struct upstream *u,
                   void (*fn)(struct urequest *r, const struct rpc_msg *m, const struct err *e),
                   void *arg);

/* Sends the call (u = c->up). Ends it with call_finish or call_fail, never before this returned. */
void upstream_send(struct call *c);
/* Tells the upstream that the caller gave up (MCP 2026-07-28 basic/patterns/cancellation; legacy:
 * notifications/cancelled). */
void upstream_cancel(struct call *c);

/* The call waits for its client: what is kept for its answer shrinks. Not in an event of its. */
void upstream_rest(struct call *c);

/* Events of an upstream that belong to no call; called on the shard's loop. */
struct upstream_events {
    void (*list_changed)(struct upstream *u, enum catalog_kind kind);
    void (*resource_updated)(struct upstream *u, struct str uri);
    void (*session_up)(struct upstream *u, const struct server_info *info);
    void (*session_down)(struct upstream *u, const struct err *e);
    /* Control's own: it was found out to speak HTTP+SSE, which upstream_open opens on its home. */
    void (*session_moved)(struct upstream *u);
};
/* Whom the upstreams of this process tell. Set once. */
void upstream_set_events(const struct upstream_events *ev);

/* A request from an upstream to the client: sampling, elicitation, roots. Owned by whoever took it;
 * exactly one of answer, refuse ends it. */
struct ask {
    struct usession *us;        /* NULL when the conversation is gone */
    struct call *call;          /* NULL: belongs to no call */
    bool shared;                /* the conversation has more clients than this one */
    char *id;                   /* the upstream's, raw JSON */
    const struct json_doc *doc; /* borrowed while the sink's input or the session's handler runs */
    uint32_t method, params;
    /* Instead of the server: whoever asks through the gateway. Called once, then the ask is freed;
     * raw: the result (ok) or the error object. */
    void (*answered)(struct ask *a, bool ok, struct str raw);
    void *asker;
    void *holder;                        /* of whoever took it */
    void (*on_cancelled)(struct ask *a); /* the upstream withdrew it; the ask is freed afterwards */
    TAILQ_ENTRY(ask) link;
};
/* result: raw JSON of the client's result. Frees the ask. */
void ask_answer(struct ask *a, struct str result);
/* error: raw JSON error object. Frees the ask. */
void ask_refuse(struct ask *a, struct str error);
/* For whoever asks through the gateway: takes it back from whoever took it. Frees the ask. */
void ask_withdraw(struct ask *a);

/* For sessions: what a legacy session of a client does to the conversations it owns. */
/* Ends a conversation: upstream DELETE or the child's end; calls in it fail. Nulls *us. */
void usession_close(struct usession **us);
/* The same, but the server keeps the session: another replica goes on with it. Nulls *us. */
void usession_leave(struct usession **us);
/* Sends a notification (method, raw params) on it, when it is open. */
void usession_notify(struct usession *us, struct str method, struct str params);
/* Sends a request whose answer nobody waits for (logging/setLevel). */
void usession_tell(struct usession *us, struct str method, struct str params);
/* Does the mount give every client session a conversation of its own, as far as is known? Those of
 * who has its own credential always are. */
bool upstream_per_client(const struct upstream *u, const struct principal *who);
/* The connections that show the credential of this caller (NULL: the gateway's own). */
struct http_pool *upstream_pool(struct upstream *u, const struct principal *who);

#endif
