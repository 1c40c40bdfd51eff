/* See gateway.h. The control thread runs here; data shards run a loop each. What they share is
 * immutable and counted, and goes from one to the other by mail. */
#include "gateway/gateway.h"

#include "auth/audit.h"
#include "base/child.h"
#include "base/clock.h"
#include "gateway/admin.h"
#include "gateway/cache.h"
#include "gateway/catalog.h"
#include "gateway/envelope.h"
#include "gateway/gate.h"
#include "gateway/http_server.h"
#include "gateway/listen.h"
#include "gateway/local.h"
#include "gateway/mcp_sse.h"
#include "gateway/mcp_stdio.h"
#include "gateway/owner.h"
#include "gateway/park.h"
#include "gateway/quiet.h"
#include "gateway/session.h"
#include "gateway/view.h"
#include "gateway/watch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { DRAIN_POLL_MS = 50 };

/* ---- mail to all shards ---- */

struct note {
    struct shard *shard;
    void (*fn)(struct shard *s, void *arg);
    void *arg;
};

static void on_note(void *arg)
{
    struct note *n = arg;
    n->fn(n->shard, n->arg);
    free(n);
}

void gateway_post_all(struct gateway *gw, void (*fn)(struct shard *s, void *arg), void *arg)
{
    for (int i = 0; i < gw->shard_count; i++) {
        struct note *n = xmalloc(sizeof *n);
        *n = (struct note){&gw->shards[i], fn, arg};
        loop_post(gw->shards[i].loop, on_note, n);
    }
}

/* ---- snapshots ---- */

static void learn(struct shard *s)
{
    if (!s->catalog || s->catalog->config != s->config)
        return;
    for (size_t i = 0; i < s->upstream_count && i < s->catalog->mount_count; i++)
        upstream_learn(s->upstreams[i], &s->catalog->mounts[i].server);
}

/* A catalog on its way to all shards. Changes are told only when the last shard has it: a client
 * that hears of one may ask any. */
struct publication {
    struct gateway *gw;
    struct catalog *catalog;
    uintptr_t changed; /* bit 1 << kind */
    atomic_int left;
};

static void tell_changes(struct shard *s, void *arg)
{
    unsigned changed = (unsigned)(uintptr_t)arg;
    sessions_list_changed(s, changed);
    listeners_list_changed(s, changed);
}

static void take_catalog(struct shard *s, void *arg)
{
    struct publication *p = arg;
    views_reset(s->views);
    catalog_unref(&s->catalog);
    s->catalog = p->catalog;
    learn(s);
    if (atomic_fetch_sub(&p->left, 1) > 1)
        return;
    if (p->changed)
        gateway_post_all(p->gw, tell_changes, (void *)p->changed);
    free(p);
}

void gateway_publish_catalog(struct gateway *gw, struct catalog *c)
{
    struct catalog *old = gw->control.catalog;
    struct publication *p = xcalloc(1, sizeof *p);
    p->gw = gw;
    p->catalog = c;
    atomic_store(&p->left, gw->shard_count);
    bool judged =
        old && old->config != c->config && (old->config->policy.active || c->config->policy.active);
    for (int k = 0; old && k < KINDS; k++)
        if (judged || !catalog_same(old, c, (enum catalog_kind)k))
            p->changed |= (uintptr_t)1 << k;
    for (int i = 0; i < gw->shard_count; i++)
        (void)catalog_ref(c); /* one for each shard, taken by take_catalog */
    atomic_store(&gw->catalog_version, c->version);
    catalog_unref(&gw->control.catalog);
    gw->control.catalog = c;
    gateway_post_all(gw, take_catalog, p);
}

/* ---- configuration ---- */

static bool same_list(char *const *a, char *const *b)
{
    for (; a && b && *a && *b; a++, b++)
        if (strcmp(*a, *b) != 0)
            return false;
    return (a ? *a : NULL) == NULL && (b ? *b : NULL) == NULL;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_pairs(const struct name_value *a, size_t n, const struct name_value *b, size_t m)
{
    if (n != m)
        return false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(a[i].name, b[i].name) != 0 || strcmp(a[i].value, b[i].value) != 0)
            return false;
    return true;
}

static bool same_credentials(const struct mount_config *a, const struct mount_config *b)
{
    if (a->credential_count != b->credential_count)
        return false;
    for (size_t i = 0; i < a->credential_count; i++) {
        const struct mount_credential *x = &a->credentials[i], *y = &b->credentials[i];
        if (strcmp(x->tenant, y->tenant) != 0 || !same_text(x->bearer_token, y->bearer_token) ||
            !same_text(x->bearer_token_file, y->bearer_token_file) ||
            !same_pairs(x->headers, x->header_count, y->headers, y->header_count))
            return false;
    }
    return true;
}

/* What a running upstream depends on; the rest of a mount is read from the new snapshot by the
 * catalog. */
static bool same_mount(const struct mount_config *a, const struct mount_config *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->prefix, b->prefix) == 0 &&
           a->transport == b->transport && same_text(a->url, b->url) &&
           same_text(a->command, b->command) && same_list(a->args, b->args) &&
           same_pairs(a->env, a->envs, b->env, b->envs) && same_text(a->cwd, b->cwd) &&
           a->era == b->era && a->era_recheck_ms == b->era_recheck_ms && a->session == b->session &&
           a->cache == b->cache && same_text(a->bearer_token, b->bearer_token) &&
           same_text(a->bearer_token_file, b->bearer_token_file) &&
           same_pairs(a->headers, a->header_count, b->headers, b->header_count) &&
           same_credentials(a, b) && same_text(a->ca_file, b->ca_file) &&
           a->tls_insecure == b->tls_insecure && a->connect_ms == b->connect_ms &&
           a->tls_ms == b->tls_ms && a->first_byte_ms == b->first_byte_ms &&
           a->idle_ms == b->idle_ms && a->max_ms == b->max_ms &&
           a->superset_caps == b->superset_caps && a->affinity == b->affinity &&
           same_text(a->affinity_header, b->affinity_header) && a->interactive == b->interactive &&
           same_list(a->roots, b->roots) && a->pool_idle_ms == b->pool_idle_ms &&
           a->pool_max == b->pool_max;
}

/* Gives the shard one upstream a mount: those whose mount is as it was stay, others end after their
 * calls. */
static void take_config(struct shard *s, void *arg)
{
    struct config *fresh = arg, *old_config = s->config;
    struct upstream **old = s->upstreams;
    size_t old_count = s->upstream_count;
    s->config = fresh;
    s->upstream_count = fresh->mount_count;
    s->upstreams = xcalloc(s->upstream_count, sizeof *s->upstreams);
    for (size_t i = 0; i < s->upstream_count; i++) {
        /* The index is part of an upstream's identity: what sessions and relays hold goes by it. */
        if (i < old_count && old[i] && same_mount(old[i]->cfg, &fresh->mounts[i])) {
            s->upstreams[i] = old[i];
            old[i] = NULL;
        } else {
            s->upstreams[i] = upstream_new(s, fresh, (int)i);
        }
    }
    for (size_t i = 0; i < old_count; i++) {
        if (!old[i])
            continue;
        upstream_close(old[i], fresh->drain_ms);
        upstream_unref(&old[i]);
    }
    free(old);
    if (s->gate)
        gate_reset(s->gate);
    if (s->views)
        views_reset(s->views);
    config_unref(&old_config);
}

static void apply_config(struct gateway *gw, struct config *c)
{
    gate_attach(gw, c);
    for (int i = 0; i < gw->shard_count; i++)
        (void)config_ref(c);
    log_configure(c->log_level, c->log_json);
    gateway_post_all(gw, take_config, c);
    take_config(&gw->control, c);
    atomic_fetch_add(&gw->config_version, 1);
}

static bool same_store(const struct config *a, const struct config *b)
{
    struct buf was = {0}, is = {0};
    store_url_format(&a->store, &was);
    store_url_format(&b->store, &is);
    bool same = str_eq(buf_str(&was), buf_str(&is)) && same_text(a->store_prefix, b->store_prefix);
    buf_fini(&was);
    buf_fini(&is);
    return same;
}

bool gateway_reload(struct gateway *gw, struct err *e)
{
    struct config_problems problems = {0};
    struct buf text = {0};
    struct config *c = config_load(gw->config_file, environ, gw->flags, &problems);
    if (!c) {
        config_problems_format(&problems, &text);
        (void)err_set(e, ERR_CONFIG, "%.*s", (int)(text.n < 300 ? text.n : 300),
                      text.p ? text.p : "");
        log_error("config.reload_failed", L_S("problems", buf_str(&text)));
        metric_add(metric_of(M_RELOAD_FAILURES), 1);
    }
    metric_add(metric_series(&metric_rows[M_RELOADS], c ? "success" : "error", NULL), 1);
    config_problems_fini(&problems);
    buf_fini(&text);
    if (!c)
        return false;
    if (!same_list(c->listen, gw->control.config->listen) ||
        c->threads != gw->control.config->threads || !same_store(c, gw->control.config))
        log_warn("config.needs_restart",
                 L_STR("what", "listen, threads and store take effect at the next start"));
    if (gw->audit)
        audit_reopen(gw->audit);
    log_info("config.reloaded", L_INT("upstreams", c->mount_count));
    apply_config(gw, c);
    local_configure(gw->local, c);
    watch_start(gw->watch, NULL, NULL);
    return true;
}

static void on_hangup(void *arg)
{
    struct err e;
    (void)gateway_reload(arg, &e);
}

/* ---- drain ---- */

static void stop_shard(void *arg)
{
    struct shard *s = arg;
    loop_stop(s->loop);
}

static void on_drain_poll(void *arg)
{
    struct gateway *gw = arg;
    int64_t busy = metric_get(metric_of(M_INFLIGHT));
    if (busy > 0 && clock_ms() < gw->drain_until_ms) {
        timer_set(&gw->drain_timer, gw->control.loop, DRAIN_POLL_MS, on_drain_poll, gw);
        return;
    }
    log_info("drain.done", L_INT("calls_cut", busy));
    loop_stop(gw->control.loop);
}

static void drain_shard(struct shard *s, void *arg)
{
    (void)arg;
    s->draining = true;
    http_server_unlisten(s->http);
    http_server_drain(s->http);
    listeners_drain(s);
    owners_drain(s);
    sessions_drain(s);
    parks_drain(s);
    sse_clients_drain(s);
}

static void on_lame_duck_over(void *arg)
{
    struct gateway *gw = arg;
    gateway_post_all(gw, drain_shard, NULL);
    gw->drain_until_ms = clock_ms() + gw->control.config->drain_ms;
    timer_set(&gw->drain_timer, gw->control.loop, DRAIN_POLL_MS, on_drain_poll, gw);
}

static void begin_close(struct shard *s, void *arg)
{
    (void)arg;
    http_server_drain(s->http); /* every answer closes its connection from now on */
}

void gateway_drain(void *arg)
{
    struct gateway *gw = arg;
    if (atomic_exchange(&gw->draining, true)) {
        loop_stop(gw->control.loop); /* the second signal ends at once */
        return;
    }
    log_info("drain.begun", L_INT("inflight", metric_get(metric_of(M_INFLIGHT))));
    metric_set(metric_of(M_DRAINING), 1);
    gateway_post_all(gw, begin_close, NULL);
    timer_set(&gw->drain_timer, gw->control.loop,
              gw->listens ? gw->control.config->lame_duck_ms : 0, on_lame_duck_over, gw);
}

/* ---- life ---- */

static void shard_init(struct shard *s, struct gateway *gw, int index)
{
    static const char *const names[] = {"data-0", "data-1", "data-2", "data-3",
                                        "data-4", "data-5", "data-6", "data-7"};
    s->gw = gw;
    s->index = index;
    s->loop = loop_new(index < 0 ? "control" : index < 8 ? names[index] : "data-n");
    s->store = store_open(gw->store_hub, s->loop);
    s->read_buf = xmalloc(READ_BUF_BYTES);
    if (index < 0)
        return;
    s->http = http_server_new(s);
    s->owners = owners_new(s);
    s->sessions = session_table_new(s);
    s->sse = sse_clients_new(s);
    s->listeners = listeners_new(s);
    s->gate = gate_new(s);
    s->cache = cache_new(s);
    s->views = views_new(s);
    s->parks = parks_new(s);
    s->quiet = quiet_new(s);
}

static void shard_fini(struct shard *s)
{
    loop_flush(s->loop); /* mail that the thread did not come to */
    parks_free(&s->parks);
    if (s->index == 0)
        mcp_stdio_stop(&s->gw->stdio_client);
    sse_clients_free(&s->sse);
    owners_free(&s->owners);
    session_table_free(&s->sessions);
    listeners_free(&s->listeners);
    if (s->http)
        http_server_cut(s->http);
    for (size_t i = 0; i < s->upstream_count; i++) {
        upstream_cut(s->upstreams[i]);
        upstream_unref(&s->upstreams[i]);
    }
    free(s->upstreams);
    s->upstream_count = 0;
    http_server_free(&s->http);
    loop_flush(s->loop); /* what all that left behind */
    quiet_free(&s->quiet);
    cache_free(&s->cache);
    store_close(&s->store);
    gate_free(&s->gate);
    local_gen_unref(&s->local_gen);
    views_free(&s->views);
    loop_free(&s->loop);
    catalog_unref(&s->catalog);
    config_unref(&s->config);
    json_fini(&s->scratch_doc);
    buf_fini(&s->scratch);
    buf_fini(&s->scratch2);
    free(s->read_buf);
}

static void *shard_main(void *arg)
{
    struct shard *s = arg;
    char name[16];
    (void)snprintf(name, sizeof name, "hg-%s", loop_name(s->loop));
    (void)prctl(PR_SET_NAME, name);
    loop_run(s->loop);
    return NULL;
}

static void add_text(strlist *l, const char *p, size_t n)
{
    size_t count = 0;
    while (*l && (*l)[count])
        count++;
    *l = xrealloc(*l, (count + 2) * sizeof **l);
    (*l)[count] = xmemdup0(p, n);
    (*l)[count + 1] = NULL;
}

static int bind_one(const char *address, strlist *bound, struct err *e)
{
    struct net_addr a, got;
    struct buf text = {0};
    if (!net_addr_parse(str_of(address), &a, e))
        return -1;
    int fd = net_listen(&a, &got, e);
    if (fd < 0)
        return -1;
    net_addr_format(&got, &text);
    add_text(bound, text.p, text.n);
    buf_fini(&text);
    return fd;
}

static void free_texts(strlist *l)
{
    for (size_t i = 0; *l && (*l)[i]; i++)
        free((*l)[i]);
    free(*l);
    *l = NULL;
}

/* Other replicas are told the address that was bound, unless the configuration names another. */
static bool bind_link(struct gateway *gw, const struct config *c, struct err *e)
{
    strlist bound = NULL;
    gw->link_fd = bind_one(c->link_listen, &bound, e);
    if (gw->link_fd < 0)
        return false;
    gw->link_address = xstrdup(c->link_advertise ? c->link_advertise : bound[0]);
    free_texts(&bound);
    return true;
}

static bool bind_all(struct gateway *gw, struct config *c, struct err *e)
{
    size_t n = 0;
    while (gw->listens && c->listen[n])
        n++;
    gw->listen_fds = xcalloc(n + 1, sizeof *gw->listen_fds);
    gw->admin_fds = xcalloc(2, sizeof *gw->admin_fds);
    for (size_t i = 0; i <= n; i++)
        gw->listen_fds[i] = -1;
    gw->admin_fds[0] = gw->admin_fds[1] = gw->link_fd = -1;
    for (size_t i = 0; i < n; i++)
        if ((gw->listen_fds[i] = bind_one(c->listen[i], &gw->bound, e)) < 0)
            return false;
    if (gw->listens && c->admin_listen &&
        (gw->admin_fds[0] = bind_one(c->admin_listen, &gw->admin_bound, e)) < 0)
        return false;
    return !c->link_listen || bind_link(gw, c, e);
}

static void start_accepting(struct shard *s, void *arg)
{
    struct gateway *gw = arg;
    if (s->index != 0)
        return;
    for (int *fd = gw->listen_fds; *fd >= 0; fd++)
        http_server_listen(s->http, *fd, HTTP_FOR_CLIENTS);
    for (int *fd = gw->admin_fds; *fd >= 0; fd++)
        http_server_listen(s->http, *fd, HTTP_FOR_ADMIN);
    if (gw->link_fd >= 0)
        http_server_listen(s->http, gw->link_fd, HTTP_FOR_REPLICAS);
}

static void start_stdio(struct shard *s, void *arg)
{
    struct gateway *gw = arg;
    if (s->index == 0)
        gw->stdio_client = mcp_stdio_start(s);
}

static void print_addresses(strlist l, struct buf *out)
{
    for (size_t i = 0; l && l[i]; i++)
        buf_addf(out, "%s\"%s\"", i ? "," : "", l[i]);
}

/* The one line on stdout that starters wait for. */
static void announce(struct gateway *gw)
{
    struct buf b = {0};
    buf_adds(&b, "{\"listen\":[");
    print_addresses(gw->bound, &b);
    buf_adds(&b, "],\"admin\":[");
    print_addresses(gw->admin_bound, &b);
    buf_adds(&b, "]}\n");
    (void)!write(STDOUT_FILENO, b.p, b.n);
    buf_fini(&b);
}

/* One line a mount; status 1 when one of them cannot be used. */
static void report_live(struct gateway *gw)
{
    size_t n;
    const struct mount_info *m = watch_mounts(gw->watch, &n);
    for (size_t i = 0; i < n; i++) {
        const char *name = gw->control.config->mounts[i].name;
        if (m[i].state == MOUNT_UP) {
            printf("%s: up, %s, %u tools, %u prompts, %u resources\n", name, m[i].server.version,
                   m[i].count[KIND_TOOLS], m[i].count[KIND_PROMPTS], m[i].count[KIND_RESOURCES]);
        } else {
            printf("%s: %s: %s\n", name, mount_state_name(m[i].state),
                   m[i].error ? m[i].error : "no answer yet");
        }
        if (m[i].state != MOUNT_UP)
            gw->exit_code = 1;
    }
    (void)fflush(stdout);
    loop_stop(gw->control.loop);
}

static void on_settled(void *arg)
{
    struct gateway *gw = arg;
    if (gw->check_live) {
        report_live(gw);
        return;
    }
    atomic_store(&gw->ready, true);
    gateway_post_all(gw, start_accepting, gw);
    if (gw->stdio)
        gateway_post_all(gw, start_stdio, gw);
    else
        announce(gw);
    log_info("gateway.listening", L_STR("address", gw->bound ? gw->bound[0] : "stdio"),
             L_STR("path", gw->control.config->path),
             L_INT("upstreams", gw->control.upstream_count));
}

static void raise_file_limit(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
}

static void close_all(int *fds)
{
    for (int *fd = fds; fd && *fd >= 0; fd++)
        close(*fd);
    free(fds);
}

static struct store_hub *make_store(struct gateway *gw, const struct config *c, struct err *e)
{
    const struct store_options o = {
        .url = &c->store,
        .prefix = c->store_prefix,
        .password = c->store_password,
        .password_file = c->store_password_file,
        .ca_file = c->store_ca,
        .cert_file = c->store_cert,
        .key_file = c->store_key,
        .op_ms = c->store_op_ms,
        .connect_ms = 4 * c->store_op_ms,
        .memory_bytes = c->store_memory_bytes,
        .keys = (const uint8_t(*)[32])c->seal_keys,
        .key_count = c->seal_key_count,
        .replica = gw->replica,
    };
    return store_hub_new(&o, e);
}

static bool start(struct gateway *gw, struct config *c, struct err *e)
{
    if (!gw->check_live && !bind_all(gw, c, e))
        return false;
    gw->store_hub = make_store(gw, c, e);
    if (!gw->store_hub)
        return false;
    shard_init(&gw->control, gw, -1);
    gw->shards = xcalloc((size_t)c->threads, sizeof *gw->shards);
    gw->shard_count = c->threads;
    for (int i = 0; i < gw->shard_count; i++)
        shard_init(&gw->shards[i], gw, i);
    gw->jwks = jwks_keeper_new(gw->control.loop);
    if (c->audit_file && !gw->check_live && !(gw->audit = audit_open(c->audit_file, e))) {
        char why[sizeof e->msg];
        (void)snprintf(why, sizeof why, "%s", e->msg);
        return err_set(e, ERR_CONFIG, "audit.file '%.128s': %.200s", c->audit_file, why);
    }
    gw->watch = watch_new(gw);
    gw->local = local_new(gw);
    gw->admin = admin_start(gw, e);
    if (!gw->admin)
        return false;
    loop_on_signal(gw->control.loop, SIGTERM, gateway_drain, gw);
    loop_on_signal(gw->control.loop, SIGINT, gateway_drain, gw);
    loop_on_signal(gw->control.loop, SIGHUP, on_hangup, gw);
    apply_config(gw, c);
    for (int i = 0; i < gw->shard_count; i++)
        if (pthread_create(&gw->shards[i].thread, NULL, shard_main, &gw->shards[i]) != 0)
            return err_set(e, ERR_SYSTEM, "cannot start a thread: %s", strerror(errno));
    local_configure(gw->local, c);
    watch_start(gw->watch, on_settled, gw);
    return true;
}

static void stop(struct gateway *gw)
{
    for (int i = 0; i < gw->shard_count; i++)
        stop_shard(&gw->shards[i]);
    for (int i = 0; i < gw->shard_count; i++)
        if (gw->shards[i].thread)
            pthread_join(gw->shards[i].thread, NULL);
    admin_stop(&gw->admin);
    watch_free(&gw->watch);
    jwks_keeper_free(&gw->jwks);
    net_resolver_stop();
    for (int i = 0; i < gw->shard_count; i++)
        shard_fini(&gw->shards[i]);
    local_free(&gw->local);
    if (gw->control.loop)
        shard_fini(&gw->control);
    store_hub_free(&gw->store_hub);
    audit_close(&gw->audit);
    free(gw->shards);
    close_all(gw->listen_fds);
    close_all(gw->admin_fds);
    if (gw->link_fd >= 0)
        close(gw->link_fd);
    free(gw->link_address);
    free_texts(&gw->bound);
    free_texts(&gw->admin_bound);
}

static void name_replica(struct gateway *gw)
{
    uint64_t id;
    crypto_random(&id, sizeof id);
    (void)snprintf(gw->replica, sizeof gw->replica, "%016llx", (unsigned long long)id);
}

int gateway_run(struct gateway *gw, struct config *c)
{
    struct err e;
    name_replica(gw);
    gw->started_ms = clock_ms();
    gw->started_wall_ms = clock_wall_ms();
    pthread_mutex_init(&gw->parked.lock, NULL);
    quota_book_init(&gw->quotas);
    gw->sealer = sealer_new((const uint8_t(*)[32])c->seal_keys, c->seal_key_count);
    gw->link_keys = xcalloc(1, sizeof *gw->link_keys);
    gw->link_fd = -1;
    envelope_keys_init(gw->link_keys, (const uint8_t(*)[32])c->seal_keys, c->seal_key_count);
    (void)signal(SIGPIPE, SIG_IGN);
    raise_file_limit();
    net_resolver_start();
    bool ok = start(gw, c, &e);
    if (ok)
        loop_run(gw->control.loop);
    else
        (void)fprintf(stderr, "headgate: %s\n", e.msg);
    stop(gw);
    sealer_free(&gw->sealer);
    envelope_keys_fini(gw->link_keys);
    free(gw->link_keys);
    map_fini(&gw->parked.by_principal);
    map_fini(&gw->parked.by_mount);
    pthread_mutex_destroy(&gw->parked.lock);
    quota_book_fini(&gw->quotas);
    return ok ? gw->exit_code : 1;
}
