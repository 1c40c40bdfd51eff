/* See mcp_sse.h. The id in the endpoint is sealed around the replica and the shard that have the
 * stream, and bound to the principal. */
#include "gateway/mcp_sse.h"

#include "base/crypto.h"
#include "gateway/channel.h"
#include "gateway/envelope.h"
#include "gateway/expiry.h"
#include "gateway/mcp_http.h"
#include "gateway/owner.h"

#include <stdlib.h>

enum { BEAT_MS = 15000 };

struct sse_client {
    struct channel ch;
    struct sse_clients *all;
    struct exchange *x; /* the stream */
    char *key;          /* where it is in the table */
    struct timer beat;
    struct expiry expiry;
};

struct sse_clients {
    struct shard *shard;
    struct map by_key;
};

/* ---- streams ---- */

static void client_destroy(void *arg)
{
    struct sse_client *c = arg;
    channel_fini(&c->ch);
    free(c->key);
    free(c);
}

static void client_close(struct sse_client *c)
{
    map_del(&c->all->by_key, str_of(c->key));
    timer_clear(&c->beat);
    expiry_clear(&c->expiry);
    channel_end(&c->ch);
    loop_defer(c->ch.shard->loop, client_destroy, c);
}

static void on_stream_closed(struct exchange *x)
{
    client_close(x->arg);
}

static void end_stream(struct sse_client *c)
{
    struct exchange *x = c->x;
    x->on_closed = NULL;
    client_close(c);
    exchange_stream_end(x);
}

static bool on_send(struct channel *ch, struct str message, bool answer)
{
    struct sse_client *c = (struct sse_client *)ch;
    (void)answer;
    return !ch->closed && exchange_event(c->x, (struct str){0}, message);
}

static void on_expired(void *arg)
{
    end_stream(arg);
}

static void on_idle(struct channel *ch)
{
    if (ch->shard->draining)
        end_stream((struct sse_client *)ch);
}

static void on_beat(void *arg)
{
    struct sse_client *c = arg;
    timer_set(&c->beat, c->ch.shard->loop, BEAT_MS, on_beat, c);
    (void)exchange_beat(c->x); /* false: c is closed */
}

/* ---- GET ---- */

bool mcp_sse_head(struct exchange *x)
{
    /* Clients that try a POST first go on to GET at 405 (MCP 2025-11-25 basic/transports "Backwards
     * Compatibility"). */
    if (!str_eq(x->head->method, STR("GET"))) {
        mcp_http_refuse(x, 405, STR("Allow: GET\r\n"), RPC_INVALID_REQUEST,
                        "this is the HTTP+SSE transport: GET opens its stream");
        return false;
    }
    if (!http1_accepts(http1_value(x->head, STR("Accept")), STR("text/event-stream"))) {
        mcp_http_refuse(x, 406, (struct str){0}, RPC_INVALID_REQUEST,
                        "Accept must admit text/event-stream");
        return false;
    }
    return true;
}

static bool is_full(const struct shard *s)
{
    size_t share = (size_t)(s->config->max_sessions + s->gw->shard_count - 1);
    return s->sse->by_key.count >= share / (size_t)s->gw->shard_count;
}

static void name_endpoint(struct sse_client *c, struct str context)
{
    struct shard *s = c->ch.shard;
    struct buf plain = {0}, endpoint = {0};
    buf_addf(&plain, "2\n%s\n%d\n%s", s->gw->replica, s->index, c->key);
    buf_addf(&endpoint, "%s?sessionId=", s->config->messages_path);
    sealer_seal(s->gw->sealer, "sse", context, buf_str(&plain), &endpoint);
    (void)exchange_endpoint(c->x, buf_str(&endpoint));
    buf_fini(&plain);
    buf_fini(&endpoint);
}

void mcp_sse_open(struct exchange *x)
{
    static const struct channel_ops ops = {on_send, on_idle};
    struct shard *s = x->shard;
    uint8_t random[16];
    struct buf key = {0};
    if (s->draining || is_full(s)) {
        mcp_http_refuse(x, 503, (struct str){0}, RPC_INTERNAL_ERROR,
                        "too many sessions; try again later");
        return;
    }
    struct sse_client *c = xcalloc(1, sizeof *c);
    channel_init(&c->ch, &ops, s, x->principal);
    c->ch.legacy = true;
    c->all = s->sse;
    c->x = x;
    crypto_random(random, sizeof random);
    crypto_hex(&key, random, sizeof random);
    c->key = xmemdup0(key.p, key.n);
    buf_fini(&key);
    map_set(&s->sse->by_key, str_of(c->key), c);
    timer_set(&c->beat, s->loop, BEAT_MS, on_beat, c);
    expiry_set(&c->expiry, s->loop, x->principal, on_expired, c);
    x->arg = c;
    x->on_closed = on_stream_closed;
    exchange_stream_begin(x, (struct str){0});
    name_endpoint(c, principal_key(c->ch.principal));
}

/* ---- POST ---- */

bool mcp_sse_post_head(struct exchange *x)
{
    if (str_eq(x->head->method, STR("POST")))
        return mcp_http_type_ok(x);
    mcp_http_refuse(x, 405, STR("Allow: POST\r\n"), RPC_INVALID_REQUEST, "use POST");
    return false;
}

static struct str query_value(struct str query, struct str name)
{
    struct str part;
    while (str_split(&query, '&', &part))
        if (part.n > name.n && str_starts(part, name) && part.p[name.n] == '=')
            return (struct str){part.p + name.n + 1, part.n - name.n - 1};
    return (struct str){0};
}

/* Where a stream is. */
struct home {
    struct sse_client *client;       /* here */
    struct shard *shard;             /* on this shard, if anywhere in this process */
    char replica[ENVELOPE_NAME + 1]; /* or at this replica; else empty */
};

static void find_in_process(struct shard *s, struct str place, struct home *at)
{
    struct str index;
    uint64_t i;
    if (!str_split(&place, '\n', &index) || !str_to_u64(index, &i) ||
        i >= (uint64_t)s->gw->shard_count)
        return;
    if ((int)i == s->index)
        at->client = map_get(&s->sse->by_key, place);
    else
        at->shard = &s->gw->shards[i];
}

/* All empty: the id is forged, another principal's, or its stream has ended. */
static struct home find(const struct exchange *x)
{
    struct shard *s = x->shard;
    struct str id = query_value(x->head->query, STR("sessionId")), format, replica;
    struct buf plain = {0};
    struct home at = {0};
    bool ok = sealer_open(s->gw->sealer, "sse", principal_key(x->principal), id, &plain, NULL);
    struct str rest = buf_str(&plain);
    if (ok && str_split(&rest, '\n', &format) && str_eq(format, STR("2")) &&
        str_split(&rest, '\n', &replica) && replica.n == ENVELOPE_NAME) {
        if (str_eq(replica, str_of(s->gw->replica)))
            find_in_process(s, rest, &at);
        else
            memcpy(at.replica, replica.p, replica.n);
    }
    buf_fini(&plain);
    return at;
}

static void answer_gone(struct exchange *x)
{
    mcp_http_refuse(x, 404, (struct str){0}, RPC_INVALID_REQUEST,
                    "no such session; open a stream first");
}

void mcp_sse_post(struct exchange *x)
{
    struct err e;
    struct home at = find(x);
    if (at.shard) {
        exchange_move(x, at.shard);
    } else if (at.replica[0]) {
        owner_send(x, str_of(at.replica), answer_gone);
    } else if (!at.client) {
        answer_gone(x);
    } else if (!json_parse(&x->shard->scratch_doc, x->body.p, x->body.n, &e)) {
        mcp_http_refuse(x, 400, (struct str){0}, RPC_PARSE_ERROR, e.msg);
    } else {
        channel_take(&at.client->ch, x->body, x);
        exchange_reply(x, 202, STR("Content-Type: text/plain\r\n"), STR("Accepted"));
    }
}

/* ---- shards ---- */

struct sse_clients *sse_clients_new(struct shard *s)
{
    struct sse_clients *cs = xcalloc(1, sizeof *cs);
    cs->shard = s;
    return cs;
}

void sse_clients_drain(struct shard *s)
{
    void *v;
    for (size_t at = 0; s->sse && map_next(&s->sse->by_key, &at, NULL, &v);) {
        struct sse_client *c = v;
        if (channel_busy(&c->ch))
            continue;
        end_stream(c);
        at = 0;
    }
}

void sse_clients_free(struct sse_clients **csp)
{
    struct sse_clients *cs = *csp;
    if (!cs)
        return;
    *csp = NULL;
    void *c;
    for (size_t at = 0; map_next(&cs->by_key, &at, NULL, &c); at = 0)
        end_stream(c);
    map_fini(&cs->by_key);
    free(cs);
}
