/* See sandbox.h. A filter that knows what may be called; everything else fails with EPERM, or,
 * where the C library tries what may be missing, with ENOSYS. Pointers cannot be judged here: which
 * files, is Landlock's. */
#include "local/sandbox.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
enum { ARCH = AUDIT_ARCH_X86_64 };
#elif defined(__aarch64__)
enum { ARCH = (int)AUDIT_ARCH_AARCH64 };
#else
enum { ARCH = 0 };
#endif

enum { NONE = -1, MAX_CODE = 700, FIRST_NEW_CALL = 424 };

/* Calls that only some machines have. */
#ifndef SYS_open
#define SYS_open         NONE
#define SYS_stat         NONE
#define SYS_lstat        NONE
#define SYS_access       NONE
#define SYS_readlink     NONE
#define SYS_getdents     NONE
#define SYS_poll         NONE
#define SYS_select       NONE
#define SYS_epoll_create NONE
#define SYS_epoll_wait   NONE
#define SYS_eventfd      NONE
#define SYS_pipe         NONE
#define SYS_dup2         NONE
#define SYS_mkdir        NONE
#define SYS_rmdir        NONE
#define SYS_unlink       NONE
#define SYS_rename       NONE
#define SYS_link         NONE
#define SYS_symlink      NONE
#define SYS_chmod        NONE
#define SYS_utime        NONE
#define SYS_utimes       NONE
#define SYS_futimesat    NONE
#define SYS_pause        NONE
#define SYS_alarm        NONE
#define SYS_time         NONE
#define SYS_getpgrp      NONE
#define SYS_arch_prctl   NONE
#define SYS_fork         NONE
#define SYS_vfork        NONE
#endif

static const int always[] = {
    /* files that are open, or that Landlock lets be opened */
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev,
    SYS_preadv2, SYS_pwritev2, SYS_open, SYS_openat, SYS_openat2, SYS_close, SYS_close_range,
    SYS_stat, SYS_fstat, SYS_lstat, SYS_newfstatat, SYS_statx, SYS_statfs, SYS_fstatfs, SYS_access,
    SYS_faccessat, SYS_faccessat2, SYS_readlink, SYS_readlinkat, SYS_getcwd, SYS_chdir, SYS_fchdir,
    SYS_getdents, SYS_getdents64, SYS_lseek, SYS_fcntl, SYS_flock, SYS_fsync, SYS_fdatasync,
    SYS_ftruncate, SYS_truncate, SYS_fallocate, SYS_sendfile, SYS_copy_file_range, SYS_fadvise64,
    SYS_mkdir, SYS_mkdirat, SYS_rmdir, SYS_unlink, SYS_unlinkat, SYS_rename, SYS_renameat,
    SYS_renameat2, SYS_link, SYS_linkat, SYS_symlink, SYS_symlinkat, SYS_umask, SYS_dup, SYS_dup2,
    SYS_dup3, SYS_pipe, SYS_pipe2, SYS_eventfd, SYS_eventfd2, SYS_poll, SYS_ppoll, SYS_select,
    SYS_pselect6, SYS_epoll_create, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_wait,
    SYS_epoll_pwait,
    /* memory */
    SYS_mmap, SYS_munmap, SYS_mprotect, SYS_mremap, SYS_madvise, SYS_msync, SYS_mincore, SYS_brk,
    SYS_membarrier,
    /* time and signals of its own */
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigtimedwait, SYS_rt_sigsuspend,
    SYS_rt_sigpending, SYS_sigaltstack, SYS_pause, SYS_alarm, SYS_getitimer, SYS_setitimer,
    SYS_timerfd_create, SYS_timerfd_settime, SYS_timerfd_gettime, SYS_nanosleep,
    SYS_clock_nanosleep, SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_time, SYS_times,
    SYS_getrusage, SYS_signalfd4, SYS_restart_syscall,
    /* threads and itself */
    SYS_futex, SYS_set_robust_list, SYS_get_robust_list, SYS_set_tid_address, SYS_rseq,
    SYS_sched_yield, SYS_sched_getaffinity, SYS_sched_getparam, SYS_sched_getscheduler,
    SYS_sched_get_priority_max, SYS_sched_get_priority_min, SYS_getpriority, SYS_getcpu, SYS_getpid,
    SYS_getppid, SYS_gettid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getresuid,
    SYS_getresgid, SYS_getgroups, SYS_getpgrp, SYS_getpgid, SYS_getsid, SYS_capget, SYS_uname,
    SYS_sysinfo, SYS_getrandom, SYS_getrlimit, SYS_setrlimit, SYS_arch_prctl, SYS_exit,
    SYS_exit_group,
    /* pairs of sockets, as event loops wake themselves with */
    SYS_sendto, SYS_recvfrom, SYS_sendmsg, SYS_recvmsg, SYS_shutdown, SYS_getsockopt,
    SYS_setsockopt, SYS_getsockname, SYS_getpeername};

/* Who owns a file may change these wherever it is: Landlock does not know of them. So only where
 * something may be written at all. */
static const int for_writers[] = {SYS_chmod,  SYS_fchmod,    SYS_fchmodat, SYS_utime,
                                  SYS_utimes, SYS_futimesat, SYS_utimensat};

static const int for_net[] = {SYS_connect, SYS_bind, SYS_sendmmsg, SYS_recvmmsg};

static const int for_exec[] = {
    SYS_fork,        SYS_vfork,      SYS_execve, SYS_execveat, SYS_wait4,
    SYS_waitid,      SYS_setpgid,    SYS_setsid, SYS_kill,     SYS_tkill,
    SYS_tgkill,      SYS_pidfd_open, SYS_fchown, SYS_splice,   SYS_pidfd_send_signal,
    SYS_memfd_create};

/* What a descriptor may be asked: its name here is not its meaning, which is why there are few. */
static const unsigned ioctls[] = {TCGETS,  TIOCGWINSZ, FIONREAD, FIONBIO,
                                  FIOCLEX, FIONCLEX,   TIOCGPGRP};

static const unsigned prctls[] = {PR_SET_NAME,     PR_GET_NAME,     PR_GET_PDEATHSIG,
                                  PR_GET_DUMPABLE, PR_CAPBSET_READ, PR_GET_NO_NEW_PRIVS,
                                  0x53564d41 /* names of mappings */};

enum {
    NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                 CLONE_NEWPID | CLONE_NEWNET
};

struct program {
    struct sock_filter code[MAX_CODE];
    size_t n;
};

static void add(struct program *p, uint16_t code, uint32_t k, uint8_t yes, uint8_t no)
{
    if (p->n == MAX_CODE)
        abort();
    p->code[p->n++] = (struct sock_filter){code, yes, no, k};
}

static void load(struct program *p, size_t offset)
{
    add(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

static void answer(struct program *p, uint32_t action)
{
    add(p, BPF_RET | BPF_K, action, 0, 0);
}

enum { ALLOW = (int)SECCOMP_RET_ALLOW };

static uint32_t refuse(int code)
{
    return SECCOMP_RET_ERRNO | (uint32_t)code;
}

static size_t arg(int i)
{
    /* The lower half: what the kernel takes of an int. */
    return offsetof(struct seccomp_data, args) + (size_t)i * sizeof(uint64_t);
}

static void allow(struct program *p, const int *calls, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (calls[i] == NONE)
            continue;
        add(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)calls[i], 0, 1);
        answer(p, ALLOW);
    }
}

/* call is allowed when its argument i is one of values; else it fails with code. */
static void allow_when(struct program *p, int call, int i, const unsigned *values, size_t n,
                       int code)
{
    if (call == NONE)
        return;
    add(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)call, 0, (uint8_t)(2 * n + 2));
    load(p, arg(i));
    for (size_t k = 0; k < n; k++) {
        add(p, BPF_JMP | BPF_JEQ | BPF_K, values[k], 0, 1);
        answer(p, ALLOW);
    }
    answer(p, refuse(code));
}

/* clone makes threads; processes only where programs may be run, and never namespaces. */
static void allow_clone(struct program *p, bool processes)
{
    add(p, BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 5);
    load(p, arg(0));
    add(p, BPF_JMP | BPF_JSET | BPF_K, NAMESPACES, 2, 0);
    add(p, BPF_JMP | BPF_JSET | BPF_K, processes ? 0xffffffff : CLONE_THREAD, 0, 1);
    answer(p, ALLOW);
    answer(p, refuse(EPERM));
}

/* Where programs may be run, whom signals reach is Landlock's. Limits are nobody else's: those of
 * the gateway could be lowered too. */
static void allow_itself(struct program *p, bool signals)
{
    unsigned self[] = {0, (unsigned)getpid()};
    if (signals) {
        allow_when(p, SYS_kill, 0, self + 1, 1, EPERM);
        allow_when(p, SYS_tgkill, 0, self + 1, 1, EPERM);
    }
    allow_when(p, SYS_prlimit64, 0, self, 2, EPERM);
}

static void begin(struct program *p)
{
    load(p, offsetof(struct seccomp_data, arch));
    add(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)ARCH, 1, 0);
    answer(p, SECCOMP_RET_KILL_PROCESS);
    load(p, offsetof(struct seccomp_data, nr));
    add(p, BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1); /* the x32 numbers */
    answer(p, refuse(ENOSYS));
}

static void build(struct program *p, const struct sandbox *s)
{
    static const unsigned inet[] = {AF_INET, AF_INET6};
    static const unsigned local[] = {AF_UNIX};
    bool net = s->profile != SANDBOX_PURE, exec = s->profile == SANDBOX_EXEC;
    begin(p);
    allow(p, always, sizeof always / sizeof *always);
    if (s->write[0])
        allow(p, for_writers, sizeof for_writers / sizeof *for_writers);
    if (net)
        allow(p, for_net, sizeof for_net / sizeof *for_net);
    if (exec)
        allow(p, for_exec, sizeof for_exec / sizeof *for_exec);
    allow_itself(p, !exec);
    allow_clone(p, exec);
    allow_when(p, SYS_ioctl, 1, ioctls, sizeof ioctls / sizeof *ioctls, ENOTTY);
    allow_when(p, SYS_prctl, 0, prctls, sizeof prctls / sizeof *prctls, EPERM);
    allow_when(p, SYS_socketpair, 0, local, 1, EPERM);
    if (net)
        allow_when(p, SYS_socket, 0, inet, 2, EAFNOSUPPORT);
    /* clone3 hides its flags behind a pointer: the C library falls back to clone. */
    add(p, BPF_JMP | BPF_JGE | BPF_K, FIRST_NEW_CALL, 0, 1);
    answer(p, refuse(ENOSYS));
    answer(p, refuse(EPERM));
}

bool sandbox_has_seccomp(void)
{
    uint32_t action = SECCOMP_RET_ERRNO;
    return ARCH != 0 && syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

bool sandbox_seccomp(const struct sandbox *s, struct err *e)
{
    struct program p = {.n = 0};
    build(&p, s);
    struct sock_fprog prog = {.len = (unsigned short)p.n, .filter = p.code};
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog) == 0 ||
           err_set(e, ERR_SYSTEM, "seccomp: %s", strerror(errno));
}
