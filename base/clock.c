/* See clock.h. */
#include "base/clock.h"

#include <stdatomic.h>
#include <time.h>

static _Atomic int64_t advance_ms;

static int64_t now_us(clockid_t id)
{
    struct timespec ts;
    (void)clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 +
           atomic_load_explicit(&advance_ms, memory_order_relaxed) * 1000;
}

int64_t clock_us(void)
{
    return now_us(CLOCK_MONOTONIC);
}

int64_t clock_ms(void)
{
    return now_us(CLOCK_MONOTONIC) / 1000;
}

int64_t clock_wall_ms(void)
{
    return now_us(CLOCK_REALTIME) / 1000;
}

void clock_advance(int64_t ms)
{
    atomic_fetch_add(&advance_ms, ms);
}
