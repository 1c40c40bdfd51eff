/* See local_packages.h. Two commands one after the other, their output in the log:
 *
 *   python3 -m venv --without-pip DIR           DIR is named after what is to be in it
 *   python3 -m pip --python DIR install PACKAGES
 *
 * A folder that was filled completely has a mark, and is used again. */
#include "gateway/local_packages.h"

#include "base/child.h"
#include "base/crypto.h"
#include "gateway/lines.h"
#include "gateway/stderr_log.h"
#include "local/stage.h"

#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_MS = 10 * 60 * 1000, MAX_ARGUMENTS = 256, MAX_VARIABLES = 64, LINE_BYTES = 65536 };

static const char interpreter[] = "/usr/bin/python3";

struct local_packages {
    struct gateway *gw;
    struct config *config; /* counted */
    local_packages_fn fn;
    void *arg;
    char *dir, *mark;
    bool installing; /* the second command */
    struct child *child;
    struct lines *out;
    struct stderr_log *errors;
    struct timer timer;
};

static char *path_of(const char *dir, const char *below)
{
    struct buf b = {0};
    buf_addf(&b, "%s/%s", dir, below);
    buf_addc(&b, '\0');
    return b.p;
}

static void end_child(struct local_packages *p)
{
    lines_free(&p->out);
    stderr_log_free(&p->errors);
    child_free(&p->child);
    timer_clear(&p->timer);
}

static void failed(struct local_packages *p, const char *what)
{
    struct err e;
    end_child(p);
    stage_remove(p->dir);
    (void)err_set(&e, ERR_CONFIG, "the packages cannot be installed: %s; the log has pip's words",
                  what);
    p->fn(NULL, &e, p->arg);
}

static void done(void *arg)
{
    struct local_packages *p = arg;
    char *pattern = path_of(p->dir, "lib/python3*/site-packages");
    glob_t found = {0};
    struct err e;
    if (glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc == 1) {
        p->fn(found.gl_pathv[0], NULL, p->arg);
    } else {
        (void)err_set(&e, ERR_CONFIG, "there is no %s", pattern);
        p->fn(NULL, &e, p->arg);
    }
    globfree(&found);
    free(pattern);
}

static void on_line(struct str text, void *arg)
{
    (void)arg;
    log_info("local.pip", L_S("line", text));
}

static void on_end(const char *what, void *arg)
{
    (void)what;
    struct local_packages *p = arg;
    lines_free(&p->out);
}

static void on_started(struct child *c, int in, int out, int err, const struct err *e, void *arg)
{
    static const struct lines_ops ops = {on_line, on_end};
    struct local_packages *p = arg;
    (void)c;
    if (e) {
        failed(p, e->msg);
        return;
    }
    p->out = lines_new(p->gw->control.loop, in, out, LINE_BYTES, &ops, p);
    p->errors = stderr_log_new(p->gw->control.loop, err, "pip", on_line, p);
}

static void install(struct local_packages *p);

static void on_exited(struct child *c, int status, void *arg)
{
    (void)c;
    struct local_packages *p = arg;
    char what[64];
    if (status != 0) {
        (void)snprintf(what, sizeof what, "%s ended with %s %d", p->installing ? "pip" : "venv",
                       WIFSIGNALED(status) ? "signal" : "status",
                       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        failed(p, what);
        return;
    }
    end_child(p);
    if (!p->installing) {
        install(p);
        return;
    }
    int fd = open(p->mark, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
    done(p);
}

static void on_timeout(void *arg)
{
    failed(arg, "it takes longer than 10 minutes");
}

/* What pip may know of our environment: its own settings, and how to reach an index. */
static bool is_pips(const char *variable)
{
    static const char *const kept[] = {
        "PATH=",     "LANG=",        "PIP_",        "HTTP_PROXY=", "HTTPS_PROXY=",
        "NO_PROXY=", "https_proxy=", "http_proxy=", "no_proxy=",   "SSL_CERT_FILE="};
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        if (strncmp(variable, kept[i], strlen(kept[i])) == 0)
            return true;
    return false;
}

static void run(struct local_packages *p, const char *command, const char *const *arguments)
{
    const char *env[MAX_VARIABLES + 1] = {NULL};
    size_t n = 0;
    for (char **at = environ; *at && n < MAX_VARIABLES; at++)
        if (is_pips(*at))
            env[n++] = *at;
    struct child_spec spec = {.command = command, .argv = arguments, .env = env};
    p->child = child_start(p->gw->spawner, p->gw->control.loop, &spec, on_started, on_exited, p);
    timer_set(&p->timer, p->gw->control.loop, MAX_MS, on_timeout, p);
}

static void install(struct local_packages *p)
{
    const struct local_config *c = &p->config->local;
    const char *argv[MAX_ARGUMENTS + 16] = {"-I",
                                            "-m",
                                            "pip",
                                            "--python",
                                            p->dir,
                                            "install",
                                            "--no-input",
                                            "--disable-pip-version-check",
                                            "--no-cache-dir"};
    size_t n = 9;
    p->installing = true;
    if (c->only_binary)
        argv[n++] = "--only-binary=:all:";
    for (char **a = c->pip_args; a && *a && n < MAX_ARGUMENTS; a++)
        argv[n++] = *a;
    if (c->requirements) {
        argv[n++] = "-r";
        argv[n++] = c->requirements;
    }
    argv[n++] = "--";
    for (char **a = c->packages; a && *a && n < MAX_ARGUMENTS + 14; a++)
        argv[n++] = *a;
    log_info("local.packages", L_STR("into", p->dir));
    run(p, interpreter, argv);
}

/* Another list is another folder; so is an edited file of requirements. */
static char *folder_name(const struct config *c, const char *parent)
{
    const struct local_config *l = &c->local;
    struct buf text = {0}, name = {0};
    struct stat st;
    uint8_t hash[32];
    for (char **a = l->packages; a && *a; a++)
        buf_addf(&text, "%s\n", *a);
    for (char **a = l->pip_args; a && *a; a++)
        buf_addf(&text, "arg %s\n", *a);
    buf_addf(&text, "binary %d\n", l->only_binary);
    if (l->requirements && stat(l->requirements, &st) == 0)
        buf_addf(&text, "%s %lld %lld\n", l->requirements, (long long)st.st_size,
                 (long long)st.st_mtime);
    struct str part = buf_str(&text);
    crypto_sha256(&part, 1, hash);
    buf_addf(&name, "%s/packages-", parent);
    for (size_t i = 0; i < 8; i++)
        buf_addf(&name, "%02x", hash[i]);
    buf_addc(&name, '\0');
    buf_fini(&text);
    return name.p;
}

static void begin(void *arg)
{
    struct local_packages *p = arg;
    const char *argv[] = {"-I", "-m", "venv", "--clear", "--without-pip", p->dir, NULL};
    if (access(p->mark, F_OK) == 0) {
        done(p);
        return;
    }
    run(p, interpreter, argv);
}

struct local_packages *local_packages_new(struct gateway *gw, const struct config *c,
                                          const char *dir, local_packages_fn fn, void *arg)
{
    struct local_packages *p = xcalloc(1, sizeof *p);
    p->gw = gw;
    p->config = config_ref((struct config *)(uintptr_t)c);
    p->fn = fn;
    p->arg = arg;
    p->dir = folder_name(c, c->local.packages_dir ? c->local.packages_dir : dir);
    p->mark = path_of(p->dir, ".complete");
    timer_set(&p->timer, gw->control.loop, 0, begin, p);
    return p;
}

static void destroy(void *arg)
{
    struct local_packages *p = arg;
    config_unref(&p->config);
    free(p->dir);
    free(p->mark);
    free(p);
}

void local_packages_free(struct local_packages **pp)
{
    struct local_packages *p = *pp;
    *pp = NULL;
    if (!p)
        return;
    end_child(p);
    loop_defer(p->gw->control.loop, destroy, p);
}
