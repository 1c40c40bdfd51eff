/* See http_server.h. One request at a time on a connection: what a client pipelines waits in
 * `ahead`, so that the request's bytes stay where they are while it is answered. States and what
 * the one deadline means in them:
 *
 *   IDLE   nothing of a request yet          keep-alive time
 *   HEAD   some of a head                    absolute header deadline (408)
 *   BODY   head judged, body arriving        absolute body deadline (408)
 *   BUSY   with the application              none, or write stall while bytes are queued
 *   LINGER answered, closing; reading away   1 s
 *   CLOSED unhooked, freed at the turn's end */
#include "gateway/http_server.h"

#include "base/clock.h"
#include "base/sse.h"
#include "gateway/envelope.h"
#include "gateway/gateway.h"
#include "gateway/routes.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

enum {
    AHEAD_MAX = 64 * 1024,              /* pipelined bytes kept while busy */
    KEEP_BUFFER = 8 * 1024,             /* an idle connection keeps this much buffer */
    STREAM_QUEUE_MAX = 8 * 1024 * 1024, /* a reader that is further behind is cut */
    LINGER_MS = 1000,
    WRITE_STALL_MS = 30000,
    LINGER_MAX = 256 * 1024,
    ACCEPT_BATCH = 64,
    CHARGE_FROM = 16 * 1024,
};

enum conn_state { CONN_IDLE, CONN_HEAD, CONN_BODY, CONN_BUSY, CONN_LINGER, CONN_CLOSED };

struct conn {
    struct exchange x;
    struct http_server *srv;
    struct net_stream ns;
    struct event rd, wr;
    enum conn_state state;
    struct buf in;      /* the request: head, then body (or the chunked body's raw bytes) */
    struct buf decoded; /* a chunked body */
    struct buf ahead;   /* pipelined bytes that arrived while busy */
    struct buf out;     /* not written yet */
    struct http1_head *head;
    size_t head_len, body_seen; /* body_seen: raw body bytes consumed from in */
    struct http1_body body;
    struct timer deadline;
    struct net_addr peer;
    int64_t charged;
    size_t lingered;
    bool keep, is_head, http10, flush_due, next_due, wr_on, rd_off;
    TAILQ_ENTRY(conn) link;
};

struct listener {
    struct event ev;
    struct http_server *srv;
    int fd;
    enum http_listener kind;
    bool on;
    struct timer pause;
};

struct http_server {
    struct shard *shard;
    TAILQ_HEAD(, conn) conns;
    struct listener listener[16];
    int listeners;
    bool draining;
    struct http1_head *free_heads[32];
    int free_head_count;
};

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_deadline(void *arg);
static void process(struct conn *c);
static void begin_body(struct conn *c);

/* ---- connection life ---- */

static struct http1_head *head_take(struct http_server *h)
{
    if (h->free_head_count)
        return h->free_heads[--h->free_head_count];
    return xmalloc(sizeof(struct http1_head));
}

static void head_give(struct conn *c)
{
    struct http_server *h = c->srv;
    if (!c->head)
        return;
    if (h->free_head_count < 32)
        h->free_heads[h->free_head_count++] = c->head;
    else
        free(c->head);
    c->head = NULL;
    c->x.head = NULL;
}

static void charge(struct conn *c, int64_t bytes)
{
    if (bytes == c->charged)
        return;
    atomic_fetch_add_explicit(&c->srv->shard->gw->buffered_bytes, bytes - c->charged,
                              memory_order_relaxed);
    c->charged = bytes;
}

static void deadline(struct conn *c, int64_t ms)
{
    timer_set(&c->deadline, c->srv->shard->loop, ms, on_deadline, c);
}

static void conn_destroy(void *arg)
{
    struct conn *c = arg;
    buf_fini(&c->in);
    buf_fini(&c->decoded);
    buf_fini(&c->ahead);
    buf_fini(&c->out);
    arena_fini(&c->x.arena);
    principal_unref(&c->x.principal);
    free(c->head);
    free(c);
}

static void conn_unhook(struct conn *c)
{
    event_del(&c->rd);
    event_del(&c->wr);
    c->wr_on = false;
    timer_clear(&c->deadline);
    TAILQ_REMOVE(&c->srv->conns, c, link);
    atomic_fetch_sub(&c->srv->shard->connections, 1);
    metric_add(metric_of(M_CONNECTIONS), -1);
}

/* Closes now; tells the application first if it still had the request. */
static void conn_close(struct conn *c)
{
    if (c->state == CONN_CLOSED)
        return;
    bool busy = c->state == CONN_BUSY;
    conn_unhook(c);
    c->state = CONN_CLOSED;
    charge(c, 0);
    net_stream_close(&c->ns);
    if (busy && c->x.streaming)
        metric_add(metric_of(M_OPEN_STREAMS), -1);
    if ((busy || c->x.held) && c->x.on_closed)
        c->x.on_closed(&c->x);
    loop_defer(c->srv->shard->loop, conn_destroy, c);
}

static void conn_hook(struct conn *c, struct http_server *h)
{
    struct event_base *base = loop_base(h->shard->loop);
    c->srv = h;
    c->x.shard = h->shard;
    event_assign(&c->rd, base, c->ns.fd, EV_READ | EV_PERSIST, on_readable, c);
    event_assign(&c->wr, base, c->ns.fd, EV_WRITE | EV_PERSIST, on_writable, c);
    event_add(&c->rd, NULL);
    c->rd_off = false;
    TAILQ_INSERT_TAIL(&h->conns, c, link);
    atomic_fetch_add(&h->shard->connections, 1);
    metric_add(metric_of(M_CONNECTIONS), 1);
}

/* ---- writing ---- */

static void want_write(struct conn *c, bool on)
{
    if (on == c->wr_on)
        return;
    c->wr_on = on;
    if (on)
        event_add(&c->wr, NULL);
    else
        event_del(&c->wr);
}

/* Writes what is queued; false when the connection is gone. */
static bool flush(struct conn *c)
{
    struct err e;
    size_t done = 0;
    while (done < c->out.n) {
        struct iovec iov = {c->out.p + done, c->out.n - done};
        ssize_t n = net_writev(&c->ns, &iov, 1, &e);
        if (n == -1)
            break;
        if (n < 0) {
            conn_close(c);
            return false;
        }
        done += (size_t)n;
    }
    buf_drop(&c->out, done);
    if (c->out.n == 0 && c->out.cap > KEEP_BUFFER)
        buf_fini(&c->out);
    want_write(c, c->out.n > 0);
    if (c->out.n > 0 && (done > 0 || !timer_armed(&c->deadline)))
        deadline(c, WRITE_STALL_MS);
    return true;
}

/* Writes head and body with one call if the socket takes them, queues the rest. */
static bool write_now(struct conn *c, struct str a, struct str b)
{
    struct err e;
    size_t done = 0;
    if (c->out.n == 0) {
        /* writev(2) does not write through the pointers; struct iovec has no const form */
        union {
            const char *in;
            char *out;
        } pa = {a.p}, pb = {b.p};
        struct iovec iov[2] = {{pa.out, a.n}, {pb.out, b.n}};
        ssize_t n = net_writev(&c->ns, iov, b.n ? 2 : 1, &e);
        if (n == -2) {
            conn_close(c);
            return false;
        }
        done = n > 0 ? (size_t)n : 0;
    }
    if (done < a.n) {
        buf_add(&c->out, a.p + done, a.n - done);
        done = a.n;
    }
    if (done - a.n < b.n)
        buf_add(&c->out, b.p + (done - a.n), b.n - (done - a.n));
    want_write(c, c->out.n > 0);
    if (c->out.n > 0)
        deadline(c, WRITE_STALL_MS);
    return true;
}

/* ---- ending a request ---- */

static void on_next(void *arg)
{
    struct conn *c = arg;
    c->next_due = false;
    if (c->state == CONN_IDLE && c->in.n > 0)
        process(c);
}

static void linger(struct conn *c)
{
    c->state = CONN_LINGER;
    if (c->out.n == 0)
        shutdown(c->ns.fd, SHUT_WR);
    deadline(c, c->out.n ? WRITE_STALL_MS : LINGER_MS);
}

/* The answer is written or queued: on to the next request, or close. */
static void request_done(struct conn *c)
{
    size_t used = c->head_len + c->body_seen;
    bool whole = c->body.done;
    head_give(c);
    arena_fini(&c->x.arena);
    principal_unref(&c->x.principal);
    charge(c, 0);
    c->x = (struct exchange){.ops = c->x.ops,
                             .shard = c->x.shard,
                             .peer = &c->peer,
                             .local_listener = c->x.local_listener,
                             .admin_listener = c->x.admin_listener,
                             .link_listener = c->x.link_listener};
    if (!c->keep || !whole || c->srv->draining) {
        linger(c);
        return;
    }
    c->state = CONN_IDLE;
    buf_drop(&c->in, used);
    buf_add(&c->in, c->ahead.p, c->ahead.n);
    buf_fini(&c->ahead);
    buf_fini(&c->decoded);
    if (c->in.n == 0 && c->in.cap > KEEP_BUFFER)
        buf_fini(&c->in);
    if (c->rd_off) {
        event_add(&c->rd, NULL);
        c->rd_off = false;
    }
    if (c->out.n == 0)
        deadline(c, c->srv->shard->config->keep_alive_ms);
    if (c->in.n > 0 && !c->next_due) {
        c->next_due = true;
        loop_defer(c->srv->shard->loop, on_next, c);
    }
}

/* ---- exchange operations ---- */

static void op_reply(struct exchange *x, int status, struct str fields, struct str body)
{
    struct conn *c = (struct conn *)x;
    if (c->state == CONN_CLOSED)
        return;
    bool keep = c->keep && c->body.done && !c->srv->draining;
    char stack[1536];
    struct buf head = {.p = stack, .cap = sizeof stack};
    if (fields.n > sizeof stack - 256)
        head = (struct buf){0};
    http1_add_status(&head, status);
    buf_add_str(&head, fields);
    if (status != 204 && status != 304) {
        buf_add(&head, "Content-Length: ", 16);
        buf_add_u64(&head, body.n);
        buf_add(&head, "\r\n", 2);
    }
    buf_adds(&head, keep ? (c->http10 ? "Connection: keep-alive\r\n\r\n" : "\r\n")
                         : "Connection: close\r\n\r\n");
    metric_count_status(status);
    c->keep = keep;
    if (c->is_head || status == 204)
        body.n = 0;
    bool alive = write_now(c, buf_str(&head), body);
    if (head.p != stack)
        buf_fini(&head);
    if (alive)
        request_done(c);
}

static void op_stream_begin(struct exchange *x, struct str fields)
{
    struct conn *c = (struct conn *)x;
    metric_count_status(200);
    if (c->state == CONN_CLOSED)
        return;
    metric_add(metric_of(M_OPEN_STREAMS), 1);
    http1_add_status(&c->out, 200);
    buf_add_str(&c->out, fields);
    if (c->http10)
        c->keep = false;
    else
        buf_adds(&c->out, "Transfer-Encoding: chunked\r\n");
    if (c->srv->draining)
        c->keep = false;
    buf_adds(&c->out, c->keep ? "\r\n" : "Connection: close\r\n\r\n");
    head_give(c);
    (void)flush(c);
}

static void on_flush(void *arg)
{
    struct conn *c = arg;
    c->flush_due = false;
    if (c->state != CONN_CLOSED)
        (void)flush(c);
}

/* Queued until the end of the turn, so that all events of one turn leave in one write. */
static bool stream_write(struct conn *c, struct str bytes)
{
    if (c->state == CONN_CLOSED)
        return false;
    if (c->out.n + bytes.n > STREAM_QUEUE_MAX && c->out.n > 0) {
        log_warn("client.too_slow", L_INT("queued_bytes", c->out.n));
        conn_close(c);
        return false;
    }
    if (!c->http10)
        buf_addf(&c->out, "%zx\r\n", bytes.n);
    buf_add_str(&c->out, bytes);
    if (!c->http10)
        buf_add(&c->out, "\r\n", 2);
    if (!c->flush_due) {
        c->flush_due = true;
        loop_defer(c->srv->shard->loop, on_flush, c);
    }
    return true;
}

static bool op_event(struct exchange *x, struct str id, struct str message)
{
    struct buf b = {0};
    sse_write(&b, (struct str){0}, id, message);
    bool ok = stream_write((struct conn *)x, buf_str(&b));
    buf_fini(&b);
    return ok;
}

static bool op_prime(struct exchange *x, struct str id, int retry_ms)
{
    struct buf b = {0};
    buf_addf(&b, "retry: %d\n", retry_ms);
    if (id.n)
        sse_write(&b, (struct str){0}, id, (struct str){0});
    else
        buf_addc(&b, '\n');
    bool ok = stream_write((struct conn *)x, buf_str(&b));
    buf_fini(&b);
    return ok;
}

static bool op_endpoint(struct exchange *x, struct str reference)
{
    struct buf b = {0};
    sse_write(&b, STR("endpoint"), (struct str){0}, reference);
    bool ok = stream_write((struct conn *)x, buf_str(&b));
    buf_fini(&b);
    return ok;
}

static bool op_beat(struct exchange *x)
{
    struct buf b = {0};
    sse_write_comment(&b);
    bool ok = stream_write((struct conn *)x, buf_str(&b));
    buf_fini(&b);
    return ok;
}

static void op_stream_end(struct exchange *x)
{
    struct conn *c = (struct conn *)x;
    if (c->state == CONN_CLOSED)
        return;
    metric_add(metric_of(M_OPEN_STREAMS), -1);
    if (!c->http10)
        buf_adds(&c->out, "0\r\n\r\n");
    c->x.streaming = false;
    if (flush(c))
        request_done(c);
}

static void on_moved(void *arg)
{
    struct conn *c = arg;
    conn_hook(c, c->x.shard->http);
    routes_on_request(&c->x);
}

static void op_move(struct exchange *x, struct shard *to)
{
    struct conn *c = (struct conn *)x;
    conn_unhook(c);
    x->shard = to;
    x->on_closed = NULL;
    loop_post(to->loop, on_moved, c);
}

static void op_take_body(struct exchange *x, struct buf *out)
{
    struct conn *c = (struct conn *)x;
    struct buf *from = c->body.framing == HTTP1_CHUNKED ? &c->decoded : &c->in;
    *out = *from;
    *from = (struct buf){0};
}

static void op_hold(struct exchange *x)
{
    struct conn *c = (struct conn *)x;
    timer_clear(&c->deadline);
    event_del(&c->rd);
    c->rd_off = true;
}

static void op_resume(struct exchange *x)
{
    struct conn *c = (struct conn *)x;
    if (c->state != CONN_BODY)
        return;
    event_add(&c->rd, NULL);
    c->rd_off = false;
    begin_body(c);
}

static const struct exchange_ops http1_ops = {
    .reply = op_reply,
    .stream_begin = op_stream_begin,
    .event = op_event,
    .prime = op_prime,
    .beat = op_beat,
    .endpoint = op_endpoint,
    .stream_end = op_stream_end,
    .move = op_move,
    .take_body = op_take_body,
    .hold = op_hold,
    .resume = op_resume,
};

/* ---- reading ---- */

/* Answers what is no request at all, and closes. */
static void refuse(struct conn *c, int status, const char *reason, const char *why)
{
    metric_add(metric_series(&metric_rows[M_GUARD_REJECT], reason, NULL), 1);
    log_debug("http.refused", L_INT("status", status), L_STR("error", why));
    struct buf body = {0};
    buf_adds(&body, "{\"error\":");
    json_write_str(&body, str_of(reason));
    buf_adds(&body, ",\"message\":");
    json_write_str(&body, str_of(why));
    buf_adds(&body, "}");
    c->keep = false;
    exchange_reply_json(&c->x, status, buf_str(&body));
    buf_fini(&body);
}

static void dispatch(struct conn *c)
{
    c->state = CONN_BUSY;
    timer_clear(&c->deadline);
    routes_on_request(&c->x);
}

/* Continues with the body; dispatches when it is whole. */
static void process_body(struct conn *c)
{
    struct err e;
    struct shard *s = c->srv->shard;
    while (!c->body.done && c->head_len + c->body_seen < c->in.n) {
        size_t used = 0;
        struct str data;
        const char *p = c->in.p + c->head_len + c->body_seen;
        if (!http1_body_feed(&c->body, p, c->in.n - c->head_len - c->body_seen, &used, &data, &e)) {
            refuse(c, e.kind == ERR_TOO_LARGE ? 413 : 400, err_kind_name(e.kind), e.msg);
            return;
        }
        c->body_seen += used;
        if (c->body.framing == HTTP1_CHUNKED && data.n) {
            buf_add_str(&c->decoded, data);
            charge(c, (int64_t)(c->decoded.cap + c->in.cap));
        }
    }
    if (!c->body.done) {
        if (atomic_load(&s->gw->buffered_bytes) > (int64_t)s->config->max_buffered_bytes)
            refuse(c, 503, "overloaded", "the gateway's buffers are full, try again");
        return;
    }
    c->x.body = c->body.framing == HTTP1_CHUNKED
                    ? buf_str(&c->decoded)
                    : (struct str){c->in.p + c->head_len, c->body_seen};
    /* in may have moved since the head was parsed: its slices are made anew when that can be */
    if (c->head->method.p != c->in.p) {
        int status = 0;
        (void)http1_parse_request(c->in.p, c->head_len, c->head, &(size_t){0}, &status, &e);
    }
    dispatch(c);
}

static void head_done(struct conn *c)
{
    struct shard *s = c->srv->shard;
    c->keep = c->head->keep_alive;
    c->is_head = str_eq(c->head->method, STR("HEAD"));
    c->http10 = c->head->minor == 0;
    c->x.head = c->head;
    c->body_seen = 0;
    /* Between replicas a client's request comes with its wrapping. */
    size_t max = s->config->max_body_bytes + (c->x.link_listener ? ENVELOPE_OVERHEAD : 0);
    http1_body_init(&c->body, c->head, max);
    c->state = CONN_BODY;
    if (c->head->framing == HTTP1_LENGTH && c->head->content_length > max) {
        refuse(c, 413, "too_large", "the body is larger than maxBodyBytes");
        return;
    }
    routes_on_head(&c->x);
    if (c->state == CONN_BODY && !c->x.answered && !c->x.held)
        begin_body(c);
}

/* The head was let in: on to what follows it. */
static void begin_body(struct conn *c)
{
    struct shard *s = c->srv->shard;
    if (c->head->framing == HTTP1_LENGTH) {
        size_t total = c->head_len + (size_t)c->head->content_length;
        if (c->head->content_length > CHARGE_FROM)
            charge(c, (int64_t)total);
        if (total > c->in.n)
            (void)buf_reserve(&c->in, total - c->in.n);
    }
    if (c->head->expect_continue && !c->body.done && c->in.n == c->head_len) {
        if (!write_now(c, STR("HTTP/1.1 100 Continue\r\n\r\n"), (struct str){0}))
            return;
    }
    deadline(c, s->config->body_ms);
    process_body(c);
}

static void process(struct conn *c)
{
    struct err e;
    int status = 400;
    if (c->state == CONN_BODY) {
        process_body(c);
        return;
    }
    if (c->state == CONN_IDLE) {
        c->state = CONN_HEAD;
        deadline(c, c->srv->shard->config->header_ms);
    }
    if (!c->head)
        c->head = head_take(c->srv);
    switch (http1_parse_request(c->in.p, c->in.n, c->head, &c->head_len, &status, &e)) {
    case HTTP1_MORE: head_give(c); break;
    case HTTP1_DONE: head_done(c); break;
    case HTTP1_BAD:
        c->body = (struct http1_body){0};
        refuse(c, status, err_kind_name(e.kind), e.msg);
        break;
    }
}

static void read_ahead(struct conn *c, const char *p, size_t n)
{
    buf_add(&c->ahead, p, n);
    if (c->ahead.n > AHEAD_MAX) {
        event_del(&c->rd);
        c->rd_off = true;
    }
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct conn *c = arg;
    struct shard *s = c->srv->shard;
    struct err e;
    ssize_t n = net_read(&c->ns, s->read_buf, READ_BUF_BYTES, &e);
    if (n == -1)
        return;
    if (n <= 0) {
        conn_close(c);
        return;
    }
    switch (c->state) {
    case CONN_BUSY: read_ahead(c, s->read_buf, (size_t)n); break;
    case CONN_LINGER:
        c->lingered += (size_t)n;
        if (c->lingered > LINGER_MAX)
            conn_close(c);
        break;
    case CONN_IDLE:
    case CONN_HEAD:
    case CONN_BODY:
        buf_add(&c->in, s->read_buf, (size_t)n);
        process(c);
        break;
    case CONN_CLOSED: break;
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct conn *c = arg;
    if (!flush(c) || c->out.n > 0)
        return;
    switch (c->state) {
    case CONN_LINGER: linger(c); break;
    case CONN_IDLE: deadline(c, c->srv->shard->config->keep_alive_ms); break;
    case CONN_BUSY: timer_clear(&c->deadline); break;
    case CONN_HEAD:
    case CONN_BODY:
    case CONN_CLOSED: break;
    }
}

static void on_deadline(void *arg)
{
    struct conn *c = arg;
    bool stalled = c->out.n > 0;
    if (!stalled && (c->state == CONN_HEAD || c->state == CONN_BODY))
        refuse(c, 408, "timeout", "the request did not arrive in time");
    else
        conn_close(c);
}

/* ---- accepting ---- */

struct adoption {
    struct shard *shard;
    int fd;
    enum http_listener kind;
};

static void on_adopt(void *arg)
{
    struct adoption *a = arg;
    http_server_adopt(a->shard, a->fd, a->kind);
    free(a);
}

void http_server_adopt(struct shard *s, int fd, enum http_listener kind)
{
    struct conn *c = xcalloc(1, sizeof *c);
    struct err e;
    struct net_addr local = {.len = sizeof local.ss};
    c->peer.len = sizeof c->peer.ss;
    (void)getpeername(fd, (struct sockaddr *)&c->peer.ss, &c->peer.len);
    (void)getsockname(fd, (struct sockaddr *)&local.ss, &local.len);
    if (!net_stream_init(&c->ns, fd, NULL, (struct str){0}, &e)) {
        free(c);
        return;
    }
    c->x = (struct exchange){.ops = &http1_ops,
                             .peer = &c->peer,
                             .local_listener =
                                 kind != HTTP_FOR_REPLICAS && net_addr_is_loopback(&local),
                             .admin_listener = kind == HTTP_FOR_ADMIN,
                             .link_listener = kind == HTTP_FOR_REPLICAS};
    conn_hook(c, s->http);
    deadline(c, s->config->header_ms);
}

static struct shard *least_loaded(struct gateway *gw)
{
    struct shard *best = &gw->shards[0];
    for (int i = 1; i < gw->shard_count; i++)
        if (atomic_load(&gw->shards[i].connections) < atomic_load(&best->connections))
            best = &gw->shards[i];
    return best;
}

static bool at_capacity(struct gateway *gw, int max)
{
    int all = 0;
    for (int i = 0; i < gw->shard_count; i++)
        all += atomic_load(&gw->shards[i].connections);
    return all >= max;
}

static void resume_accept(void *arg)
{
    struct listener *l = arg;
    if (l->on)
        event_add(&l->ev, NULL);
}

static void pause_accept(struct listener *l, const char *why)
{
    log_warn("http.accept_paused", L_STR("reason", why));
    event_del(&l->ev);
    timer_set(&l->pause, l->srv->shard->loop, 100, resume_accept, l);
}

static void hand_over(struct http_server *h, int fd, enum http_listener kind)
{
    /* What other replicas send is judged on one loop, which knows what it has seen. */
    struct shard *to = kind == HTTP_FOR_REPLICAS ? h->shard : least_loaded(h->shard->gw);
    int one = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (to == h->shard) {
        http_server_adopt(to, fd, kind);
        return;
    }
    struct adoption *a = xmalloc(sizeof *a);
    *a = (struct adoption){to, fd, kind};
    loop_post(to->loop, on_adopt, a);
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct listener *l = arg;
    struct shard *s = l->srv->shard;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        if (at_capacity(s->gw, s->config->max_connections)) {
            pause_accept(l, "maxConnections reached");
            return;
        }
        struct sockaddr_storage from;
        socklen_t from_len = sizeof from;
        int c = accept4(fd, (struct sockaddr *)&from, &from_len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (c >= 0) {
            hand_over(l->srv, c, l->kind);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accept(l, "out of file descriptors or memory");
            return;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        }
    }
}

void http_server_listen(struct http_server *h, int fd, enum http_listener kind)
{
    assert(h->listeners < (int)(sizeof h->listener / sizeof *h->listener));
    struct listener *l = &h->listener[h->listeners++];
    *l = (struct listener){.srv = h, .fd = fd, .kind = kind, .on = true};
    event_assign(&l->ev, loop_base(h->shard->loop), fd, EV_READ | EV_PERSIST, on_accept, l);
    event_add(&l->ev, NULL);
}

static void unlisten(struct http_server *h, bool replicas_too)
{
    for (int i = 0; i < h->listeners; i++) {
        struct listener *l = &h->listener[i];
        if (!l->on || (l->kind == HTTP_FOR_REPLICAS && !replicas_too))
            continue;
        on_accept(l->fd, EV_READ, l);
        l->on = false;
        timer_clear(&l->pause);
        event_del(&l->ev);
    }
}

void http_server_unlisten(struct http_server *h)
{
    unlisten(h, false);
}

struct http_server *http_server_new(struct shard *s)
{
    struct http_server *h = xcalloc(1, sizeof *h);
    h->shard = s;
    TAILQ_INIT(&h->conns);
    return h;
}

void http_server_drain(struct http_server *h)
{
    h->draining = true;
    struct conn *c, *next;
    for (c = TAILQ_FIRST(&h->conns); c; c = next) {
        next = TAILQ_NEXT(c, link);
        if (c->state == CONN_IDLE && c->in.n == 0 && c->out.n == 0)
            conn_close(c);
    }
}

void http_server_cut(struct http_server *h)
{
    while (!TAILQ_EMPTY(&h->conns))
        conn_close(TAILQ_FIRST(&h->conns));
}

void http_server_free(struct http_server **hp)
{
    struct http_server *h = *hp;
    if (!h)
        return;
    unlisten(h, true);
    http_server_cut(h);
    while (h->free_head_count)
        free(h->free_heads[--h->free_head_count]);
    loop_defer_free(h->shard->loop, h);
    *hp = NULL;
}
