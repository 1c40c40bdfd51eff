/* What a local tool's file says of the tool beside its definition: how often it may be called, how
 * long its results hold, who may see and call it. It travels in the definition's
 * `_meta["dev.headgate/tool"]`, is believed of local mounts only, and shown to no client. */
#ifndef GATEWAY_TRAITS_H
#define GATEWAY_TRAITS_H

#include "auth/policy.h"
#include "base/json.h"
#include "gateway/config.h"
#include "gateway/rate.h"

struct traits {
    strlist tags, scopes;      /* owned; NULL: none */
    struct rate rate;          /* its own limit, if set */
    int cache_ttl_ms;          /* 0: its results are not kept */
    struct policy_notes notes; /* its annotations, when its mount's are believed */
};

/* Reads the member of the definition at tok. What is malformed is passed over with a warning that
 * names mount and tool. */
void traits_read(const struct json_doc *d, uint32_t tok, const char *mount, struct str tool,
                 struct traits *out);
/* Adds what is said elsewhere: the tags that servers write into their definitions, and what the
 * mount's configuration says of the entry (name: the upstream's; tool: it is one). */
void traits_add(const struct json_doc *d, uint32_t tok, const struct mount_config *m, bool tool,
                struct str name, struct traits *t);
void traits_fini(struct traits *t);
/* Takes the member out of the definition at tok. */
void traits_edit(struct json_edits *es, const struct json_doc *d, uint32_t tok);

#endif
