/* See quiet.h. One timer a shard: as all wait equally long, the first in line is due first. */
#include "gateway/quiet.h"

#include "base/clock.h"
#include "gateway/session.h"

#include <stdlib.h>

struct quiet {
    struct shard *shard;
    TAILQ_HEAD(, request) waiting; /* longest quiet first */
    struct timer timer;
};

static void on_due(void *arg);

struct quiet *quiet_new(struct shard *s)
{
    struct quiet *q = xcalloc(1, sizeof *q);
    q->shard = s;
    TAILQ_INIT(&q->waiting);
    return q;
}

void quiet_free(struct quiet **qp)
{
    if (*qp)
        timer_clear(&(*qp)->timer);
    free(*qp);
    *qp = NULL;
}

void quiet_forget(struct request *r)
{
    struct quiet *q = r->shard->quiet;
    if (!r->quiet_ms)
        return;
    r->quiet_ms = 0;
    TAILQ_REMOVE(&q->waiting, r, quiet_link);
    if (TAILQ_EMPTY(&q->waiting))
        timer_clear(&q->timer);
}

void quiet_since_now(struct request *r)
{
    struct quiet *q = r->shard->quiet;
    if (!q || r->channel || !r->sse_ok || !r->x)
        return;
    if (r->quiet_ms)
        TAILQ_REMOVE(&q->waiting, r, quiet_link);
    r->quiet_ms = clock_ms();
    TAILQ_INSERT_TAIL(&q->waiting, r, quiet_link);
    if (!timer_armed(&q->timer))
        timer_set(&q->timer, q->shard->loop, q->shard->config->heartbeat_ms, on_due, q);
}

static void beat(struct request *r)
{
    if (r->session)
        session_begin_stream(r);
    else if (!r->x->streaming)
        exchange_stream_begin(r->x, (struct str){0});
    if (r->x && exchange_beat(r->x)) /* else it was cut, and its client's end has dealt with r */
        quiet_since_now(r);
}

static void on_due(void *arg)
{
    struct quiet *q = arg;
    struct request *r;
    int64_t now = clock_ms(), ms = q->shard->config->heartbeat_ms;
    while ((r = TAILQ_FIRST(&q->waiting)) && r->quiet_ms + ms <= now) {
        quiet_forget(r);
        if (r->x)
            beat(r);
    }
    r = TAILQ_FIRST(&q->waiting);
    if (r)
        timer_set(&q->timer, q->shard->loop, r->quiet_ms + ms - now, on_due, q);
}
