/* See store_redis_wire.h. hiredis builds no objects here: its hooks fill one flat array, so a reply
 * costs no allocation, and a list that announces more than the bounds is refused before any. */
#include "store/store_redis_wire.h"

#include <event2/event.h>
#include <hiredis/hiredis.h>
#include <stdlib.h>

enum { READ_BYTES = 16 * 1024, READS_A_TURN = 64, ENCODE_ARGS_MAX = 40 };

/* ---- replies ---- */

static struct redis_node *add_node(const redisReadTask *task, enum redis_type type)
{
    struct redis_replies *r = task->privdata;
    int level = 0;
    if (r->n >= REDIS_NODES_MAX)
        return NULL; /* hiredis then reports that memory is out */
    if (r->n == r->cap) {
        r->cap = r->cap ? r->cap * 2 : 16;
        r->nodes = xrealloc(r->nodes, r->cap * sizeof *r->nodes);
    }
    for (const redisReadTask *up = task->parent; up; up = up->parent)
        level++;
    r->nodes[r->n] = (struct redis_node){.type = type, .level = level};
    return &r->nodes[r->n++];
}

static void *on_string(const redisReadTask *task, char *p, size_t n)
{
    struct redis_replies *r = task->privdata;
    struct redis_node *node =
        add_node(task, task->type == REDIS_REPLY_ERROR ? REDIS_ERROR : REDIS_TEXT);
    if (!node)
        return NULL;
    node->at = r->bytes.n;
    node->text.n = n;
    buf_add(&r->bytes, p, n);
    return r;
}

static void *on_array(const redisReadTask *task, int elements)
{
    struct redis_replies *r = task->privdata;
    if (elements < 0 || elements > REDIS_NODES_MAX)
        return NULL;
    struct redis_node *node = add_node(task, REDIS_LIST);
    if (node)
        node->number = elements;
    return node ? r : NULL;
}

static void *on_integer(const redisReadTask *task, long long v)
{
    struct redis_node *node = add_node(task, REDIS_NUMBER);
    if (node)
        node->number = v;
    return node ? task->privdata : NULL;
}

static void *on_nil(const redisReadTask *task)
{
    return add_node(task, REDIS_NIL) ? task->privdata : NULL;
}

static void on_free(void *object)
{
    (void)object;
}

static redisReplyObjectFunctions hooks = {on_string, on_array, on_integer, on_nil, on_free};

void redis_replies_feed(struct redis_replies *r, const char *p, size_t n)
{
    if (!r->reader) {
        redisReader *reader = redisReaderCreateWithFunctions(&hooks);
        if (!reader)
            abort();
        reader->privdata = r;
        r->reader = reader;
    }
    (void)redisReaderFeed(r->reader, p, n);
}

int redis_replies_next(struct redis_replies *r)
{
    redisReader *reader = r->reader;
    void *reply = NULL;
    if (!reader)
        return 0;
    if (reader->ridx == -1) { /* between replies */
        r->n = 0;
        r->bytes.n = 0;
    }
    if (redisReaderGetReply(reader, &reply) != REDIS_OK)
        return -1;
    if (!reply)
        return reader->len - reader->pos + r->bytes.n > REDIS_REPLY_MAX ? -1 : 0;
    for (size_t i = 0; i < r->n; i++)
        r->nodes[i].text.p = r->nodes[i].text.n ? r->bytes.p + r->nodes[i].at : "";
    return 1;
}

void redis_replies_fini(struct redis_replies *r)
{
    if (r->reader)
        redisReaderFree(r->reader);
    free(r->nodes);
    buf_fini(&r->bytes);
    *r = (struct redis_replies){0};
}

const struct redis_node *redis_item(const struct redis_replies *r, size_t i)
{
    bool there = r->n && r->nodes[0].type == REDIS_LIST && i < (size_t)r->nodes[0].number;
    return there && i + 1 < r->n && r->nodes[i + 1].level == 1 ? &r->nodes[i + 1] : NULL;
}

int64_t redis_item_number(const struct redis_replies *r, size_t i, int64_t fallback)
{
    const struct redis_node *n = redis_item(r, i);
    uint64_t v;
    if (n && n->type == REDIS_NUMBER)
        return n->number;
    return n && n->type == REDIS_TEXT && str_to_u64(n->text, &v) && v <= INT64_MAX ? (int64_t)v
                                                                                   : fallback;
}

bool redis_is_error(const struct redis_node *n, const char *code)
{
    return n->type == REDIS_ERROR && str_starts(n->text, str_of(code));
}

void redis_encode(struct buf *out, const struct str *args, size_t n)
{
    const char *argv[ENCODE_ARGS_MAX];
    size_t len[ENCODE_ARGS_MAX];
    char *text = NULL;
    if (n > ENCODE_ARGS_MAX)
        abort();
    for (size_t i = 0; i < n; i++) {
        argv[i] = args[i].n ? args[i].p : "";
        len[i] = args[i].n;
    }
    int size = redisFormatCommandArgv(&text, (int)n, argv, len);
    if (size < 0)
        abort();
    buf_add(out, text, (size_t)size);
    redisFreeCommand(text);
}

/* ---- connection ---- */

static void fail(struct redis_wire *w, const struct err *e)
{
    redis_wire_close(w);
    w->events->on_closed(w, e, w->arg);
}

static void flush(struct redis_wire *w)
{
    struct err e;
    while (w->sent < w->out.n) {
        struct iovec iov = {w->out.p + w->sent, w->out.n - w->sent};
        ssize_t n = net_writev(&w->stream, &iov, 1, &e);
        if (n == -1) {
            if (!w->stream.want_read)
                event_add(w->write_ev, NULL);
            return;
        }
        if (n < 0) {
            fail(w, &e);
            return;
        }
        w->sent += (size_t)n;
    }
    w->sent = w->out.n = 0;
}

static void on_flush(void *arg)
{
    struct redis_wire *w = arg;
    w->flushing = false;
    if (w->open && w->read_ev && !event_pending(w->write_ev, EV_WRITE, NULL))
        flush(w);
}

static void flush_later(struct redis_wire *w)
{
    if (w->flushing)
        return;
    w->flushing = true;
    loop_defer(w->loop, on_flush, w);
}

/* False: the wire ended. */
static bool drain_replies(struct redis_wire *w)
{
    unsigned generation = w->generation;
    int got;
    while ((got = redis_replies_next(&w->replies)) == 1) {
        w->events->on_reply(w, w->arg);
        if (!w->open || w->generation != generation)
            return false;
    }
    if (got == 0)
        return true;
    struct err e = {ERR_BAD_UPSTREAM, "the server sent what is no reply, or too large"};
    fail(w, &e);
    return false;
}

void redis_wire_read(struct redis_wire *w)
{
    char room[READ_BYTES];
    struct err e = {0};
    ssize_t n = -1;
    if (!w->open || !w->read_ev || w->reading)
        return;
    w->reading = true;
    for (int i = 0; i < READS_A_TURN; i++) {
        n = net_read(&w->stream, room, sizeof room, &e);
        if (n <= 0)
            break;
        redis_replies_feed(&w->replies, room, (size_t)n);
        if (!drain_replies(w)) {
            w->reading = false;
            return;
        }
    }
    w->reading = false;
    if (n > 0)
        event_active(w->read_ev, EV_READ, 0); /* TLS may hold bytes that the socket does not show */
    if (n == -1 || n > 0) {
        if (w->stream.want_write || w->sent < w->out.n)
            event_add(w->write_ev, NULL);
        return;
    }
    if (n == 0)
        err_fill(&e, ERR_UNAVAILABLE, "the server closed the connection");
    fail(w, &e);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    redis_wire_read(arg);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct redis_wire *w = arg;
    if (w->stream.want_write)
        redis_wire_read(w);
    if (w->open)
        flush(w);
}

static void on_resolved(const struct net_addr *addrs, size_t n, const struct err *e, void *arg)
{
    struct redis_wire *w = arg;
    struct err why = {ERR_UNAVAILABLE, "the name has no address that may be used"};
    int fd = -1;
    w->lookup = NULL;
    for (size_t i = 0; i < n && fd < 0; i++)
        if (net_addr_allowed(&addrs[i], true))
            fd = net_connect(&addrs[i], &why);
    if (fd < 0 || !net_stream_init(&w->stream, fd, w->tls, str_of(w->host), &why)) {
        fail(w, n ? &why : e);
        return;
    }
    struct event_base *base = loop_base(w->loop);
    w->read_ev = event_new(base, w->stream.fd, EV_READ | EV_PERSIST, on_readable, w);
    w->write_ev = event_new(base, w->stream.fd, EV_WRITE, on_writable, w);
    event_add(w->read_ev, NULL);
    event_add(w->write_ev, NULL);
}

void redis_wire_open(struct redis_wire *w, struct loop *l, struct str host, uint16_t port,
                     struct tls_ctx *tls, const struct redis_wire_events *events, void *arg)
{
    redis_wire_close(w);
    w->loop = l;
    w->events = events;
    w->arg = arg;
    w->tls = tls;
    w->host = xmemdup0(host.p, host.n);
    w->open = true;
    w->lookup = net_resolve(l, str_of(w->host), port, on_resolved, w);
}

void redis_wire_put(struct redis_wire *w, struct str bytes)
{
    buf_add_str(&w->out, bytes);
    flush_later(w);
}

void redis_wire_close(struct redis_wire *w)
{
    if (!w->open)
        return;
    w->open = false;
    w->generation++;
    net_lookup_cancel(&w->lookup);
    if (w->read_ev) {
        event_free(w->read_ev);
        event_free(w->write_ev);
        net_stream_close(&w->stream);
    }
    w->read_ev = w->write_ev = NULL;
    w->out.n = w->sent = 0;
    if (w->replies.reader) /* what a callback looks at stays until the next bytes */
        redisReaderFree(w->replies.reader);
    w->replies.reader = NULL;
    free(w->host);
    w->host = NULL;
}

void redis_wire_fini(struct redis_wire *w)
{
    redis_wire_close(w);
    redis_replies_fini(&w->replies);
    buf_fini(&w->out);
}
