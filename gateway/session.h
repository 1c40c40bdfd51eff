/* Legacy sessions of clients (MCP 2025-11-25 basic/transports "Session Management"): sealed ids,
 * what a session holds, and the way of messages to its client. A session lives on one shard; its
 * requests come to that loop. */
#ifndef GATEWAY_SESSION_H
#define GATEWAY_SESSION_H

#include "gateway/mcp_http.h"

struct session;
struct usession;

struct session_table *session_table_new(struct shard *s);
/* Ends all sessions. */
void session_table_free(struct session_table **t);

/* Makes a session for an initialize request of that principal: version, capabilities and clientInfo
 * are copied. NULL: maxSessions, or its tenant's quota, is reached; e says which. */
struct session *session_new(struct shard *s, struct principal *who, const char *version,
                            struct str caps, struct str client_info, struct err *e);
/* Its Mcp-Session-Id. */
struct str session_id(const struct session *ss);
/* Where the session is that x names in Mcp-Session-Id. */
struct session_place {
    struct session *ss;  /* here; counts as use */
    struct shard *shard; /* on this shard, if anywhere in this process */
    bool elsewhere;      /* not here: hand x to owner_find */
    bool given_away;     /* here no more: answer with link_refuse */
};
/* All empty: the id is forged, or another principal's (404). */
struct session_place session_find(const struct exchange *x);
/* The same for an id that was made on this shard and lives and dies with a channel of it. */
struct session_place session_here(struct shard *s, const struct principal *who, struct str id);
struct session_ticket;
/* Brings a session back that lives nowhere, from its id and from what changed of it since (raw
 * JSON, or empty). blind: nobody could say what changed. NULL: no room, or too little is known. */
struct session *session_revive(struct shard *s, struct principal *who,
                               const struct session_ticket *t, struct str id, struct str state,
                               bool blind);
/* Its client ends it: calls are cancelled, upstream conversations closed, the stream ended. */
void session_delete(struct session *ss);
/* Something changed that another replica would need. */
void session_changed(struct session *ss);
/* Was it brought back without what changed of it, and has no conversation with u? Then a second one
 * would begin behind the back of the first. */
bool session_is_blind(struct session *ss, struct upstream *u);

const char *session_version(const struct session *ss);
/* Does its client know events without data? */
bool session_primes(const struct session *ss);
struct str session_caps(const struct session *ss);
struct str session_client_info(const struct session *ss);
int session_log_level(const struct session *ss);
void session_set_log_level(struct session *ss, struct str level, int index);
/* What the client can answer: enum client_cap. */
unsigned session_can(struct session *ss);

/* Requests of the session that are being answered. */
void session_add_request(struct session *ss, struct request *r);
void session_remove_request(struct session *ss, struct request *r);
/* notifications/cancelled from the client. */
void session_cancel(struct session *ss, struct str raw_id);

/* The standing (GET) stream: false when there is one already. */
bool session_open_stream(struct session *ss, struct exchange *x);
/* Takes up the stream that an event was on, behind that event. False: no such event id. */
bool session_resume(struct session *ss, struct exchange *x, struct str last_event_id);
/* Sends a message on the standing stream, or keeps it (bounded) until one is opened. */
void session_send(struct session *ss, struct str message);

/* The stream of r's answer: begins it, if that has not happened and its client is there. */
void session_begin_stream(struct request *r);
/* Sends a message on it, or keeps it when its client is away. False: there is no stream. */
bool session_event(struct request *r, struct str message);
/* The same with the answer, which ends the stream. */
void session_last_event(struct request *r, struct str message);
/* r ends without an answer. */
void session_drop_stream(struct request *r);

/* A question of a server to this client, on r's stream (NULL: on the GET stream). Takes the ask. */
void session_ask(struct session *ss, struct request *r, struct ask *a);
/* The client's answer. */
void session_answer(struct session *ss, const struct rpc_msg *m);
/* r's stream is gone: its questions move to the GET stream. */
void session_forget_stream(struct session *ss, struct request *r);

/* resources/subscribe and unsubscribe of a public URI that leads to u. Returns true when the
 * session's set changed. */
bool session_subscribe(struct session *ss, struct str public_uri, bool on);
bool session_subscribed(const struct session *ss, struct str public_uri);

/* For usession.c and upstream.c */
struct usession *session_usession(struct session *ss, struct upstream *u);
/* A conversation is open: tells it the level; again: and what the server forgot with the session
 * that it had before. */
void session_usession_ready(struct session *ss, struct usession *us, bool again);
void session_on_log(struct session *ss, struct upstream *u, const struct json_doc *d,
                    uint32_t params);
void session_on_updated(struct session *ss, struct upstream *u, struct str uri);
void session_on_notice(struct session *ss, const struct rpc_msg *m);
void session_on_ask(struct session *ss, struct ask *a);
/* Sends a notification of the client (method, raw params) to all its conversations. */
void session_broadcast(struct session *ss, struct str method, struct str params);
/* The conversation with u that is open now, or NULL. */
struct usession *session_conversation(struct session *ss, struct upstream *u);

/* Every session of the shard hears of changed lists (kinds: bit 1 << kind), or of an updated
 * resource. */
void sessions_list_changed(struct shard *s, unsigned kinds);
void sessions_resource_updated(struct shard *s, struct str public_uri);
/* Ends all GET streams (drain). */
void sessions_drain(struct shard *s);

#endif
