/* Real processes: this binary is its own spawner (see main). Waiting is by end of file, by the
 * child's callbacks, or by asking /proc a bounded number of times for what must come. */
#include "base/child.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { PATIENCE_MS = 20000 };

static const char *const std_env[] = {"PATH=/usr/bin:/bin", NULL};

/* A child and what was told about it. */
struct fixture {
    struct spawner *s;
    struct loop *l;
};
struct seen {
    struct loop *l;
    struct child *c;
    int in, out, err, status, started, exited;
    bool failed;
    struct err e;
};

static void on_started(struct child *c, int in, int out, int err, const struct err *e, void *arg)
{
    struct seen *seen = arg;
    assert_ptr_equal(c, seen->c); /* never before child_start has returned */
    seen->started++;
    seen->in = in;
    seen->out = out;
    seen->err = err;
    seen->failed = e != NULL;
    if (e)
        seen->e = *e;
    loop_stop(seen->l);
}

static void on_exited(struct child *c, int status, void *arg)
{
    struct seen *seen = arg;
    assert_ptr_equal(c, seen->c);
    seen->exited++;
    seen->status = status;
    loop_stop(seen->l);
}

static int set_up(void **state)
{
    struct fixture *f = xcalloc(1, sizeof *f);
    struct err e = {0};
    f->l = loop_new("test");
    f->s = spawner_start(&e);
    *state = f;
    return f->s ? 0 : -1;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    spawner_stop(&f->s);
    loop_free(&f->l);
    free(f);
    return 0;
}

static void start(struct fixture *f, struct seen *seen, const struct child_spec *spec)
{
    *seen = (struct seen){.l = f->l, .in = -1, .out = -1, .err = -1};
    seen->c = child_start(f->s, f->l, spec, on_started, on_exited, seen);
    assert_non_null(seen->c);
}

static void wait_started(struct seen *seen)
{
    while (!seen->started)
        loop_run(seen->l);
}

static void wait_exited(struct seen *seen)
{
    while (!seen->exited)
        loop_run(seen->l);
}

static void close_all(struct seen *seen)
{
    int *fds[] = {&seen->in, &seen->out, &seen->err};
    for (int i = 0; i < 3; i++) {
        if (*fds[i] >= 0)
            close(*fds[i]);
        *fds[i] = -1;
    }
}

static void start_ok(struct fixture *f, struct seen *seen, const struct child_spec *spec)
{
    start(f, seen, spec);
    wait_started(seen);
    if (seen->failed)
        fail_msg("%s: %s", spec->command, seen->e.msg);
}

static void start_sh(struct fixture *f, struct seen *seen, const char *script)
{
    const char *argv[] = {"-c", script, NULL};
    start_ok(f, seen, &(struct child_spec){"sh", argv, std_env, NULL});
}

/* Reads up to and with the next newline, or to the end of file. */
static void read_until(int fd, struct buf *b, bool line)
{
    char c;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, PATIENCE_MS) != 1)
            fail_msg("nothing to read; so far: %.*s", STR_FMT(*b));
        ssize_t n = read(fd, &c, 1);
        if (n == 0)
            break;
        assert_int_equal(n, 1);
        buf_addc(b, c);
        if (line && c == '\n')
            break;
    }
}

static void assert_reads(int fd, const char *want)
{
    struct buf b = {0};
    read_until(fd, &b, false);
    if (!str_eq(buf_str(&b), str_of(want)))
        fail_msg("read '%.*s', not '%s'", STR_FMT(b), want);
    buf_fini(&b);
}

static int read_number(int fd)
{
    struct buf b = {0};
    uint64_t v = 0;
    read_until(fd, &b, true);
    assert_true(str_to_u64((struct str){b.p, b.n ? b.n - 1 : 0}, &v));
    buf_fini(&b);
    return (int)v;
}

/* The state letter of a process, 0 when there is none. */
static char proc_state(int pid)
{
    char path[64], line[512] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, line, sizeof line - 1);
    close(fd);
    const char *tail = n > 0 ? strrchr(line, ')') : NULL;
    return tail && tail[1] ? tail[2] : 0;
}

static void pause_ms(int ms)
{
    struct timespec ts = {0, ms * 1000000L};
    (void)nanosleep(&ts, NULL);
}

/* Asks until the process is gone or dead. */
static bool goes_away(int pid)
{
    for (int i = 0; i < PATIENCE_MS / 10; i++) {
        char c = proc_state(pid);
        if (c == 0 || c == 'Z' || c == 'X')
            return true;
        pause_ms(10);
    }
    return false;
}

static void assert_failed(struct seen *seen, enum err_kind kind, const char *msg)
{
    wait_started(seen);
    assert_true(seen->failed);
    assert_string_equal(seen->e.msg, msg);
    assert_int_equal(seen->e.kind, kind);
    assert_int_equal(seen->in, -1);
    assert_int_equal(seen->out, -1);
    assert_int_equal(seen->err, -1);
    assert_int_equal(child_pid(seen->c), 0);
    child_free(&seen->c);
    assert_null(seen->c);
}

static void child_echoes_through_its_pipes(void **state)
{
    struct seen seen;
    start_ok(*state, &seen, &(struct child_spec){"cat", NULL, std_env, NULL});
    assert_true(child_pid(seen.c) > 0);
    assert_int_equal(getpgid(child_pid(seen.c)), child_pid(seen.c));
    assert_int_equal(getsid(child_pid(seen.c)), child_pid(seen.c));
    assert_int_equal(write(seen.in, "hello\n", 6), 6);
    close(seen.in);
    seen.in = -1;
    assert_reads(seen.out, "hello\n");
    assert_reads(seen.err, "");
    wait_exited(&seen);
    assert_true(WIFEXITED(seen.status) && WEXITSTATUS(seen.status) == 0);
    assert_int_equal(child_pid(seen.c), 0);
    close_all(&seen);
    child_free(&seen.c);
}

static void our_ends_are_nonblocking_and_close_on_exec(void **state)
{
    struct seen seen;
    start_ok(*state, &seen, &(struct child_spec){"cat", NULL, std_env, NULL});
    const int fds[] = {seen.in, seen.out, seen.err};
    for (int i = 0; i < 3; i++) {
        assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
    }
    close_all(&seen);
    wait_exited(&seen);
    child_free(&seen.c);
}

static void stdin_of_the_child_blocks(void **state)
{
    struct seen seen;
    /* With O_NONBLOCK on its side, read would fail at once. */
    start_sh(*state, &seen, "echo ready; read x; echo got $x");
    struct buf b = {0};
    read_until(seen.out, &b, true);
    assert_int_equal(write(seen.in, "it\n", 3), 3);
    assert_reads(seen.out, "got it\n");
    buf_fini(&b);
    wait_exited(&seen);
    close_all(&seen);
    child_free(&seen.c);
}

static void unknown_command_is_named_with_its_path(void **state)
{
    struct seen seen;
    start(*state, &seen, &(struct child_spec){"no-such-command", NULL, std_env, NULL});
    assert_failed(&seen, ERR_CONFIG, "command not found: no-such-command (PATH=/usr/bin:/bin)");
    start(*state, &seen, &(struct child_spec){"/no/such", NULL, std_env, NULL});
    assert_failed(&seen, ERR_CONFIG, "command not found: /no/such");
    start(*state, &seen, &(struct child_spec){"", NULL, std_env, NULL});
    assert_failed(&seen, ERR_CONFIG, "command is empty");
}

static void command_is_found_on_the_default_path_without_environment(void **state)
{
    struct seen seen;
    start_ok(*state, &seen, &(struct child_spec){"env", NULL, NULL, NULL});
    assert_reads(seen.out, "");
    wait_exited(&seen);
    close_all(&seen);
    child_free(&seen.c);
}

static void path_is_searched_past_what_may_not_run(void **state)
{
    static const char *const odd[] = {"PATH=/proc/version:/nowhere:/etc:/usr/bin:/bin", NULL};
    struct seen seen;
    start_ok(*state, &seen, &(struct child_spec){"true", NULL, odd, NULL});
    wait_exited(&seen);
    close_all(&seen);
    child_free(&seen.c);
    static const char *const etc[] = {"PATH=/etc", NULL};
    start(*state, &seen, &(struct child_spec){"passwd", NULL, etc, NULL});
    assert_failed(&seen, ERR_CONFIG, "no permission to run: /etc/passwd");
}

static void write_file(char path[32], const char *text)
{
    (void)snprintf(path, 32, "/var/tmp/child_test.XXXXXX");
    int fd = mkostemp(path, O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, 0700), 0);
    close(fd);
}

static void missing_interpreter_is_said(void **state)
{
    struct seen seen;
    char path[32], want[128];
    write_file(path, "#!/no/such/interpreter\n");
    start(*state, &seen, &(struct child_spec){path, NULL, std_env, NULL});
    (void)snprintf(want, sizeof want, "cannot run %s: its interpreter is missing", path);
    assert_failed(&seen, ERR_CONFIG, want);
    (void)unlink(path);
}

static void script_without_interpreter_is_not_given_to_a_shell(void **state)
{
    struct seen seen;
    char path[32], want[128];
    write_file(path, "echo no\n");
    start(*state, &seen, &(struct child_spec){path, NULL, std_env, NULL});
    (void)snprintf(want, sizeof want, "cannot run %s: Exec format error", path);
    assert_failed(&seen, ERR_SYSTEM, want);
    (void)unlink(path);
}

static void cwd_is_entered_and_a_missing_one_is_named(void **state)
{
    struct seen seen;
    start_ok(*state, &seen, &(struct child_spec){"pwd", NULL, std_env, "/usr/lib"});
    assert_reads(seen.out, "/usr/lib\n");
    wait_exited(&seen);
    close_all(&seen);
    child_free(&seen.c);
    start(*state, &seen, &(struct child_spec){"pwd", NULL, std_env, "/no/such/dir"});
    assert_failed(&seen, ERR_CONFIG, "cwd does not exist: /no/such/dir");
}

static void environment_is_exactly_as_given(void **state)
{
    static const char *const env[] = {"B=2", "PATH=/usr/bin:/bin", "A=", "C=x=y z", NULL};
    struct seen seen;
    assert_int_equal(setenv("HEADGATE_TEST_SECRET", "hidden", 1), 0);
    start_ok(*state, &seen, &(struct child_spec){"env", NULL, env, NULL});
    assert_reads(seen.out, "B=2\nPATH=/usr/bin:/bin\nA=\nC=x=y z\n");
    wait_exited(&seen);
    close_all(&seen);
    child_free(&seen.c);
}

static void arguments_are_passed_as_they_are(void **state)
{
    static const char *const argv[] = {"[%s]", "a b", "", "$HOME", "*", NULL};
    struct seen seen;
    start_ok(*state, &seen, &(struct child_spec){"printf", argv, std_env, NULL});
    assert_reads(seen.out, "[a b][][$HOME][*]");
    wait_exited(&seen);
    close_all(&seen);
    child_free(&seen.c);
}

static void large_specifications_arrive_and_larger_ones_are_refused(void **state)
{
    struct seen seen;
    char *big = xmalloc(125 * 1024 + 1);
    memset(big, 'x', 125 * 1024);
    big[125 * 1024] = '\0';
    const char *argv[] = {"-c", "echo ${#1} ${#2}", "sh", big, big, big, NULL};
    argv[5] = NULL;
    start_ok(*state, &seen, &(struct child_spec){"sh", argv, std_env, NULL});
    assert_reads(seen.out, "128000 128000\n");
    wait_exited(&seen);
    close_all(&seen);
    child_free(&seen.c);
    argv[5] = big;
    start(*state, &seen, &(struct child_spec){"sh", argv, std_env, NULL});
    assert_failed(&seen, ERR_TOO_LARGE, "arguments and environment of sh exceed 262144 bytes");
    free(big);
}

static void no_descriptor_is_inherited(void **state)
{
    struct seen seen;
    int leak = open("/dev/null", O_RDWR); /* without O_CLOEXEC */
    assert_true(leak >= 0);
    struct fixture f = *(struct fixture *)*state;
    struct err e = {0};
    f.s = spawner_start(&e);
    assert_non_null(f.s);
    start_sh(&f, &seen, "cd /proc/self/fd && echo *");
    /* 3 is the directory that the shell itself has open, if it has. */
    struct buf b = {0};
    read_until(seen.out, &b, true);
    if (!str_eq(buf_str(&b), STR("0 1 2\n")) && !str_eq(buf_str(&b), STR("0 1 2 3\n")))
        fail_msg("open: %.*s", STR_FMT(b));
    buf_fini(&b);
    wait_exited(&seen);
    close_all(&seen);
    child_free(&seen.c);
    spawner_stop(&f.s);
    close(leak);
}

static void signals_are_at_their_defaults(void **state)
{
    struct seen seen;
    const char *argv[] = {"-n", "/^Sig[BIC]/p", "/proc/self/status", NULL};
    start_ok(*state, &seen, &(struct child_spec){"sed", argv, std_env, NULL});
    assert_reads(seen.out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n"
                           "SigCgt:\t0000000000000000\n");
    wait_exited(&seen);
    close_all(&seen);
    child_free(&seen.c);
}

static void spawner_has_no_environment_and_outlives_terminal_signals(void **state)
{
    struct fixture *f = *state;
    struct seen seen;
    char path[64], c;
    start_sh(f, &seen, "exit 0"); /* so that it has set itself up */
    wait_exited(&seen);
    close_all(&seen);
    child_free(&seen.c);
    (void)snprintf(path, sizeof path, "/proc/%d/environ", spawner_pid(f->s));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, &c, 1), 0);
    close(fd);
    assert_int_equal(kill(spawner_pid(f->s), SIGTERM), 0);
    assert_int_equal(kill(spawner_pid(f->s), SIGINT), 0);
    assert_int_equal(getsid(spawner_pid(f->s)), spawner_pid(f->s));
    int pid = spawner_pid(f->s);
    start_sh(f, &seen, "exit 0");
    wait_exited(&seen);
    assert_int_equal(spawner_pid(f->s), pid);
    close_all(&seen);
    child_free(&seen.c);
}

static void exit_status_and_signal_are_reported(void **state)
{
    struct seen seen;
    start_sh(*state, &seen, "exit 7");
    wait_exited(&seen);
    assert_true(WIFEXITED(seen.status) && WEXITSTATUS(seen.status) == 7);
    close_all(&seen);
    child_free(&seen.c);
    start_sh(*state, &seen, "kill -USR1 $$");
    wait_exited(&seen);
    assert_true(WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == SIGUSR1);
    assert_int_equal(seen.started, 1);
    assert_int_equal(seen.exited, 1);
    close_all(&seen);
    child_free(&seen.c);
}

static void stop_asks_first(void **state)
{
    struct seen seen;
    start_sh(*state, &seen, "trap 'echo bye; exit 3' TERM; echo ready; while :; do read x; done");
    struct buf b = {0};
    read_until(seen.out, &b, true);
    buf_fini(&b);
    child_stop(seen.c, PATIENCE_MS);
    wait_exited(&seen);
    assert_true(WIFEXITED(seen.status) && WEXITSTATUS(seen.status) == 3);
    assert_reads(seen.out, "bye\n");
    close_all(&seen);
    child_free(&seen.c);
}

static void stop_kills_who_ignores_sigterm(void **state)
{
    struct seen seen;
    start_sh(*state, &seen, "trap '' TERM; echo ready; while :; do sleep 1; done");
    struct buf b = {0};
    read_until(seen.out, &b, true);
    buf_fini(&b);
    child_stop(seen.c, 50);
    wait_exited(&seen);
    assert_true(WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == SIGKILL);
    close_all(&seen);
    child_stop(seen.c, 50); /* of no effect */
    child_free(&seen.c);
}

static void shorter_second_stop_wins(void **state)
{
    struct seen seen;
    start_sh(*state, &seen, "trap '' TERM; echo ready; while :; do sleep 1; done");
    struct buf b = {0};
    read_until(seen.out, &b, true);
    buf_fini(&b);
    child_stop(seen.c, 3600 * 1000);
    child_stop(seen.c, 0);
    wait_exited(&seen);
    assert_true(WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == SIGKILL);
    close_all(&seen);
    child_free(&seen.c);
}

static void stop_right_after_start_ends_it(void **state)
{
    struct seen seen;
    start(*state, &seen,
          &(struct child_spec){"sleep", (const char *[]){"1000", NULL}, std_env, NULL});
    child_stop(seen.c, PATIENCE_MS);
    wait_exited(&seen);
    assert_int_equal(seen.started, 1);
    assert_true(WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == SIGTERM);
    close_all(&seen);
    child_free(&seen.c);
}

static void grandchild_ends_with_its_leader(void **state)
{
    struct seen seen;
    start_sh(*state, &seen, "sleep 1000 & echo $!");
    int pid = read_number(seen.out);
    wait_exited(&seen);
    assert_int_equal(WEXITSTATUS(seen.status), 0);
    assert_int_equal(proc_state(pid), 0); /* reaped, not only dead */
    close_all(&seen);
    child_free(&seen.c);
}

/* A daemon as textbooks make it: its own session, its parent gone. It prints its pid. */
static const char daemon_script[] =
    "setsid sh -c 'sh -c \"trap \\\"\\\" TERM; echo \\$\\$; exec sleep 1000\" & ' ; ";

static void daemon_ends_with_the_child_that_brought_it(void **state)
{
    struct seen seen, other;
    char script[256];
    (void)snprintf(script, sizeof script, "%s read x", daemon_script);
    start_sh(*state, &seen, script);
    start_sh(*state, &other, script);
    int pid = read_number(seen.out), other_pid = read_number(other.out);
    assert_int_not_equal(getsid(pid), child_pid(seen.c));
    close(seen.in);
    seen.in = -1;
    wait_exited(&seen);
    assert_int_equal(proc_state(pid), 0);
    assert_int_not_equal(proc_state(other_pid), 0); /* not its business */
    child_stop(other.c, 100);
    wait_exited(&other);
    assert_int_equal(proc_state(other_pid), 0);
    close_all(&seen);
    close_all(&other);
    child_free(&seen.c);
    child_free(&other.c);
}

static void members_of_the_group_may_use_the_grace_after_their_leader(void **state)
{
    struct seen seen;
    start_sh(*state, &seen,
             "sh -c 'trap \"echo clean; exit 0\" TERM; echo $$; while :; do sleep 0.01; done' &"
             " trap 'exit 5' TERM; while :; do wait; done");
    int pid = read_number(seen.out);
    child_stop(seen.c, PATIENCE_MS);
    assert_reads(seen.out, "clean\n");
    wait_exited(&seen);
    assert_int_equal(WEXITSTATUS(seen.status), 5);
    assert_int_equal(proc_state(pid), 0);
    close_all(&seen);
    child_free(&seen.c);
}

static void freed_child_is_stopped_and_says_nothing(void **state)
{
    struct fixture *f = *state;
    struct seen seen, later;
    start_sh(f, &seen, "echo $$; exec sleep 1000");
    int pid = read_number(seen.out);
    child_free(&seen.c);
    assert_true(goes_away(pid));
    start_sh(f, &later, "exit 0");
    wait_exited(&later);
    assert_int_equal(seen.exited, 0);
    close_all(&seen);
    close_all(&later);
    child_free(&later.c);
}

static void child_freed_before_it_started_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct seen seen, later;
    int before = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(before);
    start(f, &seen, &(struct child_spec){"cat", NULL, std_env, NULL});
    child_free(&seen.c);
    start_sh(f, &later, "exit 0");
    wait_exited(&later);
    assert_int_equal(seen.started, 0);
    close_all(&later);
    child_free(&later.c);
    spawner_stop(&f->s); /* all said and done: no descriptor of the first may be left */
    struct err e = {0};
    f->s = spawner_start(&e);
    assert_non_null(f->s);
    loop_free(&f->l);
    f->l = loop_new("test");
    int after = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(after);
    assert_int_equal(after, before);
}

static void free_in_a_callback(struct child *c, int status, void *arg)
{
    (void)status;
    struct seen *seen = arg;
    seen->exited++;
    child_free(&c);
    loop_stop(seen->l);
}

static void child_may_be_freed_in_its_callback(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {.l = f->l, .in = -1, .out = -1, .err = -1};
    seen.c = child_start(f->s, f->l, &(struct child_spec){"true", NULL, std_env, NULL}, on_started,
                         free_in_a_callback, &seen);
    wait_exited(&seen);
    close_all(&seen);
}

static void no_zombie_is_left(void **state)
{
    struct fixture *f = *state;
    enum { N = 20 };
    struct seen seen[N];
    for (int i = 0; i < N; i++)
        start(f, &seen[i], &(struct child_spec){"true", NULL, std_env, NULL});
    for (int i = 0; i < N; i++) {
        wait_started(&seen[i]);
        wait_exited(&seen[i]);
        close_all(&seen[i]);
        child_free(&seen[i].c);
    }
    char path[64], list[64];
    ssize_t left = 1;
    (void)snprintf(path, sizeof path, "/proc/%d/task/%d/children", spawner_pid(f->s),
                   spawner_pid(f->s));
    for (int i = 0; left > 0 && i < PATIENCE_MS / 10; i++) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        left = read(fd, list, sizeof list);
        close(fd);
        if (left > 0)
            pause_ms(10);
    }
    assert_int_equal(left, 0);
}

static void killed_spawner_ends_its_children_and_is_restarted(void **state)
{
    struct fixture *f = *state;
    struct seen seen, next;
    char script[256];
    (void)snprintf(script, sizeof script, "%s echo $$; exec sleep 1000", daemon_script);
    start_sh(f, &seen, script);
    int a = read_number(seen.out), b = read_number(seen.out), old = spawner_pid(f->s);
    assert_int_equal(kill(old, SIGKILL), 0);
    wait_exited(&seen);
    assert_true(WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == SIGKILL);
    assert_true(goes_away(a));
    assert_true(goes_away(b));
    assert_int_equal(spawner_pid(f->s), 0);
    child_stop(seen.c, 0);
    start_sh(f, &next, "echo again");
    assert_reads(next.out, "again\n");
    wait_exited(&next);
    assert_true(spawner_pid(f->s) > 0 && spawner_pid(f->s) != old);
    close_all(&seen);
    close_all(&next);
    child_free(&seen.c);
    child_free(&next.c);
}

static int parent_of(int pid)
{
    char path[64], line[512] = "";
    int ppid = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(read(fd, line, sizeof line - 1) > 0);
    close(fd);
    assert_int_equal(sscanf(strrchr(line, ')') + 1, " %*c %d", &ppid), 1);
    return ppid;
}

static void killed_keeper_takes_its_child_and_daemon_along(void **state)
{
    struct fixture *f = *state;
    struct seen seen;
    char script[256];
    (void)snprintf(script, sizeof script, "%s echo $$; exec sleep 1000", daemon_script);
    start_sh(f, &seen, script);
    int a = read_number(seen.out), b = read_number(seen.out), old = spawner_pid(f->s);
    int leader = child_pid(seen.c), keeper = parent_of(leader);
    assert_int_equal(parent_of(keeper), old);
    assert_int_equal(kill(keeper, SIGKILL), 0);
    wait_exited(&seen);
    assert_true(WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == SIGKILL);
    assert_true(goes_away(a));
    assert_true(goes_away(b));
    assert_int_equal(spawner_pid(f->s), old);
    close_all(&seen);
    child_free(&seen.c);
}

static void stopping_the_spawner_ends_and_reports_children(void **state)
{
    struct fixture *f = *state;
    struct seen seen;
    start_sh(f, &seen, "echo $$; exec sleep 1000");
    int pid = read_number(seen.out);
    spawner_stop(&f->s);
    assert_int_equal(proc_state(pid), 0);
    wait_exited(&seen);
    assert_true(WIFSIGNALED(seen.status) && WTERMSIG(seen.status) == SIGTERM);
    close_all(&seen);
    child_stop(seen.c, 0);
    child_free(&seen.c); /* may outlive the spawner */
}

/* A gateway of its own process that has a child with a daemon, and then is killed. */
static _Noreturn void doomed_gateway(int report)
{
    struct fixture f = {.l = loop_new("doomed")};
    struct err e = {0};
    struct seen seen;
    char script[256];
    f.s = spawner_start(&e);
    if (!f.s)
        _exit(1);
    (void)snprintf(script, sizeof script, "%s trap '' TERM; echo $$; while :; do sleep 1; done",
                   daemon_script);
    start_sh(&f, &seen, script);
    int a = read_number(seen.out), b = read_number(seen.out);
    (void)dprintf(report, "%d\n%d\n%d\n", a, b, spawner_pid(f.s));
    for (;;)
        (void)pause();
}

static void nothing_outlives_a_killed_gateway(void **state)
{
    (void)state;
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0)
        doomed_gateway(p[1]);
    close(p[1]);
    int daemon = read_number(p[0]), leader = read_number(p[0]), spawner = read_number(p[0]);
    close(p[0]);
    assert_int_not_equal(proc_state(daemon), 0);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_true(goes_away(daemon));
    assert_true(goes_away(leader));
    assert_true(goes_away(spawner));
}

/* Loops in several threads share one spawner. */
static void *run_children(void *arg)
{
    struct fixture f = {.s = arg, .l = loop_new("worker")};
    long bad = 0;
    for (int i = 0; i < 10; i++) {
        struct seen seen = {.l = f.l, .in = -1, .out = -1, .err = -1};
        seen.c = child_start(f.s, f.l, &(struct child_spec){"cat", NULL, std_env, NULL}, on_started,
                             on_exited, &seen);
        if (i % 3 == 0) {
            child_free(&seen.c);
            continue;
        }
        wait_started(&seen);
        child_stop(seen.c, i % 3 == 1 ? PATIENCE_MS : 0);
        wait_exited(&seen);
        bad += seen.failed || !WIFSIGNALED(seen.status);
        close_all(&seen);
        child_free(&seen.c);
    }
    loop_free(&f.l);
    return (void *)(intptr_t)bad;
}

static void threads_share_one_spawner(void **state)
{
    struct fixture *f = *state;
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, run_children, f->s), 0);
    for (int i = 0; i < 4; i++) {
        void *bad = NULL;
        assert_int_equal(pthread_join(t[i], &bad), 0);
        assert_null(bad);
    }
}

static void seqpacket_carries_message_and_descriptors(void **state)
{
    (void)state;
    int pair[2], fds[3];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    struct spawn_msg m = {.type = SPAWN_STARTED, .value = 42, .id = 7}, got;
    assert_true(spawn_send(pair[0], &m, pair, 2, 0));
    assert_int_equal(spawn_recv(pair[1], &got, fds, MSG_DONTWAIT), SPAWN_GOT);
    assert_int_equal(got.value, 42);
    assert_int_equal(got.id, 7);
    assert_true(fds[0] >= 0 && fds[1] >= 0 && fds[2] == -1);
    assert_true(fcntl(fds[0], F_GETFD) & FD_CLOEXEC);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(spawn_recv(pair[1], &got, fds, MSG_DONTWAIT), SPAWN_NOTHING);
    assert_int_equal(send(pair[0], "short", 5, 0), 5);
    assert_int_equal(spawn_recv(pair[1], &got, fds, MSG_DONTWAIT), SPAWN_NOTHING);
    close(pair[0]);
    assert_int_equal(spawn_recv(pair[1], &got, fds, MSG_DONTWAIT), SPAWN_EOF);
    close(pair[1]);
}

#define CHILD_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seqpacket_carries_message_and_descriptors),
        CHILD_TEST(child_echoes_through_its_pipes),
        CHILD_TEST(our_ends_are_nonblocking_and_close_on_exec),
        CHILD_TEST(stdin_of_the_child_blocks),
        CHILD_TEST(unknown_command_is_named_with_its_path),
        CHILD_TEST(command_is_found_on_the_default_path_without_environment),
        CHILD_TEST(path_is_searched_past_what_may_not_run),
        CHILD_TEST(missing_interpreter_is_said),
        CHILD_TEST(script_without_interpreter_is_not_given_to_a_shell),
        CHILD_TEST(cwd_is_entered_and_a_missing_one_is_named),
        CHILD_TEST(environment_is_exactly_as_given),
        CHILD_TEST(arguments_are_passed_as_they_are),
        CHILD_TEST(large_specifications_arrive_and_larger_ones_are_refused),
        CHILD_TEST(no_descriptor_is_inherited),
        CHILD_TEST(signals_are_at_their_defaults),
        CHILD_TEST(spawner_has_no_environment_and_outlives_terminal_signals),
        CHILD_TEST(exit_status_and_signal_are_reported),
        CHILD_TEST(stop_asks_first),
        CHILD_TEST(stop_kills_who_ignores_sigterm),
        CHILD_TEST(shorter_second_stop_wins),
        CHILD_TEST(stop_right_after_start_ends_it),
        CHILD_TEST(grandchild_ends_with_its_leader),
        CHILD_TEST(daemon_ends_with_the_child_that_brought_it),
        CHILD_TEST(members_of_the_group_may_use_the_grace_after_their_leader),
        CHILD_TEST(freed_child_is_stopped_and_says_nothing),
        CHILD_TEST(child_freed_before_it_started_leaves_nothing),
        CHILD_TEST(child_may_be_freed_in_its_callback),
        CHILD_TEST(no_zombie_is_left),
        CHILD_TEST(killed_spawner_ends_its_children_and_is_restarted),
        CHILD_TEST(killed_keeper_takes_its_child_and_daemon_along),
        CHILD_TEST(stopping_the_spawner_ends_and_reports_children),
        cmocka_unit_test(nothing_outlives_a_killed_gateway),
        CHILD_TEST(threads_share_one_spawner),
    };
    uint64_t fd;
    if (argc == 3 && strcmp(argv[1], "__spawner") == 0 && str_to_u64(str_of(argv[2]), &fd))
        return spawner_main((int)fd);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)alarm(300); /* a hang is a failure */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
