/* The end of a stream whose caller's credential ends: what was let in once is not let in for ever.
 */
#ifndef GATEWAY_EXPIRY_H
#define GATEWAY_EXPIRY_H

#include "auth/principal.h"
#include "base/loop.h"

/* Zero-initialised: nothing is waited for. Must stay in place. */
struct expiry {
    struct timer timer;
    struct loop *loop;
    int64_t at_wall_ms;
    loop_fn fn;
    void *arg;
};

/* Calls fn when who's credential has ended, by the wall clock, whatever skew is granted included;
 * never before this returned. */
void expiry_set(struct expiry *e, struct loop *l, const struct principal *who, loop_fn fn,
                void *arg);
/* fn is not called any more. */
void expiry_clear(struct expiry *e);

#endif
