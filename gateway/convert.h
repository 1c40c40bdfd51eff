/* What changes its form between the eras and revisions: client capabilities and the questions of
 * servers. Pure. */
#ifndef GATEWAY_CONVERT_H
#define GATEWAY_CONVERT_H

#include "gateway/call.h"

struct era_features;

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

/* Whose words are turned into whose. */
struct convert_way {
    const struct upstream *from;
    bool several;                  /* it is not the only one */
    const struct era_features *to; /* the client's revision; NULL: modern */
};

/* Appends the params of a question as the client is to see them: without what belongs to the hop to
 * the server (_meta, task), with or without an elicitationId, choices as the revision has them, and
 * naming the server when there are several. Nothing for a question without params. False: this
 * revision has no way to ask it. */
bool convert_question(const struct convert_way *way, const struct json_doc *d, uint32_t method,
                      uint32_t params, struct buf *out) MUST_USE;
/* Appends the params of a URL elicitation from one of those that a 2025-11-25 error lists. */
void convert_url(const struct convert_way *way, const struct json_doc *d, uint32_t entry,
                 struct buf *out);
/* The same for params of notifications/message: the logger names the server when there are several,
 * and data is there. */
void convert_log(const struct convert_way *way, const struct json_doc *d, uint32_t params,
                 struct buf *out);
/* params of notifications/progress with the caller's own token. */
void convert_progress(const struct json_doc *d, uint32_t params, struct str token, struct buf *out);
/* What a progress notification says, also in the words of servers that call it value. False:
 * nothing. */
bool convert_progress_value(const struct json_doc *d, uint32_t params, double *out) MUST_USE;
/* Adds the edits that make a modern or newer server's result one of the client's revision: blocks
 * that it does not know become text, structured content that it cannot have becomes text or goes.
 * New text lies in the arena. */
void convert_result(const struct convert_way *way, const struct json_doc *d, uint32_t result,
                    struct json_edits *es, struct arena *a);
/* Is it an answer to a question of that method, as far as can be seen? */
bool convert_is_answer(struct str method, const struct json_doc *d, uint32_t result);

#endif
