/* Time in milliseconds; the one place that tests replace. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Monotonic time; only differences mean something. */
int64_t clock_ms(void);
/* Monotonic time in microseconds, for durations in metrics. */
int64_t clock_us(void);
/* Wall time since 1970-01-01T00:00:00Z, for expiries that leave the process and for logs. */
int64_t clock_wall_ms(void);
/* Tests only: adds ms to what both clocks say from now on. */
void clock_advance(int64_t ms);

#endif
