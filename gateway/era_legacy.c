/* The codec towards legacy clients (MCP 2024-11-05 to 2025-11-25): sessions, and results without
 * what is new in the modern era. */
#include "base/clock.h"
#include "gateway/channel.h"
#include "gateway/convert.h"
#include "gateway/era.h"
#include "gateway/lists.h"
#include "gateway/result_uris.h"
#include "gateway/rounds.h"
#include "gateway/session.h"
#include "gateway/watch.h"

static bool refuse(struct request *r, int status, int code, const char *why)
{
    request_error(r, status, code, str_of(why), (struct str){0});
    return false;
}

static void answer_empty(struct request *r)
{
    struct buf b = {0};
    rpc_begin_result(&b, r->id);
    buf_adds(&b, "{}}");
    request_answer(r, 200, buf_str(&b));
    buf_fini(&b);
}

/* ---- initialize ---- */

static void answer_initialize(struct request *r, struct session *ss)
{
    const struct catalog *c = r->shard->catalog;
    struct channel *ch = r->channel;
    struct buf b = {0}, fields = {0};
    rpc_begin_result(&b, r->id);
    buf_addf(&b, "{\"protocolVersion\":\"%s\",\"capabilities\":", session_version(ss));
    lists_capabilities(c, true, &b);
    buf_adds(&b, ",\"serverInfo\":");
    lists_server_info(r->shard->config, &b);
    lists_instructions(r, &b);
    buf_adds(&b, "}}");
    (void)!http1_add_field(&fields, STR("Mcp-Session-Id"), session_id(ss));
    if (r->json_ok) {
        struct exchange *x = r->x;
        buf_adds(&fields, "Content-Type: application/json\r\n");
        x->on_closed = NULL;
        r->x = NULL;
        exchange_reply(x, 200, buf_str(&fields), buf_str(&b));
        request_free(r);
    } else {
        exchange_stream_begin(r->x, buf_str(&fields));
        request_answer(r, 200, buf_str(&b));
    }
    if (ch && !ch->closed)
        channel_begin(ch, ss);
    buf_fini(&b);
    buf_fini(&fields);
}

static void initialize(struct request *r)
{
    const struct json_doc *d = &r->doc;
    uint32_t version =
        r->msg.params == JSON_NONE ? JSON_NONE : json_get(d, r->msg.params, STR("protocolVersion"));
    if (!json_is(d, version, JSON_STRING)) {
        (void)refuse(r, 400, RPC_INVALID_PARAMS,
                     "params.protocolVersion is missing or not a string");
        return;
    }
    const struct era_features *f = era_legacy(json_str(d, version, &r->call.arena));
    struct str caps = json_raw(d, json_get(d, r->msg.params, STR("capabilities")));
    struct str info = json_raw(d, json_get(d, r->msg.params, STR("clientInfo")));
    struct err e;
    struct session *ss =
        session_new(r->shard, r->call.principal, f ? f->version : era_latest_legacy(),
                    caps.n ? caps : STR("{}"),
                    info.n ? info : STR("{\"name\":\"unknown\",\"version\":\"0\"}"), &e);
    if (!ss) {
        (void)refuse(r, 503, RPC_INTERNAL_ERROR, e.msg);
        return;
    }
    answer_initialize(r, ss);
}

/* ---- events of a call ---- */

static const struct era_features *revision(const struct request *r)
{
    return era_legacy(str_of(session_version(r->session)));
}

static struct convert_way way_to(const struct request *r)
{
    return (struct convert_way){r->call.up, r->shard->config->mount_count > 1, revision(r)};
}

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
    int level = era_log_level(json_str(d, json_get(d, params, STR("level")), &a));
    if (r->sse_ok && r->session && level >= session_log_level(r->session)) {
        const struct convert_way way = way_to(r);
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
    struct request *r = c->arg;
    bool known;
    /* A session of its own heard the truth; a shared one may have heard more. */
    if (a->shared && (convert_missing(a->doc, a->method, a->params, c->caps, &known) || !known))
        ask_refuse(a, STR("{\"code\":-32601,\"message\":\"the client cannot answer this\"}"));
    else
        session_ask(r->session, r, a);
}

static bool on_suspended(struct call *c, const struct outcome *o)
{
    return rounds_suspended(c->arg, o);
}

/* ---- results ---- */

static void edit_modern(const struct json_doc *d, uint32_t tok, struct json_edits *es)
{
    static const char *const drop[] = {"resultType", "ttlMs", "cacheScope"};
    for (uint32_t k = json_first(d, tok); k != JSON_NONE; k = json_next(d, tok, k)) {
        for (size_t i = 0; i < sizeof drop / sizeof *drop; i++)
            if (json_str_eq(d, k, str_of(drop[i])))
                json_edit_remove(es, d, tok, k);
    }
    uint32_t meta = json_get(d, tok, STR("_meta"));
    for (uint32_t k = json_is(d, meta, JSON_OBJECT) ? json_first(d, meta) : JSON_NONE;
         k != JSON_NONE; k = json_next(d, meta, k))
        if (json_str_eq(d, k, STR(META_SERVER)))
            json_edit_remove(es, d, meta, k);
}

static bool wants_retry(const struct outcome *o)
{
    uint32_t t = o->modern ? json_get(o->doc, o->tok, STR("resultType")) : JSON_NONE;
    return t != JSON_NONE && !json_str_eq(o->doc, t, STR("complete"));
}

/* For its model to know, as the client cannot mend it by itself. */
static void answer_tool_error(struct request *r, struct str text)
{
    struct buf b = {0};
    rpc_begin_result(&b, r->id);
    buf_adds(&b, "{\"content\":[{\"type\":\"text\",\"text\":");
    json_write_str(&b, text);
    buf_adds(&b, "}],\"isError\":true}}");
    request_answer(r, 200, buf_str(&b));
    buf_fini(&b);
}

static void answer_missing(struct request *r, const struct json_doc *d, uint32_t data)
{
    struct buf text = {0};
    struct str needs = STR("another");
    uint32_t required =
        json_is(d, data, JSON_OBJECT) ? json_get(d, data, STR("requiredCapabilities")) : JSON_NONE;
    if (json_is(d, required, JSON_OBJECT) && json_first(d, required) != JSON_NONE)
        needs = json_str(d, json_first(d, required), &r->call.arena);
    buf_addf(&text, "this tool needs a capability that the client did not declare: %.*s",
             needs.n < 64 ? (int)needs.n : 64, needs.p);
    answer_tool_error(r, buf_str(&text));
    buf_fini(&text);
}

/* Revisions before 2025-11-25 have no such error: the user is told where to go. */
static void answer_urls(struct request *r, const struct json_doc *d, struct str message,
                        uint32_t data)
{
    struct buf text = {0};
    uint32_t list =
        json_is(d, data, JSON_OBJECT) ? json_get(d, data, STR("elicitations")) : JSON_NONE;
    buf_add_str(&text, message);
    for (uint32_t k = json_is(d, list, JSON_ARRAY) ? json_first(d, list) : JSON_NONE;
         k != JSON_NONE; k = json_next(d, list, k)) {
        uint32_t url = json_is(d, k, JSON_OBJECT) ? json_get(d, k, STR("url")) : JSON_NONE;
        buf_addc(&text, '\n');
        buf_add_str(&text, json_str(d, url, &r->call.arena));
    }
    answer_tool_error(r, buf_str(&text));
    buf_fini(&text);
}

static void answer_error(struct request *r, const struct outcome *o)
{
    const struct json_doc *d = o->doc;
    int64_t code = RPC_INTERNAL_ERROR;
    (void)json_int(d, json_get(d, o->tok, STR("code")), &code);
    uint32_t data = json_get(d, o->tok, STR("data"));
    bool about_uri = json_is(d, data, JSON_OBJECT) && json_get(d, data, STR("uri")) != JSON_NONE;
    struct str raw = json_raw(d, data);
    struct str message = json_str(d, json_get(d, o->tok, STR("message")), &r->call.arena);
    if (code == RPC_URL_ELICITATION && !revision(r)->url && r->method->route == ROUTE_TOOL) {
        answer_urls(r, d, message, data);
        return;
    }
    if (o->modern && code == RPC_MISSING_CAPABILITY && r->method->route == ROUTE_TOOL) {
        answer_missing(r, d, data);
        return;
    }
    if (code == RPC_URL_ELICITATION && !revision(r)->url)
        code = RPC_INTERNAL_ERROR;
    if (o->modern && code == RPC_INVALID_PARAMS && r->method->route == ROUTE_URI && about_uri)
        code = RPC_RESOURCE_NOT_FOUND;
    if (o->modern && code <= RPC_HEADER_MISMATCH && code >= RPC_UNSUPPORTED_VERSION) {
        code = RPC_INTERNAL_ERROR;
        raw = STR("{\"reason\":\"bad_upstream\"}");
    }
    request_error(r, o->status ? o->status : 200, (int)code, message, raw);
}

static void on_done(struct call *c, const struct outcome *o)
{
    struct request *r = c->arg;
    struct json_edits es = {0};
    struct buf *out = &r->shard->scratch;
    out->n = 0;
    request_retry_after(r, o->retry_after_s);
    if (o->kind == OUT_ERROR) {
        answer_error(r, o);
        return;
    }
    if (o->kind == OUT_FAILED) {
        rpc_error_of(out, r->id, o->err);
        request_answer(r, 200, buf_str(out));
        return;
    }
    if (!json_is(o->doc, o->tok, JSON_OBJECT) || wants_retry(o)) {
        request_error(r, 200, RPC_INTERNAL_ERROR,
                      STR("the upstream answered with an unknown kind of result"),
                      STR("{\"reason\":\"bad_upstream\"}"));
        return;
    }
    if (o->modern)
        edit_modern(o->doc, o->tok, &es);
    const struct convert_way way = way_to(r);
    convert_result(&way, o->doc, o->tok, &es, &c->arena);
    result_edit_uris(c, o->doc, o->tok, &es, &c->arena);
    rpc_begin_result(out, r->id);
    json_edit_apply(&es, o->doc, o->doc->tok[o->tok].off, o->doc->tok[o->tok].len, out);
    buf_addc(out, '}');
    json_edits_fini(&es);
    request_answer(r, 200, buf_str(out));
}

static void on_held(struct call *c)
{
    request_hold(c->arg);
}

static const struct call_sink legacy_sink = {.progress = on_progress,
                                             .log = on_log,
                                             .input = on_input,
                                             .suspended = on_suspended,
                                             .done = on_done,
                                             .held = on_held};

/* ---- requests ---- */

static void list(struct request *r)
{
    struct err e;
    struct buf b = {0};
    uint32_t tok =
        r->msg.params == JSON_NONE ? JSON_NONE : json_get(&r->doc, r->msg.params, STR("cursor"));
    struct str cursor = {0};
    if (tok != JSON_NONE) {
        cursor = json_str(&r->doc, tok, &r->call.arena);
        cursor.p = cursor.p ? cursor.p : "";
    }
    rpc_begin_result(&b, r->id);
    buf_addc(&b, '{');
    if (lists_page(r, cursor, &b, &e)) {
        buf_adds(&b, "}}");
        request_answer(r, 200, buf_str(&b));
    } else {
        request_error(r, 200, RPC_INVALID_PARAMS, str_of(e.msg), (struct str){0});
    }
    buf_fini(&b);
}

static void prepare(struct request *r)
{
    struct call *c = &r->call;
    uint32_t meta =
        r->msg.params == JSON_NONE ? JSON_NONE : json_get(&r->doc, r->msg.params, STR("_meta"));
    c->shard = r->shard;
    c->method = r->method;
    c->doc = &r->doc;
    c->params = r->msg.params;
    c->legacy_client = true;
    c->session = r->session;
    c->client_caps = session_caps(r->session);
    c->client_info = session_client_info(r->session);
    c->caps = session_can(r->session);
    c->log_level = session_log_level(r->session);
    if (json_is(&r->doc, meta, JSON_OBJECT))
        c->progress_token = json_raw(&r->doc, json_get(&r->doc, meta, STR("progressToken")));
}

static void answer_failed(struct request *r, const struct err *e)
{
    if (request_challenged(r, e))
        return;
    struct buf b = {0}, data = {0};
    if (e->kind == ERR_NOT_FOUND && r->method->route == ROUTE_URI) {
        buf_adds(&data, "{\"uri\":");
        json_write_str(&data, r->call.public_target);
        buf_addc(&data, '}');
        rpc_error(&b, r->id, RPC_RESOURCE_NOT_FOUND, str_of(e->msg), buf_str(&data));
    } else {
        rpc_error_of(&b, r->id, e);
    }
    request_answer(r, 200, buf_str(&b));
    buf_fini(&b);
    buf_fini(&data);
}

/* A session that was brought back while nobody could say what it has upstream gets no second one
 * there. */
static bool can_be_sent(struct request *r)
{
    if (!session_is_blind(r->session, r->call.up))
        return true;
    request_retry_after(r, 1);
    return refuse(r, 503, RPC_INTERNAL_ERROR, "the store that knows this session is away");
}

/* Own conversations are asked themselves; shared ones through the watch, which counts who wants
 * what. */
static void subscribe(struct request *r, bool on)
{
    struct call *c = &r->call;
    struct err e;
    prepare(r);
    if (!call_resolve(c, &e)) {
        answer_failed(r, &e);
        return;
    }
    if (!can_be_sent(r))
        return;
    bool changed = session_subscribe(r->session, c->public_target, on);
    if (upstream_per_client(c->up, c->principal)) {
        request_admit(r, &legacy_sink);
        return;
    }
    if (changed)
        watch_subscribe(r->shard->gw, c->up->index, c->target, on);
    /* A shared child is the watch's own conversation: asked once more, it answers for itself, and
     * in order with what follows. */
    if (on && c->up->cfg->transport == MOUNT_STDIO &&
        c->catalog->mounts[c->up->index].server.era == UP_LEGACY)
        request_admit(r, &legacy_sink);
    else
        answer_empty(r);
}

static void set_level(struct request *r)
{
    uint32_t tok = json_get(&r->doc, r->msg.params, STR("level"));
    struct str level = json_str(&r->doc, tok, &r->call.arena);
    int index = era_log_level(level);
    if (r->msg.params == JSON_NONE || index < 0) {
        (void)refuse(r, 200, RPC_INVALID_PARAMS, "params.level is not one of MCP's log levels");
        return;
    }
    session_set_log_level(r->session, level, index);
    answer_empty(r);
}

static void session_request(struct request *r)
{
    struct err e;
    const struct method *m = r->method =
        method_find(json_str(&r->doc, r->msg.method, &r->call.arena));
    if (!m || !m->legacy) {
        (void)refuse(r, 200, RPC_METHOD_NOT_FOUND, "no such method");
    } else if (m->action == METHOD_LIST) {
        list(r);
    } else if (m->action == METHOD_CALL) {
        prepare(r);
        if (!call_resolve(&r->call, &e))
            answer_failed(r, &e);
        else if (can_be_sent(r))
            request_admit(r, &legacy_sink);
    } else if (str_eq(m->name, STR("ping"))) {
        answer_empty(r);
    } else if (str_eq(m->name, STR("logging/setLevel"))) {
        set_level(r);
    } else if (m->route == ROUTE_URI) {
        subscribe(r, str_eq(m->name, STR("resources/subscribe")));
    } else {
        (void)refuse(r, 400, RPC_INVALID_REQUEST, "the session is initialized already");
    }
}

/* A channel carries both eras' requests, and a cancel does not say which it means. */
static void cancel(struct request *r, struct str id)
{
    if (!r->channel || !channel_cancel(r->channel, id))
        session_cancel(r->session, id);
}

static void session_notification(struct request *r)
{
    struct session *ss = r->session;
    const struct json_doc *d = &r->doc;
    if (rpc_is(&r->msg, STR("notifications/cancelled")) && r->msg.params != JSON_NONE)
        cancel(r, json_raw(d, json_get(d, r->msg.params, STR("requestId"))));
    else if (rpc_is(&r->msg, STR("notifications/roots/list_changed")))
        session_broadcast(ss, STR("notifications/roots/list_changed"), (struct str){0});
    request_accepted(r);
}

/* Before initialize there is little to say. */
static void without_session(struct request *r)
{
    bool cancels =
        r->channel && r->msg.params != JSON_NONE && rpc_is(&r->msg, STR("notifications/cancelled"));
    if (rpc_is(&r->msg, STR("initialize")) && r->msg.kind == RPC_REQUEST)
        initialize(r);
    else if (r->channel && rpc_is(&r->msg, STR("ping")) && r->msg.kind == RPC_REQUEST)
        answer_empty(r);
    else if (cancels &&
             channel_cancel(r->channel,
                            json_raw(&r->doc, json_get(&r->doc, r->msg.params, STR("requestId")))))
        request_accepted(r);
    else {
        (void)refuse(r, 400, RPC_INVALID_REQUEST,
                     r->channel ? "initialize first"
                                : "the header Mcp-Session-Id is missing; initialize first");
    }
}

struct str era_legacy_session_id(const struct request *r)
{
    return r->channel ? channel_session(r->channel)
                      : http1_value(r->x->head, STR("Mcp-Session-Id"));
}

struct session *era_legacy_session(struct request *r)
{
    struct session_place at =
        r->channel ? session_here(r->shard, r->call.principal, channel_session(r->channel))
                   : session_find(r->x);
    if (at.shard || at.elsewhere || at.given_away)
        mcp_http_send_away(request_give_up(r), &at);
    else if (!at.ss)
        (void)refuse(r, 404, RPC_INVALID_REQUEST, "no such session; initialize again");
    return at.ss;
}

void era_legacy_request(struct request *r)
{
    struct str version = {0};
    if (!r->channel)
        version = http1_value(r->x->head, STR("MCP-Protocol-Version"));
    if (version.p && !era_legacy(version)) {
        (void)refuse(r, 400, RPC_INVALID_REQUEST, "MCP-Protocol-Version is not supported");
        return;
    }
    if (!era_legacy_session_id(r).p) {
        without_session(r);
        return;
    }
    struct session *ss = era_legacy_session(r);
    if (!ss)
        return;
    session_add_request(ss, r);
    switch (r->msg.kind) {
    case RPC_REQUEST: session_request(r); break;
    case RPC_NOTIFICATION: session_notification(r); break;
    case RPC_RESPONSE:
        session_answer(ss, &r->msg);
        request_accepted(r);
        break;
    }
}
