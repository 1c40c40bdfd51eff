/* What is made from the tables of options for people: help, documentation, and the configuration in
 * effect without its secrets. */
#include "base/json.h"
#include "gateway/config_parts.h"

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
