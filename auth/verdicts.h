/* Tokens that were found right, by their SHA-256, so that a caller who comes often is judged once a
 * minute. Bounded, of one loop; only positive verdicts. */
#ifndef AUTH_VERDICTS_H
#define AUTH_VERDICTS_H

#include "auth/principal.h"

enum { VERDICT_TTL_MS = 60 * 1000 };

struct verdicts;

/* room: entries at most, rounded up to a power of two. Returns owned. */
struct verdicts *verdicts_new(size_t room);
void verdicts_free(struct verdicts **v);
/* Forgets all: after a change of the configuration. */
void verdicts_clear(struct verdicts *v);
/* The principal of that token, borrowed until the next put or clear, or NULL. now_ms: wall time. */
struct principal *verdicts_get(const struct verdicts *v, const uint8_t digest[32], int64_t now_ms);
/* Remembers it until the earlier of its expiry and VERDICT_TTL_MS. Takes a reference of its own. */
void verdicts_put(struct verdicts *v, const uint8_t digest[32], struct principal *who,
                  int64_t now_ms);

#endif
