/* See state.h. Inside the seal: lines of kind, mount and expiry, then what the kind needs. */
#include "gateway/state.h"

#include "base/clock.h"
#include "base/json_canonical.h"

static const char letters[] = {[STATE_PASS] = 'u',
                               [STATE_PARK] = 'p',
                               [STATE_RECALL] = 'r',
                               [STATE_APPROVE] = 'a',
                               [STATE_MINTED] = 'm'};

void state_binding_of(const struct state_subject *s, uint8_t out[STATE_BINDING])
{
    struct buf args = {0};
    json_canonical_or_raw(s->d, s->args, &args);
    uint64_t sizes[] = {s->who.n, s->method.n, s->target.n};
    struct str parts[] = {
        {(const char *)sizes, sizeof sizes}, s->who, s->method, s->target, buf_str(&args)};
    crypto_sha256(parts, sizeof parts / sizeof *parts, out);
    buf_fini(&args);
}

void state_binding(const struct call *c, uint8_t out[STATE_BINDING])
{
    state_binding_of(&(struct state_subject){principal_key(c->principal), c->method->name,
                                             c->public_target, c->doc,
                                             json_get(c->doc, c->params, STR("arguments"))},
                     out);
}

void state_seal(const struct sealer *s, const uint8_t binding[STATE_BINDING],
                const struct state *st, struct buf *out)
{
    struct buf plain = {0};
    buf_addf(&plain, "%c\n%.*s\n%lld\n", letters[st->kind], STR_FMT(st->mount),
             (long long)st->expires_ms);
    switch (st->kind) {
    case STATE_PASS: buf_add_str(&plain, st->raw); break;
    case STATE_PARK:
        buf_addf(&plain, "%.*s\n%d\n%llu\n%llu\n", STR_FMT(st->replica), st->shard,
                 (unsigned long long)st->park, (unsigned long long)st->nonce);
        break;
    case STATE_RECALL: buf_addf(&plain, "%llu\n", (unsigned long long)st->questions); break;
    case STATE_APPROVE:
    case STATE_MINTED: buf_addf(&plain, "%llu\n", (unsigned long long)st->nonce); break;
    }
    buf_addc(out, '"');
    sealer_seal(s, "state", (struct str){(const char *)binding, STATE_BINDING}, buf_str(&plain),
                out);
    buf_addc(out, '"');
    buf_fini(&plain);
}

static bool next_number(struct str *rest, uint64_t *out)
{
    struct str line;
    return str_split(rest, '\n', &line) && str_to_u64(line, out);
}

bool state_parse(struct str rest, struct state *out)
{
    struct str kind;
    uint64_t expires, shard;
    *out = (struct state){0};
    if (!str_split(&rest, '\n', &kind) || kind.n != 1 || !str_split(&rest, '\n', &out->mount) ||
        !next_number(&rest, &expires) || expires > INT64_MAX)
        return false;
    out->expires_ms = (int64_t)expires;
    switch (kind.p[0]) {
    case 'u':
        out->kind = STATE_PASS;
        out->raw = rest;
        return rest.n > 0;
    case 'p':
        out->kind = STATE_PARK;
        if (!str_split(&rest, '\n', &out->replica) || !next_number(&rest, &shard) ||
            shard > INT32_MAX || !next_number(&rest, &out->park) ||
            !next_number(&rest, &out->nonce))
            return false;
        out->shard = (int)shard;
        return rest.n == 0;
    case 'r': out->kind = STATE_RECALL; return next_number(&rest, &out->questions) && rest.n == 0;
    case 'a': out->kind = STATE_APPROVE; return next_number(&rest, &out->nonce) && rest.n == 0;
    case 'm': out->kind = STATE_MINTED; return next_number(&rest, &out->nonce) && rest.n == 0;
    default: return false;
    }
}

bool state_open(const struct sealer *s, const uint8_t binding[STATE_BINDING], struct str token,
                struct arena *a, struct state *out)
{
    struct buf plain = {0};
    bool ok = sealer_open(s, "state", (struct str){(const char *)binding, STATE_BINDING}, token,
                          &plain, NULL);
    struct str copy = {ok ? arena_dup(a, plain.p, plain.n) : NULL, plain.n};
    buf_fini(&plain);
    return ok && state_parse(copy, out) && out->expires_ms > clock_wall_ms();
}
