/* See zygote.h. One thread, poll. What workers leave behind becomes ours (a subreaper), and what is
 * ours and no worker is killed. */
#include "local/zygote.h"

#include "base/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_WORKERS = 1024, MAX_STRAYS = 4096, WORKER_FD = 3 };

struct worker {
    pid_t pid;
    int fd; /* -1: the peer is gone, the worker is being killed */
};

struct nest {
    const struct zygote *z;
    int sig_fd;
    bool strays; /* a worker ended: what it left may be ours */
    struct worker *workers;
    struct pollfd *polls; /* life, signals, listen, one a worker */
    size_t n;
};

/* ---- birth ---- */

static bool is_peer(const struct nest *t, int fd)
{
    struct ucred who;
    socklen_t len = sizeof who;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.uid == getuid() &&
           (t->z->peer == 0 || who.pid == t->z->peer);
}

static _Noreturn void worker_main(const struct nest *t, int fd, pid_t parent)
{
    sigset_t none;
    sigemptyset(&none);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    (void)setsid();
    (void)signal(SIGPIPE, SIG_DFL);
    (void)pthread_sigmask(SIG_SETMASK, &none, NULL);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
        _exit(127);
    if (fd != WORKER_FD && dup3(fd, WORKER_FD, O_CLOEXEC) < 0)
        _exit(127);
    closefrom(WORKER_FD + 1);
    _exit(t->z->worker(WORKER_FD, t->z->arg));
}

static void on_connection(struct nest *t)
{
    pid_t self = getpid();
    /* cppcheck-suppress nullPointer ; who calls is asked of the socket */
    int fd = accept4(t->z->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (!is_peer(t, fd) || t->n == MAX_WORKERS) {
        close(fd);
        return;
    }
    t->z->before();
    pid_t pid = fork();
    if (pid == 0)
        worker_main(t, fd, self);
    t->z->after();
    if (pid < 0) {
        (void)fprintf(stderr, "headgate-python: fork: %s\n", strerror(errno));
        close(fd);
        return;
    }
    t->workers[t->n++] = (struct worker){pid, fd};
}

/* ---- death ---- */

/* The leader's number stays taken until we reap it, its group's with it. */
static void kill_worker(const struct worker *w)
{
    (void)kill(-w->pid, SIGKILL);
    (void)kill(w->pid, SIGKILL); /* before its setsid */
}

static void forget_connection(struct worker *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}

/* Sends how it ended; when the peer does not read, its connection's end has to do. */
static void tell_end(const struct worker *w, int status)
{
    char line[160];
    bool killed = WIFSIGNALED(status);
    int n = snprintf(line, sizeof line,
                     "\n{\"jsonrpc\":\"2.0\",\"method\":\"" ZYGOTE_EXITED
                     "\",\"params\":{\"%s\":%d}}\n",
                     killed ? "signal" : "status", killed ? WTERMSIG(status) : WEXITSTATUS(status));
    if (w->fd >= 0)
        (void)!send(w->fd, line, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static bool is_worker(const struct nest *t, pid_t pid)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->workers[i].pid == pid)
            return true;
    return false;
}

static void reap_one(struct nest *t, pid_t pid, int status)
{
    for (size_t i = 0; i < t->n; i++) {
        struct worker *w = &t->workers[i];
        if (w->pid != pid)
            continue;
        (void)kill(-pid, SIGKILL); /* its group may live on */
        tell_end(w, status);
        forget_connection(w);
        *w = t->workers[--t->n];
        t->strays = true;
        return;
    }
}

/* Each stray's end wakes us again, and may make its children ours. */
static void reap(struct nest *t)
{
    struct signalfd_siginfo si;
    static struct spawn_proc found[MAX_STRAYS];
    int status;
    pid_t pid;
    (void)!read(t->sig_fd, &si, sizeof si);
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        reap_one(t, pid, status);
    if (!t->strays)
        return;
    t->strays = false;
    if (pid < 0)
        return; /* no child at all */
    size_t n = spawn_children(found, MAX_STRAYS);
    for (size_t i = 0; i < n; i++) {
        if (is_worker(t, found[i].pid))
            continue;
        (void)kill(found[i].pid, SIGKILL);
        t->strays = true;
    }
}

/* ---- life ---- */

static void look_at_workers(struct nest *t)
{
    size_t polled = t->n;
    for (size_t i = 0; i < polled; i++) {
        struct worker *w = &t->workers[i];
        if (w->fd < 0 || !(t->polls[3 + i].revents & (POLLHUP | POLLERR | POLLNVAL)))
            continue;
        kill_worker(w);
        forget_connection(w);
    }
}

static bool turn(struct nest *t)
{
    struct pollfd *p = t->polls;
    p[0] = (struct pollfd){.fd = t->z->life_fd, .events = POLLIN};
    p[1] = (struct pollfd){.fd = t->sig_fd, .events = POLLIN};
    p[2] = (struct pollfd){.fd = t->z->listen_fd, .events = POLLIN};
    for (size_t i = 0; i < t->n; i++)
        p[3 + i] = (struct pollfd){.fd = t->workers[i].fd}; /* hang-ups only */
    if (poll(p, (nfds_t)(3 + t->n), -1) < 0)
        return errno == EINTR;
    char c;
    if (p[0].revents && read(t->z->life_fd, &c, 1) <= 0)
        return false;
    look_at_workers(t);
    if (p[1].revents)
        reap(t);
    if (p[2].revents)
        on_connection(t);
    return true;
}

bool zygote_run(const struct zygote *z, struct err *e)
{
    struct nest t = {.z = z};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 ||
        (t.sig_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK)) < 0)
        return err_set(e, ERR_SYSTEM, "the zygote cannot start: %s", strerror(errno));
    t.workers = xcalloc(MAX_WORKERS, sizeof *t.workers);
    t.polls = xcalloc(MAX_WORKERS + 3, sizeof *t.polls);
    while (turn(&t))
        ;
    for (size_t i = 0; i < t.n; i++)
        kill_worker(&t.workers[i]);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
    free(t.workers);
    free(t.polls);
    close(t.sig_fd);
    return true;
}
