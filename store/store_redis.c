/* The store in Redis: a handle's connection, over which operations are pipelined. What holds here:
 * - Commands stand in `ring` in the order of their replies; what was encoded in one turn is written
 *   at its end, together.
 * - While the connection comes back after a loss, operations wait for it within their deadline;
 * once an attempt failed, or when nothing is answered for a deadline, they are AWAY at once, and
 * the link (or the replies that are still due) tells when that is over.
 * - An operation that was sent is never sent again, but for a script that Redis says it does not
 *   know. */
#include "store/store_redis.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"

#include <assert.h>
#include <stdlib.h>

enum {
    PENDING_MAX = 1 << 16,
    COMMANDS_MAX = 32 * 1024 * 1024,
    KEEP_COMMANDS = 256 * 1024,
    STUCK_MS = 400,
    IDLE_MS = 2000,
    BEAT_MS = 5000,
    BEAT_LIFE_MS = 15000,
    COMPLAIN_MS = 10000,
};

static struct redis_store *of(struct store *s)
{
    return (struct redis_store *)(void *)s;
}

/* ---- the process's part ---- */

static char *dup_or_null(const char *z)
{
    return z ? xstrdup(z) : NULL;
}

static void copy_url(struct store_url *to, const struct store_url *from)
{
    *to = *from;
    for (size_t i = 0; i < from->host_count; i++)
        to->hosts[i].host = xstrdup(from->hosts[i].host);
    to->user = dup_or_null(from->user);
    to->password = dup_or_null(from->password);
    to->master = dup_or_null(from->master);
}

struct store_redis_hub *store_redis_hub_new(const struct store_options *o, struct err *e)
{
    struct tls_ctx *tls = NULL;
    const struct tls_options t = {
        .ca_file = o->ca_file, .cert_file = o->cert_file, .key_file = o->key_file};
    if (o->url->tls && !(tls = tls_ctx_new(&t, e)))
        return NULL;
    struct store_redis_hub *h = xcalloc(1, sizeof *h);
    copy_url(&h->url, o->url);
    h->password = dup_or_null(o->password);
    h->password_file = dup_or_null(o->password_file);
    h->replica = dup_or_null(o->replica);
    h->op_ms = o->op_ms;
    h->connect_ms = o->connect_ms;
    h->tls = tls;
    h->macs = store_macs_new(o->keys, o->key_count);
    redis_scripts_name(&h->names);
    for (int i = 0; i < SCRIPTS; i++) {
        redis_encode(
            &h->greeting,
            (struct str[]){STR("SCRIPT"), STR("LOAD"), redis_script_text((enum redis_script)i)}, 3);
    }
    atomic_init(&h->replicas, 1);
    return h;
}

void store_redis_hub_free(struct store_redis_hub **hp)
{
    struct store_redis_hub *h = *hp;
    *hp = NULL;
    if (!h)
        return;
    store_url_fini(&h->url);
    if (h->password)
        crypto_wipe(h->password, strlen(h->password));
    free(h->password);
    free(h->password_file);
    free(h->replica);
    tls_ctx_unref(&h->tls);
    store_macs_free(&h->macs);
    buf_fini(&h->greeting);
    free(h);
}

/* One line and one gauge for all handles of the process. */
static void note_state(struct redis_store *rs, bool away, const char *why)
{
    struct store_redis_hub *h = rs->hub;
    if (away == rs->away)
        return;
    rs->away = away;
    if (away && atomic_fetch_add(&h->away, 1) == 0) {
        atomic_store(&h->away_since_ms, clock_ms());
        metric_set(rs->base.hub->up, 0);
        log_warn("store.away", L_STR("error", why));
    } else if (!away && atomic_fetch_sub(&h->away, 1) == 1) {
        metric_set(rs->base.hub->up, 1);
        log_info("store.back", L_INT("away_ms", clock_ms() - atomic_load(&h->away_since_ms)));
    }
}

/* ---- pending commands ---- */

static struct redis_pending *pending_at(struct redis_store *rs, uint64_t ordinal)
{
    return &rs->ring[ordinal & (rs->cap - 1)];
}

static void grow_ring(struct redis_store *rs)
{
    size_t cap = rs->cap ? rs->cap * 2 : 64;
    struct redis_pending *ring = xcalloc(cap, sizeof *ring);
    for (uint64_t i = rs->first; i < rs->first + rs->n; i++)
        ring[i & (cap - 1)] = *pending_at(rs, i);
    free(rs->ring);
    rs->ring = ring;
    rs->cap = cap;
}

static void on_timer(void *arg);

/* For the pending whose bytes were just appended to rs->commands. */
static struct redis_pending *push(struct redis_store *rs, const struct redis_command *c,
                                  enum store_action action)
{
    if (rs->n == rs->cap)
        grow_ring(rs);
    struct redis_pending *p = pending_at(rs, rs->first + rs->n++);
    *p = (struct redis_pending){
        .started_us = clock_us(),
        .at = rs->commands_at + rs->commands.n - c->n,
        .n = c->n,
        .key_at = c->key_at,
        .key_n = c->key_n,
        .action = (uint8_t)action,
        .script = c->script,
    };
    if (rs->n == 1)
        timer_set(&rs->timer, rs->base.loop, rs->hub->op_ms, on_timer, rs);
    return p;
}

static struct str bytes_of(const struct redis_store *rs, const struct redis_pending *p)
{
    return (struct str){rs->commands.p + (p->at - rs->commands_at), p->n};
}

static void send_pending(struct redis_store *rs, struct redis_pending *p)
{
    p->sent = true;
    redis_link_put(&rs->link, bytes_of(rs, p));
}

static struct redis_pending pop(struct redis_store *rs)
{
    struct redis_pending p = *pending_at(rs, rs->first);
    rs->first++;
    rs->n--;
    if (rs->due < rs->first)
        rs->due = rs->first;
    return p;
}

/* The bytes of what has been answered go, now and then. */
static void forget_commands(struct redis_store *rs)
{
    uint64_t from = rs->n ? pending_at(rs, rs->first)->at : rs->commands_at + rs->commands.n;
    size_t gone = (size_t)(from - rs->commands_at);
    if (gone < rs->commands.n && gone < KEEP_COMMANDS)
        return;
    if (gone == rs->commands.n && rs->commands.cap > KEEP_COMMANDS)
        buf_fini(&rs->commands);
    else
        buf_drop(&rs->commands, gone);
    rs->commands_at = from;
}

/* Ends an operation, for whoever waits for it. */
static void finish(struct redis_store *rs, struct redis_pending *p, const struct store_reply *r)
{
    struct store_op *op = p->op;
    p->op = NULL;
    if (p->waited && !p->expired)
        store_count(&rs->base, (enum store_action)p->action, r->status);
    if (!op)
        return;
    op->store = NULL;
    op->fn(r, op->arg);
}

static void finish_away(struct redis_store *rs, struct redis_pending *p)
{
    finish(rs, p, &(struct store_reply){.status = STORE_AWAY});
}

/* Ends the oldest n; callbacks may add new ones behind. */
static void give_up(struct redis_store *rs, size_t n)
{
    for (; n > 0; n--) {
        struct redis_pending p = pop(rs);
        finish_away(rs, &p);
    }
    forget_commands(rs);
}

/* ---- sending ---- */

static bool takes_work(const struct redis_store *rs)
{
    if (rs->closing || rs->stuck_us || rs->n >= PENDING_MAX || rs->commands.n >= COMMANDS_MAX)
        return false;
    return rs->link.state == LINK_UP || rs->link.failures == 0;
}

static bool redis_run(struct store *s, struct store_op *op, const struct store_request *q,
                      struct store_reply *r)
{
    struct redis_store *rs = of(s);
    if (!takes_work(rs))
        return store_answer(r, STORE_AWAY);
    struct redis_command c = redis_op_encode(rs->hub, q, &rs->wrap, &rs->commands);
    struct redis_pending *p = push(rs, &c, q->action);
    p->op = op;
    p->waited = op != NULL;
    p->seq = q->seq;
    if (op) {
        op->store = s;
        op->ticket = rs->first + rs->n - 1;
    }
    if (rs->link.state == LINK_UP)
        send_pending(rs, p);
    return op ? false : store_answer(r, STORE_OK);
}

static void redis_cancel(struct store *s, struct store_op *op)
{
    struct redis_store *rs = of(s);
    if (op->ticket >= rs->first && op->ticket < rs->first + rs->n)
        pending_at(rs, op->ticket)->op = NULL;
}

/* A command of our own. */
static void send_own(struct redis_store *rs, const struct str *args, size_t n)
{
    size_t from = rs->commands.n;
    redis_encode(&rs->commands, args, n);
    const struct redis_command c = {.n = (uint32_t)(rs->commands.n - from), .script = -1};
    send_pending(rs, push(rs, &c, ACTIONS));
}

/* Redis forgot the scripts (SCRIPT FLUSH): loads them again and sends this one once more, since it
 * was not run. */
static void send_again(struct redis_store *rs, struct redis_pending old, const struct str *bytes)
{
    struct buf copy = {0};
    buf_add_str(&copy, *bytes);
    for (int i = 0; i < SCRIPTS; i++) {
        send_own(
            rs, (struct str[]){STR("SCRIPT"), STR("LOAD"), redis_script_text((enum redis_script)i)},
            3);
    }
    buf_add_str(&rs->commands, buf_str(&copy));
    buf_fini(&copy);
    const struct redis_command c = {old.n, old.key_at, old.key_n, old.script};
    struct redis_pending *p = push(rs, &c, (enum store_action)old.action);
    p->op = old.op;
    p->waited = old.waited;
    p->seq = old.seq;
    p->retried = true;
    if (p->op)
        p->op->ticket = rs->first + rs->n - 1;
    send_pending(rs, p);
}

/* ---- replies ---- */

static void complain(struct redis_store *rs, const struct redis_node *n)
{
    int64_t now = clock_ms(), last = atomic_load(&rs->hub->complained_ms);
    if ((last && now - last < COMPLAIN_MS) ||
        !atomic_compare_exchange_strong(&rs->hub->complained_ms, &last, now))
        return;
    struct str text = n->text;
    text.n = text.n < 200 ? text.n : 200;
    log_warn("store.refused", L_S("error", text));
}

/* The server cannot do what a master can, or does not know us any more: another must be found. */
static bool must_leave(const struct redis_node *n)
{
    static const char *const codes[] = {"READONLY", "LOADING", "MASTERDOWN", "NOAUTH", "WRONGPASS"};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (redis_is_error(n, codes[i]))
            return true;
    return false;
}

static void note_forged(struct redis_store *rs, const unsigned forged[FORGERIES])
{
    for (int i = 0; i < FORGERIES; i++)
        if (forged[i])
            metric_add(rs->base.hub->forged[i], forged[i]);
}

static void note_answer(struct redis_store *rs, const struct redis_pending *p)
{
    rs->heard_us = clock_us();
    rs->stuck_us = 0;
    note_state(rs, false, NULL);
    if (p->action < ACTIONS)
        metric_observe_us(rs->base.hub->seconds[p->action], rs->heard_us - p->started_us);
}

static void on_reply(struct redis_link *l)
{
    struct redis_store *rs = l->arg;
    const struct redis_node *n = &l->wire.replies.nodes[0];
    struct err e = {ERR_UNAVAILABLE, ""};
    struct store_reply r;
    unsigned forged[FORGERIES] = {0};
    if (rs->n == 0 || !pending_at(rs, rs->first)->sent) {
        err_fill(&e, ERR_BAD_UPSTREAM, "the server answered what was not asked");
        redis_link_drop(l, &e);
        return;
    }
    struct redis_pending p = pop(rs);
    struct str bytes = bytes_of(rs, &p), key = {bytes.p + p.key_at, p.key_n};
    note_answer(rs, &p);
    bool leave = n->type == REDIS_ERROR && must_leave(n);
    if (redis_is_error(n, "NOSCRIPT") && p.script >= 0 && !p.retried && !p.expired) {
        send_again(rs, p, &bytes);
    } else {
        const struct redis_decoding d = {
            .macs = rs->hub->macs,
            .p = &p,
            .key = key,
            .reply = &l->wire.replies,
            .wall_ms = clock_wall_ms(),
            .entries = rs->base.entries,
            .forged = forged,
        };
        if (!redis_op_decode(&d, &r) && n->type == REDIS_ERROR)
            complain(rs, n);
        note_forged(rs, forged);
        finish(rs, &p, &r);
    }
    forget_commands(rs);
    err_fill(&e, ERR_UNAVAILABLE, "the server is no master that serves us");
    if (leave && l->state == LINK_UP)
        redis_link_drop(l, &e);
}

/* ---- the link ---- */

static void on_beat(void *arg);

static void on_up(struct redis_link *l)
{
    struct redis_store *rs = l->arg;
    rs->heard_us = clock_us();
    rs->stuck_us = 0;
    if (l->ups > 1)
        metric_add(rs->base.hub->reconnects, 1);
    else if (atomic_load(&rs->hub->away) == 0)
        metric_set(rs->base.hub->up, 1);
    note_state(rs, false, NULL);
    for (uint64_t i = rs->first; i < rs->first + rs->n; i++)
        send_pending(rs, pending_at(rs, i));
    if (!timer_armed(&rs->timer))
        timer_set(&rs->timer, rs->base.loop, IDLE_MS, on_timer, rs);
    if (rs->beats)
        on_beat(rs);
}

static void on_down(struct redis_link *l, const struct err *e)
{
    struct redis_store *rs = l->arg;
    size_t sent = 0;
    rs->stuck_us = 0;
    if (l->failures)
        note_state(rs, true, e->msg);
    while (sent < rs->n && pending_at(rs, rs->first + sent)->sent)
        sent++;
    give_up(rs, l->failures ? rs->n : sent);
}

/* ---- deadlines ---- */

static void expire(struct redis_store *rs, int64_t now)
{
    while (rs->due < rs->first + rs->n) {
        struct redis_pending *p = pending_at(rs, rs->due);
        if (p->started_us + rs->hub->op_ms * 1000LL > now)
            return;
        rs->due++;
        struct redis_pending copy = *p;
        p->op = NULL;
        p->expired = true;
        finish_away(rs, &copy);
    }
}

/* Something is due, and nothing was heard for a deadline: the server stands still, or the way to
 * it. */
static void judge(struct redis_store *rs, int64_t now)
{
    const struct redis_pending *p = rs->n ? pending_at(rs, rs->first) : NULL;
    struct err e = {ERR_TIMEOUT, "no answer"};
    int64_t since = p && p->started_us > rs->heard_us ? p->started_us : rs->heard_us;
    if (rs->link.state != LINK_UP || !p || !p->sent || since + rs->hub->op_ms * 1000LL > now)
        return;
    if (!rs->stuck_us) {
        rs->stuck_us = now;
        note_state(rs, true, e.msg);
    } else if (now - rs->stuck_us > STUCK_MS * 1000LL) {
        redis_link_drop(&rs->link, &e);
    }
}

/* Until the next deadline; at rest, until the connection is tried. */
static int64_t next_look_ms(const struct redis_store *rs, int64_t now)
{
    if (rs->n == 0)
        return IDLE_MS;
    if (rs->due == rs->first + rs->n)
        return rs->hub->op_ms / 2 + 1;
    const struct redis_pending *p = &rs->ring[rs->due & (rs->cap - 1)];
    return (p->started_us + rs->hub->op_ms * 1000LL - now) / 1000 + 1;
}

static void on_timer(void *arg)
{
    struct redis_store *rs = arg;
    redis_wire_read(&rs->link.wire); /* a loop that was late does not make the server late */
    int64_t now = clock_us();
    if (rs->n == 0 && rs->link.state == LINK_UP && now - rs->heard_us >= IDLE_MS * 1000LL)
        send_own(rs, (struct str[]){STR("PING")}, 1);
    expire(rs, now);
    judge(rs, now);
    timer_set(&rs->timer, rs->base.loop, next_look_ms(rs, now), on_timer, rs);
}

/* ---- how many replicas there are ---- */

static void on_counted(const struct store_reply *r, void *arg)
{
    struct redis_store *rs = arg;
    if (r->status == STORE_OK && r->number > 0)
        atomic_store(&rs->hub->replicas, (int)r->number);
}

static void on_beat(void *arg)
{
    struct redis_store *rs = arg;
    struct store_key k;
    struct store_reply r;
    struct str name = str_of(rs->hub->replica);
    if (!store_waits(&rs->beat_op) &&
        store_join(&rs->base, &rs->beat_op,
                   store_key(&rs->base, &k, "fleet", STR("replicas"), NULL, 0), name, BEAT_LIFE_MS,
                   &r))
        on_counted(&r, rs);
    timer_set(&rs->beat, rs->base.loop, BEAT_MS, on_beat, rs);
}

static int redis_replicas(const struct store *s)
{
    return atomic_load(&s->hub->redis->replicas);
}

/* ---- life ---- */

static const struct redis_link_events link_events = {on_up, on_down, on_reply};

static struct store *redis_open(struct store_hub *h, struct loop *l)
{
    struct redis_store *rs = xcalloc(1, sizeof *rs);
    rs->hub = h->redis;
    rs->beats = !h->handles && h->redis->replica; /* the first one */
    store_init(&rs->base, &store_redis_backend, h, l);
    rs->link = (struct redis_link){
        .events = &link_events,
        .arg = rs,
        .hub = h->redis,
        .loop = l,
        .greeting = buf_str(&h->redis->greeting),
        .greeting_count = SCRIPTS,
    };
    rs->beat_op = (struct store_op){.fn = on_counted, .arg = rs};
    redis_link_start(&rs->link);
    return &rs->base;
}

static bool redis_is_up(const struct store *s)
{
    const struct redis_store *rs = (const struct redis_store *)(const void *)s;
    return rs->link.state == LINK_UP && !rs->stuck_us;
}

static void redis_close(struct store *s)
{
    struct redis_store *rs = of(s);
    rs->closing = true;
    timer_clear(&rs->timer);
    timer_clear(&rs->beat);
    store_cancel(&rs->beat_op);
    redis_sub_stop(rs);
    redis_link_stop(&rs->link);
    give_up(rs, rs->n);
    atomic_fetch_sub(&rs->hub->away, rs->away);
    free(rs->ring);
    buf_fini(&rs->commands);
    buf_fini(&rs->wrap);
}

const struct store_backend store_redis_backend = {
    .name = "redis",
    .open = redis_open,
    .run = redis_run,
    .cancel = redis_cancel,
    .subscribed = redis_sub_subscribed,
    .unsubscribed = redis_sub_unsubscribed,
    .is_up = redis_is_up,
    .replicas = redis_replicas,
    .close = redis_close,
};
