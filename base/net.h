/* Sockets: names to addresses, the address policy, listening and connecting, and byte streams with
 * or without TLS. */
#ifndef BASE_NET_H
#define BASE_NET_H

#include "base/loop.h"

#include <sys/socket.h>
#include <sys/uio.h>

/* An address and its length. */
struct net_addr {
    struct sockaddr_storage ss;
    socklen_t len;
};

/* "127.0.0.1:8000", "[::1]:8000". */
void net_addr_format(const struct net_addr *a, struct buf *out);
/* Reads "host:port", "[v6]:port" or ":port" with a literal address (or "localhost"); no name
 * service. ERR_CONFIG. */
bool net_addr_parse(struct str s, struct net_addr *out, struct err *e) MUST_USE;
/* Reads an address alone ("127.0.0.1", "::1", no brackets); false when it is none. */
bool net_addr_literal(struct str host, uint16_t port, struct net_addr *out);

/* Who wrote the URL decides where it may lead (docs: spec of the SSRF policy): link-local,
 * metadata, multicast, unspecified and broadcast addresses never (v4-mapped and 6to4/NAT64 forms
 * included); private, loopback, CGN and ULA only with allow_private. */
bool net_addr_allowed(const struct net_addr *a, bool allow_private);
bool net_addr_is_loopback(const struct net_addr *a);

/* Listens (REUSEADDR, non-blocking, backlog 1024). Returns the fd or -1; ERR_SYSTEM names the
 * address and, for EADDRINUSE, says that the port is in use. *bound is what the kernel gave (port
 * 0). */
int net_listen(const struct net_addr *a, struct net_addr *bound, struct err *e) MUST_USE;
/* Begins a non-blocking connect with TCP_NODELAY. Returns the fd or -1 with ERR_UNAVAILABLE. */
int net_connect(const struct net_addr *a, struct err *e) MUST_USE;

/* Name resolution off the loop: literals at once (still through a deferred call), names by
 * getaddrinfo in a helper thread, with a capped cache (30 s; failures 1 s). */
typedef void (*net_resolved_fn)(const struct net_addr *addrs, size_t n, const struct err *e,
                                void *arg);
struct net_lookup;
/* Calls fn once on loop l, never before this returned. */
struct net_lookup *net_resolve(struct loop *l, struct str host, uint16_t port, net_resolved_fn fn,
                               void *arg);
/* fn will not be called. Nulls *l. */
void net_lookup_cancel(struct net_lookup **l);
/* Starts and ends the helper threads. Until started, and after, names fail with ERR_UNAVAILABLE
 * (literals work). Stop answers what still waits: a loop must not be freed before its lookups are
 * answered or cancelled. */
void net_resolver_start(void);
void net_resolver_stop(void);

/* Client-side TLS settings; immutable; counted. TLS 1.2 at least, verification with host name
 * on. */
struct tls_ctx;
struct tls_options {
    const char *ca_file;              /* NULL: the system's */
    bool insecure;                    /* no verification */
    const char *cert_file, *key_file; /* what to show to the server; NULL: nothing */
};
struct tls_ctx *tls_ctx_new(const struct tls_options *o, struct err *e) MUST_USE;
struct tls_ctx *tls_ctx_ref(struct tls_ctx *c);
void tls_ctx_unref(struct tls_ctx **c);

/* A byte stream over a connected (or connecting) non-blocking socket. Embed it. */
struct net_stream {
    int fd;
    void *ssl;       /* NULL: plain */
    bool want_write; /* TLS needs the socket writable before a read can go on */
    bool want_read;  /* TLS needs the socket readable before a write can go on */
};
/* Wraps fd (taken). tls NULL: plain. host: for SNI and verification. */
bool net_stream_init(struct net_stream *s, int fd, struct tls_ctx *tls, struct str host,
                     struct err *e) MUST_USE;
/* Bytes read, 0 at the end, -1 would block, -2 error (e says). TLS handshakes happen inside. A TLS
 * end without close_notify is an error. Read until -1: TLS may hold bytes that the socket no longer
 * shows. */
ssize_t net_read(struct net_stream *s, void *p, size_t n, struct err *e);
/* Bytes written (may be fewer), -1 would block, -2 error. Sends with MSG_NOSIGNAL; one sendmsg when
 * plain. After -1 the next call must begin with the same bytes, and as many at least (TLS holds a
 * record of them). */
ssize_t net_writev(struct net_stream *s, const struct iovec *iov, int n, struct err *e);
/* Closes and frees; fine on a zeroed or closed one. */
void net_stream_close(struct net_stream *s);

#endif
