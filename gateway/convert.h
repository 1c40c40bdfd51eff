/* What changes its form between the eras and revisions: client capabilities and the questions of
 * servers. Pure. */
#ifndef GATEWAY_CONVERT_H
#define GATEWAY_CONVERT_H

#include "gateway/call.h"

/* What a client can answer, as far as it is carried (MCP 2026-07-28 schema, ClientCapabilities). */
enum client_cap {
    CAP_SAMPLING = 1,
    CAP_SAMPLING_TOOLS = 2,
    CAP_SAMPLING_CONTEXT = 4,
    CAP_FORM = 8,
    CAP_URL = 16,
    CAP_ROOTS = 32,
    CAP_UI = 64, /* the extension io.modelcontextprotocol/ui */
    CAP_ALL = 127,
};

/* The capabilities declared by an object (JSON_NONE: none). */
unsigned convert_caps(const struct json_doc *d, uint32_t caps);
/* Appends them as a legacy client declares them in initialize. */
void convert_write_caps(unsigned caps, struct buf *out);
/* What a question asks for: the one capability that caps lack, or 0; *known false: no question that
 * any client answers. */
unsigned convert_missing(const struct json_doc *d, uint32_t method, uint32_t params, unsigned caps,
                         bool *known);
/* The name of a question's method, of one that clients answer; lives for ever. */
struct str convert_method(const struct json_doc *d, uint32_t method);
/* Appends the object requiredCapabilities for one capability (MCP 2026-07-28 basic/index "Error
 * Codes"). */
void convert_write_required(enum client_cap cap, struct buf *out);

/* Appends the params of a question as the client is to see them: without what belongs to the hop to
 * the server (_meta, task, elicitationId), and naming the server when there are several: several.
 * Nothing for a question without params. */
void convert_question(const struct upstream *from, bool several, const struct json_doc *d,
                      uint32_t method, uint32_t params, struct buf *out);
/* The same for a legacy client, in front of a modern server. Nothing for a question without
 * params. */
void convert_question_legacy(const struct upstream *from, bool several, const struct json_doc *d,
                             uint32_t method, uint32_t params, struct buf *out);
/* Is it an answer to a question of that method, as far as can be seen? */
bool convert_is_answer(struct str method, const struct json_doc *d, uint32_t result);

#endif
