/* Calls to a conversation on another shard: two real loops, the home's on a thread of its own, and
 * stand-ins for the calls. */
#include "gateway/upstream_relay.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct gateway gw;
static struct shard shards[2]; /* origin, home */
static struct mount_config mount = {.name = (char[]){"io"}};
static struct upstream origin_up, home_up;
static struct upstream *home_ups[] = {&home_up};

/* What the stand-in for the home's upstream does with a twin. */
static enum { ANSWER, REFUSE, FAIL, HANG } behaviour;
static _Atomic int home_refs, sent, cancelled, finished;
static char twin_saw[200];

static struct json_doc reply;
static const char reply_text[] = "{\"ok\":[1,2],\"p\":{\"progress\":1}}";

struct upstream *upstream_ref(struct upstream *u)
{
    assert_ptr_equal(u, &home_up);
    atomic_fetch_add(&home_refs, 1);
    return u;
}

struct str session_id(const struct session *ss)
{
    (void)ss;
    return (struct str){0};
}

void call_finish(struct call *c, const struct outcome *o)
{
    c->live = false;
    c->sink->done(c, o);
}

void call_fail(struct call *c, const struct err *e)
{
    call_finish(c, &(struct outcome){.kind = OUT_FAILED, .err = e});
}

static void act(void *arg)
{
    struct call *c = arg;
    struct err e;
    if (!c->live)
        return;
    switch (behaviour) {
    case ANSWER:
        c->sink->progress(c, &reply, json_get(&reply, 0, STR("p")));
        c->sink->log(c, &reply, json_get(&reply, 0, STR("p")));
        call_finish(c, &(struct outcome){.kind = OUT_RESULT,
                                         .doc = &reply,
                                         .tok = json_get(&reply, 0, STR("ok")),
                                         .modern = true});
        break;
    case REFUSE:
        call_finish(c, &(struct outcome){
                           .kind = OUT_ERROR, .doc = &reply, .tok = json_get(&reply, 0, STR("p"))});
        break;
    case FAIL:
        (void)err_set(&e, ERR_TIMEOUT, "too slow");
        call_fail(c, &e);
        break;
    case HANG: break;
    }
}

void call_send(struct call *c)
{
    struct str p = json_raw(c->doc, c->params);
    c->live = true;
    atomic_fetch_add(&sent, 1);
    (void)snprintf(twin_saw, sizeof twin_saw, "%.*s %.*s>%.*s",
                   c->params == JSON_NONE ? 0 : (int)p.n, p.p ? p.p : "", STR_FMT(c->public_target),
                   STR_FMT(c->target));
    if (behaviour != HANG)
        loop_defer(c->shard->loop, act, c);
}

void call_cancel(struct call *c)
{
    if (c->live)
        atomic_fetch_add(&cancelled, 1);
    c->live = false;
}

void call_fini(struct call *c)
{
    call_cancel(c);
    if (c->up)
        atomic_fetch_sub(&home_refs, 1);
    c->up = NULL;
    principal_unref(&c->principal);
    arena_fini(&c->arena);
    atomic_fetch_add(&finished, 1);
}

/* The caller */

struct seen {
    int progress, logs, done, kind;
    bool modern;
    char text[100];
};

static void on_progress(struct call *c, const struct json_doc *d, uint32_t params)
{
    struct seen *s = c->arg;
    assert_true(json_is(d, params, JSON_OBJECT));
    assert_non_null(c->relay);
    s->progress++;
}

static void on_log(struct call *c, const struct json_doc *d, uint32_t params)
{
    struct seen *s = c->arg;
    assert_true(json_is(d, params, JSON_OBJECT));
    s->logs++;
}

static void on_done(struct call *c, const struct outcome *o)
{
    struct seen *s = c->arg;
    struct str text = o->kind == OUT_FAILED ? str_of(o->err->msg) : json_raw(o->doc, o->tok);
    assert_null(c->relay);
    s->done++;
    s->kind = o->kind;
    s->modern = o->modern;
    (void)snprintf(s->text, sizeof s->text, "%.*s", STR_FMT(text));
    loop_stop(shards[0].loop);
}

static const struct call_sink caller_sink = {
    .progress = on_progress, .log = on_log, .done = on_done};

static void *home_main(void *arg)
{
    struct shard *s = arg;
    loop_run(s->loop);
    return NULL;
}

static void stop_home(void *arg)
{
    struct shard *s = arg;
    loop_stop(s->loop);
}

static int setup(void **state)
{
    struct err e;
    (void)state;
    for (int i = 0; i < 2; i++)
        shards[i] = (struct shard){.gw = &gw, .index = i, .loop = loop_new(i ? "home" : "origin")};
    shards[1].upstreams = home_ups;
    shards[1].upstream_count = 1;
    origin_up = (struct upstream){.shard = &shards[0], .cfg = &mount, .home = &shards[1]};
    home_up = (struct upstream){.shard = &shards[1], .cfg = &mount, .home = &shards[1]};
    home_refs = sent = cancelled = finished = 0;
    assert_true(json_parse(&reply, reply_text, sizeof reply_text - 1, &e));
    assert_int_equal(pthread_create(&shards[1].thread, NULL, home_main, &shards[1]), 0);
    return 0;
}

/* All that was posted is dealt with before the loops go. */
static void end_home(void)
{
    loop_post(shards[1].loop, stop_home, &shards[1]);
    assert_int_equal(pthread_join(shards[1].thread, NULL), 0);
}

static int teardown(void **state)
{
    (void)state;
    loop_free(&shards[1].loop);
    loop_free(&shards[0].loop);
    json_fini(&reply);
    assert_int_equal(home_refs, 0);
    return 0;
}

static void make_call(struct call *c, struct seen *s, struct json_doc *d, const char *text)
{
    struct err e;
    assert_true(json_parse(d, text, strlen(text), &e));
    *s = (struct seen){0};
    *c = (struct call){.shard = &shards[0],
                       .principal = principal_anonymous(),
                       .sink = &caller_sink,
                       .arg = s,
                       .doc = d,
                       .params = json_get(d, 0, STR("params")),
                       .up = &origin_up,
                       .target = STR("tool"),
                       .public_target = STR("io_tool"),
                       .target_tok = JSON_NONE,
                       .state_tok = JSON_NONE,
                       .live = true};
}

static void run_call(struct seen *s, const char *text)
{
    struct json_doc d = {0};
    struct call c;
    make_call(&c, s, &d, text);
    relay_send(&c);
    assert_int_equal(s->done, 0); /* never before it returned */
    loop_run(shards[0].loop);
    end_home();
    assert_int_equal(s->done, 1);
    json_fini(&d);
}

static void an_answer_comes_back_with_what_was_told_before(void **state)
{
    struct seen s;
    (void)state;
    behaviour = ANSWER;
    run_call(&s, "{\"params\":{\"a\":\"\\u00e9\"}}");
    assert_string_equal(twin_saw, "{\"a\":\"\\u00e9\"} io_tool>tool");
    assert_int_equal(s.progress, 1);
    assert_int_equal(s.logs, 1);
    assert_int_equal(s.kind, OUT_RESULT);
    assert_true(s.modern);
    assert_string_equal(s.text, "[1,2]");
}

static void a_call_without_params_needs_no_text(void **state)
{
    struct json_doc empty = {0};
    struct call c;
    struct seen s = {0};
    (void)state;
    behaviour = REFUSE;
    c = (struct call){.shard = &shards[0],
                      .principal = principal_anonymous(),
                      .sink = &caller_sink,
                      .arg = &s,
                      .doc = &empty,
                      .params = JSON_NONE,
                      .up = &origin_up,
                      .target_tok = JSON_NONE,
                      .state_tok = JSON_NONE};
    relay_send(&c);
    loop_run(shards[0].loop);
    end_home();
    assert_int_equal(s.kind, OUT_ERROR);
    assert_string_equal(s.text, "{\"progress\":1}");
}

static void a_failure_comes_back_as_it_was(void **state)
{
    struct seen s;
    (void)state;
    behaviour = FAIL;
    run_call(&s, "{\"params\":{}}");
    assert_int_equal(s.kind, OUT_FAILED);
    assert_string_equal(s.text, "too slow");
}

static void a_mount_that_is_another_there_fails_the_call(void **state)
{
    struct mount_config other = {.name = (char[]){"other"}};
    struct seen s;
    (void)state;
    home_up.cfg = &other;
    run_call(&s, "{\"params\":{}}");
    assert_int_equal(s.kind, OUT_FAILED);
    assert_int_equal(sent, 0);
    assert_string_equal(s.text, "upstream io is not there any more");
}

static void a_mount_that_is_gone_there_fails_the_call(void **state)
{
    struct seen s;
    (void)state;
    origin_up.index = 1;
    run_call(&s, "{\"params\":{}}");
    assert_int_equal(s.kind, OUT_FAILED);
    assert_int_equal(sent, 0);
}

static void a_call_given_up_is_cancelled_there_and_says_nothing_more(void **state)
{
    struct json_doc d = {0};
    struct call c;
    struct seen s;
    (void)state;
    behaviour = HANG;
    make_call(&c, &s, &d, "{\"params\":{}}");
    relay_send(&c);
    relay_cancel(&c);
    assert_null(c.relay);
    end_home();
    assert_int_equal(sent, 1);
    assert_int_equal(cancelled, 1);
    assert_int_equal(finished, 1);
    assert_int_equal(s.done, 0);
    json_fini(&d);
}

/* Whoever comes first, the call ends once and nothing leaks; run under the sanitizers. */
static void giving_up_and_the_answer_may_cross(void **state)
{
    enum { CALLS = 200 };
    static struct call c[CALLS];
    static struct seen s[CALLS];
    static struct json_doc d[CALLS];
    (void)state;
    behaviour = ANSWER;
    for (int i = 0; i < CALLS; i++) {
        make_call(&c[i], &s[i], &d[i], "{\"params\":{}}");
        relay_send(&c[i]);
        if (i % 2)
            relay_cancel(&c[i - i % 3]);
    }
    end_home();
    loop_post(shards[0].loop, stop_home, &shards[0]);
    loop_run(shards[0].loop);
    for (int i = 0; i < CALLS; i++) {
        bool given_up = (i % 6 == 0 && i + 1 < CALLS) || i % 6 == 3;
        assert_int_equal(s[i].done, given_up ? 0 : 1);
        relay_cancel(&c[i]); /* fine when it has ended */
        assert_null(c[i].relay);
        json_fini(&d[i]);
    }
    assert_int_equal(sent, CALLS);
    assert_int_equal(finished, CALLS);
}

static void with_the_other_loop_gone_nothing_is_lost(void **state)
{
    struct json_doc d = {0};
    struct call c;
    struct seen s;
    (void)state;
    behaviour = HANG;
    end_home();
    loop_free(&shards[1].loop);
    make_call(&c, &s, &d, "{\"params\":{}}");
    relay_send(&c);
    relay_cancel(&c);
    assert_null(c.relay);
    json_fini(&d);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(an_answer_comes_back_with_what_was_told_before),
        T(a_call_without_params_needs_no_text),
        T(a_failure_comes_back_as_it_was),
        T(a_mount_that_is_another_there_fails_the_call),
        T(a_mount_that_is_gone_there_fails_the_call),
        T(a_call_given_up_is_cancelled_there_and_says_nothing_more),
        T(giving_up_and_the_answer_may_cross),
        T(with_the_other_loop_gone_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
