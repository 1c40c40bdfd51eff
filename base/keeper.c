/* See spawner.h. The child ("leader") leads a session and a process group. Its end is seen before
 * it is reaped, so that its group can be signalled while the number cannot have been given away;
 * after that only own children are signalled, which cannot vanish under us either. What the
 * child's processes leave behind becomes our child one generation after the other, until waitid
 * says that nothing is left. */
#include "base/spawner.h"

#include "base/clock.h"
#include "base/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static const char default_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

enum { SWEEP_MS = 20 };

struct spec {
    char *bytes; /* owns what the others point into */
    size_t n;
    char *command, *cwd;
    char **argv, **env;
};

struct keeper {
    int ctl, sig_fd;
    int exec_fd;  /* EOF: exec went well; struct err: it did not; -1: known */
    int ends[3];  /* our ends of its stdin, stdout, stderr until handed over */
    pid_t leader; /* also its group; reaped when leader_gone */
    int status;
    bool leader_gone, failed, orphaned, ending, termed;
    int64_t kill_at_ms;
};

static bool read_all(int fd, char *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        ssize_t got = pread(fd, p + at, n - at, (off_t)at);
        if (got <= 0)
            return false;
        at += (size_t)got;
    }
    return true;
}

/* Takes the next string from *at; NULL when there is none. */
static char *next_string(char **at, const char *end)
{
    char *s = *at;
    if (s >= end)
        return NULL;
    *at = s + strlen(s) + 1; /* the last byte is a NUL */
    return s;
}

/* Takes n strings into a vector that ends with NULL, after skip free places. */
static char **next_vector(char **at, const char *end, size_t n, size_t skip)
{
    char **v = xcalloc(n + skip + 1, sizeof *v);
    for (size_t i = 0; i < n; i++)
        v[skip + i] = next_string(at, end);
    return v;
}

static bool spec_load(int fd, struct spec *s)
{
    struct stat st;
    size_t least = sizeof(struct spawn_head) + 1, most = least - 1 + SPAWN_SPEC_MAX;
    if (fstat(fd, &st) < 0 || st.st_size < (off_t)least || st.st_size > (off_t)most)
        return false;
    s->n = (size_t)st.st_size;
    s->bytes = xmalloc(s->n);
    return read_all(fd, s->bytes, s->n) && s->bytes[s->n - 1] == '\0';
}

static bool spec_read(int fd, struct spec *s)
{
    struct spawn_head head;
    if (!spec_load(fd, s))
        return false;
    memcpy(&head, s->bytes, sizeof head);
    if (head.argc > SPAWN_SPEC_MAX || head.envc > SPAWN_SPEC_MAX)
        return false;
    char *at = s->bytes + sizeof head;
    const char *end = s->bytes + s->n;
    s->command = next_string(&at, end);
    s->argv = next_vector(&at, end, head.argc, 1);
    s->argv[0] = s->command;
    s->env = next_vector(&at, end, head.envc, 0);
    s->cwd = head.has_cwd ? next_string(&at, end) : NULL;
    return s->command && (!head.has_cwd || s->cwd) && at == end;
}

/* The child's secrets need not stay here as long as it lives. */
static void spec_wipe(struct spec *s)
{
    if (s->bytes)
        explicit_bzero(s->bytes, s->n);
    free(s->bytes);
    free(s->argv);
    free(s->env);
    *s = (struct spec){0};
}

enum exec_fate { EXEC_ABSENT, EXEC_DENIED, EXEC_BROKEN };

/* Becomes file; returns only when that fails, and says why. */
static enum exec_fate exec_file(const char *file, const struct spec *s, struct err *e)
{
    execve(file, s->argv, s->env);
    int code = errno;
    if (code == EACCES) {
        err_fill(e, ERR_CONFIG, "no permission to run: %s", file);
        return EXEC_DENIED;
    }
    if ((code == ENOENT || code == ENOTDIR) && access(file, F_OK) < 0) {
        err_fill(e, ERR_CONFIG, "command not found: %s", file);
        return EXEC_ABSENT;
    }
    if (code == ENOENT)
        err_fill(e, ERR_CONFIG, "cannot run %s: its interpreter is missing", file);
    else if (code == E2BIG)
        err_fill(e, ERR_TOO_LARGE, "arguments or environment too large: %s", file);
    else
        err_fill(e, ERR_SYSTEM, "cannot run %s: %s", file, strerrordesc_np(code));
    return EXEC_BROKEN;
}

/* The same for command in one directory; an empty one is the current. */
static enum exec_fate exec_in(struct str dir, const struct spec *s, struct err *e)
{
    struct buf file = {0};
    buf_add_str(&file, dir.n ? dir : STR("."));
    buf_addf(&file, "/%s", s->command);
    buf_addc(&file, '\0');
    enum exec_fate fate = exec_file(file.p, s, e);
    buf_fini(&file);
    return fate;
}

static const char *path_of(char *const *env)
{
    for (; *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return default_path;
}

/* As execvpe, but with the child's PATH, and no shell for what has no interpreter. */
static void exec_search(const struct spec *s, struct err *e)
{
    const char *path = path_of(s->env);
    bool denied = false;
    for (const char *at = path, *colon;; at = colon + 1) {
        struct err one;
        colon = strchrnul(at, ':');
        enum exec_fate fate = exec_in((struct str){at, (size_t)(colon - at)}, s, &one);
        if (fate == EXEC_BROKEN || (fate == EXEC_DENIED && !denied))
            *e = one;
        denied |= fate == EXEC_DENIED;
        if (fate == EXEC_BROKEN)
            return;
        if (!*colon)
            break;
    }
    if (!denied)
        err_fill(e, ERR_CONFIG, "command not found: %s (PATH=%s)", s->command, path);
}

/* The state that a program may expect at its start, whatever ours is. */
static void reset_process(pid_t keeper)
{
    sigset_t none;
    /* The system call, because glibc hides two signals and posix_spawn left them ignored. All
     * zero is SIG_DFL, and larger than any kernel's struct sigaction. */
    static const long dfl[8];
    for (int i = 1; i < _NSIG; i++)
        (void)syscall(SYS_rt_sigaction, i, dfl, NULL, _NSIG / 8);
    sigemptyset(&none);
    (void)pthread_sigmask(SIG_SETMASK, &none, NULL);
    (void)setsid();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != keeper)
        _exit(127); /* it died before it could take us along */
}

/* In the new process: becomes the child, or says on SPAWN_FD why not. */
static _Noreturn void leader_main(const struct spec *s, const int ends[3], int report, pid_t keeper)
{
    struct err e = {0};
    reset_process(keeper);
    bool ok = true;
    for (int i = 0; i < 3; i++)
        ok = ok && dup2(ends[i], i) == i;
    if (!ok || dup3(report, SPAWN_FD, O_CLOEXEC) < 0)
        _exit(127);
    closefrom(SPAWN_FD + 1);
    if (s->cwd && chdir(s->cwd) < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            err_fill(&e, ERR_CONFIG, "cwd does not exist: %s", s->cwd);
        else
            err_fill(&e, ERR_CONFIG, "cannot enter cwd %s: %s", s->cwd, strerrordesc_np(errno));
    } else if (strchr(s->command, '/')) {
        (void)exec_file(s->command, s, &e);
    } else if (*s->command) {
        exec_search(s, &e);
    } else {
        err_fill(&e, ERR_CONFIG, "command is empty");
    }
    (void)!write(SPAWN_FD, &e, sizeof e);
    _exit(127);
}

static void close_pairs(int pairs[4][2], int side)
{
    for (int i = 0; i < 4; i++)
        if (pairs[i][side] >= 0)
            close(pairs[i][side]);
}

/* Forks the leader with three pipes for 0, 1, 2 and a fourth for the fate of exec. */
static bool leader_fork(struct keeper *k, const struct spec *s)
{
    int pairs[4][2] = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
    pid_t self = getpid();
    bool ok = true;
    for (int i = 0; i < 4; i++)
        ok = ok && pipe2(pairs[i], O_CLOEXEC) == 0;
    k->leader = ok ? fork() : -1;
    if (k->leader == 0) {
        int theirs[3] = {pairs[0][0], pairs[1][1], pairs[2][1]};
        leader_main(s, theirs, pairs[3][1], self);
    }
    if (k->leader < 0) {
        int saved = errno;
        close_pairs(pairs, 0);
        close_pairs(pairs, 1);
        errno = saved;
        return false;
    }
    close(pairs[0][0]);
    for (int i = 1; i < 4; i++)
        close(pairs[i][1]);
    k->ends[0] = pairs[0][1];
    k->ends[1] = pairs[1][0];
    k->ends[2] = pairs[2][0];
    k->exec_fd = pairs[3][0];
    for (int i = 0; i < 3; i++)
        (void)fcntl(k->ends[i], F_SETFL, O_NONBLOCK); /* of our end only */
    return true;
}

/* What exec came to: tell it, and hand our ends over. */
static void on_exec(struct keeper *k)
{
    struct spawn_msg m = {.type = SPAWN_STARTED, .value = (int)k->leader};
    struct err e;
    ssize_t n = read(k->exec_fd, &e, sizeof e);
    if (n == (ssize_t)sizeof e) {
        k->failed = true;
        m.err = e;
    }
    (void)!spawn_send(k->ctl, &m, k->ends, k->failed ? 0 : 3, 0);
    for (int i = 0; i < 3; i++)
        close(k->ends[i]);
    close(k->exec_fd);
    k->exec_fd = -1;
}

static void begin_end(struct keeper *k, int grace_ms)
{
    int64_t at = clock_ms() + (grace_ms > 0 ? grace_ms : 0);
    if (!k->ending || at < k->kill_at_ms)
        k->kill_at_ms = at;
    k->ending = true;
}

static void on_ctl(struct keeper *k)
{
    struct spawn_msg m = {0};
    int fds[3];
    switch (spawn_recv(k->ctl, &m, fds, MSG_DONTWAIT)) {
    case SPAWN_NOTHING: return;
    case SPAWN_GOT: begin_end(k, m.value); return;
    case SPAWN_EOF:
        k->orphaned = true;
        begin_end(k, SPAWN_END_MS);
        return;
    }
}

/* The leader is a zombie: nobody can have its number yet. */
static void on_leader_end(struct keeper *k)
{
    if (k->exec_fd >= 0)
        on_exec(k);
    if (k->ending) {
        k->termed = false; /* who left the group becomes ours only now */
    } else {
        (void)kill(-k->leader, SIGKILL);
        begin_end(k, 0);
    }
    k->leader_gone = true;
}

/* True when no process is left. */
static bool reap(struct keeper *k)
{
    for (;;) {
        int status = 0;
        siginfo_t si = {0};
        if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) < 0)
            return errno == ECHILD;
        if (si.si_pid == 0)
            return false;
        bool is_leader = si.si_pid == k->leader && !k->leader_gone;
        if (is_leader)
            on_leader_end(k);
        if (waitpid(si.si_pid, &status, 0) == si.si_pid && is_leader)
            k->status = status;
    }
}

/* Signals the group, while the leader holds its number, and every other child of ours. SIGTERM
 * does not reach members of the group twice: some take a second one as "do not clean up". */
static void signal_all(const struct keeper *k, int sig)
{
    struct spawn_proc found[256];
    if (!k->leader_gone && kill(-k->leader, sig) < 0)
        (void)kill(k->leader, sig);
    size_t n = spawn_children(found, sizeof found / sizeof found[0]);
    for (size_t i = 0; i < n; i++)
        if (sig == SIGKILL || found[i].pgrp != k->leader)
            (void)kill(found[i].pid, sig);
}

/* Takes the step that is due. Before exec the leader still ignores SIGTERM, so that waits. */
static void push(struct keeper *k)
{
    if (!k->ending)
        return;
    bool due = clock_ms() >= k->kill_at_ms;
    if (!k->termed && k->exec_fd < 0) {
        signal_all(k, SIGTERM);
        k->termed = true;
    }
    if (due)
        signal_all(k, SIGKILL);
}

static int wait_ms(const struct keeper *k)
{
    if (!k->ending)
        return -1;
    int64_t left = k->kill_at_ms - clock_ms();
    return left < SWEEP_MS ? SWEEP_MS : left > 60000 ? 60000 : (int)left;
}

/* False when something could not be killed. */
static bool keep(struct keeper *k)
{
    for (;;) {
        struct pollfd p[3] = {{.fd = k->orphaned ? -1 : k->ctl, .events = POLLIN},
                              {.fd = k->exec_fd, .events = POLLIN},
                              {.fd = k->sig_fd, .events = POLLIN}};
        struct signalfd_siginfo si;
        if (poll(p, 3, wait_ms(k)) < 0)
            continue;
        if (p[1].revents)
            on_exec(k);
        if (p[0].revents)
            on_ctl(k);
        (void)!read(k->sig_fd, &si, sizeof si);
        if (reap(k))
            return true;
        push(k);
        if (k->ending && clock_ms() >= k->kill_at_ms + SPAWN_GIVE_UP_MS)
            return false;
    }
}

static void fail_start(struct keeper *k, enum err_kind kind, const char *what)
{
    struct spawn_msg m = {.type = SPAWN_STARTED};
    err_fill(&m.err, kind, "cannot start a child: %s", what);
    (void)!spawn_send(k->ctl, &m, NULL, 0, 0);
    _exit(0);
}

_Noreturn void keeper_main(int ctl, int spec_fd)
{
    struct keeper k = {.ctl = SPAWN_FD, .exec_fd = -1, .status = SIGKILL};
    struct spec s = {0};
    sigset_t set;
    bool readable = spec_read(spec_fd, &s);
    /* The spawner's other sockets must close when it does. */
    if (dup3(ctl, SPAWN_FD, O_CLOEXEC) < 0)
        _exit(1);
    closefrom(SPAWN_FD + 1);
    if (!readable)
        fail_start(&k, ERR_INTERNAL, "its specification is damaged");
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD); /* blocked since the spawner began */
    k.sig_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (k.sig_fd < 0 || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || !leader_fork(&k, &s))
        fail_start(&k, ERR_SYSTEM, strerrordesc_np(errno));
    spec_wipe(&s);
    bool all = keep(&k);
    struct spawn_msg m = {.type = SPAWN_EXITED, .value = k.status};
    if (!k.failed)
        (void)!spawn_send(k.ctl, &m, NULL, 0, 0);
    _exit(all ? 0 : 1);
}

/* Reads "pid (comm) state ppid pgrp …"; comm may hold anything, so the last ')' counts. */
static bool proc_read(const char *name, pid_t *ppid, struct spawn_proc *out)
{
    char path[64], line[512];
    uint64_t pid;
    if (!str_to_u64(str_of(name), &pid) || pid > INT32_MAX)
        return false;
    (void)snprintf(path, sizeof path, "/proc/%s/stat", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, line, sizeof line - 1);
    close(fd);
    if (n <= 0)
        return false;
    line[n] = '\0';
    const char *tail = strrchr(line, ')');
    if (!tail || tail[1] != ' ' || !tail[2])
        return false;
    char *at;
    *ppid = (pid_t)strtol(tail + 3, &at, 10);
    *out = (struct spawn_proc){(pid_t)pid, (pid_t)strtol(at, NULL, 10)};
    return true;
}

size_t spawn_children(struct spawn_proc *out, size_t max)
{
    DIR *dir = opendir("/proc");
    pid_t self = getpid(), parent;
    struct spawn_proc p;
    size_t n = 0;
    if (!dir)
        return 0;
    for (const struct dirent *d; n < max && (d = readdir(dir));) /* NOLINT: one thread */
        if (proc_read(d->d_name, &parent, &p) && parent == self)
            out[n++] = p;
    closedir(dir);
    return n;
}
