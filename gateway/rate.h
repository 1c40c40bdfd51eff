/* Rates, as operators and tool authors write them: `100/min`. Pure; fuzzed. */
#ifndef GATEWAY_RATE_H
#define GATEWAY_RATE_H

#include "base/err.h"
#include "base/str.h"

enum { RATE_MAX = 1000000000 };

/* So many in any window of that length. window_ms 0: no rate at all; limit 0: never. */
struct rate {
    uint32_t limit;
    int window_ms;
};

/* Reads `N/unit`: unit s, sec, second, m, min, minute, h, hr, hour, d or day, in any case, blanks
 * anywhere. A negative N is 0. The message (ERR_CONFIG) begins after the value: "is not a rate …";
 * *out is then no rate. */
bool rate_parse(struct str s, struct rate *out, struct err *e) MUST_USE;
/* Appends it in that form: `100/min`. */
void rate_format(struct rate r, struct buf *out);

static inline bool rate_is_set(struct rate r)
{
    return r.window_ms > 0;
}

#endif
