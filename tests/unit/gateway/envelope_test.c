/* What goes over the replica link, and what is refused there. */
#include "gateway/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint8_t fleet[2][32] = {"0123456789abcdef0123456789abcde",
                                     "another key of the fleet, 32 by"};

static struct envelope sample(void)
{
    return (struct envelope){.from = STR("aaaaaaaaaaaaaaaa"),
                             .to = STR("bbbbbbbbbbbbbbbb"),
                             .nonce = STR("0123456789abcdef"),
                             .sent_ms = 1700000000000,
                             .principal = STR("p"),
                             .head = STR("GET / HTTP/1.1\r\n\r\n"),
                             .body = STR("body")};
}

static void test_what_is_sealed_is_opened(void **state)
{
    struct envelope_keys k;
    struct envelope env = sample(), got;
    struct buf out = {0};
    struct err e;
    (void)state;
    envelope_keys_init(&k, fleet, 1);
    envelope_seal(&k, &env, &out);
    assert_true(envelope_open(&k, buf_str(&out), &got, &e));
    assert_true(str_eq(got.from, env.from) && str_eq(got.to, env.to));
    assert_true(str_eq(got.nonce, env.nonce) && got.sent_ms == env.sent_ms);
    assert_true(str_eq(got.principal, env.principal) && str_eq(got.head, env.head));
    assert_true(str_eq(got.body, env.body));
    buf_fini(&out);
}

static void test_every_byte_is_authentic(void **state)
{
    struct envelope_keys k;
    struct envelope env = sample(), got;
    struct buf out = {0};
    struct err e;
    (void)state;
    envelope_keys_init(&k, fleet, 1);
    envelope_seal(&k, &env, &out);
    for (size_t i = 0; i < out.n; i++) {
        out.p[i] ^= 1;
        assert_false(envelope_open(&k, buf_str(&out), &got, &e));
        out.p[i] ^= 1;
    }
    for (size_t n = 0; n < out.n; n++)
        assert_false(envelope_open(&k, (struct str){out.p, n}, &got, &e));
    buf_addc(&out, 'x');
    assert_false(envelope_open(&k, buf_str(&out), &got, &e));
    assert_int_equal(e.kind, ERR_UNAUTHENTIC);
    buf_fini(&out);
}

static void test_keys_rotate_in_two_steps(void **state)
{
    struct envelope_keys old, both, other;
    struct envelope env = sample(), got;
    struct buf out = {0};
    struct err e;
    (void)state;
    envelope_keys_init(&old, fleet, 1);
    envelope_keys_init(&other, fleet + 1, 1);
    envelope_keys_init(&both, fleet, 2);
    envelope_seal(&other, &env, &out);
    assert_true(envelope_open(&both, buf_str(&out), &got, &e));
    assert_false(envelope_open(&old, buf_str(&out), &got, &e));
    assert_int_equal(e.kind, ERR_UNAUTHENTIC);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_sealed_is_opened),
        cmocka_unit_test(test_every_byte_is_authentic),
        cmocka_unit_test(test_keys_rotate_in_two_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
