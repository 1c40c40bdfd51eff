/* The stdio transport towards servers (MCP 2026-07-28 basic/transports/stdio): a child started by
 * the spawner, one message a line. What the child prints on stderr goes to the log; garbage on
 * stdout is dropped and counted. */
#include "gateway/usession.h"

#include "base/child.h"
#include "gateway/lines.h"
#include "gateway/stderr_log.h"

#include <stdio.h>
#include <stdlib.h>

enum { STOP_GRACE_MS = 2000 };

struct stdio {
    struct pipe pipe;
    struct usession *us; /* NULL once stopped */
    struct loop *loop;
    char *name;
    size_t max_line;
    struct child *child;
    struct lines *lines;
    struct stderr_log *errors;
};

static void stdio_destroy(void *arg)
{
    struct stdio *p = arg;
    free(p->name);
    free(p);
}

static void unhook(struct stdio *p)
{
    if (p->lines)
        metric_add(metric_of(M_CHILDREN), -1);
    lines_free(&p->lines);
    stderr_log_free(&p->errors);
}

static void broken(struct stdio *p, const char *what)
{
    struct err e;
    (void)err_set(&e, ERR_UNAVAILABLE, "upstream %s: %s", p->name, what);
    if (p->us)
        usession_broken(p->us, &e); /* stops us */
}

static void on_line(struct str text, void *arg)
{
    struct stdio *p = arg;
    struct err e;
    if (p->us && !upstream_message(p->us->up, p->us, NULL, text, &e))
        log_warn("upstream.bad_line", L_STR("upstream", p->name), L_ERR(&e));
}

static void on_end(const char *what, void *arg)
{
    broken(arg, what);
}

static void on_stderr(struct str line, void *arg)
{
    const struct stdio *p = arg;
    log_info("upstream.stderr", L_STR("upstream", p->name), L_S("line", line));
}

static const struct lines_ops line_ops = {on_line, on_end};

static void stdio_write(struct pipe *pipe, uint64_t id, struct str line)
{
    struct stdio *p = (struct stdio *)pipe;
    (void)id;
    if (p->lines)
        lines_write(p->lines, line);
}

static void on_started(struct child *c, int in, int out, int err, const struct err *e, void *arg)
{
    struct stdio *p = arg;
    if (e) {
        broken(p, e->msg);
        return;
    }
    log_info("upstream.child_started", L_STR("upstream", p->name), L_INT("pid", child_pid(c)));
    p->lines = lines_new(p->loop, in, out, p->max_line, &line_ops, p);
    p->errors = stderr_log_new(p->loop, err, p->name, on_stderr, p);
    metric_add(metric_of(M_CHILDREN), 1);
    usession_pipe_open(p->us);
}

static void on_exited(struct child *c, int status, void *arg)
{
    (void)c;
    struct stdio *p = arg;
    char what[64];
    if (WIFSIGNALED(status))
        (void)snprintf(what, sizeof what, "the server was killed by signal %d", WTERMSIG(status));
    else
        (void)snprintf(what, sizeof what, "the server exited with status %d", WEXITSTATUS(status));
    log_warn("upstream.child_exited", L_STR("upstream", p->name), L_STR("how", what));
    broken(p, what);
}

/* The small environment that MCP clients give their servers, and what the mount adds. */
static char **make_env(const struct mount_config *m)
{
    static const char *const kept[] = {"HOME",  "LANG", "LC_ALL", "LOGNAME", "PATH",
                                       "SHELL", "TERM", "TMPDIR", "TZ",      "USER"};
    size_t max = sizeof kept / sizeof *kept + m->envs + 1, n = 0;
    char **env = xcalloc(max, sizeof *env);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        const char *value = getenv(kept[i]);
        bool overridden = false;
        for (size_t k = 0; k < m->envs; k++)
            overridden = overridden || strcmp(m->env[k].name, kept[i]) == 0;
        if (!value || overridden)
            continue;
        struct buf b = {0};
        buf_addf(&b, "%s=%s", kept[i], value);
        buf_addc(&b, '\0');
        env[n++] = b.p;
    }
    for (size_t k = 0; k < m->envs; k++) {
        struct buf b = {0};
        buf_addf(&b, "%s=%s", m->env[k].name, m->env[k].value);
        buf_addc(&b, '\0');
        env[n++] = b.p;
    }
    return env;
}

static void stdio_stop(struct pipe *pipe)
{
    struct stdio *p = (struct stdio *)pipe;
    p->us = NULL;
    unhook(p); /* closing its stdin asks the server to end */
    child_stop(p->child, STOP_GRACE_MS);
    child_free(&p->child);
    loop_defer(p->loop, stdio_destroy, p);
}

struct pipe *stdio_start(struct usession *us)
{
    static const struct pipe_ops ops = {stdio_write, stdio_stop};
    const struct mount_config *m = us->up->cfg;
    struct stdio *p = xcalloc(1, sizeof *p);
    p->pipe.ops = &ops;
    p->us = us;
    p->loop = us->up->shard->loop;
    p->name = xstrdup(m->name);
    p->max_line = us->up->config->max_message_bytes;
    char **env = make_env(m);
    static char *const none[] = {NULL};
    struct child_spec spec = {.command = m->command,
                              .argv = (const char *const *)(m->args ? m->args : none),
                              .env = (const char *const *)env,
                              .cwd = m->cwd};
    p->child = child_start(us->up->shard->gw->spawner, p->loop, &spec, on_started, on_exited, p);
    for (char **e = env; *e; e++)
        free(*e);
    free(env);
    return &p->pipe;
}
