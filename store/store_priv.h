/* What the store's files share: the seam to a backend, and what handles have in common. Private to
 * store/ and its tests. */
#ifndef STORE_STORE_PRIV_H
#define STORE_STORE_PRIV_H

#include "base/metrics.h"
#include "base/net.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>

/* In the order of `action_names`. */
enum store_action {
    ACTION_GET,
    ACTION_SET,
    ACTION_DEL,
    ACTION_DEL_IF,
    ACTION_EXTEND,
    ACTION_ADMIT,
    ACTION_APPEND,
    ACTION_READ,
    ACTION_JOIN,
    ACTION_LEAVE,
    ACTION_MEMBERS,
    ACTION_PUBLISH,
    ACTIONS,
};
enum { STATUSES = STORE_AWAY + 1 };

/* One operation for a backend; borrowed for the call. Checked against the limits of store.h. */
struct store_request {
    enum store_action action;
    enum store_when when;
    struct str key, value;
    int64_t ttl_ms, seq, keep_from;
    const struct store_window *windows;
    size_t window_count;
};

struct store_backend {
    const char *name;
    struct store *(*open)(struct store_hub *h, struct loop *l);
    /* As the functions of store.h: true and *r, or op->fn later. op may be NULL. */
    bool (*run)(struct store *s, struct store_op *op, const struct store_request *q,
                struct store_reply *r);
    void (*cancel)(struct store *s, struct store_op *op);
    /* The first subscription to a channel came; the last one went. NULL: every channel is live from
     * the start. Else the backend says so by store_channel_live, not from within. */
    void (*subscribed)(struct store *s, struct str channel);
    void (*unsubscribed)(struct store *s, struct str channel);
    bool (*is_up)(const struct store *s);
    int (*replicas)(const struct store *s); /* NULL: 1 */
    /* Ends what is under way and frees what the backend added. */
    void (*close)(struct store *s);
};

extern const struct store_backend store_memory_backend, store_redis_backend;

/* Subscriptions to one name. */
struct store_channel {
    struct store_sub *first;
    bool live;   /* the store delivers to it */
    char name[]; /* NUL-terminated */
};

/* What every handle begins with. Counted: messages on their way to its loop hold one. */
struct store {
    const struct store_backend *backend;
    struct store_hub *hub;
    struct loop *loop;
    struct store *local;                           /* NULL: itself */
    struct map channels;                           /* name -> struct store_channel */
    struct store_sub *walk;                        /* the subscription that is told next */
    struct buf scratch;                            /* values lent to callers */
    struct store_entry entries[STORE_MEMBERS_MAX]; /* the same; STORE_READ_MAX is less */
    struct store *next;                            /* of the hub */
    atomic_int refs;
    atomic_size_t subs; /* read by publishers on other loops */
    bool closed;
};

struct store_memory;
struct store_redis_hub;

/* What is read back and was not ours. */
enum store_forgery {
    FORGED_VALUE,
    FORGED_LOG,
    FORGED_MEMBER,
    FORGED_MESSAGE,
    FORGED_NUMBER,
    FORGERIES
};

struct store_hub {
    const struct store_backend *backend;
    struct store_memory *memory;
    struct store_redis_hub *redis; /* NULL: memory */
    char *prefix;
    struct metric *ops[ACTIONS][STATUSES];
    struct metric *seconds[ACTIONS];
    struct metric *forged[FORGERIES];
    struct metric *up, *reconnects;
    pthread_mutex_t lock; /* guards handles */
    struct store *handles;
};

/* For a backend's open: fills the common part of a zeroed handle. */
void store_init(struct store *s, const struct store_backend *b, struct store_hub *h,
                struct loop *l);
struct store *store_ref(struct store *s);
void store_unref(struct store **s);
/* Tells the subscriptions to a channel; on the handle's thread. */
void store_deliver(struct store *s, enum store_event event, struct str channel, struct str body);
/* The store begins to deliver to the channel: its subscriptions are told of a gap. */
void store_channel_live(struct store *s, struct str channel);
/* No channel is live any more. */
void store_channels_away(struct store *s);
/* Counts an operation's end. */
void store_count(const struct store *s, enum store_action action, enum store_status status);
/* An answer that takes no more than a status. Returns true. */
bool store_answer(struct store_reply *r, enum store_status status);
/* Lends a copy of bytes for *r: valid until the next operation. */
struct str store_lend(struct store *s, struct str bytes);

/* ---- store_redis.c ---- */

/* ERR_CONFIG: certificates. */
struct store_redis_hub *store_redis_hub_new(const struct store_options *o, struct err *e);
void store_redis_hub_free(struct store_redis_hub **h);

/* ---- store_memory.c ---- */

struct store_memory *store_memory_new(size_t max_bytes);
void store_memory_free(struct store_memory **m);
/* Bytes charged now. */
size_t store_memory_bytes(const struct store_memory *m);

#endif
