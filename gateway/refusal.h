/* What a call gets that a rate limit refused. */
#ifndef GATEWAY_REFUSAL_H
#define GATEWAY_REFUSAL_H

#include "gateway/call.h"
#include "gateway/limits.h"

/* An outcome and the text that it points into. */
struct refusal {
    struct outcome outcome;
    struct buf text;
    struct json_doc doc;
};
/* Fills it: a tool's result that says what happened, or an error where the configuration or the
 * method wants one. */
void refusal_init(struct refusal *r, const struct limit_check *k);
void refusal_fini(struct refusal *r);

#endif
