/* Who may do what: tenants, visibility by tags, and a table of rules of which the first that
 * matches decides. Knows no MCP method: an action is on an item of a kind, with a name. One
 * function decides for lists and for calls; a call brings its arguments, a list does not. */
#ifndef AUTH_POLICY_H
#define AUTH_POLICY_H

#include "auth/jsontest.h"
#include "auth/principal.h"

enum policy_kind { POLICY_TOOL = 1, POLICY_PROMPT = 2, POLICY_RESOURCE = 4, POLICY_ANY = 7 };
enum policy_effect { POLICY_ALLOW, POLICY_DENY, POLICY_APPROVE };

/* What a tool says of itself (MCP tool annotations): a bit in said when it says it, in yes when
 * true. */
enum { NOTE_READ_ONLY = 1, NOTE_DESTRUCTIVE = 2, NOTE_IDEMPOTENT = 4, NOTE_OPEN_WORLD = 8 };
struct policy_notes {
    uint8_t said, yes;
};

/* What is listed or used. */
struct policy_item {
    enum policy_kind kind;
    struct str name;        /* public name, or URI */
    const char *mount;      /* name of its upstream */
    char *const *tags;      /* NULL-terminated; NULL: none */
    char *const *more_tags; /* those of its mount */
    struct policy_notes notes;
};

/* Lists of globs and tags; a NULL list does not restrict. */
struct policy_filter {
    char **allow, **deny; /* globs of names */
    char **allow_tags, **deny_tags;
    struct policy_notes must; /* annotations that it must say so */
};

enum policy_match { MATCH_CLAIM, MATCH_ISSUER, MATCH_CLIENT, MATCH_HOST };
struct policy_tenant_match {
    enum policy_match kind;
    struct jsontest test; /* CLAIM */
    char *value;          /* ISSUER: exact; CLIENT, HOST: glob */
};

/* What a tenant may hold at a time: legacy sessions, parked calls, calls under way. */
enum policy_quota { QUOTA_SESSIONS, QUOTA_PARKED, QUOTA_CONCURRENT, POLICY_QUOTAS };

struct policy_tenant {
    char *name;
    struct policy_tenant_match *match;
    size_t matches;
    char **mounts; /* globs; NULL: all */
    struct policy_filter filter;
    enum policy_effect fallback; /* when no rule matches */
    char *rate_limit;            /* of all its calls together; NULL: none */
    int quotas[POLICY_QUOTAS];   /* by enum policy_quota; 0: none */
    struct principal *anonymous; /* counted: who comes to it by address without a credential */
};

struct policy_rule {
    char *name; /* for logs; made when not written */
    /* About the caller; NULL lists match all. */
    char **tenants, **clients; /* globs */
    char **scopes;             /* has all of these */
    struct jsontest *claims;
    size_t claim_count;
    /* About the item */
    unsigned kinds;         /* enum policy_kind, or-ed */
    char **mounts, **names; /* globs */
    char **tags;            /* one of these */
    struct policy_notes notes;
    /* About the call */
    struct jsontest *args;
    size_t arg_count;
    enum policy_effect effect;
    char *limit; /* with ALLOW: how often, as a rate; NULL: none */
};

struct policy {
    struct policy_tenant *tenants;
    size_t tenant_count;
    struct policy_rule *rules;
    size_t rule_count;
    char **enable_tags, **disable_tags; /* visibility */
    bool allowlist;
    bool require_tenant; /* a caller without tenant may not come in */
    bool quotas;         /* some tenant has one */
    bool active;         /* anything of the above is configured */
    uint64_t generation; /* of this policy alone */
};

/* Frees what the structure owns, not the structure. */
void policy_fini(struct policy *p);
/* Completes a policy whose fields are filled. */
void policy_seal(struct policy *p);
const struct policy_tenant *policy_tenant_of(const struct policy *p, const char *name);

/* Which tenant does a caller belong to? by_path: the tenant whose path was used, or NULL; host: the
 * request's. *out NULL: to none. False: it may not come in (or not this way). */
bool policy_place(const struct policy *p, const struct principal *who,
                  const struct policy_tenant *by_path, struct str host,
                  const struct policy_tenant **out) MUST_USE;

/* A caller as the rules see it: found once, used for every decision. Callers of one class see and
 * may do the same. */
struct policy_subject {
    uint64_t generation;
    uint8_t class_id[16];
    const struct policy_tenant *tenant; /* borrowed from the policy */
    bool anonymous;
    size_t n;
    uint16_t rules[]; /* those that may match this caller */
};
/* Returns owned (free()). */
struct policy_subject *policy_subject_new(const struct policy *p, const struct principal *who);

enum policy_reason {
    BY_DEFAULT,
    BY_VISIBILITY,
    BY_TENANT_MOUNT,
    BY_TENANT_FILTER,
    BY_RULE,
    BY_FALLBACK,
    BY_AMBIGUITY,
};
struct policy_decision {
    enum policy_effect effect;
    enum policy_reason reason;
    const struct policy_rule *rule; /* BY_RULE */
    bool hidden;                    /* DENY: also from lists, whatever the arguments */
    bool depends;     /* without arguments: the call's may decide otherwise, from next_rule on */
    size_t next_rule; /* index into the subject's rules */
};
/* Decides. args: the call's arguments in d; d NULL: for a list. from: 0, or what a decision without
 * arguments said. */
struct policy_decision policy_decide(const struct policy *p, const struct policy_subject *s,
                                     const struct policy_item *item, const struct json_doc *d,
                                     uint32_t args, size_t from);
/* "by rule no-deletes", for people. Appends. */
void policy_explain(const struct policy_decision *d, const struct policy_subject *s,
                    struct buf *out);
const char *policy_effect_name(enum policy_effect e);

#endif
