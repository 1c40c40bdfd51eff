/* See park.h.
 *
 *              question                debounced               retry with answers
 *   (call) ------------> GATHERING -----------------> PARKED ---------------------> RESUMED
 *                            ^    input_required, the |  ^ answers are missing         |
 *                            |    exchange ends       |  '- asked again                |
 *                            '------- question -------|--------------------------------'
 *                                                     |
 *   the result is there: sent on the exchange (RESUMED), or kept until the retry (PARKED) -> STORED
 *   the deadline, a client that closes, the drain: the call is cancelled upstream, the park is gone
 *
 * While PARKED the first request lives on without its exchange, document and body. A nonce names
 * the round whose answers are awaited; it is used once. What the last retry was told is kept for a
 * while, for a client that did not receive it and sends the same retry again. */
#include "gateway/park.h"

#include "base/clock.h"
#include "base/json_canonical.h"
#include "gateway/call_stages.h"
#include "gateway/catalog.h"
#include "gateway/convert.h"
#include "gateway/era.h"
#include "gateway/owner.h"
#include "gateway/quota.h"
#include "gateway/upstream.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { GATHER_MS = 30, KEEP_MS = 60 * 1000, MAX_ROUNDS = 10, MAX_QUESTIONS = 100 };

enum park_state { GATHERING, PARKED, RESUMED, STORED };

struct question {
    struct park *park;
    struct ask *ask;
    unsigned number; /* "r1", … */
    bool sent;       /* part of a round already */
    struct str method;
    char *text; /* the InputRequest, owned */
    TAILQ_ENTRY(question) link;
};

struct park {
    struct shard *shard;
    uint64_t id;
    enum park_state state;
    struct request *r; /* NULL when STORED */
    char *mount, *principal;
    _Atomic int *seat; /* in its tenant's quota */
    uint8_t binding[STATE_BINDING];
    unsigned rounds, questions;
    uint64_t nonce, used_nonce;
    uint8_t used_answers[32]; /* digest of what the last retry brought */
    TAILQ_HEAD(, question) asked;
    char *names; /* target and public target of the call, once the request's body is gone */
    int64_t expires_ms, expires_wall_ms;
    struct timer timer;
    int status; /* STORED */
    struct buf answer;
    TAILQ_ENTRY(park) link;
};

struct parks {
    struct shard *shard;
    struct map by_id;
    TAILQ_HEAD(, park) all;
};

static const char gone[] =
    "requestState is not valid for this request (any more); call again without it";

static struct str id_key(const uint64_t *id)
{
    return (struct str){(const char *)id, sizeof *id};
}

static uint64_t random_id(void)
{
    uint64_t id;
    crypto_random(&id, sizeof id);
    return id ? id : 1;
}

bool park_is_ours(const struct gateway *gw, const struct state *st)
{
    return str_eq(st->replica, str_of(gw->replica));
}

/* ---- the book: how many there are, over all shards ---- */

static bool count(struct parks_book *b, const char *principal, const char *mount, int by,
                  const struct config *cfg, struct err *e)
{
    bool ok = true;
    struct str who = str_of(principal), where = str_of(mount);
    pthread_mutex_lock(&b->lock);
    intptr_t of_who = (intptr_t)map_get(&b->by_principal, who);
    intptr_t of_where = (intptr_t)map_get(&b->by_mount, where);
    if (by > 0 && b->all >= cfg->parked_max) {
        ok = err_set(e, ERR_UNAVAILABLE,
                     "%d calls wait for answers of their clients already (parked.max)",
                     cfg->parked_max);
    } else if (by > 0 && of_who >= cfg->parked_per_principal) {
        ok = err_set(e, ERR_UNAVAILABLE,
                     "%d calls of this caller wait for answers already (parked.perPrincipal)",
                     cfg->parked_per_principal);
    } else if (by > 0 && of_where >= cfg->parked_per_upstream) {
        ok = err_set(e, ERR_UNAVAILABLE,
                     "%d calls to upstream %s wait for answers already (parked.perUpstream)",
                     cfg->parked_per_upstream, mount);
    }
    if (ok) {
        b->all += by;
        if (of_who + by > 0)
            (void)map_set(&b->by_principal, who, (void *)(of_who + by));
        else
            (void)map_del(&b->by_principal, who);
        if (of_where + by > 0)
            (void)map_set(&b->by_mount, where, (void *)(of_where + by));
        else
            (void)map_del(&b->by_mount, where);
    }
    pthread_mutex_unlock(&b->lock);
    return ok;
}

/* ---- life ---- */

struct parks *parks_new(struct shard *s)
{
    struct parks *p = xcalloc(1, sizeof *p);
    p->shard = s;
    TAILQ_INIT(&p->all);
    return p;
}

static void question_free(struct question *q)
{
    TAILQ_REMOVE(&q->park->asked, q, link);
    free(q->text);
    free(q);
}

/* Takes the ask out of a question, which is gone. */
static struct ask *take_ask(struct question *q)
{
    struct ask *a = q->ask;
    a->holder = NULL;
    a->on_cancelled = NULL;
    question_free(q);
    return a;
}

static void refuse_all(struct park *p)
{
    struct question *q;
    while ((q = TAILQ_FIRST(&p->asked)))
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not follow TAILQ_REMOVE */
        ask_refuse(take_ask(q), STR("{\"code\":-32603,\"message\":\"the caller gave up\"}"));
}

static void charge(struct park *p, int64_t bytes)
{
    atomic_fetch_add_explicit(&p->shard->gw->buffered_bytes, bytes, memory_order_relaxed);
}

/* The call has ended, or is given up. */
static void let_go(struct park *p)
{
    if (!p->r)
        return;
    p->r->park = NULL;
    p->r = NULL;
    (void)count(&p->shard->gw->parked, p->principal, p->mount, -1, p->shard->config, NULL);
    quota_give(&p->seat);
    metric_add(metric_of(M_PARKED), -1);
}

static void park_free(struct park *p)
{
    struct parks *all = p->shard->parks;
    timer_clear(&p->timer);
    refuse_all(p);
    let_go(p);
    TAILQ_REMOVE(&all->all, p, link);
    (void)map_del(&all->by_id, id_key(&p->id));
    charge(p, -(int64_t)p->answer.cap);
    buf_fini(&p->answer);
    free(p->mount);
    free(p->principal);
    free(p->names);
    free(p);
}

/* The call is given up: its upstream is told. */
static void give_up(struct park *p, const char *why)
{
    struct request *r = p->r;
    log_debug("park.given_up", L_STR("upstream", p->mount), L_STR("reason", why));
    call_cancel(&r->call);
    park_free(p);
    request_free(r);
}

void park_forget(struct request *r)
{
    call_cancel(&r->call);
    park_free(r->park);
}

void parks_free(struct parks **pp)
{
    struct parks *all = *pp;
    struct park *p;
    if (!all)
        return;
    while ((p = TAILQ_FIRST(&all->all))) {
        if (p->r && !p->r->x)
            give_up(p, "the gateway ends");
        else
            park_free(p);
    }
    map_fini(&all->by_id);
    free(all);
    *pp = NULL;
}

void parks_drain(struct shard *s)
{
    struct park *p, *next;
    for (p = s->parks ? TAILQ_FIRST(&s->parks->all) : NULL; p; p = next) {
        next = TAILQ_NEXT(p, link);
        if (p->state == PARKED)
            give_up(p, "drain");
    }
}

static void on_keep_over(void *arg)
{
    park_free(arg);
}

static void on_expired(void *arg)
{
    struct park *p = arg;
    metric_add(metric_of(M_PARKED_EXPIRED), 1);
    if (p->r)
        give_up(p, "expired");
    else
        park_free(p);
}

static void arm(struct park *p, int64_t ms, loop_fn fn)
{
    timer_set(&p->timer, p->shard->loop, ms, fn, p);
}

static struct park *park_new(struct request *r, struct err *e)
{
    struct shard *s = r->shard;
    struct call *c = &r->call;
    _Atomic int *seat;
    if (!count(&s->gw->parked, c->principal->key, c->up->cfg->name, 1, s->config, e))
        return NULL;
    if (!quota_take(s, c->principal, QUOTA_PARKED, &seat, e)) {
        (void)count(&s->gw->parked, c->principal->key, c->up->cfg->name, -1, s->config, NULL);
        return NULL;
    }
    struct park *p = xcalloc(1, sizeof *p);
    p->shard = s;
    p->seat = seat;
    p->id = random_id();
    p->r = r;
    p->mount = xstrdup(c->up->cfg->name);
    p->principal = xstrdup(c->principal->key);
    state_binding(c, p->binding);
    TAILQ_INIT(&p->asked);
    TAILQ_INSERT_TAIL(&s->parks->all, p, link);
    (void)map_set(&s->parks->by_id, id_key(&p->id), p);
    metric_add(metric_of(M_PARKED), 1);
    r->park = p;
    return p;
}

void park_binding(const struct request *r, uint8_t out[STATE_BINDING])
{
    memcpy(out, r->park->binding, STATE_BINDING);
}

/* ---- a round ---- */

/* What the call needs when document and body of its request are gone. */
static void settle(struct park *p)
{
    struct request *r = p->r;
    struct call *c = &r->call;
    if (!p->names) {
        size_t n = c->target.n;
        p->names = xmalloc(n + c->public_target.n + 1);
        memcpy(p->names, c->target.p, n);
        memcpy(p->names + n, c->public_target.p, c->public_target.n);
        c->target = (struct str){p->names, n};
        c->public_target = (struct str){p->names + n, c->public_target.n};
        c->target_tok = c->state_tok = c->params = JSON_NONE;
        if (c->stage) /* what asked back is nobody else's answer */
            stages_cancel(c);
        c->doc = NULL;
        c->entry = NULL;
        c->param_fields = c->upstream_state = c->affinity = (struct str){0};
        r->method_name = c->method->name;
        r->msg = (struct rpc_msg){0};
        json_fini(&r->doc);
        catalog_unref(&c->catalog);
    }
    upstream_rest(c);
    arena_fini(&c->arena);
    c->access.rule = (struct str){0};
    c->access.limit = NULL;
    c->access.scopes = NULL;
    c->client_caps = c->client_info = c->progress_token = (struct str){0};
    r->id = STR("null");
}

static void add_round(const struct park *p, struct buf *b)
{
    const struct question *q;
    bool any = false;
    const struct state st = {.kind = STATE_PARK,
                             .mount = str_of(p->mount),
                             .expires_ms = p->expires_wall_ms,
                             .replica = str_of(p->shard->gw->replica),
                             .shard = p->shard->index,
                             .park = p->id,
                             .nonce = p->nonce};
    buf_adds(b, "{\"resultType\":\"input_required\",\"inputRequests\":{");
    TAILQ_FOREACH (q, &p->asked, link) {
        buf_addf(b, "%s\"r%u\":%s", any ? "," : "", q->number, q->text);
        any = true;
    }
    buf_adds(b, "},\"requestState\":");
    state_seal(p->shard->gw->sealer, p->binding, &st, b);
    buf_addc(b, '}');
}

/* Asks the client on the exchange that r has, which ends with it. */
static void send_round(struct park *p)
{
    struct request *r = p->r;
    struct question *q;
    int64_t ms = p->shard->config->parked_ms;
    struct buf b = {0};
    p->nonce = random_id();
    p->expires_ms = clock_ms() + ms;
    p->expires_wall_ms = clock_wall_ms() + ms;
    TAILQ_FOREACH (q, &p->asked, link)
        q->sent = true;
    rpc_begin_result(&b, r->id);
    add_round(p, &b);
    buf_addc(&b, '}');
    p->state = PARKED;
    metric_add(metric_of(M_INPUT_ROUNDS), 1);
    settle(p);
    if (request_release(r, 200, buf_str(&b))) /* else the client is gone, and p with it */
        arm(p, ms, on_expired);
    buf_fini(&b);
}

static void on_gathered(void *arg)
{
    struct park *p = arg;
    if (++p->rounds <= MAX_ROUNDS) {
        send_round(p);
        return;
    }
    struct err e;
    struct call *c = &p->r->call;
    (void)err_set(&e, ERR_BAD_UPSTREAM, "upstream %s asked more than %d times in one call",
                  p->mount, MAX_ROUNDS);
    upstream_cancel(c);
    call_fail(c, &e);
}

/* ---- questions ---- */

/* The server withdrew its question. */
static void on_withdrawn(struct ask *a)
{
    struct question *q = a->holder;
    a->holder = NULL;
    question_free(q);
}

/* Ends a call with an error of the protocol that this client has to hear of. */
static void end_missing(struct call *c, unsigned cap)
{
    struct json_doc d = {0};
    struct buf b = {0};
    buf_addf(&b,
             "{\"code\":%d,\"message\":\"this call needs a capability that the client did not "
             "declare\",\"data\":{\"requiredCapabilities\":",
             RPC_MISSING_CAPABILITY);
    convert_write_required((enum client_cap)cap, &b);
    buf_adds(&b, "}}");
    bool ok = json_parse(&d, b.p, b.n, NULL);
    assert(ok);
    upstream_cancel(c);
    call_finish(c, &(struct outcome){.kind = OUT_ERROR, .doc = &d, .tok = 0, .modern = true});
    json_fini(&d);
    buf_fini(&b);
}

/* Nothing is asked of a client that it did not declare. A server that was told the truth can go on
 * without; one that was told that everything is there cannot. */
static bool may_ask(struct call *c, struct ask *a)
{
    bool known;
    unsigned missing = convert_missing(a->doc, a->method, a->params, c->caps, &known);
    if (known && !missing)
        return true;
    ask_refuse(a, STR("{\"code\":-32601,\"message\":\"the client cannot answer this\"}"));
    if (known && c->up->cfg->superset_caps)
        end_missing(c, missing);
    return false;
}

static void add_question(struct park *p, struct ask *a)
{
    struct question *q = xcalloc(1, sizeof *q);
    struct buf b = {0}, params = {0};
    const struct convert_way way = {p->r->call.up, p->shard->config->mount_count > 1, NULL};
    bool ok = convert_question(&way, a->doc, a->method, a->params, &params);
    assert(ok); /* the newest can ask everything */
    q->park = p;
    q->ask = a;
    q->number = ++p->questions;
    q->method = convert_method(a->doc, a->method);
    buf_addf(&b, "{\"method\":\"%.*s\"", STR_FMT(q->method));
    if (params.n) {
        buf_adds(&b, ",\"params\":");
        buf_add_str(&b, buf_str(&params));
    }
    buf_addc(&b, '}');
    q->text = xmemdup0(b.p, b.n);
    a->holder = q;
    a->on_cancelled = on_withdrawn;
    TAILQ_INSERT_TAIL(&p->asked, q, link);
    buf_fini(&params);
    buf_fini(&b);
}

void park_input(struct request *r, struct ask *a)
{
    struct park *p = r->park;
    struct err e;
    if (!may_ask(&r->call, a))
        return;
    if (!p && !(p = park_new(r, &e))) {
        metric_add(metric_of(M_PARKED_REFUSED), 1);
        ask_refuse(a, STR("{\"code\":-32603,\"message\":\"overloaded\"}"));
        upstream_cancel(&r->call);
        call_fail(&r->call, &e);
        return;
    }
    if (p->questions >= MAX_QUESTIONS) {
        ask_refuse(a, STR("{\"code\":-32603,\"message\":\"too many questions\"}"));
        return;
    }
    add_question(p, a);
    if (p->state != PARKED) { /* else it goes with the next round */
        p->state = GATHERING;
        arm(p, GATHER_MS, on_gathered);
    }
}

/* ---- the end of the call ---- */

/* Keeps what follows the id in a message of ours. */
static void keep(struct park *p, int status, struct str id, struct str message)
{
    size_t head = sizeof "{\"jsonrpc\":\"2.0\",\"id\":" - 1 + id.n;
    const struct shard *s = p->shard;
    p->status = status;
    if (atomic_load(&s->gw->buffered_bytes) + (int64_t)message.n >
        (int64_t)s->config->max_buffered_bytes) {
        buf_adds(&p->answer, ",\"error\":{\"code\":-32603,\"message\":\"the answer could not be "
                             "kept: the gateway's buffers are full\"}}");
    } else {
        buf_add(&p->answer, message.p + head, message.n - head);
    }
    charge(p, (int64_t)p->answer.cap);
}

void park_done(struct request *r, int status, struct str message)
{
    struct park *p = r->park;
    bool waits = p->state == PARKED;
    let_go(p);
    if (p->nonce == 0) { /* ended before it was asked anything */
        park_free(p);
    } else {
        refuse_all(p);
        p->state = STORED;
        keep(p, status, r->id, message);
        int64_t left = waits ? p->expires_ms - clock_ms() : KEEP_MS;
        if (!waits && left > p->shard->config->parked_ms)
            left = p->shard->config->parked_ms;
        arm(p, left > 0 ? left : 0, waits ? on_expired : on_keep_over);
    }
    request_answer(r, status, message);
}

/* ---- the retry ---- */

static void refuse(struct request *r)
{
    request_error(r, 200, RPC_INVALID_PARAMS, str_of(gone), (struct str){0});
}

static void digest_answers(const struct request *r, uint8_t out[32])
{
    struct buf b = {0};
    json_canonical_or_raw(&r->doc, json_get(&r->doc, r->msg.params, STR("inputResponses")), &b);
    struct str s = buf_str(&b);
    crypto_sha256(&s, 1, out);
    buf_fini(&b);
}

static void send_stored(struct park *p, struct request *r)
{
    struct buf b = {0};
    buf_adds(&b, "{\"jsonrpc\":\"2.0\",\"id\":");
    buf_add_str(&b, r->id);
    buf_add_str(&b, buf_str(&p->answer));
    int64_t ms = p->shard->config->parked_ms;
    arm(p, ms < KEEP_MS ? ms : KEEP_MS, on_keep_over);
    request_answer(r, p->status, buf_str(&b));
    buf_fini(&b);
}

/* Hands answers to the server. False: some are missing, or are none. */
static bool feed(struct park *p, const struct request *from)
{
    const struct json_doc *d = &from->doc;
    uint32_t all = json_get(d, from->msg.params, STR("inputResponses"));
    struct question *q, *next;
    bool whole = true;
    for (q = TAILQ_FIRST(&p->asked); q; q = next) {
        char key[16];
        int n = snprintf(key, sizeof key, "r%u", q->number);
        uint32_t tok = json_is(d, all, JSON_OBJECT) ? json_get(d, all, (struct str){key, (size_t)n})
                                                    : JSON_NONE;
        next = TAILQ_NEXT(q, link);
        if (tok != JSON_NONE && convert_is_answer(q->method, d, tok))
            ask_answer(take_ask(q), json_raw(d, tok));
        else
            whole = whole && !q->sent;
    }
    return whole;
}

/* The same answers again, because what they led to was not received: the round that is open. */
static void repeat_round(struct park *p, struct request *r)
{
    struct buf b = {0};
    rpc_begin_result(&b, r->id);
    add_round(p, &b);
    buf_addc(&b, '}');
    request_answer(r, 200, buf_str(&b));
    buf_fini(&b);
}

static void resume(struct park *p, struct request *from, const uint8_t answers[32])
{
    struct request *r = p->r;
    p->used_nonce = p->nonce;
    memcpy(p->used_answers, answers, sizeof p->used_answers);
    timer_clear(&p->timer);
    p->state = RESUMED;
    bool whole = feed(p, from);
    request_adopt(r, from);
    if (!whole)
        send_round(p);
    else if (!TAILQ_EMPTY(&p->asked)) { /* asked while the client was away */
        p->state = GATHERING;
        arm(p, GATHER_MS, on_gathered);
    }
}

static void retry_here(struct request *r, const struct state *st,
                       const uint8_t binding[STATE_BINDING])
{
    uint8_t answers[32];
    struct park *p = map_get(&r->shard->parks->by_id, id_key(&st->park));
    if (!p || !crypto_equal(p->binding, binding, STATE_BINDING)) {
        refuse(r);
        return;
    }
    digest_answers(r, answers);
    bool open = st->nonce == p->nonce && p->nonce != p->used_nonce;
    bool again = st->nonce == p->used_nonce && crypto_equal(answers, p->used_answers, 32);
    if (p->state == STORED && (open || again)) {
        p->used_nonce = st->nonce;
        memcpy(p->used_answers, answers, sizeof answers);
        send_stored(p, r);
    } else if (p->state == PARKED && open) {
        resume(p, r, answers);
    } else if (p->state == PARKED && again) {
        repeat_round(p, r);
    } else {
        refuse(r);
    }
}

/* The replica that had the call has not got it any more. */
static void answer_gone(struct exchange *x)
{
    struct buf m = {0};
    (void)owner_error(x, RPC_INVALID_PARAMS, str_of(gone),
                      STR("{\"reason\":\"owner_gone\",\"mayHaveHadEffects\":true}"), &m);
    exchange_reply_json(x, 200, buf_str(&m));
    buf_fini(&m);
}

static void send_to_owner(struct request *r, struct str replica)
{
    char *name = xmemdup0(replica.p, replica.n); /* it lies in r's arena */
    owner_send(request_give_up(r), str_of(name), answer_gone);
    free(name);
}

void park_retry(struct request *r, const struct state *st, const uint8_t binding[STATE_BINDING])
{
    struct gateway *gw = r->shard->gw;
    if (!park_is_ours(gw, st))
        send_to_owner(r, st->replica);
    else if (st->shard >= gw->shard_count)
        refuse(r);
    else if (st->shard != r->shard->index)
        request_move(r, &gw->shards[st->shard]);
    else
        retry_here(r, st, binding);
}
