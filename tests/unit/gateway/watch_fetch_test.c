/* Lists of a server, page after page, with stand-ins for the way of calls. */
#include "gateway/watch_fetch.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct gateway gw;
static struct watch watch;
static struct config config;
static struct mount_config mount = {.name = (char[]){"up"}};
static struct upstream upstream = {.cfg = &mount};
static struct watched *m;
static struct call *sent; /* the one call under way */
static char sent_params[200];
static int sends, fetched, checks;
static struct err fetched_err;

/* Stand-ins */

void call_send(struct call *c)
{
    assert_null(sent);
    sent = c;
    sends++;
    struct str p = json_raw(c->doc, c->params);
    (void)snprintf(sent_params, sizeof sent_params, "%.*s", c->params == JSON_NONE ? 0 : (int)p.n,
                   p.p ? p.p : "");
}

void call_fini(struct call *c)
{
    if (sent == c)
        sent = NULL;
    c->up->refs--;
}

struct upstream *upstream_ref(struct upstream *u)
{
    u->refs++;
    return u;
}

void watch_fetched(struct watched *w, const struct err *e)
{
    assert_ptr_equal(w, m);
    fetched++;
    fetched_err = e ? *e : (struct err){0};
}

void watch_check(struct watched *w)
{
    assert_ptr_equal(w, m);
    checks++;
}

int64_t watch_jitter(int64_t ms)
{
    return ms;
}

int64_t watch_backoff(int64_t *backoff_ms, int64_t min_ms)
{
    *backoff_ms = min_ms;
    return min_ms;
}

enum answer_kind { RESULT, ERROR };

/* Answers the call under way. */
static void answer(enum answer_kind kind, const char *text)
{
    struct json_doc d = {0};
    struct err e;
    struct call *c = sent;
    assert_non_null(c);
    assert_true(json_parse(&d, text, strlen(text), &e));
    sent = NULL;
    c->sink->done(
        c, &(struct outcome){.kind = kind == RESULT ? OUT_RESULT : OUT_ERROR, .doc = &d, .tok = 0});
    json_fini(&d);
}

static void fail_call(enum err_kind kind)
{
    struct err e;
    struct call *c = sent;
    (void)err_set(&e, kind, "broken");
    sent = NULL;
    c->sink->done(c, &(struct outcome){.kind = OUT_FAILED, .err = &e});
}

static struct str entry(enum catalog_kind kind, uint32_t i)
{
    const struct raw_list *l = &m->lists[kind];
    assert_true(i < l->n);
    return (struct str){l->text.p + l->off[i], l->off[i + 1] - l->off[i]};
}

static void assert_entry(uint32_t i, const char *want)
{
    struct str got = entry(KIND_TOOLS, i);
    assert_int_equal(got.n, strlen(want));
    assert_memory_equal(got.p, want, got.n);
}

static int setup(void **state)
{
    (void)state;
    gw.control = (struct shard){.gw = &gw, .index = -1, .loop = loop_new("control")};
    upstream.shard = &gw.control;
    upstream.config = &config;
    upstream.refs = 1;
    watch = (struct watch){.gw = &gw};
    m = xcalloc(1, sizeof *m);
    m->w = &watch;
    m->up = &upstream;
    m->online = true;
    m->promises.has[KIND_TOOLS] = true;
    fetch_init(m);
    sent = NULL;
    sends = fetched = checks = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    fetch_fini(m);
    free(m);
    loop_free(&gw.control.loop);
    assert_int_equal(upstream.refs, 1);
    return 0;
}

static void pages_are_followed_until_no_cursor_comes(void **state)
{
    (void)state;
    fetch_kind(m, KIND_TOOLS);
    assert_string_equal(sent_params, "");
    answer(RESULT, "{\"tools\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"nextCursor\":\"x\\\"y\"}");
    assert_string_equal(sent_params, "{\"cursor\":\"x\\\"y\"}");
    assert_int_equal(m->lists[KIND_TOOLS].n, 0); /* only whole lists count */
    answer(RESULT, "{\"tools\":[{\"name\": \"c\"}]}");
    assert_int_equal(fetched, 1);
    assert_int_equal(m->info.count[KIND_TOOLS], 3);
    assert_entry(0, "{\"name\":\"a\"}");
    assert_entry(2, "{\"name\": \"c\"}");
}

static void an_empty_cursor_is_a_cursor(void **state)
{
    (void)state;
    fetch_kind(m, KIND_TOOLS);
    answer(RESULT, "{\"tools\":[],\"nextCursor\":\"\"}");
    assert_string_equal(sent_params, "{\"cursor\":\"\"}");
    answer(RESULT, "{\"tools\":[{}],\"nextCursor\":null}");
    assert_int_equal(m->lists[KIND_TOOLS].n, 1);
}

static void a_cursor_that_comes_again_ends_the_list(void **state)
{
    (void)state;
    fetch_kind(m, KIND_TOOLS);
    answer(RESULT, "{\"tools\":[{}],\"nextCursor\":\"1\"}");
    answer(RESULT, "{\"tools\":[{}],\"nextCursor\":\"2\"}");
    answer(RESULT, "{\"tools\":[{}],\"nextCursor\":\"1\"}");
    assert_null(sent);
    assert_int_equal(m->lists[KIND_TOOLS].n, 3);
    assert_int_equal(fetched_err.kind, ERR_NONE);
}

static void a_list_without_end_is_cut(void **state)
{
    (void)state;
    fetch_kind(m, KIND_TOOLS);
    for (int i = 0; sent; i++) {
        char text[80];
        (void)snprintf(text, sizeof text, "{\"tools\":[{}],\"nextCursor\":\"%d\"}", i);
        answer(RESULT, text);
        assert_true(i < MAX_PAGES);
    }
    assert_int_equal(sends, MAX_PAGES);
    assert_int_equal(m->lists[KIND_TOOLS].n, MAX_PAGES);
}

static void an_unknown_method_is_an_empty_list(void **state)
{
    (void)state;
    fetch_kind(m, KIND_TOOLS);
    answer(ERROR, "{\"code\":-32601,\"message\":\"no\"}");
    assert_int_equal(fetched, 1);
    assert_int_equal(fetched_err.kind, ERR_NONE);
    assert_false(m->fetch[KIND_TOOLS].failed);
}

static void a_failure_keeps_the_last_good_list_and_tries_again(void **state)
{
    (void)state;
    fetch_kind(m, KIND_TOOLS);
    answer(RESULT, "{\"tools\":[{\"name\":\"a\"}]}");
    static const char *const bad[] = {"{\"tools\":{}}", "{}", "[]"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        fetch_kind(m, KIND_TOOLS);
        answer(RESULT, bad[i]);
        assert_true(m->fetch[KIND_TOOLS].failed);
    }
    fetch_kind(m, KIND_TOOLS);
    answer(ERROR, "{\"code\":-32603,\"message\":\"tired\"}");
    assert_string_equal(fetched_err.msg, "upstream up: tools/list failed: tired");
    assert_int_equal(checks, 0);
    fetch_kind(m, KIND_TOOLS);
    fail_call(ERR_UNAVAILABLE);
    assert_int_equal(fetched_err.kind, ERR_UNAVAILABLE);
    assert_int_equal(checks, 1);
    assert_entry(0, "{\"name\":\"a\"}");
    assert_true(timer_armed(&m->fetch[KIND_TOOLS].retry));
    fetch_pause(m);
    assert_false(timer_armed(&m->fetch[KIND_TOOLS].retry));
}

static void a_change_meanwhile_fetches_once_more(void **state)
{
    (void)state;
    fetch_kind(m, KIND_TOOLS);
    fetch_kind(m, KIND_TOOLS);
    fetch_kind(m, KIND_TOOLS);
    assert_int_equal(sends, 1);
    answer(RESULT, "{\"tools\":[{}]}");
    assert_int_equal(fetched, 0);
    answer(RESULT, "{\"tools\":[{},{}]}");
    assert_int_equal(sends, 2);
    assert_int_equal(fetched, 1);
    assert_int_equal(m->lists[KIND_TOOLS].n, 2);
}

static void kinds_that_are_not_promised_are_forgotten(void **state)
{
    (void)state;
    fetch_kind(m, KIND_TOOLS);
    answer(RESULT, "{\"tools\":[{}]}");
    fetch_kind(m, KIND_PROMPTS);
    assert_null(sent);
    m->promises.has[KIND_TOOLS] = false;
    fetch_all(m);
    assert_null(sent);
    assert_int_equal(m->lists[KIND_TOOLS].n, 0);
    assert_int_equal(fetched, 2);
}

static void what_is_no_object_is_no_entry(void **state)
{
    (void)state;
    fetch_kind(m, KIND_TOOLS);
    answer(RESULT, "{\"tools\":[1,{\"name\":\"a\"},\"b\",null,[{}]]}");
    assert_int_equal(m->lists[KIND_TOOLS].n, 1);
    assert_entry(0, "{\"name\":\"a\"}");
}

static void a_mount_may_go_during_a_fetch(void **state)
{
    (void)state;
    fetch_kind(m, KIND_TOOLS);
    assert_true(fetch_running(m));
    fetch_fini(m);
    assert_false(fetch_running(m));
    assert_null(sent);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(pages_are_followed_until_no_cursor_comes),
        T(an_empty_cursor_is_a_cursor),
        T(a_cursor_that_comes_again_ends_the_list),
        T(a_list_without_end_is_cut),
        T(an_unknown_method_is_an_empty_list),
        T(a_failure_keeps_the_last_good_list_and_tries_again),
        T(a_change_meanwhile_fetches_once_more),
        T(kinds_that_are_not_promised_are_forgotten),
        T(what_is_no_object_is_no_entry),
        T(a_mount_may_go_during_a_fetch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
