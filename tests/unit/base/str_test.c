/* Slices, buffers, globs, the map, and the memory under them. Includes the source to set the key of
 * the hash. */
#include "base/str.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct str none = {0};

static void assert_slice(struct str got, const char *want)
{
    if (!str_eq(got, str_of(want)))
        fail_msg("got \"%.*s\", wanted \"%s\"", STR_FMT(got), want);
}

static void test_empty_slices_are_equal_wherever_they_point(void **state)
{
    (void)state;
    assert_true(str_eq(none, STR("")));
    assert_true(str_ieq(none, STR("")));
    assert_int_equal(str_cmp(none, STR("")), 0);
    assert_int_equal(str_of(NULL).n, 0);
    assert_true(str_eq(STR("a\0b"), STR("a\0b")));
    assert_false(str_eq(STR("a\0b"), STR("a\0c")));
}

static void test_order_is_that_of_bytes_with_prefixes_first(void **state)
{
    (void)state;
    const struct str sorted[] = {none,      STR("A"), STR("a"),   STR("a\0"),
                                 STR("ab"), STR("b"), STR("\xFF")};
    const int n = sizeof sorted / sizeof sorted[0];
    for (int i = 0; i < n; i++)
        for (int k = 0; k < n; k++) {
            int c = str_cmp(sorted[i], sorted[k]);
            assert_int_equal((c > 0) - (c < 0), (i > k) - (i < k));
        }
}

static void test_case_is_ignored_in_ascii_letters_only(void **state)
{
    (void)state;
    assert_true(str_ieq(STR("Content-Type"), STR("cONTENT-tYPE")));
    assert_true(str_ieq(STR("AZ"), STR("az")));
    assert_false(str_ieq(STR("@["), STR("`{")));
    assert_false(str_ieq(STR("a"), STR("ab")));
    assert_false(str_ieq(STR("\xC9"), STR("\xE9")));
}

static void test_case_insensitive_equality_does_not_stop_at_nul(void **state)
{
    (void)state;
    assert_false(str_ieq(STR("host\0a"), STR("host\0b")));
    assert_true(str_ieq(STR("host\0a"), STR("HOST\0A")));
}

static void test_starts_trim_and_find(void **state)
{
    (void)state;
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_true(str_starts(STR("abc"), none));
    assert_true(str_starts(none, none));
    assert_false(str_starts(STR("ab"), STR("abc")));
    assert_slice(str_trim(STR(" \t a b\t ")), "a b");
    assert_slice(str_trim(STR(" \t ")), "");
    assert_slice(str_trim(STR("\na\r")), "\na\r");
    assert_slice(str_trim(none), "");
    assert_int_equal(str_find(STR("hello"), STR("lo")), 3);
    assert_int_equal(str_find(STR("hello"), STR("lol")), -1);
    assert_int_equal(str_find(STR("hello"), none), 0);
    assert_int_equal(str_find(none, none), 0);
    assert_int_equal(str_find(none, STR("x")), -1);
}

static void test_numbers_fill_the_slice_and_fit(void **state)
{
    (void)state;
    const struct {
        struct str s;
        bool ok;
        uint64_t v;
    } numbers[] = {
        {STR("0"), true, 0},
        {STR("007"), true, 7},
        {STR("18446744073709551615"), true, UINT64_MAX},
        {STR("18446744073709551616"), false, 0},
        {STR("99999999999999999999"), false, 0},
        {STR("100000000000000000000"), false, 0},
        {none, false, 0},
        {STR("-1"), false, 0},
        {STR("+1"), false, 0},
        {STR(" 1"), false, 0},
        {STR("1 "), false, 0},
        {STR("1\0"), false, 0},
        {STR("0x1"), false, 0},
    };
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        uint64_t v = 5;
        assert_int_equal(str_to_u64(numbers[i].s, &v), numbers[i].ok);
        assert_true(v == (numbers[i].ok ? numbers[i].v : 5));
    }
}

static void assert_splits(const char *in, const char *want)
{
    struct str rest = str_of(in), part;
    struct buf got = {0};
    while (str_split(&rest, ',', &part))
        buf_addf(&got, "<%.*s>", STR_FMT(part));
    assert_slice(buf_str(&got), want);
    buf_fini(&got);
}

static void test_split_yields_parts_and_no_empty_last_one(void **state)
{
    (void)state;
    assert_splits(NULL, "");
    assert_splits("", "");
    assert_splits("a", "<a>");
    assert_splits("a,b", "<a><b>");
    assert_splits("a,,b", "<a><><b>");
    assert_splits(",a", "<><a>");
    assert_splits("a,", "<a>");
    assert_splits(",", "<>");
}

static void test_globs_match_runs_and_single_bytes(void **state)
{
    (void)state;
    const struct {
        const char *glob, *name;
        bool match;
    } globs[] = {
        {"", "", true},         {"", "a", false},
        {"*", "", true},        {"*", "anything", true},
        {"?", "", false},       {"?", "a", true},
        {"?", "ab", false},     {"abc", "abc", true},
        {"abc", "abcd", false}, {"abc", "ab", false},
        {"a*", "a", true},      {"a*c", "abbc", true},
        {"a*c", "abcb", false}, {"*c", "abcc", true},
        {"a?c", "abc", true},   {"**", "x", true},
        {"a**b", "ab", true},   {"*a*b*", "xxaxxbxx", true},
        {"*a*b*", "ba", false}, {"*ab", "aab", true},
        {"*aab", "aaab", true}, {"[a]", "a", false},
        {"[a]", "[a]", true},   {"a.c", "abc", false},
        {"\\*", "*", false},    {"files__*", "files__read", true},
        {"*?", "", false},      {"*?", "a", true},
        {"a*?", "a", false},
    };
    for (size_t i = 0; i < sizeof globs / sizeof globs[0]; i++)
        if (str_glob(str_of(globs[i].glob), str_of(globs[i].name)) != globs[i].match)
            fail_msg("%s on %s", globs[i].glob, globs[i].name);
    assert_true(str_glob(STR("*"), none));
    assert_true(str_glob(none, none));
}

static void test_a_glob_of_many_stars_is_not_exponential(void **state)
{
    (void)state;
    char glob[200], name[2000];
    for (size_t i = 0; i < sizeof glob; i++)
        glob[i] = i % 2 ? 'a' : '*';
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = 'b';
    assert_false(str_glob((struct str){glob, sizeof glob}, (struct str){name, sizeof name}));
}

static void test_buffers_grow_and_keep_their_bytes(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_add(&b, NULL, 0);
    assert_null(b.p);
    for (int i = 0; i < 1000; i++)
        buf_addf(&b, "%d,", i % 10);
    buf_adds(&b, "end");
    buf_add_str(&b, none);
    assert_int_equal(b.n, 2003);
    assert_true(b.cap >= b.n);
    assert_true(str_starts(buf_str(&b), STR("0,1,2,3,4,5,6,7,8,9,0,")));
    assert_int_equal(str_find(buf_str(&b), STR("end")), 2000);
    buf_drop(&b, 2000);
    assert_slice(buf_str(&b), "end");
    buf_drop(&b, 0);
    assert_slice(buf_str(&b), "end");
    buf_drop(&b, 3);
    assert_int_equal(b.n, 0);
    buf_fini(&b);
    assert_null(b.p);
    buf_addc(&b, 'x');
    assert_slice(buf_str(&b), "x");
    buf_fini(&b);
}

static void test_reserve_gives_room_and_a_place_also_for_nothing(void **state)
{
    (void)state;
    struct buf b = {0};
    assert_non_null(buf_reserve(&b, 0));
    assert_int_equal(b.n, 0);
    char *p = buf_reserve(&b, 100000);
    memset(p, 'x', 100000);
    b.n += 100000;
    assert_true(b.cap >= 100000);
    buf_fini(&b);
}

static void test_formats_longer_than_the_buffer_are_whole(void **state)
{
    (void)state;
    struct buf b = {0};
    char long_text[1000];
    memset(long_text, 'y', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    buf_addf(&b, "%s", "");
    assert_int_equal(b.n, 0);
    buf_addf(&b, "<%s>", long_text);
    assert_int_equal(b.n, 1001);
    assert_int_equal(b.p[1000], '>');
    buf_fini(&b);
}

static void test_numbers_are_written_in_decimal(void **state)
{
    (void)state;
    struct buf b = {0};
    const uint64_t numbers[] = {0, 9, 10, 100, UINT64_MAX};
    for (size_t i = 0; i < 5; i++) {
        buf_add_u64(&b, numbers[i]);
        buf_addc(&b, ' ');
    }
    assert_slice(buf_str(&b), "0 9 10 100 18446744073709551615 ");
    buf_fini(&b);
}

static void test_the_map_stores_replaces_and_deletes(void **state)
{
    (void)state;
    struct map m = {0};
    int one, two;
    assert_null(map_get(&m, STR("a")));
    assert_null(map_del(&m, STR("a")));
    assert_null(map_set(&m, STR("a"), &one));
    assert_ptr_equal(map_set(&m, STR("a"), &two), &one);
    assert_ptr_equal(map_get(&m, STR("a")), &two);
    assert_null(map_set(&m, none, &one));
    assert_ptr_equal(map_get(&m, STR("")), &one);
    assert_null(map_get(&m, STR("a\0")));
    assert_null(map_set(&m, STR("a\0"), &one));
    assert_int_equal(m.count, 3);
    assert_ptr_equal(map_del(&m, STR("a")), &two);
    assert_null(map_get(&m, STR("a")));
    assert_null(map_del(&m, STR("a")));
    assert_ptr_equal(map_get(&m, STR("a\0")), &one);
    assert_int_equal(m.count, 2);
    map_fini(&m);
    assert_int_equal(m.count, 0);
    assert_null(map_get(&m, none));
}

static void test_the_map_copies_its_keys(void **state)
{
    (void)state;
    struct map m = {0};
    char key[] = "key";
    map_set(&m, str_of(key), &m);
    key[0] = 'x';
    assert_ptr_equal(map_get(&m, STR("key")), &m);
    assert_null(map_get(&m, STR("xey")));
    map_fini(&m);
}

/* What the map must do, done with an array: present[i] says whether key i is in it. */
static void test_the_map_agrees_with_an_array_over_many_steps(void **state)
{
    (void)state;
    enum { KEYS = 300, STEPS = 60000 };
    static char values[KEYS];
    bool present[KEYS] = {false};
    size_t count = 0;
    struct map m = {0};
    uint64_t rnd = 12345;
    for (int i = 0; i < STEPS; i++) {
        rnd = rnd * 6364136223846793005ULL + 1442695040888963407ULL;
        size_t k = (rnd >> 33) % KEYS;
        char name[32];
        (void)snprintf(name, sizeof name, "key-number-%zu", k);
        void *want = present[k] ? &values[k] : NULL;
        unsigned what = (rnd >> 60) & 3;
        if (what == 0) {
            assert_ptr_equal(map_get(&m, str_of(name)), want);
            continue;
        }
        /* deletes and inserts by turns of a thousand steps, so that tombstones pile up */
        bool add = i / 1000 % 2 ? what == 1 : what != 1;
        void *got = add ? map_set(&m, str_of(name), &values[k]) : map_del(&m, str_of(name));
        assert_ptr_equal(got, want);
        count += add;
        count -= present[k];
        present[k] = add;
        assert_int_equal(m.count, count);
        assert_true(m.used < m.cap || m.cap == 0);
    }
    assert_true(m.cap <= 4096);
    map_fini(&m);
}

static void test_the_map_is_walked_once_over_each_key(void **state)
{
    (void)state;
    struct map m = {0};
    char seen[50] = {0};
    size_t at = 0, n = 0;
    struct str key;
    void *value;
    assert_false(map_next(&m, &at, &key, &value));
    for (int i = 0; i < 50; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "%d", i);
        map_set(&m, str_of(name), &seen[i]);
    }
    map_del(&m, STR("7"));
    for (at = 0; map_next(&m, &at, &key, &value); n++) {
        uint64_t i = 0;
        assert_true(str_to_u64(key, &i));
        assert_ptr_equal(value, &seen[i]);
        ++*(char *)value;
    }
    assert_int_equal(n, 49);
    for (int i = 0; i < 50; i++)
        assert_int_equal(seen[i], i != 7);
    at = 0;
    assert_true(map_next(&m, &at, NULL, &value));
    map_fini(&m);
}

static void test_the_hash_is_siphash_1_3(void **state)
{
    (void)state;
    const uint64_t before[2] = {hash_key[0], hash_key[1]};
    hash_key[0] = hash_key[1] = 0;
    /* as CPython 3.11 hashes bytes with PYTHONHASHSEED=0 */
    assert_true(str_hash(STR("a")) == 0x407448d2b89b1813);
    assert_true(str_hash(STR("abcdefg")) == 0x6db12aae9070f506);
    assert_true(str_hash(STR("abcdefgh")) == 0x3f7b849c0b8e35ea);
    assert_true(str_hash(STR("abcdefghijklmnopqrstuvwxyz")) == 0x323ccd2fd30709df);
    hash_key[0] = before[0];
    hash_key[1] = before[1];
}

static void test_the_hash_follows_the_seed(void **state)
{
    (void)state;
    map_seed(1);
    uint64_t a = str_hash(STR("same")), empty = str_hash(none);
    assert_true(a == str_hash(STR("same")));
    assert_true(empty == str_hash(STR("")));
    assert_true(a != str_hash(STR("same\0")));
    map_seed(2);
    assert_true(a != str_hash(STR("same")));
    assert_true(empty != str_hash(none));
}

static void test_keys_that_differ_in_top_bits_do_not_collide_whatever_the_seed(void **state)
{
    (void)state;
    /* a multiplicative hash carries the top bit of a word to where the next word can cancel it */
    char x[16] = {0}, y[16] = {0};
    y[7] = y[11] = y[15] = (char)0x80;
    for (uint64_t seed = 0; seed < 100; seed++) {
        map_seed(seed);
        assert_true(str_hash((struct str){x, 16}) != str_hash((struct str){y, 16}));
    }
}

static void test_the_hash_reads_every_byte_of_every_length(void **state)
{
    (void)state;
    char key[40];
    memset(key, 'k', sizeof key);
    for (size_t n = 1; n <= sizeof key; n++)
        for (size_t i = 0; i < n; i++) {
            uint64_t before = str_hash((struct str){key, n});
            key[i] = 'K';
            assert_true(str_hash((struct str){key, n}) != before);
            key[i] = 'k';
        }
}

static void test_the_arena_gives_zeroed_aligned_memory_that_does_not_overlap(void **state)
{
    (void)state;
    struct arena a = {0};
    unsigned char *got[400];
    size_t size[400];
    for (size_t i = 0; i < 400; i++) {
        size[i] = i % 37 * (i % 11 == 0 ? 100 : 1);
        got[i] = arena_alloc(&a, size[i]);
        assert_int_equal((uintptr_t)got[i] % alignof(max_align_t), 0);
        for (size_t k = 0; k < size[i]; k++)
            assert_int_equal(got[i][k], 0);
        if (size[i])
            memset(got[i], (int)(i % 255 + 1), size[i]);
    }
    for (size_t i = 0; i < 400; i++)
        for (size_t k = 0; k < size[i]; k++)
            assert_int_equal(got[i][k], i % 255 + 1);
    arena_fini(&a);
    assert_int_equal(a.total_bytes, 0);
    assert_null(a.head);
}

static void test_the_arena_takes_large_pieces_and_is_usable_after_fini(void **state)
{
    (void)state;
    struct arena a = {0};
    char *big = arena_alloc(&a, 1 << 20);
    big[(1 << 20) - 1] = 'x';
    assert_true(a.total_bytes >= 1 << 20);
    char *copy = arena_dup(&a, "ab\0c", 4);
    assert_memory_equal(copy, "ab\0c\0", 5);
    assert_string_equal(arena_dup(&a, NULL, 0), "");
    arena_fini(&a);
    arena_fini(&a);
    assert_string_equal(arena_dup(&a, "again", 5), "again");
    arena_fini(&a);
}

static void test_allocations_of_nothing_are_still_allocations(void **state)
{
    (void)state;
    void *p = xmalloc(0), *q = xcalloc(0, 8);
    char *s = xmemdup0(NULL, 0), *t = xstrdup("text");
    assert_non_null(p);
    assert_non_null(q);
    assert_string_equal(s, "");
    assert_string_equal(t, "text");
    p = xrealloc(p, 0);
    assert_non_null(p);
    free(p);
    free(q);
    free(s);
    free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_slices_are_equal_wherever_they_point),
        cmocka_unit_test(test_order_is_that_of_bytes_with_prefixes_first),
        cmocka_unit_test(test_case_is_ignored_in_ascii_letters_only),
        cmocka_unit_test(test_case_insensitive_equality_does_not_stop_at_nul),
        cmocka_unit_test(test_starts_trim_and_find),
        cmocka_unit_test(test_numbers_fill_the_slice_and_fit),
        cmocka_unit_test(test_split_yields_parts_and_no_empty_last_one),
        cmocka_unit_test(test_globs_match_runs_and_single_bytes),
        cmocka_unit_test(test_a_glob_of_many_stars_is_not_exponential),
        cmocka_unit_test(test_buffers_grow_and_keep_their_bytes),
        cmocka_unit_test(test_reserve_gives_room_and_a_place_also_for_nothing),
        cmocka_unit_test(test_formats_longer_than_the_buffer_are_whole),
        cmocka_unit_test(test_numbers_are_written_in_decimal),
        cmocka_unit_test(test_the_map_stores_replaces_and_deletes),
        cmocka_unit_test(test_the_map_copies_its_keys),
        cmocka_unit_test(test_the_map_agrees_with_an_array_over_many_steps),
        cmocka_unit_test(test_the_map_is_walked_once_over_each_key),
        cmocka_unit_test(test_the_hash_is_siphash_1_3),
        cmocka_unit_test(test_the_hash_follows_the_seed),
        cmocka_unit_test(test_keys_that_differ_in_top_bits_do_not_collide_whatever_the_seed),
        cmocka_unit_test(test_the_hash_reads_every_byte_of_every_length),
        cmocka_unit_test(test_the_arena_gives_zeroed_aligned_memory_that_does_not_overlap),
        cmocka_unit_test(test_the_arena_takes_large_pieces_and_is_usable_after_fini),
        cmocka_unit_test(test_allocations_of_nothing_are_still_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
