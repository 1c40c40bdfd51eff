/* See gate.h. One credential a request: the Authorization field. What is presented and not right is
 * refused whatever else would let an anonymous caller in. */
#include "gateway/gate.h"

#include "auth/verdicts.h"
#include "base/clock.h"
#include "gateway/jsonrpc.h"

#include <stdlib.h>
#include <sys/queue.h>

enum { VERDICT_ROOM = 4096, LOG_PER_SECOND = 10 };

#define WELL_KNOWN "/.well-known/"
#define RESOURCE   WELL_KNOWN "oauth-protected-resource"
#define SERVER     WELL_KNOWN "oauth-authorization-server"

/* What came of a request, for the metrics. */
enum result { RESULT_OK, RESULT_MISSING, RESULT_MALFORMED, RESULT_REFUSED, RESULT_SCOPE, RESULTS };

/* A held request. */
struct held {
    struct gate *gate;
    struct exchange *x; /* NULL: the client went away */
    enum gate_door door;
    TAILQ_ENTRY(held) link;
};

struct gate {
    struct shard *shard;
    struct verdicts *verdicts;
    TAILQ_HEAD(, held) held;
    int64_t log_second;
    int logged;
    struct metric *results[RESULTS];
};

static const char *const result_names[RESULTS] = {"ok", "missing", "malformed", "refused", "scope"};

struct gate *gate_new(struct shard *s)
{
    struct gate *g = xcalloc(1, sizeof *g);
    g->shard = s;
    g->verdicts = verdicts_new(VERDICT_ROOM);
    TAILQ_INIT(&g->held);
    for (int i = 0; i < RESULTS; i++)
        g->results[i] = metric_series(&metric_rows[M_AUTH], result_names[i], NULL);
    return g;
}

void gate_free(struct gate **gp)
{
    struct gate *g = *gp;
    struct held *h;
    if (!g)
        return;
    while ((h = TAILQ_FIRST(&g->held))) {
        TAILQ_REMOVE(&g->held, h, link);
        free(h);
    }
    verdicts_free(&g->verdicts);
    free(g);
    *gp = NULL;
}

void gate_reset(struct gate *g)
{
    verdicts_clear(g->verdicts);
}

/* ---- answers ---- */

static void count(const struct exchange *x, enum result result)
{
    metric_add(x->shard->gate->results[result], 1);
}

/* Why a credential was refused is for the operator; a flood of bad ones shall not flood the log. */
static void log_refusal(struct gate *g, const struct err *e)
{
    int64_t second = clock_ms() / 1000;
    if (second != g->log_second) {
        g->log_second = second;
        g->logged = 0;
    }
    if (g->logged++ < LOG_PER_SECOND)
        log_info("auth.refused", L_ERR(e));
}

static bool is_mcp(enum gate_door door)
{
    return door == GATE_CLIENT;
}

/* Where the metadata of the requested resource is. */
static void metadata_url(const struct exchange *x, struct buf *out)
{
    gate_public_url(x->shard->gw, x->shard->config, out);
    buf_adds(out, RESOURCE);
    const struct config *cfg = x->shard->config;
    bool message = cfg->messages_path && str_eq(x->head->path, str_of(cfg->messages_path));
    buf_add_str(out, message ? str_of(cfg->sse_path) : x->head->path);
    buf_addc(out, '\0');
}

static void reply(struct exchange *x, int status, const char *error, char *const *scopes,
                  enum gate_door door, struct str body)
{
    struct buf url = {0}, value = {0}, fields = {0};
    if (is_mcp(door))
        metadata_url(x, &url);
    auth_challenge(&value, error, scopes, url.p);
    buf_adds(&fields, "Content-Type: application/json\r\n");
    if (status != 400)
        (void)!http1_add_field(&fields, STR("WWW-Authenticate"), buf_str(&value));
    exchange_reply(x, status, buf_str(&fields), body);
    buf_fini(&url);
    buf_fini(&value);
    buf_fini(&fields);
}

static void refuse(struct exchange *x, enum gate_door door, int status, const char *error,
                   const char *why)
{
    struct buf body = {0};
    const struct auth_config *a = &x->shard->config->auth;
    char **scopes =
        door == GATE_ADMIN_WRITE && status == 403 ? a->reload_scopes : a->required_scopes;
    if (is_mcp(door)) {
        buf_addf(&body, "{\"error\":\"%s\",\"error_description\":\"%s\"}",
                 error ? error : "unauthorized", why);
    } else {
        buf_addf(&body, "{\"error\":\"%s\"}", status == 401 ? "unauthorized" : error);
    }
    reply(x, status, error, scopes, door, buf_str(&body));
    buf_fini(&body);
}

void gate_refuse_scopes(struct exchange *x, char *const *scopes, struct str body)
{
    count(x, RESULT_SCOPE);
    reply(x, 403, "insufficient_scope", scopes, GATE_CLIENT, body);
}

/* ---- judging ---- */

/* A token in a URL ends up in logs: it is refused, not used (RFC 6750 §2.3, MCP
 * basic/authorization). */
static bool has_query_token(const struct exchange *x)
{
    struct str rest = x->head->query, part;
    while (str_split(&rest, '&', &part))
        if (str_starts(part, STR("access_token=")) || str_eq(part, STR("access_token")))
            return true;
    return false;
}

/* The token, if there is one; false: answered. */
static bool read_token(struct exchange *x, enum gate_door door, struct str *token)
{
    struct str field = http1_value(x->head, STR("Authorization"));
    *token = (struct str){0};
    if (has_query_token(x) || http1_count(x->head, STR("Authorization")) > 1) {
        count(x, RESULT_MALFORMED);
        refuse(x, door, 400, "invalid_request",
               "a request carries one credential, in its Authorization field");
        return false;
    }
    bool wanted = x->shard->config->auth.providers > 0 || !is_mcp(door);
    if (!field.p || auth_bearer_of(field, token) || !wanted)
        return true;
    count(x, RESULT_MALFORMED);
    refuse(x, door, 401, "invalid_token", "Authorization is not a bearer token");
    return false;
}

/* ---- tenants ---- */

/* The tenant's name in BASE/t/NAME/mcp, where the endpoint is BASE/mcp; p NULL: not such a path. */
static struct str name_in_path(const struct config *cfg, struct str path)
{
    struct str base = str_of(cfg->base_path);
    const char *last = strrchr(cfg->path, '/');
    size_t front = base.n + 3, back = strlen(last);
    if (path.n <= front + back || !str_starts(path, base) ||
        memcmp(path.p + base.n, "/t/", 3) != 0 || memcmp(path.p + path.n - back, last, back) != 0)
        return (struct str){0};
    return (struct str){path.p + front, path.n - front - back};
}

static const struct policy_tenant *path_tenant(const struct config *cfg, struct str path)
{
    struct str name = name_in_path(cfg, path);
    for (size_t i = 0; name.p && i < cfg->policy.tenant_count; i++)
        if (str_eq(str_of(cfg->policy.tenants[i].name), name))
            return &cfg->policy.tenants[i];
    return NULL;
}

bool gate_is_endpoint(const struct config *cfg, struct str path)
{
    return str_eq(path, str_of(cfg->path)) || path_tenant(cfg, path);
}

/* The caller within its tenant, and as the policy sees it. Takes who; NULL: it may not come in. */
static struct principal *place(const struct exchange *x, struct principal *who)
{
    const struct config *cfg = x->shard->config;
    const struct policy *p = &cfg->policy;
    const struct policy_tenant *t;
    struct principal *placed = NULL;
    if (!p->active)
        return who;
    if (policy_place(p, who, path_tenant(cfg, x->head->path), x->head->authority, &t)) {
        placed = principal_in_tenant(who, t ? t->name : "");
        placed->standing = policy_subject_new(p, placed);
    }
    principal_unref(&who);
    return placed;
}

/* Has what every caller needs, and what this door asks for besides. Where there are tenants, the
 * control plane's documents show them all: they are for those who may reload. */
static void let_in(struct exchange *x, enum gate_door door, struct principal *who)
{
    const struct auth_config *a = &x->shard->config->auth;
    bool reserved = door == GATE_ADMIN_WRITE ||
                    (door == GATE_ADMIN_READ && x->shard->config->policy.tenant_count > 0);
    if (principal_has_scopes(who, a->required_scopes) &&
        (!reserved || a->providers == 0 || principal_has_scopes(who, a->reload_scopes))) {
        count(x, RESULT_OK);
        x->principal = who;
        return;
    }
    count(x, RESULT_SCOPE);
    principal_unref(&who);
    refuse(x, door, 403, "insufficient_scope", "a scope is missing");
}

static void on_closed(struct exchange *x)
{
    struct held *h = x->arg;
    h->x = NULL;
}

static void judge(struct exchange *x, enum gate_door door, bool settled);

static void on_settled(void *arg)
{
    struct held *h = arg;
    struct exchange *x = h->x;
    TAILQ_REMOVE(&h->gate->held, h, link);
    if (x) {
        x->on_closed = NULL;
        x->arg = NULL;
        judge(x, h->door, true);
        exchange_resume(x);
    }
    free(h);
}

static void hold(struct exchange *x, enum gate_door door, struct jwks *jwks)
{
    struct held *h = xmalloc(sizeof *h);
    *h = (struct held){.gate = x->shard->gate, .x = x, .door = door};
    TAILQ_INSERT_TAIL(&h->gate->held, h, link);
    x->arg = h;
    x->on_closed = on_closed;
    exchange_hold(x);
    jwks_refresh(jwks, x->shard->loop, on_settled, h);
}

/* What a verdict is remembered by: the credential, and how it came when that can make a
 * difference. */
static void verdict_key(const struct exchange *x, enum gate_door door, struct str token,
                        uint8_t digest[32])
{
    bool tenants = x->shard->config->policy.tenant_count > 0;
    const struct str parts[] = {token, is_mcp(door) ? STR("\n") : STR("\r"), x->head->authority,
                                x->head->path};
    crypto_sha256(parts, tenants ? 4 : 2, digest);
}

static void place_and_let_in(struct exchange *x, enum gate_door door, struct principal *who,
                             const uint8_t digest[32], int64_t now)
{
    who = is_mcp(door) ? place(x, who) : who;
    if (!who) {
        count(x, RESULT_REFUSED);
        refuse(x, door, 403, "forbidden", "this caller belongs elsewhere");
        return;
    }
    verdicts_put(x->shard->gate->verdicts, digest, who, now);
    let_in(x, door, who);
}

/* token p NULL: nobody is asked for one. */
static void check_token(struct exchange *x, enum gate_door door, struct str token, bool settled)
{
    struct gate *g = x->shard->gate;
    struct principal *who;
    struct jwks *jwks = NULL;
    struct err e;
    uint8_t digest[32];
    int64_t now = clock_wall_ms();
    verdict_key(x, door, token, digest);
    if ((who = verdicts_get(g->verdicts, digest, now))) {
        let_in(x, door, principal_ref(who));
        return;
    }
    if (!token.p) {
        place_and_let_in(x, door, principal_anonymous(), digest, now);
        return;
    }
    switch (auth_check(&x->shard->config->auth, token, now, settled, &who, &jwks, &e)) {
    case AUTH_OK: place_and_let_in(x, door, who, digest, now); break;
    case AUTH_WAIT: hold(x, door, jwks); break;
    case AUTH_REFUSED:
        count(x, RESULT_REFUSED);
        log_refusal(g, &e);
        refuse(x, door, 401, "invalid_token", "the token is not accepted");
        break;
    }
}

/* The control plane's own credential. True: it was enough, or the request is answered. */
static bool judge_admin(struct exchange *x, enum gate_door door, struct str token)
{
    const struct auth_config *a = &x->shard->config->auth;
    if (token.p && auth_is_admin(a, token)) {
        count(x, RESULT_OK);
        x->principal = principal_ref(a->admin);
        return true;
    }
    if (door == GATE_ADMIN_READ)
        return false;
    if (a->has_admin) {
        count(x, token.p ? RESULT_REFUSED : RESULT_MISSING);
        refuse(x, door, 401, token.p ? "invalid_token" : NULL, "");
        return true;
    }
    if (a->providers == 0 && !x->local_listener) {
        refuse(x, door, 403, "forbidden", "");
        return true;
    }
    return false;
}

static void judge(struct exchange *x, enum gate_door door, bool settled)
{
    struct str token;
    if (!read_token(x, door, &token))
        return;
    if (!is_mcp(door) && judge_admin(x, door, token))
        return;
    const struct config *cfg = x->shard->config;
    if (cfg->auth.providers == 0) {
        if (cfg->policy.active && is_mcp(door))
            check_token(x, door, (struct str){0}, true);
        else
            x->principal = principal_anonymous();
    } else if (!token.p) {
        count(x, RESULT_MISSING);
        refuse(x, door, 401, NULL, "authentication is required");
    } else {
        check_token(x, door, token, settled);
    }
}

void gate_enter(struct exchange *x, enum gate_door door)
{
    judge(x, door, false);
}

/* ---- the gateway's own URL and metadata ---- */

void gate_public_url(const struct gateway *gw, const struct config *cfg, struct buf *out)
{
    if (cfg->public_url) {
        buf_adds(out, cfg->public_url);
        return;
    }
    const char *bound = gw->bound ? gw->bound[0] : cfg->listen[0];
    buf_adds(out, "http://");
    /* An address that stands for all is none to connect to. */
    if (strncmp(bound, "0.0.0.0:", 8) == 0 || strncmp(bound, "[::]:", 5) == 0)
        buf_addf(out, "127.0.0.1%s", strrchr(bound, ':'));
    else
        buf_adds(out, bound);
}

void gate_attach(struct gateway *gw, struct config *cfg)
{
    size_t n = cfg->policy.tenant_count;
    struct buf origin = {0}, url = {0};
    strlist urls = xcalloc(n + 2, sizeof *urls);
    gate_public_url(gw, cfg, &origin);
    for (size_t i = 0; i <= n; i++) {
        url.n = 0;
        buf_add_str(&url, buf_str(&origin));
        if (i < n) {
            buf_addf(&url, "%s/t/%s%s", cfg->base_path, cfg->policy.tenants[i].name,
                     strrchr(cfg->path, '/'));
        } else {
            buf_adds(&url, cfg->path);
        }
        urls[i] = xmemdup0(url.p, url.n);
    }
    auth_attach(&cfg->auth, gw->jwks, urls);
    jwks_keeper_sweep(gw->jwks);
    for (size_t i = 0; i <= n; i++)
        free(urls[i]);
    free(urls);
    buf_fini(&origin);
    buf_fini(&url);
}

bool gate_is_metadata(const struct exchange *x)
{
    return str_starts(x->head->path, STR(WELL_KNOWN));
}

static void not_found(struct exchange *x)
{
    exchange_reply_json(x, 404, STR("{\"error\":\"not_found\"}"));
}

/* Clients of 2025-03-26 look for the authorization server at the resource's own origin; they are
 * sent to the real one (its issuer without path, RFC 8414 §3). */
static void server_metadata(struct exchange *x)
{
    char *const *servers = x->shard->config->auth.authorization_servers;
    struct buf url = {0}, fields = {0};
    struct http1_url u;
    if (!servers || !*servers || !http1_parse_url(str_of(*servers), &u, NULL)) {
        not_found(x);
        return;
    }
    size_t origin = strcspn(strstr(*servers, "://") + 3, "/") + (u.https ? 8 : 7);
    buf_add(&url, *servers, origin);
    buf_adds(&url, SERVER);
    if (!str_eq(u.target, STR("/")))
        buf_add_str(&url, u.target);
    (void)!http1_add_field(&fields, STR("Location"), buf_str(&url));
    exchange_reply(x, 307, buf_str(&fields), (struct str){0});
    buf_fini(&url);
    buf_fini(&fields);
}

/* The path of the resource that a metadata path speaks of: what was inserted, or the endpoint. */
static bool resource_path(const struct exchange *x, struct str *path)
{
    struct str all = x->head->path;
    size_t n = strlen(RESOURCE);
    *path = (struct str){all.p + n, all.n - n};
    if (path->n == 0)
        *path = str_of(x->shard->config->path);
    const char *sse = x->shard->config->sse_path;
    return gate_is_endpoint(x->shard->config, *path) || (sse && str_eq(*path, str_of(sse)));
}

void gate_metadata(struct exchange *x)
{
    const struct config *cfg = x->shard->config;
    struct str path;
    struct buf url = {0}, body = {0};
    bool asks = cfg->auth.providers > 0;
    if (asks && str_starts(x->head->path, STR(RESOURCE)) && resource_path(x, &path)) {
        gate_public_url(x->shard->gw, cfg, &url);
        buf_add_str(&url, path);
        buf_addc(&url, '\0');
        auth_metadata(&body, url.p, cfg->server_name, cfg->auth.authorization_servers,
                      cfg->auth.required_scopes);
        exchange_reply_json(x, 200, buf_str(&body));
    } else if (asks && str_starts(x->head->path, STR(SERVER))) {
        server_metadata(x);
    } else {
        not_found(x);
    }
    buf_fini(&url);
    buf_fini(&body);
}
