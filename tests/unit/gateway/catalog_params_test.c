/* x-mcp-header annotations: which are found, and what makes a definition invalid. */
#include "gateway/catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static bool read_schema(const char *schema, struct catalog_entry *e, struct err *why)
{
    struct buf tool = {0};
    struct json_doc d = {0};
    buf_addf(&tool, "{\"inputSchema\":%s}", schema);
    assert_true(json_parse(&d, tool.p, tool.n, why));
    bool ok = catalog_read_params(&d, 0, e, why);
    json_fini(&d);
    buf_fini(&tool);
    return ok;
}

static void parameters_are_found_along_properties(void **state)
{
    (void)state;
    struct catalog_entry e;
    struct err why;
    assert_true(read_schema(
        "{\"type\":\"object\",\"properties\":{"
        "\"region\":{\"type\":\"string\",\"x-mcp-header\":\"Region\"},"
        "\"plain\":{\"type\":\"number\",\"default\":{\"x-mcp-header\":\"a value\"}},"
        "\"x-mcp-header\":{\"type\":\"string\"},"
        "\"in\":{\"properties\":{\"d\\u0065ep\":{\"type\":\"integer\",\"x-mcp-header\":\"N\"},"
        "\"b\":{\"type\":\"boolean\",\"x-mcp-header\":\"b.1\"}}}}}",
        &e, &why));
    assert_int_equal(e.param_count, 3);
    assert_string_equal(e.params[0].header, "Mcp-Param-Region");
    assert_string_equal(e.params[0].path[0], "region");
    assert_null(e.params[0].path[1]);
    assert_string_equal(e.params[1].header, "Mcp-Param-N");
    assert_string_equal(e.params[1].path[0], "in");
    assert_string_equal(e.params[1].path[1], "deep");
    assert_null(e.params[1].path[2]);
    assert_string_equal(e.params[2].header, "Mcp-Param-b.1");
    catalog_params_fini(&e);
    assert_true(read_schema("null", &e, &why));
    assert_int_equal(e.param_count, 0);
}

#define PROPERTY(p)                                                                                \
    "{\"properties\":{\"ok\":{\"type\":\"string\",\"x-mcp-header\":\"Ok\"},\"a\":" p "}}"
#define NAMED(type, name) PROPERTY("{\"type\":" type ",\"x-mcp-header\":" name "}")
#define INNER             "{\"type\":\"string\",\"x-mcp-header\":\"A\"}"

static void invalid_annotations_are_told(void **state)
{
    (void)state;
    static const char *const bad[] = {
        NAMED("\"string\"", "\"\""),
        NAMED("\"string\"", "1"),
        NAMED("\"string\"", "null"),
        NAMED("\"string\"", "\"a b\""),
        NAMED("\"string\"", "\"a:b\""),
        NAMED("\"string\"", "\"a\\u0000\""),
        NAMED("\"string\"", "\"a\\r\\nb\""),
        NAMED("\"string\"", "\"R\xc3\xa9gion\""),
        NAMED("\"string\"", "\"oK\""),
        NAMED("\"string\"",
              "\"12345678901234567890123456789012345678901234567890123456789012345\""),
        NAMED("\"number\"", "\"A\""),
        NAMED("\"object\"", "\"A\""),
        NAMED("\"array\"", "\"A\""),
        NAMED("\"null\"", "\"A\""),
        NAMED("[\"string\"]", "\"A\""),
        PROPERTY("{\"x-mcp-header\":\"A\"}"),
        PROPERTY("{\"type\":\"array\",\"items\":" INNER "}"),
        PROPERTY("{\"anyOf\":[true," INNER "]}"),
        PROPERTY("{\"if\":{\"properties\":{\"b\":" INNER "}}}"),
        "{\"$defs\":{\"d\":" INNER "}}",
        "{\"patternProperties\":{\".*\":" INNER "}}",
        "{\"properties\":{\"a\\u0000b\":" INNER "}}",
        INNER,
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct catalog_entry e;
        struct err why = {0};
        if (read_schema(bad[i], &e, &why))
            fail_msg("taken: %s", bad[i]);
        assert_non_null(strstr(why.msg, "x-mcp-header"));
        assert_null(e.params);
        assert_int_equal(e.param_count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_found_along_properties),
        cmocka_unit_test(invalid_annotations_are_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
