/* The table of the gateway's options, and what is made from it and from the upstreams' table for
 * people. */
#include "base/json.h"
#include "gateway/config_parts.h"
#include "local/sandbox.h"

#define GIB (1024LL * 1024 * 1024)

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

static const struct option_choice log_levels[] = {
    {"info", LV_INFO},   {"debug", LV_DEBUG},    {"trace", LV_DEBUG},
    {"warn", LV_WARN},   {"warning", LV_WARN},   {"error", LV_ERROR},
    {"fatal", LV_ERROR}, {"critical", LV_ERROR}, {NULL, 0},
};
static const struct option_choice log_formats[] = {{"text", false}, {"json", true}, {NULL, 0}};
static const struct option_choice modes[] = {
    {"server", CONFIG_MODE_SERVER}, {"gateway", CONFIG_MODE_GATEWAY}, {NULL, 0}};
static const struct option_choice duplicates[] = {
    {"warn", DUPLICATE_WARN},
    {"error", DUPLICATE_ERROR},
    {"replace", DUPLICATE_REPLACE},
    {"ignore", DUPLICATE_IGNORE},
    {NULL, 0},
};
static const struct option_choice fail_modes[] = {
    {"local", FAIL_LOCAL}, {"open", FAIL_OPEN}, {"closed", FAIL_CLOSED}, {NULL, 0}};
static const struct option_choice limit_responses[] = {{"result", false}, {"429", true}, {NULL, 0}};
static const struct option_choice uri_forms[] = {
    {"plain", CONFIG_URIS_PLAIN}, {"prefix", CONFIG_URIS_PREFIX}, {NULL, 0}};
static const struct option_choice visibility_modes[] = {
    {"blocklist", false}, {"allowlist", true}, {NULL, 0}};
static const struct option_choice auth_types[] = {
    {"none", AUTH_TYPE_NONE},
    {"bearer", AUTH_TYPE_BEARER},
    {"jwt", AUTH_TYPE_JWT},
    {"multi", AUTH_TYPE_MULTI},
    {NULL, 0},
};

static const struct option_choice booleans[] = {
    {"true", true}, {"false", false}, {"", 0},     {"yes", true}, {"no", false},
    {"on", true},   {"off", false},   {"1", true}, {"0", false},  {NULL, 0}};
static const struct option_choice sandbox_profiles[] = {{"pure", SANDBOX_PURE},
                                                        {"net", SANDBOX_NET},
                                                        {"exec", SANDBOX_EXEC},
                                                        {"off", SANDBOX_OFF},
                                                        {NULL, 0}};
static const struct option_choice sandbox_required[] = {
    {"false", false}, {"strict", true}, {"", 0}, {"true", true}, {NULL, 0}};
static const struct option config_rows[] = {
    {
        .name = "listen",
        .type = OPT_LIST,
        OPT_AT(config_draft, c.listen),
        .def = "127.0.0.1:8000",
        .help = "Addresses to listen on: `127.0.0.1:8000`, `[::1]:8000`, one or a list.",
    },
    {
        .type = OPT_STRING,
        OPT_AT(config_draft, host),
        .env = {"MCP_HOST"},
        .flags = OPT_INPUT,
        .help = "Replaces the host of `listen`.",
    },
    {
        .type = OPT_STRING,
        OPT_AT(config_draft, port),
        .env = {"MCP_PORT"},
        .flags = OPT_INPUT,
        .help = "Replaces the port of `listen`.",
    },
    {
        .name = "admin.listen",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.admin_listen),
        .min = 1,
        .def_text = "the first loopback address of `listen`",
        .help = "Address of the control plane: UI, API, metrics, reload.",
    },
    {
        .name = "admin.public",
        .type = OPT_BOOL,
        OPT_AT(config_draft, c.admin_public),
        .def = "false",
        .help =
            "Serve the control plane on every address of `listen`, also where others can reach it.",
    },
    {
        .name = "path",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.path),
        .def = "/mcp",
        .min = 1,
        .max = 256,
        .env = {"MCP_PATH"},
        .help = "Path of the MCP endpoint; what stands before its last `/` is the base of the "
                "other routes.",
    },
    {
        .name = "sse",
        .type = OPT_BOOL,
        OPT_AT(config_draft, c.sse),
        .def = "true",
        .help = "Serve the older HTTP+SSE transport too.",
    },
    {
        .name = "ssePath",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.sse_path),
        .def_text = "`sse` beside `path`: `/sse`",
        .min = 1,
        .max = 256,
        .help = "Path of its stream.",
    },
    {
        .name = "messagesPath",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.messages_path),
        .def_text = "`messages` beside `path`: `/messages`",
        .min = 1,
        .max = 256,
        .help = "Path of its POSTs.",
    },
    {
        .name = "serverName",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.server_name),
        .def = "headgate",
        .min = 1,
        .max = 128,
        .env = {"MCP_SERVER_NAME"},
        .flags = OPT_RELOAD,
        .help = "Name that clients see.",
    },
    {
        .name = "serverVersion",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.server_version),
        .def = HEADGATE_VERSION,
        .min = 1,
        .max = 64,
        .env = {"MCP_SERVER_VERSION"},
        .flags = OPT_RELOAD,
        .help = "Version that clients see.",
    },
    {
        .name = "environment",
        .type = OPT_STRING,
        OPT_AT(config_draft, environment),
        .def = "dev",
        .min = 1,
        .max = 64,
        .env = {"MCP_ENV", "ENVIRONMENT", "APP_ENV"},
        .flags = OPT_INPUT,
        .help = "`prod`, `production` and `staging` make defaults stricter.",
    },
    {
        .name = "allowNoAuth",
        .type = OPT_BOOL,
        OPT_AT(config_draft, auth.allow_none),
        .def = "false",
        .env = {"MCP_ALLOW_NO_AUTH"},
        .flags = OPT_INPUT,
        .help = "Run in a production environment although clients are not authenticated.",
    },
    {
        .name = "publicUrl",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.public_url),
        .min = 1,
        .def_text = "the first address of `listen`",
        .flags = OPT_RELOAD,
        .help = "Where clients reach the gateway, as `https://mcp.example.com`; what tokens and "
                "metadata name.",
    },
    {
        .name = "auth.type",
        .type = OPT_CHOICE,
        OPT_AT(config_draft, auth.type),
        .def_text = "what `auth` is configured for; else `none`",
        .choices = auth_types,
        .env = {"MCP_AUTH_TYPE"},
        .flags = OPT_INPUT,
        .help = "How clients are authenticated.",
    },
    {
        .name = "auth.providers",
        .type = OPT_LIST,
        OPT_AT(config_draft, auth.providers),
        .def_text = "bearer, jwt",
        .env = {"MCP_AUTH_PROVIDERS"},
        .flags = OPT_INPUT,
        .help = "With type `multi`: what is tried, in this order.",
    },
    {
        .name = "auth.token",
        .type = OPT_STRING,
        OPT_AT(config_draft, auth.token),
        .min = 1,
        .env = {"MCP_AUTH_TOKEN"},
        .flags = OPT_INPUT | OPT_SECRET,
        .help = "The static token, when there is one; see `auth.tokens`.",
    },
    {
        .name = "auth.tokenEnv",
        .type = OPT_STRING,
        OPT_AT(config_draft, auth.token_env),
        .min = 1,
        .flags = OPT_INPUT,
        .help = "The name of a variable that holds it.",
    },
    {
        .name = "auth.tokenFile",
        .type = OPT_STRING,
        OPT_AT(config_draft, auth.token_file),
        .min = 1,
        .flags = OPT_INPUT,
        .help = "A file that holds it.",
    },
    {
        .name = "auth.clientId",
        .type = OPT_STRING,
        OPT_AT(config_draft, auth.client_id),
        .def = "bearer-user",
        .min = 1,
        .env = {"MCP_AUTH_CLIENT_ID"},
        .flags = OPT_INPUT,
        .help = "Whom that token stands for.",
    },
    {
        .name = "auth.scopes",
        .type = OPT_LIST,
        OPT_AT(config_draft, auth.scopes),
        .def_text = "none",
        .env = {"MCP_AUTH_SCOPES"},
        .flags = OPT_INPUT,
        .help = "Scopes that it grants.",
    },
    {
        .name = "auth.requiredScopes",
        .type = OPT_LIST,
        OPT_AT(config_draft, auth.required_scopes),
        .def_text = "none",
        .env = {"MCP_AUTH_REQUIRED_SCOPES"},
        .flags = OPT_INPUT,
        .help = "Scopes that every caller must have.",
    },
    {
        .name = "auth.tokens",
        .type = OPT_SUBTREE,
        .help = "Static tokens, a list: see below.",
    },
    {
        .name = "auth.tokensFile",
        .type = OPT_STRING,
        OPT_AT(config_draft, auth.tokens_file),
        .min = 1,
        .flags = OPT_INPUT,
        .help = "A YAML or JSON file with such a list.",
    },
    {
        .name = "auth.jwt",
        .type = OPT_SUBTREE,
        .help = "The issuer of JWTs, or a list of them: see below.",
    },
    {
        .name = "auth.authorizationServers",
        .type = OPT_LIST,
        OPT_AT(config_draft, auth.servers),
        .def_text = "the issuers that are URLs",
        .flags = OPT_INPUT,
        .help = "Where clients get tokens, as the metadata of the gateway says.",
    },
    {
        .name = "admin.token",
        .type = OPT_STRING,
        OPT_AT(config_draft, auth.admin_token),
        .min = 1,
        .env = {"MCP_ADMIN_TOKEN"},
        .flags = OPT_INPUT | OPT_SECRET,
        .help = "The one credential of `/reload` and `/drain`, instead of a client's.",
    },
    {
        .name = "admin.tokenEnv",
        .type = OPT_STRING,
        OPT_AT(config_draft, auth.admin_token_env),
        .min = 1,
        .flags = OPT_INPUT,
        .help = "The name of a variable that holds it.",
    },
    {
        .name = "admin.tokenFile",
        .type = OPT_STRING,
        OPT_AT(config_draft, auth.admin_token_file),
        .min = 1,
        .flags = OPT_INPUT,
        .help = "A file that holds it.",
    },
    {
        .name = "admin.clientId",
        .type = OPT_STRING,
        OPT_AT(config_draft, auth.admin_client),
        .def = "admin-user",
        .min = 1,
        .env = {"MCP_ADMIN_CLIENT_ID"},
        .flags = OPT_INPUT,
        .help = "Whom the admin token stands for.",
    },
    {
        .name = "admin.reloadScopes",
        .type = OPT_LIST,
        OPT_AT(config_draft, auth.reload_scopes),
        .def = "mcp:admin",
        .env = {"MCP_RELOAD_REQUIRED_SCOPES"},
        .flags = OPT_INPUT,
        .help = "Scopes that `/reload` and `/drain` need without an admin token; empty: any caller "
                "who is authenticated.",
    },
    {
        .name = "visibility.mode",
        .type = OPT_CHOICE,
        OPT_AT(config_draft, policy.allowlist),
        .def = "blocklist",
        .choices = visibility_modes,
        .env = {"MCP_VISIBILITY_MODE"},
        .flags = OPT_INPUT,
        .help = "`allowlist` shows tools with one of enableTags only; disableTags hide in either.",
    },
    {
        .name = "visibility.enableTags",
        .type = OPT_LIST,
        OPT_AT(config_draft, policy.enable_tags),
        .def_text = "none",
        .env = {"MCP_ENABLE_TAGS"},
        .flags = OPT_INPUT,
        .help = "Tags that an allowlist shows.",
    },
    {
        .name = "visibility.disableTags",
        .type = OPT_LIST,
        OPT_AT(config_draft, policy.disable_tags),
        .def_text = "none",
        .env = {"MCP_DISABLE_TAGS"},
        .flags = OPT_INPUT,
        .help = "What has one of these tags is hidden.",
    },
    {
        .name = "humanApproval",
        .type = OPT_BOOL,
        OPT_AT(config_draft, c.human_approval),
        .def = "true",
        .env = {"MCP_REQUIRE_HUMAN_APPROVAL_FOR_DESTRUCTIVE"},
        .flags = OPT_RELOAD,
        .help =
            "A person must accept calls of tools whose annotations say that they destroy, where "
            "they are believed.",
    },
    {
        .name = "audit.file",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.audit_file),
        .min = 1,
        .def_text = "none",
        .help = "Where calls, refusals and administration are written, one JSON line each, chained "
                "by hashes; see `headgate audit verify`.",
    },
    {
        .name = "requireTenant",
        .type = OPT_BOOL,
        OPT_AT(config_draft, policy.require_tenant),
        .def = "true",
        .flags = OPT_INPUT,
        .help = "When there are tenants: callers that belong to none may not come in.",
    },
    {
        .name = "tenants",
        .type = OPT_SUBTREE,
        .help = "Groups of callers by name: see below.",
    },
    {
        .name = "policy.rules",
        .type = OPT_SUBTREE,
        .help = "Who may do what, a list; the first rule that matches decides: see below.",
    },
    {
        .name = "log.level",
        .type = OPT_CHOICE,
        OPT_AT(config_draft, c.log_level),
        .def = "info",
        .choices = log_levels,
        .env = {"LOG_LEVEL"},
        .flags = OPT_RELOAD,
        .help = "The least important lines to log.",
    },
    {
        .name = "log.format",
        .type = OPT_CHOICE,
        OPT_AT(config_draft, c.log_json),
        .def = "text",
        .choices = log_formats,
        .env = {"LOG_FORMAT"},
        .flags = OPT_RELOAD,
        .help = "Form of a log line.",
    },
    {
        .name = "metrics",
        .type = OPT_BOOL,
        OPT_AT(config_draft, c.metrics_enabled),
        .def = "true",
        .env = {"MCP_METRICS_ENABLED"},
        .help = "Serve Prometheus metrics at `/metrics`.",
    },
    {
        .name = "ui",
        .type = OPT_BOOL,
        OPT_AT(config_draft, c.ui_enabled),
        .def = "true",
        .env = {"MCP_UI_ENABLED"},
        .help = "Serve the web interface at `/ui`.",
    },
    {
        .name = "debuggable",
        .type = OPT_BOOL,
        OPT_AT(config_draft, c.debuggable),
        .def = "false",
        .help = "Let debuggers attach, and processes of the same user read memory and environment.",
    },
    {
        .name = "threads",
        .type = OPT_INT,
        OPT_AT(config_draft, c.threads),
        .def = "1",
        .min = 1,
        .max = 64,
        .help = "Threads that carry calls.",
    },
    {
        .name = "mode",
        .type = OPT_CHOICE,
        OPT_AT(config_draft, mode),
        .def_text = "`gateway` when the file has upstreams",
        .choices = modes,
        .env = {"MCP_MODE"},
        .help = "`gateway` uses the upstreams, `server` does not.",
    },
    {
        .type = OPT_STRING,
        OPT_AT(config_draft, mount_servers),
        .max = YAML_MAX_BYTES,
        .env = {"MCP_MOUNT_SERVERS"},
        .flags = OPT_INPUT | OPT_SECRET,
        .help = "More upstreams as JSON, a list or a map; needs `MCP_MODE=gateway`.",
    },
    {
        .name = "cors.allowedOrigins",
        .type = OPT_LIST,
        OPT_AT(config_draft, c.cors_origins),
        .def_text = "none",
        .env = {"MCP_CORS_ALLOWED_ORIGINS"},
        .flags = OPT_RELOAD,
        .help =
            "Origins whose pages may use the gateway, as `https://app.example.com`; `*` for any.",
    },
    {
        .name = "allowedHosts",
        .type = OPT_LIST,
        OPT_AT(config_draft, c.allowed_hosts),
        .def_text = "none",
        .flags = OPT_RELOAD,
        .help = "Host names under which the gateway is reached, besides localhost and the "
                "addresses of `listen`; "
                "`*` for any.",
    },
    {
        .name = "separator",
        .type = OPT_CHARS,
        OPT_AT(config_draft, c.separator),
        .def = "_",
        .min = 1,
        .help = "What stands between an upstream's namespace and a name.",
    },
    {
        .name = "maxNameLength",
        .type = OPT_INT,
        OPT_AT(config_draft, c.max_name),
        .def = "64",
        .min = 24,
        .max = 128,
        .help = "Longer public names are cut and get a hash.",
    },
    {
        .name = "onDuplicate",
        .type = OPT_CHOICE,
        OPT_AT(config_draft, on_duplicate),
        .def_text = "`warn`; `error` in production",
        .choices = duplicates,
        .env = {"MCP_ON_DUPLICATE_TOOLS"},
        .help = "What happens when two entries without a namespace have one name.",
    },
    {
        .name = "pageSize",
        .type = OPT_INT,
        OPT_AT(config_draft, c.page_size),
        .def = "1000",
        .min = 1,
        .max = 10000,
        .help = "Entries in one page of a list.",
    },
    {
        .name = "resourceUris",
        .type = OPT_CHOICE,
        OPT_AT(config_draft, uris),
        .def = "plain",
        .choices = uri_forms,
        .help = "`prefix` puts the namespace into every resource URI; `plain` only where two "
                "upstreams share one.",
    },
    {
        .name = "maxBodyBytes",
        .type = OPT_BYTES,
        OPT_AT(config_draft, c.max_body_bytes),
        .def = "4MiB",
        .min = 1024,
        .max = GIB,
        .flags = OPT_RELOAD,
        .help = "Largest request of a client.",
    },
    {
        .name = "maxMessageBytes",
        .type = OPT_BYTES,
        OPT_AT(config_draft, c.max_message_bytes),
        .def = "16MiB",
        .min = 1024,
        .max = GIB,
        .flags = OPT_RELOAD,
        .help = "Largest message of an upstream.",
    },
    {
        .name = "maxBufferedBytes",
        .type = OPT_BYTES,
        OPT_AT(config_draft, c.max_buffered_bytes),
        .def = "512MiB",
        .min = 1024 * 1024,
        .max = 1024 * GIB,
        .flags = OPT_RELOAD,
        .help = "All buffers together; beyond it, requests are refused.",
    },
    {
        .name = "maxConnections",
        .type = OPT_INT,
        OPT_AT(config_draft, c.max_connections),
        .def = "10000",
        .min = 1,
        .max = 1000000,
        .help = "Connections of clients at one time.",
    },
    {
        .name = "maxSessions",
        .type = OPT_INT,
        OPT_AT(config_draft, c.max_sessions),
        .def = "10000",
        .min = 1,
        .max = 1000000,
        .help = "Sessions of clients at one time.",
    },
    {
        .name = "parked.max",
        .type = OPT_INT,
        OPT_AT(config_draft, c.parked_max),
        .def = "10000",
        .min = 1,
        .max = 1000000,
        .flags = OPT_RELOAD,
        .help = "Calls that wait for answers of stateless clients at one time.",
    },
    {
        .name = "parked.perPrincipal",
        .type = OPT_INT,
        OPT_AT(config_draft, c.parked_per_principal),
        .def = "1000",
        .min = 1,
        .max = 1000000,
        .flags = OPT_RELOAD,
        .help = "The same, of one caller.",
    },
    {
        .name = "parked.perUpstream",
        .type = OPT_INT,
        OPT_AT(config_draft, c.parked_per_upstream),
        .def = "5000",
        .min = 1,
        .max = 1000000,
        .flags = OPT_RELOAD,
        .help = "The same, to one upstream.",
    },
    {
        .name = "timeouts.header",
        .type = OPT_MSEC,
        OPT_AT(config_draft, c.header_ms),
        .def = "10s",
        .min = 100,
        .max = HOUR,
        .flags = OPT_RELOAD,
        .help = "For the head of a request to arrive.",
    },
    {
        .name = "timeouts.body",
        .type = OPT_MSEC,
        OPT_AT(config_draft, c.body_ms),
        .def = "30s",
        .min = 100,
        .max = HOUR,
        .flags = OPT_RELOAD,
        .help = "For the body of a request to arrive.",
    },
    {
        .name = "timeouts.keepAlive",
        .type = OPT_MSEC,
        OPT_AT(config_draft, c.keep_alive_ms),
        .def = "75s",
        .min = 100,
        .max = HOUR,
        .flags = OPT_RELOAD,
        .help = "How long an unused connection stays open.",
    },
    {
        .name = "timeouts.sessionIdle",
        .type = OPT_MSEC,
        OPT_AT(config_draft, c.session_idle_ms),
        .def = "1h",
        .min = SECOND,
        .max = 7 * DAY,
        .flags = OPT_RELOAD,
        .help = "How long an unused session lives.",
    },
    {
        .name = "timeouts.parked",
        .type = OPT_MSEC,
        OPT_AT(config_draft, c.parked_ms),
        .def = "10m",
        .min = 100,
        .max = DAY,
        .flags = OPT_RELOAD,
        .help = "How long a call that a server interrupted with a question waits for the answer.",
    },
    {
        .name = "timeouts.heartbeat",
        .type = OPT_MSEC,
        OPT_AT(config_draft, c.heartbeat_ms),
        .def = "15s",
        .min = 100,
        .max = HOUR,
        .flags = OPT_RELOAD,
        .help = "How long nothing is sent to the client of a running call before a comment is.",
    },
    {
        .name = "timeouts.startupWait",
        .type = OPT_MSEC,
        OPT_AT(config_draft, c.startup_wait_ms),
        .def = "3s",
        .min = 0,
        .max = 10 * MINUTE,
        .help = "How long the first lists wait for slow upstreams.",
    },
    {
        .name = "timeouts.drain",
        .type = OPT_MSEC,
        OPT_AT(config_draft, c.drain_ms),
        .def = "25s",
        .min = 0,
        .max = DAY,
        .flags = OPT_RELOAD,
        .help = "How long running calls may go on after a request to stop.",
    },
    {
        .name = "timeouts.lameDuck",
        .type = OPT_MSEC,
        OPT_AT(config_draft, c.lame_duck_ms),
        .def_text = "0 when all of `listen` is loopback, else 5s",
        .min = 0,
        .max = 10 * MINUTE,
        .flags = OPT_RELOAD,
        .help = "How long the gateway goes on accepting, marked not ready, before it drains.",
    },
    {
        .name = "timeouts.store",
        .type = OPT_MSEC,
        OPT_AT(config_draft, c.store_op_ms),
        .def = "200ms",
        .min = 5,
        .max = MINUTE,
        .help = "For Redis to answer; a connect may take four times as long.",
    },
    {
        .name = "replicaLink.listen",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.link_listen),
        .min = 1,
        .help = "Address where other replicas hand over requests of sessions that live here. Needs "
                "a shared `store` and `sealKeys`; for a network that only replicas reach.",
    },
    {
        .name = "replicaLink.advertise",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.link_advertise),
        .min = 1,
        .def_text = "`replicaLink.listen`",
        .help = "How the other replicas reach it, as `host:port`.",
    },
    {
        .name = "sealKeys",
        .type = OPT_LIST,
        OPT_AT(config_draft, seal_keys),
        .def_text = "one random key",
        .flags = OPT_INPUT | OPT_SECRET,
        .help = "Keys that seal session ids, of 32 bytes in base64, base64url or hex; the first is "
                "used, all are "
                "accepted. Replicas need the same.",
    },
    {
        .name = "sealKeysFile",
        .type = OPT_STRING,
        OPT_AT(config_draft, seal_keys_file),
        .min = 1,
        .flags = OPT_INPUT,
        .help = "A file that holds them, one a line.",
    },
    {
        .name = "sealKeysEnv",
        .type = OPT_STRING,
        OPT_AT(config_draft, seal_keys_env),
        .min = 1,
        .flags = OPT_INPUT,
        .help = "The name of a variable that holds them, separated by commas.",
    },
#include "gateway/config_local.def"
    {
        .name = "store",
        .type = OPT_STRING,
        OPT_AT(config_draft, store_text),
        .def = "memory",
        .min = 1,
        .flags = OPT_INPUT | OPT_SECRET,
        .help = "Where replicas share their state: `memory` (one replica), `redis://host:port/db`, "
                "`rediss://…` with TLS, or `redis+sentinel://host:port,host:port/master`.",
    },
    {
        .name = "storePrefix",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.store_prefix),
        .def = "hg",
        .min = 1,
        .max = 64,
        .help = "What every key and channel in Redis begins with; fleets that share a Redis need "
                "different ones.",
    },
    {
        .name = "storePassword",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.store_password),
        .min = 1,
        .flags = OPT_SECRET,
        .help = "Password for Redis; its user is written in `store`.",
    },
    {
        .name = "storePasswordEnv",
        .type = OPT_STRING,
        OPT_AT(config_draft, store_password_env),
        .min = 1,
        .flags = OPT_INPUT,
        .help = "The name of a variable that holds it.",
    },
    {
        .name = "storePasswordFile",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.store_password_file),
        .min = 1,
        .help = "A file that holds it; read at each connect.",
    },
    {
        .name = "storeCa",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.store_ca),
        .min = 1,
        .def_text = "the system's authorities",
        .help = "A file of the authorities that a `rediss://` server is checked against.",
    },
    {
        .name = "storeCert",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.store_cert),
        .min = 1,
        .help = "A file with the certificate to show to a `rediss://` server.",
    },
    {
        .name = "storeKey",
        .type = OPT_STRING,
        OPT_AT(config_draft, c.store_key),
        .min = 1,
        .help = "A file with its key.",
    },
    {
        .name = "storeMemoryBytes",
        .type = OPT_BYTES,
        OPT_AT(config_draft, c.store_memory_bytes),
        .def = "64MiB",
        .min = 4 * 1024 * 1024,
        .max = 64 * GIB,
        .help = "Bound of what is kept in memory; what was used longest ago goes first.",
    },
    {
        .name = "limits.default",
        .type = OPT_STRING,
        OPT_AT(config_draft, rate_default),
        .def_text = "none",
        .max = 64,
        .env = {"MCP_RATE_LIMIT_DEFAULT"},
        .flags = OPT_RELOAD | OPT_INPUT,
        .help = "How often a tool may be called that has no limit of its own, in each tenant: "
                "`100/min`; s, min, h or day; 0 is never.",
    },
    {
        .name = "limits.perTool",
        .type = OPT_PAIRS,
        OPT_AT(config_draft, rate_per_tool),
        .count_offset = offsetof(struct config_draft, rates_per_tool),
        .flags = OPT_RELOAD | OPT_INPUT,
        .help = "The same for single tools, by name; also `MCP_RATE_LIMIT_<TOOL>`.",
    },
    {
        .name = "limits.rules",
        .type = OPT_SUBTREE,
        .flags = OPT_RELOAD,
        .help = "More limits: see docs/limits.md.",
    },
    {
        .name = "limits.failMode",
        .type = OPT_CHOICE,
        OPT_AT(config_draft, c.limits.fail),
        .def = "local",
        .choices = fail_modes,
        .flags = OPT_RELOAD,
        .help = "While the store is away: admit this process's share (`local`), all (`open`) or "
                "nothing (`closed`).",
    },
    {
        .name = "limits.countHits",
        .type = OPT_BOOL,
        OPT_AT(config_draft, c.limits.count_hits),
        .def = "false",
        .flags = OPT_RELOAD,
        .help = "Results from the cache count, too.",
    },
    {
        .name = "limits.response",
        .type = OPT_CHOICE,
        OPT_AT(config_draft, c.limits.http_429),
        .def = "result",
        .choices = limit_responses,
        .flags = OPT_RELOAD,
        .help = "What a refused call gets: a tool's result that says so, or HTTP `429`.",
    },
    {
        .name = "trustedProxies",
        .type = OPT_LIST,
        OPT_AT(config_draft, proxies),
        .def_text = "none",
        .flags = OPT_RELOAD | OPT_INPUT,
        .help = "Addresses of proxies whose X-Forwarded-For and Forwarded are believed, as "
                "`10.0.0.0/8`.",
    },
    {
        .name = "cache.enabled",
        .type = OPT_BOOL,
        OPT_AT(config_draft, c.cache.enabled),
        .def = "true",
        .env = {"MCP_CACHE_ENABLED"},
        .flags = OPT_RELOAD,
        .help = "Keep results of what asks for it.",
    },
    {
        .name = "cache.maxSize",
        .type = OPT_INT,
        OPT_AT(config_draft, c.cache.max_size),
        .def = "1000",
        .min = 0,
        .max = 1000000,
        .env = {"MCP_CACHE_MAX_SIZE"},
        .flags = OPT_RELOAD,
        .help = "Results of one tool that are kept in memory.",
    },
    {
        .name = "cache.maxBytes",
        .type = OPT_BYTES,
        OPT_AT(config_draft, c.cache.max_bytes),
        .def = "64MiB",
        .min = 0,
        .max = 1024 * GIB,
        .flags = OPT_RELOAD,
        .help = "All results that are kept in memory.",
    },
    {
        .name = "cache.tools",
        .type = OPT_SUBTREE,
        .flags = OPT_RELOAD,
        .help = "Tools whose results are kept, by pattern: `{ttl: 30s, scope: private}`.",
    },
    {
        .name = "upstreams",
        .type = OPT_SUBTREE,
        .help = "The MCP servers behind the gateway, by name: see below.",
    },
    {
        .name = "mcpServers",
        .type = OPT_SUBTREE,
        .help = "The same, as desktop clients write it.",
    },
    {
        .name = "servers",
        .type = OPT_SUBTREE,
        .help = "The same, as editors write it.",
    },
    /* Without help: known, judged by config.c, not offered. */
    {.name = "inputs", .type = OPT_SUBTREE},
};

const struct option_table config_table = {config_rows, sizeof config_rows / sizeof *config_rows};

void config_help(struct buf *out)
{
    options_help(&config_table, out);
}

void config_markdown(struct buf *out)
{
    options_markdown(&config_table, "", out);
    buf_adds(out, "\n### An upstream\n\nA value may hold `${VAR}`, `${VAR:-default}` or "
                  "`${env:VAR}`; `$${` is a "
                  "plain `${`.\n\n");
    options_markdown(&mount_table, "", out);
    buf_adds(out, "\n### An entry of auth.tokens\n\n");
    options_markdown(&token_table, "", out);
    buf_adds(out, "\n### An issuer of auth.jwt\n\n");
    options_markdown(&issuer_table, "", out);
    buf_adds(out, "\n### A tenant\n\n");
    options_markdown(&tenant_table, "", out);
    buf_adds(out, "\n### A rule of the policy\n\n");
    options_markdown(&policy_rule_table, "", out);
}

static void dump_mount(const struct mount_config *m, struct buf *out)
{
    struct mount_draft d = {
        .m = *m, .transport = (int)m->transport, .uris = m->prefix_uris, .caps = m->superset_caps};
    d.m.url = m->url_shown;
    json_write_str(out, str_of(m->name));
    buf_adds(out, ":{");
    options_dump(&mount_table, &d, out);
    if (m->bearer_hint) {
        buf_adds(out, ",\"auth\":{\"type\":\"bearer\",\"from\":");
        json_write_str(out, str_of(m->bearer_hint));
        buf_addc(out, '}');
    }
    buf_addc(out, '}');
}

void config_dump(const struct config *c, struct buf *out)
{
    struct config_draft d = {
        .c = *c,
        .mode = c->gateway_mode ? CONFIG_MODE_GATEWAY : CONFIG_MODE_SERVER,
        .on_duplicate = (int)c->on_duplicate,
        .uris = c->prefix_uris ? CONFIG_URIS_PREFIX : CONFIG_URIS_PLAIN,
    };
    buf_addc(out, '{');
    options_dump(&config_table, &d, out);
    buf_addf(out, ",\"production\":%s,\"sealing\":\"%zu %s\"", c->production ? "true" : "false",
             c->seal_key_count, c->seal_keys_generated ? "generated" : "configured");
    struct buf store = {0};
    store_url_format(&c->store, &store);
    buf_adds(out, ",\"store\":");
    json_write_str(out, buf_str(&store));
    buf_fini(&store);
    buf_addf(out, ",\"auth\":{\"type\":\"%s\",\"tokens\":%zu,\"issuers\":[",
             auth_type_name(c->auth_type), c->auth.token_count);
    for (size_t i = 0; i < c->auth.issuer_count; i++) {
        buf_adds(out, i ? "," : "");
        json_write_str(out, str_of(c->auth.issuers[i].issuer));
    }
    buf_adds(out, "]}");
    buf_adds(out, ",\"upstreams\":{");
    for (size_t i = 0; i < c->mount_count; i++) {
        buf_adds(out, i ? "," : "");
        dump_mount(&c->mounts[i], out);
    }
    buf_adds(out, "}}");
}
