/* auth/policy.c and auth/jsontest.c: whom a tenant takes in, which rule decides, and that types are
 * strict. */
#include "auth/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct json_doc doc;

static uint32_t parse(const char *text)
{
    struct err e;
    assert_true(json_parse(&doc, text, strlen(text), &e));
    return 0;
}

static enum jsontest_result eval(enum jsontest_kind kind, const char *pointer, const char *text)
{
    static char five[] = "5", word[] = "prod", glob[] = "/etc/*", where[64];
    struct jsontest_value v[] = {{JSON_NUMBER, five, 1}, {JSON_STRING, word, 4}};
    strncpy(where, pointer, sizeof where - 1);
    const struct jsontest t = {where, kind, v, 2, glob, 1, 10};
    return jsontest_eval(&t, &doc, parse(text));
}

static void test_types_are_strict(void **state)
{
    (void)state;
    assert_int_equal(eval(JSONTEST_EQUALS, "/a", "{\"a\":5}"), JSONTEST_TRUE);
    assert_int_equal(eval(JSONTEST_EQUALS, "/a", "{\"a\":5.0}"), JSONTEST_TRUE);
    assert_int_equal(eval(JSONTEST_EQUALS, "/a", "{\"a\":\"5\"}"), JSONTEST_FALSE);
    assert_int_equal(eval(JSONTEST_EQUALS, "/a", "{\"a\":[5]}"), JSONTEST_FALSE);
    assert_int_equal(eval(JSONTEST_IN, "/a", "{\"a\":[4,5]}"), JSONTEST_TRUE);
    assert_int_equal(eval(JSONTEST_IN, "/a", "{\"a\":\"pro\\u0064\"}"), JSONTEST_TRUE);
    assert_int_equal(eval(JSONTEST_GLOB, "/a", "{\"a\":\"\\/etc/x\"}"), JSONTEST_TRUE);
    assert_int_equal(eval(JSONTEST_GLOB, "/a", "{\"a\":7}"), JSONTEST_FALSE);
    assert_int_equal(eval(JSONTEST_RANGE, "/a", "{\"a\":10}"), JSONTEST_TRUE);
    assert_int_equal(eval(JSONTEST_RANGE, "/a", "{\"a\":10.01}"), JSONTEST_FALSE);
    assert_int_equal(eval(JSONTEST_RANGE, "/a", "{\"a\":\"7\"}"), JSONTEST_FALSE);
    assert_int_equal(eval(JSONTEST_ABSENT, "/a", "{\"b\":1}"), JSONTEST_TRUE);
    assert_int_equal(eval(JSONTEST_PRESENT, "/a", "{\"a\":null}"), JSONTEST_TRUE);
}

static void test_pointers_lead_where_rfc_6901_says(void **state)
{
    (void)state;
    static const char text[] = "{\"a/b\":{\"~\":[{\"x\":5}]},\"\":5,\"0\":5}";
    assert_int_equal(eval(JSONTEST_EQUALS, "/a~1b/~0/0/x", text), JSONTEST_TRUE);
    assert_int_equal(eval(JSONTEST_EQUALS, "/", text), JSONTEST_TRUE);
    assert_int_equal(eval(JSONTEST_EQUALS, "/0", text), JSONTEST_TRUE);
    assert_int_equal(eval(JSONTEST_ABSENT, "/a~1b/~0/1", text), JSONTEST_TRUE);
    assert_int_equal(eval(JSONTEST_ABSENT, "/a~1b/~0/00", text), JSONTEST_TRUE);
    assert_int_equal(eval(JSONTEST_ABSENT, "/a~1b/~0/-", text), JSONTEST_TRUE);
    assert_int_equal(eval(JSONTEST_PRESENT, "", text), JSONTEST_TRUE);
    assert_true(jsontest_is_pointer("/a~0"));
    assert_false(jsontest_is_pointer("a"));
    assert_false(jsontest_is_pointer("/a~2"));
}

static void test_a_member_given_twice_on_the_way_is_ambiguous(void **state)
{
    (void)state;
    assert_int_equal(eval(JSONTEST_EQUALS, "/a", "{\"a\":1,\"\\u0061\":5}"), JSONTEST_AMBIGUOUS);
    assert_int_equal(eval(JSONTEST_ABSENT, "/a/b", "{\"a\":{\"b\":1,\"b\":2}}"),
                     JSONTEST_AMBIGUOUS);
    assert_int_equal(eval(JSONTEST_EQUALS, "/c", "{\"c\":5,\"a\":{\"b\":1,\"b\":2}}"),
                     JSONTEST_TRUE);
}

/* ---- places ---- */

static struct principal *caller(const char *client, const char *claims)
{
    return principal_new(&(struct principal_facts){.client = str_of(client),
                                                   .subject = str_of(client),
                                                   .issuer = STR("i"),
                                                   .claims = str_of(claims)});
}

static void assert_placed(const struct policy *p, const char *client, const char *claims,
                          const struct policy_tenant *path, const char *host, const char *want)
{
    const struct policy_tenant *t = NULL;
    struct principal *who = caller(client, claims);
    bool ok = policy_place(p, who, path, str_of(host), &t);
    const char *got = !ok ? "refused" : t ? t->name : "none";
    assert_string_equal(got, want);
    principal_unref(&who);
}

static void test_the_credential_says_whom_a_caller_belongs_to(void **state)
{
    (void)state;
    static char org[] = "/org", acme[] = "acme", beta[] = "beta-*", host[] = "shop.*";
    struct jsontest_value value = {JSON_STRING, acme, 4};
    struct policy_tenant_match by_claim = {
        .kind = MATCH_CLAIM,
        .test = {.pointer = org, .kind = JSONTEST_IN, .values = &value, .n = 1}};
    struct policy_tenant_match by_client = {.kind = MATCH_CLIENT, .value = beta};
    struct policy_tenant_match by_host = {.kind = MATCH_HOST, .value = host};
    struct policy_tenant tenants[] = {
        {.name = (char[]){"acme"}, .match = &by_claim, .matches = 1},
        {.name = (char[]){"beta"}, .match = &by_client, .matches = 1},
        {.name = (char[]){"shop"}, .match = &by_host, .matches = 1},
        {.name = (char[]){"free"}},
    };
    struct policy p = {.tenants = tenants, .tenant_count = 4, .require_tenant = true};
    assert_placed(&p, "x", "{\"org\":\"acme\"}", NULL, "h", "acme");
    assert_placed(&p, "x", "{\"org\":[\"x\",\"acme\"]}", NULL, "h", "acme");
    assert_placed(&p, "beta-1", NULL, NULL, "h", "beta");
    assert_placed(&p, "x", "{\"org\":\"Acme\"}", NULL, "h", "refused");
    assert_placed(&p, "x", NULL, NULL, "shop.example.com", "shop");
    assert_placed(&p, "beta-1", NULL, NULL, "shop.example.com", "refused");
    assert_placed(&p, "x", NULL, &tenants[3], "h", "free");
    assert_placed(&p, "x", NULL, &tenants[0], "h", "refused");
    assert_placed(&p, "beta-1", NULL, &tenants[1], "h", "beta");
    p.require_tenant = false;
    assert_placed(&p, "x", NULL, NULL, "h", "none");
}

static void test_a_tenant_makes_another_principal(void **state)
{
    (void)state;
    struct principal *a = caller("x", NULL), *b = principal_in_tenant(a, "t"),
                     *c = principal_in_tenant(a, "");
    assert_string_not_equal(a->key, b->key);
    assert_string_equal(a->key, c->key);
    assert_string_equal(b->tenant, "t");
    principal_unref(&a);
    principal_unref(&b);
    principal_unref(&c);
}

static void test_parts_of_a_principal_cannot_flow_into_each_other(void **state)
{
    (void)state;
    struct principal *a = principal_new(
        &(struct principal_facts){.issuer = STR("ab"), .subject = STR("c"), .client = STR("d")});
    struct principal *b = principal_new(
        &(struct principal_facts){.issuer = STR("a"), .subject = STR("bc"), .client = STR("d")});
    assert_string_not_equal(a->key, b->key);
    principal_unref(&a);
    principal_unref(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_types_are_strict),
        cmocka_unit_test(test_pointers_lead_where_rfc_6901_says),
        cmocka_unit_test(test_a_member_given_twice_on_the_way_is_ambiguous),
        cmocka_unit_test(test_the_credential_says_whom_a_caller_belongs_to),
        cmocka_unit_test(test_a_tenant_makes_another_principal),
        cmocka_unit_test(test_parts_of_a_principal_cannot_flow_into_each_other),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    json_fini(&doc);
    return failed;
}
