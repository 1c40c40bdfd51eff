/* The configuration's YAML: what it reads, what it refuses, and on which line. */
#include "base/yaml.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct yaml_doc doc;

static struct yaml_node *parse(const char *text)
{
    struct err e = {0};
    if (!yaml_parse(&doc, str_of(text), &e))
        fail_msg("\"%s\": line %d: %s", text, doc.error_line, e.msg);
    return doc.root;
}

static void refuse(const char *text, int line, const char *part)
{
    struct err e = {0};
    assert_false(yaml_parse(&doc, str_of(text), &e));
    assert_null(doc.root);
    if (!strstr(e.msg, part))
        fail_msg("\"%s\": said \"%s\", not \"%s\"", text, e.msg, part);
    assert_int_equal(doc.error_line, line);
    yaml_doc_fini(&doc);
}

static void test_reads_a_tree_with_lines(void **state)
{
    (void)state;
    const struct yaml_node *root =
        parse("a: 1\nb:\n  c: [x, 'y z']\n  d: ~\n# comment\ne: {f: \"\"}\n");
    assert_int_equal(root->kind, YAML_MAP);
    assert_int_equal(root->count, 3);
    assert_string_equal(yaml_get(root, "a")->text, "1");
    const struct yaml_node *list = yaml_get(yaml_get(root, "b"), "c");
    assert_int_equal(list->kind, YAML_LIST);
    assert_int_equal(list->line, 3);
    assert_int_equal(list->count, 2);
    assert_string_equal(list->first->text, "x");
    assert_string_equal(list->first->next->text, "y z");
    assert_null(list->first->key);
    assert_int_equal(yaml_get(yaml_get(root, "b"), "d")->kind, YAML_NULL);
    assert_int_equal(yaml_get(root, "e")->line, 6);
    assert_int_equal(yaml_get(yaml_get(root, "e"), "f")->kind, YAML_TEXT);
    yaml_doc_fini(&doc);
}

static void test_reads_json_with_tabs_and_escapes(void **state)
{
    (void)state;
    const struct yaml_node *root =
        parse("{\n\t\"a\":{\"b\":[\"x\\ty\",\"\\u00e9\",\"\\/\"]},\n\t\"n\":null,\"t\":true\n}\n");
    const struct yaml_node *n = yaml_get(yaml_get(root, "a"), "b")->first;
    assert_string_equal(n->text, "x\ty");
    assert_string_equal(n->next->text, "\xc3\xa9");
    assert_string_equal(n->next->next->text, "/");
    assert_int_equal(yaml_get(root, "n")->kind, YAML_NULL);
    assert_string_equal(yaml_get(root, "t")->text, "true");
    yaml_doc_fini(&doc);
}

static void test_null_is_only_null_without_quotes(void **state)
{
    (void)state;
    const struct yaml_node *root = parse("a: null\nb: 'null'\nc:\nd: ''\n");
    assert_int_equal(yaml_get(root, "a")->kind, YAML_NULL);
    assert_int_equal(yaml_get(root, "b")->kind, YAML_TEXT);
    assert_int_equal(yaml_get(root, "c")->kind, YAML_NULL);
    assert_int_equal(yaml_get(root, "d")->kind, YAML_TEXT);
    yaml_doc_fini(&doc);
}

static void test_empty_text_is_null(void **state)
{
    (void)state;
    assert_int_equal(parse("")->kind, YAML_NULL);
    yaml_doc_fini(&doc);
    assert_int_equal(parse("# only a comment\n")->kind, YAML_NULL);
    yaml_doc_fini(&doc);
    assert_int_equal(parse("\xef\xbb\xbf"
                           "a: 1")
                         ->kind,
                     YAML_MAP);
    yaml_doc_fini(&doc);
}

static void test_get_is_safe_on_anything(void **state)
{
    (void)state;
    assert_null(yaml_get(NULL, "a"));
    const struct yaml_node *root = parse("[a, b]");
    assert_null(yaml_get(root, "a"));
    assert_null(yaml_get(root->first, "a"));
    yaml_doc_fini(&doc);
}

static void test_refuses_duplicate_keys(void **state)
{
    (void)state;
    refuse("a: 1\nb: 2\na: 3\n", 3, "'a' is given twice");
    refuse("x:\n  a: 1\n  \"a\": 3\n", 3, "'a' is given twice");
}

static void test_same_key_in_other_maps_is_fine(void **state)
{
    (void)state;
    (void)parse("a: {a: 1}\nb: {a: 2}\nc: [{a: 1}, {a: 2}]");
    yaml_doc_fini(&doc);
}

static void test_refuses_anchors_aliases_and_tags(void **state)
{
    (void)state;
    refuse("a: &x 1\nb: *x\n", 1, "anchors, aliases and tags");
    refuse("a: 1\nb: *x\n", 2, "");
    refuse("a: !!int 1\n", 1, "anchors, aliases and tags");
    refuse("a: !x [b]\n", 1, "anchors, aliases and tags");
    refuse("&x a: 1\n", 1, "a key must be");
    refuse("&x {a: 1}\n", 1, "anchors, aliases and tags");
}

static void test_refuses_keys_that_are_not_text(void **state)
{
    (void)state;
    refuse("? [a]\n: 1\n", 1, "a key must be");
    refuse("? {a: b}\n: 1\n", 1, "a key must be");
}

static void test_refuses_a_second_document(void **state)
{
    (void)state;
    refuse("a: 1\n---\nb: 2\n", 2, "only one document");
}

static void test_refuses_bad_syntax_with_its_line(void **state)
{
    (void)state;
    refuse("a: 1\nb: [1, 2\nc: 3\n", 3, "not valid YAML");
    refuse("a: 'x\n", 2, "not valid YAML");
    refuse("a:\n\t- x\n", 2, "not valid YAML");
    refuse("a: \x01\n", 1, "not valid YAML");
    refuse("a: \xff\xfe\n", 1, "not valid YAML");
}

static void test_refuses_nul_in_texts_and_keys(void **state)
{
    (void)state;
    refuse("a: \"x\\0y\"\n", 1, "NUL");
    refuse("\"a\\0b\": 1\n", 1, "NUL");
}

static void test_refuses_what_is_nested_too_deeply(void **state)
{
    (void)state;
    char text[256];
    for (int depth = YAML_MAX_DEPTH; depth <= YAML_MAX_DEPTH + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        text[2 * depth] = '\0';
        if (depth > YAML_MAX_DEPTH)
            refuse(text, 1, "too deeply");
        else
            (void)parse(text);
        yaml_doc_fini(&doc);
    }
}

static void test_refuses_too_many_values_and_bytes(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_addc(&b, '[');
    for (int i = 0; i < YAML_MAX_NODES; i++)
        buf_adds(&b, "a,");
    buf_addc(&b, ']');
    struct err e;
    assert_false(yaml_parse(&doc, buf_str(&b), &e));
    assert_int_equal(e.kind, ERR_TOO_LARGE);
    yaml_doc_fini(&doc);
    b.n = 0;
    memset(buf_reserve(&b, YAML_MAX_BYTES + 1), '#', YAML_MAX_BYTES + 1);
    b.n = YAML_MAX_BYTES + 1;
    assert_false(yaml_parse(&doc, buf_str(&b), &e));
    assert_int_equal(e.kind, ERR_TOO_LARGE);
    yaml_doc_fini(&doc);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_a_tree_with_lines),
        cmocka_unit_test(test_reads_json_with_tabs_and_escapes),
        cmocka_unit_test(test_null_is_only_null_without_quotes),
        cmocka_unit_test(test_empty_text_is_null),
        cmocka_unit_test(test_get_is_safe_on_anything),
        cmocka_unit_test(test_refuses_duplicate_keys),
        cmocka_unit_test(test_same_key_in_other_maps_is_fine),
        cmocka_unit_test(test_refuses_anchors_aliases_and_tags),
        cmocka_unit_test(test_refuses_keys_that_are_not_text),
        cmocka_unit_test(test_refuses_a_second_document),
        cmocka_unit_test(test_refuses_bad_syntax_with_its_line),
        cmocka_unit_test(test_refuses_nul_in_texts_and_keys),
        cmocka_unit_test(test_refuses_what_is_nested_too_deeply),
        cmocka_unit_test(test_refuses_too_many_values_and_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
