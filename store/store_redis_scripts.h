/* What the store asks of Redis in one step that plain commands need several for. Each script
 * answers {status, forged, …}: status as enum store_status, forged 1 when the key held what was not
 * ours and was removed. Private to store/. */
#ifndef STORE_STORE_REDIS_SCRIPTS_H
#define STORE_STORE_REDIS_SCRIPTS_H

#include "base/str.h"

enum redis_script {
    SCRIPT_ADMIT,  /* windows' keys; limit, window_ms each: left, window, retry_ms */
    SCRIPT_DEL_IF, /* key; payload */
    SCRIPT_EXTEND, /* key; payload, envelope, ttl_ms */
    SCRIPT_APPEND, /* key; seq, keep_from, envelope, ttl_ms: last seq */
    SCRIPT_READ, /* key; after, entries, bytes, largest envelope: is `after` there, seq, envelope…
                  */
    SCRIPT_JOIN, /* key; envelope, ttl_ms, most members: members */
    SCRIPT_MEMBERS, /* key; most members, largest envelope: envelope… */
    SCRIPTS,
};

/* Their text. */
struct str redis_script_text(enum redis_script s);
/* Redis' name for it, 40 hex digits: made at once for all, by redis_scripts_name. */
struct redis_script_names {
    char sha1[SCRIPTS][41];
};
void redis_scripts_name(struct redis_script_names *n);

#endif
