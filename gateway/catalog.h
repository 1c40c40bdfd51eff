/* The catalog: an immutable, counted snapshot of what all mounts offer, under public names; and
 * what is known of each mount. */
#ifndef GATEWAY_CATALOG_H
#define GATEWAY_CATALOG_H

#include "gateway/cache_policy.h"
#include "gateway/limits.h"
#include "gateway/upstream.h"

enum mount_state { MOUNT_CONNECTING, MOUNT_UP, MOUNT_STALE, MOUNT_DOWN, MOUNT_NEEDS_AUTH };
const char *mount_state_name(enum mount_state s);

/* A parameter mirrored in an Mcp-Param header (x-mcp-header in an input schema). */
struct header_param {
    char *header; /* "Mcp-Param-Region" */
    strlist path; /* property names from arguments down */
};

struct catalog_entry {
    int mount;
    struct str public_name, name; /* names of tools and prompts, URIs, URI templates */
    uint32_t index;
    struct header_param *params; /* tools */
    size_t param_count;
    struct traits traits;
    struct limit_plan limits;
    struct cache_policy cache;
    bool gated;              /* calls have limits or a cache to pass */
    uint8_t fingerprint[16]; /* of the definition as the upstream sent it */
};

/* One kind's merged list, in mount order, then upstream order. */
struct catalog_list {
    struct catalog_entry *entries;
    uint32_t n;
    struct map by_public;
    struct buf text[2]; /* rendered entries joined by commas: modern, legacy; [1] is empty when
                           nothing differs */
    uint32_t *off[2];   /* n + 1 offsets into text; entry i is off[i] … off[i + 1] - 1 */
};

struct mount_info {
    enum mount_state state;
    struct server_info server;
    char *error;      /* NULL: none */
    int64_t since_ms; /* wall time of the state */
    uint32_t count[KINDS];
};

struct catalog {
    atomic_int refs;
    struct config *config; /* counted */
    uint64_t version;
    struct catalog_list list[KINDS];
    struct mount_info *mounts;
    size_t mount_count;
    bool has[KINDS]; /* some mount declares the capability */
    bool subscribe, completions, logging;
    bool scoped;             /* some entry asks for scopes */
    struct buf instructions; /* JSON string, or empty */
    struct buf names_text;   /* storage of public names and names */
    struct map hidden;   /* "<mount>/<name>" of tools whose definition is invalid: never tried */
    int resources_mount; /* the only mount that declares resources, or -1 */
};

/* A mount's definitions as its server sent them: n raw JSON entries a kind. Owned by the watch;
 * borrowed for building. */
struct raw_list {
    struct buf text;
    uint32_t *off; /* n + 1 */
    uint32_t n, cap;
};

/* Builds a snapshot: lists[mount * KINDS + kind]. infos are copied. Returns owned (one
 * reference). */
struct catalog *catalog_build(struct config *config, const struct raw_list *lists,
                              const struct mount_info *infos);
struct catalog *catalog_ref(struct catalog *c);
void catalog_unref(struct catalog **c);
/* Do two snapshots show the same list of a kind? */
bool catalog_same(const struct catalog *a, const struct catalog *b, enum catalog_kind kind);

/* Appends the merged instructions of those mounts whose flag is set (shown NULL: of all), as a JSON
 * string; nothing when there are none. */
void catalog_instructions(const struct catalog *c, const bool *shown, struct buf *out);

/* What a public name or URI leads to. */
struct target {
    const struct catalog_entry *entry; /* NULL: not listed */
    int mount;
    struct str name; /* the upstream's; borrowed from the catalog or the arena */
};
/* Resolves (architecture: found by table; on a miss the longest registered prefix, for mounts
 * without per-tool rules). */
bool catalog_resolve(const struct catalog *c, enum method_route route, struct str public_name,
                     struct arena *a, struct target *out) MUST_USE;

/* A page: the entries from index at, at most n of them, as one slice of rendered entries. */
struct str catalog_page(const struct catalog *c, enum catalog_kind kind, bool legacy, uint32_t at,
                        uint32_t n);

/* catalog_names.c: public names and URIs. Appends; see docs/ARCHITECTURE.md "Names". */
void catalog_public_name(const struct config *cfg, const struct mount_config *m,
                         enum catalog_kind kind, struct str name, bool force_hash, struct buf *out);
void catalog_public_uri(const struct mount_config *m, struct str uri, bool prefixed,
                        struct buf *out);
/* Undoes catalog_public_uri's prefixed forms: the mount's name and the server's URI. False: not
 * such a form. */
bool catalog_split_uri(struct str uri, struct str *mount, struct buf *original);
/* Does a URI match a template (RFC 6570 levels 1 to 3, matching only)? */
bool catalog_template_match(struct str tmpl, struct str uri);
/* Matches uri with template from and appends template to, its expressions filled with the same
 * text. False, and nothing appended: no match, or the templates are not of one shape. */
bool catalog_template_map(struct str from, struct str uri, struct str to, struct buf *out);
/* Do the mount's allow and deny globs admit this tool? */
bool catalog_tool_allowed(const struct mount_config *m, struct str name);

/* catalog_gates.c: fills in limits and cache of all entries. */
void catalog_gates(struct catalog *c);
/* Whether what is read from a mount is kept, also where no entry names it. */
struct cache_policy catalog_read_policy(const struct config *cfg, int mount);

/* catalog_params.c: reads x-mcp-header annotations of a tool (MCP 2026-07-28
 * basic/transports/streamable-http). False: one of them is invalid (why says which). */
bool catalog_read_params(const struct json_doc *d, uint32_t tool, struct catalog_entry *out,
                         struct err *why);
/* Frees what catalog_read_params made. */
void catalog_params_fini(struct catalog_entry *e);

#endif
