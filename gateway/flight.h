/* Single flight: of equal calls that the cache cannot answer, one goes upstream, and what it brings
 * is for all. On a loop the others wait for it; other loops and replicas find its lock in the
 * store, look for its result for a moment, and then go themselves. */
#ifndef GATEWAY_FLIGHT_H
#define GATEWAY_FLIGHT_H

#include "gateway/cache.h"

#include <sys/queue.h>

struct flight;

enum flight_end {
    FLIGHT_VALUE,  /* here is the result */
    FLIGHT_FAILED, /* the call that all waited for failed by an error of ours: so do they */
    FLIGHT_ALONE,  /* what came is for nobody else: each goes itself, outside of any flight */
};

/* A call's place. The caller sets use and the functions, and keeps it in place until one of end and
 * flight_land, or flight_leave. */
struct flight_seat {
    const struct cache_use *use;
    /* This call goes: flight_land takes what it brings. Maybe before flight_join returned. */
    void (*lead)(struct flight_seat *s);
    /* The others are told, and the first one when the store had the value. from_store: it did. Both
     * are borrowed until this returns. Never before flight_join returned. */
    void (*end)(struct flight_seat *s, enum flight_end how, struct cache_value *v,
                const struct err *e, bool from_store);
    struct flight *flight; /* private: NULL unless joined */
    TAILQ_ENTRY(flight_seat) link;
};

/* Takes the seat; true: it waits for another call. */
bool flight_join(struct cache *c, struct flight_seat *s);
/* The seat is given up: its call ended otherwise. Another one goes in its stead. */
void flight_leave(struct flight_seat *s);
/* What the leading call brought: a value, an error of ours, or neither. */
void flight_land(struct flight_seat *s, struct cache_value *v, const struct err *e);
/* The target has changed: what is under way is for those alone who wait for it now, and not kept.
 */
void flight_spoil(struct cache *c, struct str mount, struct str target);

#endif
