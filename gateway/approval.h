/* Calls that a person must accept before they are sent: by a rule, or because a tool that is
 * believed says that it destroys. A client that can ask its user is asked (an elicitation, carried
 * like a server's own question); from another the arguments `human_approved: true` and
 * `approval_reason` are taken, and not sent on. Any client may bring what an approver sealed for
 * this very call, once, before it ends. */
#ifndef GATEWAY_APPROVAL_H
#define GATEWAY_APPROVAL_H

#include "gateway/call.h"
#include "gateway/state.h"

struct approval;

/* Must a person accept this call, whose access was checked? */
bool approval_needed(const struct call *c);
/* Can this client ask its user? */
bool approval_can_ask(const struct call *c);
/* Does it bring the word of an approver (_meta "dev.headgate/approval")? Then nobody is asked. */
bool approval_is_brought(const struct call *c);
/* Mints such a word, good for one call until expires_ms of the wall's clock, as a JSON string. */
void approval_mint(const struct sealer *s, const uint8_t binding[STATE_BINDING], int64_t expires_ms,
                   struct buf *out);
/* For clients that answer by a retry: appends the members inputRequests and requestState. */
void approval_question(const struct call *c, struct buf *out);
/* The retry has come, its state is right: notes what the person said, and that it counts once. */
void approval_retry(struct call *c, const struct state *st);
/* Holds a live call until a person has answered, then goes on with call_go_on or ends it; never
 * before this returned. */
void approval_begin(struct call *c);
/* The call is given up, or ends: its question is withdrawn. */
void approval_cancel(struct call *c);
/* Takes the two arguments out of what is sent; round: also the answer to our own question. */
void approval_edit(const struct call *c, bool round, struct json_edits *es);

#endif
