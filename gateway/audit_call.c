/* See audit_call.h. */
#include "gateway/audit_call.h"

#include "auth/audit.h"
#include "base/clock.h"
#include "base/json_canonical.h"
#include "gateway/upstream.h"

enum { MAX_TARGET = 1024 };

static void add(struct buf *out, const char *key, struct str value)
{
    buf_addf(out, "%s\"%s\":", out->n ? "," : "", key);
    json_write_str(out, value);
}

static void add_caller(struct buf *out, const struct principal *p)
{
    add(out, "principal", principal_key(p));
    add(out, "client", str_of(p->client));
    add(out, "subject", str_of(p->subject));
    if (*p->issuer)
        add(out, "issuer", str_of(p->issuer));
    if (*p->tenant)
        add(out, "tenant", str_of(p->tenant));
}

/* Two calls with one meaning have one digest, however they are spelled. */
static void add_arguments(struct buf *out, const struct call *c)
{
    struct buf text = {0}, hex = {0};
    uint8_t digest[32];
    uint32_t args =
        c->params == JSON_NONE ? JSON_NONE : json_get(c->doc, c->params, STR("arguments"));
    if (args == JSON_NONE)
        return;
    json_canonical_or_raw(c->doc, args, &text);
    crypto_sha256(&(struct str){text.p, text.n}, 1, digest);
    crypto_hex(&hex, digest, sizeof digest);
    add(out, "arguments_sha256", buf_str(&hex));
    buf_fini(&text);
    buf_fini(&hex);
}

static void add_call(struct buf *out, const struct call *c, const char *decision)
{
    struct str target = c->public_target;
    target.n = target.n < MAX_TARGET ? target.n : MAX_TARGET;
    add(out, "event", STR("call"));
    add_caller(out, c->principal);
    add(out, "method", c->method->name);
    add(out, "target", target);
    if (c->up)
        add(out, "upstream", str_of(c->up->cfg->name));
    add(out, "decision", str_of(decision));
    if (c->access.rule.n)
        add(out, "rule", c->access.rule);
    add_arguments(out, c);
}

void audit_call(const struct call *c, const char *outcome)
{
    struct audit *a = c->shard->gw->audit;
    struct buf out = {0};
    if (!a)
        return;
    add_call(&out, c, c->access.effect == POLICY_APPROVE ? "approved" : "allowed");
    add(&out, "outcome", str_of(outcome));
    buf_addf(&out, ",\"duration_ms\":%.3f", (double)(clock_us() - c->started_us) / 1000);
    audit_write(a, buf_str(&out));
    buf_fini(&out);
}

void audit_denied(const struct call *c, const struct err *e)
{
    struct audit *a = c->shard->gw->audit;
    struct buf out = {0};
    if (!a)
        return;
    add_call(&out, c, "denied");
    add(&out, "outcome", str_of(c->access.scopes ? "scope" : err_kind_name(e->kind)));
    audit_write(a, buf_str(&out));
    buf_fini(&out);
}

void audit_admin(const struct exchange *x)
{
    struct audit *a = x->shard->gw->audit;
    struct buf out = {0};
    if (!a)
        return;
    add(&out, "event", STR("admin"));
    add_caller(&out, x->principal);
    add(&out, "method", x->head->method);
    add(&out, "target", x->head->path);
    audit_write(a, buf_str(&out));
    buf_fini(&out);
}
