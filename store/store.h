/* What replicas share: small values with an end of life, rate windows, bounded logs, sets of
 * members, and messages. In the process's memory, or in Redis; who calls cannot tell, but for what
 * STORE_AWAY means.
 *
 * - A handle belongs to one loop, and every function here is called on that loop's thread.
 * - An operation answers at once (returns true, *r is filled, op->fn is not called), or it returns
 *   false and op->fn is called exactly once, later, on the loop, within the deadline of an
 *   operation. A caller handles both; memory always answers at once, Redis nearly never.
 * - What is read back is authentic: Redis holds it with its key, its end and a MAC of the fleet's
 *   key. What is not (forged, of a wrong type, too large, past its end) is absent, and counted.
 *   Numbers that the store itself counts (windows, members) carry no MAC: who can write to Redis
 *   can change them, and gains no more than by deleting them.
 * - Nothing is promised to stay: memory forgets what was used longest ago when it is full, and
 *   Redis may be emptied. The store never answers with what is older than what it has answered
 *   before, but for a failover of Redis.
 * - Nothing here blocks, and nothing is allocated for an operation on a value that fits into the
 *   handle's buffers. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include "base/loop.h"
#include "base/metrics.h"
#include "base/str.h"

struct store;
struct store_hub;

/* ---- what an operation says ---- */

enum store_status {
    STORE_OK,     /* done, or found */
    STORE_ABSENT, /* there is no such thing */
    STORE_HELD,   /* the condition was not met; nothing was changed */
    STORE_AWAY,   /* the store did not answer: a change may or may not have been made */
};

/* One entry of a log, or one member of a set (seq 0). */
struct store_entry {
    int64_t seq;
    struct str value;
};

/* Values and entries are borrowed: until fn returns, or, when answered at once, until the next
 * operation on the same handle. */
struct store_reply {
    enum store_status status;
    struct str value;                  /* store_get */
    int64_t number;                    /* as each operation says */
    int64_t retry_ms;                  /* store_admit, HELD: when it can succeed at the earliest */
    size_t window;                     /* store_admit, HELD: which of the windows refused */
    const struct store_entry *entries; /* store_read, store_members */
    size_t count;
};

typedef void (*store_fn)(const struct store_reply *r, void *arg);

/* An operation under way. The caller embeds it, sets fn and arg, and keeps it in place until fn is
 * called or store_cancel. It may start the next operation from fn. NULL instead of an op: the
 * answer does not matter; the function then returns true, and *r is AWAY when nothing was sent. */
struct store_op {
    store_fn fn;
    void *arg;
    struct store *store; /* private: NULL unless under way */
    uint64_t ticket;     /* private */
};

/* The callback will not come; what was asked for may still be done. Fine when nothing is under
 * way. */
void store_cancel(struct store_op *op);
static inline bool store_waits(const struct store_op *op)
{
    return op->store != NULL;
}

/* ---- keys ---- */

enum { STORE_PARTS_MAX = 6, STORE_KEY_MAX = 480 };

/* Room for a key, or for the name of a channel. */
struct store_key {
    char text[STORE_KEY_MAX];
};

/* Builds PREFIX:kind:{tag}:part:part… in k and returns it, valid as long as k. kind is a word of
 * ours, [a-z0-9]+. The tag decides where a cluster keeps the key: what one store_admit looks at has
 * one tag. Tag and parts may be any bytes (names of tenants, of tools, from clients): what is not
 * short and plain is replaced by its hash, so different parts never make the same key. */
struct str store_key(const struct store *s, struct store_key *k, const char *kind, struct str tag,
                     const struct str *parts, size_t n);

/* ---- values ---- */

enum { STORE_VALUE_MAX = 1024 * 1024 };
enum store_when { STORE_ALWAYS, STORE_IF_ABSENT };

/* OK with value, ABSENT, AWAY. */
bool store_get(struct store *s, struct store_op *op, struct str key, struct store_reply *r);
/* Copies value (at most STORE_VALUE_MAX bytes, may be empty) for ttl_ms > 0. OK; HELD when
 * STORE_IF_ABSENT found one; AWAY (also for what is too large). */
bool store_set(struct store *s, struct store_op *op, struct str key, struct str value,
               int64_t ttl_ms, enum store_when when, struct store_reply *r);
/* Deletes what is there, a value, a log or a set. OK or ABSENT, AWAY. */
bool store_del(struct store *s, struct store_op *op, struct str key, struct store_reply *r);
/* Deletes it if it is this value (the release of a lock). OK, ABSENT, HELD: it is another. */
bool store_del_if(struct store *s, struct store_op *op, struct str key, struct str value,
                  struct store_reply *r);
/* Lets it live for ttl_ms from now if it is this value. OK, ABSENT, HELD: it is another. */
bool store_extend(struct store *s, struct store_op *op, struct str key, struct str value,
                  int64_t ttl_ms, struct store_reply *r);

/* ---- rate windows ---- */

enum { STORE_WINDOWS_MAX = 8, STORE_EXACT_MAX = 1000, STORE_BUCKETS = 60 };

/* At most limit admissions in any window_ms. limit <= 0 refuses always. */
struct store_window {
    struct str key; /* all windows of one decision have one tag */
    int64_t limit, window_ms;
};

/* Admits once to all n windows (1…STORE_WINDOWS_MAX), or to none. OK: number is what is left in the
 * fullest. HELD: window is the one that opens last, retry_ms when (-1: never). Refusals are not
 * counted. Up to STORE_EXACT_MAX the window is a log of admissions and exact. Above, admissions are
 * counted in STORE_BUCKETS parts of the window, each of which counts until all of it has left:
 * never more than limit in any window_ms, and a refusal may last window_ms / STORE_BUCKETS too
 * long. The clock is the store's own, so that replicas' clocks do not matter. A window whose limit
 * or length changes across those kinds begins anew. */
bool store_admit(struct store *s, struct store_op *op, const struct store_window *w, size_t n,
                 struct store_reply *r);

/* ---- logs ---- */

enum { STORE_READ_MAX = 128, STORE_READ_BYTES = 1024 * 1024 };

/* Appends an entry, whose seq is 1…2^52, and drops those before keep_from; the log lives for ttl_ms
 * from now. Sequence numbers rise; the writer chooses them, and begins at 1. OK; HELD: seq is not
 * above the last entry's, which is in number. */
bool store_append(struct store *s, struct store_op *op, struct str key,
                  const struct store_entry *entry, int64_t keep_from, int64_t ttl_ms,
                  struct store_reply *r);
/* Reads what follows entry `after` (0: from the start), at most STORE_READ_MAX entries and
 * STORE_READ_BYTES (one entry at least): read on after the last one until count is 0. OK: entries
 * are what came next, without a gap (as long as the writer leaves none). ABSENT: what came next is
 * not known, because it was dropped, forged, or never there. */
bool store_read(struct store *s, struct store_op *op, struct str key, int64_t after,
                struct store_reply *r);

/* ---- sets of members ---- */

enum { STORE_MEMBER_MAX = 512, STORE_MEMBERS_MAX = 1024 };

/* Makes name a member for ttl_ms from now (joining again prolongs). OK: number is how many are
 * members now. HELD: there are STORE_MEMBERS_MAX. */
bool store_join(struct store *s, struct store_op *op, struct str key, struct str name,
                int64_t ttl_ms, struct store_reply *r);
/* OK or ABSENT. */
bool store_leave(struct store *s, struct store_op *op, struct str key, struct str name,
                 struct store_reply *r);
/* OK: entries are the members in no order; ABSENT: there are none. */
bool store_members(struct store *s, struct store_op *op, struct str key, struct store_reply *r);

/* ---- messages ---- */

enum { STORE_MESSAGE_MAX = 64 * 1024 };
enum store_event {
    STORE_MESSAGE, /* body is authentic, and not older than a minute */
    STORE_GAP,     /* messages may have been missed: look at what they are about yourself */
};

/* fn is called on the loop; it may unsubscribe, also others. */
typedef void (*store_message_fn)(enum store_event event, struct str body, void *arg);

/* A subscription; embed it. */
struct store_sub {
    store_message_fn fn;
    void *arg;
    struct store *store;           /* private: NULL unless subscribed */
    struct store_sub *next;        /* private */
    struct store_channel *channel; /* private */
    bool fresh;                    /* private: was told nothing yet */
};

/* Hands body to every subscription to the channel, in this process (this handle's included) and in
 * others, at most once and in no promised order. OK: sent. */
bool store_publish(struct store *s, struct store_op *op, struct str channel, struct str body,
                   struct store_reply *r);
/* sub->fn and arg are set. fn is told of a GAP when the store begins to deliver, and each time
 * after it was away: what happened before it is not missed by who looks then. Never called before
 * this returned. */
void store_subscribe(struct store *s, struct store_sub *sub, struct str channel);
/* fn is not called any more. Fine when not subscribed. */
void store_unsubscribe(struct store_sub *sub);

/* ---- life ---- */

enum store_kind { STORE_IN_MEMORY, STORE_IN_REDIS, STORE_IN_SENTINEL };
enum { STORE_HOSTS_MAX = 8 };

/* Where the store is, as its URL says: memory, redis://[user[:password]@]host[:port][/db],
 * rediss://… (TLS), redis+sentinel://[user[:password]@]host[:port][,host…]/master[/db], and
 * rediss+sentinel://…. */
struct store_url {
    enum store_kind kind;
    bool tls;
    struct store_host {
        char *host;
        uint16_t port;
    } hosts[STORE_HOSTS_MAX];
    size_t host_count;
    char *user, *password; /* NULL: none. Percent-decoded; the password is secret */
    char *master;          /* Sentinel's name for it; NULL */
    int db;
};

/* Fills a zeroed u, which the caller ends with store_url_fini in any case. ERR_CONFIG says what is
 * wrong, without the password. */
bool store_url_parse(struct str text, struct store_url *u, struct err *e) MUST_USE;
/* Appends it without its password. */
void store_url_format(const struct store_url *u, struct buf *out);
void store_url_fini(struct store_url *u);

/* All borrowed for the call of store_hub_new, which copies. */
struct store_options {
    const struct store_url *url;
    const char *prefix;                   /* of every key and channel: [A-Za-z0-9._-]{1,64} */
    const char *password, *password_file; /* before the URL's; the file is read at each connect */
    const char *ca_file, *cert_file, *key_file;
    int op_ms, connect_ms;     /* deadlines of an operation and of a connect */
    size_t memory_bytes;       /* bound of what is kept in memory */
    const uint8_t (*keys)[32]; /* of the fleet: the first makes MACs, all are accepted */
    size_t key_count;
    const char *replica; /* this process's name among replicas; for CLIENT SETNAME and the count */
};

/* What the loops of a process share: the memory, the keys, the settings. Connects to nothing.
 * Returns owned, or NULL (ERR_CONFIG: certificates). */
struct store_hub *store_hub_new(const struct store_options *o, struct err *e);
/* After all handles are closed. */
void store_hub_free(struct store_hub **h);
/* A handle for one loop; before its thread starts, or on it. Begins to connect. Returns owned. */
struct store *store_open(struct store_hub *h, struct loop *l);
/* What is under way ends with AWAY; what is subscribed is not called again. On the loop's thread,
 * or after it ended. */
void store_close(struct store **s);

/* A handle on the process's own memory for the same loop, for what may be decided alone while the
 * store is away. Borrowed as long as s; s itself when the store is memory. */
struct store *store_local(struct store *s);
/* Does the store answer, as far as is known? Memory always does. */
bool store_is_up(const struct store *s);
/* "memory", "redis", "sentinel". */
const char *store_name(const struct store *s);
/* Processes on this store, as last heard of; 1 in memory, and until something was heard. */
int store_replicas(const struct store *s);

/* The rows of metrics that the store updates; to be registered before the first hub. */
extern const struct metric_def store_metric_rows[];
extern const size_t store_metric_row_count;

#endif
