/* What a call passes between its admission and its sending: the limits, then the cache (or, where
 * hits do not count, the cache first). For call.c. */
#ifndef GATEWAY_CALL_STAGES_H
#define GATEWAY_CALL_STAGES_H

#include "gateway/call.h"

/* Is there anything to pass? Cheap. */
bool stages_concern(const struct call *c);
/* Takes a live call through them: it is sent by call_send, now or later, or ended by call_finish,
 * never before this returned. */
void stages_begin(struct call *c);
/* The call is given up; c->stage is set. */
void stages_cancel(struct call *c);
/* The call's result will be for its client alone; c->stage is set. */
void stages_alone(struct call *c);
/* The call was sent and ends with o; c->stage is set. Before the sink hears of it. */
void stages_done(struct call *c, const struct outcome *o);

#endif
