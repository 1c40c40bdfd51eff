/* See store_redis.h: messages. A connection of its own, made with the first subscription, since a
 * RESP2 connection that subscribes does nothing else. Messages that were sent while it was away are
 * lost; every channel is told so when it is subscribed again. */
#include "store/store_redis.h"

#include "base/clock.h"

enum { PING_MS = 1000, SILENT_MS = 3000 };

static void on_sub_timer(void *arg)
{
    struct redis_store *rs = arg;
    struct err e = {ERR_TIMEOUT, "no answer"};
    redis_wire_read(&rs->sub.wire);
    if (rs->sub.state == LINK_UP) {
        struct buf out = {0};
        redis_encode(&out, (struct str[]){STR("PING")}, 1);
        redis_link_put(&rs->sub, buf_str(&out));
        buf_fini(&out);
        if (clock_us() - rs->sub_heard_us > SILENT_MS * 1000LL)
            redis_link_drop(&rs->sub, &e);
    }
    timer_set(&rs->sub_timer, rs->base.loop, PING_MS, on_sub_timer, rs);
}

static void say(struct redis_store *rs, struct str command, struct str channel)
{
    struct buf out = {0};
    redis_encode(&out, (struct str[]){command, channel}, 2);
    redis_link_put(&rs->sub, buf_str(&out));
    buf_fini(&out);
}

static void on_sub_up(struct redis_link *l)
{
    struct redis_store *rs = l->arg;
    struct str name;
    void *value;
    size_t at = 0;
    rs->sub_heard_us = clock_us();
    while (map_next(&rs->base.channels, &at, &name, &value))
        say(rs, STR("SUBSCRIBE"), name);
    timer_set(&rs->sub_timer, rs->base.loop, PING_MS, on_sub_timer, rs);
}

static void on_sub_down(struct redis_link *l, const struct err *e)
{
    struct redis_store *rs = l->arg;
    if (e->kind == ERR_BAD_UPSTREAM) /* larger than any of ours */
        metric_add(rs->base.hub->forged[FORGED_MESSAGE], 1);
    store_channels_away(&rs->base);
}

static void on_message(struct redis_store *rs, struct str channel, struct str raw)
{
    const struct store_place at = {STORE_FOR_MESSAGE, channel, 0};
    struct str body;
    if (store_mac_open(rs->hub->macs, &at, raw, clock_wall_ms(), &body))
        store_deliver(&rs->base, STORE_MESSAGE, channel, body);
    else
        metric_add(rs->base.hub->forged[FORGED_MESSAGE], 1);
}

/* [subscribe, channel, count], [message, channel, bytes]; unsubscribe and pong say nothing new. */
static void on_sub_reply(struct redis_link *l)
{
    struct redis_store *rs = l->arg;
    const struct redis_replies *r = &l->wire.replies;
    const struct redis_node *kind = redis_item(r, 0), *channel = redis_item(r, 1),
                            *body = redis_item(r, 2);
    struct err e = {ERR_UNAVAILABLE, "the server refuses to subscribe"};
    rs->sub_heard_us = clock_us();
    if (r->nodes[0].type == REDIS_ERROR)
        redis_link_drop(l, &e);
    else if (!kind || !channel || !body)
        return;
    else if (str_eq(kind->text, STR("subscribe")))
        store_channel_live(&rs->base, channel->text);
    else if (str_eq(kind->text, STR("message")) && body->type == REDIS_TEXT)
        on_message(rs, channel->text, body->text);
}

static const struct redis_link_events sub_events = {on_sub_up, on_sub_down, on_sub_reply};

void redis_sub_subscribed(struct store *s, struct str channel)
{
    struct redis_store *rs = (struct redis_store *)(void *)s;
    if (rs->sub.state == LINK_UP) {
        say(rs, STR("SUBSCRIBE"), channel);
    } else if (rs->sub.state == LINK_OFF) {
        rs->sub =
            (struct redis_link){.events = &sub_events, .arg = rs, .hub = rs->hub, .loop = s->loop};
        redis_link_start(&rs->sub);
    }
}

void redis_sub_unsubscribed(struct store *s, struct str channel)
{
    struct redis_store *rs = (struct redis_store *)(void *)s;
    if (rs->sub.state == LINK_UP)
        say(rs, STR("UNSUBSCRIBE"), channel);
}

void redis_sub_stop(struct redis_store *rs)
{
    timer_clear(&rs->sub_timer);
    redis_link_stop(&rs->sub);
}
