/* See channel.h. */
#include "gateway/channel.h"

#include "gateway/mcp_http.h"
#include "gateway/session.h"

#include <assert.h>
#include <stdlib.h>

/* One message that came in, until it is answered; or the channel's stream. */
struct member {
    struct exchange x;
    struct channel *ch; /* NULL once unhooked */
    struct buf body;
    TAILQ_ENTRY(member) link; /* the stream is in no list */
};

static void member_destroy(void *arg)
{
    struct member *m = arg;
    buf_fini(&m->body);
    principal_unref(&m->x.principal);
    arena_fini(&m->x.arena);
    free(m);
}

static void member_unhook(struct member *m)
{
    struct channel *ch = m->ch;
    m->ch = NULL;
    if (ch->stream == &m->x)
        ch->stream = NULL;
    else
        TAILQ_REMOVE(&ch->members, m, link);
    loop_defer(ch->shard->loop, member_destroy, m);
}

static void on_maybe_idle(void *arg)
{
    struct channel *ch = arg;
    if (!ch->closed && TAILQ_EMPTY(&ch->members))
        ch->ops->idle(ch);
}

static void member_end(struct member *m)
{
    struct channel *ch = m->ch;
    if (!ch)
        return;
    member_unhook(m);
    if (!ch->closed && TAILQ_EMPTY(&ch->members))
        loop_defer(ch->shard->loop, on_maybe_idle, ch); /* who answered is still on the stack */
}

/* ---- exchange operations ---- */

static void op_reply(struct exchange *x, int status, struct str fields, struct str body)
{
    struct member *m = (struct member *)x;
    (void)status;
    (void)fields;
    if (m->ch && body.n)
        (void)m->ch->ops->send(m->ch, body, true);
    member_end(m);
}

static void op_stream_begin(struct exchange *x, struct str fields)
{
    (void)x;
    (void)fields;
}

static bool op_event(struct exchange *x, struct str id, struct str message)
{
    struct member *m = (struct member *)x;
    (void)id;
    return m->ch && m->ch->ops->send(m->ch, message, false);
}

static bool op_beat(struct exchange *x)
{
    return ((struct member *)x)->ch != NULL; /* the channel's own transport does it */
}

static void op_stream_end(struct exchange *x)
{
    member_end((struct member *)x);
}

static void op_move(struct exchange *x, struct shard *to)
{
    (void)x;
    (void)to;
    assert(false); /* what a channel holds lives where it does */
}

static void op_take_body(struct exchange *x, struct buf *out)
{
    struct member *m = (struct member *)x;
    *out = m->body;
    m->body = (struct buf){0};
}

static const struct exchange_ops member_ops = {
    .reply = op_reply,
    .stream_begin = op_stream_begin,
    .event = op_event,
    .beat = op_beat,
    .stream_end = op_stream_end,
    .move = op_move,
    .take_body = op_take_body,
};

/* ---- channels ---- */

void channel_init(struct channel *ch, const struct channel_ops *ops, struct shard *s,
                  struct principal *who)
{
    *ch = (struct channel){.ops = ops, .shard = s, .principal = principal_ref(who)};
    TAILQ_INIT(&ch->members);
}

static struct member *member_new(struct channel *ch)
{
    struct member *m = xcalloc(1, sizeof *m);
    m->ch = ch;
    m->x.ops = &member_ops;
    m->x.shard = ch->shard;
    m->x.channel = ch;
    m->x.principal = principal_ref(ch->principal);
    return m;
}

void channel_take(struct channel *ch, struct str text, const struct exchange *via)
{
    struct member *m = member_new(ch);
    buf_add_str(&m->body, text);
    m->x.body = buf_str(&m->body);
    TAILQ_INSERT_TAIL(&ch->members, m, link);
    m->x.head = via ? via->head : NULL;
    m->x.peer = via ? via->peer : NULL;
    mcp_http_message(&m->x);
    m->x.head = NULL; /* via's answer ends them; m itself lives until the end of the turn */
    m->x.peer = NULL;
}

void channel_begin(struct channel *ch, struct session *ss)
{
    struct str id = session_id(ss);
    struct member *m = member_new(ch);
    ch->session = xmemdup0(id.p, id.n);
    ch->stream = &m->x;
    if (!session_open_stream(ss, &m->x))
        member_end(m);
}

static void detach(struct member *m)
{
    member_unhook(m);
    if (m->x.on_closed)
        m->x.on_closed(&m->x);
}

bool channel_cancel(struct channel *ch, struct str id)
{
    struct member *m;
    TAILQ_FOREACH (m, &ch->members, link)
        if (m->x.cancel_id.n && str_eq(m->x.cancel_id, id))
            break;
    if (!m)
        return false;
    detach(m);
    return true;
}

struct str channel_session(const struct channel *ch)
{
    return ch->session ? str_of(ch->session) : (struct str){0};
}

bool channel_busy(const struct channel *ch)
{
    return !TAILQ_EMPTY(&ch->members);
}

void channel_close(struct channel *ch)
{
    if (ch->closed)
        return;
    ch->closed = true;
    /* First of all: a session that ends would answer them. */
    while (!TAILQ_EMPTY(&ch->members))
        detach(TAILQ_FIRST(&ch->members));
    if (ch->stream)
        detach((struct member *)ch->stream);
}

void channel_end(struct channel *ch)
{
    channel_close(ch);
    if (!ch->session)
        return;
    struct session_place at = session_here(ch->shard, ch->principal, channel_session(ch));
    if (at.ss)
        session_delete(at.ss);
}

void channel_fini(struct channel *ch)
{
    free(ch->session);
    ch->session = NULL;
    principal_unref(&ch->principal);
}
