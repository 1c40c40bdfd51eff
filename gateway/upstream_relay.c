/* See usession.h. A call to a child that another shard has:
 *
 *   origin's thread                      home's thread
 *   relay_send ---- begin(relay) ------> a twin of the call, sent on home's own upstream
 *   sink       <--- relay_event -------- the twin's progress, log messages and end
 *   relay_cancel -- on_stop(relay) ----> the twin is cancelled
 *   sink's input <- on_asked(question) - the server asks in the twin
 *   its answer ---- on_told(question) -> goes to the server
 *   withdrawn <---- on_withdrawn ------- the server took it back, or its conversation ended
 *
 * What crosses is copied text; the same text gives the same tokens. The relay is counted: one for
 * the origin's call, one for the twin, one for each message on its way. Exactly one of the twin's
 * end and the origin's cancel ends the call.
 *
 * A question is counted for itself, and outlives the call as other questions do: one for the
 * server's ask, one for the client's, one for each message. Each of the two ends once; which of an
 * answer and a withdrawal counts is home's to say. */
#include "gateway/session.h"
#include "gateway/usession.h"

#include <assert.h>
#include <stdlib.h>

enum relay_news { NEWS_PROGRESS, NEWS_LOG, NEWS_RESULT, NEWS_ERROR, NEWS_FAILED };

struct relay {
    atomic_int refs;
    struct shard *origin, *home;

    struct call *call; /* origin's thread: NULL once ended or given up */

    /* Written before begin is posted, then of home's thread. */
    char *mount;
    int index;
    bool has_doc, running;
    struct buf text;
    struct json_doc doc;
    struct call twin;
};

struct relay_event {
    struct relay *relay;
    enum relay_news news;
    bool modern;
    struct buf text;
    struct err err;
};

/* What a server asks in a twin. */
struct relay_question {
    atomic_int refs;
    struct relay *relay; /* counted */
    struct buf text;     /* {"method":…,"params":…} */
    bool shared;

    struct ask *asked; /* home's thread: the server's; NULL once answered or withdrawn */

    struct ask *put; /* origin's thread: what the sink has; NULL: not yet, or no more */
    /* Origin's until it is posted: the answer. */
    bool ok;
    struct buf answer;
};

static void relay_unref(struct relay *r)
{
    if (atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) > 1)
        return;
    free(r->mount);
    buf_fini(&r->text);
    json_fini(&r->doc);
    principal_unref(&r->twin.principal);
    arena_fini(&r->twin.arena);
    free(r);
}

/* Posts with a reference of its own. False: that loop has ended (the process does). */
static bool post(struct relay *r, struct shard *to, loop_fn fn, void *arg)
{
    if (!to->loop)
        return false;
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    loop_post(to->loop, fn, arg);
    return true;
}

static void question_unref(struct relay_question *q)
{
    if (atomic_fetch_sub_explicit(&q->refs, 1, memory_order_acq_rel) > 1)
        return;
    relay_unref(q->relay);
    buf_fini(&q->text);
    buf_fini(&q->answer);
    free(q);
}

/* As post does. */
static bool question_post(struct relay_question *q, struct shard *to, loop_fn fn)
{
    if (!to->loop)
        return false;
    atomic_fetch_add_explicit(&q->refs, 1, memory_order_relaxed);
    loop_post(to->loop, fn, q);
    return true;
}

/* ---- home: answers ---- */

/* The server's ask leaves q. */
static struct ask *take_asked(struct relay_question *q)
{
    struct ask *a = q->asked;
    q->asked = NULL;
    if (a) {
        a->holder = NULL;
        a->on_cancelled = NULL;
        question_unref(q);
    }
    return a;
}

static void on_told(void *arg)
{
    struct relay_question *q = arg;
    struct ask *a = take_asked(q);
    if (a && q->ok)
        ask_answer(a, buf_str(&q->answer));
    else if (a)
        ask_refuse(a, buf_str(&q->answer));
    question_unref(q);
}

/* ---- origin: questions ---- */

static void answer(struct relay_question *q, bool ok, struct str raw)
{
    q->ok = ok;
    buf_add_str(&q->answer, raw);
    (void)question_post(q, q->relay->home, on_told);
}

static void on_answered(struct ask *a, bool ok, struct str raw)
{
    struct relay_question *q = a->asker;
    q->put = NULL;
    answer(q, ok, raw);
    question_unref(q);
}

static void put(struct relay_question *q, struct call *c)
{
    struct json_doc d = {.limits = {.max_depth = 0, .max_tokens = UINT32_MAX}};
    bool ok = json_parse(&d, q->text.p, q->text.n, NULL);
    assert(ok); /* it was read before */
    struct ask *a = q->put = xcalloc(1, sizeof *a);
    *a = (struct ask){.call = c,
                      .shared = q->shared,
                      .doc = &d,
                      .method = json_get(&d, 0, STR("method")),
                      .params = json_get(&d, 0, STR("params")),
                      .answered = on_answered,
                      .asker = q};
    atomic_fetch_add_explicit(&q->refs, 1, memory_order_relaxed);
    call_asks(c);
    c->sink->input(c, a);
    json_fini(&d);
}

static void on_asked(void *arg)
{
    struct relay_question *q = arg;
    if (q->relay->call)
        put(q, q->relay->call);
    else
        answer(q, false, STR("{\"code\":-32603,\"message\":\"the caller gave up\"}"));
    question_unref(q);
}

static void on_withdrawn(void *arg)
{
    struct relay_question *q = arg;
    struct ask *a = q->put;
    q->put = NULL;
    if (a) {
        ask_withdraw(a);
        question_unref(q);
    }
    question_unref(q);
}

/* ---- origin ---- */

/* Takes the call from the relay: nothing else will end it. */
static struct call *take_call(struct relay *r)
{
    struct call *c = r->call;
    r->call = NULL;
    if (c) {
        c->relay = NULL;
        relay_unref(r);
    }
    return c;
}

static void deliver(struct relay_event *ev)
{
    struct json_doc doc = {.limits = {.max_depth = 0, .max_tokens = UINT32_MAX}};
    struct err e;
    struct call *c = ev->relay->call;
    if (ev->news == NEWS_FAILED) {
        call_fail(take_call(ev->relay), &ev->err);
        return;
    }
    bool ok = json_parse(&doc, ev->text.p, ev->text.n, &e);
    switch (ev->news) {
    case NEWS_PROGRESS:
        if (ok)
            c->sink->progress(c, &doc, 0);
        break;
    case NEWS_LOG:
        if (ok)
            c->sink->log(c, &doc, 0);
        break;
    case NEWS_RESULT:
    case NEWS_ERROR:
        c = take_call(ev->relay);
        if (ok) {
            call_finish(c,
                        &(struct outcome){.kind = ev->news == NEWS_RESULT ? OUT_RESULT : OUT_ERROR,
                                          .doc = &doc,
                                          .tok = 0,
                                          .modern = ev->modern});
        } else {
            call_fail(c, &e);
        }
        break;
    case NEWS_FAILED: break;
    }
    json_fini(&doc);
}

static void event_free(struct relay_event *ev)
{
    buf_fini(&ev->text);
    free(ev);
}

static void on_event(void *arg)
{
    struct relay_event *ev = arg;
    struct relay *r = ev->relay;
    if (r->call)
        deliver(ev);
    event_free(ev);
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): the event has a reference of its own */
    relay_unref(r);
}

/* ---- home ---- */

static void tell(struct relay *r, enum relay_news news, struct str text, const struct outcome *o,
                 const struct err *e)
{
    struct relay_event *ev = xcalloc(1, sizeof *ev);
    *ev = (struct relay_event){.relay = r, .news = news, .modern = o && o->modern};
    buf_add_str(&ev->text, text);
    if (e)
        ev->err = *e;
    if (!post(r, r->origin, on_event, ev))
        event_free(ev);
}

static void on_twin_progress(struct call *c, const struct json_doc *d, uint32_t params)
{
    tell(c->arg, NEWS_PROGRESS, json_raw(d, params), NULL, NULL);
}

static void on_twin_log(struct call *c, const struct json_doc *d, uint32_t params)
{
    tell(c->arg, NEWS_LOG, json_raw(d, params), NULL, NULL);
}

static void on_ask_gone(struct ask *a)
{
    struct relay_question *q = a->holder;
    (void)question_post(q, q->relay->origin, on_withdrawn);
    (void)take_asked(q);
}

static void on_twin_input(struct call *c, struct ask *a)
{
    struct relay *r = c->arg;
    struct relay_question *q = xcalloc(1, sizeof *q);
    atomic_init(&q->refs, 1);
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    q->relay = r;
    q->shared = a->shared;
    q->asked = a;
    buf_adds(&q->text, "{\"method\":");
    buf_add_str(&q->text, json_raw(a->doc, a->method));
    if (a->params != JSON_NONE) {
        buf_adds(&q->text, ",\"params\":");
        buf_add_str(&q->text, json_raw(a->doc, a->params));
    }
    buf_addc(&q->text, '}');
    a->holder = q;
    a->on_cancelled = on_ask_gone;
    if (!question_post(q, r->origin, on_asked))
        ask_refuse(take_asked(q), STR("{\"code\":-32603,\"message\":\"the gateway ends\"}"));
}

static void twin_destroy(void *arg)
{
    struct relay *r = arg;
    call_fini(&r->twin);
    relay_unref(r);
}

static void twin_end(struct relay *r)
{
    r->running = false;
    loop_defer(r->home->loop, twin_destroy, r);
}

static void on_twin_done(struct call *c, const struct outcome *o)
{
    struct relay *r = c->arg;
    switch (o->kind) {
    case OUT_RESULT: tell(r, NEWS_RESULT, json_raw(o->doc, o->tok), o, NULL); break;
    case OUT_ERROR: tell(r, NEWS_ERROR, json_raw(o->doc, o->tok), o, NULL); break;
    case OUT_FAILED: tell(r, NEWS_FAILED, (struct str){0}, NULL, o->err); break;
    }
    twin_end(r);
}

static const struct call_sink twin_sink = {
    .progress = on_twin_progress, .log = on_twin_log, .input = on_twin_input, .done = on_twin_done};
/* Of a call that cannot be asked anything. */
static const struct call_sink mute_twin_sink = {
    .progress = on_twin_progress, .log = on_twin_log, .done = on_twin_done};

/* The same mount on this shard; a reload reaches the shards one after the other. */
static struct upstream *find_upstream(const struct relay *r)
{
    struct shard *s = r->home;
    if (r->index < 0 || (size_t)r->index >= s->upstream_count)
        return NULL;
    struct upstream *u = s->upstreams[r->index];
    return u && !u->closed && strcmp(u->cfg->name, r->mount) == 0 ? u : NULL;
}

static void begin(void *arg)
{
    struct relay *r = arg; /* the message's reference becomes the twin's */
    struct upstream *u = find_upstream(r);
    struct err e;
    bool ok = u != NULL;
    if (!ok)
        (void)err_set(&e, ERR_UNAVAILABLE, "upstream %s is not there any more", r->mount);
    else if (r->has_doc)
        ok = json_parse(&r->doc, r->text.p, r->text.n, &e);
    if (!ok) {
        tell(r, NEWS_FAILED, (struct str){0}, NULL, &e);
        relay_unref(r);
        return;
    }
    r->twin.up = upstream_ref(u);
    r->running = true;
    call_send(&r->twin);
}

static void on_stop(void *arg)
{
    struct relay *r = arg;
    if (r->running) {
        call_cancel(&r->twin);
        twin_end(r);
    }
    relay_unref(r);
}

/* ---- both ---- */

static struct str copy(struct arena *a, struct str s)
{
    return (struct str){s.n ? arena_dup(a, s.p, s.n) : NULL, s.n};
}

static void copy_call(struct relay *r, const struct call *c)
{
    struct arena a = {0};
    r->has_doc = c->doc && c->doc->len > 0;
    if (r->has_doc) {
        buf_add(&r->text, c->doc->text, c->doc->len);
        r->doc.limits = c->doc->limits;
    }
    r->twin = (struct call){.shard = r->home,
                            .method = c->method,
                            .sink = c->sink->input ? &twin_sink : &mute_twin_sink,
                            .arg = r,
                            .doc = &r->doc,
                            .params = c->params,
                            .principal = principal_ref(c->principal),
                            .legacy_client = c->legacy_client,
                            .session_name =
                                copy(&a, c->session ? session_id(c->session) : c->session_name),
                            .client_caps = copy(&a, c->client_caps),
                            .client_info = copy(&a, c->client_info),
                            .log_level = c->log_level,
                            .progress_token = copy(&a, c->progress_token),
                            .target = copy(&a, c->target),
                            .public_target = copy(&a, c->public_target),
                            .target_tok = c->target_tok,
                            .upstream_state = copy(&a, c->upstream_state),
                            .state_tok = c->state_tok,
                            .caps = c->caps,
                            .access.decided = c->access.decided,
                            .access.effect = c->access.effect,
                            .access.spends = c->access.spends,
                            .retry = copy(&a, c->retry)};
    r->twin.arena = a;
}

void relay_send(struct call *c)
{
    struct relay *r = xcalloc(1, sizeof *r);
    atomic_init(&r->refs, 1);
    r->origin = c->shard;
    r->home = c->up->home;
    r->call = c;
    r->mount = xstrdup(c->up->cfg->name);
    r->index = c->up->index;
    copy_call(r, c);
    c->relay = r;
    (void)post(r, r->home, begin, r);
}

void relay_cancel(struct call *c)
{
    struct relay *r = c->relay;
    if (!r)
        return;
    (void)post(r, r->home, on_stop, r);
    (void)take_call(r);
}
