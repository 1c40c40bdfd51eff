/* requestState: sealed, bound, and read back as it was. */
#include "gateway/state.h"

#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct sealer *sealer;
static const uint8_t binding[STATE_BINDING] = {1, 2, 3};

static int set_up(void **state)
{
    static const uint8_t key[1][32] = {{7}};
    (void)state;
    sealer = sealer_new(key, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    sealer_free(&sealer);
    return 0;
}

/* Opens what was sealed, without its quotes. */
static bool reopen(const struct state *st, const uint8_t *with, struct arena *a, struct state *out)
{
    struct buf token = {0};
    state_seal(sealer, binding, st, &token);
    bool ok = state_open(sealer, with, (struct str){token.p + 1, token.n - 2}, a, out);
    buf_fini(&token);
    return ok;
}

static struct state park(void)
{
    return (struct state){.kind = STATE_PARK,
                          .mount = STR("up"),
                          .expires_ms = clock_wall_ms() + 10000,
                          .replica = STR("abc"),
                          .shard = 3,
                          .park = UINT64_MAX,
                          .nonce = 1};
}

static void comes_back_as_it_was(void **state)
{
    struct arena a = {0};
    struct state in = park(), out;
    (void)state;
    assert_true(reopen(&in, binding, &a, &out));
    assert_int_equal(out.kind, STATE_PARK);
    assert_true(str_eq(out.mount, STR("up")) && str_eq(out.replica, STR("abc")));
    assert_true(out.shard == 3 && out.park == UINT64_MAX && out.nonce == 1);
    in = (struct state){.kind = STATE_PASS,
                        .mount = STR("up"),
                        .expires_ms = in.expires_ms,
                        .raw = STR("\"a\\nb\n\"")};
    assert_true(reopen(&in, binding, &a, &out));
    assert_true(out.kind == STATE_PASS && str_eq(out.raw, in.raw));
    arena_fini(&a);
}

static void opens_for_nobody_else_and_not_late(void **state)
{
    static const uint8_t other[STATE_BINDING] = {1, 2, 4};
    struct arena a = {0};
    struct state in = park(), out;
    (void)state;
    assert_false(reopen(&in, other, &a, &out));
    in.expires_ms = clock_wall_ms() - 1;
    assert_false(reopen(&in, binding, &a, &out));
    assert_false(state_open(sealer, binding, STR("AAAA"), &a, &out));
    assert_false(state_open(sealer, binding, STR(""), &a, &out));
    arena_fini(&a);
}

static void broken_insides_are_refused(void **state)
{
    static const char *const texts[] = {"",
                                        "p",
                                        "p\nup\n",
                                        "p\nup\n1\nr\n1\n2\n",
                                        "p\nup\n1\nr\n99999999999\n2\n3\n",
                                        "p\nup\n1\nr\n1\n2\n3\n4\n",
                                        "p\nup\n-1\nr\n1\n2\n3\n",
                                        "u\nup\n1\n",
                                        "x\nup\n1\nr\n",
                                        "r\nup\n1\nmany\n"};
    struct state out;
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_false(state_parse(str_of(texts[i]), &out));
    assert_true(state_parse(STR("p\nup\n1\nr\n1\n2\n3\n"), &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comes_back_as_it_was),
        cmocka_unit_test(opens_for_nobody_else_and_not_late),
        cmocka_unit_test(broken_insides_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
