/* See upstream_http.h. A connection carries one request at a time; answers are parsed where they
 * were read, and only what is incomplete is kept. What a callback closes is freed at the end of the
 * turn, so that the reader can look once more. */
#include "gateway/upstream_http.h"

#include "base/clock.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <unistd.h>

enum {
    IDLE_MS = 4000,
    REST_MS = 5,
    MAX_CONNS = 4096,
    TOKEN_MAX = 16 * 1024,
    TOKEN_RECHECK_MS = 5000,
    MAX_1XX = 8,
    MAX_ADDRS = 8
};

struct uconn {
    struct http_pool *pool;
    struct net_stream ns;
    struct event rd, wr;
    struct hreq *cur;
    struct buf in;
    size_t sent; /* of cur->out */
    struct timer idle;
    int64_t idle_at_ms;
    bool connected, reused, closed, wr_on;
    TAILQ_ENTRY(uconn) link; /* in pool->idle or pool->busy */
};
TAILQ_HEAD(uconn_list, uconn);

struct hreq {
    struct http_pool *pool;
    struct uconn *conn;
    const struct hreq_ops *ops;
    void *arg;
    struct buf out; /* head and body, until the answer begins */
    bool safe, lines, resent, wrote, good, ended, head_seen, is_sse, deaf, keep;
    int status, interim;
    struct http1_body body;
    struct sse_reader sse;
    struct buf text;
    struct net_lookup *lookup;
    struct net_addr *addrs; /* until it is connected */
    size_t addr_count, addr_at;
    struct timer connect_timer;
    struct err *fail; /* of fail_soon */
    TAILQ_ENTRY(hreq) link;
};

struct http_pool {
    struct shard *shard;
    const struct mount_config *cfg;
    struct mount_credential as; /* borrowed from cfg */
    char *host;
    uint16_t port;
    struct tls_ctx *tls;
    char *target;
    struct buf common; /* header lines of every request; Host comes first */
    size_t host_len;
    char *token; /* from the token file */
    int64_t token_at_ms;
    struct uconn_list idle, busy;
    TAILQ_HEAD(, hreq) reqs;
    int conns;
    struct http1_head *head; /* scratch for parsing */
};

static void connect_next(struct hreq *h, const struct err *why);

/* ---- ends ---- */

static void uconn_destroy(void *arg)
{
    struct uconn *c = arg;
    buf_fini(&c->in);
    free(c);
}

static void uconn_close(struct uconn *c)
{
    struct http_pool *p = c->pool;
    if (c->closed)
        return;
    c->closed = true;
    event_del(&c->rd);
    event_del(&c->wr);
    timer_clear(&c->idle);
    net_stream_close(&c->ns);
    if (c->cur)
        c->cur->conn = NULL;
    TAILQ_REMOVE(c->cur ? &p->busy : &p->idle, c, link);
    c->cur = NULL;
    p->conns--;
    loop_defer(p->shard->loop, uconn_destroy, c);
}

static void hreq_destroy(void *arg)
{
    struct hreq *h = arg;
    buf_fini(&h->out);
    buf_fini(&h->text);
    sse_fini(&h->sse);
    free(h->addrs);
    free(h->fail);
    free(h);
}

/* Unhooks the request from everything; its memory lives until the end of the turn. */
static void hreq_drop(struct hreq *h)
{
    if (h->ended)
        return;
    h->ended = true;
    timer_clear(&h->connect_timer);
    if (h->lookup)
        net_lookup_cancel(&h->lookup);
    if (h->conn)
        uconn_close(h->conn);
    TAILQ_REMOVE(&h->pool->reqs, h, link);
    loop_defer(h->pool->shard->loop, hreq_destroy, h);
}

static void hreq_end(struct hreq *h, const struct err *e)
{
    if (h->ended)
        return;
    struct err copy;
    if (e) {
        copy = *e;
        e = &copy;
    }
    hreq_drop(h);
    h->ops->on_end(h, e, h->arg);
}

void hreq_cancel(struct hreq **h)
{
    if (*h)
        hreq_drop(*h);
    *h = NULL;
}

void hreq_rest(struct hreq *h)
{
    sse_rest(&h->sse);
    if (h->conn && h->conn->in.n == 0)
        buf_fini(&h->conn->in);
}

void hreq_good(struct hreq *h)
{
    h->good = true;
}

bool hreq_wrote(const struct hreq *h)
{
    return h->wrote;
}

int hreq_status(const struct hreq *h)
{
    return h->status;
}

static void on_idle(void *arg)
{
    uconn_close(arg);
}

static void on_deferred_fail(void *arg)
{
    struct hreq *h = arg;
    hreq_end(h, h->fail);
}

/* Fails later in this turn: never before hreq_start has returned. */
static void fail_soon(struct hreq *h, const struct err *e)
{
    if (!h->fail)
        h->fail = xmalloc(sizeof *h->fail);
    *h->fail = *e;
    timer_set(&h->connect_timer, h->pool->shard->loop, 0, on_deferred_fail, h);
}

/* ---- writing ---- */

static void want_write(struct uconn *c, bool on)
{
    if (on == c->wr_on)
        return;
    c->wr_on = on;
    if (on)
        event_add(&c->wr, NULL);
    else
        event_del(&c->wr);
}

/* The connection broke before the answer began. Sends again where that is safe, else ends the
 * request. */
static void broken(struct uconn *c, const struct err *e)
{
    struct hreq *h = c->cur;
    /* Nothing was answered: a read goes again once; anything else only if not a byte of it was
     * sent. */
    bool silent = h && !h->head_seen && c->in.n == 0;
    bool again = silent && c->connected && !h->resent && (h->safe || (c->reused && c->sent == 0));
    bool connecting = h && !c->connected;
    uconn_close(c);
    if (!h)
        return;
    if (again) {
        h->resent = true;
        h->addr_at = 0;
        connect_next(h, NULL);
        return;
    }
    if (connecting && h->addr_at < h->addr_count)
        connect_next(h, e);
    else
        fail_soon(h, e); /* hreq_start may still be on the stack */
}

static void send_more(struct uconn *c)
{
    struct hreq *h = c->cur;
    struct err e = {0};
    while (c->sent < h->out.n) {
        struct iovec iov = {h->out.p + c->sent, h->out.n - c->sent};
        ssize_t n = net_writev(&c->ns, &iov, 1, &e);
        if (n == -1)
            break;
        if (n < 0) {
            broken(c, &e);
            return;
        }
        c->sent += (size_t)n;
        h->wrote = true;
    }
    if (!c->connected && c->sent > 0) {
        c->connected = true;
        timer_clear(&h->connect_timer);
    }
    want_write(c, c->sent < h->out.n && !c->ns.want_read);
}

/* ---- reading ---- */

static void on_sse_event(const struct sse_event *ev, void *arg)
{
    struct hreq *h = arg;
    if (!h->ended && h->ops->on_note)
        h->ops->on_note(h, ev, h->arg);
    if (h->ended || ev->data.n == 0)
        return;
    if (ev->type.n == 0 || str_eq(ev->type, STR("message")))
        h->ops->on_message(h, ev->data, h->arg);
    else if (h->ops->on_event)
        h->ops->on_event(h, ev->type, ev->data, h->arg);
}

/* Messages of a JSON answer that is a line each. */
static bool take_lines(struct hreq *h, struct str data, size_t max, struct err *e)
{
    size_t at = 0;
    if (h->text.n + data.n > max)
        return err_set(e, ERR_TOO_LARGE, "the upstream's answer is larger than maxMessageBytes");
    buf_add_str(&h->text, data);
    while (at < h->text.n && !h->ended) {
        const char *start = h->text.p + at, *nl = memchr(start, '\n', h->text.n - at);
        if (!nl && !h->body.done)
            break;
        struct str line = {start, nl ? (size_t)(nl - start) : h->text.n - at};
        at += line.n + (nl ? 1 : 0);
        if (str_trim(line).n)
            h->ops->on_message(h, line, h->arg);
    }
    buf_drop(&h->text, at);
    return true;
}

static bool take_data(struct hreq *h, struct str data, struct err *e)
{
    size_t max = h->pool->shard->config->max_message_bytes;
    if (h->deaf)
        return true;
    if (h->is_sse)
        return sse_feed(&h->sse, data.p, data.n, on_sse_event, h, e);
    if (h->lines)
        return take_lines(h, data, max, e);
    if (h->body.done && h->text.n == 0) {
        if (data.n)
            h->ops->on_message(h, data, h->arg);
        return true;
    }
    if (h->text.n + data.n > max)
        return err_set(e, ERR_TOO_LARGE, "the upstream's answer is larger than maxMessageBytes");
    if (h->text.n == 0 && h->body.framing == HTTP1_LENGTH && h->body.left < max)
        (void)buf_reserve(&h->text, data.n + (size_t)h->body.left);
    buf_add_str(&h->text, data);
    if (h->body.done && h->text.n)
        h->ops->on_message(h, buf_str(&h->text), h->arg);
    return true;
}

static bool take_head(struct uconn *c, const char *p, size_t n, size_t *used, struct err *e)
{
    struct hreq *h = c->cur;
    struct http1_head *head = c->pool->head;
    switch (http1_parse_response(p, n, false, head, used, e)) {
    case HTTP1_MORE: *used = 0; return true;
    case HTTP1_BAD: e->kind = ERR_BAD_UPSTREAM; return false;
    case HTTP1_DONE: break;
    }
    if (head->status < 200) {
        if (head->status == 101 || ++h->interim > MAX_1XX)
            return err_set(e, ERR_BAD_UPSTREAM, "the upstream sent an unexpected %d answer",
                           head->status);
        return true;
    }
    h->head_seen = true;
    h->status = head->status;
    h->keep = head->keep_alive && head->framing != HTTP1_UNTIL_CLOSE;
    h->is_sse = http1_type_is(http1_value(head, STR("Content-Type")), STR("text/event-stream"));
    http1_body_init(&h->body, head,
                    h->is_sse ? UINT64_MAX : c->pool->shard->config->max_message_bytes);
    h->sse.max_event_bytes = c->pool->shard->config->max_message_bytes;
    free(h->addrs);
    h->addrs = NULL;
    if (c->sent == h->out.n) { /* an answer may come for long */
        buf_fini(&h->out);
        c->sent = 0;
    }
    h->deaf = !h->ops->on_head(h, head, h->arg);
    return true;
}

static void answer_done(struct uconn *c)
{
    struct hreq *h = c->cur;
    struct http_pool *p = c->pool;
    bool good = h->good || (h->deaf && h->status < 300);
    if (h->keep && good && c->sent == h->out.n && !c->closed) {
        TAILQ_REMOVE(&p->busy, c, link);
        TAILQ_INSERT_HEAD(&p->idle, c, link);
        c->cur = NULL;
        h->conn = NULL;
        c->reused = true;
        c->idle_at_ms = clock_ms();
        if (c->in.cap > 4096)
            buf_fini(&c->in);
    }
    hreq_end(h, NULL);
}

/* Gives bytes to the head or to the body, whichever is due; used: how many it took, data: what of
 * the body was in them. */
static bool take_bytes(struct uconn *c, struct str bytes, size_t *used, struct str *data,
                       struct err *e)
{
    struct hreq *h = c->cur;
    if (!h->head_seen)
        return take_head(c, bytes.p, bytes.n, used, e);
    if (h->body.done)
        return true;
    return http1_body_feed(&h->body, bytes.p, bytes.n, used, data, e) && take_data(h, *data, e);
}

/* Deals with bytes of the answer; returns how many it used, or -1 when the connection is done with
 * (closed or broken). */
static ssize_t consume(struct uconn *c, const char *p, size_t n)
{
    struct err e = {0};
    size_t at = 0;
    struct hreq *h = c->cur;
    while (at < n) {
        size_t used = 0;
        struct str data = {0};
        if (!take_bytes(c, (struct str){p + at, n - at}, &used, &data, &e))
            goto bad;
        if (used == 0 && !h->head_seen)
            return (ssize_t)at;
        at += used;
        if (h->ended || c->closed)
            return -1;
        if (h->head_seen && h->body.done) {
            bool extra = at < n;
            if (extra)
                h->keep = false;
            answer_done(c);
            return -1;
        }
        if (used == 0 && data.n == 0)
            return (ssize_t)at;
    }
    return (ssize_t)at;
bad:
    if (e.kind != ERR_TOO_LARGE)
        e.kind = ERR_BAD_UPSTREAM;
    uconn_close(c);
    hreq_end(h, &e);
    return -1;
}

static void on_eof(struct uconn *c, const struct err *why)
{
    struct hreq *h = c->cur;
    struct err e = {0};
    if (!h || !h->head_seen) {
        if (why)
            e = *why;
        else
            (void)err_set(&e, ERR_UNAVAILABLE,
                          "the upstream closed the connection before it answered");
        if (c->connected)
            e.kind = ERR_UNAVAILABLE;
        broken(c, &e);
        return;
    }
    bool ok = !why && http1_body_eof(&h->body, &e);
    if (ok && !h->is_sse && h->text.n && !h->deaf)
        h->ops->on_message(h, buf_str(&h->text), h->arg);
    if (h->ended)
        return;
    (void)err_set(&e, ERR_UNAVAILABLE, "the upstream broke off in the middle of its answer");
    uconn_close(c);
    hreq_end(h, ok ? NULL : &e);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct uconn *c = arg;
    char *tmp = c->pool->shard->read_buf;
    struct err e = {0};
    ssize_t n = net_read(&c->ns, tmp, READ_BUF_BYTES, &e);
    if (n == -1) {
        if (c->cur)
            send_more(c); /* a TLS handshake may have moved on */
        return;
    }
    if (n <= 0) {
        on_eof(c, n < 0 ? &e : NULL);
        return;
    }
    if (!c->cur) { /* an idle connection has nothing to say */
        uconn_close(c);
        return;
    }
    const char *p = tmp;
    size_t len = (size_t)n;
    if (c->in.n) {
        buf_add(&c->in, tmp, len);
        p = c->in.p;
        len = c->in.n;
    }
    ssize_t used = consume(c, p, len);
    if (c->closed)
        return;
    if (used < 0 || (size_t)used == len) {
        c->in.n = 0;
        if (used < 0 && c->cur == NULL)
            timer_set(&c->idle, c->pool->shard->loop, IDLE_MS, on_idle, c);
    } else if (c->in.n) {
        buf_drop(&c->in, (size_t)used);
    } else {
        buf_add(&c->in, p + used, len - (size_t)used);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct uconn *c = arg;
    if (c->cur)
        send_more(c);
    else
        want_write(c, false);
}

/* ---- connecting ---- */

static void on_connect_timeout(void *arg)
{
    struct hreq *h = arg;
    struct err e;
    (void)err_set(&e, ERR_UNAVAILABLE, "no connection to %s:%u within %d ms", h->pool->host,
                  h->pool->port,
                  h->pool->cfg->connect_ms + (h->pool->tls ? h->pool->cfg->tls_ms : 0));
    if (h->conn)
        uconn_close(h->conn);
    if (h->addr_at < h->addr_count)
        connect_next(h, &e);
    else
        hreq_end(h, &e);
}

static void attach(struct hreq *h, struct uconn *c)
{
    h->conn = c;
    c->cur = h;
    c->sent = 0;
    c->in.n = 0;
    send_more(c);
}

static struct uconn *uconn_open(struct hreq *h, const struct net_addr *a, struct err *e)
{
    struct http_pool *p = h->pool;
    if (!net_addr_allowed(a, true)) {
        (void)err_set(e, ERR_UNAVAILABLE, "%s leads to an address that is never allowed", p->host);
        return NULL;
    }
    int fd = net_connect(a, e);
    if (fd < 0)
        return NULL;
    struct uconn *c = xcalloc(1, sizeof *c);
    c->pool = p;
    if (!net_stream_init(&c->ns, fd, p->tls, str_of(p->host), e)) {
        free(c);
        return NULL;
    }
    struct event_base *base = loop_base(p->shard->loop);
    event_assign(&c->rd, base, fd, EV_READ | EV_PERSIST, on_readable, c);
    event_assign(&c->wr, base, fd, EV_WRITE | EV_PERSIST, on_writable, c);
    event_add(&c->rd, NULL);
    TAILQ_INSERT_TAIL(&p->busy, c, link);
    p->conns++;
    h->conn = c;
    c->cur = h;
    want_write(c, true);
    return c;
}

static void on_resolved(const struct net_addr *addrs, size_t n, const struct err *e, void *arg)
{
    struct hreq *h = arg;
    h->lookup = NULL;
    if (e) {
        hreq_end(h, e);
        return;
    }
    h->addr_count = n < MAX_ADDRS ? n : MAX_ADDRS;
    h->addrs = xrealloc(h->addrs, h->addr_count * sizeof *addrs);
    memcpy(h->addrs, addrs, h->addr_count * sizeof *addrs);
    connect_next(h, NULL);
}

/* Tries the next address, resolving first when there is none yet; why: how the one before
 * failed. */
static void connect_next(struct hreq *h, const struct err *why)
{
    struct http_pool *p = h->pool;
    struct err e = {0};
    if (why)
        e = *why;
    if (h->addr_count == 0 && !why) {
        h->lookup = net_resolve(p->shard->loop, str_of(p->host), p->port, on_resolved, h);
        return;
    }
    while (h->addr_at < h->addr_count) {
        if (uconn_open(h, &h->addrs[h->addr_at++], &e)) {
            int ms = p->cfg->connect_ms + (p->tls ? p->cfg->tls_ms : 0);
            timer_set(&h->connect_timer, p->shard->loop, ms, on_connect_timeout, h);
            return;
        }
    }
    hreq_end(h, &e);
}

/* ---- requests ---- */

/* The bearer token: fixed, or from the file, looked at again every few seconds so that a rotated
 * one is found. */
static const char *bearer(struct http_pool *p)
{
    const struct mount_credential *m = &p->as;
    int64_t now = clock_ms();
    if (!m->bearer_token_file)
        return m->bearer_token;
    if (p->token && now - p->token_at_ms < TOKEN_RECHECK_MS)
        return p->token;
    p->token_at_ms = now;
    int fd = open(m->bearer_token_file, O_RDONLY | O_CLOEXEC);
    char tmp[TOKEN_MAX];
    ssize_t n = fd < 0 ? -1 : read(fd, tmp, sizeof tmp);
    if (fd >= 0)
        close(fd);
    if (n < 0) {
        log_warn("upstream.token_unreadable", L_STR("upstream", p->cfg->name),
                 L_STR("file", m->bearer_token_file));
        return p->token; /* the last good one */
    }
    while (n > 0 && strchr(" \t\r\n", tmp[n - 1]))
        n--;
    free(p->token);
    p->token = xmemdup0(tmp, (size_t)n);
    crypto_wipe(tmp, sizeof tmp);
    return p->token;
}

static void write_head(struct http_pool *p, const struct hreq_spec *spec, struct buf *out)
{
    buf_adds(out, spec->method);
    buf_addc(out, ' ');
    buf_adds(out, spec->target ? spec->target : p->target);
    buf_add_str(out, STR(" HTTP/1.1\r\n"));
    buf_add_str(out, buf_str(&p->common));
    const char *token = bearer(p);
    if (token) {
        char value[TOKEN_MAX + 16];
        int n = snprintf(value, sizeof value, "Bearer %s", token);
        if (!http1_add_field(out, STR("Authorization"), (struct str){value, (size_t)n}))
            log_warn("upstream.token_unusable", L_STR("upstream", p->cfg->name));
    }
    buf_add_str(out, spec->fields);
    if (strcmp(spec->method, "POST") == 0) {
        buf_add_str(out, STR("Content-Type: application/json\r\nContent-Length: "));
        buf_add_u64(out, spec->body.n);
        buf_add_str(out, STR("\r\n"));
    }
    buf_add_str(out, STR("\r\n"));
    buf_add_str(out, spec->body);
}

/* An idle connection that the server has not ended meanwhile. Its end may lie in the socket unread;
 * under load, when a connection rests for less than REST_MS, looking is not worth a system call. */
static struct uconn *take_idle(struct http_pool *p)
{
    struct uconn *c;
    int64_t now = clock_ms();
    while ((c = TAILQ_FIRST(&p->idle))) {
        char byte;
        if (now - c->idle_at_ms >= REST_MS &&
            recv(c->ns.fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0) {
            uconn_close(c);
            continue;
        }
        TAILQ_REMOVE(&p->idle, c, link);
        TAILQ_INSERT_TAIL(&p->busy, c, link);
        timer_clear(&c->idle);
        return c;
    }
    return NULL;
}

struct hreq *hreq_start(struct http_pool *p, const struct hreq_spec *spec,
                        const struct hreq_ops *ops, void *arg)
{
    struct hreq *h = xcalloc(1, sizeof *h);
    h->pool = p;
    h->ops = ops;
    h->arg = arg;
    h->safe = spec->safe;
    h->lines = spec->lines;
    TAILQ_INSERT_TAIL(&p->reqs, h, link);
    (void)buf_reserve(&h->out, 512 + p->common.n + spec->fields.n + spec->body.n);
    write_head(p, spec, &h->out);
    struct uconn *c = take_idle(p);
    if (c) {
        attach(h, c);
    } else if (p->conns >= MAX_CONNS) {
        struct err e;
        (void)err_set(&e, ERR_UNAVAILABLE, "too many connections to upstream %s", p->cfg->name);
        fail_soon(h, &e);
    } else {
        connect_next(h, NULL);
    }
    return h;
}

/* ---- pools ---- */

static void add_host(struct http_pool *p, const struct http1_url *u)
{
    struct buf host = {0};
    bool v6 = memchr(u->host.p, ':', u->host.n) != NULL;
    buf_adds(&host, v6 ? "[" : "");
    buf_add_str(&host, u->host);
    buf_adds(&host, v6 ? "]" : "");
    if (u->has_port)
        buf_addf(&host, ":%u", u->port);
    bool ok = http1_add_field(&p->common, STR("Host"), buf_str(&host));
    buf_fini(&host);
    if (!ok)
        log_warn("upstream.host_unusable", L_STR("upstream", p->cfg->name));
}

static void add_common(struct http_pool *p)
{
    bool ok = true;
    buf_add_str(&p->common,
                STR("Accept: application/json, text/event-stream\r\nUser-Agent: headgate\r\n"));
    for (size_t i = 0; i < p->as.header_count; i++) {
        ok = http1_add_field(&p->common, str_of(p->as.headers[i].name),
                             str_of(p->as.headers[i].value)) &&
             ok;
    }
    if (!ok)
        log_warn("upstream.header_unusable", L_STR("upstream", p->cfg->name));
}

static struct http_pool *pool_new(struct shard *s, const struct mount_config *cfg,
                                  const struct mount_credential *as)
{
    struct http_pool *p = xcalloc(1, sizeof *p);
    p->shard = s;
    p->cfg = cfg;
    p->as = *as;
    p->head = xmalloc(sizeof *p->head);
    TAILQ_INIT(&p->idle);
    TAILQ_INIT(&p->busy);
    TAILQ_INIT(&p->reqs);
    return p;
}

struct http_pool *http_pool_new(struct shard *s, const struct mount_config *cfg, struct err *e)
{
    struct http1_url u;
    struct tls_ctx *tls = NULL;
    if (!http1_parse_url(str_of(cfg->url), &u, e))
        return NULL;
    if (u.https &&
        !(tls = tls_ctx_new(
              &(struct tls_options){.ca_file = cfg->ca_file, .insecure = cfg->tls_insecure}, e)))
        return NULL;
    struct http_pool *p = pool_new(s, cfg,
                                   &(struct mount_credential){
                                       .bearer_token = cfg->bearer_token,
                                       .bearer_token_file = cfg->bearer_token_file,
                                       .headers = cfg->headers,
                                       .header_count = cfg->header_count,
                                   });
    p->tls = tls;
    p->host = xmemdup0(u.host.p, u.host.n);
    p->port = u.port;
    p->target = xmemdup0(u.target.p, u.target.n);
    add_host(p, &u);
    p->host_len = p->common.n;
    add_common(p);
    return p;
}

struct http_pool *http_pool_twin(const struct http_pool *p, const struct mount_credential *own)
{
    struct http_pool *twin = pool_new(p->shard, p->cfg, own);
    twin->tls = p->tls ? tls_ctx_ref(p->tls) : NULL;
    twin->host = xstrdup(p->host);
    twin->port = p->port;
    twin->target = xstrdup(p->target);
    twin->host_len = p->host_len;
    buf_add(&twin->common, p->common.p, p->host_len);
    add_common(twin);
    return twin;
}

static void pool_destroy(void *arg)
{
    struct http_pool *p = arg;
    buf_fini(&p->common);
    tls_ctx_unref(&p->tls);
    free(p->host);
    free(p->target);
    if (p->token)
        crypto_wipe(p->token, strlen(p->token));
    free(p->token);
    free(p->head);
    free(p);
}

void http_pool_cut(struct http_pool *p)
{
    struct err e;
    (void)err_set(&e, ERR_UNAVAILABLE, "the gateway ends");
    while (!TAILQ_EMPTY(&p->reqs))
        hreq_end(TAILQ_FIRST(&p->reqs), &e);
}

void http_pool_free(struct http_pool **pp)
{
    struct http_pool *p = *pp;
    if (!p)
        return;
    *pp = NULL;
    while (!TAILQ_EMPTY(&p->reqs))
        hreq_drop(TAILQ_FIRST(&p->reqs));
    while (!TAILQ_EMPTY(&p->idle))
        uconn_close(TAILQ_FIRST(&p->idle));
    loop_defer(p->shard->loop, pool_destroy, p);
}
