/* The store in the process's memory: one table for all loops, cut into shards with a lock each.
 * Every operation answers at once. What was used longest ago goes when the bound is passed,
 * whatever it is. Messages go to the other loops by mail. */
#include "base/clock.h"
#include "store/store_priv.h"
#include "store/store_rate.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/queue.h>

enum { SHARDS = 16, ITEM_OVERHEAD = 96, SWEEP = 2 };

enum item_kind { ITEM_VALUE, ITEM_RATE, ITEM_LOG, ITEM_SET };

/* An entry of a log, or a member. */
struct record {
    int64_t seq;        /* log */
    int64_t expires_ms; /* member */
    size_t n;
    char *p;
};

struct records {
    struct record *at;
    size_t n, cap, bytes;
};

struct item {
    TAILQ_ENTRY(item) used;
    enum item_kind kind;
    int64_t expires_ms;
    size_t charged;
    struct buf value;
    struct store_rate rate;
    struct records records;
    struct str key; /* its bytes follow */
};

TAILQ_HEAD(item_list, item);

struct shard {
    pthread_mutex_t lock;
    struct map items;
    struct item_list used; /* the first was used last */
    atomic_size_t bytes;
};

struct store_memory {
    size_t max_bytes;
    struct shard shards[SHARDS];
};

/* ---- items; the shard's lock is held ---- */

static void records_fini(struct records *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->at[i].p);
    free(l->at);
    *l = (struct records){0};
}

static void records_drop(struct records *l, size_t i, size_t n)
{
    for (size_t k = i; k < i + n; k++) {
        l->bytes -= l->at[k].n;
        free(l->at[k].p);
    }
    l->n -= n;
    if (n)
        memmove(l->at + i, l->at + i + n, (l->n - i) * sizeof *l->at);
}

static struct record *records_add(struct records *l, struct str bytes)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? l->cap * 2 : 4;
        l->at = xrealloc(l->at, l->cap * sizeof *l->at);
    }
    l->at[l->n] = (struct record){.p = xmemdup0(bytes.p, bytes.n), .n = bytes.n};
    l->bytes += bytes.n;
    return &l->at[l->n++];
}

static void charge(struct shard *sh, struct item *it)
{
    size_t now = sizeof *it + ITEM_OVERHEAD + 2 * it->key.n + it->value.cap +
                 store_rate_bytes(&it->rate) + it->records.bytes +
                 it->records.cap * sizeof *it->records.at;
    atomic_fetch_add_explicit(&sh->bytes, now - it->charged, memory_order_relaxed);
    it->charged = now;
}

static void item_fini(struct item *it)
{
    buf_fini(&it->value);
    store_rate_fini(&it->rate);
    records_fini(&it->records);
}

static void item_drop(struct shard *sh, struct item *it)
{
    (void)map_del(&sh->items, it->key);
    TAILQ_REMOVE(&sh->used, it, used);
    atomic_fetch_sub_explicit(&sh->bytes, it->charged, memory_order_relaxed);
    item_fini(it);
    free(it);
}

static struct item *item_find(struct shard *sh, struct str key, enum item_kind kind, int64_t now)
{
    struct item *it = map_get(&sh->items, key);
    if (!it)
        return NULL;
    if (it->expires_ms <= now || it->kind != kind) {
        item_drop(sh, it);
        return NULL;
    }
    if (it != TAILQ_FIRST(&sh->used)) {
        TAILQ_REMOVE(&sh->used, it, used);
        TAILQ_INSERT_HEAD(&sh->used, it, used);
    }
    return it;
}

static struct item *item_make(struct shard *sh, struct str key, enum item_kind kind, int64_t now)
{
    struct item *it = item_find(sh, key, kind, now), *last;
    if (it)
        return it;
    for (int i = 0; i < SWEEP && (last = TAILQ_LAST(&sh->used, item_list)); i++)
        if (last->expires_ms <= now)
            item_drop(sh, last);
    it = xcalloc(1, sizeof *it + key.n);
    char *copy = (char *)(it + 1);
    memcpy(copy, key.p, key.n);
    it->kind = kind;
    it->key = (struct str){copy, key.n};
    (void)map_set(&sh->items, it->key, it);
    TAILQ_INSERT_HEAD(&sh->used, it, used);
    return it;
}

/* ---- the table ---- */

static struct shard *shard_of(struct store *s, struct str key)
{
    return &s->hub->memory->shards[str_hash(key) % SHARDS];
}

size_t store_memory_bytes(const struct store_memory *m)
{
    size_t sum = 0;
    for (int i = 0; i < SHARDS; i++)
        sum += atomic_load_explicit(&m->shards[i].bytes, memory_order_relaxed);
    return sum;
}

static struct shard *fullest(struct store_memory *m)
{
    struct shard *most = &m->shards[0];
    for (int i = 1; i < SHARDS; i++) {
        if (atomic_load_explicit(&m->shards[i].bytes, memory_order_relaxed) >
            atomic_load_explicit(&most->bytes, memory_order_relaxed))
            most = &m->shards[i];
    }
    return most;
}

/* No lock is held. */
static void evict(struct store_memory *m)
{
    while (store_memory_bytes(m) > m->max_bytes) {
        struct shard *sh = fullest(m);
        pthread_mutex_lock(&sh->lock);
        struct item *it = TAILQ_LAST(&sh->used, item_list);
        if (it)
            item_drop(sh, it);
        pthread_mutex_unlock(&sh->lock);
        if (!it)
            return;
    }
}

struct store_memory *store_memory_new(size_t max_bytes)
{
    struct store_memory *m = xcalloc(1, sizeof *m);
    m->max_bytes = max_bytes;
    for (int i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&m->shards[i].lock, NULL);
        TAILQ_INIT(&m->shards[i].used);
    }
    return m;
}

void store_memory_free(struct store_memory **m)
{
    if (!*m)
        return;
    for (int i = 0; i < SHARDS; i++) {
        struct shard *sh = &(*m)->shards[i];
        struct item *it;
        while ((it = TAILQ_FIRST(&sh->used)))
            item_drop(sh, it);
        map_fini(&sh->items);
        pthread_mutex_destroy(&sh->lock);
    }
    free(*m);
    *m = NULL;
}

/* ---- values; each has the shard's lock ---- */

static bool holds(const struct item *it, struct str value)
{
    return str_eq(buf_str(&it->value), value);
}

static enum store_status do_get(struct store *s, struct shard *sh, const struct store_request *q,
                                int64_t now, struct store_reply *r)
{
    struct item *it = item_find(sh, q->key, ITEM_VALUE, now);
    if (!it)
        return STORE_ABSENT;
    r->value = store_lend(s, buf_str(&it->value));
    return STORE_OK;
}

static enum store_status do_set(struct shard *sh, const struct store_request *q, int64_t now)
{
    if (q->when == STORE_IF_ABSENT && item_find(sh, q->key, ITEM_VALUE, now))
        return STORE_HELD;
    struct item *it = item_make(sh, q->key, ITEM_VALUE, now);
    buf_fini(&it->value); /* what was large must not stay large */
    buf_add_str(&it->value, q->value);
    it->expires_ms = now + q->ttl_ms;
    charge(sh, it);
    return STORE_OK;
}

static enum store_status do_del(struct shard *sh, const struct store_request *q, int64_t now)
{
    struct item *it = map_get(&sh->items, q->key);
    if (!it)
        return STORE_ABSENT;
    bool was = it->expires_ms > now, other = q->action == ACTION_DEL_IF && !holds(it, q->value);
    if (was && other)
        return STORE_HELD;
    item_drop(sh, it);
    return was ? STORE_OK : STORE_ABSENT;
}

static enum store_status do_extend(struct shard *sh, const struct store_request *q, int64_t now)
{
    struct item *it = item_find(sh, q->key, ITEM_VALUE, now);
    if (!it)
        return STORE_ABSENT;
    if (!holds(it, q->value))
        return STORE_HELD;
    it->expires_ms = now + q->ttl_ms;
    return STORE_OK;
}

/* ---- logs and sets ---- */

static enum store_status do_append(struct shard *sh, const struct store_request *q, int64_t now,
                                   struct store_reply *r)
{
    struct item *it = item_make(sh, q->key, ITEM_LOG, now);
    struct records *l = &it->records;
    r->number = l->n ? l->at[l->n - 1].seq : 0;
    if (r->number >= q->seq)
        return STORE_HELD;
    size_t gone = 0;
    while (gone < l->n && l->at[gone].seq < q->keep_from)
        gone++;
    records_drop(l, 0, gone);
    records_add(l, q->value)->seq = q->seq;
    it->expires_ms = now + q->ttl_ms;
    charge(sh, it);
    return STORE_OK;
}

/* Lends n records from `first` on, one copy for all. */
static void lend_records(struct store *s, const struct record *first, size_t n,
                         struct store_reply *r)
{
    s->scratch.n = 0;
    for (size_t i = 0; i < n; i++)
        buf_add(&s->scratch, first[i].p, first[i].n);
    for (size_t i = 0, at = 0; i < n; at += first[i++].n)
        s->entries[i] = (struct store_entry){first[i].seq, {s->scratch.p + at, first[i].n}};
    r->entries = s->entries;
    r->count = n;
}

static enum store_status do_read(struct store *s, struct shard *sh, const struct store_request *q,
                                 int64_t now, struct store_reply *r)
{
    struct item *it = item_find(sh, q->key, ITEM_LOG, now);
    if (!it)
        return STORE_ABSENT;
    const struct records *l = &it->records;
    size_t from = 0, n = 0, bytes = 0;
    while (from < l->n && l->at[from].seq <= q->seq)
        from++;
    bool joins = from ? l->at[from - 1].seq == q->seq : q->seq == 0 && l->at[0].seq == 1;
    if (!joins)
        return STORE_ABSENT;
    while (from + n < l->n && n < STORE_READ_MAX &&
           (n == 0 || bytes + l->at[from + n].n <= STORE_READ_BYTES))
        bytes += l->at[from + n++].n;
    lend_records(s, l->at + from, n, r);
    return STORE_OK;
}

/* The members' item without those whose time is over; NULL when none is left. */
static struct item *members_of(struct shard *sh, struct str key, int64_t now)
{
    struct item *it = item_find(sh, key, ITEM_SET, now);
    for (size_t i = 0; it && i < it->records.n;) {
        if (it->records.at[i].expires_ms <= now)
            records_drop(&it->records, i, 1);
        else
            i++;
    }
    return it;
}

static struct record *member_find(const struct records *l, struct str name)
{
    for (size_t i = 0; i < l->n; i++)
        if (str_eq((struct str){l->at[i].p, l->at[i].n}, name))
            return &l->at[i];
    return NULL;
}

static enum store_status do_join(struct shard *sh, const struct store_request *q, int64_t now,
                                 struct store_reply *r)
{
    (void)members_of(sh, q->key, now);
    struct item *it = item_make(sh, q->key, ITEM_SET, now);
    struct record *m = member_find(&it->records, q->value);
    if (!m && it->records.n == STORE_MEMBERS_MAX)
        return STORE_HELD;
    if (!m)
        m = records_add(&it->records, q->value);
    m->expires_ms = now + q->ttl_ms;
    if (it->expires_ms < m->expires_ms)
        it->expires_ms = m->expires_ms;
    r->number = (int64_t)it->records.n;
    charge(sh, it);
    return STORE_OK;
}

static enum store_status do_leave(struct shard *sh, const struct store_request *q, int64_t now)
{
    struct item *it = members_of(sh, q->key, now);
    struct record *m = it ? member_find(&it->records, q->value) : NULL;
    if (!m)
        return STORE_ABSENT;
    records_drop(&it->records, (size_t)(m - it->records.at), 1);
    return STORE_OK;
}

static enum store_status do_members(struct store *s, struct shard *sh,
                                    const struct store_request *q, int64_t now,
                                    struct store_reply *r)
{
    struct item *it = members_of(sh, q->key, now);
    if (!it || it->records.n == 0)
        return STORE_ABSENT;
    lend_records(s, it->records.at, it->records.n, r);
    return STORE_OK;
}

/* ---- windows ---- */

static struct str tag_of(struct str key)
{
    const char *open = memchr(key.p, '{', key.n);
    const char *end = open ? memchr(open, '}', key.n - (size_t)(open - key.p)) : NULL;
    return end ? (struct str){open, (size_t)(end - open)} : key;
}

static enum store_status do_admit(struct shard *sh, const struct store_request *q, int64_t now_us,
                                  struct store_reply *r)
{
    struct item *items[STORE_WINDOWS_MAX];
    enum store_status status = STORE_OK;
    int64_t retry_us = 0;
    r->number = INT64_MAX;
    for (size_t i = 0; i < q->window_count; i++) {
        const struct store_window *w = &q->windows[i];
        items[i] = item_make(sh, w->key, ITEM_RATE, now_us / 1000);
        struct store_verdict v = store_rate_look(&items[i]->rate, w, now_us);
        if (items[i]->expires_ms < now_us / 1000 + w->window_ms)
            items[i]->expires_ms = now_us / 1000 + w->window_ms + w->window_ms / STORE_BUCKETS + 1;
        if (v.left == 0 &&
            (status == STORE_OK || v.retry_us < 0 || (retry_us >= 0 && v.retry_us > retry_us))) {
            status = STORE_HELD;
            r->window = i;
            retry_us = v.retry_us;
        }
        r->number = v.left - 1 < r->number ? v.left - 1 : r->number;
    }
    for (size_t i = 0; i < q->window_count; i++) {
        if (status == STORE_OK)
            store_rate_take(&items[i]->rate, &q->windows[i], now_us);
        charge(sh, items[i]);
    }
    if (status == STORE_HELD)
        r->number = 0;
    r->retry_ms = retry_us < 0 ? -1 : (retry_us + 999) / 1000;
    return status;
}

/* ---- messages ---- */

struct message {
    struct store *to; /* counted */
    struct str channel, body;
    char bytes[];
};

static void on_message(void *arg)
{
    struct message *m = arg;
    store_deliver(m->to, STORE_MESSAGE, m->channel, m->body);
    store_unref(&m->to);
    free(m);
}

static void post_message(struct store *to, struct str channel, struct str body)
{
    struct message *m = xmalloc(sizeof *m + channel.n + body.n);
    m->to = store_ref(to);
    m->channel = (struct str){m->bytes, channel.n};
    m->body = (struct str){m->bytes + channel.n, body.n};
    memcpy(m->bytes, channel.p, channel.n);
    if (body.n)
        memcpy(m->bytes + channel.n, body.p, body.n);
    loop_post(to->loop, on_message, m);
}

static enum store_status do_publish(struct store *s, const struct store_request *q)
{
    struct store_hub *h = s->hub;
    pthread_mutex_lock(&h->lock);
    for (struct store *to = h->handles; to; to = to->next)
        if (to->backend == &store_memory_backend && atomic_load(&to->subs))
            post_message(to, q->key, q->value);
    pthread_mutex_unlock(&h->lock);
    return STORE_OK;
}

/* ---- the backend ---- */

static enum store_status run_locked(struct store *s, struct shard *sh,
                                    const struct store_request *q, struct store_reply *r)
{
    int64_t now_us = clock_us(), now = now_us / 1000;
    switch (q->action) {
    case ACTION_GET: return do_get(s, sh, q, now, r);
    case ACTION_SET: return do_set(sh, q, now);
    case ACTION_DEL:
    case ACTION_DEL_IF: return do_del(sh, q, now);
    case ACTION_EXTEND: return do_extend(sh, q, now);
    case ACTION_ADMIT: return do_admit(sh, q, now_us, r);
    case ACTION_APPEND: return do_append(sh, q, now, r);
    case ACTION_READ: return do_read(s, sh, q, now, r);
    case ACTION_JOIN: return do_join(sh, q, now, r);
    case ACTION_LEAVE: return do_leave(sh, q, now);
    case ACTION_MEMBERS: return do_members(s, sh, q, now, r);
    case ACTION_PUBLISH:
    case ACTIONS: break;
    }
    abort();
}

static bool memory_run(struct store *s, struct store_op *op, const struct store_request *q,
                       struct store_reply *r)
{
    (void)op;
    if (q->action == ACTION_PUBLISH)
        return store_answer(r, do_publish(s, q));
    struct shard *sh = shard_of(s, q->action == ACTION_ADMIT ? tag_of(q->windows[0].key) : q->key);
    for (size_t i = 1; i < q->window_count; i++)
        assert(str_eq(tag_of(q->windows[i].key), tag_of(q->windows[0].key)));
    pthread_mutex_lock(&sh->lock);
    r->status = run_locked(s, sh, q, r);
    pthread_mutex_unlock(&sh->lock);
    evict(s->hub->memory);
    return true;
}

static struct store *memory_open(struct store_hub *h, struct loop *l)
{
    struct store *s = xcalloc(1, sizeof *s);
    store_init(s, &store_memory_backend, h, l);
    return s;
}

static bool memory_is_up(const struct store *s)
{
    (void)s;
    return true;
}

const struct store_backend store_memory_backend = {
    .name = "memory",
    .open = memory_open,
    .run = memory_run,
    .is_up = memory_is_up,
};
