/* See child.h and spawner.h. The spawner is single-threaded, has an empty environment and reads no
 * specification itself: it forks a keeper for each child and passes messages on. When the
 * gateway's side closes, it closes down its own towards the keepers, each ends its child, and the
 * spawner exits when the last keeper has. A keeper that is killed leaves its orphans to the
 * spawner, a subreaper too, which kills them. */
#include "base/child.h"

#include "base/clock.h"
#include "base/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct kid {
    uint64_t id;
    pid_t keeper;
    int ctl;
    bool started, reported; /* what the gateway has been told */
    LIST_ENTRY(kid) all;
};

struct hub {
    int sock, sig_fd;
    bool ending;          /* the gateway is gone or asked us to go */
    bool strays;          /* a keeper died early: orphans of its may be ours */
    int64_t give_up_ms;   /* when to stop waiting for keepers */
    struct pollfd *polls; /* sock, sig_fd, one a kid in list order */
    size_t kids, poll_cap;
    LIST_HEAD(kid_list, kid) list;
};

bool spawn_send(int sock, const struct spawn_msg *m, const int *fds, size_t n, int flags)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(3 * sizeof(int))];
    } control = {0};
    struct spawn_msg copy = *m;
    struct iovec iov = {&copy, sizeof copy};
    struct msghdr h = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n) {
        h.msg_control = control.bytes;
        h.msg_controllen = CMSG_SPACE(n * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&h);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    }
    ssize_t sent;
    do
        sent = sendmsg(sock, &h, flags | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)sizeof *m;
}

static void take_fds(struct msghdr *h, int fds[3])
{
    size_t n = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t have = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < have && n < 3; i++)
            memcpy(&fds[n++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
}

static void close_fds(int fds[3])
{
    for (int i = 0; i < 3; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
        fds[i] = -1;
    }
}

enum spawn_got spawn_recv(int sock, struct spawn_msg *m, int fds[3], int flags)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(3 * sizeof(int))];
    } control = {0};
    struct iovec iov = {m, sizeof *m};
    struct msghdr h = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    fds[0] = fds[1] = fds[2] = -1;
    ssize_t n = recvmsg(sock, &h, flags | MSG_CMSG_CLOEXEC);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? SPAWN_NOTHING : SPAWN_EOF;
    if (n == 0)
        return SPAWN_EOF;
    take_fds(&h, fds);
    if (n == (ssize_t)sizeof *m)
        return SPAWN_GOT;
    close_fds(fds);
    return SPAWN_NOTHING;
}

/* Tells the gateway. It always reads, so that blocking here is short; when it is gone, so are we
 * soon. Descriptors that cannot be passed are left out, and the gateway sees that. */
static void tell(struct hub *h, struct kid *k, struct spawn_msg *m, int fds[3])
{
    bool with = fds && fds[2] >= 0;
    m->id = k->id;
    k->started |= m->type == SPAWN_STARTED;
    k->reported |= m->type == SPAWN_EXITED || m->err.kind != ERR_NONE;
    if (!spawn_send(h->sock, m, fds, with ? 3 : 0, 0) && with)
        (void)!spawn_send(h->sock, m, NULL, 0, 0);
}

static void tell_failed(struct hub *h, struct kid *k, const char *what)
{
    struct spawn_msg m = {.type = SPAWN_STARTED};
    err_fill(&m.err, ERR_SYSTEM, "cannot start a child: %s", what);
    tell(h, k, &m, NULL);
}

static void kid_drop(struct hub *h, struct kid *k)
{
    LIST_REMOVE(k, all);
    h->kids--;
    close(k->ctl);
    free(k);
}

/* Forks the keeper; false with errno. */
static bool kid_fork(struct kid *k, int spec_fd)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return false;
    k->keeper = fork();
    if (k->keeper == 0)
        keeper_main(pair[1], spec_fd);
    int saved = errno;
    close(pair[1]);
    if (k->keeper < 0)
        close(pair[0]);
    else
        k->ctl = pair[0];
    errno = saved;
    return k->keeper > 0;
}

static void on_start(struct hub *h, uint64_t id, int spec_fd)
{
    struct kid k = {.id = id, .ctl = -1};
    if (spec_fd < 0) {
        tell_failed(h, &k, "its specification did not arrive");
    } else if (!kid_fork(&k, spec_fd)) {
        tell_failed(h, &k, strerrordesc_np(errno));
    } else {
        struct kid *kept = xmalloc(sizeof *kept);
        *kept = k;
        LIST_INSERT_HEAD(&h->list, kept, all);
        h->kids++;
    }
}

static void on_stop(struct hub *h, const struct spawn_msg *m)
{
    for (struct kid *k = LIST_FIRST(&h->list); k; k = LIST_NEXT(k, all)) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not follow LIST_REMOVE */
        if (k->id != m->id)
            continue;
        if (!spawn_send(k->ctl, m, NULL, 0, MSG_DONTWAIT))
            shutdown(k->ctl, SHUT_WR); /* it cannot be told: EOF ends the child as well */
    }
}

static void begin_end(struct hub *h)
{
    h->ending = true;
    h->give_up_ms = clock_ms() + SPAWN_END_MS + SPAWN_GIVE_UP_MS + 500;
    for (struct kid *k = LIST_FIRST(&h->list); k; k = LIST_NEXT(k, all)) {
        /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): as above */
        shutdown(k->ctl, SHUT_WR);
    }
}

static void on_gateway(struct hub *h)
{
    struct spawn_msg m = {0};
    int fds[3];
    switch (spawn_recv(h->sock, &m, fds, MSG_DONTWAIT)) {
    case SPAWN_NOTHING: return;
    case SPAWN_EOF: begin_end(h); return;
    case SPAWN_GOT: break;
    }
    if (m.type == SPAWN_START)
        on_start(h, m.id, fds[0]);
    else if (m.type == SPAWN_STOP)
        on_stop(h, &m);
    close_fds(fds);
}

/* The keeper has exited. One that was killed could not report: its child was killed with it. */
static void on_keeper_gone(struct hub *h, struct kid *k)
{
    struct spawn_msg m = {.type = SPAWN_EXITED, .value = SIGKILL};
    if (!k->started)
        tell_failed(h, k, "its keeper was killed");
    else if (!k->reported)
        tell(h, k, &m, NULL);
    kid_drop(h, k);
}

static void on_keeper(struct hub *h, struct kid *k)
{
    struct spawn_msg m = {0};
    int fds[3];
    switch (spawn_recv(k->ctl, &m, fds, MSG_DONTWAIT)) {
    case SPAWN_NOTHING: return;
    case SPAWN_EOF: on_keeper_gone(h, k); return;
    case SPAWN_GOT: break;
    }
    tell(h, k, &m, fds);
    close_fds(fds);
}

static bool is_keeper(const struct hub *h, pid_t pid)
{
    for (struct kid *k = LIST_FIRST(&h->list); k; k = LIST_NEXT(k, all))
        if (k->keeper == pid)
            return true;
    return false;
}

/* Reaps; true when no process is left below us. Killing an orphan may make its children ours, and
 * its end wakes us again: so every one is found in the end. */
static bool reap(struct hub *h)
{
    struct signalfd_siginfo si;
    struct spawn_proc found[4096];
    int status;
    pid_t pid;
    (void)!read(h->sig_fd, &si, sizeof si);
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        h->strays |= status != 0;
    if (pid < 0) {
        h->strays = false;
        return true;
    }
    size_t n = h->strays ? spawn_children(found, sizeof found / sizeof found[0]) : 0;
    h->strays = n == sizeof found / sizeof found[0];
    for (size_t i = 0; i < n; i++) {
        if (is_keeper(h, found[i].pid))
            continue;
        (void)kill(found[i].pid, SIGKILL);
        h->strays = true;
    }
    return false;
}

/* Waits for the gateway, a signal or a keeper. */
static void hub_poll(struct hub *h)
{
    if (h->kids + 2 > h->poll_cap) {
        h->poll_cap = 2 * (h->kids + 2);
        h->polls = xrealloc(h->polls, h->poll_cap * sizeof *h->polls);
    }
    size_t n = 2;
    h->polls[0] = (struct pollfd){.fd = h->ending ? -1 : h->sock, .events = POLLIN};
    h->polls[1] = (struct pollfd){.fd = h->sig_fd, .events = POLLIN};
    for (struct kid *k = LIST_FIRST(&h->list); k; k = LIST_NEXT(k, all)) {
        h->polls[n++] = (struct pollfd){.fd = k->ctl, .events = POLLIN};
    }
    if (poll(h->polls, (nfds_t)n, h->ending ? 100 : -1) < 0)
        h->polls[0].revents = h->polls[1].revents = 0;
}

static void hub_run(struct hub *h)
{
    for (;;) {
        struct kid *k = LIST_FIRST(&h->list);
        hub_poll(h);
        for (size_t i = 2; k; i++) { /* before a new kid comes to the head of the list */
            struct kid *next = LIST_NEXT(k, all);
            if (h->polls[i].revents)
                on_keeper(h, k);
            k = next;
        }
        if (h->polls[0].revents)
            on_gateway(h);
        bool alone = reap(h);
        if (h->ending && ((alone && h->kids == 0) || clock_ms() >= h->give_up_ms))
            return;
    }
}

int spawner_main(int fd)
{
    struct hub h = {.sock = fd};
    sigset_t set;
    static const int deaf[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    for (size_t i = 0; i < sizeof deaf / sizeof deaf[0]; i++)
        (void)signal(deaf[i], SIG_IGN); /* only the gateway's EOF ends us */
    if (fcntl(STDERR_FILENO, F_GETFD) < 0 && open("/dev/null", O_RDWR) != STDERR_FILENO)
        return 1; /* children's pipes must not land on 0, 1, 2 */
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || pthread_sigmask(SIG_SETMASK, &set, NULL) != 0 ||
        prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        return 1;
    h.sig_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (h.sig_fd < 0)
        return 1;
    hub_run(&h);
    while (!LIST_EMPTY(&h.list))
        kid_drop(&h, LIST_FIRST(&h.list));
    free(h.polls);
    return 0;
}
