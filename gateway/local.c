/* See local.h. One load at a time: the files are copied by a thread (stage), a worker loads the
 * copy and tells what came of it (probe), and the copy becomes the generation that the pool uses.
 *
 *   IDLE -> HOST (headgate-python starts) -> STAGE -> PROBE -> IDLE
 *                                              ^        | broken files have an earlier form: once
 *                                              +--------+ more with those
 *
 * What is wanted meanwhile is done afterwards (again). */
#include "gateway/local.h"

#include "base/clock.h"
#include "gateway/lines.h"
#include "gateway/local_host.h"
#include "gateway/local_packages.h"
#include "gateway/local_watch.h"
#include "gateway/upstream.h"
#include "local/sandbox.h"
#include "local/stage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PROBE_MS = 60000, RETRY_MS = 2000, REPORT_MAX_BYTES = 32 * 1024 * 1024, DEBOUNCE_MS = 200 };

enum step { STEP_IDLE, STEP_HOST, STEP_STAGE, STEP_PROBE };
static const char *const step_names[] = {[STEP_IDLE] = "ready",
                                         [STEP_HOST] = "starting",
                                         [STEP_STAGE] = "copying",
                                         [STEP_PROBE] = "loading"};

struct stage_job {
    struct local *l; /* NULL: the provider has ended */
    struct gateway *gw;
    struct config *config; /* counted */
    char *folders[66];
    char *dir;
    struct stage_result result;
    bool ok;
    struct err err;
    pthread_t thread;
};

struct local {
    struct gateway *gw;
    struct config *config;           /* counted; NULL: no provider */
    char *dir;                       /* 0700: sockets and generations */
    struct local_packages *packages; /* being installed */
    char *site;                      /* where they are; NULL: none */
    struct err packages_failure;
    struct local_host *host;
    unsigned hosts;
    struct local_watch *watch; /* hot reload; NULL: off */
    enum step step;
    bool again, forced, restored;
    struct stage_job *job;
    struct lines *probe;
    struct timer timer;     /* of the probe, of the next try, of the debounce */
    struct local_gen *next; /* on its way */
    struct local_gen *gen;  /* in use; NULL: none yet */
    uint64_t number;
    uint8_t hash[32], next_hash[32]; /* of the files in use and on their way */
    unsigned files;
    struct buf report, kept, skipped; /* JSON of the last load; JSON list; text */
    char *sandbox;                    /* the level achieved; NULL: not known yet */
    struct err failure;               /* of the last load; kind ERR_NONE: it went well */
    int64_t loaded_ms;                /* wall time */
    struct local_counts counts;
};

static void load(struct local *l, bool forced);

/* ---- generations ---- */

static void gen_destroy(void *arg)
{
    struct local_gen *g = arg;
    size_t at = 0;
    struct str key;
    void *tool;
    if (g->dir)
        stage_remove(g->dir);
    local_host_unref(&g->host);
    while (map_next(&g->tools, &at, &key, &tool))
        free(tool);
    map_fini(&g->tools);
    free(g->socket);
    free(g->order);
    free(g->dir);
    free(g);
}

struct local_gen *local_gen_ref(struct local_gen *g)
{
    atomic_fetch_add_explicit(&g->refs, 1, memory_order_relaxed);
    return g;
}

void local_gen_unref(struct local_gen **gp)
{
    struct local_gen *g = *gp;
    *gp = NULL;
    if (g && atomic_fetch_sub_explicit(&g->refs, 1, memory_order_acq_rel) == 1)
        loop_post(g->gw->control.loop, gen_destroy, g);
}

/* ---- the order ---- */

static void add_key(struct buf *b, const char *key)
{
    buf_addf(b, "%s\"%s\":", b->p[b->n - 1] == '{' ? "" : ",", key);
}

static void add_text(struct buf *b, const char *key, const char *value)
{
    add_key(b, key);
    json_write_str(b, str_of(value));
}

static void add_number(struct buf *b, const char *key, int64_t value)
{
    add_key(b, key);
    buf_addf(b, "%lld", (long long)value);
}

static void add_each(struct buf *b, const char *const *values)
{
    for (; values && *values; values++) {
        if (b->p[b->n - 1] != '[')
            buf_addc(b, ',');
        json_write_str(b, str_of(*values));
    }
}

static void add_joined(struct buf *b, const char *key, char *const *values)
{
    struct buf text = {0};
    for (char *const *v = values; v && *v; v++)
        buf_addf(&text, "%s%s", v == values ? "" : ",", *v);
    buf_addc(&text, '\0');
    if (values)
        add_text(b, key, text.p);
    buf_fini(&text);
}

/* The runtime's options, as its variables (behaviour of the tools; whether a load counts is decided
 * here). */
static void add_options(struct buf *b, const struct config *c)
{
    static const char *const policies[] = {[DUPLICATE_WARN] = "warn",
                                           [DUPLICATE_ERROR] = "error",
                                           [DUPLICATE_REPLACE] = "replace",
                                           [DUPLICATE_IGNORE] = "ignore"};
    const struct local_config *l = &c->local;
    char number[32];
    add_key(b, "options");
    buf_addc(b, '{');
    add_text(b, "MCP_STRICT_LOADING", "false");
    add_text(b, "MCP_MASK_ERROR_DETAILS", l->mask_errors ? "true" : "false");
    add_text(b, "MCP_ON_DUPLICATE_TOOLS", policies[c->on_duplicate]);
    add_text(b, "MCP_SERVER_NAME", c->server_name);
    (void)snprintf(number, sizeof number, "%d", l->output_kb);
    add_text(b, "MCP_MAX_OUTPUT_SIZE_KB", number);
    (void)snprintf(number, sizeof number, "%zu", l->max_file_bytes);
    add_text(b, "MCP_MAX_SOURCE_FILE_SIZE_BYTES", number);
    (void)snprintf(number, sizeof number, "%zu", l->max_knowledge_bytes);
    add_text(b, "MCP_MAX_KNOWLEDGE_BYTES", number);
    add_joined(b, "MCP_ALLOWED_KNOWLEDGE_EXTENSIONS", l->extensions);
    add_joined(b, "SOURCE_BLOCKED_FILE_ALLOWLIST", l->unblocked);
    buf_addc(b, '}');
}

enum { WORKER_FILES = 256, WORKER_FILE_BYTES = 64 * 1024 * 1024 };

static char *make_order(const struct local *l, const char *dir, bool describe)
{
    const struct local_config *c = &l->config->local;
    struct buf b = {0};
    buf_addc(&b, '{');
    add_text(&b, "workspace", dir);
    if (describe) {
        add_key(&b, "describe");
        buf_adds(&b, "true");
    }
    add_text(&b, "profile", sandbox_profile_name((enum sandbox_profile)c->profile));
    add_key(&b, "required");
    buf_adds(&b, c->sandbox_required ? "true" : "false");
    add_number(&b, "memoryMb", c->memory_mb);
    add_number(&b, "cpuSeconds", c->cpu_seconds);
    add_number(&b, "files", WORKER_FILES);
    add_number(&b, "fileBytes", WORKER_FILE_BYTES);
    add_key(&b, "read");
    buf_addc(&b, '[');
    add_each(&b, (const char *[]){dir, NULL});
    add_each(&b, local_host_folders(l->host));
    add_each(&b, (const char *const *)c->read);
    buf_addc(&b, ']');
    add_key(&b, "write");
    buf_addc(&b, '[');
    add_each(&b, (const char *const *)c->write);
    buf_addc(&b, ']');
    add_key(&b, "ports");
    buf_addc(&b, '[');
    for (char *const *p = c->ports; p && *p; p++)
        buf_addf(&b, "%s%s", p == c->ports ? "" : ",", *p);
    buf_addc(&b, ']');
    add_options(&b, l->config);
    buf_adds(&b, "}");
    buf_addc(&b, '\0');
    return b.p;
}

/* ---- giving it to the pool ---- */

struct delivery {
    struct local_gen *gen; /* one reference a shard; NULL: err says why there is none */
    struct err err;
    atomic_int left;
};

static void on_delivery(struct shard *s, void *arg)
{
    struct delivery *d = arg;
    if (d->gen) {
        local_gen_unref(&s->local_gen);
        s->local_gen = d->gen;
    }
    for (size_t i = 0; i < s->upstream_count; i++)
        if (s->upstreams[i]->cfg->transport == MOUNT_LOCAL)
            upstream_local_changed(s->upstreams[i], d->gen ? NULL : &d->err);
    if (atomic_fetch_sub(&d->left, 1) == 1)
        free(d);
}

static void deliver(struct local *l, const struct err *e)
{
    struct delivery *d = xcalloc(1, sizeof *d);
    atomic_init(&d->left, l->gw->shard_count);
    if (e) {
        d->err = *e;
    } else {
        d->gen = l->gen;
        for (int i = 0; i < l->gw->shard_count; i++)
            (void)local_gen_ref(l->gen);
    }
    gateway_post_all(l->gw, on_delivery, d);
}

/* ---- the end of a load ---- */

static void idle(struct local *l)
{
    lines_free(&l->probe);
    timer_clear(&l->timer);
    l->step = STEP_IDLE;
    l->restored = false;
    local_gen_unref(&l->next);
    if (l->again)
        load(l, l->forced);
}

static void on_retry(void *arg)
{
    load(arg, true);
}

static void give_up_start(struct local *l, const char *why)
{
    (void)fprintf(stderr, "headgate: local.strict: %s\n", why);
    l->gw->exit_code = 1;
    loop_stop(l->gw->control.loop);
}

/* No generation came of it: the one in use stays. */
static void load_failed(struct local *l, const struct err *e)
{
    l->failure = *e;
    log_error("local.load_failed", L_ERR(e));
    metric_add(metric_series(&metric_rows[M_LOCAL_LOADS], "error", NULL), 1);
    bool first = !l->gen;
    if (first)
        deliver(l, e);
    idle(l);
    if (!first || l->step != STEP_IDLE)
        return;
    if (l->config->local.strict || l->config->local.sandbox_required)
        give_up_start(l, l->failure.msg);
    else
        timer_set(&l->timer, l->gw->control.loop, RETRY_MS, on_retry, l);
}

static void publish(struct local *l)
{
    local_gen_unref(&l->gen);
    l->gen = l->next;
    l->next = NULL;
    memcpy(l->hash, l->next_hash, sizeof l->hash);
    l->loaded_ms = clock_wall_ms();
    l->failure = (struct err){0};
    log_info("local.loaded", L_INT("generation", l->gen->number), L_INT("files", l->files),
             L_INT("tools", l->gen->tools.count), L_STR("sandbox", l->sandbox));
    metric_add(metric_series(&metric_rows[M_LOCAL_LOADS], "success", NULL), 1);
    deliver(l, NULL);
    idle(l);
}

/* ---- the probe ---- */

static void read_tools(struct local_gen *g, const struct json_doc *d, uint32_t list)
{
    struct arena a = {0};
    for (uint32_t k = json_first(d, list); json_is(d, list, JSON_ARRAY) && k != JSON_NONE;
         k = json_next(d, list, k)) {
        uint32_t own = json_path(d, k, (const char *[]){"_meta", "dev.headgate/tool", NULL});
        struct local_tool *t = xcalloc(1, sizeof *t);
        int64_t ms = 0;
        t->async = json_is(d, json_get(d, own, STR("async")), JSON_TRUE);
        if (json_int(d, json_get(d, own, STR("timeoutMs")), &ms) && ms > 0 && ms < INT32_MAX)
            t->timeout_ms = (int)ms;
        free(map_set(&g->tools, json_str(d, json_get(d, k, STR("name")), &a), t));
    }
    arena_fini(&a);
}

/* Broken files come back as they were in the generation in use; false: none has been there. */
static bool restore(struct local *l, const struct json_doc *d, uint32_t files)
{
    struct arena a = {0};
    bool any = false;
    for (uint32_t k = json_first(d, files); json_is(d, files, JSON_ARRAY) && k != JSON_NONE;
         k = json_next(d, files, k)) {
        struct err e;
        if (!json_str_eq(d, json_get(d, k, STR("state")), STR("failed")))
            continue;
        struct str path = json_str(d, json_get(d, k, STR("path")), &a);
        char *file = xmemdup0(path.p, path.n);
        struct str why = json_str(d, json_get(d, k, STR("error")), &a);
        bool back = l->gen && stage_restore(l->gen->dir, l->next->dir, file, &e);
        log_error("local.file_broken", L_S("file", path), L_S("error", why),
                  L_STR("served", back ? "its last good form" : "not at all"));
        any = any || back;
        buf_adds(&l->kept, l->kept.n > 1 ? "," : "");
        buf_add_str(&l->kept, json_raw(d, k));
        l->kept.p[l->kept.n - 1] = ',';
        buf_addf(&l->kept, "\"served\":\"%s\"}", back ? "last good" : "no");
        free(file);
    }
    arena_fini(&a);
    return any;
}

static void probe(struct local *l);

static void take_report(struct local *l, const struct json_doc *d)
{
    struct arena a = {0};
    struct err e;
    uint32_t report = json_get(d, 0, STR("report"));
    struct str refused = json_str(d, json_get(d, 0, STR("refused")), &a);
    struct str level = json_str(d, json_get(d, 0, STR("sandbox")), &a);
    uint32_t files = json_get(d, report, STR("files"));
    if (level.n) {
        enum sandbox_profile profile = (enum sandbox_profile)l->config->local.profile;
        metric_set(
            metric_series(&metric_rows[M_SANDBOX_LEVEL], sandbox_profile_name(profile), NULL),
            (int64_t)sandbox_level_parse(level));
        free(l->sandbox);
        l->sandbox = xmemdup0(level.p, level.n);
    }
    if (!json_is(d, report, JSON_OBJECT)) {
        (void)err_set(&e, ERR_CONFIG, "the files cannot be loaded: %.*s",
                      (int)(refused.n < 300 ? refused.n : 300),
                      refused.n ? refused.p : "no report");
        load_failed(l, &e);
    } else if (!l->restored && restore(l, d, files)) {
        l->restored = true;
        probe(l);
    } else {
        l->report.n = 0;
        buf_add_str(&l->report, json_raw(d, report));
        read_tools(l->next, d, json_get(d, report, STR("tools")));
        bool broken = l->kept.n > 1;
        if (broken && !l->gen && l->config->local.strict) {
            (void)err_set(&e, ERR_CONFIG, "files cannot be loaded, see the log");
            load_failed(l, &e);
        } else {
            publish(l);
        }
    }
    arena_fini(&a);
}

static void on_report(struct str text, void *arg)
{
    struct local *l = arg;
    struct json_doc d = {.limits = {.max_depth = 0, .max_tokens = 4 * 1000 * 1000}};
    struct err e;
    lines_free(&l->probe);
    timer_clear(&l->timer);
    if (json_parse(&d, text.p, text.n, &e))
        take_report(l, &d);
    else
        load_failed(l, &e);
    json_fini(&d);
}

static void on_probe_end(const char *what, void *arg)
{
    struct err e;
    (void)err_set(&e, ERR_UNAVAILABLE, "the worker that was to load the files ended: %s", what);
    load_failed(arg, &e);
}

static void on_probe_timeout(void *arg)
{
    struct err e;
    (void)err_set(&e, ERR_TIMEOUT, "loading the files takes longer than %d s", PROBE_MS / 1000);
    load_failed(arg, &e);
}

static void probe(struct local *l)
{
    static const struct lines_ops ops = {on_report, on_probe_end};
    struct err e;
    l->step = STEP_PROBE;
    int fd = local_host_connect(local_host_socket(l->host), &e);
    if (fd < 0) {
        load_failed(l, &e);
        return;
    }
    l->probe = lines_new(l->gw->control.loop, fd, fd, REPORT_MAX_BYTES, &ops, l);
    char *order = make_order(l, l->next->dir, true);
    lines_write(l->probe, str_of(order));
    free(order);
    timer_set(&l->timer, l->gw->control.loop, PROBE_MS, on_probe_timeout, l);
}

/* ---- copying ---- */

static void job_free(struct stage_job *j)
{
    config_unref(&j->config);
    stage_result_fini(&j->result);
    free(j->dir);
    free(j);
}

static struct local_gen *gen_new(struct local *l, const char *dir)
{
    const struct local_config *c = &l->config->local;
    struct local_gen *g = xcalloc(1, sizeof *g);
    atomic_init(&g->refs, 1);
    g->gw = l->gw;
    g->number = l->number;
    g->host = local_host_ref(l->host);
    g->socket = xstrdup(local_host_socket(l->host));
    g->dir = xstrdup(dir);
    g->order = make_order(l, dir, false);
    g->workers = c->workers;
    g->queue = c->queue;
    g->timeout_ms = c->timeout_ms;
    return g;
}

static void take_stage(struct local *l, const struct stage_job *j)
{
    l->job = NULL;
    if (!j->ok) {
        stage_remove(j->dir);
        load_failed(l, &j->err);
    } else if (l->gen && !l->forced && memcmp(j->result.hash, l->hash, sizeof l->hash) == 0) {
        stage_remove(j->dir); /* nothing that counts has changed */
        idle(l);
    } else {
        memcpy(l->next_hash, j->result.hash, sizeof l->next_hash);
        l->files = j->result.files;
        l->skipped.n = l->kept.n = 0;
        buf_add_str(&l->skipped, buf_str(&j->result.skipped));
        buf_addc(&l->kept, '[');
        l->forced = false;
        l->next = gen_new(l, j->dir);
        probe(l);
    }
}

static void on_staged(void *arg)
{
    struct stage_job *j = arg;
    if (j->l) {
        (void)pthread_join(j->thread, NULL);
        take_stage(j->l, j);
    }
    job_free(j);
}

static void *stage_main(void *arg)
{
    struct stage_job *j = arg;
    const struct local_config *c = &j->config->local;
    struct stage_spec s = {.folders = j->folders,
                           .max_file_bytes = c->max_file_bytes,
                           .max_knowledge_bytes = c->max_knowledge_bytes,
                           .extensions = c->extensions,
                           .unblocked = c->unblocked};
    j->ok = stage_build(&s, j->dir, &j->result, &j->err);
    loop_post(j->gw->control.loop, on_staged, j);
    return NULL;
}

static void stage(struct local *l)
{
    struct stage_job *j = xcalloc(1, sizeof *j);
    const struct local_config *c = &l->config->local;
    struct buf dir = {0};
    size_t n = 0;
    buf_addf(&dir, "%s/gen-%llu", l->dir, (unsigned long long)++l->number);
    buf_addc(&dir, '\0');
    j->l = l;
    j->gw = l->gw;
    j->config = config_ref(l->config);
    j->dir = dir.p;
    if (c->workspace)
        j->folders[n++] = c->workspace;
    for (char **f = c->folders; f && *f && n < 64; f++)
        j->folders[n++] = *f;
    l->step = STEP_STAGE;
    l->job = j;
    if (pthread_create(&j->thread, NULL, stage_main, j) == 0)
        return;
    (void)err_set(&j->err, ERR_SYSTEM, "cannot start a thread: %s", strerror(errno));
    take_stage(l, j);
    job_free(j);
}

/* ---- beginning ---- */

static void on_host_ready(struct local_host *h, void *arg)
{
    struct local *l = arg;
    (void)h;
    if (l->step == STEP_HOST)
        stage(l);
}

static void load(struct local *l, bool forced)
{
    l->forced = l->forced || forced;
    if (l->step != STEP_IDLE) {
        l->again = true;
        return;
    }
    l->again = false;
    timer_clear(&l->timer);
    if (!l->host)
        return;
    l->step = STEP_HOST;
    if (local_host_is_ready(l->host))
        stage(l);
}

static void on_files_changed(void *arg)
{
    struct local *l = arg;
    log_debug("local.files_changed");
    load(l, false);
}

/* Ends what is under way and leaves the generation in use alone. */
static void stop_load(struct local *l)
{
    if (l->job) {
        (void)pthread_join(l->job->thread, NULL);
        stage_remove(l->job->dir);
        l->job->l = NULL;
        l->job = NULL;
    }
    l->again = false;
    idle(l);
}

static bool make_dir(struct local *l, struct err *e)
{
    const char *parent = getenv("TMPDIR");
    struct buf b = {0};
    if (l->dir)
        return true;
    buf_addf(&b, "%s/headgate-local-XXXXXX", parent && *parent ? parent : P_tmpdir);
    buf_addc(&b, '\0');
    l->dir = mkdtemp(b.p);
    if (l->dir)
        return true;
    (void)err_set(e, ERR_SYSTEM, "cannot make a folder like %s: %s", b.p, strerror(errno));
    buf_fini(&b);
    return false;
}

static void drop_host(struct local *l)
{
    stop_load(l);
    local_packages_free(&l->packages);
    if (l->host)
        local_host_deafen(l->host);
    local_host_unref(&l->host); /* ends with the last generation that needs it */
}

static void start_host(struct local *l)
{
    struct err e;
    struct buf path = {0};
    drop_host(l);
    bool ok = make_dir(l, &e);
    buf_addf(&path, "%s/python-%u", l->dir ? l->dir : "", ++l->hosts);
    buf_addc(&path, '\0');
    if (ok)
        l->host = local_host_new(l->gw, l->config, path.p, l->site, on_host_ready, l, &e);
    buf_fini(&path);
    if (!l->host)
        load_failed(l, &e);
}

static void on_packages(const char *site, const struct err *e, void *arg)
{
    struct local *l = arg;
    free(l->site);
    l->site = site ? xstrdup(site) : NULL;
    l->packages_failure = e ? *e : (struct err){0};
    local_packages_free(&l->packages);
    if (e)
        log_error("local.packages_failed", L_ERR(e));
    if (e && l->config->local.strict && !l->gen) {
        give_up_start(l, l->packages_failure.msg);
        return;
    }
    start_host(l);
    load(l, true);
}

/* The packages first, when there are any; then the process that may import them. */
static void start_all(struct local *l)
{
    const struct local_config *c = &l->config->local;
    struct err e;
    drop_host(l);
    if (!c->packages && !c->requirements) {
        start_host(l);
    } else if (make_dir(l, &e)) {
        l->packages = local_packages_new(l->gw, l->config, l->dir, on_packages, l);
    } else {
        load_failed(l, &e);
    }
}

static bool same_list(char *const *a, char *const *b)
{
    for (; a && b && *a && *b; a++, b++)
        if (strcmp(*a, *b) != 0)
            return false;
    return (a ? *a : NULL) == NULL && (b ? *b : NULL) == NULL;
}

/* What a running headgate-python has been started with. */
static bool same_host(const struct config *x, const struct config *y)
{
    const struct local_config *a = &x->local, *b = &y->local;
    bool same = a->envs == b->envs && same_list(a->pass_env, b->pass_env) &&
                same_list(a->path, b->path) && same_list(a->preload, b->preload) &&
                str_eq(str_of(a->python), str_of(b->python)) && x->debuggable == y->debuggable &&
                same_list(a->packages, b->packages) && same_list(a->pip_args, b->pip_args) &&
                str_eq(str_of(a->requirements), str_of(b->requirements)) &&
                a->only_binary == b->only_binary;
    for (size_t i = 0; same && i < a->envs; i++)
        same = strcmp(a->env[i].name, b->env[i].name) == 0 &&
               strcmp(a->env[i].value, b->env[i].value) == 0;
    return same;
}

static void watch_files(struct local *l)
{
    const struct local_config *c = &l->config->local;
    char *folders[66] = {NULL};
    size_t n = 0;
    local_watch_free(&l->watch);
    if (!c->hot_reload)
        return;
    if (c->workspace)
        folders[n++] = c->workspace;
    for (char **f = c->folders; f && *f && n < 64; f++)
        folders[n++] = *f;
    l->watch = local_watch_new(l->gw->control.loop, folders, DEBOUNCE_MS, on_files_changed, l);
}

void local_configure(struct local *l, struct config *c)
{
    struct config *old = l->config;
    l->config = c->local.enabled ? config_ref(c) : NULL;
    if (!l->config) {
        drop_host(l);
        local_watch_free(&l->watch);
        local_gen_unref(&l->gen);
    } else {
        if ((!l->host && !l->packages) || !old || !same_host(old, c))
            start_all(l);
        watch_files(l);
        load(l, true);
    }
    config_unref(&old);
}

/* ---- life ---- */

struct local *local_new(struct gateway *gw)
{
    struct local *l = xcalloc(1, sizeof *l);
    l->gw = gw;
    return l;
}

void local_free(struct local **lp)
{
    struct local *l = *lp;
    *lp = NULL;
    if (!l)
        return;
    drop_host(l);
    local_watch_free(&l->watch);
    local_gen_unref(&l->gen);
    free(l->site);
    loop_flush(l->gw->control.loop); /* the last generations remove their files */
    if (l->dir)
        stage_remove(l->dir);
    config_unref(&l->config);
    buf_fini(&l->report);
    buf_fini(&l->kept);
    buf_fini(&l->skipped);
    free(l->sandbox);
    free(l->dir);
    free(l);
}

struct local_counts *local_counts(struct local *l)
{
    return &l->counts;
}

/* ---- /api/local ---- */

static void add_lines(struct buf *b, struct str text)
{
    struct str line;
    buf_addc(b, '[');
    while (str_split(&text, '\n', &line)) {
        if (line.n == 0)
            continue;
        if (b->p[b->n - 1] != '[')
            buf_addc(b, ',');
        json_write_str(b, line);
    }
    buf_addc(b, ']');
}

static void add_pool(const struct local *l, struct buf *b)
{
    const struct local_counts *c = &l->counts;
    add_key(b, "pool");
    buf_addc(b, '{');
    add_number(b, "size", l->config->local.workers);
    add_number(b, "workers", atomic_load(&c->workers));
    add_number(b, "busy", atomic_load(&c->busy));
    add_number(b, "queued", atomic_load(&c->queued));
    add_number(b, "started", (int64_t)atomic_load(&c->started));
    add_number(b, "crashes", (int64_t)atomic_load(&c->crashes));
    add_number(b, "timeouts", (int64_t)atomic_load(&c->timeouts));
    buf_addc(b, '}');
}

static void add_sandbox(const struct local *l, struct buf *b)
{
    add_key(b, "sandbox");
    buf_addc(b, '{');
    add_text(b, "profile", sandbox_profile_name((enum sandbox_profile)l->config->local.profile));
    add_text(b, "level", l->sandbox ? l->sandbox : "unknown");
    add_number(b, "landlock", sandbox_landlock_abi());
    add_key(b, "seccomp");
    buf_adds(b, sandbox_has_seccomp() ? "true" : "false");
    buf_addc(b, '}');
}

void local_status(const struct local *l, struct buf *b)
{
    buf_addc(b, '{');
    add_key(b, "enabled");
    buf_adds(b, l->config ? "true" : "false");
    if (l->config) {
        add_text(b, "state", step_names[l->step]);
        add_number(b, "generation", l->gen ? (int64_t)l->gen->number : 0);
        add_number(b, "loaded_at_ms", l->loaded_ms);
        add_number(b, "pid", l->host ? local_host_pid(l->host) : 0);
        add_key(b, "hot_reload");
        buf_adds(b, l->watch ? "true" : "false");
        add_text(b, "packages",
                 l->packages                            ? "installing"
                 : l->site                              ? "installed"
                 : l->packages_failure.kind != ERR_NONE ? l->packages_failure.msg
                                                        : "none");
        if (l->failure.kind != ERR_NONE)
            add_text(b, "error", l->failure.msg);
        add_sandbox(l, b);
        add_pool(l, b);
        add_key(b, "broken");
        buf_add_str(b, l->kept.n ? buf_str(&l->kept) : STR("["));
        buf_addc(b, ']');
        add_key(b, "skipped");
        add_lines(b, buf_str(&l->skipped));
        add_key(b, "report");
        buf_add_str(b, l->report.n ? buf_str(&l->report) : STR("null"));
    }
    buf_addc(b, '}');
}
