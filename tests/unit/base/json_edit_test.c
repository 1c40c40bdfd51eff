/* Edits of JSON: what is not edited stays byte for byte, and the commas are right for every
 * combination of removals and an insert. */
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct json_doc doc;
static struct json_edits edits;

static void start(const char *text)
{
    struct err e = {0};
    edits.n = 0;
    if (!json_parse(&doc, text, strlen(text), &e))
        fail_msg("%s: %s", text, e.msg);
}

static void assert_range_becomes(uint32_t off, uint32_t len, const char *want)
{
    struct buf b = {0};
    json_edit_apply(&edits, &doc, off, len, &b);
    if (!str_eq(buf_str(&b), str_of(want)))
        fail_msg("%s became %.*s, not %s", doc.text, STR_FMT(buf_str(&b)), want);
    buf_fini(&b);
}

static void assert_becomes(const char *want)
{
    assert_range_becomes(0, (uint32_t)doc.len, want);
}

/* The token of a member's name. */
static uint32_t name_of(uint32_t obj, const char *name)
{
    uint32_t value = json_get(&doc, obj, str_of(name));
    assert_true(value != JSON_NONE);
    return value - 1;
}

static void drop(uint32_t obj, const char *name)
{
    json_edit_remove(&edits, &doc, obj, name_of(obj, name));
}

static uint32_t at(const char *name)
{
    return name_of(0, name) + 1;
}

static void test_no_edits_change_nothing(void **state)
{
    (void)state;
    const char *text = " { \"a\" : 1.0 ,\n\"b\":[ 1E5 ] } ";
    start(text);
    assert_becomes(text);
}

static void test_tokens_are_replaced_whatever_their_type(void **state)
{
    (void)state;
    start("{\"id\": 1, \"name\":\"x\" ,\"o\":{\"y\":[1]}, \"n\":null}");
    json_edit_replace(&edits, &doc, at("o"), STR("[]"));
    json_edit_replace(&edits, &doc, at("id"), STR("\"abc\""));
    json_edit_replace(&edits, &doc, at("n"), STR("-0.0"));
    json_edit_replace(&edits, &doc, name_of(0, "name"), STR("\"title\""));
    assert_becomes("{\"id\": \"abc\", \"title\":\"x\" ,\"o\":[], \"n\":-0.0}");
    start("1");
    json_edit_replace(&edits, &doc, 0, STR("{}"));
    assert_becomes("{}");
}

static void test_raw_spans_are_replaced_and_added_in_order_of_adding(void **state)
{
    (void)state;
    start("[1,2]");
    json_edit_add(&edits, 4, 0, STR(",4"));
    json_edit_add(&edits, 1, 1, STR("one"));
    json_edit_add(&edits, 4, 0, STR(",5"));
    json_edit_add(&edits, 1, 0, STR("0,"));
    assert_becomes("[0,one,2,4,5]");
}

static void test_the_first_middle_and_last_member_are_removed(void **state)
{
    (void)state;
    const char *text = "{ \"a\":1 , \"b\":[2] ,\"c\":{} }";
    start(text);
    drop(0, "a");
    assert_becomes("{ \"b\":[2] ,\"c\":{} }");
    start(text);
    drop(0, "b");
    assert_becomes("{ \"a\":1  ,\"c\":{} }");
    start(text);
    drop(0, "c");
    assert_becomes("{ \"a\":1 , \"b\":[2]  }");
    start("{ \"a\" : 1 }");
    drop(0, "a");
    assert_becomes("{  }");
}

static void test_a_removal_given_twice_is_one(void **state)
{
    (void)state;
    const char *const left[] = {"{\"b\":2,\"c\":3}", "{\"a\":1,\"c\":3}", "{\"a\":1,\"b\":2}"};
    const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        start("{\"a\":1,\"b\":2,\"c\":3}");
        drop(0, names[i]);
        drop(0, names[i]);
        assert_becomes(left[i]);
    }
    start("{\"a\":1,\"b\":2}");
    drop(0, "a");
    drop(0, "a");
    json_edit_insert(&edits, &doc, 0, STR("\"x\":0"));
    assert_becomes("{\"x\":0,\"b\":2}");
    start("{\"a\":1}");
    drop(0, "a");
    drop(0, "a");
    json_edit_insert(&edits, &doc, 0, STR("\"x\":0"));
    assert_becomes("{\"x\":0}");
}

static void test_a_duplicate_member_is_removed_alone(void **state)
{
    (void)state;
    start("{\"a\":1,\"b\":2,\"a\":3}");
    drop(0, "a");
    assert_becomes("{\"b\":2,\"a\":3}");
}

/* Five members, of which mask says which go; with an insert or not; added forwards or backwards. */
static void check_combination(unsigned mask, bool insert, bool backwards, bool spaces)
{
    char text[128] = "{", want[128] = "{";
    size_t n = 1, w = 1;
    const char *sep = "";
    if (insert) {
        w += (size_t)snprintf(want + w, sizeof want - w, "\"x\":9");
        sep = ",";
    }
    for (unsigned i = 0; i < 5; i++) {
        n += (size_t)snprintf(text + n, sizeof text - n,
                              spaces ? "%s \"m%u\" : [%u] " : "%s\"m%u\":[%u]", i ? "," : "", i, i);
        if (mask & 1U << i)
            continue;
        w += (size_t)snprintf(want + w, sizeof want - w, "%s\"m%u\":[%u]", sep, i, i);
        sep = ",";
    }
    text[n++] = want[w++] = '}';
    text[n] = want[w] = '\0';
    start(text);
    if (insert && !backwards)
        json_edit_insert(&edits, &doc, 0, STR("\"x\":9"));
    for (unsigned k = 0; k < 5; k++) {
        unsigned i = backwards ? 4 - k : k;
        const char name[] = {'m', (char)('0' + i), '\0'};
        if (mask & 1U << i)
            drop(0, name);
    }
    if (insert && backwards)
        json_edit_insert(&edits, &doc, 0, STR("\"x\":9"));
    struct buf b = {0};
    json_edit_apply(&edits, &doc, 0, (uint32_t)doc.len, &b);
    size_t kept = 0;
    for (size_t i = 0; i < b.n; i++)
        if (b.p[i] != ' ')
            b.p[kept++] = b.p[i];
    b.n = kept;
    if (!str_eq(buf_str(&b), str_of(want)))
        fail_msg("%s without %#x: %.*s, not %s", text, mask, STR_FMT(buf_str(&b)), want);
    buf_fini(&b);
}

static void test_every_combination_of_removals_and_an_insert_has_right_commas(void **state)
{
    (void)state;
    for (unsigned mask = 0; mask < 32; mask++)
        for (unsigned how = 0; how < 8; how++)
            check_combination(mask, how & 1, how & 2, how & 4);
}

static void test_members_are_inserted_into_empty_and_full_objects(void **state)
{
    (void)state;
    start("{}");
    json_edit_insert(&edits, &doc, 0, STR("\"k\":1"));
    assert_becomes("{\"k\":1}");
    start("{ \n }");
    json_edit_insert(&edits, &doc, 0, STR("\"k\":1,\"l\":2"));
    assert_becomes("{\"k\":1,\"l\":2 \n }");
    start("{ \"a\":1}");
    json_edit_insert(&edits, &doc, 0, STR("\"k\":1"));
    assert_becomes("{\"k\":1, \"a\":1}");
    start("{\"a\":1}");
    json_edit_insert(&edits, &doc, 0, STR(""));
    assert_becomes("{\"a\":1}");
}

static void test_inserts_go_into_inner_objects_too(void **state)
{
    (void)state;
    start("{\"params\":{\"_meta\":{},\"name\":\"n\"},\"id\":1}");
    uint32_t params = at("params");
    json_edit_insert(&edits, &doc, params, STR("\"x\":1"));
    json_edit_insert(&edits, &doc, json_get(&doc, params, STR("_meta")), STR("\"y\":2"));
    json_edit_insert(&edits, &doc, 0, STR("\"z\":3"));
    assert_becomes("{\"z\":3,\"params\":{\"x\":1,\"_meta\":{\"y\":2},\"name\":\"n\"},\"id\":1}");
}

static void test_inner_and_outer_removals_do_not_disturb_each_other(void **state)
{
    (void)state;
    start("{\"a\":1,\"o\":{\"p\":1,\"q\":2,\"r\":3},\"b\":2,\"c\":3}");
    drop(at("o"), "p");
    drop(at("o"), "r");
    drop(0, "a");
    drop(0, "b");
    drop(0, "c");
    assert_becomes("{\"o\":{\"q\":2}}");
}

static void test_edits_inside_a_removed_member_go_with_it(void **state)
{
    (void)state;
    start("{\"o\":{\"p\":1,\"q\":{\"x\":1}},\"b\":2,\"c\":3}");
    uint32_t o = at("o");
    drop(o, "p");
    json_edit_insert(&edits, &doc, o, STR("\"new\":0"));
    json_edit_replace(&edits, &doc, json_get(&doc, o, STR("q")), STR("7"));
    drop(0, "o");
    drop(0, "b");
    assert_becomes("{\"c\":3}");
    start("{\"b\":2,\"o\":{\"p\":1},\"c\":3}");
    drop(at("o"), "p");
    drop(0, "o");
    drop(0, "c");
    assert_becomes("{\"b\":2}");
}

static void test_edits_inside_a_replaced_token_go_with_it(void **state)
{
    (void)state;
    start("{\"o\":{\"p\":1,\"q\":2},\"c\":3}");
    json_edit_insert(&edits, &doc, at("o"), STR("\"x\":0"));
    drop(at("o"), "q");
    json_edit_replace(&edits, &doc, at("o"), STR("[]"));
    assert_becomes("{\"o\":[],\"c\":3}");
}

static void test_commas_and_braces_in_strings_are_not_seen(void **state)
{
    (void)state;
    start("{\"a,\":\",{\",\"b}\":\"},\",\"c\":\"\\\",\"}");
    drop(0, "b}");
    assert_becomes("{\"a,\":\",{\",\"c\":\"\\\",\"}");
    start("{\"a,\":\",{\",\"b}\":\"},\",\"c\":\"\\\",\"}");
    drop(0, "a,");
    drop(0, "c");
    assert_becomes("{\"b}\":\"},\"}");
}

static void test_a_range_sees_only_the_edits_inside_it(void **state)
{
    (void)state;
    start("{\"id\":1,\"result\":{\"tools\":[{\"name\":\"a\",\"x\":1},{\"name\":\"b\",\"x\":2}],"
          "\"_meta\":{}},\"z\":0}");
    uint32_t result = at("result"), tools = json_get(&doc, result, STR("tools"));
    uint32_t one = json_first(&doc, tools), two = json_next(&doc, tools, one);
    json_edit_replace(&edits, &doc, at("id"), STR("77"));
    json_edit_replace(&edits, &doc, json_get(&doc, one, STR("name")), STR("\"s__a\""));
    json_edit_replace(&edits, &doc, json_get(&doc, two, STR("name")), STR("\"s__b\""));
    drop(one, "x");
    drop(two, "x");
    json_edit_insert(&edits, &doc, two, STR("\"i\":1"));
    drop(result, "_meta");
    const struct json_tok *k = &doc.tok[two];
    assert_range_becomes(k->off, k->len, "{\"i\":1,\"name\":\"s__b\"}");
    k = &doc.tok[one];
    assert_range_becomes(k->off, k->len, "{\"name\":\"s__a\"}");
    k = &doc.tok[tools];
    assert_range_becomes(k->off, k->len, "[{\"name\":\"s__a\"},{\"i\":1,\"name\":\"s__b\"}]");
    k = &doc.tok[result];
    assert_range_becomes(k->off + 1, k->len - 2,
                         "\"tools\":[{\"name\":\"s__a\"},{\"i\":1,\"name\":\"s__b\"}]");
    k = &doc.tok[json_get(&doc, result, STR("_meta"))];
    assert_range_becomes(k->off, k->len, "{}");
    assert_range_becomes(0, 6, "{\"id\":");
    assert_range_becomes(3, 0, "");
    assert_becomes("{\"id\":77,\"result\":{\"tools\":[{\"name\":\"s__a\"},{\"i\":1,\"name\":"
                   "\"s__b\"}]},\"z\":0}");
}

static void test_an_insert_is_not_part_of_the_first_name_alone(void **state)
{
    (void)state;
    start("{\"h\":{},\"k\":0}");
    json_edit_insert(&edits, &doc, 0, STR("\"x\":1"));
    json_edit_insert(&edits, &doc, at("h"), STR("\"y\":2"));
    assert_range_becomes(1, 3, "\"h\"");
    assert_range_becomes(5, 2, "{\"y\":2}");
    assert_becomes("{\"x\":1,\"h\":{\"y\":2},\"k\":0}");
}

static void test_edits_may_be_added_after_one_was_applied(void **state)
{
    (void)state;
    start("{\"a\":1,\"b\":2,\"c\":3}");
    drop(0, "c");
    assert_becomes("{\"a\":1,\"b\":2}");
    drop(0, "a");
    assert_becomes("{\"b\":2}");
    drop(0, "b");
    assert_becomes("{}");
}

static void test_thousands_of_edits_in_reverse_are_sorted(void **state)
{
    (void)state;
    struct buf text = {0}, got = {0};
    buf_addc(&text, '[');
    for (int i = 0; i < 5000; i++)
        buf_adds(&text, i ? ",{\"a\":1}" : "{\"a\":1}");
    buf_adds(&text, "]");
    buf_addc(&text, '\0');
    start(text.p);
    for (uint32_t i = doc.n; i-- > 1;)
        if (json_is(&doc, i, JSON_OBJECT))
            drop(i, "a");
    json_edit_apply(&edits, &doc, 0, (uint32_t)doc.len, &got);
    assert_int_equal(got.n, 2 + 5000 * 3 - 1);
    assert_true(str_starts(buf_str(&got), STR("[{},{},{},")));
    buf_fini(&got);
    buf_fini(&text);
}

static int free_all(void **state)
{
    (void)state;
    json_edits_fini(&edits);
    json_fini(&doc);
    assert_null(edits.at);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_edits_change_nothing),
        cmocka_unit_test(test_tokens_are_replaced_whatever_their_type),
        cmocka_unit_test(test_raw_spans_are_replaced_and_added_in_order_of_adding),
        cmocka_unit_test(test_the_first_middle_and_last_member_are_removed),
        cmocka_unit_test(test_a_removal_given_twice_is_one),
        cmocka_unit_test(test_a_duplicate_member_is_removed_alone),
        cmocka_unit_test(test_every_combination_of_removals_and_an_insert_has_right_commas),
        cmocka_unit_test(test_members_are_inserted_into_empty_and_full_objects),
        cmocka_unit_test(test_inserts_go_into_inner_objects_too),
        cmocka_unit_test(test_inner_and_outer_removals_do_not_disturb_each_other),
        cmocka_unit_test(test_edits_inside_a_removed_member_go_with_it),
        cmocka_unit_test(test_edits_inside_a_replaced_token_go_with_it),
        cmocka_unit_test(test_commas_and_braces_in_strings_are_not_seen),
        cmocka_unit_test(test_a_range_sees_only_the_edits_inside_it),
        cmocka_unit_test(test_an_insert_is_not_part_of_the_first_name_alone),
        cmocka_unit_test(test_edits_may_be_added_after_one_was_applied),
        cmocka_unit_test(test_thousands_of_edits_in_reverse_are_sorted),
    };
    return cmocka_run_group_tests(tests, NULL, free_all);
}
