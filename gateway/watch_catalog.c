/* See watch_priv.h. Builds the catalog of what the watch knows, and publishes it when it shows
 * something else than the last. */
#include "gateway/watch_priv.h"

#include <stdlib.h>

enum { REBUILD_SOON_MS = 20 };

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_info(const struct mount_info *a, const struct mount_info *b)
{
    const struct server_info *x = &a->server, *y = &b->server;
    return a->state == b->state && same_text(a->error, b->error) && x->era == y->era &&
           x->stateful == y->stateful && strcmp(x->version, y->version) == 0 &&
           same_text(x->capabilities, y->capabilities) &&
           same_text(x->instructions, y->instructions) && same_text(x->name, y->name);
}

/* Definitions differ in more than what clients see of them. */
static bool same_definitions(const struct catalog_list *a, const struct catalog_list *b)
{
    bool same = a->n == b->n;
    for (uint32_t i = 0; same && i < a->n; i++)
        same = memcmp(a->entries[i].fingerprint, b->entries[i].fingerprint,
                      sizeof a->entries[i].fingerprint) == 0;
    return same;
}

static bool same_catalog(const struct catalog *a, const struct catalog *b)
{
    if (!a || a->config != b->config || a->mount_count != b->mount_count)
        return false;
    for (size_t i = 0; i < a->mount_count; i++)
        if (!same_info(&a->mounts[i], &b->mounts[i]))
            return false;
    for (int k = 0; k < KINDS; k++) {
        if (!catalog_same(a, b, (enum catalog_kind)k) ||
            !same_definitions(&a->list[k], &b->list[k]))
            return false;
    }
    return true;
}

void watch_rebuild(struct watch *w)
{
    struct config *config = w->gw->control.config;
    size_t n = config->mount_count > w->n ? config->mount_count : w->n;
    struct raw_list *lists = xcalloc(n * KINDS + 1, sizeof *lists);
    struct mount_info *infos = xcalloc(n + 1, sizeof *infos);
    timer_clear(&w->rebuild);
    for (size_t i = 0; i < w->n; i++) {
        infos[i] = w->mounts[i]->info;
        memcpy(&lists[i * KINDS], w->mounts[i]->lists, KINDS * sizeof *lists);
    }
    struct catalog *c = catalog_build(config, lists, infos);
    free(lists);
    free(infos);
    if (same_catalog(w->gw->control.catalog, c)) {
        catalog_unref(&c);
        return;
    }
    c->version = ++w->version;
    gateway_publish_catalog(w->gw, c);
}

static void on_rebuild(void *arg)
{
    watch_rebuild(arg);
}

void watch_rebuild_soon(struct watch *w)
{
    if (!w->waiting && !timer_armed(&w->rebuild))
        timer_set(&w->rebuild, w->gw->control.loop, REBUILD_SOON_MS, on_rebuild, w);
}
