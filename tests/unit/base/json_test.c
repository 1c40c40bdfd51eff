/* The scanner: which texts it takes, what tokens it makes of them, and that neither depends on
 * where the text was cut. */
#include "base/json.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct text_case {
    enum err_kind kind;
    const char *what;
    const char *text;
    size_t len;
};

#define Y(what, text)    {ERR_NONE, what, text, sizeof(text) - 1},
#define N(what, text)    {ERR_BAD_REQUEST, what, text, sizeof(text) - 1},
#define DEEP(what, text) {ERR_TOO_LARGE, what, text, sizeof(text) - 1},
static const struct text_case cases[] = {
#include "tests/unit/base/json_cases.def"
};
enum { N_CASES = sizeof cases / sizeof cases[0] };

/* A copy in a block of exactly its size, so that a sanitizer sees a read behind it. */
static char *exact(const char *p, size_t n)
{
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n)
        memcpy(copy, p, n);
    return copy;
}

static void parse_ok(struct json_doc *d, const char *text)
{
    struct err e = {0};
    if (!json_parse(d, text, strlen(text), &e))
        fail_msg("%s: %s", text, e.msg);
}

static void assert_slice(struct str got, const char *want)
{
    if (!str_eq(got, str_of(want)))
        fail_msg("got \"%.*s\", wanted \"%s\"", STR_FMT(got), want);
}

static void test_every_text_gets_its_verdict(void **state)
{
    (void)state;
    struct json_doc d = {0};
    unsigned yes = 0, no = 0, wrong = 0;
    for (size_t i = 0; i < N_CASES; i++) {
        struct err e = {0};
        char *text = exact(cases[i].text, cases[i].len);
        bool ok = json_parse(&d, text, cases[i].len, &e);
        if (e.kind != cases[i].kind || ok != (cases[i].kind == ERR_NONE)) {
            print_error("%s: %s\n", cases[i].what, ok ? "taken" : e.msg);
            wrong++;
        }
        yes += cases[i].kind == ERR_NONE;
        no += cases[i].kind == ERR_BAD_REQUEST;
        free(text);
    }
    json_fini(&d);
    assert_int_equal(wrong, 0);
    assert_true(yes >= 80 && no >= 150);
}

/* Feeds the first cut bytes, or byte after byte when step is set, each time at another address. */
static bool feed_cut(struct json_doc *d, const struct text_case *c, size_t cut, bool step,
                     struct err *e)
{
    char *seen = NULL;
    bool ok = true;
    json_reset(d);
    for (size_t n = cut; ok && n < c->len; n = step ? n + 1 : c->len) {
        char *now = exact(c->text, n);
        free(seen);
        seen = now;
        ok = json_feed(d, seen, n, false, e);
    }
    free(seen);
    seen = exact(c->text, c->len);
    if (ok)
        ok = json_feed(d, seen, c->len, true, e);
    free(seen);
    return ok;
}

static void assert_same_tokens(const struct json_doc *a, const struct json_doc *b, const char *what)
{
    if (a->n != b->n)
        fail_msg("%s: %u tokens, then %u", what, a->n, b->n);
    for (uint32_t i = 0; i < a->n; i++) {
        const struct json_tok *x = &a->tok[i], *y = &b->tok[i];
        if (x->off != y->off || x->len != y->len || x->next != y->next || x->count != y->count ||
            x->type != y->type || x->escaped != y->escaped)
            fail_msg("%s: token %u differs", what, i);
    }
}

static void check_cut(const struct text_case *c, const struct json_doc *whole, const struct err *we,
                      size_t cut, bool step)
{
    struct json_doc d = {0};
    struct err e = {0};
    bool ok = feed_cut(&d, c, cut, step, &e);
    if (ok != (we->kind == ERR_NONE) || e.kind != we->kind || strcmp(e.msg, we->msg) != 0)
        fail_msg("%s, cut at %zu: \"%s\", whole: \"%s\"", c->what, cut, e.msg, we->msg);
    if (ok)
        assert_same_tokens(&d, whole, c->what);
    json_fini(&d);
}

static void test_no_cut_changes_verdict_message_or_tokens(void **state)
{
    (void)state;
    struct json_doc whole = {0};
    for (size_t i = 0; i < N_CASES; i++) {
        struct err e = {0};
        (void)!json_parse(&whole, cases[i].text, cases[i].len, &e);
        for (size_t cut = 0; cut <= cases[i].len; cut++)
            check_cut(&cases[i], &whole, &e, cut, false);
        check_cut(&cases[i], &whole, &e, 0, true);
    }
    json_fini(&whole);
}

static void test_a_wrong_byte_is_refused_before_the_text_ends(void **state)
{
    (void)state;
    const char *const starts[] = {"[nux", "{\"a\":\"\\x", "[\"\\u00g", "[\"\xE0\x80", "{1", "[01"};
    struct json_doc d = {0};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        struct err e = {0};
        json_reset(&d);
        assert_false(json_feed(&d, starts[i], strlen(starts[i]), false, &e));
        assert_int_equal(e.kind, ERR_BAD_REQUEST);
        /* and stays refused */
        assert_false(json_feed(&d, starts[i], strlen(starts[i]), true, &e));
    }
    json_fini(&d);
}

static void test_an_unfinished_text_can_be_looked_at(void **state)
{
    (void)state;
    const char *text = "{\"method\":\"tools/call\",\"params\":{\"name\":\"x";
    struct json_doc d = {0};
    struct arena a = {0};
    json_reset(&d);
    assert_true(json_feed(&d, text, strlen(text), false, NULL));
    assert_int_equal(json_get(&d, 0, STR("method")), JSON_NONE);
    for (uint32_t i = 0; i < d.n; i++) {
        assert_true(json_raw(&d, i).n <= strlen(text));
        (void)json_first(&d, i);
        (void)json_str(&d, i, &a);
    }
    arena_fini(&a);
    json_fini(&d);
}

static void test_the_error_says_where_and_what(void **state)
{
    (void)state;
    const struct {
        const char *text, *msg;
    } wrong[] = {
        {"[1,]", "invalid JSON at byte 3: expected a value"},
        {"{\"a\" 1}", "invalid JSON at byte 5: expected ':'"},
        {"{\"a\":1]", "invalid JSON at byte 6: expected ',' or '}'"},
        {"[1}", "invalid JSON at byte 2: expected ',' or ']'"},
        {"{1", "invalid JSON at byte 1: expected a member name"},
        {"[\"abc\xFF\"]", "invalid JSON at byte 5: expected UTF-8"},
        {"[\"abc\n\"]", "invalid JSON at byte 5: expected no control character in a string"},
        {"[\"abc\\x\"]", "invalid JSON at byte 5: expected an escape"},
        {"[1.]", "invalid JSON at byte 3: expected a digit"},
        {"[nul]", "invalid JSON at byte 1: expected null"},
        {"[] []", "invalid JSON at byte 3: expected nothing more"},
        {"[", "invalid JSON at byte 1: expected more, not the end of the text"},
    };
    struct json_doc d = {0};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct err e = {0};
        assert_false(json_parse(&d, wrong[i].text, strlen(wrong[i].text), &e));
        assert_string_equal(e.msg, wrong[i].msg);
    }
    json_fini(&d);
}

static void test_tokens_have_spans_counts_and_next(void **state)
{
    (void)state;
    const struct json_tok want[] = {
        {0, 43, 12, 3, JSON_OBJECT, 0}, {2, 3, 2, 0, JSON_STRING, 0},
        {6, 17, 9, 4, JSON_ARRAY, 0},   {7, 1, 4, 0, JSON_NUMBER, 0},
        {9, 2, 5, 0, JSON_OBJECT, 0},   {12, 2, 6, 0, JSON_ARRAY, 0},
        {15, 7, 9, 1, JSON_OBJECT, 0},  {16, 1 + 2, 8, 0, JSON_STRING, 0},
        {20, 1, 9, 0, JSON_NUMBER, 0},
    };
    struct json_doc d = {0};
    parse_ok(&d, "{ \"a\":[1,{},[],{\"b\":2}],\"c\\n\": true, \"d\":\"\"}");
    assert_int_equal(d.n, 13);
    assert_int_equal(d.tok[0].count, 3);
    assert_int_equal(d.tok[0].next, 13);
    for (size_t i = 1; i < sizeof want / sizeof want[0]; i++) {
        assert_int_equal(d.tok[i].off, want[i].off);
        assert_int_equal(d.tok[i].len, want[i].len);
        assert_int_equal(d.tok[i].next, want[i].next);
        assert_int_equal(d.tok[i].count, want[i].count);
        assert_int_equal(d.tok[i].type, want[i].type);
    }
    assert_slice(json_raw(&d, 9), "\"c\\n\"");
    assert_true(d.tok[9].escaped);
    assert_slice(json_raw(&d, 10), "true");
    assert_slice(json_raw(&d, 12), "\"\"");
    assert_slice(json_raw(&d, JSON_NONE), "");
    json_fini(&d);
}

static void test_numbers_keep_every_byte(void **state)
{
    (void)state;
    const char *const numbers[] = {
        "0",    "-0",     "1",    "1.0", "1.00", "1e5",    "1E5",   "1e+05",
        "1E-0", "0.1e01", "-0.0", "100", "1e99", "1e9999", "-1E-9", "18446744073709551616",
    };
    struct json_doc d = {0};
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        char text[64];
        int n = snprintf(text, sizeof text, "{\"n\": %s }", numbers[i]);
        assert_true(n > 0);
        parse_ok(&d, text);
        assert_slice(json_raw(&d, json_get(&d, 0, STR("n"))), numbers[i]);
    }
    json_fini(&d);
}

static void test_depth_may_be_lowered_but_not_over_the_stack(void **state)
{
    (void)state;
    char deep[200];
    struct err e = {0};
    struct json_doc d = {.limits = {.max_depth = 2}};
    parse_ok(&d, "[{}]");
    assert_false(json_parse(&d, "[[[]]]", 6, &e));
    assert_int_equal(e.kind, ERR_TOO_LARGE);
    d.limits.max_depth = 1000;
    memset(deep, '[', sizeof deep);
    assert_false(json_parse(&d, deep, sizeof deep, &e));
    assert_int_equal(e.kind, ERR_TOO_LARGE);
    json_fini(&d);
}

static void test_tokens_are_capped_also_when_memory_is_there(void **state)
{
    (void)state;
    struct err e = {0};
    struct json_doc fresh = {.limits = {.max_tokens = 5}}, d = {0};
    assert_false(json_parse(&fresh, "[1,2,3,4,5]", 11, &e));
    assert_int_equal(e.kind, ERR_TOO_LARGE);
    json_fini(&fresh);
    parse_ok(&d, "[1,2,3,4,5,6,7,8]");
    uint32_t cap = d.cap;
    d.limits.max_tokens = 5;
    parse_ok(&d, "[1,2,3,4]");
    assert_false(json_parse(&d, "[1,2,3,4,5]", 11, &e));
    assert_int_equal(e.kind, ERR_TOO_LARGE);
    parse_ok(&d, "{\"a\":1,\"b\":null}");
    assert_int_equal(d.n, 5);
    assert_int_equal(d.cap, cap);
    json_fini(&d);
}

static void test_the_default_cap_is_100000_tokens(void **state)
{
    (void)state;
    struct err e = {0};
    struct json_doc d = {0};
    struct buf b = {0};
    buf_addc(&b, '[');
    for (int i = 0; i < 99999; i++)
        buf_adds(&b, i ? ",0" : "0");
    buf_addc(&b, ']');
    assert_true(json_parse(&d, b.p, b.n, &e));
    assert_int_equal(d.n, 100000);
    assert_int_equal(d.tok[0].count, 99999);
    b.p[b.n - 1] = ',';
    buf_adds(&b, "0]");
    assert_false(json_parse(&d, b.p, b.n, &e));
    assert_int_equal(e.kind, ERR_TOO_LARGE);
    buf_fini(&b);
    json_fini(&d);
}

static void test_a_text_of_four_gibibytes_is_refused_unread(void **state)
{
    (void)state;
    struct err e = {0};
    struct json_doc d = {0};
    assert_false(json_parse(&d, "1", UINT32_MAX, &e));
    assert_int_equal(e.kind, ERR_TOO_LARGE);
    json_fini(&d);
}

static void test_reset_keeps_memory_and_limits(void **state)
{
    (void)state;
    struct json_doc d = {.limits = {.max_depth = 3}};
    parse_ok(&d, "[1]");
    const struct json_tok *tok = d.tok;
    json_reset(&d);
    assert_ptr_equal(d.tok, tok);
    assert_int_equal(d.limits.max_depth, 3);
    assert_int_equal(d.n, 0);
    parse_ok(&d, "[[[2]]]");
    assert_int_equal(d.n, 4);
    json_fini(&d);
    assert_null(d.tok);
}

static void test_get_finds_members_by_unescaped_name(void **state)
{
    (void)state;
    struct json_doc d = {0};
    parse_ok(&d, "{\"ab\":1,\"\\u0061b\":2,\"n\\u0000\":3,\"o\":{\"ab\":4},\"\":5}");
    assert_slice(json_raw(&d, json_get(&d, 0, STR("ab"))), "1");
    assert_slice(json_raw(&d, json_get(&d, 0, STR("n\0"))), "3");
    assert_slice(json_raw(&d, json_get(&d, 0, STR(""))), "5");
    assert_int_equal(json_get(&d, 0, STR("a")), JSON_NONE);
    assert_int_equal(json_get(&d, 0, STR("abc")), JSON_NONE);
    assert_int_equal(json_get(&d, JSON_NONE, STR("ab")), JSON_NONE);
    assert_int_equal(json_get(&d, 1, STR("ab")), JSON_NONE);
    assert_slice(json_raw(&d, json_path(&d, 0, (const char *const[]){"o", "ab", NULL})), "4");
    assert_int_equal(json_path(&d, 0, (const char *const[]){"ab", "x", NULL}), JSON_NONE);
    assert_int_equal(json_path(&d, 0, (const char *const[]){NULL}), 0);
    json_fini(&d);
}

static void test_walking_steps_over_subtrees(void **state)
{
    (void)state;
    struct json_doc d = {0};
    struct buf seen = {0};
    parse_ok(&d, "{\"a\":[1,[2,3],{\"x\":4},5],\"b\":{},\"c\":[]}");
    for (uint32_t k = json_first(&d, 0); k != JSON_NONE; k = json_next(&d, 0, k))
        buf_add_str(&seen, json_raw(&d, k));
    uint32_t arr = json_get(&d, 0, STR("a"));
    for (uint32_t k = json_first(&d, arr); k != JSON_NONE; k = json_next(&d, arr, k))
        buf_add_str(&seen, json_raw(&d, k));
    assert_slice(buf_str(&seen), "\"a\"\"b\"\"c\"1[2,3]{\"x\":4}5");
    assert_int_equal(json_first(&d, json_get(&d, 0, STR("b"))), JSON_NONE);
    assert_int_equal(json_first(&d, json_get(&d, 0, STR("c"))), JSON_NONE);
    assert_int_equal(json_first(&d, 1), JSON_NONE);
    assert_int_equal(json_first(&d, JSON_NONE), JSON_NONE);
    buf_fini(&seen);
    json_fini(&d);
}

static void test_types_are_told_apart(void **state)
{
    (void)state;
    struct json_doc d = {0};
    parse_ok(&d, "[null,true,false,0,\"\",[],{}]");
    for (uint32_t i = JSON_NULL; i <= JSON_OBJECT; i++) {
        assert_int_equal(json_type(&d, i + 1), i);
        assert_true(json_is(&d, i + 1, (enum json_type)i));
        assert_false(json_is(&d, i + 1, (enum json_type)((i + 1) % 7)));
    }
    assert_false(json_is(&d, JSON_NONE, JSON_NULL));
    json_fini(&d);
}

static void test_integers_are_read_within_int64_only(void **state)
{
    (void)state;
    const struct {
        const char *text;
        bool ok;
        int64_t value;
    } ints[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"42", true, 42},
        {"-42", true, -42},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"-9223372036854775808", true, INT64_MIN},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999999", false, 0},
        {"1.0", false, 0},
        {"1e2", false, 0},
        {"\"1\"", false, 0},
        {"null", false, 0},
    };
    struct json_doc d = {0};
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        int64_t v = 77;
        parse_ok(&d, ints[i].text);
        assert_int_equal(json_int(&d, 0, &v), ints[i].ok);
        assert_true(v == (ints[i].ok ? ints[i].value : 77));
        assert_false(json_int(&d, JSON_NONE, &v));
    }
    json_fini(&d);
}

static void test_doubles_are_read_from_exactly_their_bytes(void **state)
{
    (void)state;
    struct json_doc d = {0};
    struct err e = {0};
    /* no byte follows the number, and another digit follows it */
    char *bare = exact("1.5", 3);
    assert_true(json_parse(&d, bare, 3, &e));
    assert_true(json_double(&d, 0) == 1.5);
    free(bare);
    parse_ok(&d, "[-2.5e3,1e9999,\"7\"]");
    assert_true(json_double(&d, 1) == -2500);
    assert_true(isinf(json_double(&d, 2)));
    assert_true(json_double(&d, 3) == 0);
    assert_true(json_double(&d, JSON_NONE) == 0);
    char digits[300];
    memset(digits, '1', sizeof digits);
    assert_true(json_parse(&d, digits, sizeof digits, &e));
    assert_true(json_double(&d, 0) > 1e299);
    json_fini(&d);
}

static void test_long_strings_and_numbers_continue_where_they_stopped(void **state)
{
    (void)state;
    enum { LEN = 1 << 20, STEP = 4096 };
    const char fill[] = {'x', '7'};
    char *text = malloc(LEN);
    assert_non_null(text);
    for (int k = 0; k < 2; k++) {
        struct json_doc d = {0};
        size_t before = 0;
        memset(text, fill[k], LEN);
        text[0] = text[LEN - 1] = k == 0 ? '"' : '7';
        for (size_t n = STEP; n <= LEN; n += STEP) {
            assert_true(json_feed(&d, text, n, n == LEN, NULL));
            assert_true(d.pos > before && d.pos == n);
            before = d.pos;
        }
        assert_int_equal(d.tok[0].len, LEN);
        json_fini(&d);
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_text_gets_its_verdict),
        cmocka_unit_test(test_no_cut_changes_verdict_message_or_tokens),
        cmocka_unit_test(test_a_wrong_byte_is_refused_before_the_text_ends),
        cmocka_unit_test(test_an_unfinished_text_can_be_looked_at),
        cmocka_unit_test(test_the_error_says_where_and_what),
        cmocka_unit_test(test_tokens_have_spans_counts_and_next),
        cmocka_unit_test(test_numbers_keep_every_byte),
        cmocka_unit_test(test_depth_may_be_lowered_but_not_over_the_stack),
        cmocka_unit_test(test_tokens_are_capped_also_when_memory_is_there),
        cmocka_unit_test(test_the_default_cap_is_100000_tokens),
        cmocka_unit_test(test_a_text_of_four_gibibytes_is_refused_unread),
        cmocka_unit_test(test_reset_keeps_memory_and_limits),
        cmocka_unit_test(test_get_finds_members_by_unescaped_name),
        cmocka_unit_test(test_walking_steps_over_subtrees),
        cmocka_unit_test(test_types_are_told_apart),
        cmocka_unit_test(test_integers_are_read_within_int64_only),
        cmocka_unit_test(test_doubles_are_read_from_exactly_their_bytes),
        cmocka_unit_test(test_long_strings_and_numbers_continue_where_they_stopped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
