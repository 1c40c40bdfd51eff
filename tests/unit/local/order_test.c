/* Orders to workers. */
#include "local/order.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct arena arena;

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static void test_a_whole_order(void **state)
{
    struct order o;
    struct err e;
    struct str text =
        STR("{\"describe\":true,\"profile\":\"net\",\"required\":true,\"memoryMb\":64,"
            "\"cpuSeconds\":2,\"files\":32,\"fileBytes\":4096,\"read\":[\"/a\",\"/b\"],"
            "\"write\":[\"/c\"],\"ports\":[443,0,70000,80]}");
    (void)state;
    assert_true(order_parse(text, &o, &arena, &e));
    assert_true(o.describe && o.sandbox.required);
    assert_int_equal(o.sandbox.profile, SANDBOX_NET);
    assert_int_equal(o.sandbox.memory_mb, 64);
    assert_int_equal(o.sandbox.cpu_seconds, 2);
    assert_int_equal(o.sandbox.files, 32);
    assert_int_equal(o.sandbox.file_bytes, 4096);
    assert_string_equal(o.sandbox.read[1], "/b");
    assert_null(o.sandbox.read[2]);
    assert_string_equal(o.sandbox.write[0], "/c");
    assert_int_equal(o.sandbox.ports[0], 443);
    assert_int_equal(o.sandbox.ports[1], 80);
    assert_int_equal(o.sandbox.ports[2], 0);
}

static void test_no_profile_is_no_order(void **state)
{
    struct order o;
    struct err e;
    (void)state;
    assert_false(order_parse(STR("{}"), &o, &arena, &e));
    assert_false(order_parse(STR("{\"profile\":\"none\"}"), &o, &arena, &e));
    assert_false(order_parse(STR("profile"), &o, &arena, &e));
}

static void test_what_is_too_much_is_left_out(void **state)
{
    struct buf text = {0};
    struct order o;
    struct err e;
    size_t n = 0;
    (void)state;
    buf_adds(&text, "{\"profile\":\"pure\",\"memoryMb\":-1,\"read\":[\"/0\"");
    for (int i = 1; i < 100; i++)
        buf_addf(&text, ",\"/%d\"", i);
    buf_adds(&text, "]}");
    assert_true(order_parse(buf_str(&text), &o, &arena, &e));
    while (o.sandbox.read[n])
        n++;
    assert_int_equal(n, SANDBOX_MAX_PATHS - 1);
    assert_int_equal(o.sandbox.memory_mb, 0);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_a_whole_order, teardown),
        cmocka_unit_test_teardown(test_no_profile_is_no_order, teardown),
        cmocka_unit_test_teardown(test_what_is_too_much_is_left_out, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
