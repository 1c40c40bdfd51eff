/* The strings of JSON: unescaping, comparing, duplicates, writing. */
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static void parse_ok(struct json_doc *d, const char *text)
{
    struct err e = {0};
    if (!json_parse(d, text, strlen(text), &e))
        fail_msg("%s: %s", text, e.msg);
}

static const struct {
    const char *text;
    struct str value;
} strings[] = {
    {"\"\"", STR("")},
    {"\"abc\"", STR("abc")},
    {"\"\xC3\xA9\xF0\x9F\x98\x80\"", STR("\xC3\xA9\xF0\x9F\x98\x80")},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", STR("\"\\/\b\f\n\r\t")},
    {"\"a\\nb\\nc\"", STR("a\nb\nc")},
    {"\"\\u0000\"", STR("\0")},
    {"\"x\\u0000y\"", STR("x\0y")},
    {"\"\\u0041\\u007f\"", STR("A\x7F")},
    {"\"\\u0080\\u07FF\"", STR("\xC2\x80\xDF\xBF")},
    {"\"\\u0800\\uffff\"", STR("\xE0\xA0\x80\xEF\xBF\xBF")},
    {"\"\\ud7ff\\ue000\"", STR("\xED\x9F\xBF\xEE\x80\x80")},
    {"\"\\ud800\\udc00\"", STR("\xF0\x90\x80\x80")},
    {"\"\\uDBFF\\uDFFF\"", STR("\xF4\x8F\xBF\xBF")},
    {"\"\\ud83d\\ude00!\"", STR("\xF0\x9F\x98\x80!")},
    {"\"\\ud800\"", STR("\xEF\xBF\xBD")},
    {"\"\\udc00\"", STR("\xEF\xBF\xBD")},
    {"\"\\ud800x\"", STR("\xEF\xBF\xBDx")},
    {"\"\\ud800\\n\"", STR("\xEF\xBF\xBD\n")},
    {"\"\\ud800\\u0041\"", STR("\xEF\xBF\xBD"
                               "A")},
    {"\"\\ud800\\ud800\\udc00\"", STR("\xEF\xBF\xBD\xF0\x90\x80\x80")},
    {"\"\\udc00\\udc01\"", STR("\xEF\xBF\xBD\xEF\xBF\xBD")},
    {"\"\\udc00\\ud800\"", STR("\xEF\xBF\xBD\xEF\xBF\xBD")},
    {"\"\\\\u0041\"", STR("\\u0041")},
};
enum { N_STRINGS = sizeof strings / sizeof strings[0] };

static void test_strings_are_unescaped(void **state)
{
    (void)state;
    struct json_doc d = {0};
    for (size_t i = 0; i < N_STRINGS; i++) {
        struct arena a = {0};
        parse_ok(&d, strings[i].text);
        struct str got = json_str(&d, 0, &a);
        if (!str_eq(got, strings[i].value))
            fail_msg("%s became \"%.*s\"", strings[i].text, STR_FMT(got));
        arena_fini(&a);
    }
    json_fini(&d);
}

static void test_plain_strings_are_borrowed(void **state)
{
    (void)state;
    struct json_doc d = {0};
    struct arena a = {0};
    parse_ok(&d, "[\"plain\", 1]");
    assert_ptr_equal(json_str(&d, 1, &a).p, d.text + 2);
    assert_int_equal(a.total_bytes, 0);
    assert_int_equal(json_str(&d, 2, &a).n, 0);
    assert_int_equal(json_str(&d, JSON_NONE, &a).n, 0);
    arena_fini(&a);
    json_fini(&d);
}

static void test_equality_is_that_of_the_unescaped_bytes(void **state)
{
    (void)state;
    struct json_doc d = {0};
    for (size_t i = 0; i < N_STRINGS; i++) {
        parse_ok(&d, strings[i].text);
        for (size_t k = 0; k < N_STRINGS; k++)
            assert_int_equal(json_str_eq(&d, 0, strings[k].value),
                             str_eq(strings[i].value, strings[k].value));
        struct str shorter = strings[i].value;
        if (shorter.n) {
            shorter.n--;
            assert_false(json_str_eq(&d, 0, shorter));
        }
    }
    parse_ok(&d, "12");
    assert_false(json_str_eq(&d, 0, STR("12")));
    assert_false(json_str_eq(&d, 0, STR("")));
    assert_false(json_str_eq(&d, JSON_NONE, STR("")));
    json_fini(&d);
}

static void test_duplicates_are_found_in_small_objects(void **state)
{
    (void)state;
    const struct {
        const char *text;
        bool twice;
    } objects[] = {
        {"{}", false},
        {"{\"a\":1}", false},
        {"{\"a\":1,\"b\":1}", false},
        {"{\"a\":1,\"a\":1}", true},
        {"{\"a\":1,\"b\":2,\"c\":3,\"b\":4}", true},
        {"{\"a\":1,\"\\u0061\":2}", true},
        {"{\"\\u0061\":1,\"\\u0061\":2}", true},
        {"{\"a\":1,\"A\":2}", false},
        {"{\"\":1,\"\":2}", true},
        {"{\"a\":{\"b\":1},\"b\":2}", false},
        {"{\"a\":{\"b\":1,\"b\":2}}", false},
        {"{\"a\\u0000\":1,\"a\":2}", false},
        {"[\"a\",\"a\"]", false},
    };
    struct json_doc d = {0};
    for (size_t i = 0; i < sizeof objects / sizeof objects[0]; i++) {
        parse_ok(&d, objects[i].text);
        if (json_has_duplicates(&d, 0) != objects[i].twice)
            fail_msg("%s", objects[i].text);
    }
    assert_false(json_has_duplicates(&d, JSON_NONE));
    json_fini(&d);
}

/* An object of n members k0, k1, …; the last one is called as member same, with an escape. */
static void many_members(struct buf *b, int n, int same)
{
    b->n = 0;
    buf_addc(b, '{');
    for (int i = 0; i < n - 1; i++)
        buf_addf(b, "\"k%d\":%d,", i, i);
    buf_addf(b, "\"\\u006B%d\":0}", same);
    buf_addc(b, '\0');
}

static void test_duplicates_are_found_in_objects_of_any_size(void **state)
{
    (void)state;
    const int sizes[] = {15, 16, 17, 18, 31, 32, 33, 100, 1000, 20000};
    struct json_doc d = {0};
    struct buf b = {0};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int n = sizes[i];
        const int same[] = {0, n / 2, n - 2};
        many_members(&b, n, n - 1);
        parse_ok(&d, b.p);
        assert_false(json_has_duplicates(&d, 0));
        for (int k = 0; k < 3; k++) {
            many_members(&b, n, same[k]);
            parse_ok(&d, b.p);
            assert_true(json_has_duplicates(&d, 0));
        }
    }
    buf_fini(&b);
    json_fini(&d);
}

static void assert_writes(struct str s, const char *want)
{
    struct buf b = {0};
    json_write_str(&b, s);
    if (!str_eq(buf_str(&b), str_of(want)))
        fail_msg("wrote %.*s, not %s", STR_FMT(buf_str(&b)), want);
    buf_fini(&b);
}

static void test_writing_escapes_what_must_be(void **state)
{
    (void)state;
    assert_writes((struct str){0}, "\"\"");
    assert_writes(STR("plain / 'text' \x7F"), "\"plain / 'text' \x7F\"");
    assert_writes(STR("\"\\"), "\"\\\"\\\\\"");
    assert_writes(STR("\b\f\n\r\t"), "\"\\b\\f\\n\\r\\t\"");
    assert_writes(STR("\0\x01\x1F"), "\"\\u0000\\u0001\\u001f\"");
    assert_writes(STR("\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80"),
                  "\"\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80\"");
    assert_writes(STR("\xE2\x80\xA7\xE2\x80\xA8\xE2\x80\xA9\xE2\x80\xAA"),
                  "\"\xE2\x80\xA7\\u2028\\u2029\xE2\x80\xAA\"");
}

static void test_writing_replaces_what_is_not_utf8(void **state)
{
    (void)state;
#define R "\xEF\xBF\xBD"
    assert_writes(STR("\x80"), "\"" R "\"");
    assert_writes(STR("a\xFF"
                      "b"),
                  "\"a" R "b\"");
    assert_writes(STR("\xC0\xAF"), "\"" R R "\"");
    assert_writes(STR("\xE2\x82"), "\"" R "\"");
    assert_writes(STR("\xE2\x82x"), "\"" R "x\"");
    assert_writes(STR("\xF0\x9F\x98"), "\"" R "\"");
    assert_writes(STR("\xE2\xC3\xA9"), "\"" R "\xC3\xA9\"");
    assert_writes(STR("\xED\xA0\x80"), "\"" R R R "\"");
    assert_writes(STR("\xF4\x90\x80\x80"), "\"" R R R R "\"");
#undef R
}

static void assert_round_trip(const char *bytes, size_t n)
{
    struct json_doc d = {0};
    struct buf b = {0};
    struct arena a = {0};
    struct err e = {0};
    json_write_str(&b, (struct str){bytes, n});
    if (!json_parse(&d, b.p, b.n, &e))
        fail_msg("%.*s: %s", STR_FMT(buf_str(&b)), e.msg);
    assert_true(str_eq(json_str(&d, 0, &a), (struct str){bytes, n}));
    assert_true(json_str_eq(&d, 0, (struct str){bytes, n}));
    arena_fini(&a);
    buf_fini(&b);
    json_fini(&d);
}

static void test_what_is_written_reads_back_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_STRINGS; i++)
        assert_round_trip(strings[i].value.p, strings[i].value.n);
    char ascii[128];
    for (int c = 0; c < 128; c++)
        ascii[c] = (char)c;
    /* every character at every place in a vector of sixteen bytes */
    for (size_t from = 0; from < 32; from++)
        assert_round_trip(ascii + from, sizeof ascii - from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strings_are_unescaped),
        cmocka_unit_test(test_plain_strings_are_borrowed),
        cmocka_unit_test(test_equality_is_that_of_the_unescaped_bytes),
        cmocka_unit_test(test_duplicates_are_found_in_small_objects),
        cmocka_unit_test(test_duplicates_are_found_in_objects_of_any_size),
        cmocka_unit_test(test_writing_escapes_what_must_be),
        cmocka_unit_test(test_writing_replaces_what_is_not_utf8),
        cmocka_unit_test(test_what_is_written_reads_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
