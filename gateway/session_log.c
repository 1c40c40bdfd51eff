/* See session_priv.h. The events of streams that clients opened, in the store that replicas share:
 * one log a stream, written while its session lives, read by whoever has the session after its
 * owner died. An entry is one letter, what it is, and the message. */
#include "gateway/session_priv.h"

#include "gateway/owner.h"

#include <stdlib.h>

enum { AN_EVENT = 'e', AN_ANSWER = 'a' };

/* A stream that is sent again from the store. */
struct rerun {
    struct session *ss;
    struct exchange *x;
    struct store_op op;
    struct replay_id id; /* of what the client has; its request lies in the text */
    bool begun;          /* the answer's head is out */
    TAILQ_ENTRY(rerun) link;
    char request[];
};

static void step_done(struct rerun *re, const struct store_reply *r);

static struct str key_of(const struct session *ss, struct store_key *k, uint32_t epoch, uint32_t no)
{
    struct buf of = {0};
    buf_addf(&of, "%x.%x", epoch, no);
    struct str part = buf_str(&of);
    struct str key = store_key(ss->shard->store, k, "replay", str_of(ss->key), &part, 1);
    buf_fini(&of);
    return key;
}

/* ---- writing ---- */

void session_log_add(struct stream *st, uint64_t seq, struct str message)
{
    struct session *ss = st->ss;
    const struct replay_event *first = replay_after(&ss->log, st->no, 0);
    struct store_key k;
    struct store_reply r;
    struct buf value = {0};
    bool answer = st->answered && seq == st->seq;
    if (!owner_shared(ss->shard) || message.n >= STORE_VALUE_MAX)
        return;
    buf_addc(&value, answer ? AN_ANSWER : AN_EVENT);
    buf_add_str(&value, message);
    (void)store_append(ss->shard->store, NULL, key_of(ss, &k, ss->epoch, st->no),
                       &(struct store_entry){(int64_t)seq, buf_str(&value)},
                       first ? (int64_t)first->seq : 0, REPLAY_MAX_AGE_MS, &r);
    st->logged = true;
    buf_fini(&value);
}

void session_log_drop(struct stream *st)
{
    struct session *ss = st->ss;
    struct store_key k;
    struct store_reply r;
    if (st->logged)
        (void)store_del(ss->shard->store, NULL, key_of(ss, &k, ss->epoch, st->no), &r);
    st->logged = false;
}

/* ---- sending again ---- */

static void rerun_free(struct rerun *re)
{
    store_cancel(&re->op);
    TAILQ_REMOVE(&re->ss->reruns, re, link);
    loop_defer_free(re->ss->shard->loop, re);
}

static void on_client_gone(struct exchange *x)
{
    rerun_free(x->arg);
}

/* Its exchange is the caller's. */
static struct exchange *rerun_end(struct rerun *re)
{
    struct exchange *x = re->x;
    x->on_closed = NULL;
    x->arg = NULL;
    rerun_free(re);
    return x;
}

static void begin(struct rerun *re)
{
    if (!re->begun)
        session_stream_begin(re->ss, &re->id, re->x);
    re->begun = true;
}

/* The store does not say what comes next: the client asks again later. */
static void put_off(struct rerun *re)
{
    bool begun = re->begun;
    struct exchange *x = rerun_end(re);
    if (begun)
        exchange_stream_end(x);
    else
        mcp_http_refuse(x, 503, STR("Retry-After: 1\r\n"), RPC_INTERNAL_ERROR,
                        "what the stream missed cannot be read now; try again");
}

/* All of a request's stream that is known was sent, and the answer was not among it. */
static void lost(struct rerun *re)
{
    struct replay_id id = re->id; /* re lives until the end of the turn */
    bool begun = re->begun;
    struct exchange *x = rerun_end(re);
    if (id.request.n)
        session_answer_lost(id.request, begun, x);
    else if (begun)
        exchange_stream_end(x);
    else
        mcp_http_refuse(x, 400, (struct str){0}, RPC_INVALID_REQUEST, "Last-Event-ID is not known");
}

static void read_on(struct rerun *re)
{
    struct store_key k;
    struct store_reply r;
    if (store_read(re->ss->shard->store, &re->op, key_of(re->ss, &k, re->id.epoch, re->id.stream),
                   (int64_t)re->id.seq, &r))
        step_done(re, &r);
}

static void step_done(struct rerun *re, const struct store_reply *r)
{
    struct session *ss = re->ss;
    bool answered = false;
    if (r->status == STORE_AWAY) {
        put_off(re);
        return;
    }
    size_t n = r->status == STORE_OK ? r->count : 0;
    for (size_t i = 0; i < n; i++) {
        struct str v = r->entries[i].value;
        begin(re);
        re->id.seq = (uint64_t)r->entries[i].seq;
        answered = v.n && v.p[0] == AN_ANSWER;
        if (v.n && !session_stream_event(&re->id, (struct str){v.p + 1, v.n - 1}, re->x))
            return; /* it reads too slowly and was cut */
    }
    if (answered) {
        exchange_stream_end(rerun_end(re));
    } else if (n) {
        read_on(re);
    } else if (re->id.stream != 0) {
        lost(re);
    } else {
        bool begun = re->begun;
        session_take_standing(ss, rerun_end(re), begun);
    }
}

static void on_store(const struct store_reply *r, void *arg)
{
    step_done(arg, r);
}

bool session_log_resume(struct session *ss, struct exchange *x, const struct replay_id *id)
{
    if (!owner_shared(ss->shard) || id->seq >= (uint64_t)1 << 52)
        return false;
    struct rerun *re = xcalloc(1, sizeof *re + id->request.n);
    re->ss = ss;
    re->x = x;
    re->op = (struct store_op){.fn = on_store, .arg = re};
    re->id = *id;
    if (id->request.n)
        memcpy(re->request, id->request.p, id->request.n);
    re->id.request.p = re->request;
    TAILQ_INSERT_TAIL(&ss->reruns, re, link);
    x->arg = re;
    x->on_closed = on_client_gone;
    read_on(re);
    return true;
}

bool session_log_stands(const struct session *ss)
{
    const struct rerun *re;
    TAILQ_FOREACH (re, &ss->reruns, link)
        if (re->id.stream == 0)
            return true;
    return false;
}

void session_log_stop(struct session *ss)
{
    while (!TAILQ_EMPTY(&ss->reruns))
        put_off(TAILQ_FIRST(&ss->reruns));
}
