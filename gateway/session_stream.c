/* See session_priv.h. Streams of events to a client, and how they are taken up again after they
 * broke off. Every event has an id and is kept for a while, within bounds; an answer that came as
 * plain JSON costs nothing here. */
#include "gateway/session_priv.h"

#include "base/clock.h"

#include <stdlib.h>

enum { HEARTBEAT_MS = 15000, RETRY_MS = 1000, MAX_ENDED_STREAMS = 256 };

/* ---- the log ---- */

static void charge(struct session *ss)
{
    atomic_fetch_add_explicit(&ss->shard->gw->buffered_bytes,
                              (int64_t)ss->log.bytes - (int64_t)ss->charged, memory_order_relaxed);
    ss->charged = ss->log.bytes;
}

static struct replay_id id_of(const struct stream *st, uint64_t seq)
{
    return (struct replay_id){
        .epoch = st->ss->epoch, .stream = st->no, .seq = seq, .request = str_of(st->request)};
}

bool session_stream_event(const struct replay_id *event, struct str message, struct exchange *x)
{
    struct buf id = {0};
    replay_id_format(event, &id);
    bool ok = exchange_event(x, buf_str(&id), message);
    buf_fini(&id);
    return ok;
}

static bool write_event(const struct stream *st, uint64_t seq, struct str message,
                        struct exchange *x)
{
    struct replay_id id = id_of(st, seq);
    return session_stream_event(&id, message, x);
}

void session_stream_begin(const struct session *ss, const struct replay_id *id, struct exchange *x)
{
    struct buf text = {0};
    exchange_stream_begin(x, (struct str){0});
    if (!ss->primes)
        return;
    replay_id_format(id, &text);
    (void)exchange_prime(x, buf_str(&text), RETRY_MS);
    buf_fini(&text);
}

static void begin(const struct stream *st, uint64_t seq, struct exchange *x)
{
    struct replay_id id = id_of(st, seq);
    session_stream_begin(st->ss, &id, x);
}

/* Sends again what came after seq. False: the client reads too slowly and was cut. */
static bool replay(const struct stream *st, uint64_t seq, struct exchange *x)
{
    const struct replay_event *ev = replay_after(&st->ss->log, st->no, seq);
    for (; ev; ev = replay_next(ev))
        if (!write_event(st, ev->seq, ev->data, x))
            return false;
    return true;
}

static void keep(struct stream *st, struct str message)
{
    replay_add(&st->ss->log, st->no, ++st->seq, message, clock_ms());
    charge(st->ss);
    if (st->no || st->opened)
        session_log_add(st, st->seq, message);
}

/* ---- the standing stream ---- */

static void on_beat(void *arg)
{
    struct session *ss = arg;
    if (!ss->standing.x)
        return;
    if (exchange_beat(ss->standing.x))
        timer_set(&ss->beat, ss->shard->loop, HEARTBEAT_MS, on_beat, ss);
    session_touch(ss);
}

static void on_standing_closed(struct exchange *x)
{
    struct session *ss = x->arg;
    ss->standing.x = NULL;
    timer_clear(&ss->beat);
    expiry_clear(&ss->expiry);
    session_touch(ss);
}

static void end_standing(struct session *ss, bool comes_back)
{
    struct exchange *x = ss->standing.x;
    if (!x)
        return;
    ss->standing.x = NULL;
    timer_clear(&ss->beat);
    expiry_clear(&ss->expiry);
    x->on_closed = NULL;
    if (!comes_back || !ss->primes || exchange_prime(x, (struct str){0}, RETRY_MS))
        exchange_stream_end(x);
}

void session_end_standing(struct session *ss)
{
    end_standing(ss, true);
}

/* What was kept for the client goes into the store when it comes for the first time: most never
 * do. */
static void open_standing(struct stream *st)
{
    const struct replay_event *ev = replay_after(&st->ss->log, st->no, 0);
    if (st->opened)
        return;
    st->opened = true;
    for (; ev; ev = replay_next(ev))
        session_log_add(st, ev->seq, ev->data);
}

static void on_expired(void *arg)
{
    end_standing(arg, true);
}

static void attach_standing(struct session *ss, struct exchange *x, uint64_t after, bool begun)
{
    struct stream *st = &ss->standing;
    st->x = x;
    x->arg = ss;
    x->on_closed = on_standing_closed;
    if (!begun)
        begin(st, after, x);
    if (!x->channel) /* it ends with its client */
        open_standing(st);
    st->told = st->seq;
    if (!x->channel) /* a channel ends itself */
        expiry_set(&ss->expiry, ss->shard->loop, x->principal, on_expired, ss);
    if (replay(st, after, x))
        timer_set(&ss->beat, ss->shard->loop, HEARTBEAT_MS, on_beat, ss);
}

bool session_open_stream(struct session *ss, struct exchange *x)
{
    if (ss->standing.x || session_log_stands(ss))
        return false;
    attach_standing(ss, x, ss->standing.told, false);
    return true;
}

void session_take_standing(struct session *ss, struct exchange *x, bool begun)
{
    end_standing(ss, false);
    attach_standing(ss, x, ss->standing.told, begun);
}

void session_send(struct session *ss, struct str message)
{
    struct stream *st = &ss->standing;
    keep(st, message);
    if (!st->x)
        return;
    st->told = st->seq;
    (void)write_event(st, st->seq, message, st->x);
}

/* ---- the streams of requests ---- */

static void stream_free(struct stream *st)
{
    session_log_drop(st);
    TAILQ_REMOVE(&st->ss->streams, st, link);
    free(st->request);
    free(st);
}

/* Forgets the oldest stream that has ended. */
static void forget_one(struct session *ss)
{
    struct stream *st;
    TAILQ_FOREACH (st, &ss->streams, link)
        if (!st->r)
            break;
    if (!st)
        return;
    replay_drop(&ss->log, st->no);
    charge(ss);
    ss->ended_streams--;
    stream_free(st);
}

/* Its request has ended. */
static void stream_ended(struct stream *st)
{
    struct session *ss = st->ss;
    st->r->stream = NULL;
    st->r = NULL;
    if (++ss->ended_streams > MAX_ENDED_STREAMS)
        forget_one(ss);
}

void session_begin_stream(struct request *r)
{
    struct session *ss = r->session;
    struct stream *st;
    if (r->stream || !r->x)
        return;
    st = r->stream = xcalloc(1, sizeof *st);
    *st = (struct stream){.ss = ss, .no = ++ss->last_stream, .r = r};
    st->request = xmemdup0(r->id.p, r->id.n);
    TAILQ_INSERT_TAIL(&ss->streams, st, link);
    begin(st, 0, r->x);
}

bool session_event(struct request *r, struct str message)
{
    session_begin_stream(r);
    struct stream *st = r->stream;
    if (!st)
        return false;
    keep(st, message);
    /* A reader that is too slow is cut; the request goes on without it. */
    if (r->x)
        (void)write_event(st, st->seq, message, r->x);
    return true;
}

void session_last_event(struct request *r, struct str message)
{
    session_begin_stream(r);
    struct stream *st = r->stream;
    struct exchange *x = r->x;
    if (!st)
        return;
    st->answered = true;
    keep(st, message);
    r->x = NULL;
    if (x) {
        x->on_closed = NULL;
        if (write_event(st, st->seq, message, x))
            exchange_stream_end(x);
    }
    stream_ended(st);
}

void session_drop_stream(struct request *r)
{
    if (r->stream)
        stream_ended(r->stream);
}

/* ---- taking up again ---- */

static struct stream *find_stream(struct session *ss, uint32_t no)
{
    struct stream *st;
    TAILQ_FOREACH (st, &ss->streams, link)
        if (st->no == no)
            return st;
    return NULL;
}

void session_answer_lost(struct str request, bool begun, struct exchange *x)
{
    struct buf m = {0};
    rpc_error(&m, request, RPC_INTERNAL_ERROR,
              STR("the answer is lost; the request may have been carried out"),
              STR("{\"reason\":\"answer_lost\",\"mayHaveHadEffects\":true}"));
    if (!begun)
        exchange_stream_begin(x, (struct str){0});
    if (exchange_event(x, (struct str){0}, buf_str(&m)))
        exchange_stream_end(x);
    buf_fini(&m);
}

static void resume_request(struct stream *st, uint64_t seq, struct exchange *x)
{
    struct request *r = st->r;
    if (!r && seq < st->seq && !replay_after(&st->ss->log, st->no, seq)) {
        session_answer_lost(str_of(st->request), false, x);
        return;
    }
    if (r && r->x) { /* its connection is dead, and we have not heard of it yet */
        struct exchange *old = r->x;
        request_detach(r);
        exchange_stream_end(old);
    }
    begin(st, seq, x);
    if (r)
        request_attach(r, x);
    if (replay(st, seq, x) && !r)
        exchange_stream_end(x);
}

bool session_resume(struct session *ss, struct exchange *x, struct str last_event_id)
{
    struct buf scratch = {0};
    struct replay_id id;
    bool ok = replay_id_parse(last_event_id, &scratch, &id);
    if (ok && id.epoch != ss->epoch && session_log_resume(ss, x, &id)) {
        /* of an owner before this one */
    } else if (ok && id.stream == 0) {
        bool ours = id.epoch == ss->epoch && id.seq <= ss->standing.seq;
        end_standing(ss, false);
        attach_standing(ss, x, ours ? id.seq : ss->standing.told, false);
    } else if (ok) {
        struct stream *st = id.epoch == ss->epoch ? find_stream(ss, id.stream) : NULL;
        if (st)
            resume_request(st, id.seq, x);
        else if (id.request.n)
            session_answer_lost(id.request, false, x);
        else
            ok = false;
    }
    buf_fini(&scratch);
    return ok;
}

/* ---- life ---- */

void session_streams_init(struct session *ss)
{
    crypto_random(&ss->epoch, sizeof ss->epoch);
    ss->standing.ss = ss;
    TAILQ_INIT(&ss->streams);
    TAILQ_INIT(&ss->reruns);
}

void session_streams_trim(struct session *ss)
{
    struct stream *st, *next;
    replay_trim(&ss->log, clock_ms());
    charge(ss);
    for (st = TAILQ_FIRST(&ss->streams); st; st = next) {
        next = TAILQ_NEXT(st, link);
        if (!st->r && !replay_after(&ss->log, st->no, 0)) {
            ss->ended_streams--;
            stream_free(st);
        }
    }
}

void session_streams_fini(struct session *ss, bool given_away)
{
    struct stream *st;
    session_log_stop(ss);
    end_standing(ss, false);
    if (!given_away)
        session_log_drop(&ss->standing);
    while ((st = TAILQ_FIRST(&ss->streams))) {
        st->logged = st->logged && !given_away;
        stream_free(st);
    }
    replay_fini(&ss->log);
    charge(ss);
}
