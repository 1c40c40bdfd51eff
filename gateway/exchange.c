/* See exchange.h. What all transports have in common: the fields every answer carries. */
#include "gateway/exchange.h"

#include <assert.h>

/* Every answer: no sniffing, nothing cached on the way, and the CORS fields of an admitted
 * origin. */
static void common_fields(struct exchange *x, struct buf *out)
{
    buf_adds(out, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
    buf_add_str(out, x->fields);
}

void exchange_add_field(struct exchange *x, struct str name, struct str value)
{
    struct buf all = {0};
    buf_add_str(&all, x->fields);
    (void)!http1_add_field(&all, name, value);
    x->fields = (struct str){arena_dup(&x->arena, all.p, all.n), all.n};
    buf_fini(&all);
}

void exchange_reply(struct exchange *x, int status, struct str fields, struct str body)
{
    assert(!x->answered);
    x->answered = true;
    char stack[1024];
    struct buf all = {.p = stack, .cap = sizeof stack};
    if (fields.n + x->fields.n > sizeof stack - 128)
        all = (struct buf){0};
    common_fields(x, &all);
    buf_add_str(&all, fields);
    x->ops->reply(x, status, buf_str(&all), body);
    if (all.p != stack)
        buf_fini(&all);
}

void exchange_reply_json(struct exchange *x, int status, struct str body)
{
    exchange_reply(x, status, STR("Content-Type: application/json\r\n"), body);
}

void exchange_stream_begin(struct exchange *x, struct str fields)
{
    assert(!x->answered);
    x->answered = x->streaming = true;
    struct buf all = {0};
    buf_adds(&all, "Content-Type: text/event-stream\r\nX-Accel-Buffering: no\r\n");
    common_fields(x, &all);
    buf_add_str(&all, fields);
    x->ops->stream_begin(x, buf_str(&all));
    buf_fini(&all);
}

bool exchange_event(struct exchange *x, struct str id, struct str message)
{
    return x->ops->event(x, id, message);
}

bool exchange_prime(struct exchange *x, struct str id, int retry_ms)
{
    return !x->ops->prime || x->ops->prime(x, id, retry_ms);
}

bool exchange_endpoint(struct exchange *x, struct str reference)
{
    return x->ops->endpoint(x, reference);
}

bool exchange_beat(struct exchange *x)
{
    return x->ops->beat(x);
}

void exchange_stream_end(struct exchange *x)
{
    x->ops->stream_end(x);
}

void exchange_move(struct exchange *x, struct shard *to)
{
    x->ops->move(x, to);
}

void exchange_take_body(struct exchange *x, struct buf *out)
{
    x->ops->take_body(x, out);
}

void exchange_hold(struct exchange *x)
{
    x->held = true;
    x->ops->hold(x);
}

void exchange_resume(struct exchange *x)
{
    if (!x->held)
        return;
    x->held = false;
    x->ops->resume(x);
}
