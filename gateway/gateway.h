/* The composition root's types: the gateway, and a shard: one loop's share of it. Everything hangs
 * from these. */
#ifndef GATEWAY_GATEWAY_H
#define GATEWAY_GATEWAY_H

#include "base/crypto.h"
#include "base/json.h"
#include "base/loop.h"
#include "base/net.h"
#include "gateway/config.h"
#include "gateway/metrics_rows.h"
#include "gateway/quota.h"
#include "store/store.h"

#include <pthread.h>
#include <stdatomic.h>

struct cache;
struct catalog;
struct http_server;
struct session_table;
struct sse_clients;
struct mcp_stdio;
struct listeners;
struct quiet;
struct audit;
struct gate;
struct views;
struct upstream;
struct watch;
struct spawner;
struct admin;
struct local;
struct local_gen;
struct envelope_keys;
struct owners;
struct parks;

/* One loop's share. All its members belong to its thread, but for what is marked atomic. */
struct shard {
    struct gateway *gw;
    struct loop *loop;
    struct store *store; /* what replicas share; there from start to end */
    int index;           /* 0…: data; -1: control */
    pthread_t thread;
    struct config *config;       /* counted */
    struct catalog *catalog;     /* counted; NULL until the first one */
    struct upstream **upstreams; /* one a mount of config, same order; counted */
    size_t upstream_count;
    struct http_server *http; /* data shards */
    struct session_table *sessions;
    struct owners *owners;       /* sessions among replicas */
    struct sse_clients *sse;     /* streams of HTTP+SSE clients */
    struct listeners *listeners; /* subscriptions/listen streams */
    struct gate *gate;           /* data shards: who may come in */
    struct views *views;         /* data shards: what they see */
    struct quiet *quiet;         /* calls whose clients heard nothing for a while */
    struct parks *parks;         /* calls that wait for a modern client's answers */
    struct cache *cache;         /* data shards */
    bool limits_alone;           /* the store was away at the last decision on a limit */
    struct local_gen *local_gen; /* counted; NULL: no local provider, or none yet */
    bool draining;
    struct json_doc scratch_doc; /* for a message that is dealt with at once */
    struct buf scratch;          /* for bytes that are sent at once */
    struct buf scratch2;
    char *read_buf;          /* READ_BUF_BYTES, for one read */
    _Atomic int connections; /* read by the acceptor of other shards */
};

enum { READ_BUF_BYTES = 64 * 1024 };

/* How many calls are parked, over all shards. */
struct parks_book {
    pthread_mutex_t lock;
    int all;
    struct map by_principal, by_mount; /* name -> count */
};

struct gateway {
    struct shard control;
    struct shard *shards;
    int shard_count;
    const char *config_file;
    const char *const *flags;
    struct spawner *spawner;
    struct sealer *sealer;
    struct store_hub *store_hub;
    char replica[17];    /* this process's name among replicas: random */
    struct watch *watch; /* control's view of the mounts */
    struct admin *admin;
    struct jwks_keeper *jwks; /* control's: the issuers' keys */
    struct audit *audit;      /* NULL: no audit log; any thread */
    struct local *local;      /* control's view of the Python tools */
    struct parks_book parked;
    struct quota_book quotas;
    strlist bound, admin_bound; /* addresses as printed */
    int *listen_fds, *admin_fds;
    int link_fd;                     /* the replica link's listener; -1: none */
    char *link_address;              /* as others reach it; NULL: none */
    struct envelope_keys *link_keys; /* immutable */
    int64_t started_wall_ms, started_ms;
    _Atomic int64_t buffered_bytes; /* charged buffers of all shards */
    _Atomic uint64_t config_version, catalog_version;
    _Atomic int limits_alone; /* loops of which that is so */
    _Atomic bool draining, ready;
    struct timer drain_timer; /* control */
    int64_t drain_until_ms;
    bool stdio;                     /* headgate stdio: the client is on stdin and stdout */
    bool listens;                   /* false: only there */
    struct mcp_stdio *stdio_client; /* of the first data shard */
    bool check_live; /* headgate check --live: print what the upstreams are like, and end */
    int exit_code;
};

/* Creates loops and shards, binds the listeners, starts the threads and runs the control loop until
 * the end. Returns the exit code. flags are kept for reloads. */
int gateway_run(struct gateway *gw, struct config *config);
/* Hands fn(shard, arg) to every data shard's loop; arg is shared, release it in the last fn (count
 * it yourself). */
void gateway_post_all(struct gateway *gw, void (*fn)(struct shard *s, void *arg), void *arg);
/* Loads the configuration again and swaps the snapshot everywhere, or keeps the old one. Control
 * thread. False: kept, e says why. */
bool gateway_reload(struct gateway *gw, struct err *e);
/* Begins the drain: readiness off, lame duck, then the listeners close and calls finish. Control
 * thread. arg: the gateway (a signal's callback). */
void gateway_drain(void *arg);
/* Publishes a new catalog (takes the reference) to all shards. Control thread. */
void gateway_publish_catalog(struct gateway *gw, struct catalog *c);

#endif
