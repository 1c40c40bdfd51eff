/* The HTTP+SSE transport towards servers (MCP 2024-11-05 basic/transports): one long GET, whose
 * first event names the place to POST to; everything that the server says comes on that stream.
 *
 * POSTs go on connections of their own and may overtake each other, so what is said without an
 * answer (notifications, responses) is acknowledged before anything that follows it is sent: the
 * server hears `initialized` before it is asked. */
#include "gateway/usession.h"

#include <stdlib.h>

enum {
    ENDPOINT_MS = 10000,
    PING_EVERY_MS = 30000,
    PING_MS = 10000,
    QUEUE_MAX = 32 * 1024 * 1024,
};

struct sse_pipe {
    struct pipe pipe;
    struct usession *us; /* NULL once stopped */
    struct loop *loop;
    struct hreq *stream;
    char *endpoint; /* request target; NULL until it was named */
    TAILQ_HEAD(, post) posts;
    size_t queued_bytes;
    struct timer timer; /* waits for the endpoint, then for the next ping */
    struct err why;
};

/* One message on its way. */
struct post {
    struct sse_pipe *p;
    struct hreq *http; /* NULL: waits */
    uint64_t id;       /* of the request that it is; 0 for others */
    bool taken;
    struct buf body; /* while it waits */
    TAILQ_ENTRY(post) link;
};

static void post_free(struct post *o)
{
    struct sse_pipe *p = o->p;
    TAILQ_REMOVE(&p->posts, o, link);
    p->queued_bytes -= o->body.n;
    hreq_cancel(&o->http);
    buf_fini(&o->body);
    loop_defer_free(p->loop, o);
}

static void broken(struct sse_pipe *p, const struct err *e)
{
    if (p->us)
        usession_broken(p->us, e); /* stops us */
}

static void on_broken_soon(void *arg)
{
    struct sse_pipe *p = arg;
    broken(p, &p->why);
}

/* ---- what goes out ---- */

static void send_waiting(struct sse_pipe *p);

static bool post_head(struct hreq *h, const struct http1_head *head, void *arg)
{
    (void)h;
    struct post *o = arg;
    struct sse_pipe *p = o->p;
    struct err e;
    o->taken = head->status >= 200 && head->status < 300;
    if (o->taken) {
        send_waiting(p);
        return false;
    }
    uint64_t id = o->id;
    upstream_status_error(p->us->up, head->status, &e);
    post_free(o);
    if (head->status == 404 || head->status == 410)
        broken(p, &e); /* it does not know this stream any more */
    else if (id)
        usession_refused(p->us, id, &e);
    else
        log_debug("upstream.notice_lost", L_STR("upstream", p->us->up->cfg->name), L_ERR(&e));
    if (p->us)
        send_waiting(p);
    return false;
}

static void post_message(struct hreq *h, struct str text, void *arg)
{
    (void)h;
    (void)text;
    (void)arg;
}

static void post_end(struct hreq *h, const struct err *e, void *arg)
{
    (void)h;
    struct post *o = arg;
    struct sse_pipe *p = o->p;
    bool taken = o->taken;
    o->http = NULL;
    post_free(o);
    if (!taken && e)
        broken(p, e);
}

static const struct hreq_ops post_ops = {
    .on_head = post_head, .on_message = post_message, .on_end = post_end};

static void send_waiting(struct sse_pipe *p)
{
    struct post *o;
    TAILQ_FOREACH (o, &p->posts, link) {
        if (!o->http) {
            struct hreq_spec spec = {
                .method = "POST", .target = p->endpoint, .body = buf_str(&o->body)};
            o->http = hreq_start(p->us->pool, &spec, &post_ops, o);
            p->queued_bytes -= o->body.n;
            buf_fini(&o->body);
        }
        if (o->id == 0 && !o->taken)
            return;
    }
}

static void sse_pipe_write(struct pipe *pipe, uint64_t id, struct str message)
{
    struct sse_pipe *p = (struct sse_pipe *)pipe;
    if (p->queued_bytes + message.n > QUEUE_MAX) {
        (void)err_set(&p->why, ERR_UNAVAILABLE, "upstream %s does not take its messages",
                      p->us->up->cfg->name);
        timer_set(&p->timer, p->loop, 0, on_broken_soon, p);
        return;
    }
    struct post *o = xcalloc(1, sizeof *o);
    o->p = p;
    o->id = id;
    buf_add_str(&o->body, message);
    p->queued_bytes += message.n;
    TAILQ_INSERT_TAIL(&p->posts, o, link);
    send_waiting(p);
}

/* ---- what comes in ---- */

static void on_pong(struct urequest *r, const struct rpc_msg *m, const struct err *e)
{
    (void)m;
    if (e && r->us->state == US_READY)
        usession_broken(r->us, e);
}

/* A stream that nobody ends any more looks like one on which nothing happens. */
static void on_ping(void *arg)
{
    struct sse_pipe *p = arg;
    timer_set(&p->timer, p->loop, PING_EVERY_MS, on_ping, p);
    if (p->us->state == US_READY)
        (void)urequest_own(p->us->up, p->us, STR("ping"), (struct str){0}, PING_MS, on_pong, NULL);
}

static bool stream_head(struct hreq *h, const struct http1_head *head, void *arg)
{
    (void)h;
    (void)arg;
    return head->status == 200 &&
           http1_type_is(http1_value(head, STR("Content-Type")), STR("text/event-stream"));
}

static void stream_message(struct hreq *h, struct str text, void *arg)
{
    (void)h;
    struct sse_pipe *p = arg;
    struct err e;
    if (p->us && p->endpoint && !upstream_message(p->us->up, p->us, NULL, text, &e))
        log_warn("upstream.bad_message", L_STR("upstream", p->us->up->cfg->name), L_ERR(&e));
}

static void stream_event(struct hreq *h, struct str type, struct str data, void *arg)
{
    (void)h;
    struct sse_pipe *p = arg;
    struct http1_url base;
    struct buf target = {0};
    struct err e;
    if (!p->us || p->endpoint || !str_eq(type, STR("endpoint")))
        return;
    const struct mount_config *m = p->us->up->cfg;
    if (http1_parse_url(str_of(m->url), &base, &e) &&
        http1_resolve(&base, str_trim(data), &target, &e)) {
        p->endpoint = xmemdup0(target.p, target.n);
        timer_set(&p->timer, p->loop, PING_EVERY_MS, on_ping, p);
        usession_pipe_open(p->us);
    } else {
        (void)err_set(&e, ERR_BAD_UPSTREAM,
                      "upstream %s named an endpoint that is not of its own origin", m->name);
        broken(p, &e);
    }
    buf_fini(&target);
}

static void stream_end(struct hreq *h, const struct err *e, void *arg)
{
    struct sse_pipe *p = arg;
    int status = hreq_status(h);
    struct err mine;
    p->stream = NULL;
    const char *name = p->us->up->cfg->name;
    if (e) {
        (void)err_set(&mine, e->kind, "upstream %s: %s", name, e->msg);
    } else if (p->endpoint) {
        (void)err_set(&mine, ERR_UNAVAILABLE, "upstream %s ended its stream", name);
    } else if (status == 401 || status == 403 || status >= 500) {
        upstream_status_error(p->us->up, status, &mine);
    } else {
        (void)err_set(&mine, ERR_BAD_UPSTREAM,
                      "upstream %s speaks neither streamable HTTP nor HTTP+SSE at this URL (GET "
                      "answered HTTP %d)",
                      name, status);
    }
    broken(p, &mine);
}

static const struct hreq_ops stream_ops = {.on_head = stream_head,
                                           .on_message = stream_message,
                                           .on_event = stream_event,
                                           .on_end = stream_end};

static void on_no_endpoint(void *arg)
{
    struct sse_pipe *p = arg;
    struct err e;
    (void)err_set(&e, ERR_TIMEOUT, "upstream %s named no endpoint in time", p->us->up->cfg->name);
    broken(p, &e);
}

/* ---- life ---- */

static void sse_pipe_destroy(void *arg)
{
    struct sse_pipe *p = arg;
    free(p->endpoint);
    free(p);
}

static void sse_pipe_stop(struct pipe *pipe)
{
    struct sse_pipe *p = (struct sse_pipe *)pipe;
    p->us = NULL;
    timer_clear(&p->timer);
    hreq_cancel(&p->stream);
    while (!TAILQ_EMPTY(&p->posts))
        post_free(TAILQ_FIRST(&p->posts));
    loop_defer(p->loop, sse_pipe_destroy, p);
}

struct pipe *sse_start(struct usession *us)
{
    static const struct pipe_ops ops = {sse_pipe_write, sse_pipe_stop};
    struct sse_pipe *p = xcalloc(1, sizeof *p);
    p->pipe.ops = &ops;
    p->us = us;
    p->loop = us->up->shard->loop;
    TAILQ_INIT(&p->posts);
    timer_set(&p->timer, p->loop, ENDPOINT_MS, on_no_endpoint, p);
    p->stream = hreq_start(us->pool, &(struct hreq_spec){.method = "GET"}, &stream_ops, p);
    return &p->pipe;
}
