/* Exchanges without HTTP of their own: clients whose messages share one way in and one way out
 * (stdio, HTTP+SSE), and the parts of a batch. Each message that comes in becomes an exchange, so
 * that the codecs need not know; what no header can say (the session) the channel says. */
#ifndef GATEWAY_CHANNEL_H
#define GATEWAY_CHANNEL_H

#include "gateway/exchange.h"

#include <sys/queue.h>

struct channel;
struct member;
struct session;

struct channel_ops {
    /* A message for the client: an answer, or what is said besides. False: the client is gone, and
     * channel_close was called. */
    bool (*send)(struct channel *ch, struct str message, bool answer);
    /* No exchange is under way any more; at the end of a turn. */
    void (*idle)(struct channel *ch);
};

/* Embedded in what implements it. */
struct channel {
    const struct channel_ops *ops;
    struct shard *shard;
    struct principal *principal; /* counted */
    char *session;               /* id of the legacy session; NULL: not initialized */
    bool legacy;                 /* modern requests do not come this way */
    bool nested;                 /* the parts of a batch: none of them is another */
    bool closed;
    struct exchange *stream; /* of what the session says of its own accord; NULL: none */
    TAILQ_HEAD(, member) members;
};

void channel_init(struct channel *ch, const struct channel_ops *ops, struct shard *s,
                  struct principal *who);
/* Takes one message as it came (copies it); via: the request that brought it, whose head and peer
 * say where it comes from; NULL on pipes. */
void channel_take(struct channel *ch, struct str text, const struct exchange *via);
/* initialize was answered with this session: it speaks on the channel from now on. */
void channel_begin(struct channel *ch, struct session *ss);
/* Ends the modern request of that id (raw JSON) as if its client had closed it: how it is cancelled
 * here (MCP 2026-07-28 basic/patterns/cancellation). False: there is none. */
bool channel_cancel(struct channel *ch, struct str id);
/* The session's id; p is NULL when there is none. */
struct str channel_session(const struct channel *ch);
bool channel_busy(const struct channel *ch);
/* The client is gone: no exchange has one any more, nothing is sent. The session lives on. */
void channel_close(struct channel *ch);
/* The same, and the session ends with it: what still runs in it is cancelled. */
void channel_end(struct channel *ch);
/* Releases what it holds; closed before. The memory is its owner's, until the end of the turn. */
void channel_fini(struct channel *ch);

#endif
