/* See routes.h. Order of judgement: Host and Origin (403), CORS preflight, path (404), method
 * (405), credential (401); what is left is the endpoint's. */
#include "gateway/routes.h"

#include "base/clock.h"
#include "gateway/admin.h"
#include "gateway/audit_call.h"
#include "gateway/gate.h"
#include "gateway/mcp_http.h"
#include "gateway/mcp_sse.h"
#include "gateway/owner.h"

enum route_kind { TO_MCP, TO_SSE, TO_MESSAGES, TO_HEALTH, TO_METADATA, TO_ADMIN, TO_ADMIN_WRITE };

struct route {
    const char *path;
    enum route_kind kind;
    bool prefix; /* everything below path too */
};

/* Paths below the base path; the endpoint itself is config.path. */
static const struct route admin_routes[] = {
    {"/api/", TO_ADMIN, true},         {"/metrics", TO_ADMIN, false},
    {"/debug/info", TO_ADMIN, false},  {"/reload", TO_ADMIN_WRITE, false},
    {"/drain", TO_ADMIN_WRITE, false}, {"/ui", TO_ADMIN, true},
};
static const char *const health_paths[] = {"/healthz", "/readyz", "/startupz"};

/* ---- Host and Origin ---- */

static bool in_list(char *const *list, struct str s)
{
    for (; list && *list; list++)
        if (strcmp(*list, "*") == 0 || str_ieq(str_of(*list), s))
            return true;
    return false;
}

static struct str host_of(struct str authority)
{
    if (authority.n == 0)
        return authority;
    if (authority.p[0] == '[') {
        const char *end = memchr(authority.p, ']', authority.n);
        return end ? (struct str){authority.p, (size_t)(end - authority.p) + 1} : authority;
    }
    const char *colon = memchr(authority.p, ':', authority.n);
    return colon ? (struct str){authority.p, (size_t)(colon - authority.p)} : authority;
}

static bool is_localhost(struct str host)
{
    return str_ieq(host, STR("localhost")) || str_eq(host, STR("127.0.0.1")) ||
           str_eq(host, STR("[::1]"));
}

/* A page that re-bound its name to a loopback address shows by its Host. Beyond loopback, names are
 * the operator's choice: only a configured list restricts them. */
static bool host_allowed(const struct exchange *x)
{
    const struct config *cfg = x->shard->config;
    struct str host = host_of(x->head->authority);
    if (in_list(cfg->allowed_hosts, host) || in_list(cfg->allowed_hosts, x->head->authority))
        return true;
    if (is_localhost(host))
        return true;
    return !x->local_listener && !cfg->allowed_hosts;
}

static bool origin_is_local(struct str origin)
{
    struct http1_url u;
    struct err e;
    if (!http1_parse_url(origin, &u, &e))
        return false;
    return str_ieq(u.host, STR("localhost")) || str_eq(u.host, STR("127.0.0.1")) ||
           str_eq(u.host, STR("::1"));
}

static bool origin_allowed(const struct exchange *x, struct str origin, bool *cors)
{
    *cors = in_list(x->shard->config->cors_origins, origin);
    return *cors || (x->local_listener && origin_is_local(origin));
}

/* ---- CORS ---- */

/* Request headers that browser clients of every revision send; Mcp-Param-* names are dynamic and
 * echoed. */
#define CORS_HEADERS                                                                               \
    "Content-Type, Authorization, Accept, Last-Event-ID, Mcp-Session-Id, MCP-Protocol-Version, "   \
    "Mcp-Method, Mcp-Name"

static void add_requested_params(struct str requested, struct buf *out)
{
    struct str part;
    while (str_split(&requested, ',', &part)) {
        part = str_trim(part);
        if (part.n > 10 && part.n < 80 && str_ieq((struct str){part.p, 10}, STR("mcp-param-")) &&
            http1_is_token(part)) {
            buf_adds(out, ", ");
            buf_add_str(out, part);
        }
    }
}

static void set_cors(struct exchange *x, struct str origin, bool preflight)
{
    struct buf b = {0};
    (void)!http1_add_field(&b, STR("Access-Control-Allow-Origin"), origin);
    buf_adds(&b, "Vary: Origin\r\nAccess-Control-Allow-Credentials: true\r\n"
                 "Access-Control-Expose-Headers: Mcp-Session-Id, WWW-Authenticate, "
                 "MCP-Protocol-Version, Retry-After\r\n");
    if (preflight) {
        buf_adds(&b, "Access-Control-Allow-Methods: GET, POST, DELETE, "
                     "OPTIONS\r\nAccess-Control-Max-Age: 600\r\n"
                     "Access-Control-Allow-Headers: " CORS_HEADERS);
        add_requested_params(http1_value(x->head, STR("Access-Control-Request-Headers")), &b);
        buf_adds(&b, "\r\n");
    }
    x->fields = (struct str){arena_dup(&x->arena, b.p, b.n), b.n};
    buf_fini(&b);
}

/* ---- answers of ours ---- */

static void refuse(struct exchange *x, int status, struct str fields, const char *why)
{
    struct buf body = {0}, all = {0};
    rpc_error(&body, (struct str){0}, RPC_INVALID_REQUEST, str_of(why), (struct str){0});
    buf_adds(&all, "Content-Type: application/json\r\n");
    buf_add_str(&all, fields);
    exchange_reply(x, status, buf_str(&all), buf_str(&body));
    buf_fini(&body);
    buf_fini(&all);
}

static bool is_health(struct str path)
{
    for (size_t i = 0; i < sizeof health_paths / sizeof *health_paths; i++)
        if (str_eq(path, str_of(health_paths[i])))
            return true;
    return false;
}

static void health(struct exchange *x)
{
    struct gateway *gw = x->shard->gw;
    struct buf body = {0};
    bool draining = atomic_load(&gw->draining), ready = atomic_load(&gw->ready);
    bool startup = str_eq(x->head->path, STR("/startupz")), ok = true;
    if (str_eq(x->head->path, STR("/healthz"))) {
        buf_adds(&body, "{\"status\":\"ok\"}");
    } else if (startup ? ready : ready && !draining) {
        buf_addf(&body, "{\"status\":\"%s\",\"uptime_seconds\":%.1f}",
                 startup ? "started" : "ready", (double)(clock_ms() - gw->started_ms) / 1000);
    } else {
        ok = false;
        buf_addf(&body, "{\"status\":\"%s\",\"reason\":\"%s\"}", startup ? "starting" : "not_ready",
                 draining ? "the gateway drains" : "the first catalog is not built yet");
    }
    exchange_reply_json(x, ok ? 200 : 503, buf_str(&body));
    buf_fini(&body);
}

static bool admin_here(const struct exchange *x)
{
    const struct config *cfg = x->shard->config;
    if (x->admin_listener || x->link_listener)
        return x->admin_listener;
    return cfg->admin_public || (!cfg->admin_listen && x->local_listener);
}

static bool find_route(const struct exchange *x, enum route_kind *kind)
{
    const struct config *cfg = x->shard->config;
    struct str path = x->head->path, base = str_of(cfg->base_path);
    bool client = !x->admin_listener;
    *kind = TO_MCP;
    if (client && gate_is_endpoint(cfg, path))
        return true;
    *kind = TO_SSE;
    if (client && cfg->sse_path && str_eq(path, str_of(cfg->sse_path)))
        return true;
    *kind = TO_MESSAGES;
    if (client && cfg->messages_path && str_eq(path, str_of(cfg->messages_path)))
        return true;
    *kind = TO_HEALTH;
    if (is_health(path))
        return true;
    *kind = TO_METADATA;
    if (!x->admin_listener && gate_is_metadata(x))
        return true;
    if (!admin_here(x) || !str_starts(path, base))
        return false;
    path = (struct str){path.p + base.n, path.n - base.n};
    for (size_t i = 0; i < sizeof admin_routes / sizeof *admin_routes; i++) {
        struct str r = str_of(admin_routes[i].path);
        *kind = admin_routes[i].kind;
        if (admin_routes[i].prefix ? str_starts(path, r) : str_eq(path, r))
            return true;
    }
    return false;
}

static bool is_read(const struct exchange *x)
{
    return str_eq(x->head->method, STR("GET")) || str_eq(x->head->method, STR("HEAD"));
}

/* What its kind of route asks of a request before its body is read. */
static void admit(struct exchange *x, enum route_kind kind)
{
    bool scrape = x->admin_listener && str_eq(x->head->path, STR("/metrics"));
    switch (kind) {
    case TO_MCP:
        if (mcp_http_head(x))
            gate_enter(x, GATE_CLIENT);
        break;
    case TO_SSE:
        if (mcp_sse_head(x))
            gate_enter(x, GATE_CLIENT);
        break;
    case TO_MESSAGES:
        if (mcp_sse_post_head(x))
            gate_enter(x, GATE_CLIENT);
        break;
    case TO_HEALTH:
    case TO_METADATA:
        if (is_read(x))
            x->principal = principal_anonymous();
        else
            refuse(x, 405, STR("Allow: GET, HEAD\r\n"), "only GET here");
        break;
    case TO_ADMIN:
        /* Who collects metrics has a port of its own, and no credential. */
        if (scrape)
            x->principal = principal_anonymous();
        else
            gate_enter(x, GATE_ADMIN_READ);
        break;
    case TO_ADMIN_WRITE: gate_enter(x, GATE_ADMIN_WRITE); break;
    }
}

void routes_on_head(struct exchange *x)
{
    enum route_kind kind;
    if (x->link_listener) {
        link_on_head(x);
        return;
    }
    struct str origin = http1_value(x->head, STR("Origin"));
    bool cors = false;
    bool preflight = str_eq(x->head->method, STR("OPTIONS")) &&
                     http1_field(x->head, STR("Access-Control-Request-Method"));
    /* Probes come with the pod's address as Host and carry nothing worth protecting. */
    if ((x->local_listener || !is_health(x->head->path)) && !host_allowed(x)) {
        refuse(x, 403, (struct str){0}, "this Host is not allowed; add it to allowedHosts");
        return;
    }
    if (origin.p && !origin_allowed(x, origin, &cors)) {
        refuse(x, 403, (struct str){0},
               "this Origin is not allowed; add it to cors.allowedOrigins");
        return;
    }
    if (origin.p && (cors || x->local_listener))
        set_cors(x, origin, preflight);
    if (preflight) {
        exchange_reply(x, 204, (struct str){0}, (struct str){0});
        return;
    }
    if (!find_route(x, &kind)) {
        refuse(x, 404, (struct str){0}, "no such path");
        return;
    }
    admit(x, kind);
}

void routes_on_request(struct exchange *x)
{
    enum route_kind kind;
    if (x->link_listener && !x->relayed) {
        link_on_request(x);
        return;
    }
    if (!find_route(x, &kind)) {
        refuse(x, 404, (struct str){0}, "no such path");
        return;
    }
    switch (kind) {
    case TO_MCP: mcp_http_request(x); break;
    case TO_SSE: mcp_sse_open(x); break;
    case TO_MESSAGES: mcp_sse_post(x); break;
    case TO_HEALTH: health(x); break;
    case TO_METADATA: gate_metadata(x); break;
    case TO_ADMIN_WRITE:
        audit_admin(x);
        admin_forward(x);
        break;
    case TO_ADMIN: admin_forward(x); break;
    }
}
