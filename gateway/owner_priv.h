/* What owner.c and link.c share. Not for others. */
#ifndef GATEWAY_OWNER_PRIV_H
#define GATEWAY_OWNER_PRIV_H

#include "gateway/envelope.h"
#include "gateway/owner.h"
#include "gateway/upstream_http.h"

#include <sys/queue.h>

/* Another replica. */
struct peer {
    struct owners *owners;
    char name[ENVELOPE_NAME + 1];
    char *address;        /* as heard; NULL: it is not there */
    int64_t heard_ms;     /* when the store was asked last */
    struct store_op look; /* whether it is still there */
    int forwards;         /* that are under way */
    struct mount_config config;
    struct http_pool *pool;
};

struct owners {
    struct shard *shard;
    struct map peers; /* name -> struct peer */
    TAILQ_HEAD(, forward) forwards;
    TAILQ_HEAD(, find) finds;
    struct timer tick;
    struct map nonces[2]; /* data shard 0: those of this half minute, and of the one before */
    int64_t turned_ms;
    bool draining;
};

/* owner.c: the peer could not be reached, or has given the session away: looks again. x is
 * unanswered. */
void owner_find_again(struct exchange *x, struct str refused);

/* link.c: sends x to the peer and its answer back. Takes x; gone as in owner_send, NULL: x is about
 * a session, which is then looked for again. */
void link_forward(struct exchange *x, struct peer *p, owner_gone_fn gone);
/* A peer is gone: what was sent to it is answered with an error. */
void link_lost(struct owners *o, const struct peer *p);
void link_turn_nonces(struct owners *o);
void peer_set_address(struct peer *p, struct str address);
void peer_free(struct peer *p);

#endif
