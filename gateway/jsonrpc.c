/* See jsonrpc.h. */
#include "gateway/jsonrpc.h"

static bool id_ok(const struct json_doc *d, uint32_t id)
{
    return json_is(d, id, JSON_STRING) || json_is(d, id, JSON_NUMBER);
}

static bool read_response(const struct json_doc *d, struct rpc_msg *m, struct err *e)
{
    m->kind = RPC_RESPONSE;
    if ((m->result == JSON_NONE) == (m->error == JSON_NONE))
        return err_set(e, ERR_BAD_REQUEST, "a response needs either result or error");
    if (m->error != JSON_NONE && !json_is(d, m->error, JSON_OBJECT))
        return err_set(e, ERR_BAD_REQUEST, "error is not an object");
    if (m->result != JSON_NONE && !id_ok(d, m->id))
        return err_set(e, ERR_BAD_REQUEST, "a result without an id");
    if (m->id != JSON_NONE && !id_ok(d, m->id) && !json_is(d, m->id, JSON_NULL))
        return err_set(e, ERR_BAD_REQUEST, "id is neither a string nor a number");
    return true;
}

bool rpc_read(const struct json_doc *d, struct rpc_msg *m, struct err *e)
{
    *m = (struct rpc_msg){.doc = d};
    if (!json_is(d, 0, JSON_OBJECT))
        return err_set(e, ERR_BAD_REQUEST, "a JSON-RPC message is an object");
    if (json_has_duplicates(d, 0))
        return err_set(e, ERR_BAD_REQUEST, "a member of the message is given twice");
    m->id = json_get(d, 0, STR("id"));
    m->method = json_get(d, 0, STR("method"));
    m->params = json_get(d, 0, STR("params"));
    m->result = json_get(d, 0, STR("result"));
    m->error = json_get(d, 0, STR("error"));
    if (!json_str_eq(d, json_get(d, 0, STR("jsonrpc")), STR("2.0")))
        return err_set(e, ERR_BAD_REQUEST, "jsonrpc is not \"2.0\"");
    if (m->method == JSON_NONE)
        return read_response(d, m, e);
    if (!json_is(d, m->method, JSON_STRING))
        return err_set(e, ERR_BAD_REQUEST, "method is not a string");
    if (m->params != JSON_NONE && !json_is(d, m->params, JSON_OBJECT))
        return err_set(e, ERR_BAD_REQUEST, "params is not an object");
    m->kind = m->id == JSON_NONE ? RPC_NOTIFICATION : RPC_REQUEST;
    if (m->kind == RPC_REQUEST && !id_ok(d, m->id))
        return err_set(e, ERR_BAD_REQUEST, "id is neither a string nor a number");
    return true;
}

bool rpc_is(const struct rpc_msg *m, struct str name)
{
    return json_str_eq(m->doc, m->method, name);
}

void rpc_begin_result(struct buf *out, struct str id)
{
    buf_add_str(out, STR("{\"jsonrpc\":\"2.0\",\"id\":"));
    buf_add_str(out, id);
    buf_add_str(out, STR(",\"result\":"));
}

void rpc_error(struct buf *out, struct str id, int code, struct str message, struct str data)
{
    buf_add_str(out, STR("{\"jsonrpc\":\"2.0\",\"id\":"));
    buf_add_str(out, id.n ? id : STR("null"));
    buf_addf(out, ",\"error\":{\"code\":%d,\"message\":", code);
    json_write_str(out, message);
    if (data.n) {
        buf_adds(out, ",\"data\":");
        buf_add_str(out, data);
    }
    buf_adds(out, "}}");
}

void rpc_error_of(struct buf *out, struct str id, const struct err *e)
{
    int code = RPC_INTERNAL_ERROR;
    struct buf data = {0};
    if (e->kind == ERR_NOT_FOUND || e->kind == ERR_BAD_REQUEST)
        code = RPC_INVALID_PARAMS;
    else
        buf_addf(&data, "{\"reason\":\"%s\"}", err_kind_name(e->kind));
    rpc_error(out, id, code, str_of(e->msg), buf_str(&data));
    buf_fini(&data);
}

void rpc_notification(struct buf *out, struct str method, struct str params)
{
    buf_add_str(out, STR("{\"jsonrpc\":\"2.0\",\"method\":"));
    json_write_str(out, method);
    if (params.n) {
        buf_adds(out, ",\"params\":");
        buf_add_str(out, params);
    }
    buf_addc(out, '}');
}

void rpc_request(struct buf *out, uint64_t id, struct str method, struct str params)
{
    buf_add_str(out, STR("{\"jsonrpc\":\"2.0\",\"id\":"));
    buf_add_u64(out, id);
    buf_add_str(out, STR(",\"method\":"));
    json_write_str(out, method);
    if (params.n) {
        buf_adds(out, ",\"params\":");
        buf_add_str(out, params);
    }
    buf_addc(out, '}');
}
