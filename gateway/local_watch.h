/* Hears of changes below some folders (inotify), Kubernetes' switches of whole volumes included. */
#ifndef GATEWAY_LOCAL_WATCH_H
#define GATEWAY_LOCAL_WATCH_H

#include "base/loop.h"

struct local_watch;

/* Calls fn once things have been quiet for quiet_ms after a change, at the latest after ten times
 * that. Folders that are missing are heard of when they come, as far as their parents are there.
 * NULL: the system gives none (logged). */
struct local_watch *local_watch_new(struct loop *l, char *const *folders, int quiet_ms, loop_fn fn,
                                    void *arg);
/* Nulls *w. */
void local_watch_free(struct local_watch **w);

#endif
