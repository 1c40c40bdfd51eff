/* See local_host.h. */
#include "gateway/local_host.h"

#include "base/child.h"
#include "base/clock.h"
#include "gateway/lines.h"
#include "gateway/stderr_log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    RETRY_MIN_MS = 100,
    RETRY_MAX_MS = 30000,
    STEADY_MS = 30000,
    READY_LINE_MAX = 4096,
    STOP_GRACE_MS = 500,
    MAX_FOLDERS = 20,
};

struct local_host {
    int refs;
    struct gateway *gw;
    struct child *child;
    struct lines *out;
    struct stderr_log *errors;
    char *program, *runtime, *socket, *site;
    char **argv, **env;
    const char *folders[MAX_FOLDERS + 2];
    bool ready;
    local_host_fn on_ready;
    void *arg;
    struct timer retry;
    int64_t started_ms, backoff_ms;
};

static void start(void *arg);

/* ---- finding it ---- */

static char *joined(const char *a, const char *b)
{
    struct buf out = {0};
    buf_addf(&out, "%s%s", a, b);
    buf_addc(&out, '\0');
    return out.p;
}

/* The folder of this program, with its slash. */
static char *own_folder(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path);
    while (n > 0 && path[n - 1] != '/')
        n--;
    return n > 0 ? xmemdup0(path, (size_t)n) : xstrdup("./");
}

/* The first of dir + names[i] that is there; NULL: none. */
static char *first_there(const char *dir, const char *const *names)
{
    for (; *names; names++) {
        char *path = joined(dir, *names);
        if (access(path, R_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

static bool find(struct local_host *h, const char *configured, struct err *e)
{
    static const char *const programs[] = {"headgate-python", NULL};
    static const char *const runtimes[] = {"python", "../share/headgate/python", NULL};
    char *dir = own_folder();
    h->program = configured ? xstrdup(configured) : first_there(dir, programs);
    if (!h->program)
        h->program = xstrdup(programs[0]); /* in PATH */
    h->runtime = first_there(dir, runtimes);
    if (!h->runtime) {
        (void)err_set(e, ERR_CONFIG,
                      "the Python modules of headgate-python are neither in %spython nor in "
                      "%s../share/headgate/python",
                      dir, dir);
    }
    free(dir);
    return h->runtime != NULL;
}

/* ---- what it gets ---- */

static void push(char ***list, char *text)
{
    size_t n = 0;
    while (*list && (*list)[n])
        n++;
    *list = xrealloc(*list, (n + 2) * sizeof **list);
    (*list)[n] = text;
    (*list)[n + 1] = NULL;
}

static void push_each(char ***list, const char *flag, char *const *values)
{
    for (; values && *values; values++) {
        push(list, xstrdup(flag));
        push(list, xstrdup(*values));
    }
}

static void free_list(char **list)
{
    for (char **at = list; at && *at; at++)
        free(*at);
    free(list);
}

static void make_arguments(struct local_host *h, const struct config *c, const char *site)
{
    char pid[16];
    (void)snprintf(pid, sizeof pid, "%d", (int)getpid());
    push_each(&h->argv, "--socket", (char *[]){h->socket, NULL});
    push_each(&h->argv, "--runtime", (char *[]){h->runtime, NULL});
    push_each(&h->argv, "--peer", (char *[]){pid, NULL});
    h->site = site ? xstrdup(site) : NULL;
    push_each(&h->argv, "--site", (char *[]){h->site, NULL});
    push_each(&h->argv, "--site", c->local.path);
    push_each(&h->argv, "--preload", c->local.preload);
    if (c->debuggable)
        push(&h->argv, xstrdup("--debuggable"));
    size_t n = 0;
    h->folders[n++] = h->runtime;
    if (h->site)
        h->folders[n++] = h->site;
    for (char *const *at = c->local.path; at && *at && n < MAX_FOLDERS; at++)
        h->folders[n++] = *at;
}

static void push_variable(char ***env, const char *name, const char *value)
{
    char *start = joined(name, "=");
    push(env, joined(start, value));
    free(start);
}

/* What every program may know, what the configuration grants, and nothing else. Arenas of malloc's
 * would eat the address space that a worker may have. */
static void make_environment(struct local_host *h, const struct config *c)
{
    static const char *const kept[] = {"LANG", "LC_ALL", "LC_CTYPE", "PATH", "TZ", NULL};
    const struct local_config *l = &c->local;
    for (const char *const *name = kept; *name; name++)
        if (getenv(*name))
            push_variable(&h->env, *name, getenv(*name));
    push_variable(&h->env, "MALLOC_ARENA_MAX", "2");
    for (char *const *name = l->pass_env; name && *name; name++)
        if (getenv(*name))
            push_variable(&h->env, *name, getenv(*name));
    for (size_t i = 0; i < l->envs; i++)
        push_variable(&h->env, l->env[i].name, l->env[i].value);
}

/* ---- its life ---- */

static void unhook(struct local_host *h)
{
    h->ready = false;
    lines_free(&h->out);
    stderr_log_free(&h->errors);
    child_free(&h->child);
}

static void start_again(struct local_host *h)
{
    if (clock_ms() - h->started_ms >= STEADY_MS || h->backoff_ms < RETRY_MIN_MS)
        h->backoff_ms = RETRY_MIN_MS;
    timer_set(&h->retry, h->gw->control.loop, h->backoff_ms, start, h);
    h->backoff_ms = h->backoff_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : h->backoff_ms * 2;
}

static void failed(struct local_host *h, const char *what)
{
    log_error("local.host_down", L_STR("error", what), L_INT("again_in_ms", h->backoff_ms));
    unhook(h);
    start_again(h);
}

static void on_line(struct str text, void *arg)
{
    struct local_host *h = arg;
    if (h->ready || !str_starts(text, STR("{\"ready\":true")))
        return;
    h->ready = true;
    log_info("local.host_ready", L_INT("pid", local_host_pid(h)),
             L_INT("ms", clock_ms() - h->started_ms), L_S("is", text));
    if (h->on_ready)
        h->on_ready(h, h->arg);
}

static void on_end(const char *what, void *arg)
{
    (void)what; /* on_exited says more */
    struct local_host *h = arg;
    lines_free(&h->out);
}

/* The runtime writes JSON (local/python/README.md "Logs"); what C code prints comes as it is. */
static void on_stderr(struct str line, void *arg)
{
    struct json_doc d = {0};
    struct arena a = {0};
    enum log_level level = LV_INFO;
    (void)arg;
    if (json_parse(&d, line.p, line.n, NULL) && json_is(&d, 0, JSON_OBJECT)) {
        struct str tool = json_str(&d, json_get(&d, 0, STR("tool")), &a);
        struct str text = json_str(&d, json_get(&d, 0, STR("message")), &a);
        (void)log_level_parse(json_str(&d, json_get(&d, 0, STR("level")), &a), &level);
        LOG_AT(level, "local.log", L_S("tool", tool), L_S("message", text));
    } else {
        log_info("local.stderr", L_S("line", line));
    }
    json_fini(&d);
    arena_fini(&a);
}

static void on_started(struct child *c, int in, int out, int err, const struct err *e, void *arg)
{
    static const struct lines_ops ops = {on_line, on_end};
    struct local_host *h = arg;
    (void)c;
    if (e) {
        failed(h, e->msg);
        return;
    }
    h->out = lines_new(h->gw->control.loop, in, out, READY_LINE_MAX, &ops, h);
    h->errors = stderr_log_new(h->gw->control.loop, err, "headgate-python", on_stderr, h);
}

static void on_exited(struct child *c, int status, void *arg)
{
    (void)c;
    char what[64];
    if (WIFSIGNALED(status))
        (void)snprintf(what, sizeof what, "killed by signal %d", WTERMSIG(status));
    else
        (void)snprintf(what, sizeof what, "exited with status %d", WEXITSTATUS(status));
    failed(arg, what);
}

static void start(void *arg)
{
    struct local_host *h = arg;
    struct child_spec spec = {.command = h->program,
                              .argv = (const char *const *)h->argv,
                              .env = (const char *const *)h->env};
    (void)unlink(h->socket);
    h->started_ms = clock_ms();
    h->child = child_start(h->gw->spawner, h->gw->control.loop, &spec, on_started, on_exited, h);
}

struct local_host *local_host_new(struct gateway *gw, const struct config *c, const char *path,
                                  const char *site, local_host_fn ready, void *arg, struct err *e)
{
    struct local_host *h = xcalloc(1, sizeof *h);
    h->refs = 1;
    h->gw = gw;
    h->on_ready = ready;
    h->arg = arg;
    h->socket = xstrdup(path);
    if (!find(h, c->local.python, e)) {
        local_host_unref(&h);
        return NULL;
    }
    make_arguments(h, c, site);
    make_environment(h, c);
    start(h);
    return h;
}

struct local_host *local_host_ref(struct local_host *h)
{
    h->refs++;
    return h;
}

static void destroy(void *arg)
{
    struct local_host *h = arg;
    free(h->program);
    free(h->runtime);
    free(h->socket);
    free(h->site);
    free_list(h->argv);
    free_list(h->env);
    free(h);
}

void local_host_unref(struct local_host **hp)
{
    struct local_host *h = *hp;
    *hp = NULL;
    if (!h || --h->refs > 0)
        return;
    timer_clear(&h->retry);
    if (h->child)
        child_stop(h->child, STOP_GRACE_MS);
    unhook(h);
    loop_defer(h->gw->control.loop, destroy, h);
}

void local_host_deafen(struct local_host *h)
{
    h->on_ready = NULL;
}

bool local_host_is_ready(const struct local_host *h)
{
    return h->ready;
}

const char *local_host_socket(const struct local_host *h)
{
    return h->socket;
}

int local_host_pid(const struct local_host *h)
{
    return h->child ? child_pid(h->child) : 0;
}

const char *const *local_host_folders(const struct local_host *h)
{
    return h->folders;
}

int local_host_connect(const char *socket_path, struct err *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    size_t n = strlen(socket_path);
    if (n >= sizeof a.sun_path) {
        (void)err_set(e, ERR_CONFIG, "the path of the socket is too long: %s", socket_path);
        return -1;
    }
    memcpy(a.sun_path, socket_path, n);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    (void)err_set(e, ERR_UNAVAILABLE, "headgate-python cannot be reached: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}
