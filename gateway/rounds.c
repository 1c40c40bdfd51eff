/* See rounds.h. All questions of a round are put to the client at once; with the last answer the
 * call goes upstream again, with this round's answers and the server's own state. A client's
 * refusal has no form in the modern era: for an elicitation it becomes `cancel`, for anything else
 * it ends the call. */
#include "gateway/rounds.h"

#include "base/clock.h"
#include "gateway/convert.h"
#include "gateway/era.h"
#include "gateway/session.h"
#include "gateway/upstream.h"

#include <assert.h>
#include <stdlib.h>

enum { MAX_ROUNDS = 10, MAX_QUESTIONS = 100, PAUSE_MS = 250, MAX_PAUSE_MS = 4000 };

struct input {
    struct rounds *rounds;
    struct ask *ask;    /* NULL: answered */
    char *key, *answer; /* raw JSON */
    bool elicits;
    TAILQ_ENTRY(input) link;
};

struct rounds {
    struct request *r;
    unsigned count;
    unsigned open; /* questions without an answer */
    bool asking;   /* while the round is put out */
    char *refused; /* why the call ends instead of going on */
    struct timer timer;
    struct buf members; /* of the retry's params */
    char *state;        /* requestState, raw JSON; NULL: none */
    TAILQ_HEAD(, input) inputs;
};

static void clear_round(struct rounds *rs)
{
    struct input *in;
    timer_clear(&rs->timer);
    while ((in = TAILQ_FIRST(&rs->inputs))) {
        TAILQ_REMOVE(&rs->inputs, in, link);
        if (in->ask)
            ask_withdraw(in->ask);
        free(in->key);
        free(in->answer);
        free(in);
    }
    free(rs->state);
    rs->state = NULL;
    rs->open = 0;
}

void rounds_free(struct request *r)
{
    struct rounds *rs = r->rounds;
    if (!rs)
        return;
    clear_round(rs);
    buf_fini(&rs->members);
    free(rs->refused);
    free(rs);
    r->rounds = NULL;
}

/* ---- ends ---- */

/* A tool tells its model what went wrong; other methods have errors only. */
static void end_call(struct rounds *rs, enum err_kind kind, const char *why)
{
    struct call *c = &rs->r->call;
    struct json_doc d = {0};
    struct buf b = {0};
    struct err e;
    clear_round(rs);
    if (c->method->route != ROUTE_TOOL) {
        (void)err_set(&e, kind, "%s", why);
        call_fail(c, &e);
        return;
    }
    buf_adds(&b, "{\"content\":[{\"type\":\"text\",\"text\":");
    json_write_str(&b, str_of(why));
    buf_adds(&b, "}],\"isError\":true}");
    bool ok = json_parse(&d, b.p, b.n, NULL);
    assert(ok);
    call_finish(c, &(struct outcome){.kind = OUT_RESULT, .doc = &d, .tok = 0});
    json_fini(&d);
    buf_fini(&b);
}

static void on_late(void *arg)
{
    end_call(arg, ERR_TIMEOUT, "the client did not answer the server's questions in time");
}

static void send_again(void *arg)
{
    struct rounds *rs = arg;
    struct call *c = &rs->r->call;
    struct input *in;
    const char *before = "";
    rs->members.n = 0;
    if (!TAILQ_EMPTY(&rs->inputs)) {
        buf_adds(&rs->members, "\"inputResponses\":{");
        TAILQ_FOREACH (in, &rs->inputs, link) {
            buf_addf(&rs->members, "%s%s:%s", before, in->key, in->answer);
            before = ",";
        }
        buf_addc(&rs->members, '}');
        before = ",";
    }
    if (rs->state)
        buf_addf(&rs->members, "%s\"requestState\":%s", before, rs->state);
    clear_round(rs);
    c->retry = buf_str(&rs->members);
    call_send(c);
}

static void check_whole(struct rounds *rs)
{
    if (rs->asking || (rs->open > 0 && !rs->refused))
        return;
    if (rs->refused)
        end_call(rs, ERR_CONFLICT, rs->refused);
    else
        send_again(rs);
}

/* ---- a round ---- */

static void refuse(struct rounds *rs, struct str what, struct str why)
{
    struct buf b = {0};
    if (rs->refused)
        return;
    buf_addf(&b, "the client refused %.*s: %.*s", STR_FMT(what), why.n < 200 ? (int)why.n : 200,
             why.p ? why.p : "");
    rs->refused = xmemdup0(b.p, b.n);
    buf_fini(&b);
}

static void take_refusal(struct input *in, struct str method, struct str error)
{
    struct json_doc d = {0};
    struct arena a = {0};
    if (in->elicits) {
        in->answer = xstrdup("{\"action\":\"cancel\"}");
        return;
    }
    bool ok = json_parse(&d, error.p, error.n, NULL) && json_is(&d, 0, JSON_OBJECT);
    refuse(in->rounds, method,
           ok ? json_str(&d, json_get(&d, 0, STR("message")), &a) : STR("an error"));
    arena_fini(&a);
    json_fini(&d);
}

static void on_answered(struct ask *a, bool ok, struct str raw)
{
    struct input *in = a->asker;
    struct rounds *rs = in->rounds;
    in->ask = NULL;
    rs->open--;
    if (ok)
        in->answer = xmemdup0(raw.p, raw.n);
    else
        take_refusal(in, STR("an answer"), raw);
    check_whole(rs);
}

/* Puts one question to the client. False: its revision cannot ask it. */
static bool put(struct rounds *rs, struct input *in, const struct json_doc *d, uint32_t method,
                uint32_t params)
{
    struct request *r = rs->r;
    struct json_doc q = {0};
    struct buf b = {0};
    buf_adds(&b, "{\"method\":");
    buf_add_str(&b, json_raw(d, method));
    buf_adds(&b, ",\"params\":");
    size_t before = b.n;
    const struct convert_way way = {r->call.up, r->shard->config->mount_count > 1,
                                    era_legacy(str_of(session_version(r->session)))};
    if (!convert_question(&way, d, method, params, &b)) {
        buf_fini(&b);
        return false;
    }
    buf_adds(&b, b.n == before ? "{}}" : "}");
    bool ok = json_parse(&q, b.p, b.n, NULL);
    assert(ok);
    struct ask *a = in->ask = xcalloc(1, sizeof *a);
    *a = (struct ask){.doc = &q,
                      .method = json_get(&q, 0, STR("method")),
                      .params = json_get(&q, 0, STR("params")),
                      .answered = on_answered,
                      .asker = in};
    rs->open++;
    session_ask(r->session, r, a);
    json_fini(&q);
    buf_fini(&b);
    return true;
}

static void ask_one(struct rounds *rs, const struct json_doc *d, uint32_t key)
{
    struct request *r = rs->r;
    uint32_t entry = key + 1;
    bool is_object = json_is(d, entry, JSON_OBJECT), known = false;
    uint32_t method = is_object ? json_get(d, entry, STR("method")) : JSON_NONE;
    uint32_t params = is_object ? json_get(d, entry, STR("params")) : JSON_NONE;
    unsigned missing = 0;
    if (json_is(d, method, JSON_STRING))
        missing = convert_missing(d, method, params, r->call.caps, &known);
    struct input *in = xcalloc(1, sizeof *in);
    struct str name = json_raw(d, key);
    in->rounds = rs;
    in->key = xmemdup0(name.p, name.n);
    in->elicits = known && json_str_eq(d, method, STR("elicitation/create"));
    TAILQ_INSERT_TAIL(&rs->inputs, in, link);
    if (!known || missing || !put(rs, in, d, method, params))
        take_refusal(in, STR("a question"),
                     STR("{\"message\":\"the client did not declare that it can answer it\"}"));
}

static void begin_round(struct rounds *rs, const struct json_doc *d, uint32_t requests)
{
    struct request *r = rs->r;
    metric_add(metric_of(M_INPUT_ROUNDS), 1);
    timer_set(&rs->timer, r->shard->loop, r->shard->config->parked_ms, on_late, rs);
    rs->asking = true;
    for (uint32_t k = json_first(d, requests); k != JSON_NONE; k = json_next(d, requests, k))
        ask_one(rs, d, k);
    rs->asking = false;
    check_whole(rs);
}

/* Only a state: the server is busy and wants the call later. */
static void pause_round(struct rounds *rs)
{
    int64_t ms = (int64_t)PAUSE_MS << (rs->count - 1);
    timer_set(&rs->timer, rs->r->shard->loop, ms < MAX_PAUSE_MS ? ms : MAX_PAUSE_MS, send_again,
              rs);
}

bool rounds_suspended(struct request *r, const struct outcome *o)
{
    const struct json_doc *d = o->doc;
    struct rounds *rs = r->rounds;
    if (!o->modern || !r->method->interactive || !r->session || !json_is(d, o->tok, JSON_OBJECT) ||
        !json_str_eq(d, json_get(d, o->tok, STR("resultType")), STR("input_required")))
        return false;
    uint32_t requests = json_get(d, o->tok, STR("inputRequests"));
    uint32_t state = json_get(d, o->tok, STR("requestState"));
    if (!rs) {
        rs = r->rounds = xcalloc(1, sizeof *rs);
        rs->r = r;
        TAILQ_INIT(&rs->inputs);
    }
    uint32_t n = json_is(d, requests, JSON_OBJECT) ? d->tok[requests].count : 0;
    if (json_is(d, state, JSON_STRING))
        rs->state = xmemdup0(json_raw(d, state).p, json_raw(d, state).n);
    if (++rs->count > MAX_ROUNDS)
        end_call(rs, ERR_BAD_UPSTREAM, "the server asked more than 10 times in one call");
    else if (n > MAX_QUESTIONS || (n == 0 && !rs->state))
        end_call(rs, ERR_BAD_UPSTREAM, "the server asks for input without saying which");
    else if (n == 0)
        pause_round(rs);
    else
        begin_round(rs, d, requests);
    return true;
}
