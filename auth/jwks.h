/* Key sets fetched by URL: what data loops see of one (a slot that holds the current set), and the
 * keeper on the control loop that fills the slots. A set is fetched at the start, again at 80 % of
 * its time, and when a token names a key that is not in it (at most once every minRefresh); one
 * fetch at a time. While its issuer is away a set is used for up to 24 hours. */
#ifndef AUTH_JWKS_H
#define AUTH_JWKS_H

#include "auth/keyset.h"
#include "base/loop.h"

struct jwks;
struct jwks_keeper;

struct jwks_options {
    const char *url; /* written by the operator; no redirect is followed */
    const char *ca_file;
    unsigned algs;
    int ttl_ms, min_refresh_ms;
};

/* The keeper of the control loop. Returns owned. */
struct jwks_keeper *jwks_keeper_new(struct loop *l);
/* Stops fetching; who still waits is told (posted) before. */
void jwks_keeper_free(struct jwks_keeper **k);
/* The slot of a URL: the one that there is already (with its keys), or a new one whose fetch starts
 * now. Control loop. Returns a reference. */
struct jwks *jwks_get(struct jwks_keeper *k, const struct jwks_options *o);
/* Forgets slots that nobody else holds. Control loop; after a reload. */
void jwks_keeper_sweep(struct jwks_keeper *k);
void jwks_unref(struct jwks **j);

/* The current set, or NULL when there is none (yet, or any more). Any thread; returns a
 * reference. */
struct keyset *jwks_current(struct jwks *j);
/* Would asking for another fetch be of use: is one under way, or allowed by now? Any thread. */
bool jwks_may_refresh(const struct jwks *j);
/* Asks for a fetch (or joins the one under way) and calls fn(arg) on the loop back once it has
 * ended, whatever came of it. Any thread; exactly once, never before this returned. */
void jwks_refresh(struct jwks *j, struct loop *back, loop_fn fn, void *arg);

#endif
