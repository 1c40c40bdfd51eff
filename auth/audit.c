/* See audit.h. A line is {"seq":N,"time":"…","prev":"HASH",…,"hash":"HASH"}; the hash is SHA-256
 * over all that stands before `,"hash"`, with the hash of the line before in it. */
#include "auth/audit.h"

#include "base/clock.h"
#include "base/crypto.h"
#include "base/json.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { HASH_TEXT = 64, QUEUE_MAX = 8 * 1024 * 1024, LINE_MAX_BYTES = 64 * 1024, TAIL = 75 };

#define NO_HASH     "0000000000000000000000000000000000000000000000000000000000000000"
#define HASH_MEMBER ",\"hash\":\""

struct audit {
    char *path;
    pthread_t thread;
    pthread_mutex_t lock; /* over what follows, but for what is the thread's own */
    pthread_cond_t wake;
    struct buf queue;    /* events, each ended by a newline */
    uint64_t lost_since; /* lines, since the last one that says so */
    bool ending, reopen;
    /* Of the thread. */
    int fd;
    uint64_t seq;
    char prev[HASH_TEXT + 1];
};

/* ---- lines ---- */

static void hash_text(struct str bytes, char out[HASH_TEXT + 1])
{
    uint8_t digest[32];
    struct buf hex = {0};
    crypto_sha256(&bytes, 1, digest);
    crypto_hex(&hex, digest, sizeof digest);
    memcpy(out, hex.p, HASH_TEXT);
    out[HASH_TEXT] = '\0';
    buf_fini(&hex);
}

static void add_time(struct buf *out)
{
    int64_t ms = clock_wall_ms();
    time_t seconds = (time_t)(ms / 1000);
    struct tm tm;
    char day[32] = "";
    if (gmtime_r(&seconds, &tm))
        (void)strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_addf(out, "\"time\":\"%s.%03dZ\"", day, (int)(ms % 1000));
}

/* Appends the next line of the chain. */
static void add_line(struct audit *a, struct str members, struct buf *out)
{
    size_t at = out->n;
    buf_addf(out, "{\"seq\":%llu,", (unsigned long long)++a->seq);
    add_time(out);
    buf_addf(out, ",\"prev\":\"%s\",", a->prev);
    buf_add_str(out, members);
    hash_text((struct str){out->p + at, out->n - at}, a->prev);
    buf_addf(out, HASH_MEMBER "%s\"}\n", a->prev);
}

/* ---- verification ---- */

static bool bad(struct audit_verifier *v, const char *fault)
{
    v->report.bad_line = v->report.lines + 1;
    v->report.fault = fault;
    return false;
}

static bool text_is(const struct json_doc *d, const char *name, struct str want)
{
    return json_str_eq(d, json_get(d, 0, str_of(name)), want);
}

static void note_lost(struct audit_verifier *v, const struct json_doc *d)
{
    int64_t n = 0;
    if (text_is(d, "event", STR("audit.lost")) && json_int(d, json_get(d, 0, STR("lines")), &n) &&
        n > 0)
        v->report.lost += (uint64_t)n;
}

static bool check_members(struct audit_verifier *v, const struct json_doc *d, const char *hash)
{
    struct audit_report *r = &v->report;
    int64_t seq = 0;
    struct arena a = {0};
    struct str prev = json_str(d, json_get(d, 0, STR("prev")), &a);
    bool first = r->lines == 0, ok = prev.n == HASH_TEXT;
    if (ok && first)
        memcpy(r->first, prev.p, HASH_TEXT);
    ok = ok && (first || memcmp(prev.p, r->last, HASH_TEXT) == 0);
    arena_fini(&a);
    if (!json_is(d, 0, JSON_OBJECT) || json_has_duplicates(d, 0))
        return bad(v, "is no object of single members");
    if (!ok)
        return bad(v, "does not follow the line before it");
    if (!json_int(d, json_get(d, 0, STR("seq")), &seq) || seq < 1 ||
        (!first && (uint64_t)seq != v->seq + 1))
        return bad(v, "has another number than the next");
    v->seq = (uint64_t)seq;
    memcpy(r->last, hash, HASH_TEXT);
    note_lost(v, d);
    r->lines++;
    return true;
}

static bool check_line(struct audit_verifier *v, struct str line)
{
    struct json_doc d = {0};
    char want[HASH_TEXT + 1];
    if (line.n < TAIL || line.n > LINE_MAX_BYTES)
        return bad(v, "is no line of an audit log");
    struct str body = {line.p, line.n - TAIL}, tail = {line.p + line.n - TAIL, TAIL};
    if (!str_starts(tail, STR(HASH_MEMBER)) || tail.p[TAIL - 2] != '"' || tail.p[TAIL - 1] != '}')
        return bad(v, "has no hash");
    hash_text(body, want);
    if (memcmp(want, tail.p + strlen(HASH_MEMBER), HASH_TEXT) != 0)
        return bad(v, "was changed: its hash is another");
    bool ok =
        json_parse(&d, line.p, line.n, NULL) ? check_members(v, &d, want) : bad(v, "is not JSON");
    json_fini(&d);
    return ok;
}

bool audit_verify_feed(struct audit_verifier *v, struct str bytes)
{
    while (bytes.n && !v->report.bad_line) {
        const char *end = memchr(bytes.p, '\n', bytes.n);
        size_t n = end ? (size_t)(end - bytes.p) : bytes.n;
        if (v->line.n + n > LINE_MAX_BYTES)
            return bad(v, "is too long");
        buf_add(&v->line, bytes.p, n);
        bytes = (struct str){bytes.p + n + (end != NULL), bytes.n - n - (end != NULL)};
        if (end && check_line(v, buf_str(&v->line)))
            v->line.n = 0;
    }
    return !v->report.bad_line;
}

bool audit_verify_end(struct audit_verifier *v)
{
    if (!v->report.bad_line && v->line.n)
        (void)bad(v, "is cut short");
    buf_fini(&v->line);
    return !v->report.bad_line;
}

/* ---- the file ---- */

/* Goes on where the file ends: its last line gives number and hash. */
static bool read_tail(struct audit *a, struct err *e)
{
    char text[LINE_MAX_BYTES + 1];
    struct stat st;
    if (fstat(a->fd, &st) != 0 || st.st_size == 0)
        return true;
    off_t from = st.st_size > LINE_MAX_BYTES ? st.st_size - LINE_MAX_BYTES : 0;
    ssize_t n = pread(a->fd, text, LINE_MAX_BYTES, from);
    if (n < 1 || text[n - 1] != '\n')
        return err_set(e, ERR_CONFIG, "does not end with a whole line of an audit log");
    ssize_t start = n - 1;
    while (start > 0 && text[start - 1] != '\n')
        start--;
    struct audit_verifier v = {0};
    bool ok = audit_verify_feed(&v, (struct str){text + start, (size_t)(n - start)});
    ok = audit_verify_end(&v) && ok;
    if (!ok)
        return err_set(e, ERR_CONFIG, "its last line %s", v.report.fault);
    a->seq = v.seq;
    memcpy(a->prev, v.report.last, HASH_TEXT);
    return true;
}

static int open_file(const char *path)
{
    return open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void write_all(const struct audit *a, struct str s)
{
    while (s.n) {
        ssize_t n = write(a->fd, s.p, s.n);
        if (n < 0 && errno != EINTR) {
            log_error("audit.not_written", L_STR("file", a->path), L_STR("error", strerror(errno)));
            return;
        }
        if (n > 0)
            s = (struct str){s.p + n, s.n - (size_t)n};
    }
}

static void write_events(struct audit *a, struct str events, uint64_t lost)
{
    struct buf out = {0}, note = {0};
    struct str event;
    if (lost) {
        buf_addf(&note, "\"event\":\"audit.lost\",\"lines\":%llu", (unsigned long long)lost);
        add_line(a, buf_str(&note), &out);
    }
    while (str_split(&events, '\n', &event))
        add_line(a, event, &out);
    write_all(a, buf_str(&out));
    buf_fini(&out);
    buf_fini(&note);
}

static void open_again(struct audit *a)
{
    int fd = open_file(a->path);
    if (fd < 0) {
        log_error("audit.not_reopened", L_STR("file", a->path), L_STR("error", strerror(errno)));
        return;
    }
    close(a->fd);
    a->fd = fd;
}

static void *writer(void *arg)
{
    struct audit *a = arg;
    bool ending = false;
    while (!ending) {
        (void)pthread_mutex_lock(&a->lock);
        while (a->queue.n == 0 && !a->ending && !a->reopen)
            (void)pthread_cond_wait(&a->wake, &a->lock);
        struct buf events = a->queue;
        uint64_t lost = a->lost_since;
        bool reopen = a->reopen;
        a->queue = (struct buf){0};
        a->lost_since = 0;
        a->reopen = false;
        ending = a->ending && events.n == 0;
        (void)pthread_mutex_unlock(&a->lock);
        if (reopen)
            open_again(a);
        write_events(a, buf_str(&events), lost);
        buf_fini(&events);
    }
    return NULL;
}

struct audit *audit_open(const char *path, struct err *e)
{
    struct audit *a = xcalloc(1, sizeof *a);
    a->path = xstrdup(path);
    memcpy(a->prev, NO_HASH, sizeof a->prev);
    a->fd = open_file(path);
    bool ok = a->fd >= 0 || err_set(e, ERR_CONFIG, "cannot be opened: %s", strerror(errno));
    ok = ok && read_tail(a, e);
    if (ok && (pthread_mutex_init(&a->lock, NULL) != 0 || pthread_cond_init(&a->wake, NULL) != 0 ||
               pthread_create(&a->thread, NULL, writer, a) != 0))
        ok = err_set(e, ERR_SYSTEM, "cannot start a thread");
    if (ok)
        return a;
    if (a->fd >= 0)
        close(a->fd);
    free(a->path);
    free(a);
    return NULL;
}

static void signal_writer(struct audit *a)
{
    (void)pthread_cond_signal(&a->wake);
    (void)pthread_mutex_unlock(&a->lock);
}

void audit_close(struct audit **ap)
{
    struct audit *a = *ap;
    if (!a)
        return;
    *ap = NULL;
    (void)pthread_mutex_lock(&a->lock);
    a->ending = true;
    signal_writer(a);
    (void)pthread_join(a->thread, NULL);
    close(a->fd);
    (void)pthread_mutex_destroy(&a->lock);
    (void)pthread_cond_destroy(&a->wake);
    buf_fini(&a->queue);
    free(a->path);
    free(a);
}

void audit_reopen(struct audit *a)
{
    (void)pthread_mutex_lock(&a->lock);
    a->reopen = true;
    signal_writer(a);
}

void audit_write(struct audit *a, struct str members)
{
    (void)pthread_mutex_lock(&a->lock);
    if (a->queue.n + members.n > QUEUE_MAX || members.n > LINE_MAX_BYTES - 1024) {
        a->lost_since++;
    } else {
        buf_add_str(&a->queue, members);
        buf_addc(&a->queue, '\n');
    }
    signal_writer(a);
}
