/* Revisions and mirrored header values. */
#include "gateway/era.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void revisions_are_ordered(void **state)
{
    (void)state;
    assert_non_null(era_legacy(STR("2024-11-05")));
    assert_true(era_legacy(STR("2025-11-25"))->priming);
    assert_false(era_legacy(STR("2025-06-18"))->priming);
    assert_null(era_legacy(STR("2026-07-28")));
    assert_null(era_legacy(STR("2025-11-2")));
    assert_string_equal(era_latest_legacy(), "2025-11-25");
    assert_true(era_is_modern_or_later(STR("2026-07-28")));
    assert_true(era_is_modern_or_later(STR("2027-01-01")));
    assert_false(era_is_modern_or_later(STR("2025-11-25")));
    assert_false(era_is_modern_or_later(STR("zzz")));
}

static void levels_are_known_by_name(void **state)
{
    (void)state;
    assert_int_equal(era_log_level(STR("debug")), 0);
    assert_int_equal(era_log_level(STR("emergency")), 7);
    assert_int_equal(era_log_level(STR("Debug")), -1);
}

static void header_values_come_back_as_they_went(void **state)
{
    static const char *const values[] = {
        "plain",           "",          " lead", "trail ", "tab\tin", "gr\xc3\xbc\xc3\x9f", "a\nb",
        "=?base64?eA==?=", "=?base64?", "?="};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct buf enc = {0}, dec = {0};
        era_header_encode(&enc, str_of(values[i]));
        for (size_t k = 0; k < enc.n; k++)
            assert_true(enc.p[k] == '\t' || (enc.p[k] >= 0x20 && enc.p[k] < 0x7f));
        assert_true(era_header_decode(&dec, buf_str(&enc)));
        assert_true(str_eq(buf_str(&dec), str_of(values[i])));
        buf_fini(&enc);
        buf_fini(&dec);
    }
}

static void broken_sentinels_are_refused(void **state)
{
    static const char *const values[] = {
        "=?base64?eA?=", "=?base64?eA=?=", "=?base64?e*==?=", "gr\xc3\xbc"};
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        struct buf dec = {0};
        assert_false(era_header_decode(&dec, str_of(values[i])));
        buf_fini(&dec);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(revisions_are_ordered),
        cmocka_unit_test(levels_are_known_by_name),
        cmocka_unit_test(header_values_come_back_as_they_went),
        cmocka_unit_test(broken_sentinels_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
