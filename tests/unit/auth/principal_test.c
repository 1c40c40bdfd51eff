#include "auth/principal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void anonymous_outlives_its_references(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct principal *p = principal_anonymous();
        assert_true(str_eq(principal_key(p), STR("anonymous")));
        assert_string_equal(p->tenant, "");
        principal_unref(&p);
        assert_null(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(anonymous_outlives_its_references)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
