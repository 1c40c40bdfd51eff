/* JSON-RPC 2.0 messages: reading their envelope and building them. No I/O; fuzzed. */
#ifndef GATEWAY_JSONRPC_H
#define GATEWAY_JSONRPC_H

#include "base/json.h"

/* The codes that MCP and JSON-RPC name (MCP 2026-07-28 basic/index "Error Codes"). */
enum rpc_code {
    RPC_PARSE_ERROR = -32700,
    RPC_INVALID_REQUEST = -32600,
    RPC_METHOD_NOT_FOUND = -32601,
    RPC_INVALID_PARAMS = -32602,
    RPC_INTERNAL_ERROR = -32603,
    RPC_RESOURCE_NOT_FOUND = -32002, /* legacy only */
    RPC_HEADER_MISMATCH = -32020,
    RPC_MISSING_CAPABILITY = -32021,
    RPC_UNSUPPORTED_VERSION = -32022,
    RPC_URL_ELICITATION = -32042, /* 2025-11-25 only */
};

enum rpc_kind { RPC_REQUEST, RPC_NOTIFICATION, RPC_RESPONSE };

/* A message's envelope; tokens of doc. */
struct rpc_msg {
    const struct json_doc *doc;
    enum rpc_kind kind;
    uint32_t id, method, params, result, error; /* JSON_NONE when absent */
};

/* Reads the envelope of a parsed text. Refused (ERR_BAD_REQUEST): not an object, duplicate members
 * of the envelope, jsonrpc other than "2.0", id neither string nor number (null only in error
 * responses), method no string, params no object, both result and error or neither. */
bool rpc_read(const struct json_doc *doc, struct rpc_msg *m, struct err *e) MUST_USE;
/* True when the message's method is name. */
bool rpc_is(const struct rpc_msg *m, struct str name);

/* Appends `{"jsonrpc":"2.0","id":ID,"result":`; the caller adds the result and a '}'. id is raw
 * JSON. */
void rpc_begin_result(struct buf *out, struct str id);
/* Appends a whole error response. id raw JSON, empty: null. data raw JSON, empty: none. */
void rpc_error(struct buf *out, struct str id, int code, struct str message, struct str data);
/* Appends an error for an err of ours: −32603 with data.reason (and what was tried), or −32602 for
 * ERR_NOT_FOUND. */
void rpc_error_of(struct buf *out, struct str id, const struct err *e);
/* Appends a whole notification; params raw JSON, empty: none. */
void rpc_notification(struct buf *out, struct str method, struct str params);
/* Appends a whole request with a numeric id. */
void rpc_request(struct buf *out, uint64_t id, struct str method, struct str params);

#endif
