/* See store_redis.h: each operation as a command of Redis, and each reply as an answer. Nothing
 * here knows a connection. What comes back is believed only as far as its MAC, its type and its
 * size allow. */
#include "store/store_redis.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    ARGS_MAX = 3 + 3 * STORE_WINDOWS_MAX + 4,
    VALUE_BYTES_MAX = STORE_VALUE_MAX + STORE_MAC_BYTES,
    MEMBER_BYTES_MAX = STORE_MEMBER_MAX + STORE_MAC_BYTES,
    MESSAGE_LIFE_MS = 30000,
};

/* ---- commands ---- */

struct args {
    struct str at[ARGS_MAX];
    size_t n, used;
    char text[1024]; /* of numbers */
};

static void add(struct args *a, struct str s)
{
    a->at[a->n++] = s;
}

static void add_number(struct args *a, int64_t v)
{
    char *to = a->text + a->used;
    int n = snprintf(to, sizeof a->text - a->used, "%" PRId64, v);
    add(a, (struct str){to, (size_t)n});
    a->used += (size_t)n + 1;
}

static int8_t add_script(struct args *a, const struct store_redis_hub *h, enum redis_script s,
                         size_t keys)
{
    add(a, STR("EVALSHA"));
    add(a, (struct str){h->names.sha1[s], 40});
    add_number(a, (int64_t)keys);
    return (int8_t)s;
}

/* Members are the same bytes each time, so that joining again is no second member. */
static struct str wrapped(const struct store_redis_hub *h, const struct store_request *q,
                          struct buf *wrap)
{
    static const enum store_purpose purposes[ACTIONS] = {
        [ACTION_APPEND] = STORE_FOR_LOG,
        [ACTION_JOIN] = STORE_FOR_MEMBER,
        [ACTION_LEAVE] = STORE_FOR_MEMBER,
        [ACTION_PUBLISH] = STORE_FOR_MESSAGE,
    };
    struct store_place at = {purposes[q->action], q->key, q->seq};
    int64_t now = clock_wall_ms(), expires = 0;
    if (q->action == ACTION_PUBLISH)
        expires = now + MESSAGE_LIFE_MS;
    else if (at.purpose != STORE_FOR_MEMBER)
        expires = now + q->ttl_ms;
    wrap->n = 0;
    store_mac_wrap(h->macs, &at, expires, q->value, wrap);
    return buf_str(wrap);
}

/* Its kind is part of a window's key: the two kinds are different things in Redis. */
static struct str window_key(const struct store_window *w, struct buf *room)
{
    size_t from = room->n;
    buf_add_str(room, w->key);
    if (w->limit > STORE_EXACT_MAX)
        buf_addf(room, ":p%" PRId64, w->window_ms);
    else
        buf_adds(room, ":x");
    return (struct str){room->p + from, room->n - from};
}

static int8_t add_admit(struct args *a, const struct store_redis_hub *h,
                        const struct store_request *q, struct buf *room)
{
    int8_t script = add_script(a, h, SCRIPT_ADMIT, q->window_count);
    room->n = 0;
    (void)buf_reserve(room,
                      STORE_WINDOWS_MAX * (STORE_KEY_MAX + 32)); /* so that it stays in place */
    for (size_t i = 0; i < q->window_count; i++)
        add(a, window_key(&q->windows[i], room));
    for (size_t i = 0; i < q->window_count; i++) {
        add_number(a, q->windows[i].limit > 0 ? q->windows[i].limit : 0);
        add_number(a, q->windows[i].window_ms);
    }
    return script;
}

static void add_set(struct args *a, const struct store_redis_hub *h, const struct store_request *q,
                    struct buf *wrap)
{
    add(a, STR("SET"));
    add(a, q->key);
    add(a, wrapped(h, q, wrap));
    add(a, STR("PX"));
    add_number(a, q->ttl_ms);
    if (q->when == STORE_IF_ABSENT)
        add(a, STR("NX"));
}

/* Fills the arguments; returns the script that they name, or -1. */
static int8_t fill(struct args *a, const struct store_redis_hub *h, const struct store_request *q,
                   struct buf *wrap)
{
    int8_t script = -1;
    switch (q->action) {
    case ACTION_GET: /* never more than could be right, whatever is there */
        add(a, STR("GETRANGE"));
        add(a, q->key);
        add_number(a, 0);
        add_number(a, VALUE_BYTES_MAX);
        return -1;
    case ACTION_SET: add_set(a, h, q, wrap); return -1;
    case ACTION_DEL:
        add(a, STR("DEL"));
        add(a, q->key);
        return -1;
    case ACTION_DEL_IF:
        script = add_script(a, h, SCRIPT_DEL_IF, 1);
        add(a, q->key);
        add(a, q->value);
        return script;
    case ACTION_EXTEND:
        script = add_script(a, h, SCRIPT_EXTEND, 1);
        add(a, q->key);
        add(a, q->value);
        add(a, wrapped(h, q, wrap));
        add_number(a, q->ttl_ms);
        return script;
    case ACTION_ADMIT: return add_admit(a, h, q, wrap);
    case ACTION_APPEND:
        script = add_script(a, h, SCRIPT_APPEND, 1);
        add(a, q->key);
        add_number(a, q->seq);
        add_number(a, q->keep_from);
        add(a, wrapped(h, q, wrap));
        add_number(a, q->ttl_ms);
        return script;
    case ACTION_READ:
        script = add_script(a, h, SCRIPT_READ, 1);
        add(a, q->key);
        add_number(a, q->seq);
        add_number(a, STORE_READ_MAX);
        add_number(a, STORE_READ_BYTES + STORE_READ_MAX * STORE_MAC_BYTES);
        add_number(a, VALUE_BYTES_MAX);
        return script;
    case ACTION_JOIN:
        script = add_script(a, h, SCRIPT_JOIN, 1);
        add(a, q->key);
        add(a, wrapped(h, q, wrap));
        add_number(a, q->ttl_ms);
        add_number(a, STORE_MEMBERS_MAX);
        return script;
    case ACTION_LEAVE:
        add(a, STR("ZREM"));
        add(a, q->key);
        add(a, wrapped(h, q, wrap));
        return -1;
    case ACTION_MEMBERS:
        script = add_script(a, h, SCRIPT_MEMBERS, 1);
        add(a, q->key);
        add_number(a, STORE_MEMBERS_MAX);
        add_number(a, MEMBER_BYTES_MAX);
        return script;
    case ACTION_PUBLISH:
        add(a, STR("PUBLISH"));
        add(a, q->key);
        add(a, wrapped(h, q, wrap));
        return -1;
    case ACTIONS: break;
    }
    abort();
}

struct redis_command redis_op_encode(const struct store_redis_hub *hub,
                                     const struct store_request *q, struct buf *wrap,
                                     struct buf *out)
{
    struct args a;
    size_t from = out->n;
    a.n = a.used = 0;
    struct redis_command c = {.script = fill(&a, hub, q, wrap)};
    redis_encode(out, a.at, a.n);
    c.n = (uint32_t)(out->n - from);
    if (q->key.n) {
        /* What stands before the key (a command, a hash, a number) cannot hold it. */
        const char *at = memmem(out->p + from, c.n, q->key.p, q->key.n);
        c.key_at = at ? (uint32_t)(at - out->p - (ptrdiff_t)from) : 0;
        c.key_n = at ? (uint32_t)q->key.n : 0;
    }
    return c;
}

/* ---- replies ---- */

static bool open_value(const struct redis_decoding *d, enum store_purpose purpose, int64_t seq,
                       struct str raw, struct str *out)
{
    return store_mac_open(d->macs, &(struct store_place){purpose, d->key, seq}, raw, d->wall_ms,
                          out);
}

static void got_value(const struct redis_decoding *d, struct store_reply *r)
{
    const struct redis_node *n = &d->reply->nodes[0];
    bool wrong_type = redis_is_error(n, "WRONGTYPE");
    r->status = STORE_ABSENT;
    if (n->type == REDIS_TEXT && n->text.n == 0)
        return;
    if (!wrong_type && n->type == REDIS_TEXT && n->text.n <= VALUE_BYTES_MAX &&
        open_value(d, STORE_FOR_VALUE, 0, n->text, &r->value))
        r->status = STORE_OK;
    else
        d->forged[FORGED_VALUE]++;
}

/* What follows the script's head of `from` values: number, envelope, … An entry that is not ours
 * breaks the log: what came next is not known. */
static void got_log(const struct redis_decoding *d, struct store_reply *r)
{
    size_t n = (size_t)d->reply->nodes[0].number;
    int64_t last = d->p->seq;
    bool joins = redis_item_number(d->reply, 2, 0) == 1 || last == 0;
    for (size_t i = 3; i + 1 < n && r->count < STORE_READ_MAX; i += 2) {
        const struct redis_node *raw = redis_item(d->reply, i + 1);
        struct store_entry *e = &d->entries[r->count];
        e->seq = redis_item_number(d->reply, i, 0);
        if (!raw || e->seq <= last || !open_value(d, STORE_FOR_LOG, e->seq, raw->text, &e->value)) {
            d->forged[FORGED_LOG]++;
            joins = joins && r->count > 0; /* those before it are good */
            break;
        }
        joins = joins && (d->p->seq > 0 || r->count > 0 || e->seq == 1);
        last = e->seq;
        r->count++;
    }
    r->entries = d->entries;
    if (!joins || (r->count == 0 && d->p->seq == 0))
        *r = (struct store_reply){.status = STORE_ABSENT};
}

static void got_members(const struct redis_decoding *d, struct store_reply *r)
{
    size_t n = (size_t)d->reply->nodes[0].number;
    for (size_t i = 2; i < n && r->count < STORE_MEMBERS_MAX; i++) {
        const struct redis_node *raw = redis_item(d->reply, i);
        struct store_entry *e = &d->entries[r->count];
        e->seq = 0;
        if (raw && open_value(d, STORE_FOR_MEMBER, 0, raw->text, &e->value))
            r->count++;
        else
            d->forged[FORGED_MEMBER]++;
    }
    r->entries = d->entries;
    r->status = r->count ? STORE_OK : STORE_ABSENT;
}

static enum store_forgery forgery_of(enum store_action a)
{
    return a == ACTION_ADMIT                                              ? FORGED_NUMBER
           : a == ACTION_APPEND || a == ACTION_READ                       ? FORGED_LOG
           : a == ACTION_JOIN || a == ACTION_MEMBERS || a == ACTION_LEAVE ? FORGED_MEMBER
                                                                          : FORGED_VALUE;
}

/* A script's {status, forged, …}. */
static bool got_script(const struct redis_decoding *d, struct store_reply *r)
{
    int64_t status = redis_item_number(d->reply, 0, -1);
    if (status < STORE_OK || status > STORE_HELD)
        return false;
    r->status = (enum store_status)status;
    d->forged[forgery_of((enum store_action)d->p->action)] +=
        redis_item_number(d->reply, 1, 0) == 1;
    r->number = redis_item_number(d->reply, 2, 0);
    switch ((enum redis_script)d->p->script) {
    case SCRIPT_ADMIT:
        r->window = (size_t)redis_item_number(d->reply, 3, 0);
        r->retry_ms = redis_item_number(d->reply, 4, 0);
        return r->window < STORE_WINDOWS_MAX;
    case SCRIPT_READ:
        r->number = 0;
        if (status == STORE_OK)
            got_log(d, r);
        return true;
    case SCRIPT_MEMBERS:
        r->number = 0;
        if (status == STORE_OK)
            got_members(d, r);
        return true;
    case SCRIPT_DEL_IF:
    case SCRIPT_EXTEND:
    case SCRIPT_APPEND:
    case SCRIPT_JOIN:
    case SCRIPTS: break;
    }
    return true;
}

/* The number of what was removed. */
static bool got_removed(const struct redis_decoding *d, struct store_reply *r)
{
    const struct redis_node *n = &d->reply->nodes[0];
    if (redis_is_error(n, "WRONGTYPE")) {
        d->forged[forgery_of((enum store_action)d->p->action)]++;
        r->status = STORE_ABSENT;
        return true;
    }
    r->status = n->number > 0 ? STORE_OK : STORE_ABSENT;
    return n->type == REDIS_NUMBER;
}

static bool decode(const struct redis_decoding *d, struct store_reply *r)
{
    const struct redis_node *n = &d->reply->nodes[0];
    if (d->p->script >= 0)
        return n->type == REDIS_LIST && got_script(d, r);
    switch ((enum store_action)d->p->action) {
    case ACTION_GET:
        if (n->type == REDIS_ERROR && !redis_is_error(n, "WRONGTYPE"))
            return false;
        got_value(d, r);
        return true;
    case ACTION_SET:
        r->status = n->type == REDIS_NIL ? STORE_HELD : STORE_OK;
        return n->type == REDIS_NIL || (n->type == REDIS_TEXT && str_eq(n->text, STR("OK")));
    case ACTION_DEL:
    case ACTION_LEAVE: return got_removed(d, r);
    case ACTION_PUBLISH: r->status = STORE_OK; return n->type == REDIS_NUMBER;
    case ACTIONS: r->status = STORE_OK; return n->type != REDIS_ERROR;
    case ACTION_DEL_IF:
    case ACTION_EXTEND:
    case ACTION_ADMIT:
    case ACTION_APPEND:
    case ACTION_READ:
    case ACTION_JOIN:
    case ACTION_MEMBERS: break;
    }
    return false;
}

bool redis_op_decode(const struct redis_decoding *d, struct store_reply *r)
{
    (void)store_answer(r, STORE_AWAY);
    return decode(d, r) || !store_answer(r, STORE_AWAY);
}
