/* One text for all that means the same. */
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void check(const char *text, const char *want)
{
    struct json_doc d = {0};
    struct buf out = {0};
    assert_true(json_parse(&d, text, strlen(text), NULL));
    json_canonical(&d, 0, &out);
    buf_addc(&out, '\0');
    assert_string_equal(out.p, want);
    buf_fini(&out);
    json_fini(&d);
}

static void spelling_does_not_matter(void **state)
{
    (void)state;
    check(" { \"b\" : 1 , \"a\" : [ true , null ] } ", "{\"a\":[true,null],\"b\":1}");
    check("{\"\\u0061\":\"\\u00e4\\/\"}", "{\"a\":\"\xc3\xa4/\"}");
    check("[1.0, 1e0, 10E-1, -0.0, 0]", "[1,1,1,0,0]");
    check("[0.1, 1.5e3]", "[0.10000000000000001,1500]");
    check("{}", "{}");
    check("[]", "[]");
}

static void what_differs_stays_different(void **state)
{
    (void)state;
    check("[9007199254740993]", "[9007199254740993]");
    check("[1e400]", "[1e400]");
    check("{\"a\":1,\"a\":1}", "{\"a\":1,\"a\":1}");
    check("[\"1\",1]", "[\"1\",1]");
}

static void nothing_for_no_token(void **state)
{
    (void)state;
    struct json_doc d = {0};
    struct buf out = {0};
    json_canonical(&d, JSON_NONE, &out);
    assert_int_equal(out.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spelling_does_not_matter),
        cmocka_unit_test(what_differs_stays_different),
        cmocka_unit_test(nothing_for_no_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
