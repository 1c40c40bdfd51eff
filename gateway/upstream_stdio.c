/* The stdio transport towards servers (MCP 2026-07-28 basic/transports/stdio): a child started by
 * the spawner, one message a line. What the child prints on stderr goes to the log; garbage on
 * stdout is dropped and counted. */
#include "gateway/usession.h"

#include "base/child.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STOP_GRACE_MS = 2000, QUEUE_MAX = 32 * 1024 * 1024, ERR_LINE_MAX = 4096 };

struct stdio {
    struct pipe pipe;
    struct usession *us; /* NULL once stopped */
    struct loop *loop;
    char *name;
    size_t max_line;
    struct child *child;
    int in, out, err;
    struct event rd, wr, errs;
    bool wr_on, open, counted;
    struct buf queue, line, errline;
};

static void stdio_destroy(void *arg)
{
    struct stdio *p = arg;
    buf_fini(&p->queue);
    buf_fini(&p->line);
    buf_fini(&p->errline);
    free(p->name);
    free(p);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void unhook(struct stdio *p)
{
    if (p->open) {
        event_del(&p->rd);
        event_del(&p->wr);
        event_del(&p->errs);
    }
    p->open = false;
    close_fd(&p->in);
    close_fd(&p->out);
    close_fd(&p->err);
    if (p->counted)
        metric_add(metric_of(M_CHILDREN), -1);
    p->counted = false;
}

static void broken(struct stdio *p, const char *what)
{
    struct err e;
    (void)err_set(&e, ERR_UNAVAILABLE, "upstream %s: %s", p->name, what);
    if (p->us)
        usession_broken(p->us, &e); /* stops us */
}

static void on_lines(struct stdio *p)
{
    size_t at = 0;
    char *nl;
    while (p->us && (nl = memchr(p->line.p + at, '\n', p->line.n - at))) {
        struct str text = {p->line.p + at, (size_t)(nl - p->line.p) - at};
        struct err e;
        at += text.n + 1;
        if (text.n && text.p[text.n - 1] == '\r')
            text.n--;
        if (text.n && !upstream_message(p->us->up, p->us, NULL, text, &e))
            log_warn("upstream.bad_line", L_STR("upstream", p->name), L_ERR(&e));
    }
    buf_drop(&p->line, at);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct stdio *p = arg;
    char *to = buf_reserve(&p->line, READ_BUF_BYTES);
    ssize_t n = read(fd, to, READ_BUF_BYTES);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        broken(p, "the server closed its output");
        return;
    }
    p->line.n += (size_t)n;
    on_lines(p);
    if (!p->us)
        return;
    if (p->line.n > p->max_line)
        broken(p, "a line is longer than maxMessageBytes");
    else if (p->line.n == 0 && p->line.cap > READ_BUF_BYTES)
        buf_fini(&p->line);
}

static void log_stderr(struct stdio *p, bool all)
{
    size_t at = 0;
    while (at < p->errline.n) {
        char *start = p->errline.p + at;
        char *nl = memchr(start, '\n', p->errline.n - at);
        if (!nl && !all && p->errline.n - at < ERR_LINE_MAX)
            break;
        size_t n = nl ? (size_t)(nl - start) : p->errline.n - at;
        if (n)
            log_info("upstream.stderr", L_STR("upstream", p->name),
                     L_S("line", ((struct str){start, n})));
        at += nl ? n + 1 : n;
    }
    buf_drop(&p->errline, at);
}

static void on_stderr(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct stdio *p = arg;
    char tmp[4096];
    ssize_t n = read(fd, tmp, sizeof tmp);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        event_del(&p->errs);
        return;
    }
    buf_add(&p->errline, tmp, (size_t)n);
    log_stderr(p, false);
}

static void flush(struct stdio *p)
{
    size_t done = 0;
    while (done < p->queue.n) {
        ssize_t n = write(p->in, p->queue.p + done, p->queue.n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break; /* EPIPE shows as end of output too */
        done += (size_t)n;
    }
    buf_drop(&p->queue, done);
    if (p->queue.n == 0 && p->queue.cap > READ_BUF_BYTES)
        buf_fini(&p->queue);
    if (p->wr_on != (p->queue.n > 0)) {
        p->wr_on = p->queue.n > 0;
        if (p->wr_on)
            event_add(&p->wr, NULL);
        else
            event_del(&p->wr);
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
    broken(arg, "the server does not read its input");
}

static void stdio_write(struct pipe *pipe, uint64_t id, struct str line)
{
    struct stdio *p = (struct stdio *)pipe;
    (void)id;
    if (p->queue.n + line.n > QUEUE_MAX) {
        loop_defer(p->loop, on_queue_full, p);
        return;
    }
    /* One message a line: newlines can only be whitespace between tokens, since strings escape
     * them. */
    size_t start = p->queue.n;
    buf_add_str(&p->queue, line);
    for (size_t i = start; i < p->queue.n; i++)
        if (p->queue.p[i] == '\n' || p->queue.p[i] == '\r')
            p->queue.p[i] = ' ';
    buf_addc(&p->queue, '\n');
    if (p->open)
        flush(p);
}

static void on_started(struct child *c, int in, int out, int err, const struct err *e, void *arg)
{
    struct stdio *p = arg;
    if (e) {
        broken(p, e->msg);
        return;
    }
    log_info("upstream.child_started", L_STR("upstream", p->name), L_INT("pid", child_pid(c)));
    p->in = in;
    p->out = out;
    p->err = err;
    p->open = p->counted = true;
    metric_add(metric_of(M_CHILDREN), 1);
    struct event_base *base = loop_base(p->loop);
    event_assign(&p->rd, base, out, EV_READ | EV_PERSIST, on_readable, p);
    event_assign(&p->wr, base, in, EV_WRITE | EV_PERSIST, on_writable, p);
    event_assign(&p->errs, base, err, EV_READ | EV_PERSIST, on_stderr, p);
    event_add(&p->rd, NULL);
    event_add(&p->errs, NULL);
    usession_pipe_open(p->us);
}

static void on_exited(struct child *c, int status, void *arg)
{
    (void)c;
    struct stdio *p = arg;
    char what[64];
    log_stderr(p, true);
    if (WIFSIGNALED(status))
        (void)snprintf(what, sizeof what, "the server was killed by signal %d", WTERMSIG(status));
    else
        (void)snprintf(what, sizeof what, "the server exited with status %d", WEXITSTATUS(status));
    log_warn("upstream.child_exited", L_STR("upstream", p->name), L_STR("how", what));
    broken(p, what);
}

/* The small environment that MCP clients give their servers, and what the mount adds. */
static char **make_env(const struct mount_config *m)
{
    static const char *const kept[] = {"HOME",  "LANG", "LC_ALL", "LOGNAME", "PATH",
                                       "SHELL", "TERM", "TMPDIR", "TZ",      "USER"};
    size_t max = sizeof kept / sizeof *kept + m->envs + 1, n = 0;
    char **env = xcalloc(max, sizeof *env);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        const char *value = getenv(kept[i]);
        bool overridden = false;
        for (size_t k = 0; k < m->envs; k++)
            overridden = overridden || strcmp(m->env[k].name, kept[i]) == 0;
        if (!value || overridden)
            continue;
        struct buf b = {0};
        buf_addf(&b, "%s=%s", kept[i], value);
        buf_addc(&b, '\0');
        env[n++] = b.p;
    }
    for (size_t k = 0; k < m->envs; k++) {
        struct buf b = {0};
        buf_addf(&b, "%s=%s", m->env[k].name, m->env[k].value);
        buf_addc(&b, '\0');
        env[n++] = b.p;
    }
    return env;
}

static void stdio_stop(struct pipe *pipe)
{
    struct stdio *p = (struct stdio *)pipe;
    p->us = NULL;
    unhook(p); /* closing its stdin asks the server to end */
    child_stop(p->child, STOP_GRACE_MS);
    child_free(&p->child);
    loop_defer(p->loop, stdio_destroy, p);
}

struct pipe *stdio_start(struct usession *us)
{
    static const struct pipe_ops ops = {stdio_write, stdio_stop};
    const struct mount_config *m = us->up->cfg;
    struct stdio *p = xcalloc(1, sizeof *p);
    p->pipe.ops = &ops;
    p->us = us;
    p->loop = us->up->shard->loop;
    p->name = xstrdup(m->name);
    p->max_line = us->up->config->max_message_bytes;
    p->in = p->out = p->err = -1;
    char **env = make_env(m);
    static char *const none[] = {NULL};
    struct child_spec spec = {.command = m->command,
                              .argv = (const char *const *)(m->args ? m->args : none),
                              .env = (const char *const *)env,
                              .cwd = m->cwd};
    p->child = child_start(us->up->shard->gw->spawner, p->loop, &spec, on_started, on_exited, p);
    for (char **e = env; *e; e++)
        free(*e);
    free(env);
    return &p->pipe;
}
