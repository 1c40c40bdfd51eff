/* See store_rate.h. Exact: a ring of the times of admissions, which grows to the limit. Parts:
 * the window is cut into STORE_BUCKETS parts, and one more is kept, so that a part counts until its
 * last moment has left the window. */
#include "store/store_rate.h"

#include <stdlib.h>

enum { FIRST_CAP = 4, PARTS = STORE_BUCKETS + 1 };

static int64_t part_us(int64_t window_us)
{
    return (window_us + STORE_BUCKETS - 1) / STORE_BUCKETS;
}

/* The clock may be younger than a window, so an index may be negative. */
static int64_t *part(struct store_rate *r, int64_t index)
{
    return &r->at[(index % PARTS + PARTS) % PARTS];
}

static void begin(struct store_rate *r, const struct store_window *w, int64_t now_us)
{
    store_rate_fini(r);
    r->window_us = w->window_ms * 1000;
    r->parts = w->limit > STORE_EXACT_MAX;
    if (!r->parts)
        return;
    r->at = xcalloc(PARTS, sizeof *r->at);
    r->last = now_us / part_us(r->window_us);
}

static void forget_parts(struct store_rate *r, int64_t now_us)
{
    int64_t now = now_us / part_us(r->window_us);
    int64_t from = now - r->last > PARTS ? now - PARTS : r->last;
    for (int64_t i = from + 1; i <= now; i++) {
        r->total -= *part(r, i);
        *part(r, i) = 0;
    }
    if (now > r->last)
        r->last = now;
}

static struct store_verdict look_parts(struct store_rate *r, const struct store_window *w,
                                       int64_t now_us)
{
    forget_parts(r, now_us);
    if (r->total < w->limit)
        return (struct store_verdict){.left = w->limit - r->total};
    int64_t total = r->total, i = r->last - STORE_BUCKETS;
    while (i < r->last && (total -= *part(r, i)) >= w->limit)
        i++;
    return (struct store_verdict){.retry_us = (i + PARTS) * part_us(r->window_us) - now_us};
}

static int64_t ring_at(const struct store_rate *r, uint32_t i)
{
    return r->at[(r->head + i) % r->cap];
}

static struct store_verdict look_exact(struct store_rate *r, const struct store_window *w,
                                       int64_t now_us)
{
    int64_t out = now_us - w->window_ms * 1000;
    while (r->n && ring_at(r, 0) <= out) {
        r->head = (r->head + 1) % r->cap;
        r->n--;
    }
    if (r->n < w->limit)
        return (struct store_verdict){.left = w->limit - r->n};
    /* The admission that must leave, so that limit - 1 are within the window. */
    return (struct store_verdict){.retry_us = ring_at(r, r->n - (uint32_t)w->limit) - out};
}

struct store_verdict store_rate_look(struct store_rate *r, const struct store_window *w,
                                     int64_t now_us)
{
    bool parts = w->limit > STORE_EXACT_MAX;
    if (w->limit <= 0)
        return (struct store_verdict){.retry_us = -1};
    if (parts != r->parts || (parts && r->window_us != w->window_ms * 1000))
        begin(r, w, now_us);
    return parts ? look_parts(r, w, now_us) : look_exact(r, w, now_us);
}

static void grow(struct store_rate *r, int64_t limit)
{
    uint32_t cap = r->cap ? r->cap * 4 : FIRST_CAP;
    cap = cap > limit ? (uint32_t)limit : cap;
    int64_t *at = xcalloc(cap, sizeof *at);
    for (uint32_t i = 0; i < r->n; i++)
        at[i] = ring_at(r, i);
    free(r->at);
    r->at = at;
    r->cap = cap;
    r->head = 0;
}

void store_rate_take(struct store_rate *r, const struct store_window *w, int64_t now_us)
{
    if (r->parts) {
        (*part(r, r->last))++;
        r->total++;
        return;
    }
    if (r->n == r->cap)
        grow(r, w->limit);
    r->at[(r->head + r->n++) % r->cap] = now_us;
}

size_t store_rate_bytes(const struct store_rate *r)
{
    return (r->parts ? (size_t)PARTS : r->cap) * sizeof *r->at;
}

void store_rate_fini(struct store_rate *r)
{
    free(r->at);
    *r = (struct store_rate){0};
}
