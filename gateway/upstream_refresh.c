/* See usession.h. A modern server that finds the headers of a call other than its own schema wants
 * them (-32020) has changed a definition that we mirror:
 *
 *   call's thread                         control
 *   urequest_refresh -- on_wanted(note) -> fetches the mount's tools once more
 *   sends it again <--- on_fetched ------- the new catalog is on its way before it
 *
 * Once a call: with a second refusal it ends. */
#include "gateway/catalog.h"
#include "gateway/watch_priv.h"

#include <stdlib.h>

enum { WAIT_MS = 5000 };

struct refresh {
    struct gateway *gw;
    struct shard *from;
    int index;
    const struct mount_config *cfg; /* identity only */
    uint64_t id;                    /* of the request that waits */
    TAILQ_ENTRY(refresh) link;      /* in its mount's, on control's thread */
};

/* ---- the call's thread ---- */

static void on_late(void *arg)
{
    struct urequest *r = arg;
    struct err e;
    (void)err_set(&e, ERR_BAD_UPSTREAM,
                  "upstream %s refuses the headers of this call, and its tools cannot be listed",
                  r->up->cfg->name);
    urequest_fail(r, &e);
}

/* Sends the call with what the catalog says now. The entry that its limits and cache came from
 * stays the call's. */
static void send_again(struct urequest *r)
{
    struct call *c = r->call;
    struct catalog *cat = c->shard->catalog;
    const struct catalog_entry *entry = c->entry;
    struct str fields = c->param_fields;
    struct target t;
    if (cat && catalog_resolve(cat, ROUTE_TOOL, c->public_target, &c->arena, &t) &&
        t.mount == r->up->index && t.entry) {
        c->entry = t.entry;
        if (t.entry->param_count)
            c->param_fields = (struct str){0}; /* what the client mirrored may be among them now */
    }
    urequest_call(r->up, NULL, c, r);
    c->entry = entry;
    c->param_fields = fields;
}

static void on_fetched(void *arg)
{
    struct refresh *n = arg;
    struct shard *s = n->from;
    struct upstream *u = (size_t)n->index < s->upstream_count ? s->upstreams[n->index] : NULL;
    struct urequest *r = NULL;
    if (u && u->cfg == n->cfg) {
        TAILQ_FOREACH (r, &u->mismatched, link)
            if (r->id == n->id)
                break;
    }
    if (r) {
        urequest_unlink(r);
        send_again(r);
    }
    free(n);
}

/* ---- control ---- */

static void done(struct refresh *n)
{
    if (n->from->loop)
        loop_post(n->from->loop, on_fetched, n);
    else
        free(n);
}

void refresh_done(struct watched *m)
{
    if (!TAILQ_EMPTY(&m->refreshes) && !m->w->waiting)
        watch_rebuild(m->w);
    refresh_give_up(m);
}

void refresh_give_up(struct watched *m)
{
    struct refresh *n;
    while ((n = TAILQ_FIRST(&m->refreshes))) {
        TAILQ_REMOVE(&m->refreshes, n, link);
        done(n);
    }
}

static void on_wanted(void *arg)
{
    struct refresh *n = arg;
    struct watched *m = watch_find(n->gw, n->cfg);
    if (!m || !m->online || !m->promises.has[KIND_TOOLS]) {
        done(n);
        return;
    }
    TAILQ_INSERT_TAIL(&m->refreshes, n, link);
    fetch_kind(m, KIND_TOOLS);
}

/* ---- the call's thread again ---- */

bool urequest_refresh(struct call *c)
{
    struct shard *s = c->shard;
    struct upstream *u = c->up;
    if (c->refreshed || c->method->route != ROUTE_TOOL || s->index < 0)
        return false;
    c->refreshed = true;
    struct urequest *r = urequest_new(u, NULL);
    r->call = c;
    c->ureq = r;
    r->mismatched = true;
    TAILQ_INSERT_TAIL(&u->mismatched, r, link);
    timer_set(&r->timer, s->loop, WAIT_MS, on_late, r);
    struct refresh *n = xcalloc(1, sizeof *n);
    *n = (struct refresh){.gw = s->gw, .from = s, .index = u->index, .cfg = u->cfg, .id = r->id};
    loop_post(s->gw->control.loop, on_wanted, n);
    return true;
}
