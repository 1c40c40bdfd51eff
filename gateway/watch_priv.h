/* What the files of the watch share. Not for others. */
#ifndef GATEWAY_WATCH_PRIV_H
#define GATEWAY_WATCH_PRIV_H

#include "gateway/usession.h"
#include "gateway/watch.h"

enum { RETRY_MIN_MS = 100, RETRY_MAX_MS = 30000, STEADY_MS = 30000 };

/* A request of the watch's own through the way that calls take. */
struct own_call {
    struct call c;
    struct json_doc doc;
    struct buf params;
    void (*fn)(const struct outcome *o, void *arg);
    void *arg;
    bool ended;
};
/* Sends method with params (raw JSON object, taken; empty: none). fn runs once, later; it drops the
 * call. */
struct own_call *own_call_start(struct upstream *u, const char *method, struct buf *params,
                                void (*fn)(const struct outcome *o, void *arg), void *arg);
/* Gives it up if it runs; frees. Nulls *o. */
void own_call_drop(struct own_call **o);

/* One kind of list of one mount on its way, page after page. */
struct list_fetch {
    struct watched *m;
    enum catalog_kind kind;
    struct own_call *call; /* NULL: none under way */
    struct raw_list fresh;
    struct map cursors; /* seen in this round */
    unsigned pages;
    bool again;  /* it changed meanwhile */
    bool failed; /* the last round */
    int64_t backoff_ms;
    struct timer retry;
};

/* A resource that somebody wants to hear of. */
struct sub {
    struct watched *m;
    char *uri;
    int refs;
    bool have;  /* the server was told (legacy) */
    bool stale; /* the session it was told in is gone */
    struct own_call *call;
    TAILQ_ENTRY(sub) link;
};
TAILQ_HEAD(sub_list, sub);

/* What a server's capabilities promise. */
struct promises {
    bool has[KINDS], changes[KINDS], subscribe;
};

TAILQ_HEAD(refreshes, refresh);

struct watched {
    struct watch *w;
    struct upstream *up; /* counted; control's */
    struct mount_info info;
    struct promises promises;
    struct raw_list lists[KINDS];
    struct list_fetch fetch[KINDS];
    bool online;   /* its conversation is up */
    bool announce; /* came up; to be logged when its lists are here */
    bool had_lists;
    bool tried; /* up, or has failed once */
    bool pinging;
    bool opening;       /* between upstream_open and its event */
    struct err failure; /* of the last list that failed */
    int64_t opened_ms, up_ms, backoff_ms;
    struct timer reopen, ping, recheck;
    struct metric *up_metric;

    struct refreshes refreshes; /* calls that wait for its tools */

    struct sub_list subs;
    struct map subs_by_uri;
    struct urequest *listen; /* modern HTTP */
    struct timer listen_timer;
    int64_t listen_ms, listen_backoff_ms;
    bool missed; /* a stream ended: what changed meanwhile is not known */
};

struct watch {
    struct gateway *gw;
    struct watched **mounts;
    size_t n;
    struct mount_info *shown; /* what watch_mounts gave last */
    uint64_t version;
    bool waiting; /* settled is still to be called */
    loop_fn settled;
    void *settled_arg;
    struct timer settle, rebuild;
    struct store_sub fleet; /* what other replicas heard of changes */
    bool heard;             /* it was told of a gap once: at its begin */
};

/* watch.c */
/* The mount of this configuration; NULL: it is gone. */
struct watched *watch_find(const struct gateway *gw, const struct mount_config *cfg);
/* ms, more or less a fifth, so that many gateways do not come at once. */
int64_t watch_jitter(int64_t ms);
/* Doubles *backoff_ms between the bounds; returns what it was (at least the lower bound). */
int64_t watch_backoff(int64_t *backoff_ms, int64_t min_ms);
/* A kind was fetched; e: or failed. */
void watch_fetched(struct watched *m, const struct err *e);
/* Asks soon whether the server is still there. */
void watch_check(struct watched *m);

/* A server says that a kind changed. */
void watch_list_changed(struct watched *m, enum catalog_kind kind);

/* watch_fleet.c: between replicas. Hears of what others were told, from now on. */
void fleet_listen(struct watch *w);
void fleet_tell(struct watched *m, enum catalog_kind kind);

/* watch_catalog.c */
void watch_rebuild(struct watch *w);
/* The same after a moment, so that many changes make one snapshot; not before the start has
 * settled. */
void watch_rebuild_soon(struct watch *w);

/* watch_fetch.c */
void fetch_init(struct watched *m);
void fetch_fini(struct watched *m);
/* Fetches a kind, or once more when that is under way. */
void fetch_kind(struct watched *m, enum catalog_kind kind);
/* Fetches all that the server has; forgets the lists of kinds that it has not. */
void fetch_all(struct watched *m);
/* No more retries until fetch_all. */
void fetch_pause(struct watched *m);
bool fetch_running(const struct watched *m);
void raw_list_fini(struct raw_list *l);
/* Appends one definition. */
void raw_list_add(struct raw_list *l, struct str text);

/* upstream_refresh.c: the mount's tools were fetched, or could not be. */
void refresh_done(struct watched *m);
/* The mount is gone: its calls are sent again as they were. */
void refresh_give_up(struct watched *m);

/* watch_subs.c */
void subs_init(struct watched *m);
void subs_fini(struct watched *m);
/* from's subscriptions become to's: its configuration changed. */
void subs_move(struct watched *from, struct watched *to);
/* The conversation is up: tells the server of all subscriptions; opens the stream of a modern
 * one. */
void subs_up(struct watched *m);
void subs_down(struct watched *m);
void subs_change(struct watched *m, struct str uri, bool on);
/* Any thread: every shard's sessions and listeners hear of an updated resource. */
void subs_publish_update(struct upstream *u, struct str uri);

#endif
