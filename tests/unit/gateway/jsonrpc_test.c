/* Envelopes of JSON-RPC messages: what is read, what is refused, what is built. */
#include "gateway/jsonrpc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static bool reads(const char *text, struct rpc_msg *m, struct json_doc *d)
{
    struct err e;
    return json_parse(d, text, strlen(text), &e) && rpc_read(d, m, &e);
}

static void kinds_are_told_apart(void **state)
{
    static const struct {
        const char *text;
        enum rpc_kind kind;
    } rows[] = {
        {"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}", RPC_REQUEST},
        {"{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"ping\",\"params\":{}}", RPC_REQUEST},
        {"{\"jsonrpc\":\"2.0\",\"id\":\"\",\"method\":\"ping\"}", RPC_REQUEST},
        {"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/x\"}", RPC_NOTIFICATION},
        {"{\"jsonrpc\":\"2.0\",\"id\":\"a\",\"result\":{}}", RPC_RESPONSE},
        {"{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":1,\"message\":\"\"}}", RPC_RESPONSE},
        {"{\"jsonrpc\":\"2.0\",\"error\":{\"code\":1,\"message\":\"\"}}", RPC_RESPONSE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json_doc d = {0};
        struct rpc_msg m;
        assert_true(reads(rows[i].text, &m, &d));
        assert_int_equal(m.kind, rows[i].kind);
        json_fini(&d);
    }
}

static void broken_envelopes_are_refused(void **state)
{
    static const char *const rows[] = {
        "[]",
        "1",
        "{}",
        "{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}",
        "{\"id\":1,\"method\":\"ping\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":true,\"method\":\"ping\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":7}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"params\":[]}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"params\":null}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"a\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"a\",\"m\\u0065thod\":\"b\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":1}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{},\"error\":{}}",
        "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":\"no\"}",
        "{\"jsonrpc\":\"2.0\",\"id\":null,\"result\":{}}",
        "{\"jsonrpc\":\"2.0\",\"result\":{}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct json_doc d = {0};
        struct rpc_msg m;
        if (reads(rows[i], &m, &d))
            fail_msg("accepted: %s", rows[i]);
        json_fini(&d);
    }
}

static void expect(struct buf *b, const char *want)
{
    struct json_doc d = {0};
    assert_int_equal(b->n, strlen(want));
    assert_memory_equal(b->p, want, b->n);
    assert_true(json_parse(&d, b->p, b->n, NULL));
    json_fini(&d);
    buf_fini(b);
}

static void messages_are_built_as_the_specification_says(void **state)
{
    struct buf b = {0};
    (void)state;
    rpc_error(&b, STR("9007199254740993"), -32600, STR("a \"b\""), (struct str){0});
    expect(&b, "{\"jsonrpc\":\"2.0\",\"id\":9007199254740993,\"error\":{\"code\":-32600,"
               "\"message\":\"a \\\"b\\\"\"}}");
    rpc_error(&b, (struct str){0}, -32700, STR("x"), STR("[1]"));
    expect(&b, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32700,\"message\":\"x\","
               "\"data\":[1]}}");
    rpc_notification(&b, STR("n"), STR("{\"a\":1}"));
    expect(&b, "{\"jsonrpc\":\"2.0\",\"method\":\"n\",\"params\":{\"a\":1}}");
    rpc_request(&b, 7, STR("m"), (struct str){0});
    expect(&b, "{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"m\"}");
}

static void own_errors_say_their_reason(void **state)
{
    struct buf b = {0};
    struct err e;
    (void)state;
    (void)err_set(&e, ERR_TIMEOUT, "late");
    rpc_error_of(&b, STR("1"), &e);
    expect(&b, "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32603,\"message\":\"late\","
               "\"data\":{\"reason\":\"timeout\"}}}");
    (void)err_set(&e, ERR_NOT_FOUND, "no");
    rpc_error_of(&b, STR("1"), &e);
    expect(&b, "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-32602,\"message\":\"no\"}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds_are_told_apart),
        cmocka_unit_test(broken_envelopes_are_refused),
        cmocka_unit_test(messages_are_built_as_the_specification_says),
        cmocka_unit_test(own_errors_say_their_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
