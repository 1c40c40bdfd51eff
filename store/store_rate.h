/* One rate window in memory, as store.h describes it: exact up to STORE_EXACT_MAX, in parts above.
 * Knows no clock and no key. The script of store_scripts.c decides the same. */
#ifndef STORE_STORE_RATE_H
#define STORE_STORE_RATE_H

#include "store/store.h"

/* Zero-initialised is empty; embed it. */
struct store_rate {
    int64_t window_us, last; /* parts: length, and the index of the newest */
    int64_t total;           /* parts: sum of count */
    int64_t *at;             /* exact: times of admissions, a ring; parts: counts by index */
    uint32_t cap, head, n;   /* exact */
    bool parts;
};

struct store_verdict {
    int64_t left;     /* admissions that are left now; 0 refuses */
    int64_t retry_us; /* when left is 0: until there is one; -1: never */
};

/* What the window says at now_us; forgets what has left it. Begins anew when kind or length of
 * parts changed. */
struct store_verdict store_rate_look(struct store_rate *r, const struct store_window *w,
                                     int64_t now_us);
/* Counts one admission, right after a look at the same time that left one. */
void store_rate_take(struct store_rate *r, const struct store_window *w, int64_t now_us);
size_t store_rate_bytes(const struct store_rate *r);
void store_rate_fini(struct store_rate *r);

#endif
