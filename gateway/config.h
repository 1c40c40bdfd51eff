/* The gateway's configuration: an immutable, counted snapshot made from file, environment and flags
 * (rising precedence). */
#ifndef GATEWAY_CONFIG_H
#define GATEWAY_CONFIG_H

#include "auth/auth.h"
#include "auth/policy.h"
#include "base/cidr.h"
#include "base/err.h"
#include "base/log.h"
#include "base/options.h"
#include "base/str.h"
#include "gateway/config_local.h"
#include "gateway/rate.h"
#include "store/store.h"

enum mount_transport { MOUNT_HTTP, MOUNT_SSE, MOUNT_STDIO, MOUNT_LOCAL };
enum era_pin { ERA_PIN_AUTO, ERA_PIN_MODERN, ERA_PIN_LEGACY };
/* auto: HTTP servers that hand out session ids get one session a client; stdio is shared. */
enum session_mode { SESSION_AUTO, SESSION_SHARED, SESSION_PER_CLIENT };
/* What shares a session with a legacy server, among modern clients: all calls of a principal, those
 * that name one header value too, or none. */
enum session_affinity { AFFINITY_PRINCIPAL, AFFINITY_REQUEST, AFFINITY_HEADER };
enum duplicate_policy { DUPLICATE_WARN, DUPLICATE_ERROR, DUPLICATE_REPLACE, DUPLICATE_IGNORE };

/* Whether results of reads are kept as long as their server says, and whether for all of a tenant
 * where it says that, too. */
enum mount_cache { MOUNT_CACHE_OFF, MOUNT_CACHE_PRIVATE, MOUNT_CACHE_PUBLIC };
enum auth_type { AUTH_TYPE_NONE, AUTH_TYPE_BEARER, AUTH_TYPE_JWT, AUTH_TYPE_MULTI };
const char *auth_type_name(enum auth_type t);

/* A NULL-terminated list of owned strings; NULL when empty. */
typedef char **strlist;

/* What has a window of its own. */
enum limit_per { PER_TENANT = 1, PER_PRINCIPAL = 2, PER_TOOL = 4 };
/* What a limit does while the store is away. */
enum limit_fail {
    FAIL_LOCAL,  /* this process admits its share by itself */
    FAIL_OPEN,   /* everything is admitted */
    FAIL_CLOSED, /* nothing is */
};

/* A limit on what its lists match (an empty list: on all). */
struct limit_rule {
    char *name;
    struct rate rate;
    unsigned per; /* enum limit_per */
    enum limit_fail fail;
    strlist tools;   /* globs over public names */
    strlist tenants; /* names */
    strlist methods; /* names; never empty */
};

/* A tool's own limit, as the operator wrote it. */
struct tool_rate {
    char *name; /* of the tool; of a variable's rest when folded: upper case, '_' for the rest */
    bool folded;
    struct rate rate;
};

struct limits_config {
    struct rate fallback;    /* for tools without a limit of their own */
    struct tool_rate *tools; /* the first that fits counts */
    size_t tool_count;
    struct limit_rule *rules; /* all that match count */
    size_t rule_count;
    struct rate *tenants;      /* of all calls of a tenant together … */
    struct map tenant_by_name; /* … by its name */
    enum limit_fail fail;      /* of what is not a rule */
    bool count_hits;           /* results from the cache count, too */
    bool http_429;             /* a refusal is HTTP 429 instead of a result */
    bool by_principal;         /* some window asks who calls */
    bool across_tenants;       /* some window is for several tenants */
};

/* Results of tools that match are kept. */
struct cache_rule {
    char *tools; /* a glob over public names */
    int ttl_ms;  /* -1: what the tool says itself */
    bool shared; /* by all of a tenant */
};

struct cache_config {
    bool enabled;
    int max_size;             /* results a tool, on each loop */
    size_t max_bytes;         /* all results, on all loops */
    struct cache_rule *rules; /* the first that matches counts */
    size_t rule_count;
};

/* What a tenant shows an upstream instead of the upstream's own auth and headers. */
struct mount_credential {
    char *tenant;
    char *bearer_token, *bearer_token_file; /* as in struct mount_config; so are headers */
    struct name_value *headers;
    size_t header_count;
};

struct mount_config {
    char *name;   /* [a-z0-9]([a-z0-9-]*[a-z0-9])?, made legal from what was written */
    char *prefix; /* the namespace; "" for none; default: name */
    enum mount_transport transport;
    char *url;       /* HTTP, SSE */
    char *url_shown; /* url for logs and people: as written, without its query; NULL with stdio */
    char *command;   /* stdio */
    strlist args;    /* stdio; NULL-terminated, may be NULL */
    struct name_value *env; /* stdio: added to the small default environment */
    size_t envs;
    char *cwd;
    enum era_pin era;
    int era_recheck_ms; /* HTTP, found to be legacy: until it is asked again */
    enum session_mode session;
    char *bearer_token;         /* resolved from token/tokenEnv; NULL: none. Secret */
    char *bearer_token_file;    /* read at use, re-read when it changes; NULL: none */
    char *bearer_hint;          /* what is configured for logs: "tokenEnv GITHUB_MCP_TOKEN"; NULL */
    struct name_value *headers; /* fixed upstream headers; values are secret */
    size_t header_count;
    struct mount_credential *credentials; /* sorted by tenant */
    size_t credential_count;
    char *ca_file;
    bool tls_insecure;
    int connect_ms, tls_ms, first_byte_ms, idle_ms, max_ms;
    strlist tools_allow, tools_deny; /* globs over upstream names; empty allow = all */
    struct name_value
        *rename; /* upstream tool name -> public name (used as it is, without the prefix) */
    size_t renames;
    strlist tags;
    strlist required_scopes;                    /* of all that it offers */
    struct name_value *tool_scopes, *tool_tags; /* glob over upstream names -> words */
    size_t tool_scope_count, tool_tag_count;
    bool trust_annotations; /* what its tools say of themselves counts in decisions */
    bool prefix_uris;       /* resourceUris: prefix */
    bool superset_caps;     /* clientCaps: superset */
    bool interactive;       /* one call at a time in a session */
    enum session_affinity affinity;
    char *affinity_header;
    strlist roots;              /* file URIs told to the server; NULL: what the client has */
    int pool_idle_ms, pool_max; /* sessions.idle, sessions.max */
    bool local;                 /* see mount_is_local */
    enum mount_cache cache;
};

/* Are its tools the gateway's own, of `local:`? What they say of themselves is then believed. */
static inline bool mount_is_local(const struct mount_config *m)
{
    return m->local;
}

/* The credential that a tenant ("" for none) has of its own for a mount; NULL: the mount's. */
const struct mount_credential *mount_credential_of(const struct mount_config *m,
                                                   const char *tenant);

/* Is it spoken to over HTTP? */
static inline bool mount_is_http(const struct mount_config *m)
{
    return m->transport == MOUNT_HTTP || m->transport == MOUNT_SSE;
}

struct config {
    int refs;
    bool admin_public;              /* the control plane is on every listener */
    bool sse;                       /* HTTP+SSE is served too */
    bool seal_keys_generated;       /* none was configured */
    strlist listen;                 /* "127.0.0.1:8000"; at least one */
    char *admin_listen;             /* NULL: control plane on the first loopback listener only */
    char *path;                     /* "/mcp" */
    char *sse_path, *messages_path; /* its paths; NULL: it is not */
    char *base_path;                /* of the other routes: "" or "/acme" */
    char *server_name, *server_version;
    enum log_level log_level;
    bool log_json;
    bool metrics_enabled, ui_enabled;
    bool debuggable;     /* core dumps, ptrace */
    int threads;         /* data threads, 1..64 */
    bool gateway_mode;   /* mounts are used */
    bool production;     /* MCP_ENV is prod, production or staging */
    bool human_approval; /* of tools that are believed to destroy */
    enum auth_type auth_type;
    strlist cors_origins;  /* exact origins, or "*" */
    strlist allowed_hosts; /* Host values admitted besides localhost forms and the bound addresses;
                              "*" = any */
    char separator[8];     /* between prefix and name: "_" */
    int max_name;          /* 64 */
    enum duplicate_policy on_duplicate;
    bool prefix_uris;           /* what mounts do that do not say */
    int page_size;              /* of lists: 1000 */
    size_t max_body_bytes;      /* a client's request: 4 MiB */
    size_t max_message_bytes;   /* one upstream message: 16 MiB */
    size_t max_buffered_bytes;  /* all buffers of the process: 512 MiB */
    int max_connections;        /* 10000 */
    int max_sessions;           /* 10000 */
    int session_idle_ms;        /* 1 h */
    int startup_wait_ms;        /* how long the first lists wait for slow upstreams: 3000 */
    int drain_ms, lame_duck_ms; /* 25000; 0 on loopback else 5000 */
    int header_ms, body_ms, keep_alive_ms, store_op_ms; /* 10000, 30000, 75000, 50 */
    int parked_ms;                                      /* 600000 */
    int heartbeat_ms;                                   /* 15000 */
    int parked_max, parked_per_principal, parked_per_upstream;
    uint8_t (*seal_keys)[32]; /* first mints */
    size_t seal_key_count;
    char *link_listen;      /* where other replicas hand requests over; NULL: nowhere */
    char *link_advertise;   /* how they reach it; NULL: as bound */
    struct store_url store; /* what replicas share */
    char *store_prefix;
    char *store_password; /* secret; NULL: none, or in the URL or a file */
    char *store_password_file, *store_ca, *store_cert, *store_key;
    size_t store_memory_bytes;
    struct limits_config limits;
    struct cache_config cache;
    struct cidr *trusted_proxies;
    size_t trusted_proxy_count;
    struct mount_config *mounts;
    size_t mount_count;
    struct local_config local;
    char *source; /* the file read, for messages; NULL when none */
    struct auth_config auth;
    struct policy policy;
    char *audit_file; /* NULL: no audit log */
    char *public_url; /* origin under which clients know the gateway, without '/'; NULL: not said */
};

/* One problem of a configuration. */
struct config_problem {
    char *where; /* "headgate.yaml:12 upstreams.files.command", "MCP_PORT", "--listen" */
    char *what;  /* what is wrong and what to write instead */
    bool warning;
};
struct config_problems {
    struct config_problem *at;
    size_t n, errors;
};

/* Loads: file (NULL: none), then environ, then flags ("--listen=…" style, NULL-terminated, may be
 * NULL). Collects every problem, does not stop at the first. Returns owned (one reference), or NULL
 * when problems->errors > 0. */
struct config *config_load(const char *file, char *const *environ, const char *const *flags,
                           struct config_problems *problems);
struct config *config_ref(struct config *c);
void config_unref(struct config **c);
/* Prints problems, one a line ("error: WHERE: WHAT"), to stderr-like text appended to out. */
void config_problems_format(const struct config_problems *p, struct buf *out);
void config_problems_fini(struct config_problems *p);
/* The option table as text: for --help and for docs/configuration.md (markdown). */
void config_help(struct buf *out);
void config_markdown(struct buf *out);
/* The effective configuration as JSON with secrets redacted. */
void config_dump(const struct config *c, struct buf *out);

#endif
