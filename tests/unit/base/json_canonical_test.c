/* Canonical JSON: the examples of RFC 8785, and what the lossless form keeps apart. */
#include "base/json_canonical.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static bool canonical(const char *text, enum json_canonical_form form, struct buf *out)
{
    struct json_doc d = {0};
    struct err e = {0};
    if (!json_parse(&d, text, strlen(text), &e))
        fail_msg("%s: %s", text, e.msg);
    bool ok = json_canonical(&d, 0, form, out);
    json_fini(&d);
    return ok;
}

static void assert_form(const char *text, enum json_canonical_form form, const char *want)
{
    struct buf b = {0};
    if (!canonical(text, form, &b) || !str_eq(buf_str(&b), str_of(want)))
        fail_msg("%s became %.*s, not %s", text, STR_FMT(buf_str(&b)), want);
    buf_fini(&b);
}

static void assert_canonical(const char *text, const char *want)
{
    assert_form(text, JSON_RFC_8785, want);
}

/* RFC 8785 appendix B: the bits of a double, and its text. */
static void doubles_are_written_as_ecmascript_does(void **state)
{
    (void)state;
    static const struct {
        uint64_t bits;
        const char *want;
    } rows[] = {
        {0x0000000000000000, "0"},
        {0x8000000000000000, "0"},
        {0x0000000000000001, "5e-324"},
        {0x8000000000000001, "-5e-324"},
        {0x7fefffffffffffff, "1.7976931348623157e+308"},
        {0xffefffffffffffff, "-1.7976931348623157e+308"},
        {0x4340000000000000, "9007199254740992"},
        {0xc340000000000000, "-9007199254740992"},
        {0x4430000000000000, "295147905179352830000"},
        {0x44b52d02c7e14af5, "9.999999999999997e+22"},
        {0x44b52d02c7e14af6, "1e+23"},
        {0x44b52d02c7e14af7, "1.0000000000000001e+23"},
        {0x444b1ae4d6e2ef4e, "999999999999999700000"},
        {0x444b1ae4d6e2ef4f, "999999999999999900000"},
        {0x444b1ae4d6e2ef50, "1e+21"},
        {0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
        {0x3eb0c6f7a0b5ed8d, "0.000001"},
        {0x41b3de4355555553, "333333333.3333332"},
        {0x41b3de4355555554, "333333333.33333325"},
        {0x41b3de4355555555, "333333333.3333333"},
        {0x41b3de4355555556, "333333333.3333334"},
        {0x41b3de4355555557, "333333333.33333343"},
        {0xbecbf647612f3696, "-0.0000033333333333333333"},
        {0x43143ff3c1cb0959, "1424953923781206.2"},
        {0x3d30000000000000, "5.684341886080802e-14"}, /* shorter upwards: a power of two */
        {0x3fb999999999999a, "0.1"},
        {0x3ff0000000000000, "1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct buf b = {0};
        double v;
        memcpy(&v, &rows[i].bits, sizeof v);
        json_canonical_double(v, &b);
        if (!str_eq(buf_str(&b), str_of(rows[i].want)))
            fail_msg("got %.*s, want %s", STR_FMT(buf_str(&b)), rows[i].want);
        buf_fini(&b);
    }
}

/* RFC 8785 §3.2.2 and §3.2.4 */
static void the_example_of_the_rfc(void **state)
{
    (void)state;
    assert_canonical("{\n  \"numbers\": [333333333.33333329, 1E30, 4.50, 2e-3, "
                     "0.000000000000000000000000001],\n  \"string\": "
                     "\"\\u20ac$\\u000F\\u000aA'\\u0042\\u0022\\u005c\\\\\\\"\\/\",\n  "
                     "\"literals\": [null, true, false]\n}",
                     "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,"
                     "0.002,1e-27],\"string\":\"\xe2\x82\xac$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}");
}

/* RFC 8785 §3.2.3 */
static void members_are_sorted_by_utf16_units(void **state)
{
    (void)state;
    assert_canonical(
        "{\"\\u20ac\":\"Euro Sign\",\"\\r\":\"Carriage Return\",\"\\ufb33\":\"Hebrew "
        "Letter Dalet With Dagesh\",\"1\":\"One\",\"\\ud83d\\ude00\":\"Emoji: Grinning "
        "Face\",\"\\u0080\":\"Control\",\"\\u00f6\":\"Latin Small Letter O With "
        "Diaeresis\"}",
        "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\xc2\x80\":\"Control\","
        "\"\xc3\xb6\":\"Latin Small Letter O With Diaeresis\",\"\xe2\x82\xac\":\"Euro "
        "Sign\",\"\xf0\x9f\x98\x80\":\"Emoji: Grinning Face\",\"\xef\xac\xb3\":\"Hebrew "
        "Letter Dalet With Dagesh\"}");
    assert_canonical(
        " { \"b\" : { \"d\" : 1 , \"c\" : [ ] } , \"\" : 0 , \"a\\u0062\" : 2, \"a\": { } } ",
        "{\"\":0,\"a\":{},\"ab\":2,\"b\":{\"c\":[],\"d\":1}}");
}

static void what_means_the_same_becomes_the_same(void **state)
{
    (void)state;
    static const char *const same[][2] = {
        {"1.0", "1"},   {"1e2", "100"},           {"-0", "0"},          {"0.10", "0.1"},
        {"10E-1", "1"}, {"\"\\u0041\"", "\"A\""}, {"\"\\/\"", "\"/\""}, {"[1,\t2 ]", "[1,2]"},
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        assert_canonical(same[i][0], same[i][1]);
}

static void lossless_keeps_apart_what_a_double_would_join(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"9007199254740993", "9007199254740993"}, /* a double: …992 */
        {"9007199254740992", "9007199254740992"},
        {"12345678901234567890", "12345678901234567890"},
        {"333333333.33333329", "333333333.33333329"},
        {"0.1000000000000000055511151231257827", "0.1000000000000000055511151231257827"},
        {"1e400", "1e400"},
        {"-1e-400", "-1e-400"},
        {"-0", "-0"},
        {"0.0", "0"},
        {"0e5", "0"},
        {"1.50", "1.5"},
        {"0.1", "0.1"},
        {"1e21", "1e+21"},
        {"100e-2", "1"},
        {"0.00012300", "0.000123"},
        {"1e999999999999", "1e999999999999"},
        {"5e-324", "5e-324"},
        {"3e-324", "3e-324"}, /* a double: 5e-324 */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_form(rows[i].text, JSON_LOSSLESS, rows[i].want);
}

static void what_is_ambiguous_has_no_canonical_text(void **state)
{
    (void)state;
    static const char *const none[] = {
        "{\"a\":1,\"a\":1}",   "[{\"a\":1,\"\\u0061\":2}]", "\"\\ud800\"",
        "\"\\udc00\\ud800\"",  "\"\\ud800\\u0041\"",        "{\"\\udfff\":1}",
        "\"\\ud800\\\\dc00\"",
    };
    struct buf b = {0};
    buf_adds(&b, "x");
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_false(canonical(none[i], JSON_RFC_8785, &b));
        assert_false(canonical(none[i], JSON_LOSSLESS, &b));
    }
    assert_false(canonical("[1,1e400]", JSON_RFC_8785, &b));
    assert_int_equal(b.n, 1);
    buf_fini(&b);
}

static void a_digest_takes_what_has_no_canonical_text_as_it_is(void **state)
{
    (void)state;
    static const char text[] = "[{\"a\":1, \"a\":1.0}, {\"b\":2, \"a\":1.0}]";
    struct json_doc d = {0};
    struct err e;
    struct buf b = {0};
    assert_true(json_parse(&d, text, sizeof text - 1, &e));
    json_canonical_or_raw(&d, JSON_NONE, &b);
    assert_int_equal(b.n, 0);
    json_canonical_or_raw(&d, 1, &b);
    json_canonical_or_raw(&d, json_next(&d, 0, 1), &b);
    assert_true(str_eq(buf_str(&b), STR("{\"a\":1, \"a\":1.0}{\"a\":1,\"b\":2}")));
    buf_fini(&b);
    json_fini(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(doubles_are_written_as_ecmascript_does),
        cmocka_unit_test(the_example_of_the_rfc),
        cmocka_unit_test(members_are_sorted_by_utf16_units),
        cmocka_unit_test(what_means_the_same_becomes_the_same),
        cmocka_unit_test(lossless_keeps_apart_what_a_double_would_join),
        cmocka_unit_test(what_is_ambiguous_has_no_canonical_text),
        cmocka_unit_test(a_digest_takes_what_has_no_canonical_text_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
