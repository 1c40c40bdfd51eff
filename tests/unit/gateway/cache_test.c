/* The result cache on one loop: whose results a caller may get, what a key is made of, the bounds,
 * and who goes when equal calls meet. */
#include "gateway/cache_priv.h"
#include "gateway/call.h"
#include "gateway/catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static uint8_t keys[1][32] = {{1, 2, 3}};
static char key_a[] = "alice", key_b[] = "bob", acme[] = "acme", zeta[] = "zeta";
static char mount_name[] = "up", mount_url[] = "http://127.0.0.1:1/mcp";

/* A shard with a store in memory, a mount with one tool, and calls of it. */
struct world {
    struct gateway gw;
    struct shard shard;
    struct mount_config mount;
    struct config cfg;
    struct catalog catalog;
    struct upstream up;
    struct catalog_entry entry;
    struct principal who;
    struct json_doc doc;
    struct call call;
    struct cache_use use;
};

static int set_up(void **state)
{
    static struct store_url memory;
    struct world *w = xcalloc(1, sizeof *w);
    struct err e;
    w->cfg = (struct config){.refs = 1, .seal_keys = keys, .seal_key_count = 1, .mount_count = 1};
    w->cfg.cache = (struct cache_config){.enabled = true, .max_size = 3, .max_bytes = 1 << 20};
    w->mount = (struct mount_config){.name = mount_name, .url = mount_url};
    w->cfg.mounts = &w->mount;
    w->gw.shard_count = 1;
    w->gw.store_hub = store_hub_new(&(struct store_options){.url = &memory,
                                                            .prefix = "t",
                                                            .memory_bytes = 1 << 22,
                                                            .keys = (const uint8_t(*)[32])keys,
                                                            .key_count = 1,
                                                            .replica = "r"},
                                    &e);
    w->shard = (struct shard){.gw = &w->gw, .config = &w->cfg, .loop = loop_new("test")};
    w->shard.store = store_open(w->gw.store_hub, w->shard.loop);
    w->shard.cache = cache_new(&w->shard);
    w->catalog = (struct catalog){.config = &w->cfg};
    w->up = (struct upstream){.shard = &w->shard, .cfg = &w->mount};
    w->entry = (struct catalog_entry){.cache = {.ttl_ms = 60000}};
    w->who = (struct principal){.key = key_a, .tenant = acme};
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    loop_flush(w->shard.loop);
    cache_free(&w->shard.cache);
    store_close(&w->shard.store);
    store_hub_free(&w->gw.store_hub);
    loop_free(&w->shard.loop);
    json_fini(&w->doc);
    arena_fini(&w->call.arena);
    free(w);
    return 0;
}

/* What a call of the tool with these params may use; false: nothing. */
static bool use(struct world *w, const char *params)
{
    struct err e;
    arena_fini(&w->call.arena);
    assert_true(json_parse(&w->doc, params, strlen(params), &e));
    w->call = (struct call){.shard = &w->shard,
                            .method = &method_tools_call,
                            .doc = &w->doc,
                            .principal = &w->who,
                            .up = &w->up,
                            .entry = &w->entry,
                            .catalog = &w->catalog,
                            .target = STR("tool"),
                            .public_target = STR("up_tool"),
                            .target_tok = json_get(&w->doc, 0, STR("name")),
                            .state_tok = JSON_NONE};
    return cache_use_of(&w->call, &w->use);
}

#define CALL(arguments) "{\"name\":\"up_tool\",\"arguments\":" arguments "}"

static void keep(struct world *w, const char *result, bool shared)
{
    struct cache_value *v = cache_value_new(str_of(result), true, shared, 60000);
    assert_non_null(v);
    cache_put(w->shard.cache, &w->use, v);
    cache_value_unref(&v);
}

/* What the cache says to that caller; NULL: nothing. */
static const char *seen_by(struct world *w, char *who, char *tenant, const char *params)
{
    w->who = (struct principal){.key = who, .tenant = tenant};
    assert_true(use(w, params));
    struct cache_value *v = cache_find(w->shard.cache, &w->use);
    return v ? v->text.p : NULL;
}

static void private_results_never_cross_callers(void **state)
{
    struct world *w = *state;
    assert_true(use(w, CALL("{}")));
    keep(w, "{\"own\":1}", false);
    assert_memory_equal(seen_by(w, key_a, acme, CALL("{}")), "{\"own\":1}", 9);
    assert_null(seen_by(w, key_b, acme, CALL("{}")));
    assert_null(seen_by(w, key_a, zeta, CALL("{}")));
}

static void shared_results_stay_within_their_tenant(void **state)
{
    struct world *w = *state;
    w->entry.cache.shared = true;
    assert_true(use(w, CALL("{}")));
    keep(w, "{\"all\":1}", true);
    assert_non_null(seen_by(w, key_a, acme, CALL("{}")));
    assert_non_null(seen_by(w, key_b, acme, CALL("{}")));
    assert_null(seen_by(w, key_b, zeta, CALL("{}")));
}

/* No spelling of a tenant and a caller is that of others. */
static void names_do_not_run_into_each_other(void **state)
{
    struct world *w = *state;
    static char ab[] = "ab", a[] = "a", b[] = "b", bc[] = "bc", c[] = "c";
    w->who = (struct principal){.key = c, .tenant = ab};
    assert_true(use(w, CALL("{}")));
    keep(w, "{}", false);
    assert_null(seen_by(w, bc, a, CALL("{}")));
    assert_null(seen_by(w, b, a, CALL("{}")));
}

static void a_key_is_made_of_all_that_matters(void **state)
{
    struct world *w = *state;
    assert_true(use(w, CALL("{\"a\":1,\"b\":[true,null]}")));
    keep(w, "{}", false);
    assert_non_null(seen_by(w, key_a, acme, CALL(" { \"b\" : [true, null], \"\\u0061\" : 1.0 }")));
    assert_null(seen_by(w, key_a, acme, CALL("{\"a\":2,\"b\":[true,null]}")));
    assert_null(seen_by(w, key_a, acme, CALL("{\"a\":\"1\",\"b\":[true,null]}")));
    assert_null(seen_by(w, key_a, acme, CALL("{\"b\":[true,null]}")));
    w->entry.fingerprint[3] ^= 1; /* another definition */
    assert_null(seen_by(w, key_a, acme, CALL("{\"a\":1,\"b\":[true,null]}")));
    w->entry.fingerprint[3] ^= 1;
    mount_url[20]++; /* the mount leads elsewhere */
    assert_null(seen_by(w, key_a, acme, CALL("{\"a\":1,\"b\":[true,null]}")));
    mount_url[20]--;
    assert_non_null(seen_by(w, key_a, acme, CALL("{\"a\":1,\"b\":[true,null]}")));
}

static void numbers_that_a_double_would_join_have_keys_of_their_own(void **state)
{
    struct world *w = *state;
    assert_true(use(w, CALL("{\"id\":9007199254740992}")));
    keep(w, "{}", false);
    assert_null(seen_by(w, key_a, acme, CALL("{\"id\":9007199254740993}")));
}

static void what_no_key_holds_passes_by(void **state)
{
    struct world *w = *state;
    static const char *const params[] = {
        "{\"name\":\"up_tool\",\"requestState\":\"x\"}",
        "{\"name\":\"up_tool\",\"inputResponses\":{}}",
        "{\"name\":\"up_tool\",\"task\":{\"ttl\":1}}",
        "{\"name\":\"up_tool\",\"_meta\":[]}",
        CALL("{\"a\":1,\"a\":1}"),
        CALL("\"\\ud800\""),
    };
    for (size_t i = 0; i < sizeof params / sizeof *params; i++)
        assert_false(use(w, params[i]));
    assert_true(use(w, CALL("{}")));
    w->entry.cache.ttl_ms = 0;
    assert_false(use(w, CALL("{}")));
}

static void long_arguments_have_keys_too(void **state)
{
    struct world *w = *state;
    struct buf a = {0}, b = {0};
    buf_adds(&a, "{\"name\":\"up_tool\",\"arguments\":{\"x\":\"");
    for (int i = 0; i < 5000; i++)
        buf_addc(&a, 'x');
    buf_add_str(&b, buf_str(&a));
    buf_add(&a, "y\"}}", 5);
    buf_add(&b, "z\"}}", 5);
    assert_true(use(w, a.p));
    assert_true(w->use.text[CACHE_OWN].n < 64);
    keep(w, "{}", false);
    assert_non_null(seen_by(w, key_a, acme, a.p));
    assert_null(seen_by(w, key_a, acme, b.p));
    buf_fini(&a);
    buf_fini(&b);
}

static struct cache_value *value_of(const char *result, struct cache_policy p, bool kept)
{
    struct json_doc d = {0};
    struct err e;
    assert_true(json_parse(&d, result, strlen(result), &e));
    struct cache_value *v =
        cache_value_of(&(struct outcome){.kind = OUT_RESULT, .doc = &d, .kept = kept}, p);
    json_fini(&d);
    return v;
}

static void only_whole_results_are_kept(void **state)
{
    (void)state;
    static const struct cache_policy p = {.ttl_ms = 1000};
    static const char *const no[] = {"{\"isError\":true}",
                                     "{\"resultType\":\"input_required\"}",
                                     "{\"resultType\":\"task\"}",
                                     "{\"resultType\":1}",
                                     "[]",
                                     "1"};
    static const char *const yes[] = {"{}", "{\"isError\":false}", "{\"resultType\":\"complete\"}"};
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_null(value_of(no[i], p, false));
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
        struct cache_value *v = value_of(yes[i], p, false);
        assert_non_null(v);
        cache_value_unref(&v);
    }
    assert_null(value_of("{}", p, true)); /* it comes from there */
    assert_null(cache_value_of(&(struct outcome){.kind = OUT_ERROR}, p));
}

static void a_read_says_itself_how_long_it_holds(void **state)
{
    (void)state;
    static const struct {
        const char *result;
        bool kept, shared;
    } rows[] = {
        {"{\"ttlMs\":1000}", true, false},
        {"{\"ttlMs\":1000,\"cacheScope\":\"public\"}", true, true},
        {"{\"ttlMs\":1e99,\"cacheScope\":\"private\"}", true, false},
        {"{\"ttlMs\":0}", false, false},
        {"{\"ttlMs\":-5}", false, false},
        {"{\"ttlMs\":\"1000\"}", false, false},
        {"{}", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cache_policy p = {.by_result = true, .shared = true};
        struct cache_value *v = value_of(rows[i].result, p, false);
        assert_int_equal(v != NULL, rows[i].kept);
        assert_int_equal(v && v->shared, rows[i].shared);
        cache_value_unref(&v);
        p.shared = false;
        v = value_of(rows[i].result, p, false);
        assert_false(v && v->shared);
        cache_value_unref(&v);
    }
}

/* ---- flights ---- */

struct rider {
    struct flight_seat seat;
    struct cache_use use;
    int leads, ends;
    enum flight_end how;
    bool has_value;
};

static void on_lead(struct flight_seat *s)
{
    ((struct rider *)(void *)s)->leads++;
}

static void on_end(struct flight_seat *s, enum flight_end how, struct cache_value *v,
                   const struct err *e, bool from_store)
{
    struct rider *r = (void *)s;
    (void)e;
    assert_false(from_store);
    r->ends++;
    r->how = how;
    r->has_value = v != NULL;
}

static void join(struct world *w, struct rider *r)
{
    assert_true(use(w, CALL("{}")));
    *r = (struct rider){.seat = {.use = &r->use, .lead = on_lead, .end = on_end}, .use = w->use};
    (void)flight_join(w->shard.cache, &r->seat);
}

enum { RIDERS = 4 };

static void join_all(struct world *w, struct rider *r)
{
    for (int i = 0; i < RIDERS; i++)
        join(w, &r[i]);
    assert_int_equal(r[0].leads, 1);
    for (int i = 1; i < RIDERS; i++)
        assert_int_equal(r[i].leads + r[i].ends, 0);
}

static void assert_all_end(struct world *w, const struct rider *r, int from, enum flight_end how)
{
    for (int i = from; i < RIDERS; i++)
        assert_int_equal(r[i].ends, 0); /* in a turn of their own */
    loop_flush(w->shard.loop);
    for (int i = from; i < RIDERS; i++) {
        assert_int_equal(r[i].ends, 1);
        assert_int_equal(r[i].how, how);
        assert_int_equal(r[i].has_value, how == FLIGHT_VALUE);
    }
    assert_int_equal(w->shard.cache->flights.count, 0);
}

static void what_the_leader_brings_is_for_all(void **state)
{
    struct world *w = *state;
    struct rider r[RIDERS];
    join_all(w, r);
    struct cache_value *v = cache_value_new(STR("{}"), true, false, 1000);
    flight_land(&r[0].seat, v, NULL);
    cache_value_unref(&v);
    assert_all_end(w, r, 1, FLIGHT_VALUE);
    assert_non_null(cache_find(w->shard.cache, &w->use));
}

static void what_is_nobody_elses_sends_the_others_off(void **state)
{
    struct world *w = *state;
    struct rider r[RIDERS];
    join_all(w, r);
    flight_land(&r[0].seat, NULL, NULL);
    assert_all_end(w, r, 1, FLIGHT_ALONE);
    assert_null(cache_find(w->shard.cache, &w->use));
}

static void our_own_failure_is_everyones(void **state)
{
    struct world *w = *state;
    struct rider r[RIDERS];
    struct err e;
    join_all(w, r);
    (void)err_set(&e, ERR_TIMEOUT, "too late");
    flight_land(&r[0].seat, NULL, &e);
    assert_all_end(w, r, 1, FLIGHT_FAILED);
}

static void who_leaves_while_told_hears_nothing(void **state)
{
    struct world *w = *state;
    struct rider r[RIDERS];
    join_all(w, r);
    flight_land(&r[0].seat, NULL, NULL);
    flight_leave(&r[2].seat);
    loop_flush(w->shard.loop);
    assert_int_equal(r[2].ends, 0);
    assert_int_equal(r[1].ends + r[3].ends, 2);
}

static void a_spoilt_flight_keeps_nothing_and_takes_nobody_more(void **state)
{
    struct world *w = *state;
    struct rider r[RIDERS], late;
    join_all(w, r);
    cache_drop(w->shard.cache, STR("up"), STR("tool"));
    join(w, &late);
    assert_int_equal(late.leads, 1);
    struct cache_value *v = cache_value_new(STR("{}"), true, false, 1000);
    flight_land(&r[0].seat, v, NULL);
    cache_value_unref(&v);
    loop_flush(w->shard.loop);
    assert_int_equal(r[1].how, FLIGHT_ALONE);
    assert_null(cache_find(w->shard.cache, &w->use));
    flight_leave(&late.seat);
    assert_int_equal(w->shard.cache->flights.count, 0);
}

static void when_all_leave_a_flight_is_over(void **state)
{
    struct world *w = *state;
    struct rider r[RIDERS];
    join_all(w, r);
    for (int i = 0; i < RIDERS; i++)
        flight_leave(&r[i].seat);
    assert_int_equal(w->shard.cache->flights.count, 0);
    loop_flush(w->shard.loop);
}

static void a_target_has_room_for_so_many(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 10; i++) {
        char params[64];
        (void)snprintf(params, sizeof params, CALL("%d"), i);
        assert_true(use(w, params));
        keep(w, "{}", false);
    }
    assert_int_equal(w->shard.cache->by_text.count, 3);
    assert_null(seen_by(w, key_a, acme, CALL("6")));
    assert_non_null(seen_by(w, key_a, acme, CALL("7")));
    cache_drop(w->shard.cache, STR("up"), STR("other"));
    assert_int_equal(w->shard.cache->by_text.count, 3);
    cache_drop(w->shard.cache, STR("up"), STR("tool"));
    assert_int_equal(w->shard.cache->by_text.count, 0);
    assert_int_equal(w->shard.cache->bytes, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(private_results_never_cross_callers),
        T(shared_results_stay_within_their_tenant),
        T(names_do_not_run_into_each_other),
        T(a_key_is_made_of_all_that_matters),
        T(numbers_that_a_double_would_join_have_keys_of_their_own),
        T(what_no_key_holds_passes_by),
        T(long_arguments_have_keys_too),
        T(only_whole_results_are_kept),
        T(a_read_says_itself_how_long_it_holds),
        T(what_the_leader_brings_is_for_all),
        T(what_is_nobody_elses_sends_the_others_off),
        T(our_own_failure_is_everyones),
        T(who_leaves_while_told_hears_nothing),
        T(a_spoilt_flight_keeps_nothing_and_takes_nobody_more),
        T(when_all_leave_a_flight_is_over),
        T(a_target_has_room_for_so_many),
    };
    metrics_rows_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
