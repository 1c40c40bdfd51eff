/* For tests: a certificate authority of our own, certificates from it, and a server in a thread
 * that speaks TLS or plain text with blocking calls. The authority's certificate is a file in
 * memory, named by ca_file(). */
#ifndef TESTS_UNIT_BASE_TLS_FIXTURE_H
#define TESTS_UNIT_BASE_TLS_FIXTURE_H

#include "base/str.h"

#include <arpa/inet.h>
#include <assert.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct identity {
    EVP_PKEY *key;
    X509 *cert;
};

/* A file in memory that holds a CA's certificate. */
struct ca_file {
    int fd;
    char path[64];
};

static inline void add_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *x = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    assert(x);
    assert(X509_add_ext(cert, x, -1) == 1);
    X509_EXTENSION_free(x);
}

/* ca NULL: an authority, signed by itself. Else a server's certificate for the names
 * ("DNS:a,IP:::1"). */
static inline struct identity make_identity(const char *cn, const struct identity *ca,
                                            const char *names, long days)
{
    static long serial = 1;
    struct identity id = {EVP_EC_gen("P-256"), X509_new()};
    assert(id.key && id.cert);
    X509_set_version(id.cert, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(id.cert), serial++);
    X509_gmtime_adj(X509_getm_notBefore(id.cert), -2L * 24 * 3600);
    X509_gmtime_adj(X509_getm_notAfter(id.cert), days * 24 * 3600);
    X509_NAME *name = X509_get_subject_name(id.cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
    X509_set_issuer_name(id.cert, ca ? X509_get_subject_name(ca->cert) : name);
    X509_set_pubkey(id.cert, id.key);
    add_extension(id.cert, NID_basic_constraints, ca ? "CA:FALSE" : "critical,CA:TRUE");
    if (ca)
        add_extension(id.cert, NID_subject_alt_name, names);
    assert(X509_sign(id.cert, ca ? ca->key : id.key, EVP_sha256()) > 0);
    return id;
}

static inline void free_identity(struct identity *id)
{
    EVP_PKEY_free(id->key);
    X509_free(id->cert);
    *id = (struct identity){0};
}

static inline struct ca_file make_ca_file(const struct identity *ca)
{
    struct ca_file f = {.fd = memfd_create("ca", MFD_CLOEXEC)};
    assert(f.fd >= 0);
    FILE *out = fdopen(dup(f.fd), "w");
    assert(out && PEM_write_X509(out, ca->cert) == 1);
    fclose(out);
    (void)snprintf(f.path, sizeof f.path, "/proc/self/fd/%d", f.fd);
    return f;
}

struct server;
/* Serves one connection; s->conn and s->ssl are ready (ssl NULL: plain). The fixture closes
 * them. */
typedef void (*serve_fn)(struct server *s);

struct server {
    int listener, conn;
    uint16_t port;
    const struct identity *identity; /* NULL: plain */
    int max_version;                 /* of TLS; 0: any */
    int connections;                 /* to serve, then end */
    serve_fn serve;
    const void *script; /* for serve */
    SSL_CTX *ctx;
    SSL *ssl; /* NULL in serve: the handshake failed, when there is an identity */
    pthread_t thread;
    char got[16384]; /* what serve kept */
    size_t got_bytes;
};

static inline bool server_put(struct server *s, const void *p, size_t n)
{
    if (s->ssl)
        return SSL_write(s->ssl, p, (int)n) == (int)n;
    return send(s->conn, p, n, MSG_NOSIGNAL) == (ssize_t)n;
}

static inline ssize_t server_get(struct server *s, void *p, size_t n)
{
    return s->ssl ? SSL_read(s->ssl, p, (int)n) : recv(s->conn, p, n, 0);
}

static inline void server_handshake(struct server *s)
{
    s->ssl = SSL_new(s->ctx);
    SSL_set_fd(s->ssl, s->conn);
    if (SSL_accept(s->ssl) != 1) {
        SSL_free(s->ssl);
        s->ssl = NULL;
    }
}

static inline void *server_main(void *arg)
{
    struct server *s = arg;
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE); /* a client that refuses us is an ordinary thing here */
    pthread_sigmask(SIG_BLOCK, &pipe, NULL);
    for (int i = 0; i < s->connections; i++) {
        s->conn = accept(s->listener, NULL, NULL);
        if (s->conn < 0)
            break;
        if (s->ctx)
            server_handshake(s);
        if (s->ssl || !s->ctx)
            s->serve(s);
        SSL_free(s->ssl);
        s->ssl = NULL;
        close(s->conn);
    }
    return NULL;
}

static inline SSL_CTX *server_ctx(const struct server *s)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert(SSL_CTX_use_certificate(ctx, s->identity->cert) == 1);
    assert(SSL_CTX_use_PrivateKey(ctx, s->identity->key) == 1);
    SSL_CTX_set_max_proto_version(ctx, s->max_version);
    if (s->max_version == TLS1_1_VERSION) {
        SSL_CTX_set_min_proto_version(ctx, TLS1_VERSION);
        SSL_CTX_set_security_level(ctx, 0);
    }
    return ctx;
}

/* Listens on a port of 127.0.0.1 that the kernel picks and serves in a thread. */
static inline void start_server(struct server *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert(bind(s->listener, (struct sockaddr *)&a, sizeof a) == 0);
    assert(listen(s->listener, 16) == 0);
    assert(getsockname(s->listener, (struct sockaddr *)&a, &len) == 0);
    s->port = ntohs(a.sin_port);
    s->ctx = s->identity ? server_ctx(s) : NULL;
    s->connections = s->connections ? s->connections : 1;
    assert(pthread_create(&s->thread, NULL, server_main, s) == 0);
}

/* Waits until the connections were served; those that never came are given up. */
static inline void stop_server(struct server *s)
{
    shutdown(s->listener, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->listener);
    SSL_CTX_free(s->ctx);
}

#endif
