/* What the files of the Redis backend share: the settings, the link that stays up, the handle.
 * Private to store/. */
#ifndef STORE_STORE_REDIS_H
#define STORE_STORE_REDIS_H

#include "store/store_mac.h"
#include "store/store_priv.h"
#include "store/store_redis_scripts.h"
#include "store/store_redis_wire.h"

/* One a process. Immutable but for the atomics. */
struct store_redis_hub {
    struct store_url url;
    char *password, *password_file; /* NULL: the URL's, or none */
    char *replica;
    int op_ms, connect_ms;
    struct tls_ctx *tls; /* NULL: plain */
    struct store_macs *macs;
    struct redis_script_names names;
    struct buf greeting; /* loads the scripts */
    atomic_int away;     /* handles whose Redis does not answer */
    atomic_int replicas;
    _Atomic int64_t away_since_ms;
    _Atomic int64_t complained_ms; /* last time that an error of Redis was logged */
};

/* ---- store_redis_link.c: a connection to the master that comes back by itself ---- */

enum redis_link_state {
    LINK_OFF,
    LINK_ASKING,   /* a sentinel for the master's address */
    LINK_GREETING, /* the master: who we are, and is it the master */
    LINK_UP,
    LINK_RESTING, /* before the next attempt */
};

struct redis_link;
struct redis_link_events {
    void (*on_up)(struct redis_link *l);
    /* It was up, or an attempt failed: l->failures says how many since it was up. */
    void (*on_down)(struct redis_link *l, const struct err *e);
    /* A reply, in l->wire.replies. May call redis_link_drop. */
    void (*on_reply)(struct redis_link *l);
};

struct redis_link {
    const struct redis_link_events *events;
    void *arg;
    const struct store_redis_hub *hub;
    struct loop *loop;
    struct redis_wire wire;
    enum redis_link_state state;
    struct timer timer;
    struct str greeting;    /* commands to send to the master first, and how many */
    size_t greeting_count;  /* their replies must not be errors */
    int failures;           /* since it was up */
    int tries;              /* attempts that led to nothing lasting: what the pauses grow with */
    size_t sentinel, asked; /* which is next, and how many did not know */
    size_t at, steps;       /* of the greeting */
    uint8_t step[8];
    uint64_t ups;
    int64_t up_since_ms;
};

/* events, arg, hub, loop and greeting are set. */
void redis_link_start(struct redis_link *l);
/* Gives the connection up; the next attempt begins at once. Only when up. */
void redis_link_drop(struct redis_link *l, const struct err *e);
void redis_link_put(struct redis_link *l, struct str commands);
/* Ends without a callback; fine when off. */
void redis_link_stop(struct redis_link *l);

/* ---- store_redis.c: the handle ---- */

/* A command whose reply is awaited. Replies come in order. */
struct redis_pending {
    struct store_op *op; /* NULL: nobody waits (any more) */
    int64_t started_us;
    uint64_t at; /* of its bytes, in all that was ever encoded */
    uint32_t n, key_at, key_n;
    int64_t seq;
    uint8_t action; /* enum store_action; ACTIONS: our own */
    int8_t script;  /* -1: a plain command */
    bool sent, retried, waited, expired;
};

struct redis_store {
    struct store base;
    struct store_redis_hub *hub;
    struct redis_link link;
    struct redis_pending *ring; /* of cap, a power of two */
    size_t cap, n;
    uint64_t first;       /* ordinal of the oldest pending */
    uint64_t due;         /* ordinal of the first that may still expire */
    struct buf commands;  /* bytes of the pending */
    uint64_t commands_at; /* how much was encoded before commands.p[0] */
    struct buf wrap;      /* an envelope being made */
    struct timer timer, beat;
    struct store_op beat_op;
    int64_t heard_us; /* the last reply */
    int64_t stuck_us; /* since when nothing is answered; 0: it answers */
    bool away, closing, beats;
    /* store_redis_sub.c: subscriptions need a connection of their own (RESP2). */
    struct redis_link sub;
    struct timer sub_timer;
    int64_t sub_heard_us;
};

/* ---- store_redis_ops.c: operations to commands, replies to answers; pure ---- */

/* Appends the command for q to out; *key_at is where its key (as Redis has it) stands in what was
 * appended. */
struct redis_command {
    uint32_t n, key_at, key_n;
    int8_t script;
};
struct redis_command redis_op_encode(const struct store_redis_hub *hub,
                                     const struct store_request *q, struct buf *wrap,
                                     struct buf *out);
/* What a reply is judged by. */
struct redis_decoding {
    const struct store_macs *macs;
    const struct redis_pending *p;
    struct str key; /* as in the command */
    const struct redis_replies *reply;
    int64_t wall_ms;
    struct store_entry *entries; /* room for STORE_MEMBERS_MAX, lent to the answer */
    unsigned *forged;            /* counted up, of FORGERIES */
};
/* What the reply to a command says. False: an error, which is no answer; r is AWAY. */
bool redis_op_decode(const struct redis_decoding *d, struct store_reply *r);

/* ---- store_redis_sub.c ---- */

void redis_sub_subscribed(struct store *s, struct str channel);
void redis_sub_unsubscribed(struct store *s, struct str channel);
void redis_sub_stop(struct redis_store *rs);

#endif
