/* What the parts of the configuration's loader share. Private to gateway/config*.c and their
 * tests. */
#ifndef GATEWAY_CONFIG_PARTS_H
#define GATEWAY_CONFIG_PARTS_H

#include "base/options.h"
#include "base/yaml.h"
#include "gateway/config.h"

enum config_mode { CONFIG_MODE_UNSET = -1, CONFIG_MODE_SERVER, CONFIG_MODE_GATEWAY };
enum config_uris { CONFIG_URIS_UNSET = -1, CONFIG_URIS_PLAIN, CONFIG_URIS_PREFIX };
enum mount_auth {
    MOUNT_AUTH_UNSET = -1,
    MOUNT_AUTH_NONE,
    MOUNT_AUTH_BEARER,
    MOUNT_AUTH_HEADER,
    MOUNT_AUTH_PASSTHROUGH,
    MOUNT_AUTH_OAUTH,
};

/* What is read to make struct auth_config. */
struct auth_draft {
    bool allow_none;
    int type; /* enum auth_type; -1: not said */
    char **providers, **scopes, **required_scopes, **servers, **reload_scopes;
    char *token, *token_env, *token_file, *client_id, *tokens_file;
    char *admin_token, *admin_token_env, *admin_token_file, *admin_client;
};

/* What is read to make struct policy. */
struct policy_draft {
    char **enable_tags, **disable_tags;
    bool allowlist, require_tenant;
};

/* One rule of policy.rules. */
struct policy_rule_draft {
    struct policy_rule r;
    char **kinds;
};

/* One entry of auth.tokens. */
struct token_draft {
    char *token, *token_env, *token_file, *sha256, *client_id, *tenant, *expires;
    char **scopes;
};

/* One issuer of auth.jwt. */
struct issuer_draft {
    struct auth_issuer i;
    char **algorithms;
    char *public_key, *public_key_file, *secret, *secret_env, *secret_file;
    int skew_ms, lifetime_ms;
};

/* A configuration while it is loaded: what it will be, and what is only read to make it. */
struct config_draft {
    struct config c;
    char *environment, *host, *port, *mount_servers;
    struct auth_draft auth;
    struct policy_draft policy;
    char *extra_packages; /* EXTRA_PIP_PACKAGES */
    int mode;             /* enum config_mode */
    int on_duplicate;     /* enum duplicate_policy; -1: not said */
    int uris;             /* enum config_uris */
    char **seal_keys;
    char *seal_keys_file, *seal_keys_env;
    char *store_text, *store_password_env;
    char *rate_default;
    struct name_value *rate_per_tool;
    size_t rates_per_tool;
    char **proxies;
    char *const *environ; /* borrowed */
    char **origins;       /* one a row of config_table; see struct option_reader */
    struct config_problems *problems;
};

/* The same for one mount. */
struct mount_draft {
    struct mount_config m;
    char *label; /* the name as written */
    bool disabled, enabled;
    int transport; /* enum mount_transport; -1: not said */
    int uris;      /* enum config_uris */
    int auth;      /* enum mount_auth */
    int caps;      /* bool superset */
    char *affinity;
    char *token, *token_env, *token_file, *auth_header, *env_file;
};

extern const struct option_table config_table;      /* rows of struct config_draft */
extern const struct option_table mount_table;       /* rows of struct mount_draft */
extern const struct option_table token_table;       /* rows of struct token_draft */
extern const struct option_table issuer_table;      /* rows of struct issuer_draft */
extern const struct option_table tenant_table;      /* rows of struct policy_tenant */
extern const struct option_table policy_rule_table; /* rows of struct policy_rule_draft */

/* Adds a problem; an option_problem_fn, so arg is the struct config_problems. */
void config_problem_add(void *arg, bool warning, const char *where, const char *what);
/* A reader of the draft's rows for problems that belong to no file: where is the path alone. */
struct option_reader config_plain_reader(struct config_draft *d);
/* Reports a problem of the option called path, with where its value was written when it was. */
void config_report(struct config_draft *d, bool warning, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Appends a file of at most max bytes. */
bool config_read_file(const char *name, size_t max, struct buf *out, struct err *e) MUST_USE;
/* Wipes and frees. */
void config_wipe(struct buf *b);
/* Frees what config_load made of a mount. */
void mount_config_fini(struct mount_config *m);
/* Frees what the structure owns, not the structure. */
void config_fini(struct config *c);

/* Joins MCP_HOST and MCP_PORT with the address of the file. Between environment and flags. */
void config_merge_host_port(struct config_draft *d);
/* Checks and completes everything but the keys and the mounts. */
void config_check(struct config_draft *d);
/* Is there a local provider? Checks and completes its options. */
void config_check_local(struct config_draft *d);
/* Its mount, made of the options. */
void config_local_mount(const struct config *c, struct mount_config *m);
/* Reads the sealing keys, or makes one. */
void config_read_keys(struct config_draft *d);
/* Reads and checks where the shared state is; after the keys. */
void config_check_store(struct config_draft *d);
/* Makes d->c.auth. Changes the tree. */
void config_read_auth(struct config_draft *d, struct yaml_doc *doc);
/* Makes d->c.policy; after d->c.auth. Changes the tree. */
void config_read_policy(struct config_draft *d, struct yaml_doc *doc);
/* Warns about variables that this version does not know or use. */
void config_check_env(struct config_draft *d);
/* Reads the upstreams of the file's root (may be NULL) and of MCP_MOUNT_SERVERS into d->c.mounts.
 * Changes the tree. */
void config_read_mounts(struct config_draft *d, struct yaml_doc *doc);

/* Reads limits, cache rules and trusted proxies: root is the file's (may be NULL). */
void config_read_limits(struct config_draft *d, const struct yaml_node *root);
/* Is it a variable that config_read_limits reads: MCP_RATE_LIMIT_<TOOL>? */
bool config_is_rate_variable(struct str name);
/* Frees what config_read_limits made. */
void config_limits_fini(struct config *c);
/* A reader of the file's values, of any table. */
struct option_reader config_file_reader(struct config_draft *d);
/* Reports patterns that are none. path names the option; node may be NULL. */
void config_check_globs(const struct option_reader *r, const struct yaml_node *node,
                        const char *path, char **globs);

/* Checks and completes one mount that r has read from node; r->base is the draft. */
void config_check_mount(const struct option_reader *r, const struct config_draft *d,
                        const struct yaml_node *node);
/* Reads what tenants have of their own for the mounts; after both. */
void config_read_credentials(struct config_draft *d, struct yaml_doc *doc);
/* Frees what config_read_credentials made of a mount. */
void config_credentials_fini(struct mount_config *m);
/* Makes credential and headers of a mount from its auth and headers. */
void config_check_mount_auth(const struct option_reader *r, const struct config_draft *d,
                             const struct yaml_node *node);

/* The name of a variable for a message; "[…]" for what looks like a secret written where its name
 * belongs. */
const char *config_shown_variable(const char *name);

/* Replaces ${VAR}, ${VAR:-default}, ${env:VAR} and ${env:VAR:-default} in every text below node
 * ("$${" stays a literal
 * "${"). Problems go to r; messages go on showing what was written. */
void config_expand(const struct option_reader *r, char *const *environ, struct yaml_doc *doc,
                   struct yaml_node *node, const char *path);

#endif
