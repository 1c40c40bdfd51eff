/* The store in memory: the cases of every backend, keys, and the bound of memory. */
#include "tests/unit/store/store_cases.h"

static struct store_hub *hub;

static int set_up_with(size_t bytes)
{
    struct store_url url = {0};
    struct err e;
    metrics_register(store_metric_rows, store_metric_row_count);
    hub = store_hub_new(&(struct store_options){.url = &url, .prefix = "hg", .memory_bytes = bytes},
                        &e);
    assert_non_null(hub);
    loop = loop_new("test");
    store = store_open(hub, loop);
    other = store_open(hub, loop);
    pass = clock_advance;
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return set_up_with(64 << 20);
}

static int tear_down(void **state)
{
    (void)state;
    store_close(&store);
    store_close(&other);
    loop_free(&loop);
    store_hub_free(&hub);
    metrics_reset();
    fini_cases();
    return 0;
}

/* ---- keys ---- */

static void assert_key(struct str tag, struct str part, const char *want)
{
    struct store_key k;
    struct str got = store_key(store, &k, "rl", tag, &part, 1);
    assert_true(got.n < sizeof k.text);
    k.text[got.n] = '\0';
    assert_string_equal(k.text, want);
}

static void plain_parts_are_readable_and_others_hashed(void **state)
{
    (void)state;
    assert_key(STR("acme"), STR("files_read"), "hg:rl:{acme}:files_read");
    assert_key(STR(""), STR("x"), "hg:rl:{=}:x");
    assert_key(STR("a:rl:b"), STR("x"), "hg:rl:{~zo53CPQUTCEmpZDATA5T3SZZgGmbL5-YgwEkDVWYk9k}:x");
}

static void different_parts_never_make_one_key(void **state)
{
    (void)state;
    static const char *const names[] = {"a",  "a:b", "a}b", "=",  "~",  "",   "a b", "A",
                                        "{a", "a\n", "b",   "a.", "a-", "a_", "\xff"};
    enum { N = sizeof names / sizeof *names };
    struct map seen = {0};
    struct store_key k;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            struct str parts[] = {str_of(names[i]), str_of(names[j])};
            assert_null(map_set(&seen, store_key(store, &k, "t", parts[0], parts + 1, 1), hub));
            assert_null(map_set(&seen, store_key(store, &k, "t", STR("tag"), parts, 2), hub));
        }
    map_fini(&seen);
}

static void the_longest_key_fits(void **state)
{
    (void)state;
    char long_part[4096];
    memset(long_part, 'x', sizeof long_part);
    struct str parts[STORE_PARTS_MAX], part = {long_part, sizeof long_part};
    struct store_key k;
    for (int i = 0; i < STORE_PARTS_MAX; i++)
        parts[i] = part;
    assert_true(store_key(store, &k, "kind", part, parts, STORE_PARTS_MAX).n < STORE_KEY_MAX);
}

/* ---- memory ---- */

static void memory_stays_within_its_bound(void **state)
{
    (void)state;
    enum { BOUND = 4 << 20, VALUE = 64 * 1024 };
    (void)tear_down(NULL);
    (void)set_up_with(BOUND);
    char name[16], *value = xcalloc(1, VALUE);
    for (int i = 0; i < 500; i++) {
        (void)snprintf(name, sizeof name, "k%d", i);
        assert_int_equal(
            DO(store, set, key_of(name), ((struct str){value, VALUE}), 60000, STORE_ALWAYS),
            STORE_OK);
        assert_true(store_memory_bytes(hub->memory) <= BOUND);
        assert_int_equal(DO(store, set, key_of("hot"), STR("h"), 60000, STORE_ALWAYS), STORE_OK);
    }
    assert_int_equal(DO(store, get, key_of("k0")), STORE_ABSENT);
    assert_int_equal(DO(store, get, key_of("k499")), STORE_OK);
    assert_int_equal(DO(store, get, key_of("hot")), STORE_OK);
    free(value);
}

/* Fills or touches n windows of one shard. */
static void use_windows(const char *name, int n, int times)
{
    for (int i = 0; i < n; i++) {
        char full[32];
        (void)snprintf(full, sizeof full, "%s%d", name, i);
        struct store_window w = window_of(full, 1000, 1000);
        for (int k = 0; k < times; k++)
            assert_int_equal(DO(store, admit, &w, 1), STORE_OK);
    }
}

static void memory_is_given_back_when_things_end(void **state)
{
    (void)state;
    size_t before = store_memory_bytes(hub->memory);
    use_windows("full", 10, 1000);
    assert_true(store_memory_bytes(hub->memory) >= before + 80000);
    clock_advance(3600 * 1000 * 2);
    use_windows("new", 20, 1); /* each that is made takes away what has ended */
    assert_true(store_memory_bytes(hub->memory) < before + 20000);
}

static void memory_is_always_up_and_its_own_local_store(void **state)
{
    (void)state;
    assert_true(store_is_up(store));
    assert_ptr_equal(store_local(store), store);
    assert_string_equal(store_name(store), "memory");
    assert_int_equal(store_replicas(store), 1);
}

static void operations_are_counted_by_result(void **state)
{
    (void)state;
    struct buf text = {0};
    assert_int_equal(DO(store, get, key_of("counted")), STORE_ABSENT);
    metrics_format(&text);
    buf_addc(&text, '\0');
    assert_non_null(strstr(text.p, "mcp_store_ops_total{op=\"get\",result=\"absent\"}"));
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STORE_CASES,
        cmocka_unit_test(plain_parts_are_readable_and_others_hashed),
        cmocka_unit_test(different_parts_never_make_one_key),
        cmocka_unit_test(the_longest_key_fits),
        cmocka_unit_test(memory_is_given_back_when_things_end),
        cmocka_unit_test(memory_is_always_up_and_its_own_local_store),
        cmocka_unit_test(operations_are_counted_by_result),
        cmocka_unit_test(memory_stays_within_its_bound),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
