/* headgate-python: embeds CPython, loads nothing of the users', and forks a worker for each
 * connection (local/zygote.h). The worker reads its order, is confined, and only then loads the
 * workspace. Started by the gateway; this is the only file that knows Python. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
/* Python's headers want to be first. */
#include "local/order.h"
#include "local/zygote.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { ORDER_WAIT_MS = 5000, MAX_FOLDERS = 16, MAX_PRELOADS = 32, BACKLOG = 256 };

#ifdef __SANITIZE_ADDRESS__
/* A tool's crash is a tool's crash; libpython frees nothing at its end. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "handle_segv=0:handle_abort=0:handle_sigbus=0:handle_sigfpe=0:detect_leaks=0";
}
#endif

struct arguments {
    const char *socket, *runtime;
    long peer;
    bool debuggable;
    const char *sites[MAX_FOLDERS];
    const char *preloads[MAX_PRELOADS];
    size_t site_count, preload_count;
};

static int fail(const char *what, const char *why)
{
    (void)fprintf(stderr, "headgate-python: %s: %s\n", what, why);
    return 1;
}

static bool take(struct arguments *a, const char *name, const char *value)
{
    if (strcmp(name, "--socket") == 0)
        a->socket = value;
    else if (strcmp(name, "--runtime") == 0)
        a->runtime = value;
    else if (strcmp(name, "--peer") == 0)
        a->peer = strtol(value, NULL, 10);
    else if (strcmp(name, "--site") == 0 && a->site_count < MAX_FOLDERS)
        a->sites[a->site_count++] = value;
    else if (strcmp(name, "--preload") == 0 && a->preload_count < MAX_PRELOADS)
        a->preloads[a->preload_count++] = value;
    else
        return false;
    return true;
}

static bool parse(struct arguments *a, int argc, char **argv)
{
    int i = 1;
    for (; i < argc; i += 2) {
        if (strcmp(argv[i], "--debuggable") == 0) {
            a->debuggable = true;
            i--;
        } else if (i + 1 >= argc || !take(a, argv[i], argv[i + 1])) {
            return false;
        }
    }
    return a->socket && a->runtime;
}

/* ---- Python ---- */

static bool add_path(PyObject *path, const char *dir)
{
    PyObject *text = PyUnicode_DecodeFSDefault(dir);
    bool ok = text && PyList_Append(path, text) == 0;
    Py_XDECREF(text);
    return ok;
}

/* Isolated: no environment, no user site, no site module, so no .pth file runs anything here. */
static bool start_python(const struct arguments *a)
{
    PyConfig c;
    PyConfig_InitIsolatedConfig(&c);
    c.site_import = 0;
    c.write_bytecode = 0;
    c.install_signal_handlers = 0;
    c.parse_argv = 0;
    PyStatus s = PyConfig_SetBytesString(&c, &c.program_name, "/usr/bin/python3");
    if (!PyStatus_Exception(s))
        s = Py_InitializeFromConfig(&c);
    PyConfig_Clear(&c);
    if (PyStatus_Exception(s)) {
        (void)fail("Python does not start", s.err_msg ? s.err_msg : "unknown");
        return false;
    }
    PyObject *path = PySys_GetObject("path"); /* borrowed */
    bool ok = path && add_path(path, a->runtime);
    for (size_t i = 0; ok && i < a->site_count; i++)
        ok = add_path(path, a->sites[i]);
    return ok;
}

/* Imports what every worker shares. Packages of the operator's that fail are only reported. */
static PyObject *preload(const struct arguments *a)
{
    PyObject *glue = PyImport_ImportModule("headgate_worker");
    for (size_t i = 0; glue && i < a->preload_count; i++) {
        PyObject *m = PyImport_ImportModule(a->preloads[i]);
        if (!m)
            PyErr_Print();
        Py_XDECREF(m);
    }
    PyObject *r = glue ? PyObject_CallMethod(glue, "warm", NULL) : NULL;
    if (!r)
        PyErr_Print();
    Py_XDECREF(r);
    return r ? glue : NULL;
}

/* ---- a worker ---- */

/* Takes the first line off the connection, and nothing behind it. */
static bool read_order(int fd, char *line, size_t *n)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, ORDER_WAIT_MS) <= 0)
            return false;
        ssize_t got = recv(fd, line, ORDER_MAX_BYTES, MSG_PEEK);
        char *end = got > 0 ? memchr(line, '\n', (size_t)got) : NULL;
        if (end) {
            *n = (size_t)(end - line);
            return recv(fd, line, *n + 1, 0) == (ssize_t)*n + 1;
        }
        if (got <= 0 || got == ORDER_MAX_BYTES)
            return false;
        (void)usleep(1000); /* the rest is on its way */
    }
}

static void refuse(int fd, const struct err *e)
{
    struct buf b = {0};
    buf_adds(&b, "{\"refused\":");
    json_write_str(&b, str_of(e->msg));
    buf_adds(&b, "}\n");
    (void)!write(fd, b.p, b.n);
    (void)fail("worker", e->msg);
    buf_fini(&b);
}

static int run(PyObject *glue, const struct order *o, enum sandbox_level level, const int fds[2])
{
    PyOS_AfterFork_Child();
    PyObject *r =
        PyObject_CallMethod(glue, o->describe ? "describe" : "serve", "s#iis", o->text.p,
                            (Py_ssize_t)o->text.n, fds[0], fds[1], sandbox_level_name(level));
    if (!r)
        PyErr_Print();
    int code = r ? 0 : 1;
    Py_XDECREF(r);
    (void)fflush(NULL);
    return code;
}

/* When memory is short, the worker is the one to end. */
static void offer_to_oom(void)
{
    FILE *f = fopen("/proc/self/oom_score_adj", "we");
    if (!f)
        return;
    (void)fputs("800", f);
    (void)fclose(f);
}

static int worker(int fd, void *arg)
{
    static char line[ORDER_MAX_BYTES];
    struct order o;
    struct arena a = {0};
    enum sandbox_level level;
    struct err e;
    size_t n;
    if (!read_order(fd, line, &n))
        return 1;
    offer_to_oom();
    /* Memory limits are reckoned from it, and confinement hides it. */
    int statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (!order_parse((struct str){line, n}, &o, &a, &e) || !sandbox_enter(&o.sandbox, &level, &e)) {
        refuse(fd, &e);
        close(statm);
        return 1;
    }
    int code = run(arg, &o, level, (const int[]){fd, statm});
    close(statm);
    arena_fini(&a);
    return code;
}

/* ---- the zygote ---- */

static int listen_at(const char *path)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof a.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(a.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || chmod(path, 0600) < 0 ||
        listen(fd, BACKLOG) < 0)
        return -1;
    return fd;
}

/* What others may know of this process: nothing (/proc, ptrace, core files). */
static void close_the_doors(const struct arguments *a)
{
    struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
    if (!a->debuggable)
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int main(int argc, char **argv)
{
    struct arguments a = {0};
    struct err e;
    if (!parse(&a, argc, argv)) {
        return fail("usage",
                    "headgate-python --socket PATH --runtime DIR [--peer PID] [--site DIR]… "
                    "[--preload MODULE]… [--debuggable]");
    }
    close_the_doors(&a);
    PyObject *glue = start_python(&a) ? preload(&a) : NULL;
    if (!glue)
        return fail("the runtime cannot be loaded from", a.runtime);
    struct zygote z = {.listen_fd = listen_at(a.socket),
                       .life_fd = STDIN_FILENO,
                       .peer = (pid_t)a.peer,
                       .before = PyOS_BeforeFork,
                       .after = PyOS_AfterFork_Parent,
                       .worker = worker,
                       .arg = glue};
    if (z.listen_fd < 0)
        return fail(a.socket, strerror(errno));
    printf("{\"ready\":true,\"python\":\"%s\",\"landlock\":%d,\"seccomp\":%s}\n", PY_VERSION,
           sandbox_landlock_abi(), sandbox_has_seccomp() ? "true" : "false");
    (void)fflush(stdout);
    bool ok = zygote_run(&z, &e);
    (void)unlink(a.socket);
    _exit(ok ? 0 : fail("zygote", e.msg)); /* nothing of Python's needs an end */
}
