/* See watch_priv.h. Lists are fetched page after page while the server names a cursor, and only a
 * whole list replaces the last good one. A server that never ends is cut off. */
#include "gateway/watch_priv.h"

#include <stdlib.h>

enum { MAX_PAGES = 1000, MAX_ENTRIES = 100000, MAX_TEXT = 64 * 1024 * 1024 };

static const struct {
    const char *method, *member;
} kinds[KINDS] = {
    [KIND_TOOLS] = {"tools/list", "tools"},
    [KIND_PROMPTS] = {"prompts/list", "prompts"},
    [KIND_RESOURCES] = {"resources/list", "resources"},
    [KIND_TEMPLATES] = {"resources/templates/list", "resourceTemplates"},
};

/* ---- calls of our own ---- */

static void on_own_notice(struct call *c, const struct json_doc *d, uint32_t params)
{
    (void)c;
    (void)d;
    (void)params;
}

static void on_own_done(struct call *c, const struct outcome *o)
{
    struct own_call *own = c->arg;
    own->ended = true;
    own->fn(o, own->arg);
}

static const struct call_sink own_sink = {
    .progress = on_own_notice, .log = on_own_notice, .done = on_own_done};

struct own_call *own_call_start(struct upstream *u, const char *method, struct buf *params,
                                void (*fn)(const struct outcome *o, void *arg), void *arg)
{
    struct own_call *o = xcalloc(1, sizeof *o);
    struct err e;
    o->fn = fn;
    o->arg = arg;
    o->params = *params;
    *params = (struct buf){0};
    bool parsed = o->params.n > 0 && json_parse(&o->doc, o->params.p, o->params.n, &e);
    /* As a legacy client's: the codec then adds what a modern server needs in _meta. */
    o->c = (struct call){.shard = u->shard,
                         .principal = principal_anonymous(),
                         .method = method_find(str_of(method)),
                         .sink = &own_sink,
                         .arg = o,
                         .doc = &o->doc,
                         .params = parsed ? 0 : JSON_NONE,
                         .legacy_client = true,
                         .log_level = LOG_LEVEL_NONE,
                         .up = upstream_ref(u),
                         .target_tok = JSON_NONE,
                         .state_tok = JSON_NONE};
    call_send(&o->c);
    return o;
}

static void own_call_destroy(void *arg)
{
    struct own_call *o = arg;
    call_fini(&o->c);
    json_fini(&o->doc);
    buf_fini(&o->params);
    free(o);
}

void own_call_drop(struct own_call **op)
{
    struct own_call *o = *op;
    *op = NULL;
    if (!o)
        return;
    if (o->ended)
        loop_defer(o->c.shard->loop, own_call_destroy, o); /* this may be its own callback */
    else
        own_call_destroy(o);
}

/* ---- raw lists ---- */

void raw_list_fini(struct raw_list *l)
{
    buf_fini(&l->text);
    free(l->off);
    *l = (struct raw_list){0};
}

void raw_list_add(struct raw_list *l, struct str text)
{
    if (l->n + 1 >= l->cap) {
        l->cap = l->cap ? l->cap * 2 : 16;
        l->off = xrealloc(l->off, l->cap * sizeof *l->off);
        l->off[0] = 0;
    }
    buf_add_str(&l->text, text);
    l->off[++l->n] = (uint32_t)l->text.n;
}

/* ---- rounds ---- */

static void on_page(const struct outcome *o, void *arg);

bool fetch_running(const struct watched *m)
{
    for (int k = 0; k < KINDS; k++)
        if (m->fetch[k].call)
            return true;
    return false;
}

static void ask_page(struct list_fetch *f, struct str raw_cursor)
{
    struct buf params = {0};
    if (raw_cursor.p) {
        buf_adds(&params, "{\"cursor\":");
        buf_add_str(&params, raw_cursor);
        buf_addc(&params, '}');
    }
    f->pages++;
    f->call = own_call_start(f->m->up, kinds[f->kind].method, &params, on_page, f);
}

static void begin_round(struct list_fetch *f)
{
    timer_clear(&f->retry);
    raw_list_fini(&f->fresh);
    map_fini(&f->cursors);
    f->pages = 0;
    f->again = false;
    ask_page(f, (struct str){0});
}

static void on_retry(void *arg)
{
    struct list_fetch *f = arg;
    fetch_kind(f->m, f->kind);
}

/* Ends a round; e NULL: the list is whole. */
static void end_round(struct list_fetch *f, const struct err *e)
{
    struct watched *m = f->m;
    own_call_drop(&f->call);
    map_fini(&f->cursors);
    f->failed = e != NULL;
    if (e || !m->promises.has[f->kind]) {
        raw_list_fini(&f->fresh);
    } else {
        raw_list_fini(&m->lists[f->kind]);
        m->lists[f->kind] = f->fresh;
        m->info.count[f->kind] = f->fresh.n;
        f->fresh = (struct raw_list){0};
        f->backoff_ms = 0;
        m->had_lists = true;
    }
    if (f->again && m->online) {
        begin_round(f);
        return;
    }
    if (e && m->online)
        timer_set(&f->retry, m->w->gw->control.loop,
                  watch_jitter(watch_backoff(&f->backoff_ms, RETRY_MIN_MS)), on_retry, f);
    watch_fetched(m, e);
}

static void fail(struct list_fetch *f, const char *what, int shown, const char *detail)
{
    struct err e;
    (void)err_set(&e, ERR_BAD_UPSTREAM, "upstream %s: %s %s%.*s", f->m->up->cfg->name,
                  kinds[f->kind].method, what, shown, detail);
    end_round(f, &e);
}

static void take_error(struct list_fetch *f, const struct outcome *o)
{
    struct arena a = {0};
    int64_t code = 0;
    (void)json_int(o->doc, json_get(o->doc, o->tok, STR("code")), &code);
    struct str text = json_str(o->doc, json_get(o->doc, o->tok, STR("message")), &a);
    if (code == RPC_METHOD_NOT_FOUND) {
        raw_list_fini(&f->fresh);
        end_round(f, NULL);
    } else {
        fail(f, "failed: ", text.n < 200 ? (int)text.n : 200, text.p ? text.p : "");
    }
    arena_fini(&a);
}

/* Adds a page's entries. False: a limit is reached. */
static bool add_entries(struct list_fetch *f, const struct json_doc *d, uint32_t array)
{
    for (uint32_t k = json_first(d, array); k != JSON_NONE; k = json_next(d, array, k)) {
        struct str text = json_raw(d, k);
        if (!json_is(d, k, JSON_OBJECT))
            continue;
        if (f->fresh.n >= MAX_ENTRIES || f->fresh.text.n + text.n > MAX_TEXT)
            return false;
        raw_list_add(&f->fresh, text);
    }
    return true;
}

/* An empty cursor is a cursor too. */
static bool has_next(struct list_fetch *f, const struct json_doc *d, uint32_t cursor)
{
    return json_is(d, cursor, JSON_STRING) && f->pages < MAX_PAGES &&
           !map_set(&f->cursors, json_raw(d, cursor), f);
}

static void take_page(struct list_fetch *f, const struct json_doc *d, uint32_t result)
{
    uint32_t array = json_get(d, result, str_of(kinds[f->kind].member));
    uint32_t cursor = json_get(d, result, STR("nextCursor"));
    if (!json_is(d, array, JSON_ARRAY)) {
        fail(f, "was answered without ", 40, kinds[f->kind].member);
        return;
    }
    bool room = add_entries(f, d, array);
    if (room && has_next(f, d, cursor)) {
        own_call_drop(&f->call);
        ask_page(f, json_raw(d, cursor));
        return;
    }
    if (!room || json_is(d, cursor, JSON_STRING)) {
        log_warn("upstream.list_cut", L_STR("upstream", f->m->up->cfg->name),
                 L_STR("method", kinds[f->kind].method), L_INT("entries", f->fresh.n),
                 L_INT("pages", f->pages));
    }
    end_round(f, NULL);
}

static void on_page(const struct outcome *o, void *arg)
{
    struct list_fetch *f = arg;
    switch (o->kind) {
    case OUT_RESULT: take_page(f, o->doc, o->tok); break;
    case OUT_ERROR: take_error(f, o); break;
    case OUT_FAILED:
        watch_check(f->m);
        end_round(f, o->err);
        break;
    }
}

void fetch_kind(struct watched *m, enum catalog_kind kind)
{
    struct list_fetch *f = &m->fetch[kind];
    if (!m->online || !m->promises.has[kind])
        return;
    if (f->call)
        f->again = true;
    else
        begin_round(f);
}

void fetch_all(struct watched *m)
{
    for (int k = 0; k < KINDS; k++) {
        if (!m->promises.has[k]) {
            raw_list_fini(&m->lists[k]);
            m->info.count[k] = 0;
            m->fetch[k].failed = false;
        }
        fetch_kind(m, (enum catalog_kind)k);
    }
    if (!fetch_running(m))
        watch_fetched(m, NULL);
}

void fetch_pause(struct watched *m)
{
    for (int k = 0; k < KINDS; k++)
        timer_clear(&m->fetch[k].retry);
}

void fetch_init(struct watched *m)
{
    for (int k = 0; k < KINDS; k++) {
        m->fetch[k].m = m;
        m->fetch[k].kind = (enum catalog_kind)k;
    }
}

void fetch_fini(struct watched *m)
{
    for (int k = 0; k < KINDS; k++) {
        struct list_fetch *f = &m->fetch[k];
        timer_clear(&f->retry);
        own_call_drop(&f->call);
        raw_list_fini(&f->fresh);
        map_fini(&f->cursors);
        raw_list_fini(&m->lists[k]);
    }
}
