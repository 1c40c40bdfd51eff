/* See mcp_stdio.h. Reading pauses while the client does not read: what it asks for is bounded by
 * what it takes. Files and /dev/null cannot be polled: they are read a piece a turn. */
#include "gateway/mcp_stdio.h"

#include "base/line_reader.h"
#include "gateway/channel.h"
#include "gateway/jsonrpc.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    PAUSE_AT = 1024 * 1024,        /* queued bytes from which on nothing is read */
    GIVE_UP_AT = 64 * 1024 * 1024, /* and from which on the client counts as gone */
    LAST_WRITE_MS = 2000,
};

struct mcp_stdio {
    struct channel ch;
    struct event rd, wr;
    struct timer again; /* in the place of rd, for what cannot be polled */
    struct line_reader lines;
    struct buf out;
    int in_flags, out_flags; /* as they were */
    bool polled, reading, wr_on, gone, flush_due;
};

static void on_readable(evutil_socket_t fd, short what, void *arg);

static void on_again(void *arg)
{
    on_readable(STDIN_FILENO, EV_READ, arg);
}

static void want_read(struct mcp_stdio *io, bool on)
{
    if (on == io->reading)
        return;
    io->reading = on;
    if (!io->polled && on)
        timer_set(&io->again, io->ch.shard->loop, 0, on_again, io);
    else if (!io->polled)
        timer_clear(&io->again);
    else if (on)
        event_add(&io->rd, NULL);
    else
        event_del(&io->rd);
}

static void on_drain(void *arg)
{
    struct gateway *gw = arg;
    if (!atomic_load(&gw->draining)) /* a second call would not wait */
        gateway_drain(gw);
}

/* Nothing more comes in; what runs is answered, and then the process ends. */
static void finish(struct mcp_stdio *io)
{
    struct gateway *gw = io->ch.shard->gw;
    want_read(io, false);
    loop_post(gw->control.loop, on_drain, gw);
}

/* Nobody reads the answers. */
static void client_gone(void *arg)
{
    struct mcp_stdio *io = arg;
    if (io->gone)
        return;
    io->gone = true;
    event_del(&io->wr);
    buf_fini(&io->out);
    channel_end(&io->ch);
    finish(io);
}

/* ---- out ---- */

static void flush(struct mcp_stdio *io)
{
    size_t done = 0;
    while (done < io->out.n) {
        ssize_t n = write(STDOUT_FILENO, io->out.p + done, io->out.n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno != EAGAIN) {
            loop_defer(io->ch.shard->loop, client_gone, io);
            break;
        }
        if (n < 0)
            break;
        done += (size_t)n;
    }
    buf_drop(&io->out, done);
    if (io->out.n == 0 && io->out.cap > PAUSE_AT)
        buf_fini(&io->out);
    if (io->wr_on != (io->out.n > 0)) {
        io->wr_on = io->out.n > 0;
        if (io->wr_on)
            event_add(&io->wr, NULL);
        else
            event_del(&io->wr);
    }
    if (!atomic_load(&io->ch.shard->gw->draining))
        want_read(io, io->out.n < PAUSE_AT);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    flush(arg);
}

static void on_flush(void *arg)
{
    struct mcp_stdio *io = arg;
    io->flush_due = false;
    if (!io->gone)
        flush(io);
}

static bool on_send(struct channel *ch, struct str message, bool answer)
{
    struct mcp_stdio *io = (struct mcp_stdio *)ch;
    (void)answer;
    if (io->gone || ch->closed)
        return false;
    size_t start = io->out.n;
    buf_add_str(&io->out, message);
    /* Newlines can only be whitespace between tokens, since strings escape them. */
    for (size_t i = start; i < io->out.n; i++)
        if (io->out.p[i] == '\n' || io->out.p[i] == '\r')
            io->out.p[i] = ' ';
    buf_addc(&io->out, '\n');
    if (io->out.n > GIVE_UP_AT) {
        log_warn("client.too_slow", L_INT("queued_bytes", io->out.n));
        loop_defer(ch->shard->loop, client_gone, io);
    } else if (!io->flush_due) {
        io->flush_due = true;
        loop_defer(ch->shard->loop, on_flush, io);
    }
    return true;
}

static void on_idle(struct channel *ch)
{
    (void)ch;
}

/* ---- in ---- */

static bool on_line(struct str line, bool too_long, void *arg)
{
    struct mcp_stdio *io = arg;
    struct buf b = {0};
    if (!too_long) {
        channel_take(&io->ch, line, NULL);
        return !io->gone;
    }
    rpc_error(&b, (struct str){0}, RPC_INVALID_REQUEST,
              STR("the message is larger than maxBodyBytes"), (struct str){0});
    (void)on_send(&io->ch, buf_str(&b), true);
    buf_fini(&b);
    return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct mcp_stdio *io = arg;
    struct shard *s = io->ch.shard;
    ssize_t n = read(fd, s->read_buf, READ_BUF_BYTES);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        n = -1;
    else if (n <= 0) {
        line_reader_end(&io->lines, on_line, io);
        finish(io);
        return;
    }
    if (n > 0 && !line_reader_feed(&io->lines, s->read_buf, (size_t)n, on_line, io))
        return;
    if (!io->polled && io->reading)
        timer_set(&io->again, s->loop, n > 0 ? 0 : 1, on_again, io);
}

/* ---- life ---- */

static int set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    (void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    return flags;
}

struct mcp_stdio *mcp_stdio_start(struct shard *s)
{
    static const struct channel_ops ops = {on_send, on_idle};
    struct mcp_stdio *io = xcalloc(1, sizeof *io);
    struct event_base *base = loop_base(s->loop);
    struct principal *who = principal_anonymous();
    channel_init(&io->ch, &ops, s, who);
    principal_unref(&who);
    io->lines.max = s->config->max_body_bytes;
    io->in_flags = set_nonblocking(STDIN_FILENO);
    io->out_flags = set_nonblocking(STDOUT_FILENO);
    event_assign(&io->rd, base, STDIN_FILENO, EV_READ | EV_PERSIST, on_readable, io);
    event_assign(&io->wr, base, STDOUT_FILENO, EV_WRITE | EV_PERSIST, on_writable, io);
    io->polled = event_add(&io->rd, NULL) == 0;
    if (io->polled)
        io->reading = true;
    else
        want_read(io, true);
    return io;
}

static void write_rest(struct mcp_stdio *io)
{
    struct pollfd p = {STDOUT_FILENO, POLLOUT, 0};
    size_t done = 0;
    while (done < io->out.n && poll(&p, 1, LAST_WRITE_MS) > 0) {
        ssize_t n = write(STDOUT_FILENO, io->out.p + done, io->out.n - done);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            break;
        done += n > 0 ? (size_t)n : 0;
    }
}

void mcp_stdio_stop(struct mcp_stdio **iop)
{
    struct mcp_stdio *io = *iop;
    *iop = NULL;
    if (!io)
        return;
    want_read(io, false);
    event_del(&io->wr);
    channel_end(&io->ch);
    write_rest(io);
    (void)fcntl(STDIN_FILENO, F_SETFL, io->in_flags);
    (void)fcntl(STDOUT_FILENO, F_SETFL, io->out_flags);
    channel_fini(&io->ch);
    line_reader_fini(&io->lines);
    buf_fini(&io->out);
    loop_defer_free(io->ch.shard->loop, io);
}
