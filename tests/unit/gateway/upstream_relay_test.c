/* Calls to a conversation on another shard: two real loops, the home's on a thread of its own, and
 * stand-ins for the calls. */
#include "gateway/upstream_relay.c"

#include <sched.h>
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
static enum { ANSWER, REFUSE, FAIL, HANG, ASK, ASK_AND_DIE, ASK_AND_END } behaviour;
static _Atomic int home_refs, sent, cancelled, finished, alone, asking;
static struct usession talk = {.asks = TAILQ_HEAD_INITIALIZER(talk.asks)};
static _Atomic int replies;
static char heard[200]; /* what the server got for its question */
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

void call_asks(struct call *c)
{
    assert_ptr_equal(c->shard, &shards[0]);
    atomic_fetch_add(&alone, 1);
}

void urequest_arm(struct urequest *r, int64_t ms)
{
    (void)r;
    (void)ms;
}

/* What the server in the twin's conversation gets. With its answer the call goes on. */
void usession_send(struct usession *us, struct str body)
{
    assert_ptr_equal(us, &talk);
    (void)snprintf(heard, sizeof heard, "%.*s", STR_FMT(body));
    atomic_fetch_add(&replies, 1);
}

static void ask(struct call *c)
{
    static const char text[] = "{\"method\":\"roots/list\",\"params\":{\"x\":[1]}}";
    struct json_doc d = {0};
    struct ask *a = xcalloc(1, sizeof *a);
    assert_true(json_parse(&d, text, sizeof text - 1, NULL));
    *a = (struct ask){.us = &talk,
                      .call = c,
                      .shared = true,
                      .id = xstrdup("7"),
                      .doc = &d,
                      .method = json_get(&d, 0, STR("method")),
                      .params = json_get(&d, 0, STR("params"))};
    TAILQ_INSERT_TAIL(&talk.asks, a, link);
    c->sink->input(c, a);
    json_fini(&d);
    atomic_fetch_add(&asking, 1);
}

/* As usession.c does when the conversation breaks, or the server takes it back. */
static void withdraw(bool broken)
{
    struct ask *a = TAILQ_FIRST(&talk.asks);
    if (!a)
        return;
    if (broken) {
        TAILQ_REMOVE(&talk.asks, a, link);
        a->us = NULL;
    }
    a->on_cancelled(a);
    assert_null(a->holder);
    ask_refuse(a, STR("{}"));
}

static void take_back(void *arg)
{
    (void)arg;
    withdraw(false);
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
    case ASK: ask(c); break;
    case ASK_AND_DIE:
        ask(c);
        withdraw(true);
        (void)err_set(&e, ERR_UNAVAILABLE, "it died");
        call_fail(c, &e);
        break;
    case ASK_AND_END:
        ask(c);
        call_finish(c, &(struct outcome){.kind = OUT_RESULT,
                                         .doc = &reply,
                                         .tok = json_get(&reply, 0, STR("ok"))});
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
    int progress, logs, done, kind, asked, withdrawn;
    struct ask *ask; /* open */
    enum { KEEP, TAKE, SAY_NO, LEAVE } does;
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

static void on_taken_back(struct ask *a)
{
    struct seen *s = a->holder;
    a->holder = NULL;
    s->ask = NULL;
    s->withdrawn++;
    loop_stop(shards[0].loop);
}

static void on_input(struct call *c, struct ask *a)
{
    struct seen *s = c->arg;
    struct str params = json_raw(a->doc, a->params);
    assert_true(json_str_eq(a->doc, a->method, STR("roots/list")));
    assert_true(a->shared);
    (void)snprintf(s->text, sizeof s->text, "%.*s", STR_FMT(params));
    s->asked++;
    loop_stop(shards[0].loop);
    a->holder = s;
    a->on_cancelled = on_taken_back;
    switch (s->does) {
    case KEEP: s->ask = a; break;
    case TAKE: ask_answer(a, STR("{\"roots\":[]}")); break;
    case SAY_NO: ask_refuse(a, STR("{\"code\":-1}")); break;
    case LEAVE:
        s->ask = a;
        relay_cancel(c);
        break;
    }
}

static const struct call_sink caller_sink = {
    .progress = on_progress, .log = on_log, .input = on_input, .done = on_done};

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
    home_refs = sent = cancelled = finished = alone = asking = replies = 0;
    heard[0] = '\0';
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
    assert_true(TAILQ_EMPTY(&talk.asks));
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

/* ---- questions ---- */

struct asking {
    struct call c;
    struct seen s;
    struct json_doc d;
};

/* Sends a call that asks, and runs until the caller has the question. */
static void begin_asking(struct asking *t, int how, int does)
{
    behaviour = how;
    t->d = (struct json_doc){0};
    make_call(&t->c, &t->s, &t->d, "{\"params\":{}}");
    t->s.does = does;
    relay_send(&t->c);
    loop_run(shards[0].loop);
}

static bool is_back;

static void on_back(void *arg)
{
    (void)arg;
    is_back = true;
    loop_stop(shards[0].loop);
}

static void turn_back(void *arg)
{
    (void)arg;
    loop_post(shards[0].loop, on_back, NULL);
}

/* All that the loops tell each other is dealt with. */
static void settle(void)
{
    for (int i = 0; i < 4; i++) {
        loop_post(shards[1].loop, turn_back, NULL);
        for (is_back = false; !is_back;)
            loop_run(shards[0].loop);
    }
}

static void end_asking(struct asking *t)
{
    relay_cancel(&t->c);
    settle();
    end_home();
    assert_int_equal(finished, sent);
    json_fini(&t->d);
}

static const char roots_heard[] = "{\"jsonrpc\":\"2.0\",\"id\":7,\"result\":{\"roots\":[]}}";
static const char refusal_heard[] = "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{\"code\":-1}}";

static void a_question_reaches_the_caller_and_its_answer_the_server(void **state)
{
    struct asking t;
    (void)state;
    begin_asking(&t, ASK, KEEP);
    assert_int_equal(t.s.asked, 1);
    assert_int_equal(alone, 1);
    assert_string_equal(t.s.text, "{\"x\":[1]}");
    ask_answer(t.s.ask, STR("{\"roots\":[]}"));
    end_asking(&t);
    assert_string_equal(heard, roots_heard);
    assert_int_equal(replies, 1);
    assert_int_equal(t.s.withdrawn, 0);
}

static void a_caller_may_answer_at_once(void **state)
{
    struct asking t;
    (void)state;
    begin_asking(&t, ASK, TAKE);
    end_asking(&t);
    assert_string_equal(heard, roots_heard);
}

static void a_caller_may_refuse_at_once(void **state)
{
    struct asking t;
    (void)state;
    begin_asking(&t, ASK, SAY_NO);
    end_asking(&t);
    assert_string_equal(heard, refusal_heard);
}

static void a_call_that_ends_while_it_asks_still_has_its_answer_told(void **state)
{
    struct asking t;
    (void)state;
    begin_asking(&t, ASK_AND_END, KEEP);
    settle();
    assert_int_equal(t.s.done, 1);
    assert_int_equal(t.s.withdrawn, 0);
    assert_non_null(t.s.ask);
    ask_refuse(t.s.ask, STR("{\"code\":-1}"));
    end_asking(&t);
    assert_string_equal(heard, refusal_heard);
}

static void a_caller_that_gives_up_instead_may_refuse_afterwards(void **state)
{
    struct asking t;
    (void)state;
    begin_asking(&t, ASK, LEAVE);
    settle();
    assert_int_equal(cancelled, 1);
    ask_refuse(t.s.ask, STR("{\"code\":-1}"));
    end_asking(&t);
    assert_string_equal(heard, refusal_heard);
    assert_int_equal(t.s.done, 0);
}

static void a_question_to_a_caller_that_is_gone_is_refused(void **state)
{
    struct asking t = {0};
    (void)state;
    behaviour = ASK;
    make_call(&t.c, &t.s, &t.d, "{\"params\":{}}");
    relay_send(&t.c);
    while (!asking) /* home asks; origin does not look yet */
        sched_yield();
    end_asking(&t);
    assert_int_equal(t.s.asked, 0);
    assert_non_null(strstr(heard, "the caller gave up"));
    assert_int_equal(replies, 1);
}

static void what_the_server_takes_back_is_taken_back_once(void **state)
{
    struct asking t;
    (void)state;
    begin_asking(&t, ASK, KEEP);
    loop_post(shards[1].loop, take_back, NULL);
    settle();
    assert_int_equal(t.s.withdrawn, 1);
    assert_null(t.s.ask);
    end_asking(&t);
    assert_int_equal(replies, 1); /* the server's own end of it */
}

static void an_answer_that_meets_the_withdrawal_is_dropped(void **state)
{
    struct asking t;
    (void)state;
    begin_asking(&t, ASK, KEEP);
    loop_post(shards[1].loop, take_back, NULL);
    ask_answer(t.s.ask, STR("{\"roots\":[]}"));
    end_asking(&t);
    assert_int_equal(t.s.withdrawn, 0);
    assert_int_equal(replies, 1);
    assert_string_equal(heard, "{\"jsonrpc\":\"2.0\",\"id\":7,\"error\":{}}");
}

static void a_child_that_dies_takes_its_question_back_and_fails_the_call(void **state)
{
    struct asking t;
    (void)state;
    begin_asking(&t, ASK_AND_DIE, KEEP);
    settle();
    assert_int_equal(t.s.asked, 1);
    assert_int_equal(t.s.withdrawn, 1);
    assert_int_equal(t.s.done, 1);
    assert_string_equal(t.s.text, "it died");
    end_asking(&t);
    assert_int_equal(replies, 0);
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
        T(a_question_reaches_the_caller_and_its_answer_the_server),
        T(a_caller_may_answer_at_once),
        T(a_caller_may_refuse_at_once),
        T(a_call_that_ends_while_it_asks_still_has_its_answer_told),
        T(a_caller_that_gives_up_instead_may_refuse_afterwards),
        T(a_question_to_a_caller_that_is_gone_is_refused),
        T(what_the_server_takes_back_is_taken_back_once),
        T(an_answer_that_meets_the_withdrawal_is_dropped),
        T(a_child_that_dies_takes_its_question_back_and_fails_the_call),
        T(with_the_other_loop_gone_nothing_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
