/* See expiry.h. Timers run by a clock that nobody sets, credentials by the wall's: it is looked at
 * again now and then. */
#include "gateway/expiry.h"

#include "base/clock.h"

enum { LOOK_MS = 30000 };

static void look(void *arg)
{
    struct expiry *e = arg;
    int64_t left = e->at_wall_ms - clock_wall_ms();
    if (left <= 0)
        e->fn(e->arg);
    else
        timer_set(&e->timer, e->loop, left < LOOK_MS ? left : LOOK_MS, look, e);
}

void expiry_set(struct expiry *e, struct loop *l, const struct principal *who, loop_fn fn,
                void *arg)
{
    expiry_clear(e);
    if (!who || who->expires_ms == INT64_MAX)
        return;
    *e = (struct expiry){.loop = l, .at_wall_ms = who->expires_ms, .fn = fn, .arg = arg};
    int64_t left = e->at_wall_ms - clock_wall_ms();
    timer_set(&e->timer, l, left < 0 ? 0 : left < LOOK_MS ? left : LOOK_MS, look, e);
}

void expiry_clear(struct expiry *e)
{
    timer_clear(&e->timer);
}
