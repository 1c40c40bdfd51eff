/* See owner.h: requests that go to another replica, and those that come from one.
 *
 * To send: the request is wrapped (envelope.h) and posted; head and messages of the answer are
 * handed on as they come. Who goes away first ends the other side.
 * To receive: what is authentic, fresh, for us and new is dispatched as if it had arrived here. */
#include "gateway/owner_priv.h"

#include "auth/policy.h"
#include "auth/principal_wire.h"
#include "base/clock.h"
#include "gateway/client_address.h"
#include "gateway/jsonrpc.h"
#include "gateway/routes.h"

#include <stdlib.h>

enum {
    LINK_CONNECT_MS = 1000,
    HEARTBEAT_MS = 15000,
    MAX_FORWARDS = 10000, /* a loop, at one time */
    MAX_NONCES = 200000,  /* of half a minute */
    NOT_HERE = 421        /* between replicas: look again */
};
#define LINK_PATH "/link"
/* Where the client calls from; no field of this name is taken from a client. */
#define ADDRESS_FIELD "Client-Address"

/* One exchange, at another replica. */
struct forward {
    struct owners *owners;
    struct peer *peer;
    struct exchange *x;
    owner_gone_fn gone;
    struct hreq *http;
    int status;
    struct buf fields;  /* of the answer */
    struct buf body;    /* of an answer that is no stream */
    char event_id[256]; /* of the next message */
    bool streaming;
    struct timer beat;
    TAILQ_ENTRY(forward) link;
};

static void count_sent(const char *result)
{
    metric_add(metric_series(&metric_rows[M_LINK_SENT], result, NULL), 1);
}

static void count_received(const char *result)
{
    metric_add(metric_series(&metric_rows[M_LINK_RECEIVED], result, NULL), 1);
}

/* ---- peers ---- */

void peer_set_address(struct peer *p, struct str address)
{
    if (p->address && str_eq(str_of(p->address), address))
        return;
    if (p->forwards == 0) {
        http_pool_free(&p->pool);
        free(p->config.url);
        p->config.url = NULL;
    }
    free(p->address);
    p->address = address.n ? xmemdup0(address.p, address.n) : NULL;
}

static void peer_destroy(void *arg)
{
    struct peer *p = arg;
    free(p->config.url);
    free(p);
}

void peer_free(struct peer *p)
{
    store_cancel(&p->look);
    http_pool_free(&p->pool);
    free(p->address);
    loop_defer(p->owners->shard->loop, peer_destroy, p); /* the pool borrows its configuration */
}

static struct http_pool *pool_of(struct peer *p)
{
    static char name[] = "replica";
    struct buf url = {0};
    struct err e;
    if (p->pool)
        return p->pool;
    buf_addf(&url, "http://%s" LINK_PATH, p->address);
    free(p->config.url);
    p->config.url = xmemdup0(url.p, url.n);
    p->config.name = name;
    p->config.connect_ms = LINK_CONNECT_MS;
    buf_fini(&url);
    p->pool = http_pool_new(p->owners->shard, &p->config, &e);
    if (!p->pool)
        log_warn("link.address_unusable", L_STR("address", p->address), L_ERR(&e));
    return p->pool;
}

/* ---- the end of a forward ---- */

static void forward_destroy(void *arg)
{
    struct forward *f = arg;
    buf_fini(&f->fields);
    buf_fini(&f->body);
    free(f);
}

static void forward_free(struct forward *f)
{
    hreq_cancel(&f->http);
    timer_clear(&f->beat);
    f->peer->forwards--;
    TAILQ_REMOVE(&f->owners->forwards, f, link);
    loop_defer(f->owners->shard->loop, forward_destroy, f);
}

/* Its exchange is the caller's. */
static struct exchange *forward_end(struct forward *f)
{
    struct exchange *x = f->x;
    x->on_closed = NULL;
    x->arg = NULL;
    forward_free(f);
    return x;
}

static void on_client_gone(struct exchange *x)
{
    forward_free(x->arg);
}

bool owner_error(const struct exchange *x, int code, struct str message, struct str data,
                 struct buf *out)
{
    struct json_doc d = {0};
    struct rpc_msg m;
    struct err e;
    bool ok = x->body.n && json_parse(&d, x->body.p, x->body.n, &e) && rpc_read(&d, &m, &e) &&
              m.kind == RPC_REQUEST;
    if (ok)
        rpc_error(out, json_raw(&d, m.id), code, message, data);
    json_fini(&d);
    return ok;
}

/* The peer took the request, and nothing more will come from it. */
static void lose(struct forward *f)
{
    struct buf m = {0};
    bool streaming = f->streaming;
    struct exchange *x = forward_end(f);
    bool request =
        owner_error(x, RPC_INTERNAL_ERROR,
                    STR("the replica that ran this request is gone; it may have been carried out"),
                    STR("{\"reason\":\"owner_gone\",\"mayHaveHadEffects\":true}"), &m);
    count_sent("lost");
    if (streaming) {
        if (!request || exchange_event(x, (struct str){0}, buf_str(&m)))
            exchange_stream_end(x);
    } else if (request) {
        exchange_reply_json(x, 200, buf_str(&m));
    } else {
        exchange_reply(x, 503, STR("Retry-After: 1\r\n"), (struct str){0});
    }
    buf_fini(&m);
}

void link_lost(struct owners *o, const struct peer *p)
{
    struct forward *f, *next;
    for (f = TAILQ_FIRST(&o->forwards); f; f = next) {
        next = TAILQ_NEXT(f, link);
        if (f->peer == p)
            lose(f);
    }
}

/* ---- the answer ---- */

static void on_beat(void *arg)
{
    struct forward *f = arg;
    if (exchange_beat(f->x)) /* else f is gone */
        timer_set(&f->beat, f->owners->shard->loop, HEARTBEAT_MS, on_beat, f);
}

static bool on_head(struct hreq *h, const struct http1_head *head, void *arg)
{
    static const char *const handed_on[] = {"Mcp-Session-Id", "Retry-After", "WWW-Authenticate",
                                            "Allow"};
    struct forward *f = arg;
    (void)h;
    f->status = head->status;
    for (size_t i = 0; i < sizeof handed_on / sizeof *handed_on; i++) {
        struct str v = http1_value(head, str_of(handed_on[i]));
        if (v.p && !http1_add_field(&f->fields, str_of(handed_on[i]), v))
            log_debug("link.field_dropped");
    }
    struct str type = http1_value(head, STR("Content-Type"));
    if (head->status == 200 && http1_type_is(type, STR("text/event-stream"))) {
        f->streaming = true;
        exchange_stream_begin(f->x, buf_str(&f->fields));
        timer_set(&f->beat, f->owners->shard->loop, HEARTBEAT_MS, on_beat, f);
    } else if (type.p && !http1_add_field(&f->fields, STR("Content-Type"), type)) {
        log_debug("link.field_dropped");
    }
    return true;
}

static void on_note(struct hreq *h, const struct sse_event *ev, void *arg)
{
    struct forward *f = arg;
    (void)h;
    f->event_id[0] = '\0';
    if (ev->has_id && ev->id.n < sizeof f->event_id) {
        memcpy(f->event_id, ev->id.p, ev->id.n);
        f->event_id[ev->id.n] = '\0';
    }
    if (ev->data.n == 0 && ev->retry_ms >= 0 && ev->retry_ms <= INT32_MAX)
        (void)exchange_prime(f->x, str_of(f->event_id), (int)ev->retry_ms);
}

static void on_message(struct hreq *h, struct str text, void *arg)
{
    struct forward *f = arg;
    (void)h;
    if (f->streaming)
        (void)exchange_event(f->x, str_of(f->event_id), text);
    else
        buf_add_str(&f->body, text);
}

/* Nothing of the request was taken: the session is looked for again. */
static void again(struct forward *f, const char *why)
{
    struct buf name = {0};
    buf_adds(&name, f->peer->name);
    f->peer->heard_ms = 0;
    count_sent(why);
    if (f->gone)
        f->gone(forward_end(f));
    else
        owner_find_again(forward_end(f), buf_str(&name));
    buf_fini(&name);
}

static void on_end(struct hreq *h, const struct err *e, void *arg)
{
    struct forward *f = arg;
    f->http = NULL;
    if (e && f->status == 0 && !hreq_wrote(h)) {
        again(f, "unreachable");
    } else if (e) {
        lose(f);
    } else if (f->status == NOT_HERE) {
        again(f, "refused");
    } else if (f->streaming) {
        count_sent("ok");
        exchange_stream_end(forward_end(f));
    } else {
        /* f's buffers live until the end of the turn */
        count_sent("ok");
        exchange_reply(forward_end(f), f->status, buf_str(&f->fields), buf_str(&f->body));
    }
}

/* ---- the request ---- */

/* What the owner needs of a head: never credentials. */
static bool is_wanted(struct str name)
{
    return str_ieq(name, STR("Accept")) || str_ieq(name, STR("Content-Type")) ||
           str_ieq(name, STR("Last-Event-ID")) ||
           (name.n > 4 && str_ieq((struct str){name.p, 4}, STR("Mcp-")));
}

static void add_address(const struct exchange *x, struct buf *out)
{
    const struct config *cfg = x->shard->config;
    struct cidr address;
    if (!x->peer ||
        !client_address(x->head, x->peer, cfg->trusted_proxies, cfg->trusted_proxy_count, &address))
        return;
    buf_adds(out, ADDRESS_FIELD ": ");
    client_address_format(&address, out);
    buf_adds(out, "\r\n");
}

static void write_head(const struct exchange *x, struct buf *out)
{
    const struct http1_head *h = x->head;
    buf_add_str(out, h->method);
    buf_addc(out, ' ');
    buf_add_str(out, h->target);
    buf_adds(out, " HTTP/1.1\r\nHost: link\r\n");
    for (int i = 0; i < h->fields; i++) {
        if (is_wanted(h->field[i].name) &&
            !http1_add_field(out, h->field[i].name, h->field[i].value))
            log_debug("link.field_dropped");
    }
    add_address(x, out);
    buf_addf(out, "Content-Length: %zu\r\n\r\n", x->body.n);
}

static void wrap(const struct forward *f, struct buf *out)
{
    const struct gateway *gw = f->owners->shard->gw;
    struct buf head = {0}, principal = {0};
    uint8_t nonce[ENVELOPE_NONCE];
    crypto_random(nonce, sizeof nonce);
    write_head(f->x, &head);
    principal_write(f->x->principal, &principal);
    envelope_seal(gw->link_keys,
                  &(struct envelope){.from = str_of(gw->replica),
                                     .to = str_of(f->peer->name),
                                     .nonce = {(const char *)nonce, sizeof nonce},
                                     .sent_ms = clock_wall_ms(),
                                     .principal = buf_str(&principal),
                                     .head = buf_str(&head),
                                     .body = f->x->body},
                  out);
    buf_fini(&head);
    buf_fini(&principal);
}

void link_forward(struct exchange *x, struct peer *p, owner_gone_fn gone)
{
    static const struct hreq_ops ops = {
        .on_head = on_head, .on_note = on_note, .on_message = on_message, .on_end = on_end};
    struct owners *o = p->owners;
    struct http_pool *pool = pool_of(p);
    struct buf body = {0};
    if (!pool || p->forwards >= MAX_FORWARDS) {
        count_sent("overloaded");
        exchange_reply(x, 503, STR("Retry-After: 1\r\n"), (struct str){0});
        return;
    }
    struct forward *f = xcalloc(1, sizeof *f);
    f->owners = o;
    f->peer = p;
    f->x = x;
    f->gone = gone;
    p->forwards++;
    TAILQ_INSERT_TAIL(&o->forwards, f, link);
    x->arg = f;
    x->on_closed = on_client_gone;
    wrap(f, &body);
    f->http =
        hreq_start(pool, &(struct hreq_spec){.method = "POST", .body = buf_str(&body)}, &ops, f);
    buf_fini(&body);
}

/* ---- receiving ---- */

void link_refuse(struct exchange *x)
{
    exchange_reply(x, NOT_HERE, (struct str){0}, (struct str){0});
}

static void reject(struct exchange *x, int status, const char *why)
{
    count_received(why);
    log_warn("link.refused", L_STR("reason", why));
    exchange_reply(x, status, (struct str){0}, (struct str){0});
}

void link_on_head(struct exchange *x)
{
    if (!str_eq(x->head->path, STR(LINK_PATH)) || !str_eq(x->head->method, STR("POST")))
        reject(x, 404, "malformed");
    else if (http1_value(x->head, STR("Expect")).p)
        reject(x, 417, "malformed");
}

void link_turn_nonces(struct owners *o)
{
    int64_t now = clock_ms();
    if (now < o->turned_ms + 2 * ENVELOPE_FRESH_MS)
        return;
    o->turned_ms = now;
    map_fini(&o->nonces[1]);
    o->nonces[1] = o->nonces[0];
    o->nonces[0] = (struct map){0};
}

static const char *judge(struct owners *o, const struct envelope *env)
{
    int64_t age = clock_wall_ms() - env->sent_ms;
    if (!str_eq(env->to, str_of(o->shard->gw->replica)))
        return "misdirected";
    if (age > ENVELOPE_FRESH_MS || age < -ENVELOPE_FRESH_MS)
        return "stale";
    link_turn_nonces(o);
    if (map_get(&o->nonces[0], env->nonce) || map_get(&o->nonces[1], env->nonce))
        return "replayed";
    if (o->nonces[0].count >= MAX_NONCES)
        return "overloaded";
    (void)map_set(&o->nonces[0], env->nonce, o);
    return NULL;
}

static void take_address(struct exchange *x)
{
    struct str text = http1_value(x->head, STR(ADDRESS_FIELD));
    struct net_addr *address = arena_alloc(&x->arena, sizeof *address);
    if (net_addr_literal(text, 0, address) && address->len)
        x->peer = address;
}

/* The request inside becomes the exchange's. */
static bool unwrap(struct exchange *x, const struct envelope *env)
{
    struct http1_head *head = arena_alloc(&x->arena, sizeof *head);
    size_t used = 0;
    int status;
    struct err e;
    struct principal *p = principal_read(env->principal);
    if (!p ||
        http1_parse_request(env->head.p, env->head.n, head, &used, &status, &e) != HTTP1_DONE ||
        used != env->head.n) {
        principal_unref(&p);
        return false;
    }
    const struct policy *policy = &x->shard->config->policy;
    if (policy->active && !p->standing)
        p->standing = policy_subject_new(policy, p);
    principal_unref(&x->principal);
    x->principal = p;
    x->head = head;
    x->body = env->body;
    x->relayed = true;
    take_address(x);
    return true;
}

void link_on_request(struct exchange *x)
{
    struct owners *o = x->shard->owners;
    struct envelope env;
    struct err e;
    const char *why;
    if (!envelope_open(x->shard->gw->link_keys, x->body, &env, &e)) {
        reject(x, 403, e.kind == ERR_UNAUTHENTIC ? "forged" : "malformed");
    } else if ((why = judge(o, &env))) {
        reject(x, strcmp(why, "misdirected") == 0 ? NOT_HERE : 403, why);
    } else if (!unwrap(x, &env)) {
        reject(x, 400, "malformed");
    } else {
        count_received("ok");
        routes_on_request(x);
    }
}
