/* See admin.h. The data plane's side of the control plane: one request over the private socket,
 * written anew, and its answer. */
#include "gateway/admin.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/un.h>
#include <unistd.h>

enum { FORWARD_MS = 5000 };
static const uint64_t max_answer = (uint64_t)64 << 20;

struct forward {
    struct exchange *x;
    int fd;
    struct event rd, wr;
    struct timer deadline;
    struct buf out; /* the request; sent bytes of it are gone */
    size_t sent;
    struct buf in; /* the answer's head, until it is whole */
    bool has_head;
    struct http1_head head; /* of the answer; its slices point into in */
    struct http1_body decoder;
    struct buf body;
};

/* Lets go of everything; the exchange is free for its answer. */
static void forward_end(struct forward *f)
{
    struct loop *l = f->x->shard->loop;
    f->x->on_closed = NULL;
    f->x->arg = NULL;
    timer_clear(&f->deadline);
    if (f->fd >= 0) {
        event_del(&f->rd);
        event_del(&f->wr);
        close(f->fd);
    }
    buf_fini(&f->out);
    buf_fini(&f->in);
    buf_fini(&f->body);
    loop_defer_free(l, f);
}

static void forward_fail(struct forward *f, int status, const char *why)
{
    struct exchange *x = f->x;
    struct buf body = {0};
    forward_end(f);
    buf_adds(&body, "{\"status\":\"error\",\"detail\":");
    json_write_str(&body, str_of(why));
    buf_addc(&body, '}');
    exchange_reply_json(x, status, buf_str(&body));
    buf_fini(&body);
}

static void on_client_gone(struct exchange *x)
{
    forward_end(x->arg);
}

static void on_deadline(void *arg)
{
    forward_fail(arg, 504, "the control plane did not answer in time");
}

/* ---- the answer ---- */

static void forward_done(struct forward *f)
{
    static const struct str passed[] = {{"Content-Type", 12}, {"Allow", 5}};
    struct exchange *x = f->x;
    struct buf fields = {0}, body = f->body;
    int status = f->head.status;
    for (size_t i = 0; i < sizeof passed / sizeof *passed; i++) {
        struct str value = http1_value(&f->head, passed[i]);
        if (value.p && !http1_add_field(&fields, passed[i], value))
            break; /* cannot be: the codec has admitted the value */
    }
    f->body = (struct buf){0};
    forward_end(f);
    exchange_reply(x, status, buf_str(&fields), buf_str(&body));
    buf_fini(&fields);
    buf_fini(&body);
}

static bool take_body(struct forward *f, struct str bytes, struct err *e)
{
    while (bytes.n && !f->decoder.done) {
        size_t used;
        struct str data;
        if (!http1_body_feed(&f->decoder, bytes.p, bytes.n, &used, &data, e))
            return false;
        buf_add_str(&f->body, data);
        bytes = (struct str){bytes.p + used, bytes.n - used};
    }
    return true;
}

/* More of the answer has come. */
static bool take(struct forward *f, struct str bytes, struct err *e)
{
    size_t used;
    if (f->has_head)
        return take_body(f, bytes, e);
    buf_add_str(&f->in, bytes);
    switch (http1_parse_response(f->in.p, f->in.n, false, &f->head, &used, e)) {
    case HTTP1_MORE: return true;
    case HTTP1_BAD: return false;
    case HTTP1_DONE: break;
    }
    if (f->head.status < 200)
        return err_set(e, ERR_BAD_UPSTREAM, "an interim answer");
    f->has_head = true;
    http1_body_init(&f->decoder, &f->head, max_answer);
    return take_body(f, (struct str){f->in.p + used, f->in.n - used}, e);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct forward *f = arg;
    struct err e = {0};
    char *p = f->x->shard->read_buf;
    (void)what;
    ssize_t n = recv(fd, p, READ_BUF_BYTES, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0 && !take(f, (struct str){p, (size_t)n}, &e)) {
        forward_fail(f, 502, "the control plane's answer is broken");
        return;
    }
    if (n <= 0 && (!f->has_head || !http1_body_eof(&f->decoder, &e))) {
        forward_fail(f, 502, "the control plane closed the connection");
        return;
    }
    if (f->has_head && f->decoder.done)
        forward_done(f);
}

/* ---- the request ---- */

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    struct forward *f = arg;
    (void)what;
    ssize_t n = send(fd, f->out.p + f->sent, f->out.n - f->sent, MSG_NOSIGNAL);
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR)
            forward_fail(f, 502, "the control plane takes no request");
        return;
    }
    f->sent += (size_t)n;
    if (f->sent == f->out.n)
        event_del(&f->wr);
}

/* Method, path and body; no field of the client's, so no credential either. A HEAD is a GET whose
 * body the codec drops. */
static void write_request(const struct exchange *x, struct buf *out)
{
    struct str method = str_eq(x->head->method, STR("HEAD")) ? STR("GET") : x->head->method;
    buf_add_str(out, method);
    buf_addc(out, ' ');
    buf_add_str(out, x->head->path);
    buf_addf(out, " HTTP/1.1\r\nHost: admin\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n",
             x->body.n);
    buf_add_str(out, x->body);
}

static bool forward_connect(struct forward *f, const struct admin *a)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    const char *path = a ? admin_socket(a) : NULL;
    if (!path || strlen(path) >= sizeof to.sun_path)
        return false;
    memcpy(to.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    if (connect(fd, (const struct sockaddr *)&to, sizeof to) < 0) {
        close(fd);
        return false;
    }
    f->fd = fd;
    return true;
}

void admin_forward(struct exchange *x)
{
    struct loop *l = x->shard->loop;
    struct forward *f = xcalloc(1, sizeof *f);
    f->x = x;
    f->fd = -1;
    x->arg = f;
    if (!forward_connect(f, x->shard->gw->admin)) {
        forward_fail(f, 502, "the control plane is away");
        return;
    }
    x->on_closed = on_client_gone;
    write_request(x, &f->out);
    event_assign(&f->rd, loop_base(l), f->fd, EV_READ | EV_PERSIST, on_readable, f);
    event_assign(&f->wr, loop_base(l), f->fd, EV_WRITE | EV_PERSIST, on_writable, f);
    event_add(&f->rd, NULL);
    event_add(&f->wr, NULL);
    timer_set(&f->deadline, l, FORWARD_MS, on_deadline, f);
}
