/* See store.h: keys, checks, counting, subscriptions, and the life of handles. What an operation
 * does is the backend's. */
#include "store/store_priv.h"

#include "base/crypto.h"

#include <assert.h>
#include <ctype.h>
#include <stdlib.h>

enum { PART_PLAIN_MAX = 40, PREFIX_MAX = 64, KIND_MAX = 16, SEQ_MAX_BITS = 52 };

/* ---- metrics ---- */

enum store_row { ROW_UP, ROW_OPS, ROW_SECONDS, ROW_FORGED, ROW_RECONNECTS, ROWS };

const struct metric_def store_metric_rows[] = {
    [ROW_UP] = {"mcp_store_up", "1 while the store answers.", METRIC_GAUGE, NULL, NULL},
    [ROW_OPS] = {"mcp_store_ops_total", "Operations of the store by result.", METRIC_COUNTER, "op",
                 "result"},
    [ROW_SECONDS] = {"mcp_store_op_duration_seconds", "Time Redis took to answer.",
                     METRIC_HISTOGRAM, "op", NULL},
    [ROW_FORGED] = {"mcp_store_forged_total",
                    "What was found in Redis and was not made by this fleet, or past its end.",
                    METRIC_COUNTER, "what", NULL},
    [ROW_RECONNECTS] = {"mcp_store_reconnects_total",
                        "Connections to Redis that were made after the first.", METRIC_COUNTER,
                        NULL, NULL},
};
const size_t store_metric_row_count = ROWS;

static const char *const action_names[ACTIONS] = {
    [ACTION_GET] = "get",       [ACTION_SET] = "set",         [ACTION_DEL] = "del",
    [ACTION_DEL_IF] = "del_if", [ACTION_EXTEND] = "extend",   [ACTION_ADMIT] = "admit",
    [ACTION_APPEND] = "append", [ACTION_READ] = "read",       [ACTION_JOIN] = "join",
    [ACTION_LEAVE] = "leave",   [ACTION_MEMBERS] = "members", [ACTION_PUBLISH] = "publish",
};
static const char *const status_names[STATUSES] = {
    [STORE_OK] = "ok", [STORE_ABSENT] = "absent", [STORE_HELD] = "held", [STORE_AWAY] = "away"};

static const char *const forgery_names[FORGERIES] = {
    [FORGED_VALUE] = "value",     [FORGED_LOG] = "log",       [FORGED_MEMBER] = "member",
    [FORGED_MESSAGE] = "message", [FORGED_NUMBER] = "number",
};

static void find_series(struct store_hub *h)
{
    const struct metric_def *rows = store_metric_rows;
    for (int a = 0; a < ACTIONS; a++) {
        for (int s = 0; s < STATUSES; s++)
            h->ops[a][s] = metric_series(&rows[ROW_OPS], action_names[a], status_names[s]);
        if (h->redis)
            h->seconds[a] = metric_series(&rows[ROW_SECONDS], action_names[a], NULL);
    }
    for (int i = 0; h->redis && i < FORGERIES; i++)
        h->forged[i] = metric_series(&rows[ROW_FORGED], forgery_names[i], NULL);
    if (h->redis)
        h->reconnects = metric_series(&rows[ROW_RECONNECTS], NULL, NULL);
    h->up = metric_series(&rows[ROW_UP], NULL, NULL);
    metric_set(h->up, !h->redis);
}

void store_count(const struct store *s, enum store_action action, enum store_status status)
{
    metric_add(s->hub->ops[action][status], 1);
}

/* ---- keys ---- */

static bool is_plain(struct str s)
{
    if (s.n == 0 || s.n > PART_PLAIN_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && !memchr("._-", s.p[i], 3))
            return false;
    return true;
}

/* "=" stands for nothing and "~" begins a hash; no plain part has either, nor a ':' or a brace. */
static size_t add_part(char *to, struct str part)
{
    uint8_t hash[32];
    struct buf text = {0};
    if (part.n == 0) {
        *to = '=';
        return 1;
    }
    if (is_plain(part)) {
        memcpy(to, part.p, part.n);
        return part.n;
    }
    crypto_sha256(&part, 1, hash);
    crypto_b64url(&text, hash, sizeof hash);
    *to = '~';
    memcpy(to + 1, text.p, text.n);
    size_t n = text.n + 1;
    buf_fini(&text);
    return n;
}

struct str store_key(const struct store *s, struct store_key *k, const char *kind, struct str tag,
                     const struct str *parts, size_t n)
{
    size_t prefix = strlen(s->hub->prefix), word = strlen(kind);
    char *to = k->text;
    _Static_assert(PREFIX_MAX + KIND_MAX + (STORE_PARTS_MAX + 1) * 46 + 8 < STORE_KEY_MAX, "room");
    assert(n <= STORE_PARTS_MAX && word <= KIND_MAX);
    memcpy(to, s->hub->prefix, prefix);
    to += prefix;
    *to++ = ':';
    memcpy(to, kind, word);
    to += word;
    *to++ = ':';
    *to++ = '{';
    to += add_part(to, tag);
    *to++ = '}';
    for (size_t i = 0; i < n; i++) {
        *to++ = ':';
        to += add_part(to, parts[i]);
    }
    return (struct str){k->text, (size_t)(to - k->text)};
}

/* Made by store_key, and so within what the user in Redis may touch. */
static bool is_ours(const struct store *s, struct str key)
{
    size_t n = strlen(s->hub->prefix);
    return key.n > n && key.n <= STORE_KEY_MAX && memcmp(key.p, s->hub->prefix, n) == 0 &&
           key.p[n] == ':';
}

/* ---- operations ---- */

bool store_answer(struct store_reply *r, enum store_status status)
{
    *r = (struct store_reply){.status = status};
    return true;
}

struct str store_lend(struct store *s, struct str bytes)
{
    s->scratch.n = 0;
    buf_add_str(&s->scratch, bytes);
    return buf_str(&s->scratch);
}

static bool fits(const struct store_request *q)
{
    switch (q->action) {
    case ACTION_SET:
    case ACTION_DEL_IF:
    case ACTION_EXTEND:
    case ACTION_APPEND: return q->value.n <= STORE_VALUE_MAX;
    case ACTION_PUBLISH: return q->value.n <= STORE_MESSAGE_MAX;
    case ACTION_JOIN:
    case ACTION_LEAVE: return q->value.n <= STORE_MEMBER_MAX;
    case ACTION_GET:
    case ACTION_DEL:
    case ACTION_ADMIT:
    case ACTION_READ:
    case ACTION_MEMBERS:
    case ACTIONS: break;
    }
    return true;
}

static bool run(struct store *s, struct store_op *op, const struct store_request *q,
                struct store_reply *r)
{
    struct store_reply unused = {0};
    r = r ? r : &unused;
    assert(!op || (op->fn && !op->store));
    assert(q->action == ACTION_ADMIT || is_ours(s, q->key));
    (void)store_answer(r, STORE_AWAY);
    bool now = !fits(q) || s->backend->run(s, op, q, r);
    if (now)
        store_count(s, q->action, r->status);
    return now;
}

void store_cancel(struct store_op *op)
{
    if (op->store)
        op->store->backend->cancel(op->store, op);
    op->store = NULL;
}

bool store_get(struct store *s, struct store_op *op, struct str key, struct store_reply *r)
{
    return run(s, op, &(struct store_request){.action = ACTION_GET, .key = key}, r);
}

bool store_set(struct store *s, struct store_op *op, struct str key, struct str value,
               int64_t ttl_ms, enum store_when when, struct store_reply *r)
{
    assert(ttl_ms > 0);
    const struct store_request q = {
        .action = ACTION_SET, .key = key, .value = value, .ttl_ms = ttl_ms, .when = when};
    return run(s, op, &q, r);
}

bool store_del(struct store *s, struct store_op *op, struct str key, struct store_reply *r)
{
    return run(s, op, &(struct store_request){.action = ACTION_DEL, .key = key}, r);
}

bool store_del_if(struct store *s, struct store_op *op, struct str key, struct str value,
                  struct store_reply *r)
{
    return run(s, op, &(struct store_request){.action = ACTION_DEL_IF, .key = key, .value = value},
               r);
}

bool store_extend(struct store *s, struct store_op *op, struct str key, struct str value,
                  int64_t ttl_ms, struct store_reply *r)
{
    assert(ttl_ms > 0);
    const struct store_request q = {
        .action = ACTION_EXTEND, .key = key, .value = value, .ttl_ms = ttl_ms};
    return run(s, op, &q, r);
}

bool store_admit(struct store *s, struct store_op *op, const struct store_window *w, size_t n,
                 struct store_reply *r)
{
    assert(n >= 1 && n <= STORE_WINDOWS_MAX);
    for (size_t i = 0; i < n; i++)
        assert(w[i].window_ms > 0 && is_ours(s, w[i].key));
    return run(s, op,
               &(struct store_request){.action = ACTION_ADMIT, .windows = w, .window_count = n}, r);
}

bool store_append(struct store *s, struct store_op *op, struct str key,
                  const struct store_entry *entry, int64_t keep_from, int64_t ttl_ms,
                  struct store_reply *r)
{
    int64_t seq = entry->seq, keep = keep_from < seq ? keep_from : seq;
    assert(ttl_ms > 0 && seq > 0 && seq <= (int64_t)1 << SEQ_MAX_BITS);
    const struct store_request q = {.action = ACTION_APPEND,
                                    .key = key,
                                    .value = entry->value,
                                    .ttl_ms = ttl_ms,
                                    .seq = seq,
                                    .keep_from = keep > 0 ? keep : 0};
    return run(s, op, &q, r);
}

bool store_read(struct store *s, struct store_op *op, struct str key, int64_t after,
                struct store_reply *r)
{
    assert(after >= 0);
    return run(s, op, &(struct store_request){.action = ACTION_READ, .key = key, .seq = after}, r);
}

bool store_join(struct store *s, struct store_op *op, struct str key, struct str name,
                int64_t ttl_ms, struct store_reply *r)
{
    assert(ttl_ms > 0);
    const struct store_request q = {
        .action = ACTION_JOIN, .key = key, .value = name, .ttl_ms = ttl_ms};
    return run(s, op, &q, r);
}

bool store_leave(struct store *s, struct store_op *op, struct str key, struct str name,
                 struct store_reply *r)
{
    return run(s, op, &(struct store_request){.action = ACTION_LEAVE, .key = key, .value = name},
               r);
}

bool store_members(struct store *s, struct store_op *op, struct str key, struct store_reply *r)
{
    return run(s, op, &(struct store_request){.action = ACTION_MEMBERS, .key = key}, r);
}

bool store_publish(struct store *s, struct store_op *op, struct str channel, struct str body,
                   struct store_reply *r)
{
    const struct store_request q = {.action = ACTION_PUBLISH, .key = channel, .value = body};
    return run(s, op, &q, r);
}

/* ---- subscriptions ---- */

/* A callback may unsubscribe any: s->walk is moved on then. */
static void tell(struct store *s, struct store_channel *ch, enum store_event event, struct str body,
                 bool fresh_only)
{
    for (struct store_sub *sub = ch->first; sub; sub = s->walk) {
        s->walk = sub->next;
        if (fresh_only && !sub->fresh)
            continue;
        sub->fresh = false;
        sub->fn(event, body, sub->arg);
    }
}

void store_deliver(struct store *s, enum store_event event, struct str channel, struct str body)
{
    struct store_channel *ch = s->closed ? NULL : map_get(&s->channels, channel);
    if (ch && ch->live)
        tell(s, ch, event, body, false);
}

void store_channel_live(struct store *s, struct str channel)
{
    struct store_channel *ch = s->closed ? NULL : map_get(&s->channels, channel);
    if (!ch)
        return;
    ch->live = true;
    tell(s, ch, STORE_GAP, (struct str){0}, false);
}

void store_channels_away(struct store *s)
{
    size_t at = 0;
    struct str name;
    void *value;
    while (map_next(&s->channels, &at, &name, &value))
        ((struct store_channel *)value)->live = false;
}

struct welcome {
    struct store *s;
    char name[];
};

/* A subscription to a channel that is live already. */
static void on_welcome(void *arg)
{
    struct welcome *w = arg;
    struct store_channel *ch = w->s->closed ? NULL : map_get(&w->s->channels, str_of(w->name));
    if (ch && ch->live)
        tell(w->s, ch, STORE_GAP, (struct str){0}, true);
    store_unref(&w->s);
    free(w);
}

static struct store_channel *channel_of(struct store *s, struct str name)
{
    struct store_channel *ch = map_get(&s->channels, name);
    if (ch)
        return ch;
    ch = xcalloc(1, sizeof *ch + name.n + 1);
    memcpy(ch->name, name.p, name.n);
    (void)map_set(&s->channels, name, ch);
    ch->live = !s->backend->subscribed;
    return ch;
}

void store_subscribe(struct store *s, struct store_sub *sub, struct str channel)
{
    assert(sub->fn && !sub->store && is_ours(s, channel));
    struct store_channel *ch = channel_of(s, channel);
    bool first = !ch->first;
    sub->store = s;
    sub->channel = ch;
    sub->fresh = true;
    sub->next = ch->first;
    ch->first = sub;
    atomic_fetch_add(&s->subs, 1);
    if (first && s->backend->subscribed)
        s->backend->subscribed(s, channel);
    if (!ch->live)
        return;
    struct welcome *w = xmalloc(sizeof *w + channel.n + 1);
    w->s = store_ref(s);
    memcpy(w->name, ch->name, channel.n + 1);
    loop_post(s->loop, on_welcome, w);
}

void store_unsubscribe(struct store_sub *sub)
{
    struct store *s = sub->store;
    struct store_channel *ch = sub->channel;
    if (!s)
        return;
    struct store_sub **at = &ch->first;
    while (*at != sub)
        at = &(*at)->next;
    *at = sub->next;
    if (s->walk == sub)
        s->walk = sub->next;
    sub->store = NULL;
    atomic_fetch_sub(&s->subs, 1);
    if (ch->first)
        return;
    struct str name = str_of(ch->name);
    (void)map_del(&s->channels, name);
    if (s->backend->unsubscribed && !s->closed)
        s->backend->unsubscribed(s, name);
    free(ch);
}

/* ---- life ---- */

static bool prefix_is_legal(const char *z)
{
    struct str s = str_of(z);
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && !memchr("._-", s.p[i], 3))
            return false;
    return s.n > 0 && s.n <= PREFIX_MAX;
}

struct store_hub *store_hub_new(const struct store_options *o, struct err *e)
{
    if (!prefix_is_legal(o->prefix)) {
        err_fill(e, ERR_CONFIG, "the prefix may hold 1 to 64 letters, digits, '.', '_' and '-'");
        return NULL;
    }
    struct store_hub *h = xcalloc(1, sizeof *h);
    h->backend = &store_memory_backend;
    if (o->url->kind != STORE_IN_MEMORY) {
        h->backend = &store_redis_backend;
        h->redis = store_redis_hub_new(o, e);
        if (!h->redis) {
            free(h);
            return NULL;
        }
    }
    h->memory = store_memory_new(o->memory_bytes);
    h->prefix = xstrdup(o->prefix);
    pthread_mutex_init(&h->lock, NULL);
    find_series(h);
    return h;
}

void store_hub_free(struct store_hub **h)
{
    if (!*h)
        return;
    assert(!(*h)->handles);
    store_memory_free(&(*h)->memory);
    store_redis_hub_free(&(*h)->redis);
    pthread_mutex_destroy(&(*h)->lock);
    free((*h)->prefix);
    free(*h);
    *h = NULL;
}

void store_init(struct store *s, const struct store_backend *b, struct store_hub *h, struct loop *l)
{
    s->backend = b;
    s->hub = h;
    s->loop = l;
    atomic_init(&s->refs, 1);
    pthread_mutex_lock(&h->lock);
    s->next = h->handles;
    h->handles = s;
    pthread_mutex_unlock(&h->lock);
}

struct store *store_open(struct store_hub *h, struct loop *l)
{
    struct store *s = h->backend->open(h, l);
    if (h->backend != &store_memory_backend)
        s->local = store_memory_backend.open(h, l);
    return s;
}

static void leave_hub(struct store *s)
{
    struct store_hub *h = s->hub;
    pthread_mutex_lock(&h->lock);
    struct store **at = &h->handles;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    pthread_mutex_unlock(&h->lock);
}

void store_close(struct store **sp)
{
    struct store *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    leave_hub(s);
    if (s->backend->close)
        s->backend->close(s);
    s->closed = true;
    size_t at = 0;
    struct str name;
    void *value;
    while (map_next(&s->channels, &at, &name, &value)) {
        struct store_channel *ch = value;
        for (struct store_sub *sub = ch->first; sub; sub = sub->next)
            sub->store = NULL;
        free(ch);
    }
    map_fini(&s->channels);
    store_close(&s->local);
    store_unref(&s);
}

struct store *store_ref(struct store *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

/* What the backend deferred to the end of the turn still looks at the handle. */
static void on_unused(void *arg)
{
    struct store *s = arg;
    buf_fini(&s->scratch);
    free(s);
}

void store_unref(struct store **s)
{
    struct store *x = *s;
    *s = NULL;
    if (x && atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) == 1)
        loop_defer(x->loop, on_unused, x);
}

struct store *store_local(struct store *s)
{
    return s->local ? s->local : s;
}

bool store_is_up(const struct store *s)
{
    return s->backend->is_up(s);
}

const char *store_name(const struct store *s)
{
    return s->backend->name;
}

int store_replicas(const struct store *s)
{
    return s->backend->replicas ? s->backend->replicas(s) : 1;
}
