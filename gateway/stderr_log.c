/* See stderr_log.h. */
#include "gateway/stderr_log.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 4096, LINES_PER_SECOND = 500 };

struct stderr_log {
    struct loop *loop;
    stderr_line_fn fn;
    void *arg;
    char *name;
    int fd;
    struct event rd;
    struct buf text;
    int64_t second;
    unsigned lines, dropped; /* in that second */
};

/* A flood must not become the log's: the rest of a second is counted only. */
static bool admit(struct stderr_log *s)
{
    int64_t now = clock_ms() / 1000;
    if (now != s->second) {
        if (s->dropped)
            log_warn("stderr.flood", L_STR("from", s->name), L_INT("lines_dropped", s->dropped));
        s->second = now;
        s->lines = s->dropped = 0;
    }
    if (s->lines++ < LINES_PER_SECOND)
        return true;
    s->dropped++;
    return false;
}

static void log_lines(struct stderr_log *s, bool all)
{
    size_t at = 0;
    while (at < s->text.n) {
        char *start = s->text.p + at;
        char *nl = memchr(start, '\n', s->text.n - at);
        if (!nl && !all && s->text.n - at < LINE_MAX_BYTES)
            break;
        size_t n = nl ? (size_t)(nl - start) : s->text.n - at;
        if (n && admit(s))
            s->fn((struct str){start, n}, s->arg);
        at += nl ? n + 1 : n;
    }
    buf_drop(&s->text, at);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct stderr_log *s = arg;
    char tmp[LINE_MAX_BYTES];
    ssize_t n = read(fd, tmp, sizeof tmp);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        event_del(&s->rd);
        return;
    }
    buf_add(&s->text, tmp, (size_t)n);
    log_lines(s, false);
}

struct stderr_log *stderr_log_new(struct loop *l, int fd, const char *name, stderr_line_fn fn,
                                  void *arg)
{
    struct stderr_log *s = xcalloc(1, sizeof *s);
    *s = (struct stderr_log){.loop = l, .fn = fn, .arg = arg, .name = xstrdup(name), .fd = fd};
    event_assign(&s->rd, loop_base(l), fd, EV_READ | EV_PERSIST, on_readable, s);
    event_add(&s->rd, NULL);
    return s;
}

static void destroy(void *arg)
{
    struct stderr_log *s = arg;
    buf_fini(&s->text);
    free(s->name);
    free(s);
}

void stderr_log_free(struct stderr_log **sp)
{
    struct stderr_log *s = *sp;
    *sp = NULL;
    if (!s)
        return;
    log_lines(s, true);
    event_del(&s->rd);
    close(s->fd);
    loop_defer(s->loop, destroy, s);
}
