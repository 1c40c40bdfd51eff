/* One connection that speaks RESP2 (redis.io/docs/reference/protocol-spec): ours are the socket,
 * TLS and the bounds; hiredis encodes commands and reads replies. Private to store/. */
#ifndef STORE_STORE_REDIS_WIRE_H
#define STORE_STORE_REDIS_WIRE_H

#include "base/net.h"

/* ---- replies ---- */

enum redis_type { REDIS_TEXT, REDIS_ERROR, REDIS_NUMBER, REDIS_NIL, REDIS_LIST };

/* One value of a reply; a list is followed by what it holds, each one level deeper. */
struct redis_node {
    enum redis_type type;
    int level;
    int64_t number;  /* REDIS_NUMBER; REDIS_LIST: how many values it holds */
    struct str text; /* REDIS_TEXT, REDIS_ERROR */
    size_t at;       /* private: where text is */
};

enum { REDIS_NODES_MAX = 4096, REDIS_REPLY_MAX = 3 * 1024 * 1024 };

/* Reads replies from bytes; zero-initialised is empty; embed it. */
struct redis_replies {
    void *reader; /* hiredis' */
    struct redis_node *nodes;
    size_t n, cap;
    struct buf bytes;
};

void redis_replies_feed(struct redis_replies *r, const char *p, size_t n);
/* 1: a whole reply is in nodes, borrowed until the next call; 0: more bytes are needed; -1: what
 * came is no reply, or larger than the bounds: the connection is of no more use. */
int redis_replies_next(struct redis_replies *r) MUST_USE;
void redis_replies_fini(struct redis_replies *r);

/* Value i of the list that a reply is, or NULL; only where none of the values is a list. */
const struct redis_node *redis_item(const struct redis_replies *r, size_t i);
/* The same as a number, also when it is written as text; fallback when there is none. */
int64_t redis_item_number(const struct redis_replies *r, size_t i, int64_t fallback);
bool redis_is_error(const struct redis_node *n, const char *code);

/* Appends one command in RESP. */
void redis_encode(struct buf *out, const struct str *args, size_t n);

/* ---- connection ---- */

struct redis_wire;
struct redis_wire_events {
    /* A reply; it is in w->replies. May close the wire. */
    void (*on_reply)(struct redis_wire *w, void *arg);
    /* It ended by itself; w is closed already. */
    void (*on_closed)(struct redis_wire *w, const struct err *e, void *arg);
};

/* Zero-initialised is closed; embed it. */
struct redis_wire {
    struct loop *loop;
    const struct redis_wire_events *events;
    void *arg;
    struct net_stream stream;
    struct event *read_ev, *write_ev;
    struct net_lookup *lookup;
    struct tls_ctx *tls; /* borrowed; NULL: plain */
    char *host;          /* for TLS */
    struct redis_replies replies;
    struct buf out;
    size_t sent;
    unsigned generation; /* of the connection: changes when it is closed */
    bool open, flushing, reading;
};

/* Begins to connect to host (a name or an address). What is put meanwhile waits. events->on_closed
 * comes when it fails. Addresses of metadata services are refused (net_addr_allowed). */
void redis_wire_open(struct redis_wire *w, struct loop *l, struct str host, uint16_t port,
                     struct tls_ctx *tls, const struct redis_wire_events *events, void *arg);
/* Bytes of commands, written together at the end of the turn. */
void redis_wire_put(struct redis_wire *w, struct str bytes);
/* Reads what is there now, before a deadline is judged. */
void redis_wire_read(struct redis_wire *w);
/* Ends it without a callback. Fine from within on_reply, and when closed. */
void redis_wire_close(struct redis_wire *w);
/* Closes, and frees what a closed one keeps for the next connection; not from a callback. */
void redis_wire_fini(struct redis_wire *w);

#endif
