/* See log.h. Lines are formatted by the caller and handed to one writer thread through a bounded
 * queue, so that a full pipe on stderr never stops a loop. */
#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { QUEUE_MAX_BYTES = 4 * 1024 * 1024, FIELD_MAX = 2048 };

static struct {
    _Atomic int level;
    atomic_bool json;
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct buf queue;
    bool running, stopping;
    pthread_t writer;
    _Atomic uint64_t dropped;
} g = {.level = LV_INFO, .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static const char *const level_names[] = {"DEBUG", "INFO", "WARNING", "ERROR"};

void log_configure(enum log_level level, bool json)
{
    g.level = (int)level;
    g.json = json;
}

bool log_level_parse(struct str name, enum log_level *out)
{
    for (int i = LV_DEBUG; i <= LV_ERROR; i++) {
        if (str_ieq(name, str_of(level_names[i]))) {
            *out = (enum log_level)i;
            return true;
        }
    }
    if (str_ieq(name, STR("warn"))) {
        *out = LV_WARN;
        return true;
    }
    if (str_ieq(name, STR("critical"))) {
        *out = LV_ERROR;
        return true;
    }
    return false;
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&g.level, memory_order_relaxed);
}

/* A JSON string whose bytes are all printable ASCII: what a client sent can neither end the line
 * nor reach a terminal. */
static void add_quoted(struct buf *out, struct str s)
{
    size_t n = s.n > FIELD_MAX ? FIELD_MAX : s.n;
    buf_addc(out, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '"' || c == '\\') {
            buf_addc(out, '\\');
            buf_addc(out, (char)c);
        } else if (c >= 0x20 && c < 0x7f) {
            buf_addc(out, (char)c);
        } else {
            buf_addf(out, "\\u%04x", c);
        }
    }
    buf_adds(out, n < s.n ? "…\"" : "\"");
}

static void add_value(struct buf *out, const struct log_field *f)
{
    switch (f->type) {
    case LOG_F_NONE: break;
    case LOG_F_STR: add_quoted(out, f->s); break;
    case LOG_F_INT: buf_addf(out, "%lld", (long long)f->i); break;
    case LOG_F_SECRET: buf_adds(out, "\"[redacted]\""); break;
    }
}

static void add_time(struct buf *out)
{
    int64_t ms = clock_wall_ms();
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    gmtime_r(&t, &tm);
    buf_addf(out, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
}

static void format_line(struct buf *out, enum log_level level, const char *event,
                        const struct log_field *f, size_t n)
{
    bool json = g.json;
    buf_adds(out, json ? "{\"timestamp\":\"" : "");
    add_time(out);
    buf_addf(out, json ? "\",\"level\":\"%s\",\"message\":\"%s\"" : " [%s] %s", level_names[level],
             event);
    for (size_t i = 1; i < n; i++) {
        buf_addf(out, json ? ",\"%s\":" : " %s=", f[i].key);
        add_value(out, &f[i]);
    }
    buf_adds(out, json ? "}\n" : "\n");
}

static void write_all(const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = write(STDERR_FILENO, p, n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return;
        p += w;
        n -= (size_t)w;
    }
}

void log_write(enum log_level level, const char *event, const struct log_field *f, size_t n)
{
    struct buf line = {0};
    format_line(&line, level, event, f, n);
    pthread_mutex_lock(&g.lock);
    bool direct = !g.running;
    if (!direct && g.queue.n + line.n > QUEUE_MAX_BYTES) {
        g.dropped++;
    } else if (!direct) {
        buf_add(&g.queue, line.p, line.n);
        pthread_cond_signal(&g.more);
    }
    pthread_mutex_unlock(&g.lock);
    if (direct)
        write_all(line.p, line.n);
    buf_fini(&line);
}

static void *writer_main(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&g.lock);
    for (;;) {
        while (g.queue.n == 0 && !g.stopping)
            pthread_cond_wait(&g.more, &g.lock);
        if (g.queue.n == 0)
            break;
        struct buf work = g.queue;
        g.queue = (struct buf){0};
        pthread_mutex_unlock(&g.lock);
        write_all(work.p, work.n);
        buf_fini(&work);
        pthread_mutex_lock(&g.lock);
    }
    pthread_mutex_unlock(&g.lock);
    return NULL;
}

void log_start(void)
{
    pthread_mutex_lock(&g.lock);
    g.stopping = false;
    g.running = pthread_create(&g.writer, NULL, writer_main, NULL) == 0;
    pthread_mutex_unlock(&g.lock);
}

void log_stop(void)
{
    pthread_mutex_lock(&g.lock);
    bool was = g.running;
    g.running = false;
    g.stopping = true;
    pthread_cond_signal(&g.more);
    pthread_mutex_unlock(&g.lock);
    if (was)
        pthread_join(g.writer, NULL);
}

uint64_t log_dropped(void)
{
    return g.dropped;
}
