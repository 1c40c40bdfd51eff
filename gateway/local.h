/* The local provider, control's side: the process that runs users' Python (headgate-python), what
 * it is to load, and generations of that. A generation is one state of the files: copied, loaded
 * once in a worker to see whether it can be, and then given to the shard that has the pool of
 * workers (upstream_local.c). A broken file keeps its last good form. */
#ifndef GATEWAY_LOCAL_H
#define GATEWAY_LOCAL_H

#include "gateway/gateway.h"

struct local;
struct local_host;

/* What the pool needs to know of a tool. */
struct local_tool {
    bool async;
    int timeout_ms; /* 0: local.timeout */
};

/* One state of the files, immutable, counted; any thread. */
struct local_gen {
    atomic_int refs;
    struct gateway *gw;
    uint64_t number;
    char *socket;     /* of headgate-python */
    char *order;      /* the first line to a worker (local/order.h), without its end */
    struct map tools; /* struct local_tool by name */
    int workers, queue, timeout_ms;
    /* Control's. */
    struct local_host *host; /* counted */
    char *dir;
};
struct local_gen *local_gen_ref(struct local_gen *g);
/* The last reference removes its files. Nulls *g. */
void local_gen_unref(struct local_gen **g);

/* Control thread, all of them. */
struct local *local_new(struct gateway *gw);
/* Ends the process; shards must not need it any more. Nulls *l. */
void local_free(struct local **l);
/* Starts, changes or ends the provider as c wants it, and loads the files, also when nothing in c
 * has changed. */
void local_configure(struct local *l, struct config *c);
/* /api/local: appends an object. */
void local_status(const struct local *l, struct buf *b);

/* Counters of the pool; any thread. */
struct local_counts {
    _Atomic int workers, busy, queued;
    _Atomic uint64_t started, crashes, timeouts;
};
struct local_counts *local_counts(struct local *l);

#endif
