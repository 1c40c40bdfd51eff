/* The tables of a tenant and of a rule. */
#include "gateway/config_parts.h"

static const struct option_choice fallbacks[] = {
    {"allow", POLICY_ALLOW}, {"deny", POLICY_DENY}, {NULL, 0}};
static const struct option_choice effects[] = {
    {"allow", POLICY_ALLOW}, {"deny", POLICY_DENY}, {"approve", POLICY_APPROVE}, {NULL, 0}};

static const struct option tenant_rows[] = {
    {
        .name = "match",
        .type = OPT_SUBTREE,
        .help =
            "Who belongs to it: `{claim: org, value: acme}`, `{issuer: …}`, `{clientId: GLOB}`, "
            "`{host: GLOB}`, one or a list; besides, tokens and issuers name it.",
    },
    {
        .name = "upstreams",
        .type = OPT_LIST,
        OPT_AT(policy_tenant, mounts),
        .def_text = "all",
        .help = "Upstreams that it sees, as globs; or a map of names, each with the `auth` and "
                "`headers` that the tenant's calls use instead of the upstream's.",
    },
    {
        .name = "tools.allow",
        .type = OPT_LIST,
        OPT_AT(policy_tenant, filter.allow),
        .def_text = "all",
        .help = "Public names of tools that it sees, as globs.",
    },
    {
        .name = "tools.deny",
        .type = OPT_LIST,
        OPT_AT(policy_tenant, filter.deny),
        .def_text = "none",
        .help = "Public names and URIs that it does not see.",
    },
    {
        .name = "tags.allow",
        .type = OPT_LIST,
        OPT_AT(policy_tenant, filter.allow_tags),
        .def_text = "all",
        .help = "It sees what has one of these tags, and nothing else.",
    },
    {
        .name = "tags.deny",
        .type = OPT_LIST,
        OPT_AT(policy_tenant, filter.deny_tags),
        .def_text = "none",
        .help = "It does not see what has one of these tags.",
    },
    {
        .name = "annotations",
        .type = OPT_SUBTREE,
        .help = "It sees tools whose annotations say this: `{readOnly: true}`.",
    },
    {
        .name = "default",
        .type = OPT_CHOICE,
        OPT_AT(policy_tenant, fallback),
        .def = "allow",
        .choices = fallbacks,
        .help = "What holds when no rule of the policy matches.",
    },
    {
        .name = "rateLimit",
        .type = OPT_STRING,
        OPT_AT(policy_tenant, rate_limit),
        .min = 1,
        .def_text = "none",
        .help = "All its calls together, as `600/min`.",
    },
    {
        .name = "quotas.sessions",
        .type = OPT_INT,
        OPT_AT(policy_tenant, quotas[QUOTA_SESSIONS]),
        .min = 1,
        .max = 1000000,
        .def_text = "none",
        .help = "Sessions of its legacy clients at a time.",
    },
    {
        .name = "quotas.parked",
        .type = OPT_INT,
        OPT_AT(policy_tenant, quotas[QUOTA_PARKED]),
        .min = 1,
        .max = 1000000,
        .def_text = "none",
        .help = "Its calls that wait for answers of their clients.",
    },
    {
        .name = "quotas.concurrent",
        .type = OPT_INT,
        OPT_AT(policy_tenant, quotas[QUOTA_CONCURRENT]),
        .min = 1,
        .max = 1000000,
        .def_text = "none",
        .help = "Its calls under way at a time.",
    },
};

const struct option_table tenant_table = {tenant_rows, sizeof tenant_rows / sizeof *tenant_rows};

static const struct option rule_rows[] = {
    {
        .name = "name",
        .type = OPT_STRING,
        OPT_AT(policy_rule_draft, r.name),
        .min = 1,
        .max = 64,
        .def_text = "its place",
        .help = "What logs call it.",
    },
    {
        .name = "tenants",
        .type = OPT_LIST,
        OPT_AT(policy_rule_draft, r.tenants),
        .def_text = "all",
        .help = "The caller's tenant, as globs.",
    },
    {
        .name = "clients",
        .type = OPT_LIST,
        OPT_AT(policy_rule_draft, r.clients),
        .def_text = "all",
        .help = "The caller's client id, as globs.",
    },
    {
        .name = "scopes",
        .type = OPT_LIST,
        OPT_AT(policy_rule_draft, r.scopes),
        .def_text = "any",
        .help = "The caller has all of these.",
    },
    {
        .name = "claims",
        .type = OPT_SUBTREE,
        .help = "Tests on the claims of the caller's token, as `args`.",
    },
    {
        .name = "kinds",
        .type = OPT_LIST,
        OPT_AT(policy_rule_draft, kinds),
        .def_text = "all",
        .help = "`tool`, `prompt`, `resource`.",
    },
    {
        .name = "upstreams",
        .type = OPT_LIST,
        OPT_AT(policy_rule_draft, r.mounts),
        .def_text = "all",
        .help = "Upstreams, as globs.",
    },
    {
        .name = "names",
        .type = OPT_LIST,
        OPT_AT(policy_rule_draft, r.names),
        .def_text = "all",
        .help = "Public names of tools and prompts and URIs of resources, as globs.",
    },
    {
        .name = "tags",
        .type = OPT_LIST,
        OPT_AT(policy_rule_draft, r.tags),
        .def_text = "any",
        .help = "It has one of these tags.",
    },
    {
        .name = "annotations",
        .type = OPT_SUBTREE,
        .help = "A tool whose annotations say this: `{destructive: true, readOnly: false}`.",
    },
    {
        .name = "args",
        .type = OPT_SUBTREE,
        .help =
            "Tests on the arguments, all must hold: a JSON pointer and `VALUE`, `{equals: V}`, "
            "`{in: [V, …]}`, `{glob: G}`, `{range: [MIN, MAX]}`, `{absent: true}` or `{present: "
            "true}`.",
    },
    {
        .name = "effect",
        .type = OPT_CHOICE,
        OPT_AT(policy_rule_draft, r.effect),
        .def = "deny",
        .choices = effects,
        .help = "What holds when it matches; `approve`: a person must accept the call.",
    },
    {
        .name = "limit",
        .type = OPT_STRING,
        OPT_AT(policy_rule_draft, r.limit),
        .min = 1,
        .def_text = "none",
        .help = "With `allow`: how often a caller may, as `5/min`.",
    },
};

const struct option_table policy_rule_table = {rule_rows, sizeof rule_rows / sizeof *rule_rows};
