/* The revisions of MCP: their names, what differs between them, and the words of the modern wire.
 * Protocol versions appear in the era files only. */
#ifndef GATEWAY_ERA_H
#define GATEWAY_ERA_H

#include "gateway/mcp_http.h"

struct session;

/* What a legacy revision has; the rows differ, the code does not. */
struct era_features {
    const char *version;
    bool audio;         /* since 2025-03-26 */
    bool resource_link; /* since 2025-06-18; structuredContent too */
    bool batches;       /* several messages in one array: 2025-03-26 only */
    bool priming;       /* events with an id and no data: 2025-11-25 */
    bool url;           /* URL elicitation, tools in sampling: 2025-11-25 */
};

/* The row of a legacy revision, or NULL. */
const struct era_features *era_legacy(struct str version);
/* Has that revision batches? */
bool era_batches(const char *version);
/* The newest legacy revision. */
const char *era_latest_legacy(void);
/* The modern revision. */
const char *era_modern(void);
/* True when the version is a modern one or newer than any that we know (dates compare as text). */
bool era_is_modern_or_later(struct str version);

/* Names of reserved members of _meta (MCP 2026-07-28 basic/index). */
#define META_VERSION      "io.modelcontextprotocol/protocolVersion"
#define META_CLIENT       "io.modelcontextprotocol/clientInfo"
#define META_CAPS         "io.modelcontextprotocol/clientCapabilities"
#define META_LOG          "io.modelcontextprotocol/logLevel"
#define META_SERVER       "io.modelcontextprotocol/serverInfo"
#define META_SUBSCRIPTION "io.modelcontextprotocol/subscriptionId"
#define META_TASK         "io.modelcontextprotocol/related-task"
#define META_STATE        "dev.headgate/state"
#define META_APPROVAL     "dev.headgate/approval" /* an approver's word, for the gateway alone */
#define META_CALLER       "dev.headgate/caller" /* who calls, for local tools; never from outside */

/* The index of an MCP log level ("debug" = 0 … "emergency" = 7), or -1. */
int era_log_level(struct str name);
const char *era_log_name(int level);

/* Values mirrored in headers: plain, or `=?base64?…?=` (MCP 2026-07-28
 * basic/transports/streamable-http). Decode is strict. */
void era_header_encode(struct buf *out, struct str value);
bool era_header_decode(struct buf *out, struct str value) MUST_USE;

/* The request's downstream codecs: r is read and classified; they answer. */
void era_modern_request(struct request *r);
void era_legacy_request(struct request *r);
/* The id of r's session; p is NULL when it names none. */
struct str era_legacy_session_id(const struct request *r);
/* That session. NULL: there is none, and r is answered or on its way elsewhere. */
struct session *era_legacy_session(struct request *r);
/* r's text is an array: splits it, or refuses it. */
void era_legacy_batch(struct request *r);
/* Which of them is it? Answers itself and returns false when it is neither (400 …). */
bool era_classify(struct request *r, bool *modern) MUST_USE;

#endif
