/* See upstream.h: the pool of workers behind a local mount, on the shard that is its home. A worker
 * is a process that headgate-python forks for our connection, and an MCP server like any other: a
 * conversation (usession.c) of its own.
 *
 *   STARTING -> READY -> RETIRING      a newer generation is ready: no new calls, gone when idle
 *        |        |          |
 *        +--------+----------+-> gone  it broke, or was ended for a call that would not end
 *
 * A worker runs one call that may block it (a synchronous tool, a resource, a prompt) or any number
 * of asynchronous ones; what finds no worker waits in line. */
#include "base/clock.h"
#include "base/crypto.h"
#include "gateway/lines.h"
#include "gateway/local.h"
#include "gateway/local_host.h"
#include "gateway/usession.h"
#include "local/zygote.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    RETRY_MIN_MS = 50,
    RETRY_MAX_MS = 30000,
    BURST = 50, /* replacements at once before the pool takes its time */
    REPLACE_EVERY_MS = 20,
    CANCEL_GRACE_MS = 2000,
    GRACE_MS = 150,  /* the runtime ends what it can by itself at the tool's time */
    ID_BITS = 52,    /* exact in any reader of JSON */
    ALIVE_MS = 1000, /* for the loop of an asynchronous worker to show that it runs */
};

enum worker_state { WORKER_STARTING, WORKER_READY, WORKER_RETIRING, WORKER_GONE };

struct worker {
    struct pipe pipe; /* what its conversation writes to */
    struct local_pool *pool;
    struct local_gen *gen; /* counted */
    struct usession *us;
    struct lines *lines;
    enum worker_state state;
    int64_t born_us;
    int blocking, async; /* calls in it */
    bool asked;          /* whether it is alive */
    char end[96];        /* how it ended, as the zygote tells */
    TAILQ_ENTRY(worker) link;
};

struct local_pool {
    struct upstream *up;   /* not counted: it owns the pool */
    struct local_gen *gen; /* counted; NULL: none yet */
    struct local_counts *counts;
    TAILQ_HEAD(, worker) workers;
    struct urequest_list queue;
    int queued;
    bool wanted;      /* the watch waits for an event */
    bool dispatching; /* a turn over the queue is deferred */
    uint64_t told;    /* the generation that the watch has been told of */
    struct timer respawn;
    int64_t backoff_ms; /* workers that never came up */
    int64_t tokens_ms;  /* the bucket of replacements: when its next token is due */
    bool looping;       /* said that they crash too often */
    struct err failure; /* kind ERR_NONE: none */
};

static void fill(struct local_pool *p);
static void dispatch_soon(struct local_pool *p);

/* ---- counting ---- */

static void count(struct local_pool *p)
{
    int n = 0, busy = 0;
    struct worker *w;
    TAILQ_FOREACH (w, &p->workers, link) {
        n += w->state != WORKER_STARTING;
        busy += w->blocking + w->async > 0;
    }
    atomic_store(&p->counts->workers, n);
    atomic_store(&p->counts->busy, busy);
    atomic_store(&p->counts->queued, p->queued);
    metric_set(metric_of(M_LOCAL_WORKERS), n);
    metric_set(metric_of(M_LOCAL_QUEUED), p->queued);
}

/* ---- a worker's connection ---- */

static void worker_broken(struct worker *w, const char *what)
{
    struct err e;
    (void)err_set(&e, ERR_UNAVAILABLE, "the worker that ran this ended: %s",
                  w->end[0] ? w->end : what);
    usession_broken(w->us, &e); /* ends in worker_down */
}

/* Written by the zygote: {"signal":N} or {"status":N}. */
static bool take_end(struct worker *w, struct str text)
{
    const struct str begin =
        STR("{\"jsonrpc\":\"2.0\",\"method\":\"" ZYGOTE_EXITED "\",\"params\":{\"");
    uint64_t code = 0;
    if (!str_starts(text, begin))
        return false;
    struct str rest = {text.p + begin.n, text.n - begin.n}, word, number;
    if (!str_split(&rest, '"', &word) || rest.n < 2)
        return true;
    rest = (struct str){rest.p + 1, rest.n - 1}; /* after its colon */
    if (str_split(&rest, '}', &number))
        (void)str_to_u64(number, &code);
    const char *name = code < _NSIG ? sigabbrev_np((int)code) : NULL;
    if (str_eq(word, STR("status")))
        (void)snprintf(w->end, sizeof w->end, "it exited with status %d", (int)code);
    else if (code == SIGXCPU)
        (void)snprintf(w->end, sizeof w->end, "it used up its CPU time");
    else
        (void)snprintf(w->end, sizeof w->end, "it was killed by signal %d (SIG%s)", (int)code,
                       name ? name : "?");
    return true;
}

static void on_line(struct str text, void *arg)
{
    struct worker *w = arg;
    struct err e;
    if (!take_end(w, text) && !upstream_message(w->us->up, w->us, NULL, text, &e))
        log_warn("local.bad_line", L_ERR(&e));
}

static void on_end(const char *what, void *arg)
{
    worker_broken(arg, what);
}

static void worker_write(struct pipe *pipe, uint64_t id, struct str message)
{
    struct worker *w = (struct worker *)pipe;
    (void)id;
    if (w->lines)
        lines_write(w->lines, message);
}

/* The zygote kills it when the connection closes. */
static void worker_stop(struct pipe *pipe)
{
    struct worker *w = (struct worker *)pipe;
    lines_free(&w->lines);
}

static void on_refused(void *arg)
{
    struct worker *w = arg;
    if (w->state == WORKER_STARTING && !w->lines)
        worker_broken(w, w->end);
}

static void on_connected(void *arg)
{
    struct worker *w = arg;
    if (w->state == WORKER_STARTING)
        usession_pipe_open(w->us);
}

struct pipe *local_start(struct usession *us)
{
    static const struct pipe_ops ops = {worker_write, worker_stop};
    static const struct lines_ops line_ops = {on_line, on_end};
    struct worker *w = us->worker;
    struct loop *loop = us->up->shard->loop;
    struct err e;
    w->pipe.ops = &ops;
    int fd = local_host_connect(w->gen->socket, &e);
    if (fd < 0) {
        (void)snprintf(w->end, sizeof w->end, "%.90s", e.msg);
        loop_defer(loop, on_refused, w);
        return &w->pipe;
    }
    w->lines = lines_new(loop, fd, fd, us->up->config->max_message_bytes, &line_ops, w);
    lines_write(w->lines, str_of(w->gen->order));
    loop_defer(loop, on_connected, w);
    return &w->pipe;
}

/* ---- coming and going ---- */

static void worker_destroy(void *arg)
{
    struct worker *w = arg;
    local_gen_unref(&w->gen);
    free(w);
}

/* Takes it out of the pool; its conversation ends if it has not. */
static void worker_drop(struct worker *w)
{
    struct local_pool *p = w->pool;
    if (w->state == WORKER_GONE)
        return;
    w->state = WORKER_GONE;
    TAILQ_REMOVE(&p->workers, w, link);
    usession_close(&w->us);
    loop_defer(p->up->shard->loop, worker_destroy, w);
    count(p);
}

static void worker_new(struct local_pool *p)
{
    struct worker *w = xcalloc(1, sizeof *w);
    w->pool = p;
    w->gen = local_gen_ref(p->gen);
    w->born_us = clock_us();
    w->us = usession_new(p->up, NULL, NULL);
    w->us->worker = w;
    TAILQ_INSERT_TAIL(&p->workers, w, link);
    atomic_fetch_add(&p->counts->started, 1);
    usession_open(w->us);
}

static bool is_current(const struct worker *w)
{
    return w->gen == w->pool->gen && w->state != WORKER_RETIRING;
}

static void retire_older(struct local_pool *p)
{
    struct worker *next;
    for (struct worker *w = TAILQ_FIRST(&p->workers); w; w = next) {
        next = TAILQ_NEXT(w, link);
        if (w->gen == p->gen)
            continue;
        if (w->state == WORKER_STARTING || w->blocking + w->async == 0)
            worker_drop(w);
        else
            w->state = WORKER_RETIRING;
    }
}

void local_worker_ready(struct usession *us)
{
    struct worker *w = us->worker;
    struct local_pool *p = w->pool;
    w->state = WORKER_READY;
    metric_observe_us(metric_of(M_LOCAL_START), clock_us() - w->born_us);
    p->backoff_ms = 0;
    p->failure = (struct err){0};
    if (w->gen == p->gen) {
        retire_older(p);
        if (p->told != p->gen->number || p->wanted) {
            p->told = p->gen->number;
            p->wanted = false;
            upstream_session_up(p->up, &us->info); /* all lists are fetched again */
        }
    }
    fill(p);
    dispatch_soon(p);
    count(p);
}

/* Nobody can be asked: who waits is told. */
static void fail_queue(struct local_pool *p, const struct err *e)
{
    struct err copy = *e;
    struct urequest *r;
    int n = p->queued;
    while (n-- > 0 && (r = TAILQ_FIRST(&p->queue)))
        urequest_fail(r, &copy);
}

static bool has_ready(const struct local_pool *p)
{
    struct worker *w;
    TAILQ_FOREACH (w, &p->workers, link)
        if (w->state == WORKER_READY)
            return true;
    return false;
}

static void on_respawn(void *arg)
{
    fill(arg);
}

/* One that did not come up, again and again later each time. */
static void never_came_up(struct local_pool *p, const struct err *e)
{
    p->backoff_ms = p->backoff_ms < RETRY_MIN_MS ? RETRY_MIN_MS : p->backoff_ms * 2;
    if (p->backoff_ms > RETRY_MAX_MS)
        p->backoff_ms = RETRY_MAX_MS;
    log_error("local.worker_failed", L_ERR(e), L_INT("again_in_ms", p->backoff_ms));
    timer_set(&p->respawn, p->up->shard->loop, p->backoff_ms, on_respawn, p);
    if (has_ready(p))
        return;
    p->failure = *e;
    fail_queue(p, e);
    if (p->wanted || p->told) {
        p->wanted = false;
        p->told = 0;
        upstream_session_down(p->up, e);
    }
}

void local_worker_down(struct usession *us, const struct err *e)
{
    struct worker *w = us->worker;
    struct local_pool *p = w->pool;
    struct err copy = *e;
    bool was_starting = w->state == WORKER_STARTING, current = w->gen == p->gen;
    if (w->state == WORKER_GONE)
        return;
    if (!was_starting) {
        atomic_fetch_add(&p->counts->crashes, 1);
        metric_add(metric_of(M_LOCAL_CRASHES), 1);
        log_warn("local.worker_ended", L_STR("how", w->end[0] ? w->end : copy.msg));
    }
    worker_drop(w);
    if (p->up->closed || !current)
        return;
    if (was_starting)
        never_came_up(p, &copy);
    else
        fill(p);
}

/* Takes a token of the bucket of replacements; else says when there is one. */
static bool may_start(struct local_pool *p)
{
    int64_t now = clock_ms(), oldest = now - (int64_t)BURST * REPLACE_EVERY_MS;
    if (p->tokens_ms < oldest)
        p->tokens_ms = oldest;
    if (p->tokens_ms <= now) {
        p->tokens_ms += REPLACE_EVERY_MS;
        if (p->tokens_ms < now - (int64_t)BURST / 2 * REPLACE_EVERY_MS)
            p->looping = false;
        return true;
    }
    if (!p->looping)
        log_error("local.crash_loop", L_INT("a_second", 1000 / REPLACE_EVERY_MS));
    p->looping = true;
    timer_set(&p->respawn, p->up->shard->loop, p->tokens_ms - now, on_respawn, p);
    return false;
}

/* One first of a new generation, and when that is ready, the rest; one more than calls need, so
 * that one that ends is replaced at once. */
static void fill(struct local_pool *p)
{
    int have = 0, ready = 0;
    struct worker *w;
    if (!p->gen || p->up->closed || (p->backoff_ms > 0 && timer_armed(&p->respawn)))
        return;
    TAILQ_FOREACH (w, &p->workers, link) {
        have += is_current(w);
        ready += is_current(w) && w->state == WORKER_READY;
    }
    int want = ready == 0 ? 1 : p->gen->workers + 1;
    for (; have < want && may_start(p); have++)
        worker_new(p);
}

/* ---- calls ---- */

enum lane { LANE_NONE, LANE_BLOCKING, LANE_ASYNC };

/* Lists are answered at once, whatever else runs in a loop; what runs a user's function may block.
 */
static enum lane lane_of(const struct local_pool *p, const struct call *c, int *timeout_ms)
{
    const struct local_tool *t = NULL;
    *timeout_ms = p->gen ? p->gen->timeout_ms : 0;
    if (c->method->route == ROUTE_NONE)
        return LANE_ASYNC;
    if (c->method->route == ROUTE_TOOL && p->gen)
        t = map_get(&p->gen->tools, c->target);
    if (t && t->timeout_ms)
        *timeout_ms = t->timeout_ms;
    return t && t->async ? LANE_ASYNC : LANE_BLOCKING;
}

/* The worker for one more call, or NULL. The spare one stays idle; an asynchronous call keeps away
 * from the last idle one besides. */
static struct worker *find_worker(const struct local_pool *p, enum lane lane)
{
    struct worker *w, *idle = NULL, *shared = NULL;
    int left = p->gen ? p->gen->workers : 0;
    TAILQ_FOREACH (w, &p->workers, link) {
        left -= w->blocking + w->async > 0;
        if (w->state != WORKER_READY || w->gen != p->gen || w->blocking || w->asked)
            continue;
        if (w->async == 0)
            idle = idle ? idle : w;
        else if (!shared || w->async < shared->async)
            shared = w;
    }
    if (lane == LANE_ASYNC && shared && left < 2)
        return shared;
    return left > 0 && idle ? idle : lane == LANE_ASYNC ? shared : NULL;
}

static void assign(struct worker *w, struct urequest *r)
{
    int timeout_ms;
    enum lane lane = lane_of(w->pool, r->call, &timeout_ms);
    r->lane = (uint8_t)lane;
    w->blocking += lane == LANE_BLOCKING;
    w->async += lane == LANE_ASYNC;
    r->us = w->us;
    crypto_random(&r->id,
                  sizeof r->id); /* a tool must not be able to answer the call after its own */
    r->id >>= 64 - ID_BITS;
    r->max_at_ms = clock_ms() + timeout_ms + GRACE_MS;
    TAILQ_INSERT_TAIL(&w->us->reqs, r, link);
    urequest_call(w->us->up, w->us, r->call, r);
}

static void unqueue(struct local_pool *p, struct urequest *r)
{
    TAILQ_REMOVE(&p->queue, r, link);
    p->queued--;
    r->queued = false;
}

static void dispatch(void *arg)
{
    struct local_pool *p = arg;
    struct urequest *next;
    int timeout_ms;
    p->dispatching = false;
    for (struct urequest *r = TAILQ_FIRST(&p->queue); r; r = next) {
        next = TAILQ_NEXT(r, link);
        struct worker *w = find_worker(p, lane_of(p, r->call, &timeout_ms));
        if (!w)
            continue;
        unqueue(p, r);
        assign(w, r);
    }
    count(p);
}

static void dispatch_soon(struct local_pool *p)
{
    if (p->dispatching || p->queued == 0)
        return;
    p->dispatching = true;
    loop_defer(p->up->shard->loop, dispatch, p);
}

void local_unlink(struct urequest *r)
{
    unqueue(r->up->local, r);
}

void local_rest(struct urequest *r)
{
    struct worker *w = r->us->worker;
    struct local_pool *p = w->pool;
    w->blocking -= r->lane == LANE_BLOCKING;
    w->async -= r->lane == LANE_ASYNC;
    r->lane = LANE_NONE;
    if (w->state == WORKER_RETIRING && w->blocking + w->async == 0)
        worker_drop(w);
    else
        count(p);
    dispatch_soon(p);
}

void local_send(struct call *c)
{
    struct local_pool *p = c->up->local;
    struct urequest *r = urequest_new(c->up, NULL);
    int timeout_ms;
    struct err e;
    r->call = c;
    c->ureq = r;
    if (p->failure.kind != ERR_NONE && !has_ready(p)) {
        urequest_fail_soon(r, &p->failure);
        return;
    }
    struct worker *w = find_worker(p, lane_of(p, c, &timeout_ms));
    if (w && p->queued == 0) {
        assign(w, r);
        count(p);
    } else if (p->gen && p->queued >= p->gen->queue) {
        (void)err_set(&e, ERR_UNAVAILABLE,
                      "all workers are busy and %d calls wait (local.workers, local.queue)",
                      p->queued);
        urequest_fail_soon(r, &e);
    } else {
        r->queued = true;
        p->queued++;
        TAILQ_INSERT_TAIL(&p->queue, r, link);
        urequest_arm(r, timeout_ms ? timeout_ms : c->up->cfg->first_byte_ms);
        dispatch_soon(p);
    }
}

/* ---- calls that do not end ---- */

static void on_alive(struct urequest *r, const struct rpc_msg *m, const struct err *e)
{
    struct worker *w = r->us->worker;
    (void)e;
    if (w->state == WORKER_GONE || r->us->state != US_READY)
        return;
    w->asked = false;
    if (m)
        dispatch_soon(w->pool);
    else
        worker_broken(w, "its event loop was blocked");
}

/* Whatever blocks it is ended with it; a loop that still turns has dropped the call. */
static void end_stuck(struct worker *w, bool blocking)
{
    if (blocking) {
        (void)snprintf(w->end, sizeof w->end, "it was ended for a call that had no time left");
        worker_broken(w, w->end);
    } else if (!w->asked) {
        w->asked = true;
        (void)urequest_own(w->us->up, w->us, STR("ping"), (struct str){0}, ALIVE_MS, on_alive,
                           NULL);
    }
}

/* A tool's time is part of what its author wrote: its caller gets a result that says so. */
static void answer_timeout(struct urequest *r, int64_t ms)
{
    struct buf text = {0}, message = {0};
    struct json_doc d = {0};
    struct err e;
    struct call *c = r->call;
    buf_addf(&message, "Tool '%.*s' timed out after %.3g s", STR_FMT(c->target), (double)ms / 1000);
    buf_adds(&text, "{\"content\":[{\"type\":\"text\",\"text\":");
    json_write_str(&text, buf_str(&message));
    buf_adds(&text, "}],\"isError\":true}");
    if (json_parse(&d, text.p, text.n, &e))
        urequest_end(r, &(struct outcome){.kind = OUT_RESULT, .doc = &d, .tok = 0});
    json_fini(&d);
    buf_fini(&text);
    buf_fini(&message);
}

bool local_timed_out(struct urequest *r)
{
    struct worker *w = r->us->worker;
    bool blocking = r->lane == LANE_BLOCKING;
    int64_t ms = (clock_us() - r->started_us) / 1000;
    int timeout_ms;
    struct err e;
    if (r->lane == LANE_NONE)
        return false;
    atomic_fetch_add(&w->pool->counts->timeouts, 1);
    metric_add(metric_of(M_LOCAL_TIMEOUTS), 1);
    if (r->call && r->call->method->route == ROUTE_TOOL) {
        (void)lane_of(w->pool, r->call, &timeout_ms);
        answer_timeout(r, timeout_ms ? timeout_ms : ms);
    } else {
        (void)err_set(&e, ERR_TIMEOUT, "the local provider did not answer in time");
        urequest_fail(r, &e);
    }
    if (w->state != WORKER_GONE)
        end_stuck(w, blocking);
    return true;
}

void local_cancelled(struct urequest *r)
{
    if (r->lane != LANE_NONE)
        urequest_arm(r, CANCEL_GRACE_MS);
}

/* ---- the mount ---- */

struct local_pool *local_pool_new(struct upstream *u)
{
    struct local_pool *p = xcalloc(1, sizeof *p);
    p->up = u;
    p->counts = local_counts(u->shard->gw->local);
    TAILQ_INIT(&p->workers);
    TAILQ_INIT(&p->queue);
    if (u->shard->local_gen)
        p->gen = local_gen_ref(u->shard->local_gen);
    return p;
}

void local_pool_open(struct local_pool *p)
{
    p->wanted = true;
    if (has_ready(p)) {
        struct worker *w;
        TAILQ_FOREACH (w, &p->workers, link)
            if (w->state == WORKER_READY && w->gen == p->gen) {
                p->wanted = false;
                upstream_session_up(p->up, &w->us->info);
                return;
            }
    }
    if (p->failure.kind != ERR_NONE && !p->gen) {
        p->wanted = false;
        upstream_session_down(p->up, &p->failure);
        return;
    }
    fill(p);
}

void upstream_local_changed(struct upstream *u, const struct err *e)
{
    struct local_pool *p = u->local;
    if (!p || u->home != u->shard)
        return;
    if (e) {
        p->failure = *e;
        fail_queue(p, e);
        if (p->wanted)
            upstream_session_down(u, e);
        p->wanted = false;
        return;
    }
    local_gen_unref(&p->gen);
    p->gen = local_gen_ref(u->shard->local_gen);
    p->failure = (struct err){0};
    p->backoff_ms = 0;
    timer_clear(&p->respawn);
    fill(p);
}

void local_pool_close(struct local_pool **pp)
{
    struct local_pool *p = *pp;
    struct worker *w;
    struct err e;
    *pp = NULL;
    if (!p)
        return;
    (void)err_set(&e, ERR_UNAVAILABLE, "the local provider is being replaced");
    fail_queue(p, &e);
    while ((w = TAILQ_FIRST(&p->workers)))
        worker_drop(w);
    timer_clear(&p->respawn);
    local_gen_unref(&p->gen);
    loop_defer_free(p->up->shard->loop, p);
}

bool local_pool_busy(const struct local_pool *p)
{
    struct worker *w;
    TAILQ_FOREACH (w, &p->workers, link)
        if (w->blocking + w->async > 0)
            return true;
    return p->queued > 0;
}
