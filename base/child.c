/* See child.h; the other side is spawner.c and keeper.c. One thread owns the socket: loops only
 * queue requests for it, and it posts what comes back to the loop of the child. A post is made
 * under the lock and only for children that are not freed, so that a loop may go once its children
 * are; what is in its mailbox then holds a reference of its own. */
#include "base/child.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STOP_WAIT_MS = 5000, FREE_GRACE_MS = 2000 };

struct request {
    struct spawn_msg msg;
    int fd; /* -1: none */
    STAILQ_ENTRY(request) next;
};

struct spawner {
    atomic_int refs; /* the owner and every child */
    atomic_int pid;  /* 0 while there is none */
    int wake_fd;
    pthread_t thread;
    pthread_mutex_t lock; /* guards the rest, but for what is the thread's own */
    STAILQ_HEAD(request_queue, request) queue;
    LIST_HEAD(child_list, child)
    children; /* those that the spawner may still say something about */
    uint64_t last_id;
    bool stopping;
    /* The thread's own. */
    int sock;
    struct request *blocked; /* waits for room in the socket */
    int64_t give_up_ms;      /* 0: not stopping yet */
};

struct child {
    atomic_int refs; /* the owner, the list, and posts on their way */
    atomic_int pid;
    struct spawner *s;
    struct loop *l;
    child_started_fn on_started;
    child_exited_fn on_exited;
    void *arg;
    uint64_t id;
    /* Under the spawner's lock. */
    bool listed, sent, started, freed;
    LIST_ENTRY(child) all;
};

/* What is told on the child's loop. */
struct news {
    struct child *c;
    struct spawn_msg msg;
    int fds[3];
};

static void close_fds(int fds[3])
{
    for (int i = 0; i < 3; i++)
        if (fds[i] >= 0)
            close(fds[i]);
}

static void spawner_unref(struct spawner *s)
{
    if (atomic_fetch_sub(&s->refs, 1) > 1)
        return;
    close(s->wake_fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static void child_unref(struct child *c)
{
    if (atomic_fetch_sub(&c->refs, 1) > 1)
        return;
    spawner_unref(c->s);
    free(c);
}

static void on_news(void *arg)
{
    struct news *n = arg;
    struct child *c = n->c;
    pthread_mutex_lock(&c->s->lock);
    bool freed = c->freed;
    pthread_mutex_unlock(&c->s->lock);
    if (freed) {
        close_fds(n->fds);
    } else if (n->msg.type == SPAWN_EXITED) {
        c->pid = 0;
        c->on_exited(c, n->msg.value, c->arg);
    } else {
        bool ok = n->msg.err.kind == ERR_NONE;
        c->pid = ok ? n->msg.value : 0;
        c->on_started(c, n->fds[0], n->fds[1], n->fds[2], ok ? NULL : &n->msg.err, c->arg);
    }
    free(n);
    child_unref(c);
}

/* Takes fds. Under the lock. */
static void post_news(struct child *c, const struct spawn_msg *m, int fds[3])
{
    if (c->freed) {
        close_fds(fds);
        return;
    }
    struct news *n = xmalloc(sizeof *n);
    *n = (struct news){.c = c, .msg = *m, .fds = {fds[0], fds[1], fds[2]}};
    atomic_fetch_add(&c->refs, 1);
    loop_post(c->l, on_news, n);
}

static void unlist(struct child *c)
{
    LIST_REMOVE(c, all);
    c->listed = false;
    child_unref(c);
}

/* The last news of a child of which the spawner will say nothing more. Under the lock. */
static void end_child(struct child *c, const struct err *e)
{
    int none[3] = {-1, -1, -1};
    struct spawn_msg m = {.type = SPAWN_EXITED, .value = SIGKILL};
    if (!c->started) {
        m.type = SPAWN_STARTED;
        m.err = *e;
    }
    post_news(c, &m, none);
    unlist(c);
}

static struct child *child_find(struct spawner *s, uint64_t id)
{
    for (struct child *c = LIST_FIRST(&s->children); c; c = LIST_NEXT(c, all))
        if (c->id == id)
            return c;
    return NULL;
}

static void wake(struct spawner *s)
{
    uint64_t one = 1;
    (void)!write(s->wake_fd, &one, sizeof one);
}

/* Under the lock. Takes fd. */
static void enqueue(struct spawner *s, enum spawn_type type, uint64_t id, int value, int fd)
{
    struct request *r = xcalloc(1, sizeof *r);
    *r = (struct request){.msg = {.type = type, .id = id, .value = value}, .fd = fd};
    STAILQ_INSERT_TAIL(&s->queue, r, next);
    wake(s);
}

static void request_free(struct request *r)
{
    if (r->fd >= 0)
        close(r->fd);
    free(r);
}

/* The other process gets socket theirs as SPAWN_FD, the null device as stdin and stdout, our
 * stderr, no environment, and a session of its own, so that no terminal signals it. */
static int spawn_process(int theirs, pid_t *pid)
{
    char *const argv[] = {(char[]){"headgate"}, (char[]){"__spawner"}, (char[]){"3"}, NULL};
    char *const env[] = {NULL};
    _Static_assert(SPAWN_FD == 3, "the argument above says it");
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attr);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&files, theirs, SPAWN_FD);
    posix_spawn_file_actions_addclosefrom_np(&files, SPAWN_FD + 1);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &all);
    posix_spawnattr_setflags(&attr,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    int code = posix_spawn(pid, "/proc/self/exe", &files, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return code;
}

/* Starts the process and sets sock and pid. */
static bool launch(struct spawner *s, struct err *e)
{
    int pair[2], theirs = -1;
    pid_t pid = 0;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_set(e, ERR_SYSTEM, "cannot start the spawner: %s", strerrordesc_np(errno));
    /* Clear of 0 to 3, which are replaced before it is copied. */
    theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, SPAWN_FD + 1);
    int code = theirs < 0 ? errno : spawn_process(theirs, &pid);
    if (theirs >= 0)
        close(theirs);
    close(pair[1]);
    if (code != 0) {
        close(pair[0]);
        return err_set(e, ERR_SYSTEM, "cannot start the spawner: %s", strerrordesc_np(code));
    }
    s->sock = pair[0];
    s->pid = pid;
    return true;
}

/* The socket is at its end: so is the process, or it is made to be. */
static void on_lost(struct spawner *s)
{
    struct child *c, *next;
    struct err e = {0};
    int status = 0;
    pid_t pid = s->pid;
    err_fill(&e, ERR_UNAVAILABLE, "the spawner ended");
    close(s->sock);
    s->sock = -1;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    s->pid = 0;
    pthread_mutex_lock(&s->lock);
    bool stopping = s->stopping;
    for (c = LIST_FIRST(&s->children); c; c = next) {
        next = LIST_NEXT(c, all);
        if (c->sent)
            end_child(c, &e);
    }
    pthread_mutex_unlock(&s->lock);
    if (!stopping)
        log_error("spawner.died", L_INT("pid", pid), L_INT("status", status));
}

/* Under the lock. Takes fds. */
static void on_message(struct spawner *s, const struct spawn_msg *m, int fds[3])
{
    struct spawn_msg news = *m;
    struct child *c = child_find(s, m->id);
    bool started = m->type == SPAWN_STARTED && m->err.kind == ERR_NONE;
    if (!c) {
        close_fds(fds);
        return;
    }
    if (started && fds[2] < 0) {
        close_fds(fds);
        fds[0] = fds[1] = fds[2] = -1;
        err_fill(&news.err, ERR_SYSTEM, "cannot start a child: no descriptor left for its pipes");
        enqueue(s, SPAWN_STOP, c->id, 0, -1);
        started = false;
    }
    c->started |= started;
    post_news(c, &news, fds);
    if (!started)
        unlist(c);
}

static void receive(struct spawner *s)
{
    struct spawn_msg m = {0};
    int fds[3];
    for (;;) {
        switch (spawn_recv(s->sock, &m, fds, MSG_DONTWAIT)) {
        case SPAWN_NOTHING: return;
        case SPAWN_EOF: on_lost(s); return;
        case SPAWN_GOT: break;
        }
        pthread_mutex_lock(&s->lock);
        on_message(s, &m, fds);
        pthread_mutex_unlock(&s->lock);
    }
}

static void refuse(struct spawner *s, const struct request *r, const struct err *e)
{
    pthread_mutex_lock(&s->lock);
    struct child *c = r->msg.type == SPAWN_START ? child_find(s, r->msg.id) : NULL;
    if (c)
        end_child(c, e);
    pthread_mutex_unlock(&s->lock);
}

static void mark_sent(struct spawner *s, const struct request *r)
{
    pthread_mutex_lock(&s->lock);
    struct child *c = r->msg.type == SPAWN_START ? child_find(s, r->msg.id) : NULL;
    if (c)
        c->sent = true;
    pthread_mutex_unlock(&s->lock);
}

/* Sends or refuses r; false when the socket is full. */
static bool carry_out(struct spawner *s, const struct request *r, bool stopping)
{
    struct err e = {0};
    if (stopping) {
        err_fill(&e, ERR_UNAVAILABLE, "shutting down");
        refuse(s, r, &e);
        return true;
    }
    if (s->sock < 0) {
        if (r->msg.type != SPAWN_START)
            return true; /* it ended with the spawner */
        if (!launch(s, &e)) {
            refuse(s, r, &e);
            return true;
        }
        log_warn("spawner.restarted", L_INT("pid", s->pid));
    }
    if (spawn_send(s->sock, &r->msg, &r->fd, r->fd >= 0, MSG_DONTWAIT)) {
        mark_sent(s, r);
        return true;
    }
    if (errno == EAGAIN)
        return false;
    err_fill(&e, ERR_UNAVAILABLE, "cannot reach the spawner: %s", strerrordesc_np(errno));
    refuse(s, r, &e);
    return true;
}

static struct request *next_request(struct spawner *s, bool *stopping)
{
    pthread_mutex_lock(&s->lock);
    struct request *r = s->blocked ? s->blocked : STAILQ_FIRST(&s->queue);
    if (r && r != s->blocked)
        STAILQ_REMOVE_HEAD(&s->queue, next);
    *stopping = s->stopping;
    pthread_mutex_unlock(&s->lock);
    s->blocked = NULL;
    return r;
}

/* Carries out what is queued; true when the spawner is to stop. */
static bool flush(struct spawner *s)
{
    struct request *r;
    bool stopping;
    while ((r = next_request(s, &stopping))) {
        if (!carry_out(s, r, stopping)) {
            s->blocked = r;
            break;
        }
        request_free(r);
    }
    return stopping;
}

static void wait_for_work(struct spawner *s)
{
    uint64_t count;
    struct pollfd p[2] = {{.fd = s->wake_fd, .events = POLLIN},
                          {.fd = s->sock, .events = (short)(POLLIN | (s->blocked ? POLLOUT : 0))}};
    if (poll(p, 2, s->give_up_ms ? 100 : -1) <= 0)
        return;
    if (p[0].revents)
        (void)!read(s->wake_fd, &count, sizeof count);
    if (p[1].revents)
        receive(s);
}

static void *thread_main(void *arg)
{
    struct spawner *s = arg;
    for (;;) {
        bool stopping = flush(s);
        if (stopping && s->sock < 0)
            return NULL;
        if (stopping && !s->give_up_ms) {
            /* Its exits still come back on our half. */
            shutdown(s->sock, SHUT_WR);
            s->give_up_ms = clock_ms() + STOP_WAIT_MS;
        } else if (stopping && clock_ms() >= s->give_up_ms) {
            on_lost(s);
            continue;
        }
        wait_for_work(s);
    }
}

/* The thread leaves signals to the loops. */
static bool thread_start(struct spawner *s)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int code = pthread_create(&s->thread, NULL, thread_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return code == 0;
}

struct spawner *spawner_start(struct err *e)
{
    struct spawner *s = xcalloc(1, sizeof *s);
    s->refs = 1;
    s->sock = -1;
    STAILQ_INIT(&s->queue);
    LIST_INIT(&s->children);
    pthread_mutex_init(&s->lock, NULL);
    s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (s->wake_fd < 0) {
        err_fill(e, ERR_SYSTEM, "cannot start the spawner: %s", strerrordesc_np(errno));
    } else if (launch(s, e)) {
        if (thread_start(s))
            return s;
        err_fill(e, ERR_SYSTEM, "cannot start the spawner's thread");
        s->stopping = true;
        on_lost(s);
    }
    spawner_unref(s);
    return NULL;
}

void spawner_stop(struct spawner **sp)
{
    struct spawner *s = *sp;
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_mutex_unlock(&s->lock);
    wake(s);
    pthread_join(s->thread, NULL);
    *sp = NULL;
    spawner_unref(s);
}

int spawner_pid(const struct spawner *s)
{
    return s->pid;
}

static uint32_t add_vector(struct buf *b, const char *const *v)
{
    uint32_t n = 0;
    for (; v && *v && b->n <= SPAWN_SPEC_MAX + sizeof(struct spawn_head); v++, n++)
        buf_add(b, *v, strlen(*v) + 1);
    return n;
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t w = write(fd, p, n);
        if (w <= 0)
            return false;
        p += w;
        n -= (size_t)w;
    }
    return true;
}

/* Writes the specification into a new memfd: it may be larger than a datagram. -1 on error. */
static int spec_pack(const struct child_spec *spec, struct err *e)
{
    struct spawn_head head = {.has_cwd = spec->cwd != NULL};
    struct buf b = {0};
    int fd = -1;
    buf_add(&b, &head, sizeof head);
    buf_add(&b, spec->command, strlen(spec->command) + 1);
    head.argc = add_vector(&b, spec->argv);
    head.envc = add_vector(&b, spec->env);
    if (spec->cwd)
        buf_add(&b, spec->cwd, strlen(spec->cwd) + 1);
    memcpy(b.p, &head, sizeof head);
    if (b.n > SPAWN_SPEC_MAX + sizeof head) {
        err_fill(e, ERR_TOO_LARGE, "arguments and environment of %s exceed %d bytes", spec->command,
                 SPAWN_SPEC_MAX);
        goto out;
    }
    fd = memfd_create("child", MFD_CLOEXEC);
    if (fd >= 0 && write_all(fd, b.p, b.n))
        goto out;
    err_fill(e, ERR_SYSTEM, "cannot start %s: %s", spec->command, strerrordesc_np(errno));
    if (fd >= 0)
        close(fd);
    fd = -1;
out:
    explicit_bzero(b.p, b.n);
    buf_fini(&b);
    return fd;
}

struct child *child_start(struct spawner *s, struct loop *l, const struct child_spec *spec,
                          child_started_fn started, child_exited_fn exited, void *arg)
{
    struct spawn_msg refusal = {.type = SPAWN_STARTED};
    int none[3] = {-1, -1, -1};
    struct child *c = xcalloc(1, sizeof *c);
    *c = (struct child){.s = s, .l = l, .on_started = started, .on_exited = exited, .arg = arg};
    c->refs = 1;
    atomic_fetch_add(&s->refs, 1);
    int fd = spec_pack(spec, &refusal.err);
    pthread_mutex_lock(&s->lock);
    if (fd < 0) {
        post_news(c, &refusal, none);
    } else if (s->stopping) {
        close(fd);
        err_fill(&refusal.err, ERR_UNAVAILABLE, "shutting down");
        post_news(c, &refusal, none);
    } else {
        c->id = ++s->last_id;
        c->refs++;
        c->listed = true;
        LIST_INSERT_HEAD(&s->children, c, all);
        enqueue(s, SPAWN_START, c->id, 0, fd);
    }
    pthread_mutex_unlock(&s->lock);
    return c;
}

int child_pid(const struct child *c)
{
    return c->pid;
}

void child_stop(struct child *c, int grace_ms)
{
    pthread_mutex_lock(&c->s->lock);
    if (c->listed && !c->s->stopping)
        enqueue(c->s, SPAWN_STOP, c->id, grace_ms, -1);
    pthread_mutex_unlock(&c->s->lock);
}

void child_free(struct child **cp)
{
    struct child *c = *cp;
    if (!c)
        return;
    child_stop(c, FREE_GRACE_MS);
    pthread_mutex_lock(&c->s->lock);
    c->freed = true;
    pthread_mutex_unlock(&c->s->lock);
    *cp = NULL;
    child_unref(c);
}
