/* See config.h. A draft is filled from file, environment and flags, checked as a whole, and becomes
 * the snapshot; all problems are collected on the way, and one error is enough to have no
 * snapshot. */
#include "base/crypto.h"
#include "gateway/config_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { MAX_PROBLEMS = 200 };

void config_problem_add(void *arg, bool warning, const char *where, const char *what)
{
    struct config_problems *p = arg;
    p->errors += !warning;
    if (p->n >= MAX_PROBLEMS)
        return;
    p->at = xrealloc(p->at, (p->n + 1) * sizeof *p->at);
    p->at[p->n++] = (struct config_problem){xstrdup(where), xstrdup(what), warning};
}

void config_problems_format(const struct config_problems *p, struct buf *out)
{
    size_t shown = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct config_problem *at = &p->at[i];
        shown += !at->warning;
        buf_addf(out, "%s: %s: %s\n", at->warning ? "warning" : "error", at->where, at->what);
    }
    if (p->errors > shown)
        buf_addf(out, "error: and %zu more\n", p->errors - shown);
}

void config_problems_fini(struct config_problems *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->at[i].where);
        free(p->at[i].what);
    }
    free(p->at);
    *p = (struct config_problems){0};
}

void mount_config_fini(struct mount_config *m)
{
    struct mount_draft d = {.m = *m};
    options_fini(&mount_table, &d, 0);
    if (m->bearer_token)
        crypto_wipe(m->bearer_token, strlen(m->bearer_token));
    free(m->bearer_token);
    free(m->bearer_token_file);
    free(m->bearer_hint);
    config_credentials_fini(m);
    free(m->url_shown);
    free(m->affinity_header);
    free(m->name);
    *m = (struct mount_config){0};
}

void config_fini(struct config *c)
{
    struct config_draft d = {.c = *c};
    options_fini(&config_table, &d, 0);
    for (size_t i = 0; i < c->mount_count; i++)
        mount_config_fini(&c->mounts[i]);
    free(c->mounts);
    if (c->seal_keys)
        crypto_wipe(c->seal_keys, c->seal_key_count * sizeof *c->seal_keys);
    free(c->seal_keys);
    store_url_fini(&c->store);
    config_limits_fini(c);
    auth_config_fini(&c->auth);
    policy_fini(&c->policy);
    free(c->base_path);
    free(c->source);
    *c = (struct config){0};
}

struct config *config_ref(struct config *c)
{
    (void)__atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

void config_unref(struct config **c)
{
    struct config *old = *c;
    *c = NULL;
    if (!old || __atomic_sub_fetch(&old->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    config_fini(old);
    free(old);
}

struct option_reader config_plain_reader(struct config_draft *d)
{
    return (struct option_reader){
        .table = &config_table,
        .base = d,
        .problem = config_problem_add,
        .arg = d->problems,
        .origins = d->origins,
    };
}

static const char *origin_of(const struct config_draft *d, const char *path)
{
    for (size_t i = 0; i < config_table.n; i++)
        if (config_table.rows[i].name && strcmp(config_table.rows[i].name, path) == 0)
            return d->origins[i] ? d->origins[i] : path;
    return path;
}

void config_report(struct config_draft *d, bool warning, const char *path, const char *fmt, ...)
{
    char what[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    struct option_reader r = config_plain_reader(d);
    option_report(&r, warning, NULL, origin_of(d, path), "%s", what);
}

struct option_reader config_file_reader(struct config_draft *d)
{
    struct option_reader r = config_plain_reader(d);
    r.file = d->c.source;
    r.lines = true;
    return r;
}

bool config_read_file(const char *name, size_t max, struct buf *out, struct err *e)
{
    ssize_t n = 0;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, ERR_CONFIG, "cannot be opened: %s", strerror(errno));
    while (out->n <= max && (n = read(fd, buf_reserve(out, 16384), 16384)) > 0)
        out->n += (size_t)n;
    int saved = errno;
    (void)close(fd);
    if (n < 0)
        return err_set(e, ERR_CONFIG, "cannot be read: %s", strerror(saved));
    return out->n <= max || err_set(e, ERR_TOO_LARGE, "is larger than %zu bytes", max);
}

void config_wipe(struct buf *b)
{
    if (b->p)
        crypto_wipe(b->p, b->n);
    buf_fini(b);
}

static bool parse_file(struct config_draft *d, const char *name, struct yaml_doc *doc)
{
    struct option_reader r = config_file_reader(d);
    struct buf text = {0};
    struct err e;
    bool ok =
        config_read_file(name, YAML_MAX_BYTES, &text, &e) && yaml_parse(doc, buf_str(&text), &e);
    struct yaml_node at = {.line = doc->error_line};
    if (!ok)
        option_report(&r, false, &at, NULL, "%s", e.msg);
    config_wipe(&text);
    return ok;
}

/* `auth: none` is short for `auth: {type: none}`. */
static void unfold_auth(struct yaml_doc *doc)
{
    struct yaml_node *auth = yaml_get(doc->root, "auth");
    if (!auth || auth->kind != YAML_TEXT)
        return;
    struct yaml_node *type = arena_alloc(&doc->arena, sizeof *type);
    *type = *auth;
    type->key = "type";
    type->next = NULL;
    auth->kind = YAML_MAP;
    auth->first = type;
    auth->count = 1;
    auth->text = auth->shown = "";
}

static void read_tree(struct config_draft *d, struct yaml_doc *doc)
{
    const struct yaml_node *root = doc->root;
    unfold_auth(doc);
    struct option_reader r = config_file_reader(d);
    /* The file of a desktop client or an editor has keys of its own. */
    r.lenient = yaml_get(root, "mcpServers") || yaml_get(root, "servers");
    options_read_tree(&r, root);
}

static void draft_init(struct config_draft *d, const char *file, char *const *env,
                       struct config_problems *problems)
{
    *d = (struct config_draft){
        .c = {.refs = 1, .lame_duck_ms = -1, .local = {.strict = -1, .mask_errors = -1}},
        .mode = CONFIG_MODE_UNSET,
        .on_duplicate = -1,
        .auth.type = -1,
        .environ = env,
        .problems = problems,
    };
    d->origins = xcalloc(config_table.n, sizeof *d->origins);
    d->c.source = file ? xstrdup(file) : NULL;
    options_defaults(&config_table, d);
}

/* Frees what was only needed to make d->c. */
static void draft_fini(struct config_draft *d)
{
    options_fini(&config_table, d, OPT_INPUT);
    for (size_t i = 0; i < config_table.n; i++)
        free(d->origins[i]);
    free(d->origins);
}

struct config *config_load(const char *file, char *const *env, const char *const *flags,
                           struct config_problems *problems)
{
    struct config_draft d;
    struct yaml_doc doc = {0};
    struct config *c = NULL;
    draft_init(&d, file, env, problems);
    struct option_reader r = config_plain_reader(&d);
    if (file && parse_file(&d, file, &doc))
        read_tree(&d, &doc);
    options_read_env(&r, env);
    config_check_env(&d);
    config_merge_host_port(&d);
    options_read_flags(&r, flags);
    config_check(&d);
    config_read_keys(&d);
    config_check_store(&d);
    config_read_auth(&d, &doc);
    config_check_local(&d);
    config_read_policy(&d, &doc);
    config_read_mounts(&d, &doc);
    config_read_credentials(&d, &doc);
    config_read_limits(&d, doc.root);
    yaml_doc_fini(&doc);
    draft_fini(&d);
    if (problems->errors) {
        config_fini(&d.c);
        return NULL;
    }
    c = xmalloc(sizeof *c);
    *c = d.c;
    return c;
}
