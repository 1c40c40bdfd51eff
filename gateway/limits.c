/* See limits.h. All windows of a decision go to the store in one operation, which admits to all or
 * to none. While the store is away each window says itself what then happens: what may be decided
 * alone is decided against this process's share, in its own memory. */
#include "gateway/limits.h"

#include "gateway/call.h"
#include "gateway/catalog.h"
#include "gateway/client_address.h"
#include "gateway/exchange.h"

enum { AWAY_RETRY_MS = 1000 };

/* ---- windows ---- */

static const struct limit_window *window_at(const struct limit_check *k, size_t i)
{
    return i < k->plan->n ? &k->plan->at[i] : &k->extra;
}

static size_t window_count(const struct limit_check *k)
{
    return k->plan->n + rate_is_set(k->extra.rate);
}

/* ---- keys ---- */

/* Callers without a name are told apart by where they call from. Needs the exchange, so it is asked
 * before anything waits. */
static struct str who_of(struct call *c)
{
    const struct exchange *x = c->exchange;
    const struct config *cfg = c->catalog->config;
    struct buf b = {0};
    struct cidr address;
    if (!c->principal->anonymous)
        return principal_key(c->principal);
    buf_adds(&b, "@");
    if (x && x->peer &&
        client_address(x->head, x->peer, cfg->trusted_proxies, cfg->trusted_proxy_count, &address))
        client_bucket(&address, &b);
    struct str who = {arena_dup(&c->arena, b.p, b.n), b.n};
    buf_fini(&b);
    return who;
}

/* A listed target counts under its one public name, however it was called. Names that no list holds
 * are the client's invention, so that each mount has one window for all of them. */
static struct str subject_of(const struct call *c, struct str *sort)
{
    *sort = c->entry ? STR("n") : STR("m");
    return c->entry ? c->entry->public_name : str_of(c->up->cfg->name);
}

static struct str key_of(const struct limit_check *k, const struct limit_window *w,
                         struct store_key *room)
{
    const struct call *c = k->call;
    struct str tenant = str_of(c->principal->tenant), sort;
    struct str subject = subject_of(c, &sort);
    const char sign = (char)w->sort;
    struct str parts[] = {
        {&sign, 1},
        w->sort == WINDOW_RULE || w->sort == WINDOW_POLICY ? str_of(w->name) : (struct str){0},
        w->per & PER_TENANT ? tenant : (struct str){0},
        w->per & PER_PRINCIPAL ? k->who : (struct str){0},
        w->per & PER_TOOL ? sort : (struct str){0},
        w->per & PER_TOOL ? subject : (struct str){0},
    };
    struct str tag = tenant;
    if (c->catalog->config->limits.across_tenants)
        tag.n = 0;
    return store_key(c->shard->store, room, "rate", tag, parts, sizeof parts / sizeof *parts);
}

/* The window's rate for this caller; unset where it does not apply. */
static struct rate rate_of(const struct limit_check *k, const struct limit_window *w)
{
    static const struct rate none;
    const struct limits_config *l = &k->call->catalog->config->limits;
    const char *tenant = k->call->principal->tenant;
    char *const *t = w->tenants;
    if (w->sort == WINDOW_TENANT) {
        const struct rate *own = map_get(&l->tenant_by_name, str_of(tenant));
        return own ? *own : none;
    }
    while (t && *t && strcmp(*t, tenant) != 0)
        t++;
    return !t || *t ? w->rate : none;
}

/* ---- deciding ---- */

static enum limit_verdict refuse(struct limit_check *k, const struct limit_window *by,
                                 int64_t retry_ms, bool away)
{
    k->by = by;
    k->rate = rate_of(k, by);
    k->retry_ms = retry_ms;
    k->away = away;
    metric_add(
        by->refused ? by->refused : metric_series(&metric_rows[M_RATE_LIMITED], "policy", NULL), 1);
    return LIMIT_REFUSED;
}

/* Says once when the process begins to decide alone, and once when it ends. */
static void note_away(struct shard *s, bool away)
{
    if (s->limits_alone == away)
        return;
    s->limits_alone = away;
    int alone = atomic_fetch_add(&s->gw->limits_alone, away ? 1 : -1);
    metric_add(metric_of(M_RATE_LIMIT_DEGRADED), away ? 1 : -1);
    if (away && alone == 0) {
        log_warn("limits.store_away",
                 L_STR("then", "each limit's failMode decides until it is back"));
    } else if (!away && alone == 1) {
        log_info("limits.store_back");
    }
}

/* The windows that were asked, by what may be decided without the store. */
static enum limit_verdict decide_alone(struct limit_check *k)
{
    struct store *s = k->call->shard->store;
    struct store_window w[STORE_WINDOWS_MAX];
    struct store_key keys[STORE_WINDOWS_MAX];
    struct store_reply r;
    const struct limit_window *local[STORE_WINDOWS_MAX];
    struct rate rate;
    size_t n = 0;
    int replicas = store_replicas(s);
    note_away(k->call->shard, true);
    for (size_t i = 0; i < k->asked_count; i++) {
        const struct limit_window *at = window_at(k, k->asked[i]);
        switch (at->fail) {
        case FAIL_CLOSED: return refuse(k, at, AWAY_RETRY_MS, true);
        case FAIL_OPEN: break;
        case FAIL_LOCAL:
            local[n] = at;
            rate = rate_of(k, at);
            w[n] = (struct store_window){key_of(k, at, &keys[n]),
                                         ((int64_t)rate.limit + replicas - 1) / replicas,
                                         rate.window_ms};
            n++;
            break;
        }
    }
    if (n == 0)
        return LIMIT_ADMITTED;
    /* Memory answers at once, and without an operation nothing else can come. */
    if (!store_admit(store_local(s), NULL, w, n, &r) || r.status != STORE_HELD)
        return LIMIT_ADMITTED;
    return refuse(k, local[r.window], r.retry_ms, false);
}

static enum limit_verdict take_reply(struct limit_check *k, const struct store_reply *r)
{
    if (r->status == STORE_AWAY)
        return decide_alone(k);
    note_away(k->call->shard, false);
    if (r->status == STORE_HELD)
        return refuse(k, window_at(k, k->asked[r->window]), r->retry_ms, false);
    return LIMIT_ADMITTED;
}

static void on_reply(const struct store_reply *r, void *arg)
{
    struct limit_check *k = arg;
    enum limit_verdict v = take_reply(k, r);
    if (v == LIMIT_ADMITTED)
        v = limit_check(k);
    if (v != LIMIT_WAITS)
        k->fn(k, v);
}

/* Asks for as many of the windows that are left as fit into one operation: nearly always all. */
static enum limit_verdict ask(struct limit_check *k)
{
    struct store_window w[STORE_WINDOWS_MAX];
    struct store_key keys[STORE_WINDOWS_MAX];
    struct store_reply r;
    size_t n = 0;
    for (; k->next < window_count(k) && n < STORE_WINDOWS_MAX; k->next++) {
        const struct limit_window *at = window_at(k, k->next);
        struct rate rate = rate_of(k, at);
        if (!rate_is_set(rate))
            continue;
        w[n] = (struct store_window){key_of(k, at, &keys[n]), rate.limit, rate.window_ms};
        k->asked[n++] = k->next;
    }
    k->asked_count = n;
    if (n == 0)
        return LIMIT_ADMITTED;
    k->op.fn = on_reply;
    k->op.arg = k;
    return store_admit(k->call->shard->store, &k->op, w, n, &r) ? take_reply(k, &r) : LIMIT_WAITS;
}

void limit_check_prepare(struct limit_check *k)
{
    const struct call *c = k->call;
    const struct limits_config *l = &c->catalog->config->limits;
    struct err e;
    if (c->access.limit && rate_parse(str_of(c->access.limit), &k->extra.rate, &e)) {
        k->extra.name = c->access.rule.p;
        k->extra.sort = WINDOW_POLICY;
        k->extra.per = PER_TENANT | PER_PRINCIPAL;
        k->extra.fail = l->fail;
    }
    if (l->by_principal || rate_is_set(k->extra.rate))
        k->who = who_of(k->call);
}

enum limit_verdict limit_check(struct limit_check *k)
{
    enum limit_verdict v = LIMIT_ADMITTED;
    while (v == LIMIT_ADMITTED && k->next < window_count(k))
        v = ask(k);
    return v;
}

void limit_check_cancel(struct limit_check *k)
{
    store_cancel(&k->op);
}
