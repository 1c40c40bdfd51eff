/* See lines.h. */
#include "gateway/lines.h"

#include "base/line_reader.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <unistd.h>

enum { QUEUE_MAX = 32 * 1024 * 1024, READ_BYTES = 64 * 1024 };

struct lines {
    struct loop *loop;
    const struct lines_ops *ops; /* NULL once ended or freed */
    void *arg;
    int in, out;
    bool wr_on;
    struct event rd, wr;
    struct buf queue;
    struct line_reader reader;
};

static void end(struct lines *l, const char *what)
{
    const struct lines_ops *ops = l->ops;
    l->ops = NULL;
    if (ops)
        ops->end(what, l->arg);
}

static bool on_line(struct str text, bool too_long, void *arg)
{
    struct lines *l = arg;
    if (too_long)
        end(l, "a line is longer than maxMessageBytes");
    else
        l->ops->line(text, l->arg);
    return l->ops != NULL;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct lines *l = arg;
    char tmp[READ_BYTES];
    ssize_t n = read(fd, tmp, sizeof tmp);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        event_del(&l->rd);
        end(l, "the server closed its output");
        return;
    }
    (void)line_reader_feed(&l->reader, tmp, (size_t)n, on_line, l);
}

static void flush(struct lines *l)
{
    size_t done = 0;
    while (done < l->queue.n) {
        ssize_t n = write(l->in, l->queue.p + done, l->queue.n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break; /* EPIPE shows as end of output too */
        done += (size_t)n;
    }
    buf_drop(&l->queue, done);
    if (l->queue.n == 0 && l->queue.cap > READ_BYTES)
        buf_fini(&l->queue);
    if (l->wr_on != (l->queue.n > 0)) {
        l->wr_on = l->queue.n > 0;
        if (l->wr_on)
            event_add(&l->wr, NULL);
        else
            event_del(&l->wr);
    }
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    flush(arg);
}

static void on_queue_full(void *arg)
{
    end(arg, "the server does not read its input");
}

void lines_write(struct lines *l, struct str message)
{
    if (l->queue.n + message.n > QUEUE_MAX) {
        loop_defer(l->loop, on_queue_full, l);
        return;
    }
    /* One message a line: newlines can only be whitespace between tokens, since strings escape
     * them. */
    size_t start = l->queue.n;
    buf_add_str(&l->queue, message);
    for (size_t i = start; i < l->queue.n; i++)
        if (l->queue.p[i] == '\n' || l->queue.p[i] == '\r')
            l->queue.p[i] = ' ';
    buf_addc(&l->queue, '\n');
    flush(l);
}

struct lines *lines_new(struct loop *loop, int in, int out, size_t max_line,
                        const struct lines_ops *ops, void *arg)
{
    struct lines *l = xcalloc(1, sizeof *l);
    *l = (struct lines){
        .loop = loop, .ops = ops, .arg = arg, .in = in, .out = out, .reader.max = max_line};
    event_assign(&l->rd, loop_base(loop), out, EV_READ | EV_PERSIST, on_readable, l);
    event_assign(&l->wr, loop_base(loop), in, EV_WRITE | EV_PERSIST, on_writable, l);
    event_add(&l->rd, NULL);
    return l;
}

static void destroy(void *arg)
{
    struct lines *l = arg;
    buf_fini(&l->queue);
    line_reader_fini(&l->reader);
    free(l);
}

void lines_free(struct lines **lp)
{
    struct lines *l = *lp;
    *lp = NULL;
    if (!l)
        return;
    l->ops = NULL;
    event_del(&l->rd);
    event_del(&l->wr);
    close(l->in);
    if (l->out != l->in)
        close(l->out);
    loop_defer(l->loop, destroy, l);
}
