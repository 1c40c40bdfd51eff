/* See mcp_http.h (MCP 2026-07-28 and 2025-11-25 basic/transports). Knows HTTP and the message's
 * envelope, not the eras. */
#include "gateway/mcp_http.h"

#include "base/clock.h"
#include "gateway/channel.h"
#include "gateway/era.h"
#include "gateway/gate.h"
#include "gateway/owner.h"
#include "gateway/park.h"
#include "gateway/quiet.h"
#include "gateway/rounds.h"
#include "gateway/session.h"

#include <stdio.h>
#include <stdlib.h>

void mcp_http_refuse(struct exchange *x, int status, struct str fields, int code, const char *why)
{
    struct buf body = {0}, all = {0};
    rpc_error(&body, (struct str){0}, code, str_of(why), (struct str){0});
    buf_adds(&all, "Content-Type: application/json\r\n");
    buf_add_str(&all, fields);
    exchange_reply(x, status, buf_str(&all), buf_str(&body));
    buf_fini(&body);
    buf_fini(&all);
}

/* ---- before the body ---- */

bool mcp_http_type_ok(struct exchange *x)
{
    struct str coding = http1_value(x->head, STR("Content-Encoding"));
    if (!http1_type_is(http1_value(x->head, STR("Content-Type")), STR("application/json"))) {
        mcp_http_refuse(x, 415, (struct str){0}, RPC_INVALID_REQUEST,
                        "Content-Type must be application/json");
    } else if (coding.n && !str_ieq(coding, STR("identity"))) {
        mcp_http_refuse(x, 415, (struct str){0}, RPC_INVALID_REQUEST,
                        "Content-Encoding is not supported");
    } else {
        return true;
    }
    return false;
}

static bool post_head(struct exchange *x)
{
    struct str accept = http1_value(x->head, STR("Accept"));
    if (!mcp_http_type_ok(x))
        return false;
    if (!http1_accepts(accept, STR("application/json")) &&
        !http1_accepts(accept, STR("text/event-stream"))) {
        mcp_http_refuse(x, 406, (struct str){0}, RPC_INVALID_REQUEST,
                        "Accept must admit application/json or text/event-stream");
        return false;
    }
    return true;
}

bool mcp_http_head(struct exchange *x)
{
    struct str m = x->head->method;
    if (str_eq(m, STR("POST")))
        return post_head(x);
    if (!str_eq(m, STR("GET")) && !str_eq(m, STR("DELETE"))) {
        mcp_http_refuse(x, 405, STR("Allow: POST, GET, DELETE\r\n"), RPC_INVALID_REQUEST,
                        "use POST");
        return false;
    }
    if (str_eq(m, STR("GET")) &&
        !http1_accepts(http1_value(x->head, STR("Accept")), STR("text/event-stream"))) {
        mcp_http_refuse(x, 406, (struct str){0}, RPC_INVALID_REQUEST,
                        "Accept must admit text/event-stream");
        return false;
    }
    return true;
}

/* ---- GET and DELETE: legacy sessions only ---- */

void mcp_http_send_away(struct exchange *x, const struct session_place *at)
{
    if (at->shard)
        exchange_move(x, at->shard);
    else if (at->given_away)
        link_refuse(x);
    else
        owner_find(x);
}

static void session_operation(struct exchange *x)
{
    struct str id = http1_value(x->head, STR("Mcp-Session-Id"));
    bool get = str_eq(x->head->method, STR("GET"));
    if (!id.p) {
        mcp_http_refuse(x, 405, STR("Allow: POST\r\n"), RPC_INVALID_REQUEST,
                        "this needs the Mcp-Session-Id of a session");
        return;
    }
    struct session_place at = session_find(x);
    struct session *ss = at.ss;
    if (at.shard || at.elsewhere || at.given_away) {
        mcp_http_send_away(x, &at);
        return;
    }
    struct str version = http1_value(x->head, STR("MCP-Protocol-Version"));
    struct str last = http1_value(x->head, STR("Last-Event-ID"));
    if (!ss) {
        mcp_http_refuse(x, 404, (struct str){0}, RPC_INVALID_REQUEST,
                        "no such session; initialize again");
    } else if (version.p && !era_legacy(version)) {
        mcp_http_refuse(x, 400, (struct str){0}, RPC_INVALID_REQUEST,
                        "MCP-Protocol-Version is not supported");
    } else if (!get) {
        session_delete(ss);
        exchange_reply(x, 200, (struct str){0}, (struct str){0});
    } else if (last.p) {
        if (!session_resume(ss, x, last))
            mcp_http_refuse(x, 400, (struct str){0}, RPC_INVALID_REQUEST,
                            "Last-Event-ID is not known");
    } else if (!session_open_stream(ss, x)) {
        mcp_http_refuse(x, 409, (struct str){0}, RPC_INVALID_REQUEST,
                        "this session has a stream already");
    }
}

/* ---- requests ---- */

static void on_free(void *arg)
{
    struct request *r = arg;
    buf_fini(&r->kept);
    free(r);
}

void request_free(struct request *r)
{
    quiet_forget(r);
    if (r->x) {
        r->x->on_closed = NULL;
        r->x = NULL;
    }
    if (r->park)
        park_forget(r);
    rounds_free(r);
    call_fini(&r->call);
    if (r->session)
        session_remove_request(r->session, r);
    json_fini(&r->doc);
    loop_defer(r->shard->loop, on_free, r);
}

static void on_client_gone(struct exchange *x)
{
    struct request *r = x->arg;
    r->x = NULL;
    /* Modern: to close is to cancel (MCP 2026-07-28 basic/patterns/cancellation). Legacy: it is
     * not; the call runs on, and so does the asking of its client, who may come back. */
    if (r->modern || !(r->call.live || r->rounds)) {
        request_free(r);
        return;
    }
    if (!r->kept.p)
        exchange_take_body(x, &r->kept);
    if (r->session)
        session_forget_stream(r->session, r);
}

void request_attach(struct request *r, struct exchange *x)
{
    r->x = x;
    x->arg = r;
    x->on_closed = on_client_gone;
    if (r->call.live)
        quiet_since_now(r);
}

void request_detach(struct request *r)
{
    struct exchange *x = r->x;
    x->on_closed = NULL;
    r->x = NULL;
    if (!r->kept.p)
        exchange_take_body(x, &r->kept);
}

/* Can its answer's stream be taken up again? A channel ends with its client. */
static bool resumes(const struct request *r)
{
    return r->session && !r->channel;
}

void request_hold(struct request *r)
{
    if (resumes(r) && r->sse_ok && session_primes(r->session))
        session_begin_stream(r);
}

bool request_event(struct request *r, struct str message)
{
    if (r->quiet_ms)
        quiet_since_now(r);
    if (resumes(r))
        return session_event(r, message);
    if (!r->x)
        return false;
    if (!r->x->streaming)
        exchange_stream_begin(r->x, (struct str){0});
    /* A reader that is too slow is cut, and on_client_gone has then dealt with r. */
    return r->x && exchange_event(r->x, (struct str){0}, message);
}

bool request_release(struct request *r, int status, struct str message)
{
    struct exchange *x = r->x;
    quiet_forget(r);
    if (r->stream || (resumes(r) && x && !r->json_ok && status == 200)) {
        session_last_event(r, message);
    } else if (x && (x->streaming || (!r->json_ok && status == 200))) {
        if (!request_event(r, message))
            return false; /* cut: on_client_gone has freed r, or keeps it for the running call */
        x->on_closed = NULL;
        r->x = NULL;
        exchange_stream_end(x);
    } else if (x) {
        x->on_closed = NULL;
        r->x = NULL;
        exchange_reply_json(x, status, message);
    }
    return true;
}

void request_answer(struct request *r, int status, struct str message)
{
    if (request_release(r, status, message))
        request_free(r);
}

void request_adopt(struct request *r, struct request *from)
{
    struct call *c = &r->call, *f = &from->call;
    r->x = from->x;
    r->x->arg = r;
    r->sse_ok = from->sse_ok;
    r->json_ok = from->json_ok;
    r->id = from->id;
    /* slices of the exchange's body, which stays as long as it */
    c->client_caps = f->client_caps;
    c->client_info = f->client_info;
    c->progress_token = f->progress_token;
    c->log_level = f->log_level;
    c->caps = f->caps;
    from->x = NULL;
    request_free(from);
    quiet_since_now(r);
}

struct exchange *request_give_up(struct request *r)
{
    struct exchange *x = r->x;
    x->on_closed = NULL;
    r->x = NULL;
    request_free(r);
    return x;
}

void request_move(struct request *r, struct shard *to)
{
    exchange_move(request_give_up(r), to);
}

void request_retry_after(struct request *r, int seconds)
{
    char text[16];
    if (!r->x || seconds <= 0)
        return;
    (void)snprintf(text, sizeof text, "%d", seconds);
    exchange_add_field(r->x, STR("Retry-After"), str_of(text));
}

void request_error(struct request *r, int status, int code, struct str message, struct str data)
{
    struct buf b = {0};
    if (r->channel && r->id.n == 0) {
        request_accepted(r); /* only HTTP can refuse what has no answer */
        return;
    }
    rpc_error(&b, r->id, code, message, data);
    request_answer(r, status, buf_str(&b));
    buf_fini(&b);
}

void request_accepted(struct request *r)
{
    struct exchange *x = r->x;
    if (x) {
        x->on_closed = NULL;
        r->x = NULL;
        exchange_reply(x, 202, (struct str){0}, (struct str){0});
    }
    request_free(r);
}

bool request_challenged(struct request *r, const struct err *e)
{
    struct exchange *x = r->x;
    struct buf b = {0};
    if (!r->call.access.scopes || !x || x->streaming)
        return false;
    rpc_error_of(&b, r->id, e);
    x->on_closed = NULL;
    r->x = NULL;
    gate_refuse_scopes(x, r->call.access.scopes, buf_str(&b));
    buf_fini(&b);
    request_free(r);
    return true;
}

void request_admit(struct request *r, const struct call_sink *sink)
{
    call_admit(&r->call, sink, r);
    quiet_since_now(r);
}

void request_invalid(struct request *r, int code, const char *why)
{
    struct buf b = {0};
    rpc_error(&b, (struct str){0}, code, str_of(why), (struct str){0});
    request_answer(r, 400, buf_str(&b));
    buf_fini(&b);
}

static struct request *request_new(struct exchange *x)
{
    struct request *r = xcalloc(1, sizeof *r);
    r->shard = x->shard;
    r->channel = x->channel;
    r->call.target_tok = r->call.state_tok = JSON_NONE;
    r->call.log_level = LOG_LEVEL_NONE;
    r->call.principal = principal_ref(x->principal);
    r->call.exchange = x;
    r->sse_ok = r->json_ok = true;
    request_attach(r, x);
    return r;
}

static void read_message(struct request *r)
{
    struct exchange *x = r->x;
    struct err e;
    bool modern;
    if (!json_parse(&r->doc, x->body.p, x->body.n, &e)) {
        request_invalid(r, e.kind == ERR_TOO_LARGE ? RPC_INVALID_REQUEST : RPC_PARSE_ERROR, e.msg);
        return;
    }
    if (json_is(&r->doc, 0, JSON_ARRAY) && !(r->channel && r->channel->nested)) {
        era_legacy_batch(r);
        return;
    }
    if (!rpc_read(&r->doc, &r->msg, &e)) {
        request_invalid(r, RPC_INVALID_REQUEST, e.msg);
        return;
    }
    r->id = json_raw(&r->doc, r->msg.id);
    if (!era_classify(r, &modern))
        return;
    r->modern = modern;
    if (modern)
        era_modern_request(r);
    else
        era_legacy_request(r);
}

static void post(struct exchange *x)
{
    struct request *r = request_new(x);
    struct str accept = http1_value(x->head, STR("Accept"));
    r->sse_ok = http1_accepts(accept, STR("text/event-stream"));
    r->json_ok = http1_accepts(accept, STR("application/json"));
    read_message(r);
}

void mcp_http_message(struct exchange *x)
{
    read_message(request_new(x));
}

void mcp_http_request(struct exchange *x)
{
    if (str_eq(x->head->method, STR("POST")))
        post(x);
    else
        session_operation(x);
}
