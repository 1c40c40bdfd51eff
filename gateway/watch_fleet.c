/* See watch_priv.h. Some servers tell only the session in which something changed, and that session
 * is one replica's: it tells the others, and each looks for itself. A notice twice does no harm. */
#include "gateway/owner.h"
#include "gateway/watch_priv.h"

static struct str channel(struct shard *control, struct store_key *k)
{
    return store_key(control->store, k, "changes", STR("lists"), NULL, 0);
}

void fleet_tell(struct watched *m, enum catalog_kind kind)
{
    struct shard *control = &m->w->gw->control;
    struct store_key k;
    struct store_reply r;
    struct buf b = {0};
    if (!owner_shared(control))
        return;
    buf_addf(&b, "%s\n%d\n%s", control->gw->replica, kind, m->up->cfg->name);
    (void)store_publish(control->store, NULL, channel(control, &k), buf_str(&b), &r);
    buf_fini(&b);
}

static struct watched *find(const struct watch *w, struct str name)
{
    for (size_t i = 0; i < w->n; i++)
        if (str_eq(str_of(w->mounts[i]->up->cfg->name), name))
            return w->mounts[i];
    return NULL;
}

static void take(struct watch *w, struct str body)
{
    struct str from, kind;
    uint64_t k;
    if (!str_split(&body, '\n', &from) || str_eq(from, str_of(w->gw->replica)) ||
        !str_split(&body, '\n', &kind) || !str_to_u64(kind, &k) || k >= KINDS)
        return;
    struct watched *m = find(w, body);
    if (m && m->online)
        watch_list_changed(m, (enum catalog_kind)k);
}

/* Whatever was told while the store was away: what it was about is looked at. */
static void on_message(enum store_event event, struct str body, void *arg)
{
    struct watch *w = arg;
    switch (event) {
    case STORE_MESSAGE: take(w, body); break;
    case STORE_GAP:
        for (size_t i = 0; w->heard && i < w->n; i++)
            if (w->mounts[i]->online)
                fetch_all(w->mounts[i]);
        w->heard = true;
        break;
    }
}

void fleet_listen(struct watch *w)
{
    struct shard *control = &w->gw->control;
    struct store_key k;
    if (!owner_shared(control) || w->fleet.store)
        return;
    w->fleet = (struct store_sub){.fn = on_message, .arg = w};
    store_subscribe(control->store, &w->fleet, channel(control, &k));
}
