/* The codec towards modern clients (MCP 2026-07-28): classification of requests, header validation,
 * results and errors as this revision shapes them. */
#include "base/clock.h"
#include "gateway/approval.h"
#include "gateway/channel.h"
#include "gateway/convert.h"
#include "gateway/era.h"
#include "gateway/listen.h"
#include "gateway/lists.h"
#include "gateway/park.h"
#include "gateway/result_uris.h"

#include <stdio.h>

enum { MAX_RECALLS = 16 };

static struct str header(const struct request *r, const char *name)
{
    if (r->channel)
        return (struct str){0};
    return http1_value(r->x->head, str_of(name));
}

static bool refuse(struct request *r, int status, int code, const char *why)
{
    request_error(r, status, code, str_of(why), (struct str){0});
    return false;
}

/* ---- which era ---- */

static bool unsupported(struct request *r, uint32_t version)
{
    struct buf data = {0};
    buf_addf(&data, "{\"supported\":[\"%s\"],\"requested\":", era_modern());
    buf_add_str(&data, json_raw(&r->doc, version));
    buf_addc(&data, '}');
    request_error(r, 400, RPC_UNSUPPORTED_VERSION, STR("this protocol version is not supported"),
                  buf_str(&data));
    buf_fini(&data);
    return false;
}

static bool classify_by_header(struct request *r, struct str hdr, bool *modern)
{
    *modern = false;
    if (!hdr.p || !era_is_modern_or_later(hdr))
        return true;
    switch (r->msg.kind) {
    case RPC_NOTIFICATION: request_accepted(r); return false;
    case RPC_RESPONSE:
        return refuse(r, 400, RPC_INVALID_REQUEST,
                      "clients do not send responses in this revision");
    case RPC_REQUEST: break;
    }
    if (rpc_is(&r->msg, STR("initialize")))
        return refuse(r, 400, RPC_HEADER_MISMATCH,
                      "initialize belongs to earlier revisions than the header names");
    return refuse(r, 400, RPC_INVALID_PARAMS,
                  "params._meta lacks " META_VERSION " and " META_CAPS
                  ", which this revision requires");
}

/* The header repeats what the body says. */
static bool version_headers_ok(struct request *r, struct str hdr, uint32_t version)
{
    if (!hdr.p)
        return refuse(r, 400, RPC_HEADER_MISMATCH, "the header MCP-Protocol-Version is missing");
    return json_str_eq(&r->doc, version, hdr) ||
           refuse(r, 400, RPC_HEADER_MISMATCH,
                  "MCP-Protocol-Version differs from the body's " META_VERSION);
}

bool era_classify(struct request *r, bool *modern)
{
    const struct json_doc *d = &r->doc;
    uint32_t meta =
        r->msg.params == JSON_NONE ? JSON_NONE : json_get(d, r->msg.params, STR("_meta"));
    uint32_t version =
        json_is(d, meta, JSON_OBJECT) ? json_get(d, meta, STR(META_VERSION)) : JSON_NONE;
    struct str hdr = header(r, "MCP-Protocol-Version");
    if (!r->channel && http1_count(r->x->head, STR("MCP-Protocol-Version")) > 1)
        return refuse(r, 400, RPC_HEADER_MISMATCH, "MCP-Protocol-Version is given twice");
    if (r->msg.params != JSON_NONE && json_has_duplicates(d, r->msg.params))
        return refuse(r, 400, RPC_INVALID_REQUEST, "a member of params is given twice");
    if (version == JSON_NONE || (r->channel && r->channel->legacy))
        return classify_by_header(r, hdr, modern);
    if (json_has_duplicates(d, meta))
        return refuse(r, 400, RPC_INVALID_REQUEST, "a member of params._meta is given twice");
    if (!json_is(d, version, JSON_STRING))
        return refuse(r, 400, RPC_INVALID_PARAMS, META_VERSION " is not a string");
    if (!r->channel && !version_headers_ok(r, hdr, version))
        return false;
    if (!json_str_eq(d, version, str_of(era_modern())))
        return unsupported(r, version);
    *modern = true;
    return true;
}

/* ---- headers against the body ---- */

static bool header_is(struct request *r, const char *name, struct str want)
{
    if (r->channel)
        return true;
    struct buf value = {0};
    struct str raw = header(r, name);
    bool ok = raw.p && http1_count(r->x->head, str_of(name)) == 1 &&
              era_header_decode(&value, raw) && str_eq(buf_str(&value), want);
    buf_fini(&value);
    if (ok)
        return true;
    char why[128];
    (void)snprintf(why, sizeof why, "the header %s is missing or differs from the body", name);
    return refuse(r, 400, RPC_HEADER_MISMATCH, why);
}

static bool number_text_eq(struct str a, struct str b)
{
    /* 42 and 42.0 are one integer (SHOULD compare numerically); other texts compare as they are. */
    struct json_doc x = {0}, y = {0};
    bool eq = str_eq(a, b);
    if (!eq && json_parse(&x, a.p, a.n, NULL) && json_parse(&y, b.p, b.n, NULL) &&
        json_is(&x, 0, JSON_NUMBER) && json_is(&y, 0, JSON_NUMBER))
        eq = json_double(&x, 0) == json_double(&y, 0);
    json_fini(&x);
    json_fini(&y);
    return eq;
}

/* One mirrored argument: its header must be there exactly when the argument is, with the same
 * value. */
static bool param_ok(struct request *r, const struct header_param *p, struct buf *value)
{
    const struct json_doc *d = &r->doc;
    uint32_t tok = json_get(d, r->msg.params, STR("arguments"));
    for (char **name = p->path; *name; name++)
        tok = tok == JSON_NONE ? tok : json_get(d, tok, str_of(*name));
    struct str raw = header(r, p->header);
    bool has = tok != JSON_NONE && !json_is(d, tok, JSON_NULL);
    if (http1_count(r->x->head, str_of(p->header)) > 1 || has != (raw.p != NULL))
        return false;
    if (!has)
        return true;
    value->n = 0;
    if (!era_header_decode(value, raw))
        return false;
    if (json_is(d, tok, JSON_STRING))
        return str_eq(json_str(d, tok, &r->call.arena), buf_str(value));
    if (json_is(d, tok, JSON_NUMBER))
        return number_text_eq(json_raw(d, tok), buf_str(value));
    return str_eq(json_raw(d, tok), buf_str(value));
}

static bool is_known_param(const struct catalog_entry *e, struct str name)
{
    for (size_t i = 0; e && i < e->param_count; i++)
        if (str_ieq(str_of(e->params[i].header), name))
            return true;
    return false;
}

/* Mirrored arguments are validated; headers of that kind that no schema names are handed on (MUST
 * forward). */
static bool check_params(struct request *r)
{
    const struct catalog_entry *e = r->call.entry;
    struct buf value = {0}, rest = {0};
    bool ok = true;
    if (r->channel)
        return true;
    for (size_t i = 0; e && i < e->param_count && ok; i++)
        ok = param_ok(r, &e->params[i], &value);
    for (int i = 0; i < r->x->head->fields && ok; i++) {
        const struct http1_field *f = &r->x->head->field[i];
        if (f->name.n > 10 && str_ieq((struct str){f->name.p, 10}, STR("mcp-param-")) &&
            !is_known_param(e, f->name))
            (void)!http1_add_field(&rest, f->name, f->value);
    }
    if (ok && rest.n)
        r->call.param_fields = (struct str){arena_dup(&r->call.arena, rest.p, rest.n), rest.n};
    buf_fini(&value);
    buf_fini(&rest);
    return ok || refuse(r, 400, RPC_HEADER_MISMATCH,
                        "an Mcp-Param header is missing or differs from its argument");
}

/* ---- events of a call ---- */

static void on_progress(struct call *c, const struct json_doc *d, uint32_t params)
{
    struct request *r = c->arg;
    struct buf p = {0}, m = {0};
    if (!r->sse_ok)
        return;
    convert_progress(d, params, c->progress_token, &p);
    rpc_notification(&m, STR("notifications/progress"), buf_str(&p));
    (void)request_event(r, buf_str(&m));
    buf_fini(&p);
    buf_fini(&m);
}

static void on_log(struct call *c, const struct json_doc *d, uint32_t params)
{
    struct request *r = c->arg;
    struct arena a = {0};
    struct buf p = {0}, m = {0};
    const struct convert_way way = {c->up, r->shard->config->mount_count > 1, NULL};
    if (r->sse_ok &&
        era_log_level(json_str(d, json_get(d, params, STR("level")), &a)) >= c->log_level) {
        convert_log(&way, d, params, &p);
        rpc_notification(&m, STR("notifications/message"), buf_str(&p));
        (void)request_event(r, buf_str(&m));
    }
    arena_fini(&a);
    buf_fini(&p);
    buf_fini(&m);
}

static void on_input(struct call *c, struct ask *a)
{
    park_input(c->arg, a);
}

/* ---- results ---- */

static void call_binding(const struct request *r, uint8_t out[STATE_BINDING])
{
    if (r->park)
        park_binding(r, out); /* the document is gone */
    else
        state_binding(&r->call, out);
}

static void seal_upstream_state(const struct call *c, struct str raw, struct buf *out)
{
    uint8_t binding[STATE_BINDING];
    const struct shard *s = c->shard;
    state_binding(c, binding);
    state_seal(s->gw->sealer, binding,
               &(struct state){.kind = STATE_PASS,
                               .mount = str_of(c->up->cfg->name),
                               .expires_ms = clock_wall_ms() + s->config->parked_ms,
                               .raw = raw},
               out);
}

enum result_type { RT_COMPLETE, RT_ABSENT, RT_INPUT, RT_UNKNOWN };

static enum result_type result_type(const struct json_doc *d, uint32_t tok)
{
    uint32_t t = json_get(d, tok, STR("resultType"));
    if (t == JSON_NONE)
        return RT_ABSENT;
    if (json_str_eq(d, t, STR("complete")))
        return RT_COMPLETE;
    return json_str_eq(d, t, STR("input_required")) ? RT_INPUT : RT_UNKNOWN;
}

static void edit_server_info(const struct request *r, const struct json_doc *d, uint32_t tok,
                             struct json_edits *es, struct buf *info)
{
    uint32_t meta = json_get(d, tok, STR("_meta"));
    uint32_t server =
        json_is(d, meta, JSON_OBJECT) ? json_get(d, meta, STR(META_SERVER)) : JSON_NONE;
    if (server == JSON_NONE)
        return;
    lists_server_info(r->shard->config, info);
    json_edit_replace(es, d, server, buf_str(info));
}

static bool sane_ttl(const struct json_doc *d, uint32_t tok)
{
    return json_is(d, tok, JSON_NUMBER) && json_double(d, tok) >= 0;
}

/* How long the result holds, and for whom (MCP 2026-07-28 server/utilities/caching). What a server
 * said counts from when it said it: of a kept result the rest of that time is left. */
static void edit_freshness(const struct outcome *o, struct json_edits *es, struct buf *insert)
{
    const struct json_doc *d = o->doc;
    uint32_t ttl = json_get(d, o->tok, STR("ttlMs")), k = json_first(d, o->tok);
    uint32_t scope = json_get(d, o->tok, STR("cacheScope"));
    for (; k != JSON_NONE; k = json_next(d, o->tok, k)) {
        bool is_ttl = json_str_eq(d, k, STR("ttlMs"));
        if ((is_ttl && (o->kept || !sane_ttl(d, k + 1))) ||
            (o->kept && json_str_eq(d, k, STR("cacheScope"))))
            json_edit_remove(es, d, o->tok, k);
    }
    if (o->kept || !sane_ttl(d, ttl))
        buf_addf(insert, "%s\"ttlMs\":%lld", insert->n ? "," : "", (long long)o->ttl_ms);
    if (o->kept || !json_is(d, scope, JSON_STRING))
        buf_addf(insert, "%s\"cacheScope\":\"%s\"", insert->n ? "," : "",
                 o->shared ? "public" : "private");
}

static void render_result(struct request *r, const struct outcome *o, enum result_type type,
                          struct buf *out)
{
    struct call *c = &r->call;
    const struct json_doc *d = o->doc;
    uint32_t tok = o->tok;
    struct json_edits es = {0};
    struct buf info = {0}, state = {0}, insert = {0};
    if (type == RT_ABSENT)
        buf_adds(&insert, "\"resultType\":\"complete\"");
    if (type != RT_INPUT && c->method->cacheable)
        edit_freshness(o, &es, &insert);
    uint32_t st = type == RT_INPUT ? json_get(d, tok, STR("requestState")) : JSON_NONE;
    if (json_is(d, st, JSON_STRING)) {
        seal_upstream_state(c, json_raw(d, st), &state);
        json_edit_replace(&es, d, st, buf_str(&state));
    }
    result_edit_uris(c, d, tok, &es, &c->arena);
    edit_server_info(r, d, tok, &es, &info);
    if (insert.n)
        json_edit_insert(&es, d, tok, buf_str(&insert));
    rpc_begin_result(out, r->id);
    json_edit_apply(&es, d, d->tok[tok].off, d->tok[tok].len, out);
    buf_addc(out, '}');
    json_edits_fini(&es);
    buf_fini(&info);
    buf_fini(&state);
    buf_fini(&insert);
}

/* Errors that speak of our own request to the upstream stay between us and it. */
static bool is_hop_local(int64_t code)
{
    return code == RPC_HEADER_MISMATCH || code == RPC_UNSUPPORTED_VERSION ||
           code == RPC_URL_ELICITATION;
}

/* The call has ended: a parked one's client may have to come for the answer first. */
static void answer(struct request *r, int status, struct str message)
{
    if (r->park)
        park_done(r, status, message);
    else
        request_answer(r, status, message);
}

static void answer_code(struct request *r, int status, int code, struct str message,
                        struct str data)
{
    struct buf b = {0};
    rpc_error(&b, r->id, code, message, data);
    answer(r, status, buf_str(&b));
    buf_fini(&b);
}

/* A 2025-11-25 server wants the user to visit pages before it is called again: nothing waits for
 * the retry, which is a call like the first. */
static void answer_recall(struct request *r, const struct json_doc *d, uint32_t list)
{
    struct call *c = &r->call;
    struct buf b = {0};
    uint8_t binding[STATE_BINDING];
    const struct convert_way way = {c->up, r->shard->config->mount_count > 1, NULL};
    struct state st = {.kind = STATE_RECALL,
                       .mount = str_of(c->up->cfg->name),
                       .expires_ms = clock_wall_ms() + r->shard->config->parked_ms};
    rpc_begin_result(&b, r->id);
    buf_adds(&b, "{\"resultType\":\"input_required\",\"inputRequests\":{");
    for (uint32_t k = json_first(d, list); k != JSON_NONE; k = json_next(d, list, k)) {
        if (!json_is(d, k, JSON_OBJECT) || st.questions == MAX_RECALLS)
            continue;
        buf_addf(&b, "%s\"u%llu\":{\"method\":\"elicitation/create\",\"params\":",
                 st.questions ? "," : "", (unsigned long long)st.questions + 1);
        convert_url(&way, d, k, &b);
        buf_addc(&b, '}');
        st.questions++;
    }
    call_binding(r, binding);
    buf_adds(&b, "},\"requestState\":");
    state_seal(r->shard->gw->sealer, binding, &st, &b);
    buf_adds(&b, "}}");
    answer(r, 200, buf_str(&b));
    buf_fini(&b);
}

/* True: it was about URLs, and has been answered. */
static bool answer_urls(struct request *r, const struct json_doc *d, uint32_t error)
{
    uint32_t data = json_get(d, error, STR("data"));
    uint32_t list =
        json_is(d, data, JSON_OBJECT) ? json_get(d, data, STR("elicitations")) : JSON_NONE;
    if (!r->method->interactive || !json_is(d, list, JSON_ARRAY) || d->tok[list].count == 0)
        return false;
    if (r->call.caps & CAP_URL)
        answer_recall(r, d, list);
    else {
        answer_code(r, 400, RPC_MISSING_CAPABILITY,
                    STR("this call needs a capability that the client did not declare"),
                    STR("{\"requiredCapabilities\":{\"elicitation\":{\"url\":{}}}}"));
    }
    return true;
}

/* Does an upstream's -32021 name something that this client has not? Else it is our own request
 * that it speaks of. */
static bool client_lacks(const struct request *r, const struct json_doc *d, uint32_t error)
{
    uint32_t data = json_get(d, error, STR("data"));
    uint32_t required =
        json_is(d, data, JSON_OBJECT) ? json_get(d, data, STR("requiredCapabilities")) : JSON_NONE;
    unsigned caps = convert_caps(d, required);
    return caps == 0 || (caps & ~r->call.caps) != 0;
}

static void answer_error(struct request *r, const struct outcome *o)
{
    const struct json_doc *d = o->doc;
    uint32_t tok = o->tok;
    int64_t code = RPC_INTERNAL_ERROR;
    struct arena a = {0};
    struct str message = json_str(d, json_get(d, tok, STR("message")), &a);
    struct str data = json_raw(d, json_get(d, tok, STR("data")));
    struct buf own = {0};
    (void)json_int(d, json_get(d, tok, STR("code")), &code);
    if (code == RPC_URL_ELICITATION && answer_urls(r, d, tok))
        goto out;
    if (code == RPC_RESOURCE_NOT_FOUND) {
        code = RPC_INVALID_PARAMS;
        buf_adds(&own, "{\"uri\":");
        json_write_str(&own, r->call.public_target);
        buf_addc(&own, '}');
        data = buf_str(&own);
    } else if (is_hop_local(code) || (code == RPC_MISSING_CAPABILITY && !client_lacks(r, d, tok))) {
        code = RPC_INTERNAL_ERROR;
        data = STR("{\"reason\":\"bad_upstream\"}");
    }
    /* Its status is part of it (MCP 2026-07-28 basic/index); it may have been sent already. */
    if (code == RPC_MISSING_CAPABILITY && r->x && r->x->streaming)
        code = RPC_INTERNAL_ERROR;
    int status = code == RPC_MISSING_CAPABILITY ? 400 : 200;
    answer_code(r, o->status ? o->status : status, (int)code, message, data);
out:
    arena_fini(&a);
    buf_fini(&own);
}

static void on_done(struct call *c, const struct outcome *o)
{
    struct request *r = c->arg;
    struct buf *out = &r->shard->scratch;
    out->n = 0;
    request_retry_after(r, o->retry_after_s);
    if (o->kind == OUT_ERROR) {
        answer_error(r, o);
        return;
    }
    if (o->kind == OUT_FAILED) {
        rpc_error_of(out, r->id, o->err);
        answer(r, 200, buf_str(out));
        return;
    }
    enum result_type type =
        json_is(o->doc, o->tok, JSON_OBJECT) ? result_type(o->doc, o->tok) : RT_UNKNOWN;
    if (type == RT_UNKNOWN || (type == RT_INPUT && !c->method->interactive)) {
        answer_code(r, 200, RPC_INTERNAL_ERROR,
                    STR("the upstream answered with an unknown kind of result"),
                    STR("{\"reason\":\"bad_upstream\"}"));
        return;
    }
    render_result(r, o, type, out);
    answer(r, 200, buf_str(out));
}

static const struct call_sink modern_sink = {
    .progress = on_progress, .log = on_log, .input = on_input, .done = on_done};

/* ---- requests ---- */

static void begin_own(struct request *r, struct buf *b)
{
    rpc_begin_result(b, r->id);
    buf_adds(b, "{\"resultType\":\"complete\",");
}

static void end_own(struct request *r, struct buf *b)
{
    buf_adds(b, ",\"ttlMs\":0,\"cacheScope\":\"private\",\"_meta\":{\"" META_SERVER "\":");
    lists_server_info(r->shard->config, b);
    buf_adds(b, "}}}");
    request_answer(r, 200, buf_str(b));
}

static void discover(struct request *r)
{
    struct buf b = {0};
    const struct catalog *c = r->shard->catalog;
    begin_own(r, &b);
    buf_addf(&b, "\"supportedVersions\":[\"%s\"],\"capabilities\":", era_modern());
    lists_capabilities(c, false, &b);
    lists_instructions(r, &b);
    end_own(r, &b);
    buf_fini(&b);
}

static void list(struct request *r)
{
    struct err e;
    struct buf b = {0};
    uint32_t tok = json_get(&r->doc, r->msg.params, STR("cursor"));
    struct str cursor = {0};
    if (tok != JSON_NONE) {
        cursor = json_str(&r->doc, tok, &r->call.arena);
        cursor.p = cursor.p ? cursor.p : "";
    }
    begin_own(r, &b);
    if (lists_page(r, cursor, &b, &e))
        end_own(r, &b);
    else
        request_error(r, 200, RPC_INVALID_PARAMS, str_of(e.msg), (struct str){0});
    buf_fini(&b);
}

/* Answers that are missing are no refusal: the server will ask again. */
static bool was_declined(const struct request *r, uint64_t questions)
{
    const struct json_doc *d = &r->doc;
    uint32_t all = json_get(d, r->msg.params, STR("inputResponses"));
    for (uint64_t i = 1; json_is(d, all, JSON_OBJECT) && i <= questions; i++) {
        char key[24];
        int n = snprintf(key, sizeof key, "u%llu", (unsigned long long)i);
        uint32_t tok = json_get(d, all, (struct str){key, (size_t)n});
        uint32_t action =
            json_is(d, tok, JSON_OBJECT) ? json_get(d, tok, STR("action")) : JSON_NONE;
        if (json_is(d, action, JSON_STRING) && !json_str_eq(d, action, STR("accept")))
            return true;
    }
    return false;
}

static void answer_declined(struct request *r)
{
    struct buf b = {0};
    rpc_begin_result(&b, r->id);
    buf_adds(&b, "{\"resultType\":\"complete\",\"content\":[{\"type\":\"text\",\"text\":\"the user "
                 "did not go where the server asked\"}],\"isError\":true}}");
    request_answer(r, 200, buf_str(&b));
    buf_fini(&b);
}

/* The client comes back with its requestState: the call goes on, or begins anew with the upstream's
 * own state. */
static void start_retry(struct request *r)
{
    struct call *c = &r->call;
    struct state st;
    uint8_t binding[STATE_BINDING];
    state_binding(c, binding);
    bool ok = state_open(r->shard->gw->sealer, binding, json_str(&r->doc, c->state_tok, &c->arena),
                         &c->arena, &st) &&
              st.kind != STATE_MINTED && str_eq(st.mount, str_of(c->up->cfg->name));
    if (ok && st.kind == STATE_PARK) {
        park_retry(r, &st, binding);
    } else if (ok && st.kind == STATE_APPROVE) {
        approval_retry(c, &st);
        request_admit(r, &modern_sink);
    } else if (ok && st.kind == STATE_RECALL && was_declined(r, st.questions)) {
        answer_declined(r);
    } else if (ok) {
        c->upstream_state = st.raw;
        c->access.accepted = true;
        request_admit(r, &modern_sink);
    } else {
        request_error(r, 200, RPC_INVALID_PARAMS,
                      STR("requestState is not valid for this request (any more); call again "
                          "without it"),
                      (struct str){0});
    }
}

static void refuse_call(struct request *r, const struct err *e)
{
    if (request_challenged(r, e))
        return;
    const struct call *c = &r->call;
    struct buf b = {0}, data = {0};
    if (e->kind == ERR_NOT_FOUND && c->method->route == ROUTE_URI) {
        buf_adds(&data, "{\"uri\":");
        json_write_str(&data, c->public_target);
        buf_addc(&data, '}');
        rpc_error(&b, r->id, RPC_INVALID_PARAMS, str_of(e->msg), buf_str(&data));
    } else {
        rpc_error_of(&b, r->id, e);
    }
    request_answer(r, 200, buf_str(&b));
    buf_fini(&b);
    buf_fini(&data);
}

static void fill_call(struct request *r, uint32_t meta)
{
    struct call *c = &r->call;
    const struct json_doc *d = &r->doc;
    uint32_t level = json_get(d, meta, STR(META_LOG)), caps = json_get(d, meta, STR(META_CAPS));
    c->shard = r->shard;
    c->method = r->method;
    c->doc = d;
    c->params = r->msg.params;
    c->client_caps = json_raw(d, caps);
    c->client_info = json_raw(d, json_get(d, meta, STR(META_CLIENT)));
    c->caps = convert_caps(d, caps);
    c->progress_token = json_raw(d, json_get(d, meta, STR("progressToken")));
    c->state_tok = json_get(d, c->params, STR("requestState"));
    if (level != JSON_NONE)
        c->log_level = era_log_level(json_str(d, level, &c->arena));
}

/* Nothing waits while a person thinks: the question goes out with a sealed state, and the retry is
 * the call. */
static void ask_approval(struct request *r)
{
    struct buf b = {0};
    rpc_begin_result(&b, r->id);
    buf_adds(&b, "{\"resultType\":\"input_required\",");
    approval_question(&r->call, &b);
    buf_adds(&b, ",\"_meta\":{\"" META_SERVER "\":");
    lists_server_info(r->shard->config, &b);
    buf_adds(&b, "}}}");
    request_answer(r, 200, buf_str(&b));
    buf_fini(&b);
}

static void start_call(struct request *r, uint32_t meta)
{
    struct call *c = &r->call;
    struct err e;
    fill_call(r, meta);
    if (!call_resolve(c, &e)) {
        refuse_call(r, &e);
        return;
    }
    if (c->up->cfg->affinity_header)
        c->affinity = header(r, c->up->cfg->affinity_header);
    if (!check_params(r))
        return;
    if (c->state_tok != JSON_NONE)
        start_retry(r);
    else if (approval_needed(c) && approval_can_ask(c) && !approval_is_brought(c))
        ask_approval(r);
    else
        request_admit(r, &modern_sink);
}

static const char *name_member(const struct method *m)
{
    switch (m->route) {
    case ROUTE_TOOL:
    case ROUTE_PROMPT: return "name";
    case ROUTE_URI: return "uri";
    case ROUTE_NONE:
    case ROUTE_REF: break;
    }
    return NULL;
}

void era_modern_request(struct request *r)
{
    const struct json_doc *d = &r->doc;
    uint32_t meta = json_get(d, r->msg.params, STR("_meta"));
    if (r->msg.kind != RPC_REQUEST) {
        /* Over HTTP nothing is said by notifications: closing the stream cancels. */
        if (r->channel && rpc_is(&r->msg, STR("notifications/cancelled")))
            (void)channel_cancel(r->channel,
                                 json_raw(d, json_get(d, r->msg.params, STR("requestId"))));
        request_accepted(r);
        return;
    }
    r->x->cancel_id = r->id;
    if (!json_is(d, json_get(d, meta, STR(META_CAPS)), JSON_OBJECT)) {
        (void)refuse(r, 400, RPC_INVALID_PARAMS, "params._meta lacks " META_CAPS ", an object");
        return;
    }
    r->method_name = json_str(d, r->msg.method, &r->call.arena);
    r->method = method_find(r->method_name);
    if (!header_is(r, "Mcp-Method", r->method_name))
        return;
    if (!r->method || !r->method->modern) {
        (void)refuse(r, 404, RPC_METHOD_NOT_FOUND, "no such method in this revision");
        return;
    }
    const char *member = name_member(r->method);
    uint32_t name = member ? json_get(d, r->msg.params, str_of(member)) : JSON_NONE;
    if (json_is(d, name, JSON_STRING) &&
        !header_is(r, "Mcp-Name", json_str(d, name, &r->call.arena)))
        return;
    if (r->method->action == METHOD_CALL)
        start_call(r, meta);
    else if (r->method->action == METHOD_LIST)
        list(r);
    else if (str_eq(r->method_name, STR("server/discover")))
        discover(r);
    else
        listen_open(r);
}
