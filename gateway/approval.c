/* See approval.h. A legacy client hears the question as it hears those of servers, while its call
 * waits; a modern one gets it as the answer, with a state that is bound to principal, tool and
 * arguments, and good for one retry: its number is spent in the store, and where the store is away
 * nothing is approved. */
#include "gateway/approval.h"

#include "base/clock.h"
#include "gateway/convert.h"
#include "gateway/era.h"
#include "gateway/upstream.h"
#include "store/store.h"

#include <assert.h>
#include <stdlib.h>

enum { SHOWN_ARGUMENTS = 1000, SPENT_SLACK_MS = 60000 };

#define APPROVED     STR("human_approved")
#define REASON       STR("approval_reason")
#define KEY          "approval" /* of the question among inputRequests */
#define NOT_APPROVED "this call was not approved"

struct approval {
    struct call *call;
    struct ask *ask; /* NULL: answered, or not asked */
    struct store_op spend;
    struct timer next;  /* goes on in a turn of its own; before that, the time to answer */
    struct err refused; /* kind ERR_NONE: accepted */
    int64_t keep_ms;    /* how long what is spent is remembered */
};

bool approval_needed(const struct call *c)
{
    return c->access.decided && c->access.effect == POLICY_APPROVE;
}

static uint32_t arguments(const struct call *c)
{
    uint32_t args =
        c->params == JSON_NONE ? JSON_NONE : json_get(c->doc, c->params, STR("arguments"));
    return json_is(c->doc, args, JSON_OBJECT) ? args : JSON_NONE;
}

static void drop(const struct call *c, struct json_edits *es, uint32_t obj, struct str name)
{
    for (uint32_t k = obj == JSON_NONE ? obj : json_first(c->doc, obj); k != JSON_NONE;
         k = json_next(c->doc, obj, k))
        if (json_str_eq(c->doc, k, name))
            json_edit_remove(es, c->doc, obj, k);
}

void approval_edit(const struct call *c, bool round, struct json_edits *es)
{
    drop(c, es, arguments(c), APPROVED);
    drop(c, es, arguments(c), REASON);
    if (round && c->access.spends) {
        drop(c, es, c->params, STR("inputResponses"));
        drop(c, es, c->params, STR("requestState"));
    }
}

/* ---- the end ---- */

static void withdraw(struct approval *ap)
{
    struct ask *a = ap->ask;
    ap->ask = NULL;
    if (a)
        ask_withdraw(a);
}

void approval_cancel(struct call *c)
{
    struct approval *ap = c->approval;
    if (!ap)
        return;
    c->approval = NULL;
    timer_clear(&ap->next);
    store_cancel(&ap->spend);
    withdraw(ap);
    free(ap);
}

static void on_next(void *arg)
{
    struct approval *ap = arg;
    struct call *c = ap->call;
    struct err refused = ap->refused;
    approval_cancel(c);
    if (refused.kind == ERR_NONE)
        call_go_on(c);
    else
        call_fail(c, &refused);
}

static void decide(struct approval *ap, enum err_kind kind, const char *why)
{
    if (why)
        (void)err_set(&ap->refused, kind, "%s", why);
    timer_set(&ap->next, ap->call->shard->loop, 0, on_next, ap);
}

/* ---- the question ---- */

static bool is_accepted(const struct json_doc *d, uint32_t answer)
{
    if (!json_is(d, answer, JSON_OBJECT))
        return false;
    uint32_t content = json_get(d, answer, STR("content"));
    return json_str_eq(d, json_get(d, answer, STR("action")), STR("accept")) &&
           json_is(d, content, JSON_OBJECT) &&
           json_is(d, json_get(d, content, STR("approve")), JSON_TRUE);
}

static void on_answered(struct ask *a, bool ok, struct str raw)
{
    struct approval *ap = a->asker;
    struct json_doc d = {0};
    ap->ask = NULL;
    bool accepted = ok && json_parse(&d, raw.p, raw.n, NULL) && is_accepted(&d, 0);
    decide(ap, ERR_FORBIDDEN, accepted ? NULL : NOT_APPROVED);
    json_fini(&d);
}

static void on_late(void *arg)
{
    struct approval *ap = arg;
    withdraw(ap);
    decide(ap, ERR_TIMEOUT, "nobody approved this call in time");
}

/* What the person reads: the tool, and its arguments as they came. */
static void write_question(const struct call *c, struct buf *out)
{
    struct buf text = {0};
    uint32_t args = arguments(c);
    struct str raw = args == JSON_NONE ? STR("{}") : json_raw(c->doc, args);
    bool cut = raw.n > SHOWN_ARGUMENTS;
    buf_adds(&text, "Allow the call of ");
    buf_add_str(&text, c->public_target);
    buf_adds(&text, " with these arguments? ");
    buf_add(&text, raw.p, cut ? SHOWN_ARGUMENTS : raw.n);
    buf_adds(&text, cut ? "…" : "");
    buf_adds(out, "{\"method\":\"elicitation/create\",\"params\":{\"mode\":\"form\",\"message\":");
    json_write_str(out, buf_str(&text));
    buf_adds(out, ",\"requestedSchema\":{\"type\":\"object\",\"properties\":{\"approve\":{\"type\":"
                  "\"boolean\",\"title\":\"Allow this call\",\"default\":false}},\"required\":["
                  "\"approve\"]}}}");
    buf_fini(&text);
}

static void put_question(struct approval *ap)
{
    struct call *c = ap->call;
    struct json_doc q = {0};
    struct buf b = {0};
    write_question(c, &b);
    bool ok = json_parse(&q, b.p, b.n, NULL);
    assert(ok);
    struct ask *a = ap->ask = xcalloc(1, sizeof *a);
    *a = (struct ask){.call = c,
                      .doc = &q,
                      .method = json_get(&q, 0, STR("method")),
                      .params = json_get(&q, 0, STR("params")),
                      .answered = on_answered,
                      .asker = ap};
    timer_set(&ap->next, c->shard->loop, c->shard->config->parked_ms, on_late, ap);
    c->sink->input(c, a);
    json_fini(&q);
    buf_fini(&b);
}

/* Strictly true, and once: "false" approves nothing. */
static bool says_approved(const struct call *c)
{
    uint32_t args = arguments(c);
    return args != JSON_NONE && !json_has_duplicates(c->doc, args) &&
           json_is(c->doc, json_get(c->doc, args, APPROVED), JSON_TRUE);
}

bool approval_can_ask(const struct call *c)
{
    return (c->caps & CAP_FORM) != 0;
}

void approval_question(const struct call *c, struct buf *out)
{
    uint8_t binding[STATE_BINDING];
    struct state st = {.kind = STATE_APPROVE,
                       .mount = str_of(c->up->cfg->name),
                       .expires_ms = clock_wall_ms() + c->shard->config->parked_ms};
    while (st.nonce == 0)
        crypto_random(&st.nonce, sizeof st.nonce);
    buf_adds(out, "\"inputRequests\":{\"" KEY "\":");
    write_question(c, out);
    buf_adds(out, "},\"requestState\":");
    state_binding(c, binding);
    state_seal(c->shard->gw->sealer, binding, &st, out);
}

void approval_retry(struct call *c, const struct state *st)
{
    const struct json_doc *d = c->doc;
    uint32_t answers = json_get(d, c->params, STR("inputResponses"));
    bool sound = json_is(d, answers, JSON_OBJECT) && !json_has_duplicates(d, answers);
    c->state_tok = JSON_NONE;
    c->access.spends = st->nonce;
    c->access.accepted = sound && is_accepted(d, json_get(d, answers, STR(KEY)));
}

static void on_spent(const struct store_reply *reply, void *arg)
{
    struct approval *ap = arg;
    switch (reply->status) {
    case STORE_OK: decide(ap, ERR_NONE, NULL); break;
    case STORE_HELD:
    case STORE_ABSENT: decide(ap, ERR_FORBIDDEN, "this approval was used before"); break;
    case STORE_AWAY: decide(ap, ERR_UNAVAILABLE, "the store is away, and approvals with it"); break;
    }
}

static void spend(struct approval *ap)
{
    struct store *store = ap->call->shard->store;
    struct store_key key;
    struct store_reply reply;
    struct str nonce = {(const char *)&ap->call->access.spends, sizeof ap->call->access.spends};
    ap->spend = (struct store_op){.fn = on_spent, .arg = ap};
    if (store_set(store, &ap->spend, store_key(store, &key, "approval", nonce, &nonce, 1), STR("1"),
                  ap->keep_ms, STORE_IF_ABSENT, &reply))
        on_spent(&reply, ap);
}

static uint32_t brought(const struct call *c)
{
    uint32_t meta = c->params == JSON_NONE ? JSON_NONE : json_get(c->doc, c->params, STR("_meta"));
    return json_is(c->doc, meta, JSON_OBJECT) ? json_get(c->doc, meta, STR(META_APPROVAL))
                                              : JSON_NONE;
}

bool approval_is_brought(const struct call *c)
{
    return brought(c) != JSON_NONE;
}

void approval_mint(const struct sealer *s, const uint8_t binding[STATE_BINDING], int64_t expires_ms,
                   struct buf *out)
{
    struct state st = {.kind = STATE_MINTED, .expires_ms = expires_ms};
    while (st.nonce == 0)
        crypto_random(&st.nonce, sizeof st.nonce);
    state_seal(s, binding, &st, out);
}

static void take_brought(struct approval *ap)
{
    struct call *c = ap->call;
    struct state st;
    uint8_t binding[STATE_BINDING];
    state_binding(c, binding);
    if (!state_open(c->shard->gw->sealer, binding, json_str(c->doc, brought(c), &c->arena),
                    &c->arena, &st) ||
        st.kind != STATE_MINTED) {
        decide(ap, ERR_FORBIDDEN, "the approval is not for this call of this caller, or has ended");
        return;
    }
    c->access.spends = st.nonce;
    ap->keep_ms = st.expires_ms - clock_wall_ms() + SPENT_SLACK_MS;
    spend(ap);
}

void approval_begin(struct call *c)
{
    struct approval *ap = xcalloc(1, sizeof *ap);
    ap->call = c;
    c->approval = ap;
    ap->keep_ms = c->shard->config->parked_ms;
    if (!c->access.spends && approval_is_brought(c))
        take_brought(ap);
    else if (c->access.spends && c->access.accepted)
        spend(ap);
    else if (c->access.spends)
        decide(ap, ERR_FORBIDDEN, NOT_APPROVED);
    else if (approval_can_ask(c) && c->legacy_client)
        put_question(ap);
    else {
        decide(ap, ERR_FORBIDDEN,
               says_approved(c) ? NULL
                                : "a person must approve this call: ask, then call again with "
                                  "human_approved true and an approval_reason");
    }
}
