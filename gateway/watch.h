/* Control's view of the mounts: connects to each, fetches its lists, hears of changes, and builds
 * the catalog. A dead or slow mount is tried again with back-off; its last good entries stay,
 * marked stale. Control thread, but for the functions marked. */
#ifndef GATEWAY_WATCH_H
#define GATEWAY_WATCH_H

#include "gateway/catalog.h"

/* Sets the upstream events (upstream_set_events); once, before threads start. */
struct watch *watch_new(struct gateway *gw);
void watch_free(struct watch **w);
/* Takes over gw->control.config and gw->control.upstreams (just set for them): mounts whose
 * configuration is unchanged (compared by upstream pointer: the upstream at the new index is the
 * same object as before) keep state and entries; others begin to connect. settled is called once,
 * when every mount is up or has failed once, or after startup_wait_ms. NULL: nobody waits. */
void watch_start(struct watch *w, loop_fn settled, void *arg);
/* What is known of the mounts, one an entry of config->mounts. Borrowed until the next turn. */
const struct mount_info *watch_mounts(const struct watch *w, size_t *n);
/* Any thread: a session or listener of a shard wants resources/updated for (mount, upstream URI) or
 * no longer. Refcounted; the first subscribes upstream (legacy: resources/subscribe on the watch's
 * own conversation; modern HTTP: a listen stream with all URIs), the last unsubscribes. */
void watch_subscribe(struct gateway *gw, int mount, struct str uri, bool on);

#endif
