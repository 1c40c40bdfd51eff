/* See explain.h. What servers say of their tools is not known here, so that the principal's file
 * can tell it ("item"). */
#include "gateway/explain.h"

#include "base/clock.h"
#include "gateway/approval.h"
#include "gateway/config_parts.h"
#include "gateway/traits.h"

#include <stdio.h>
#include <stdlib.h>

enum { MAX_FILE = 1024 * 1024, MAX_WORDS = 64, APPROVAL_MS = 600000 };

struct source {
    struct buf text;
    struct json_doc doc;
};

static bool load(const char *file, struct source *s)
{
    struct err e;
    if (config_read_file(file, MAX_FILE, &s->text, &e) &&
        json_parse(&s->doc, s->text.p ? s->text.p : "", s->text.n, &e) &&
        (json_is(&s->doc, 0, JSON_OBJECT) || err_set(&e, ERR_CONFIG, "is not a JSON object")))
        return true;
    (void)fprintf(stderr, "error: %s: %s\n", file, e.msg);
    return false;
}

static void source_fini(struct source *s)
{
    json_fini(&s->doc);
    buf_fini(&s->text);
}

static char **words(const struct json_doc *d, uint32_t list, struct arena *a)
{
    char **out = arena_alloc(a, (MAX_WORDS + 1) * sizeof *out);
    size_t n = 0;
    for (uint32_t k = json_is(d, list, JSON_ARRAY) ? json_first(d, list) : JSON_NONE;
         k != JSON_NONE && n < MAX_WORDS; k = json_next(d, list, k)) {
        struct str s = json_str(d, k, a);
        out[n++] = arena_dup(a, s.n ? s.p : "", s.n);
    }
    return out;
}

static struct principal *principal_of(const struct config *c, const struct json_doc *d,
                                      struct arena *a)
{
    const struct policy_tenant *t = NULL;
    struct principal_facts f = {
        .issuer = json_str(d, json_get(d, 0, STR("issuer")), a),
        .subject = json_str(d, json_get(d, 0, STR("subject")), a),
        .client = json_str(d, json_get(d, 0, STR("client")), a),
        .tenant = json_str(d, json_get(d, 0, STR("tenant")), a),
        .claims = json_raw(d, json_get(d, 0, STR("claims"))),
        .scopes = words(d, json_get(d, 0, STR("scopes")), a),
    };
    f.anonymous = f.client.n == 0 && f.subject.n == 0;
    struct principal *who = principal_new(&f), *placed = NULL;
    if (policy_place(&c->policy, who, NULL, json_str(d, json_get(d, 0, STR("host")), a), &t))
        placed = principal_in_tenant(who, t ? t->name : "");
    principal_unref(&who);
    return placed;
}

/* The upstream whose prefix the name has, or that the file names. */
static const struct mount_config *mount_of(const struct config *c, struct str named,
                                           struct str tool)
{
    const struct mount_config *best = NULL;
    for (size_t i = 0; i < c->mount_count; i++) {
        const struct mount_config *m = &c->mounts[i];
        struct buf prefix = {0};
        buf_addf(&prefix, "%s%s", m->prefix, *m->prefix ? c->separator : "");
        if (named.n ? str_eq(str_of(m->name), named)
                    : str_starts(tool, buf_str(&prefix)) &&
                          (!best || strlen(best->prefix) < strlen(m->prefix)))
            best = m;
        buf_fini(&prefix);
    }
    return best;
}

static struct str own_name(const struct config *c, const struct mount_config *m, struct str tool)
{
    size_t skip = *m->prefix ? strlen(m->prefix) + strlen(c->separator) : 0;
    return skip < tool.n ? (struct str){tool.p + skip, tool.n - skip} : tool;
}

static int report(const struct config *c, const struct principal *who,
                  const struct policy_item *item, char *const *scopes, const struct source *args)
{
    struct policy_subject *s = policy_subject_new(&c->policy, who);
    bool has_args = args->text.p != NULL;
    struct policy_decision d = policy_decide(&c->policy, s, item, has_args ? &args->doc : NULL,
                                             has_args ? 0 : JSON_NONE, 0);
    bool enough = principal_has_scopes(who, scopes);
    struct buf why = {0};
    policy_explain(&d, s, &why);
    printf("tenant: %s\nupstream: %s\ndecision: %s\nwhy: %.*s\n", *who->tenant ? who->tenant : "-",
           item->mount, d.hidden ? "hidden" : policy_effect_name(d.effect), STR_FMT(buf_str(&why)));
    if (d.depends)
        printf("depends: rules with args come before it; give the arguments to see\n");
    for (char *const *z = scopes; z && *z; z++)
        printf("scope: %s %s\n", *z, principal_has_scope(who, *z) ? "granted" : "missing");
    buf_fini(&why);
    free(s);
    return d.effect == POLICY_DENY || !enough;
}

int explain(const struct config *c, const char *principal, const char *tool, const char *args)
{
    struct source p = {0}, a = {0};
    struct arena arena = {0};
    struct traits traits = {0};
    struct principal *who = NULL;
    struct str name = str_of(tool);
    int code = 2;
    if (!load(principal, &p) || (args && !load(args, &a)))
        goto out;
    uint32_t own = json_get(&p.doc, 0, STR("item"));
    const struct mount_config *m = mount_of(
        c,
        json_str(&p.doc, own == JSON_NONE ? own : json_get(&p.doc, own, STR("upstream")), &arena),
        name);
    if (!m) {
        (void)fprintf(stderr, "error: no upstream has a tool of the name %s\n", tool);
        goto out;
    }
    who = principal_of(c, &p.doc, &arena);
    if (!who) {
        printf("decision: refused\nwhy: the caller belongs to no tenant, or to another\n");
        code = 1;
        goto out;
    }
    traits_add(&p.doc, own == JSON_NONE ? 0 : own, m, true, own_name(c, m, name), &traits);
    char **tags =
        own == JSON_NONE ? NULL : words(&p.doc, json_get(&p.doc, own, STR("tags")), &arena);
    struct policy_item item = {.kind = POLICY_TOOL,
                               .name = name,
                               .mount = m->name,
                               .tags = tags && *tags ? tags : traits.tags,
                               .more_tags = m->tags,
                               .notes = traits.notes};
    code = report(c, who, &item, traits.scopes, &a);
out:
    principal_unref(&who);
    traits_fini(&traits);
    arena_fini(&arena);
    source_fini(&p);
    source_fini(&a);
    return code;
}

int approve(const struct config *c, const char *principal, const char *tool, const char *args)
{
    struct source p = {0}, a = {0};
    struct arena arena = {0};
    struct buf text = {0};
    uint8_t binding[STATE_BINDING];
    int code = 2;
    if (c->seal_keys_generated) {
        (void)fprintf(stderr, "error: sealKeys: are not configured, so that no running gateway "
                              "would know this approval\n");
    } else if (load(principal, &p) && load(args, &a)) {
        struct principal *who = principal_of(c, &p.doc, &arena);
        struct sealer *s = sealer_new((const uint8_t(*)[32])c->seal_keys, c->seal_key_count);
        code = who ? 0 : 1;
        if (who) {
            state_binding_of(&(struct state_subject){principal_key(who), STR("tools/call"),
                                                     str_of(tool), &a.doc, 0},
                             binding);
            approval_mint(s, binding, clock_wall_ms() + APPROVAL_MS, &text);
            printf("%.*s\n", (int)text.n - 2, text.p + 1);
        } else {
            (void)fprintf(stderr, "error: the caller belongs to no tenant, or to another\n");
        }
        sealer_free(&s);
        principal_unref(&who);
    }
    buf_fini(&text);
    arena_fini(&arena);
    source_fini(&p);
    source_fini(&a);
    return code;
}
