/* See session.h. An id is sealed and bound to its principal (session_ids.h); it is validated before
 * anything is looked up. What a session holds is local to its shard. */
#include "gateway/session_priv.h"

#include "base/clock.h"
#include "gateway/convert.h"
#include "gateway/era.h"
#include "gateway/owner.h"
#include "gateway/quota.h"
#include "gateway/rounds.h"
#include "gateway/session_ids.h"
#include "gateway/usession.h"
#include "gateway/view.h"

#include <stdlib.h>

enum { SWEEP_MAX_MS = 10000, KEEP_MS = 3600 * 1000 };

/* Why a session ends, and what of it is left for others. */
enum end { BY_CLIENT, UNUSED, GIVEN_AWAY };

static void sweep(void *arg);
static void session_end(struct session *ss, enum end why);

/* Often enough that a session outlives its idle time by a quarter of it at most. */
static void sweep_later(struct session_table *t)
{
    int64_t ms = t->shard->config ? t->shard->config->session_idle_ms / 4 : SWEEP_MAX_MS;
    timer_set(&t->sweep, t->shard->loop, ms < SWEEP_MAX_MS ? ms : SWEEP_MAX_MS, sweep, t);
}

struct session_table *session_table_new(struct shard *s)
{
    struct session_table *t = xcalloc(1, sizeof *t);
    t->shard = s;
    TAILQ_INIT(&t->by_use);
    timer_set(&t->sweep, s->loop, 0, sweep, t);
    return t;
}

void session_table_free(struct session_table **tp)
{
    struct session_table *t = *tp;
    void *ss;
    size_t at = 0;
    if (!t)
        return;
    while (map_next(&t->by_key, &at, NULL, &ss)) {
        session_end(ss, owner_shared(t->shard) ? GIVEN_AWAY : BY_CLIENT);
        at = 0;
    }
    timer_clear(&t->sweep);
    map_fini(&t->by_key);
    free(t);
    *tp = NULL;
}

/* ---- making and finding ---- */

/* Every loop of this process finds the same one to serve a session. */
static int home_of(const struct gateway *gw, struct str key)
{
    return (int)(str_hash(key) % (uint64_t)gw->shard_count);
}

/* A new name for a session that lives on this shard. */
static void choose_key(const struct shard *s, struct buf *key)
{
    uint8_t random[SESSION_KEY_DIGITS / 2];
    do {
        key->n = 0;
        crypto_random(random, sizeof random);
        crypto_hex(key, random, sizeof random);
    } while (home_of(s->gw, buf_str(key)) != s->index);
}

static bool is_idle(const struct session *ss)
{
    return !ss->standing.x && TAILQ_EMPTY(&ss->requests) && TAILQ_EMPTY(&ss->pending) &&
           TAILQ_EMPTY(&ss->reruns);
}

/* Makes room for one more: the session that was unused for longest goes. False: all are in use. */
static bool make_room(struct session_table *t)
{
    const struct shard *s = t->shard;
    struct session *ss;
    int count = s->gw->shard_count;
    if (t->by_key.count < (size_t)((s->config->max_sessions + count - 1) / count))
        return true;
    TAILQ_FOREACH (ss, &t->by_use, by_use) {
        if (is_idle(ss)) {
            metric_add(metric_of(M_SESSIONS_EVICTED), 1);
            session_end(ss, UNUSED);
            return true;
        }
    }
    return false;
}

/* Puts a session with what its id says into the table. NULL: no room (ERR_UNAVAILABLE). */
static struct session *add(struct shard *s, struct principal *who, const struct session_ticket *t,
                           struct str id, struct err *e)
{
    const struct era_features *f = era_legacy(t->version);
    _Atomic int *seat;
    if (!quota_take(s, who, QUOTA_SESSIONS, &seat, e))
        return NULL;
    if (!f || !make_room(s->sessions)) {
        (void)err_set(e, ERR_UNAVAILABLE, "too many sessions; try again later");
        quota_give(&seat);
        return NULL;
    }
    struct session *ss = xcalloc(1, sizeof *ss);
    ss->shard = s;
    ss->principal = principal_ref(who);
    ss->seat = seat;
    ss->id = xmemdup0(id.p, id.n);
    ss->key = xmemdup0(t->key.p, t->key.n);
    ss->version = f->version;
    ss->primes = f->priming;
    ss->caps = xmemdup0(t->caps.p, t->caps.n);
    ss->client_info = xmemdup0(t->client_info.p, t->client_info.n);
    ss->level_index = 1; /* info, until the client sets one */
    ss->used_ms = clock_ms();
    ss->made_ms = t->made_ms;
    ss->made_here = str_eq(t->replica, str_of(s->gw->replica));
    TAILQ_INIT(&ss->known);
    TAILQ_INIT(&ss->requests);
    TAILQ_INIT(&ss->pending);
    session_streams_init(ss);
    map_set(&s->sessions->by_key, t->key, ss);
    TAILQ_INSERT_TAIL(&s->sessions->by_use, ss, by_use);
    metric_add(metric_of(M_SESSIONS), 1);
    return ss;
}

struct session *session_new(struct shard *s, struct principal *who, const char *version,
                            struct str caps, struct str client_info, struct err *e)
{
    struct buf id = {0}, key = {0};
    choose_key(s, &key);
    struct session_ticket t = {.replica = str_of(s->gw->replica),
                               .key = buf_str(&key),
                               .version = str_of(version),
                               .made_ms = clock_wall_ms(),
                               .caps = caps,
                               .client_info = client_info};
    session_ticket_seal(s->gw->sealer, principal_key(who), &t, &id);
    struct session *ss = add(s, who, &t, buf_str(&id), e);
    if (ss)
        view_note(s, who, &ss->seen);
    if (ss && caps.n + client_info.n > SESSION_ID_INFO_MAX)
        session_changed(ss);
    buf_fini(&id);
    buf_fini(&key);
    return ss;
}

struct session *session_revive(struct shard *s, struct principal *who,
                               const struct session_ticket *t, struct str id, struct str state,
                               bool blind)
{
    struct err e;
    struct session *ss = map_get(&s->sessions->by_key, t->key);
    if (ss) /* two requests had it brought back */
        return ss;
    ss = add(s, who, t, id, &e);
    if (!ss) {
        log_info("session.not_revived", L_ERR(&e));
        return NULL;
    }
    ss->blind = blind;
    if (state.n && !session_load(ss, state))
        log_warn("session.state_unusable");
    if (!t->whole && ss->caps[0] == '\0') {
        session_end(ss, GIVEN_AWAY);
        return NULL;
    }
    metric_add(metric_of(M_SESSIONS_REVIVED), 1);
    return ss;
}

struct session_place session_here(struct shard *s, const struct principal *who, struct str id)
{
    struct session_place at = {0};
    struct session_ticket t;
    struct buf text = {0};
    if (session_ticket_open(s->gw->sealer, principal_key(who), id, &text, &t))
        at.ss = map_get(&s->sessions->by_key, t.key);
    buf_fini(&text);
    if (at.ss)
        session_touch(at.ss);
    return at;
}

struct session_place session_find(const struct exchange *x)
{
    struct shard *s = x->shard;
    struct session_place at = {0};
    struct session_ticket t;
    struct buf text = {0};
    struct str id = http1_value(x->head, STR("Mcp-Session-Id"));
    bool ok = session_ticket_open(s->gw->sealer, principal_key(x->principal), id, &text, &t);
    int home = ok ? home_of(s->gw, t.key) : 0;
    struct session *ss = ok && home == s->index ? map_get(&s->sessions->by_key, t.key) : NULL;
    if (ok && home != s->index) {
        at.shard = &s->gw->shards[home];
    } else if (ss && is_idle(ss) && x->relayed && s->draining) {
        session_end(ss, GIVEN_AWAY);
        at.given_away = true;
    } else if (ss && is_idle(ss) && ss->blind && store_is_up(s->store)) {
        session_end(ss, GIVEN_AWAY);
        at.elsewhere = true;
    } else {
        at.ss = ss;
        at.elsewhere = ok && !ss;
    }
    buf_fini(&text);
    if (at.ss)
        session_touch(at.ss);
    return at;
}

void session_touch(struct session *ss)
{
    struct session_table *t = ss->shard->sessions;
    ss->used_ms = clock_ms();
    if (ss->ended)
        return;
    TAILQ_REMOVE(&t->by_use, ss, by_use);
    TAILQ_INSERT_TAIL(&t->by_use, ss, by_use);
}

struct str session_id(const struct session *ss)
{
    return str_of(ss->id);
}

/* ---- what the client declared ---- */

const char *session_version(const struct session *ss)
{
    return ss->version;
}

bool session_primes(const struct session *ss)
{
    return ss->primes;
}

struct str session_caps(const struct session *ss)
{
    return str_of(ss->caps);
}

struct str session_client_info(const struct session *ss)
{
    return str_of(ss->client_info);
}

int session_log_level(const struct session *ss)
{
    return ss->level_index;
}

unsigned session_can(struct session *ss)
{
    struct json_doc d = {0};
    if (!ss->can_known && json_parse(&d, ss->caps, strlen(ss->caps), NULL))
        ss->can = convert_caps(&d, 0);
    if (!era_legacy(str_of(ss->version))->url)
        ss->can &= ~(unsigned)(CAP_URL | CAP_SAMPLING_TOOLS | CAP_SAMPLING_CONTEXT);
    ss->can_known = true;
    json_fini(&d);
    return ss->can;
}

/* ---- requests ---- */

void session_add_request(struct session *ss, struct request *r)
{
    r->session = ss;
    TAILQ_INSERT_TAIL(&ss->requests, r, link);
}

static void pending_free(struct pending *p)
{
    TAILQ_REMOVE(&p->ss->pending, p, link);
    free(p);
}

void session_forget_stream(struct session *ss, struct request *r)
{
    struct pending *p;
    TAILQ_FOREACH (p, &ss->pending, link)
        if (p->on == r)
            p->on = NULL;
}

void session_remove_request(struct session *ss, struct request *r)
{
    session_forget_stream(ss, r);
    session_drop_stream(r);
    TAILQ_REMOVE(&ss->requests, r, link);
    r->session = NULL;
    session_touch(ss);
}

void session_cancel(struct session *ss, struct str raw_id)
{
    struct request *r;
    TAILQ_FOREACH (r, &ss->requests, link) {
        if (str_eq(r->id, raw_id) && r->call.live) {
            call_cancel(&r->call);
            rounds_free(r); /* what it asked is withdrawn where it was asked */
            /* No answer follows a cancelled request; its POST is ended. */
            if (r->x && r->x->streaming) {
                struct exchange *x = r->x;
                x->on_closed = NULL;
                r->x = NULL;
                exchange_stream_end(x);
                request_free(r);
            } else {
                request_accepted(r);
            }
            return;
        }
    }
}

/* ---- questions to the client ---- */

static void on_ask_cancelled(struct ask *a)
{
    struct pending *p = a->holder;
    struct buf m = {0}, params = {0};
    buf_addf(&params, "{\"requestId\":%llu,\"reason\":\"the server withdrew it\"}",
             (unsigned long long)p->id);
    rpc_notification(&m, STR("notifications/cancelled"), buf_str(&params));
    if (!p->on || !request_event(p->on, buf_str(&m)))
        session_send(p->ss, buf_str(&m));
    a->holder = NULL;
    pending_free(p);
    buf_fini(&m);
    buf_fini(&params);
}

void session_ask(struct session *ss, struct request *r, struct ask *a)
{
    struct pending *p = xcalloc(1, sizeof *p);
    struct buf m = {0};
    struct arena arena = {0};
    *p = (struct pending){.ss = ss, .ask = a, .id = ++ss->next_id, .on = r};
    a->holder = p;
    a->on_cancelled = on_ask_cancelled;
    TAILQ_INSERT_TAIL(&ss->pending, p, link);
    struct str params = json_raw(a->doc, a->params); /* empty for none */
    rpc_request(&m, p->id, json_str(a->doc, a->method, &arena), params);
    /* On the stream that the question belongs to; but rather where somebody reads. */
    bool own = r && r->sse_ok && (r->x || !ss->standing.x);
    if (!own || !request_event(r, buf_str(&m))) {
        p->on = NULL;
        session_send(ss, buf_str(&m));
    }
    arena_fini(&arena);
    buf_fini(&m);
}

void session_answer(struct session *ss, const struct rpc_msg *m)
{
    struct pending *p;
    int64_t id;
    if (m->id == JSON_NONE || !json_int(m->doc, m->id, &id))
        return;
    TAILQ_FOREACH (p, &ss->pending, link)
        if (p->id == (uint64_t)id)
            break;
    if (!p)
        return;
    struct ask *a = p->ask;
    pending_free(p);
    a->holder = NULL;
    a->on_cancelled = NULL;
    if (m->result != JSON_NONE)
        ask_answer(a, json_raw(m->doc, m->result));
    else
        ask_refuse(a, json_raw(m->doc, m->error));
}

void session_on_ask(struct session *ss, struct ask *a)
{
    session_ask(ss, NULL, a);
}

/* ---- the end ---- */

static void session_destroy(void *arg)
{
    struct session *ss = arg;
    principal_unref(&ss->principal);
    free(ss->id);
    free(ss->key);
    free(ss->caps);
    free(ss->client_info);
    free(ss->level);
    free(ss->conversations);
    free(ss->conversation_up);
    free(ss);
}

static void session_end(struct session *ss, enum end why)
{
    struct request *r;
    struct pending *p;
    if (ss->ended)
        return;
    ss->ended = true;
    timer_clear(&ss->save);
    session_forget_known(ss);
    if (why != GIVEN_AWAY && !ss->blind)
        owner_ended(ss->shard, str_of(ss->key), ss->made_ms, ss->made_here, why == BY_CLIENT);
    map_del(&ss->shard->sessions->by_key, str_of(ss->key));
    TAILQ_REMOVE(&ss->shard->sessions->by_use, ss, by_use);
    metric_add(metric_of(M_SESSIONS), -1);
    quota_give(&ss->seat);
    while ((p = TAILQ_FIRST(&ss->pending))) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not follow TAILQ_REMOVE */
        struct ask *a = p->ask;
        pending_free(p);
        a->holder = NULL;
        a->on_cancelled = NULL;
        ask_refuse(a, STR("{\"code\":-32603,\"message\":\"the session has ended\"}"));
    }
    while ((r = TAILQ_FIRST(&ss->requests)))
        request_error(r, 404, RPC_INVALID_REQUEST, STR("the session has ended"), (struct str){0});
    session_streams_fini(ss, why == GIVEN_AWAY);
    session_upstreams_fini(ss, why == GIVEN_AWAY);
    loop_defer(ss->shard->loop, session_destroy, ss);
}

void session_delete(struct session *ss)
{
    session_end(ss, BY_CLIENT);
}

/* What was claimed stays claimed. */
static void keep(struct session_table *t, struct session *ss)
{
    if (ss->kept_ms + KEEP_MS > clock_ms())
        return;
    ss->kept_ms = clock_ms();
    owner_keep(t->shard, str_of(ss->key));
}

static void sweep(void *arg)
{
    struct session_table *t = arg;
    int idle_ms = t->shard->config ? t->shard->config->session_idle_ms : 0;
    int64_t limit = idle_ms ? clock_ms() - idle_ms : INT64_MIN;
    void *v;
    for (size_t at = 0; map_next(&t->by_key, &at, NULL, &v);) {
        struct session *ss = v;
        session_streams_trim(ss);
        if (is_idle(ss) && ss->used_ms < limit) {
            session_end(ss, UNUSED);
            at = 0;
            continue;
        }
        session_keep_saved(ss);
        if (!ss->made_here)
            keep(t, ss);
    }
    sweep_later(t);
}

void sessions_drain(struct shard *s)
{
    void *v;
    for (size_t at = 0; s->sessions && map_next(&s->sessions->by_key, &at, NULL, &v);)
        session_end_standing(v);
}
