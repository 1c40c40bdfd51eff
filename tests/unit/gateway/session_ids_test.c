/* What an Mcp-Session-Id says, and to whom. */
#include "gateway/session_ids.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint8_t keys[1][32] = {"0123456789abcdef0123456789abcde"};

static struct session_ticket sample(void)
{
    return (struct session_ticket){.replica = STR("00112233"),
                                   .key = STR("0123456789abcdef0123456789abcdef"),
                                   .version = STR("2025-11-25"),
                                   .made_ms = 1700000000000,
                                   .caps = STR("{\"roots\":\n{}}"),
                                   .client_info = STR("{\"name\":\"c\"}")};
}

static void test_an_id_says_what_it_was_made_of(void **state)
{
    struct sealer *s = sealer_new(keys, 1);
    struct session_ticket t = sample(), got;
    struct buf id = {0}, text = {0};
    (void)state;
    session_ticket_seal(s, STR("alice"), &t, &id);
    assert_true(session_ticket_open(s, STR("alice"), buf_str(&id), &text, &got));
    assert_true(str_eq(got.replica, t.replica) && str_eq(got.key, t.key));
    assert_true(str_eq(got.version, t.version) && got.made_ms == t.made_ms && got.whole);
    assert_true(str_eq(got.caps, t.caps) && str_eq(got.client_info, t.client_info));
    buf_fini(&id);
    buf_fini(&text);
    sealer_free(&s);
}

static void test_an_id_is_worth_nothing_to_others(void **state)
{
    struct sealer *s = sealer_new(keys, 1);
    struct session_ticket t = sample(), got;
    struct buf id = {0}, text = {0};
    (void)state;
    session_ticket_seal(s, STR("alice"), &t, &id);
    assert_false(session_ticket_open(s, STR("mallory"), buf_str(&id), &text, &got));
    assert_false(session_ticket_open(s, STR(""), buf_str(&id), &text, &got));
    buf_fini(&id);
    buf_fini(&text);
    sealer_free(&s);
}

static void test_what_is_too_long_stays_out(void **state)
{
    static char caps[SESSION_ID_INFO_MAX];
    struct session_ticket t = sample(), got;
    struct buf text = {0};
    (void)state;
    memset(caps, ' ', sizeof caps);
    t.caps = (struct str){caps, sizeof caps};
    session_ticket_format(&t, &text);
    assert_true(text.n < 200);
    assert_true(session_ticket_parse(buf_str(&text), &got));
    assert_false(got.whole);
    buf_fini(&text);
}

static void test_other_texts_are_refused(void **state)
{
#define KEY "0123456789abcdef0123456789abcdef"
    static const char *const bad[] = {
        "",
        "1\n0\n" KEY "\n2025-11-25",
        "2\nr\n" KEY "\nv\n1\n",
        "2\nr\nshort\nv\n1\n0\n",
        "2\nr\n" KEY "\nv\n-1\n0\n",
        "2\nr\n" KEY "\nv\n18446744073709551615\n0\n",
        "2\nr\n" KEY "\nv\n1\n5\n{}",
        "2\nr\n" KEY "\nv\n1\n-\n{}",
        "2\nr\n0123456789ABCDEF0123456789ABCDEF\nv\n1\n0\n",
    };
    struct session_ticket got;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (session_ticket_parse(str_of(bad[i]), &got))
            fail_msg("taken: %s", bad[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_id_says_what_it_was_made_of),
        cmocka_unit_test(test_an_id_is_worth_nothing_to_others),
        cmocka_unit_test(test_what_is_too_long_stays_out),
        cmocka_unit_test(test_other_texts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
