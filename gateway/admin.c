/* See admin.h. The documents of the control plane and their routes; nothing here knows HTTP's
 * bytes. */
#include "gateway/admin.h"

#include "base/clock.h"
#include "base/log.h"
#include "gateway/local.h"
#include "gateway/watch.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const kind_names[KINDS] = {
    [KIND_TOOLS] = "tools",
    [KIND_PROMPTS] = "prompts",
    [KIND_RESOURCES] = "resources",
    [KIND_TEMPLATES] = "templates",
};

/* ---- writing JSON ---- */

static void add_key(struct buf *out, const char *key)
{
    if (out->n && out->p[out->n - 1] != '{')
        buf_addc(out, ',');
    json_write_str(out, str_of(key));
    buf_addc(out, ':');
}

/* z NULL: null. */
static void add_text(struct buf *out, const char *key, const char *z)
{
    add_key(out, key);
    if (z)
        json_write_str(out, str_of(z));
    else
        buf_adds(out, "null");
}

static void add_str(struct buf *out, const char *key, struct str s)
{
    add_key(out, key);
    json_write_str(out, s);
}

static void add_raw(struct buf *out, const char *key, struct str raw)
{
    add_key(out, key);
    buf_add_str(out, raw);
}

static void add_number(struct buf *out, const char *key, uint64_t v)
{
    add_key(out, key);
    buf_add_u64(out, v);
}

static void add_list(struct buf *out, const char *key, char *const *list)
{
    add_key(out, key);
    buf_addc(out, '[');
    for (size_t i = 0; list && list[i]; i++) {
        buf_adds(out, i ? "," : "");
        json_write_str(out, str_of(list[i]));
    }
    buf_addc(out, ']');
}

static void add_time(struct buf *out, const char *key, int64_t wall_ms)
{
    time_t seconds = (time_t)(wall_ms / 1000);
    struct tm tm;
    char day[32];
    add_key(out, key);
    if (wall_ms <= 0 || !gmtime_r(&seconds, &tm) ||
        !strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm))
        buf_adds(out, "null");
    else
        buf_addf(out, "\"%s.%03dZ\"", day, (int)(wall_ms % 1000));
}

/* ---- /api/info ---- */

static const struct mount_info *mounts(const struct gateway *gw, size_t *n)
{
    *n = 0;
    const struct mount_info *infos = gw->watch ? watch_mounts(gw->watch, n) : NULL;
    if (*n > gw->control.config->mount_count)
        *n = gw->control.config->mount_count;
    return infos;
}

static uint32_t listed(const struct gateway *gw, int kind)
{
    return gw->control.catalog ? gw->control.catalog->list[kind].n : 0;
}

void admin_info(struct gateway *gw, struct buf *out)
{
    const struct config *cfg = gw->control.config;
    size_t total, up = 0;
    const struct mount_info *infos = mounts(gw, &total);
    for (size_t i = 0; i < total; i++)
        up += infos[i].state == MOUNT_UP;
    buf_addc(out, '{');
    add_text(out, "server", cfg->server_name);
    add_text(out, "version", cfg->server_version);
    add_text(out, "mode", cfg->gateway_mode ? "gateway" : "server");
    add_key(out, "uptime_seconds");
    buf_addf(out, "%.3f", (double)(clock_ms() - gw->started_ms) / 1000);
    add_list(out, "listen", gw->bound);
    add_key(out, "counts");
    buf_addc(out, '{');
    for (int k = 0; k < KINDS; k++)
        add_number(out, kind_names[k], listed(gw, k));
    buf_addc(out, '}');
    add_key(out, "upstreams");
    buf_addf(out, "{\"up\":%zu,\"total\":%zu}", up, cfg->mount_count);
    add_text(out, "auth_type", auth_type_name(cfg->auth_type));
    buf_addc(out, '}');
}

/* ---- /api/upstreams ---- */

static const char *transport_name(enum mount_transport t)
{
    switch (t) {
    case MOUNT_HTTP: return "http";
    case MOUNT_SSE: return "sse";
    case MOUNT_STDIO: return "stdio";
    case MOUNT_LOCAL: return "local";
    }
    return NULL;
}

static const char *session_name(enum session_mode s)
{
    switch (s) {
    case SESSION_AUTO: return "auto";
    case SESSION_SHARED: return "shared";
    case SESSION_PER_CLIENT: return "perClient";
    }
    return NULL;
}

static const char *era_name(enum up_era era)
{
    switch (era) {
    case UP_UNKNOWN: return NULL;
    case UP_MODERN: return "modern";
    case UP_LEGACY: return "legacy";
    }
    return NULL;
}

static const char *status_text(enum mount_state s)
{
    switch (s) {
    case MOUNT_CONNECTING: return "connecting";
    case MOUNT_UP: return "up";
    case MOUNT_STALE: return "away; its last lists are kept";
    case MOUNT_DOWN: return "down";
    case MOUNT_NEEDS_AUTH: return "needs authorization";
    }
    return NULL;
}

static void add_error(struct buf *out, const struct mount_config *m, const struct mount_info *mi)
{
    if (mi->state != MOUNT_NEEDS_AUTH) {
        add_text(out, "error", mi->error);
        return;
    }
    struct buf text = {0};
    if (mi->error)
        buf_addf(&text, "%s; ", mi->error);
    if (m->bearer_hint)
        buf_addf(&text, "the server refuses the token of %s: renew it", m->bearer_hint);
    else
        buf_addf(&text, "set auth.tokenEnv or auth.tokenFile of upstreams.%s", m->name);
    add_str(out, "error", buf_str(&text));
    buf_fini(&text);
}

/* What is configured, and the transport that was found out. Arguments of a command are left out:
 * people put tokens there. */
static void add_mount_config(struct buf *out, const struct mount_config *m,
                             const struct mount_info *mi)
{
    add_text(out, "name", m->name);
    add_text(out, "transport", transport_name(mi->server.sse ? MOUNT_SSE : m->transport));
    if (m->transport == MOUNT_STDIO)
        add_text(out, "command", m->command);
    else
        add_text(out, "url", m->url_shown);
    add_text(out, "namespace", m->prefix);
    add_text(out, "session", session_name(m->session));
    add_list(out, "tags", m->tags);
}

static void add_mount_info(struct buf *out, const struct mount_config *m,
                           const struct mount_info *mi)
{
    const struct server_info *s = &mi->server;
    add_text(out, "state", mount_state_name(mi->state));
    add_text(out, "status", status_text(mi->state));
    add_text(out, "era", era_name(s->era));
    add_text(out, "version", *s->version ? s->version : NULL);
    add_raw(out, "server", s->name ? str_of(s->name) : STR("null"));
    add_key(out, "counts");
    buf_addc(out, '{');
    for (int k = 0; k < KINDS; k++)
        add_number(out, kind_names[k], mi->count[k]);
    buf_addc(out, '}');
    add_error(out, m, mi);
    add_time(out, "since", mi->since_ms);
}

void admin_upstreams(struct gateway *gw, struct buf *out)
{
    static const struct mount_info unknown;
    const struct config *cfg = gw->control.config;
    size_t n;
    const struct mount_info *infos = mounts(gw, &n);
    buf_addc(out, '[');
    for (size_t i = 0; i < cfg->mount_count; i++) {
        buf_adds(out, i ? ",{" : "{");
        const struct mount_info *mi = i < n ? &infos[i] : &unknown;
        add_mount_config(out, &cfg->mounts[i], mi);
        add_mount_info(out, &cfg->mounts[i], mi);
        buf_addc(out, '}');
    }
    buf_addc(out, ']');
}

/* ---- /api/tools, /api/prompts, /api/resources ---- */

static const char *const tool_fields[] = {"title",        "description", "inputSchema",
                                          "outputSchema", "annotations", NULL};
static const char *const prompt_fields[] = {"title", "description", "arguments", NULL};
static const char *const resource_fields[] = {"name",     "title", "description", "uri",
                                              "mimeType", "size",  "annotations", NULL};
static const char *const template_fields[] = {
    "name", "title", "description", "uriTemplate", "mimeType", "annotations", NULL};
static const char *const *const fields_of[KINDS] = {
    [KIND_TOOLS] = tool_fields,
    [KIND_PROMPTS] = prompt_fields,
    [KIND_RESOURCES] = resource_fields,
    [KIND_TEMPLATES] = template_fields,
};

/* Only known fields are taken over: a server's own "upstream" would hide ours. */
static void add_definition(struct buf *out, enum catalog_kind kind, struct str text,
                           struct json_doc *d)
{
    if (!json_parse(d, text.p, text.n, NULL))
        return;
    for (const char *const *f = fields_of[kind]; *f; f++) {
        uint32_t tok = json_get(d, 0, str_of(*f));
        if (tok != JSON_NONE)
            add_raw(out, *f, json_raw(d, tok));
    }
}

static void add_entries(const struct catalog *c, enum catalog_kind kind, struct buf *out)
{
    struct json_doc d = {0};
    for (uint32_t i = 0; i < c->list[kind].n; i++) {
        const struct catalog_entry *e = &c->list[kind].entries[i];
        buf_adds(out, out->p[out->n - 1] == '[' ? "{" : ",{");
        if (kind == KIND_TOOLS || kind == KIND_PROMPTS)
            add_str(out, "name", e->public_name);
        add_text(out, "upstream", c->config->mounts[e->mount].name);
        add_str(out, "upstream_name", e->name);
        add_definition(out, kind, catalog_page(c, kind, false, i, 1), &d);
        if (kind == KIND_TEMPLATES)
            buf_adds(out, ",\"is_template\":true");
        buf_addc(out, '}');
    }
    json_fini(&d);
}

void admin_entries(struct gateway *gw, int kind, struct buf *out)
{
    const struct catalog *c = gw->control.catalog;
    buf_addc(out, '[');
    if (c)
        add_entries(c, (enum catalog_kind)kind, out);
    if (c && kind == KIND_RESOURCES)
        add_entries(c, KIND_TEMPLATES, out);
    buf_addc(out, ']');
}

/* ---- /metrics ---- */

static int64_t resident_bytes(void)
{
    char line[128] = "";
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    bool ok = fgets(line, sizeof line, f) != NULL; /* "size resident …", in pages */
    (void)fclose(f);
    char *second = ok ? strchr(line, ' ') : NULL;
    return second ? (int64_t)strtol(second, NULL, 10) * sysconf(_SC_PAGESIZE) : 0;
}

/* What the allocator has given out: in its arenas and as mappings of their own. The shards' charged
 * buffers lie in it, so that they are not added again. What is missing to the resident size is
 * code, stacks and free but unreturned memory. */
static int64_t heap_bytes(void)
{
    struct mallinfo2 m = mallinfo2();
    return (int64_t)(m.uordblks + m.hblkhd);
}

static void set_lag(struct loop *l)
{
    struct loop_lag lag;
    if (!l)
        return;
    loop_lag(l, &lag);
    metric_set(metric_series(&metric_rows[M_LOOP_LAG_P999], loop_name(l), NULL),
               (int64_t)lag.p999_us);
    metric_set(metric_series(&metric_rows[M_LOOP_LAG_MAX], loop_name(l), NULL),
               (int64_t)lag.max_us);
}

void admin_metrics(struct gateway *gw, struct buf *out)
{
    const struct catalog *c = gw->control.catalog;
    set_lag(gw->control.loop);
    for (int i = 0; i < gw->shard_count; i++)
        set_lag(gw->shards[i].loop);
    metric_set(metric_of(M_RSS), resident_bytes());
    metric_set(metric_of(M_CHARGED), heap_bytes());
    metric_set(metric_of(M_LOG_DROPPED), (int64_t)log_dropped());
    metric_set(metric_of(M_SNAPSHOT), c ? (int64_t)c->version : 0);
    metric_set(metric_of(M_DRAINING), atomic_load(&gw->draining));
    for (int k = 0; k < KINDS; k++)
        metric_set(metric_series(&metric_rows[M_CATALOG_ENTRIES], kind_names[k], NULL),
                   listed(gw, k));
    metrics_format(out);
}

/* ---- routes ---- */

static void answer_error(struct admin_answer *out, int status, const char *detail)
{
    out->status = status;
    buf_addc(&out->body, '{');
    add_text(&out->body, "status", "error");
    add_text(&out->body, "detail", detail);
    buf_addc(&out->body, '}');
}

static void do_info(struct gateway *gw, struct admin_answer *out)
{
    admin_info(gw, &out->body);
}

static void do_upstreams(struct gateway *gw, struct admin_answer *out)
{
    admin_upstreams(gw, &out->body);
}

static void do_local(struct gateway *gw, struct admin_answer *out)
{
    local_status(gw->local, &out->body);
}

static void do_tools(struct gateway *gw, struct admin_answer *out)
{
    admin_entries(gw, KIND_TOOLS, &out->body);
}

static void do_prompts(struct gateway *gw, struct admin_answer *out)
{
    admin_entries(gw, KIND_PROMPTS, &out->body);
}

static void do_resources(struct gateway *gw, struct admin_answer *out)
{
    admin_entries(gw, KIND_RESOURCES, &out->body);
}

static void do_metrics(struct gateway *gw, struct admin_answer *out)
{
    if (!gw->control.config->metrics_enabled) {
        answer_error(out, 404, "metrics are off; set metrics: true");
        return;
    }
    out->type = "text/plain; version=0.0.4";
    admin_metrics(gw, &out->body);
}

static void do_debug(struct gateway *gw, struct admin_answer *out)
{
    buf_adds(&out->body, "{\"info\":");
    admin_info(gw, &out->body);
    buf_adds(&out->body, ",\"config\":");
    config_dump(gw->control.config, &out->body);
    buf_addc(&out->body, '}');
}

static void do_reload(struct gateway *gw, struct admin_answer *out)
{
    struct err e = {0};
    if (gateway_reload(gw, &e))
        buf_adds(&out->body, "{\"status\":\"reloaded\"}");
    else
        answer_error(out, 500, e.msg);
}

static void do_drain(struct gateway *gw, struct admin_answer *out)
{
    out->status = 202;
    buf_adds(&out->body, "{\"status\":\"draining\"}");
    gateway_drain(gw);
}

static const struct route {
    const char *path, *method;
    void (*fn)(struct gateway *gw, struct admin_answer *out);
} routes[] = {
    {"/api/info", "GET", do_info},       {"/api/upstreams", "GET", do_upstreams},
    {"/api/local", "GET", do_local},     {"/api/tools", "GET", do_tools},
    {"/api/prompts", "GET", do_prompts}, {"/api/resources", "GET", do_resources},
    {"/metrics", "GET", do_metrics},     {"/debug/info", "GET", do_debug},
    {"/reload", "POST", do_reload},      {"/drain", "POST", do_drain},
};

static const struct route *find_route(const struct gateway *gw, struct str path)
{
    struct str base = str_of(gw->control.config->base_path);
    if (!str_starts(path, base))
        return NULL;
    path = (struct str){path.p + base.n, path.n - base.n};
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (str_eq(path, str_of(routes[i].path)))
            return &routes[i];
    return NULL;
}

void admin_answer(struct gateway *gw, struct str method, struct str path, struct admin_answer *out)
{
    const struct route *r = find_route(gw, path);
    *out = (struct admin_answer){.status = 200, .type = "application/json"};
    if (!r) {
        answer_error(out, 404, "no such path");
    } else if (!str_eq(method, str_of(r->method))) {
        out->allow = r->method;
        answer_error(out, 405, "this method is not allowed here");
    } else {
        r->fn(gw, out);
    }
}
