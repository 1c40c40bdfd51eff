/* See owner.h. The store has, with the session's key:
 *
 *   node    replica -> its address on the link, as long as it is there
 *   owner   who claimed the session, or that it has ended; nothing: the replica that made it
 *   session what changed of it since its id was made
 *
 * To find a session is to go down this list; what is answered "no" goes one down:
 *
 *   RECORD  who has it?                        it has ended: 404
 *   NODE    is that replica there?             yes: the request is forwarded to it
 *   RELEASE its claim is taken away
 *   CLAIM   it is ours, if nobody was faster   else RECORD again
 *   STATE   what changed of it?                the session is brought back here */
#include "gateway/owner_priv.h"

#include "base/clock.h"
#include "gateway/routes.h"
#include "gateway/session.h"
#include "gateway/session_ids.h"

#include <stdlib.h>

enum {
    TICK_MS = 1500,
    NODE_TTL_MS = 5000,
    NODE_FRESH_MS = 1000,
    CLAIM_TTL_MS = 24 * 3600 * 1000,
    MAX_ROUNDS = 5
};
static const char ended_mark[] = "ended";

enum find_step { FIND_RECORD, FIND_NODE, FIND_RELEASE, FIND_CLAIM, FIND_STATE };

struct find {
    struct owners *owners;
    struct exchange *x;
    struct store_op op;
    enum find_step step;
    struct buf text; /* what ticket points into */
    struct session_ticket ticket;
    owner_gone_fn gone; /* not NULL: the owner is known, and x is about no session */
    char owner[ENVELOPE_NAME + 1];
    char refused[ENVELOPE_NAME + 1]; /* who did not take it, or could not be reached */
    bool recorded;                   /* the store names the owner */
    int rounds;
    TAILQ_ENTRY(find) link;
};

static void step_done(struct find *f, const struct store_reply *r);

bool owner_shared(const struct shard *s)
{
    return s->config->store.kind != STORE_IN_MEMORY;
}

/* ---- keys ---- */

static struct str key_of(struct shard *s, struct store_key *k, const char *kind, struct str what)
{
    return store_key(s->store, k, kind, what, NULL, 0);
}

void owner_ended(struct shard *s, struct str key, int64_t made_ms, bool made_here, bool by_client)
{
    struct store_key k;
    struct store_reply r;
    int64_t left = made_ms + SESSION_ID_LIFE_MS - clock_wall_ms();
    /* In this process alone, what was made here and is not here has ended. */
    if (left <= 0 || (made_here && !owner_shared(s)))
        return;
    /* A replica that could not reach this one may have claimed it meanwhile: then it is there. */
    (void)store_set(s->store, NULL, key_of(s, &k, "owner", key), str_of(ended_mark), left,
                    made_here && !by_client ? STORE_IF_ABSENT : STORE_ALWAYS, &r);
    if (by_client)
        (void)store_del(s->store, NULL, key_of(s, &k, "session", key), &r);
}

void owner_keep(struct shard *s, struct str key)
{
    struct store_key k;
    struct store_reply r;
    (void)store_extend(s->store, NULL, key_of(s, &k, "owner", key), str_of(s->gw->replica),
                       CLAIM_TTL_MS, &r);
}

void owner_save(struct shard *s, struct str key, struct str state, int64_t ttl_ms)
{
    struct store_key k;
    struct store_reply r;
    if (owner_shared(s))
        (void)store_set(s->store, NULL, key_of(s, &k, "session", key), state, ttl_ms, STORE_ALWAYS,
                        &r);
}

/* ---- finding ---- */

static void find_free(struct find *f)
{
    TAILQ_REMOVE(&f->owners->finds, f, link);
    store_cancel(&f->op);
    buf_fini(&f->text);
    loop_defer_free(f->owners->shard->loop, f);
}

static void on_client_gone(struct exchange *x)
{
    find_free(x->arg);
}

/* The find is over; its exchange is the caller's. */
static struct exchange *find_end(struct find *f)
{
    struct exchange *x = f->x;
    x->on_closed = NULL;
    x->arg = NULL;
    find_free(f);
    return x;
}

static void answer(struct exchange *x, int status, struct str fields, const char *why)
{
    struct buf body = {0}, all = {0};
    buf_adds(&all, "Content-Type: application/json\r\n");
    buf_add_str(&all, fields);
    rpc_error(&body, (struct str){0}, RPC_INVALID_REQUEST, str_of(why), (struct str){0});
    exchange_reply(x, status, buf_str(&all), buf_str(&body));
    buf_fini(&all);
    buf_fini(&body);
}

static void answer_gone(struct find *f)
{
    struct owners *o = f->owners;
    struct exchange *x = find_end(f);
    if (x->relayed && o->draining)
        link_refuse(x);
    else
        answer(x, 404, (struct str){0}, "no such session; initialize again");
}

static void answer_busy(struct find *f)
{
    answer(find_end(f), 503, STR("Retry-After: 1\r\n"), "the session cannot be found now");
}

/* The session is here from now on. blind: nobody could say what changed of it. */
static void bring_back(struct find *f, struct str state, bool blind)
{
    struct shard *s = f->owners->shard;
    struct str id = http1_value(f->x->head, STR("Mcp-Session-Id"));
    if (session_revive(s, f->x->principal, &f->ticket, id, state, blind))
        routes_on_request(find_end(f));
    else
        answer_busy(f);
}

static bool is_me(const struct find *f)
{
    return strcmp(f->owner, f->owners->shard->gw->replica) == 0;
}

static struct peer *peer_of(struct owners *o, const char *name)
{
    struct peer *p = map_get(&o->peers, str_of(name));
    if (p)
        return p;
    p = xcalloc(1, sizeof *p);
    p->owners = o;
    memcpy(p->name, name, sizeof p->name - 1);
    map_set(&o->peers, str_of(name), p);
    return p;
}

static void forward_to(struct find *f, struct peer *p)
{
    owner_gone_fn gone = f->gone;
    struct exchange *x = find_end(f);
    if (x->relayed)
        link_refuse(x); /* who sent it looks again */
    else
        link_forward(x, p, gone);
}

static void next(struct find *f, enum find_step step)
{
    struct shard *s = f->owners->shard;
    struct store_key k;
    struct store_reply r;
    struct str key = f->ticket.key, me = str_of(s->gw->replica);
    bool now = false;
    f->step = step;
    switch (step) {
    case FIND_RECORD: now = store_get(s->store, &f->op, key_of(s, &k, "owner", key), &r); break;
    case FIND_NODE:
        now = store_get(s->store, &f->op, key_of(s, &k, "node", str_of(f->owner)), &r);
        break;
    case FIND_RELEASE:
        now = store_del_if(s->store, &f->op, key_of(s, &k, "owner", key), str_of(f->owner), &r);
        break;
    case FIND_CLAIM:
        now = store_set(s->store, &f->op, key_of(s, &k, "owner", key), me, CLAIM_TTL_MS,
                        STORE_IF_ABSENT, &r);
        break;
    case FIND_STATE: now = store_get(s->store, &f->op, key_of(s, &k, "session", key), &r); break;
    }
    if (now)
        step_done(f, &r);
}

static void record_again(struct find *f)
{
    if (++f->rounds > MAX_ROUNDS)
        answer_busy(f);
    else
        next(f, FIND_RECORD);
}

/* The store is away: a replica that was there a moment ago is asked, else the session lives by what
 * its id says. */
static void without_store(struct find *f)
{
    struct peer *p = map_get(&f->owners->peers, str_of(f->owner));
    if (f->gone && !(p && p->address))
        f->gone(find_end(f));
    else if (is_me(f) && !f->recorded)
        answer_gone(f);
    else if (!is_me(f) && p && p->address && strcmp(f->owner, f->refused) != 0)
        forward_to(f, p);
    else
        bring_back(f, (struct str){0}, true);
}

static void owner_is_known(struct find *f)
{
    struct peer *p = map_get(&f->owners->peers, str_of(f->owner));
    bool refused = strcmp(f->owner, f->refused) == 0;
    if (is_me(f)) {
        if (f->recorded)
            next(f, FIND_STATE);
        else
            answer_gone(f);
    } else if (refused) {
        next(f, f->recorded ? FIND_RELEASE : FIND_CLAIM);
    } else if (p && p->address && clock_ms() < p->heard_ms + NODE_FRESH_MS) {
        forward_to(f, p);
    } else {
        next(f, FIND_NODE);
    }
}

static void record_read(struct find *f, const struct store_reply *r)
{
    struct str owner = f->ticket.replica;
    f->recorded = r->status == STORE_OK;
    if (f->recorded && str_eq(r->value, str_of(ended_mark))) {
        answer_gone(f);
        return;
    }
    if (f->recorded)
        owner = r->value;
    if (owner.n != ENVELOPE_NAME) {
        answer_gone(f);
        return;
    }
    memcpy(f->owner, owner.p, ENVELOPE_NAME);
    if (r->status == STORE_AWAY)
        without_store(f);
    else
        owner_is_known(f);
}

static void node_read(struct find *f, const struct store_reply *r)
{
    struct peer *p = peer_of(f->owners, f->owner);
    if (r->status == STORE_AWAY) {
        without_store(f);
        return;
    }
    p->heard_ms = clock_ms();
    peer_set_address(p, r->status == STORE_OK ? r->value : (struct str){0});
    if (p->address)
        forward_to(f, p);
    else if (f->gone)
        f->gone(find_end(f));
    else
        next(f, f->recorded ? FIND_RELEASE : FIND_CLAIM);
}

static void step_done(struct find *f, const struct store_reply *r)
{
    switch (f->step) {
    case FIND_RECORD: record_read(f, r); break;
    case FIND_NODE: node_read(f, r); break;
    case FIND_RELEASE:
    case FIND_CLAIM:
        if (r->status == STORE_AWAY)
            without_store(f);
        else if (r->status == STORE_HELD)
            record_again(f);
        else
            next(f, f->step == FIND_RELEASE ? FIND_CLAIM : FIND_STATE);
        break;
    case FIND_STATE:
        bring_back(f, r->status == STORE_OK ? r->value : (struct str){0}, r->status == STORE_AWAY);
        break;
    }
}

static void on_store(const struct store_reply *r, void *arg)
{
    step_done(arg, r);
}

static struct find *find_new(struct exchange *x)
{
    struct owners *o = x->shard->owners;
    struct find *f = xcalloc(1, sizeof *f);
    *f = (struct find){.owners = o, .x = x, .op = {.fn = on_store, .arg = f}};
    TAILQ_INSERT_TAIL(&o->finds, f, link);
    x->arg = f;
    x->on_closed = on_client_gone;
    return f;
}

void owner_send(struct exchange *x, struct str replica, owner_gone_fn gone)
{
    if (x->relayed || replica.n != ENVELOPE_NAME) {
        gone(x);
        return;
    }
    struct find *f = find_new(x);
    f->gone = gone;
    memcpy(f->owner, replica.p, replica.n);
    owner_is_known(f);
}

void owner_find_again(struct exchange *x, struct str refused)
{
    struct shard *s = x->shard;
    struct find *f = find_new(x);
    struct str id = http1_value(x->head, STR("Mcp-Session-Id"));
    if (refused.n == ENVELOPE_NAME)
        memcpy(f->refused, refused.p, refused.n);
    if (!session_ticket_open(s->gw->sealer, principal_key(x->principal), id, &f->text,
                             &f->ticket) ||
        f->ticket.made_ms + SESSION_ID_LIFE_MS < clock_wall_ms())
        answer_gone(f);
    else
        next(f, FIND_RECORD);
}

void owner_find(struct exchange *x)
{
    owner_find_again(x, (struct str){0});
}

/* ---- who is there ---- */

static void beat(struct owners *o)
{
    struct shard *s = o->shard;
    struct store_key k;
    struct store_reply r;
    if (s->index == 0 && s->gw->link_address)
        (void)store_set(s->store, NULL, key_of(s, &k, "node", str_of(s->gw->replica)),
                        str_of(s->gw->link_address), NODE_TTL_MS, STORE_ALWAYS, &r);
}

/* A replica that fell silent answers nothing of what it was sent. */
static void on_look(const struct store_reply *r, void *arg)
{
    struct peer *p = arg;
    if (r->status == STORE_AWAY)
        return;
    p->heard_ms = clock_ms();
    peer_set_address(p, r->status == STORE_OK ? r->value : (struct str){0});
    if (!p->address)
        link_lost(p->owners, p);
}

static void look_for(struct owners *o, struct peer *p)
{
    struct store_key k;
    struct store_reply r;
    if (store_waits(&p->look))
        return;
    p->look = (struct store_op){.fn = on_look, .arg = p};
    if (store_get(o->shard->store, &p->look, key_of(o->shard, &k, "node", str_of(p->name)), &r))
        on_look(&r, p);
}

static void on_tick(void *arg)
{
    struct owners *o = arg;
    struct str name;
    void *v;
    beat(o);
    link_turn_nonces(o);
    for (size_t at = 0; map_next(&o->peers, &at, &name, &v);) {
        struct peer *p = v;
        if (p->forwards > 0) {
            look_for(o, p);
        } else if (p->heard_ms + 2 * NODE_TTL_MS < clock_ms()) {
            (void)map_del(&o->peers, name);
            peer_free(p);
            at = 0;
        }
    }
    timer_set(&o->tick, o->shard->loop, TICK_MS, on_tick, o);
}

struct owners *owners_new(struct shard *s)
{
    struct owners *o = xcalloc(1, sizeof *o);
    o->shard = s;
    TAILQ_INIT(&o->forwards);
    TAILQ_INIT(&o->finds);
    timer_set(&o->tick, s->loop, 0, on_tick, o);
    return o;
}

void owners_drain(struct shard *s)
{
    s->owners->draining = true;
}

void owners_free(struct owners **op)
{
    struct owners *o = *op;
    void *v;
    if (!o)
        return;
    while (!TAILQ_EMPTY(&o->finds))
        answer_busy(TAILQ_FIRST(&o->finds));
    for (size_t at = 0; map_next(&o->peers, &at, NULL, &v);) {
        link_lost(o, v);
        peer_free(v);
    }
    map_fini(&o->peers);
    map_fini(&o->nonces[0]);
    map_fini(&o->nonces[1]);
    timer_clear(&o->tick);
    loop_defer_free(o->shard->loop, o);
    *op = NULL;
}
