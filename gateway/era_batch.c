/* Batches (MCP 2025-03-26 basic/index; JSON-RPC 2.0 §6), which that one revision has. Each part
 * becomes a request of its own in the session. A client that takes events gets the answers as they
 * come; one that does not gets one array when all are there, and so does one on a pipe. */
#include "gateway/channel.h"
#include "gateway/era.h"
#include "gateway/session.h"

#include <stdlib.h>

enum { MAX_PARTS = 100 };

struct batch {
    struct channel ch;  /* its parts */
    struct exchange *x; /* NULL once the client is gone */
    bool sse_ok;        /* what comes before the answers can be sent */
    bool as_events;     /* and so can they */
    struct buf answers; /* "[a,b", while there is no stream for them */
};

static void batch_destroy(void *arg)
{
    struct batch *b = arg;
    channel_fini(&b->ch);
    buf_fini(&b->answers);
    free(b);
}

/* Its parts run on in their session when the client goes: to close is not to cancel there. */
static void on_closed(struct exchange *x)
{
    struct batch *b = x->arg;
    b->x = NULL;
    channel_close(&b->ch);
    loop_defer(b->ch.shard->loop, batch_destroy, b);
}

static bool send_event(struct batch *b, struct str message)
{
    if (!b->x->streaming)
        exchange_stream_begin(b->x, (struct str){0});
    return exchange_event(b->x, (struct str){0}, message); /* false: on_closed has run */
}

static bool on_send(struct channel *ch, struct str message, bool answer)
{
    struct batch *b = (struct batch *)ch;
    if (!b->x)
        return false;
    if (!answer)
        return !b->sse_ok || send_event(b, message);
    if (b->as_events)
        return send_event(b, message);
    buf_addc(&b->answers, b->answers.n ? ',' : '[');
    buf_add_str(&b->answers, message);
    return true;
}

static void on_idle(struct channel *ch)
{
    struct batch *b = (struct batch *)ch;
    struct exchange *x = b->x;
    ch->closed = true;
    if (b->answers.n)
        buf_addc(&b->answers, ']');
    if (x->streaming && b->answers.n && !exchange_event(x, (struct str){0}, buf_str(&b->answers)))
        return; /* on_closed has run */
    x->on_closed = NULL;
    if (x->streaming)
        exchange_stream_end(x);
    else if (b->answers.n)
        exchange_reply_json(x, 200, buf_str(&b->answers));
    else
        exchange_reply(x, 202, (struct str){0}, (struct str){0});
    loop_defer(ch->shard->loop, batch_destroy, b);
}

/* Why a batch is none; NULL for one that is. Parts that are no messages are answered one by one. */
static const char *fault(const struct json_doc *d)
{
    if (d->tok[0].count == 0)
        return "the batch is empty";
    if (d->tok[0].count > MAX_PARTS)
        return "the batch has more than 100 parts";
    for (uint32_t k = json_first(d, 0); k != JSON_NONE; k = json_next(d, 0, k)) {
        if (json_str_eq(d, json_get(d, k, STR("method")), STR("initialize")))
            return "initialize is never part of a batch";
        if (json_path(d, k, (const char *[]){"params", "_meta", META_VERSION, NULL}) != JSON_NONE)
            return "requests of later revisions are not part of a batch";
    }
    return NULL;
}

static void begin(struct request *r, struct str session)
{
    static const struct channel_ops ops = {on_send, on_idle};
    struct batch *b = xcalloc(1, sizeof *b);
    struct exchange *x = r->x;
    channel_init(&b->ch, &ops, r->shard, r->call.principal);
    b->ch.legacy = b->ch.nested = true;
    b->ch.session = xmemdup0(session.p, session.n);
    b->sse_ok = r->sse_ok;
    b->as_events = r->sse_ok && !r->channel;
    b->x = x;
    x->arg = b;
    x->on_closed = on_closed;
    r->x = NULL;
    for (uint32_t k = json_first(&r->doc, 0); k != JSON_NONE && b->x; k = json_next(&r->doc, 0, k))
        channel_take(&b->ch, json_raw(&r->doc, k), x);
    request_free(r);
}

void era_legacy_batch(struct request *r)
{
    const char *why =
        era_legacy_session_id(r).p ? fault(&r->doc) : "a batch belongs to a session: initialize";
    struct session *ss = why ? NULL : era_legacy_session(r);
    if (!why && !ss)
        return;
    if (!why && !era_batches(session_version(ss)))
        why = "this session's revision has no batches: send one message";
    if (why)
        request_invalid(r, RPC_INVALID_REQUEST, why);
    else
        begin(r, session_id(ss));
}
