/* A principal that goes to another replica and comes back the same. */
#include "auth/principal_wire.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void test_a_principal_arrives_as_it_was_sent(void **state)
{
    char a[] = "tools:call", b[] = "admin";
    char *scopes[] = {a, b, NULL};
    struct principal *p = principal_new(&(struct principal_facts){.issuer = STR("https://i"),
                                                                  .subject = STR("s:1"),
                                                                  .client = STR(""),
                                                                  .tenant = STR("acme"),
                                                                  .claims = STR("{\"a\":1}"),
                                                                  .scopes = scopes,
                                                                  .expires_ms = 1700000000000});
    struct buf out = {0};
    (void)state;
    principal_write(p, &out);
    struct principal *q = principal_read(buf_str(&out));
    assert_non_null(q);
    assert_string_equal(q->key, p->key);
    assert_string_equal(q->tenant, "acme");
    assert_string_equal(q->claims, "{\"a\":1}");
    assert_true(q->expires_ms == p->expires_ms && !q->anonymous);
    assert_true(principal_has_scopes(q, scopes));
    for (size_t n = 0; n < out.n; n++)
        assert_null(principal_read((struct str){out.p, n}));
    buf_fini(&out);
    principal_unref(&p);
    principal_unref(&q);
}

static void test_the_anonymous_one_stays_anonymous(void **state)
{
    struct principal *p = principal_anonymous();
    struct buf out = {0};
    (void)state;
    principal_write(p, &out);
    struct principal *q = principal_read(buf_str(&out));
    assert_ptr_equal(p, q);
    buf_fini(&out);
    principal_unref(&p);
    principal_unref(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_principal_arrives_as_it_was_sent),
        cmocka_unit_test(test_the_anonymous_one_stays_anonymous),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
