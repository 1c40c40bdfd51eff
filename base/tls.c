/* The byte-stream part of net.h: plain sockets by one system call each, and TLS of the client's
 * side on OpenSSL. Writes go out with MSG_NOSIGNAL in both: a peer that went away is an error
 * value, not a signal. */
#include "base/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum { RECORD_BYTES = 16 * 1024, MAX_HOST = 255 };

struct tls_ctx {
    atomic_int refs;
    SSL_CTX *ssl;
};

static BIO_METHOD *socket_method;
static pthread_once_t socket_method_once = PTHREAD_ONCE_INIT;

static int socket_send(BIO *b, const char *p, int n)
{
    int fd = -1;
    BIO_get_fd(b, &fd);
    BIO_clear_retry_flags(b);
    ssize_t sent = send(fd, p, (size_t)n, MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        BIO_set_retry_write(b);
    return (int)sent;
}

/* OpenSSL's own socket BIO, but for the signal. */
static void make_socket_method(void)
{
    const BIO_METHOD *base = BIO_s_socket();
    socket_method = BIO_meth_new(BIO_TYPE_SOCKET, "socket");
    if (!socket_method)
        abort();
    BIO_meth_set_write(socket_method, socket_send);
    BIO_meth_set_read(socket_method, BIO_meth_get_read(base));
    BIO_meth_set_puts(socket_method, BIO_meth_get_puts(base));
    BIO_meth_set_ctrl(socket_method, BIO_meth_get_ctrl(base));
    BIO_meth_set_create(socket_method, BIO_meth_get_create(base));
    BIO_meth_set_destroy(socket_method, BIO_meth_get_destroy(base));
}

static const char *last_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    return reason ? reason : "unknown error";
}

static bool load_identity(SSL_CTX *ssl, const struct tls_options *o)
{
    return !o->cert_file || (SSL_CTX_use_certificate_chain_file(ssl, o->cert_file) == 1 &&
                             SSL_CTX_use_PrivateKey_file(ssl, o->key_file, SSL_FILETYPE_PEM) == 1 &&
                             SSL_CTX_check_private_key(ssl) == 1);
}

struct tls_ctx *tls_ctx_new(const struct tls_options *o, struct err *e)
{
    ERR_clear_error();
    SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());
    if (!ssl)
        abort();
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION);
    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(ssl, o->insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    int ok = o->ca_file ? SSL_CTX_load_verify_file(ssl, o->ca_file)
                        : SSL_CTX_set_default_verify_paths(ssl);
    if (ok != 1) {
        err_fill(e, ERR_CONFIG, "cannot read certificates from %s: %s",
                 o->ca_file ? o->ca_file : "the system", last_reason());
        goto out;
    }
    if (!load_identity(ssl, o)) {
        err_fill(e, ERR_CONFIG, "cannot use the certificate %s with the key %s: %s", o->cert_file,
                 o->key_file, last_reason());
        goto out;
    }
    struct tls_ctx *c = xcalloc(1, sizeof *c);
    atomic_init(&c->refs, 1);
    c->ssl = ssl;
    return c;
out:
    SSL_CTX_free(ssl);
    ERR_clear_error();
    return NULL;
}

struct tls_ctx *tls_ctx_ref(struct tls_ctx *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void tls_ctx_unref(struct tls_ctx **c)
{
    struct tls_ctx *x = *c;
    *c = NULL;
    if (!x || atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(x->ssl);
    free(x);
}

/* Whom to expect: an address literal is looked for among the certificate's addresses and gets no
 * SNI (RFC 6066 §3). */
static bool set_peer(SSL *ssl, struct str host)
{
    char name[MAX_HOST + 1];
    struct net_addr a;
    if (host.n && host.p[host.n - 1] == '.')
        host.n--;
    if (host.n == 0 || host.n > MAX_HOST || memchr(host.p, '\0', host.n))
        return false;
    memcpy(name, host.p, host.n);
    name[host.n] = '\0';
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (net_addr_literal(host, 0, &a))
        return X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1;
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

static SSL *ssl_over(int fd, struct tls_ctx *tls, struct str host)
{
    pthread_once(&socket_method_once, make_socket_method);
    SSL *ssl = SSL_new(tls->ssl);
    BIO *bio = BIO_new(socket_method);
    if (!ssl || !bio)
        abort();
    BIO_set_fd(bio, fd, BIO_NOCLOSE);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);
    if (set_peer(ssl, host))
        return ssl;
    SSL_free(ssl);
    ERR_clear_error();
    return NULL;
}

bool net_stream_init(struct net_stream *s, int fd, struct tls_ctx *tls, struct str host,
                     struct err *e)
{
    *s = (struct net_stream){.fd = fd};
    if (fd == 0) { /* so that a zeroed stream is a closed one */
        s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        close(fd);
        if (s->fd < 0)
            return err_set(e, ERR_SYSTEM, "cannot duplicate a descriptor");
    }
    if (!tls)
        return true;
    s->ssl = ssl_over(s->fd, tls, host);
    if (s->ssl)
        return true;
    net_stream_close(s);
    return err_set(e, ERR_CONFIG, "TLS: malformed host name");
}

static ssize_t fail_errno(int why, struct err *e)
{
    const char *text = strerrordesc_np(why);
    err_fill(e, ERR_UNAVAILABLE, "connection: %s", text ? text : "unknown error");
    return -2;
}

static ssize_t plain_result(ssize_t n, struct err *e)
{
    if (n >= 0)
        return n;
    return errno == EAGAIN || errno == EINTR ? -1 : fail_errno(errno, e);
}

/* An SSL that failed must not be shut down properly any more. */
static ssize_t tls_fail(SSL *ssl, int error, int why, struct err *e)
{
    unsigned long code = ERR_peek_error();
    SSL_set_quiet_shutdown(ssl, 1);
    if (error == SSL_ERROR_SYSCALL && code == 0)
        return fail_errno(why ? why : ECONNRESET, e);
    bool untrusted = ERR_GET_REASON(code) == SSL_R_CERTIFICATE_VERIFY_FAILED;
    err_fill(e, ERR_UNAVAILABLE, "TLS: %s",
             untrusted ? X509_verify_cert_error_string(SSL_get_verify_result(ssl)) : last_reason());
    ERR_clear_error();
    return -2;
}

static ssize_t tls_read(struct net_stream *s, void *p, size_t n, struct err *e)
{
    size_t got = 0;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_read_ex(s->ssl, p, n, &got);
    int why = errno;
    if (rc == 1)
        return (ssize_t)got;
    int error = SSL_get_error(s->ssl, rc);
    s->want_write = error == SSL_ERROR_WANT_WRITE;
    if (error == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return -1;
    return tls_fail(s->ssl, error, why, e);
}

ssize_t net_read(struct net_stream *s, void *p, size_t n, struct err *e)
{
    s->want_write = false;
    if (!s->ssl)
        return plain_result(recv(s->fd, p, n, 0), e);
    return tls_read(s, p, n, e);
}

static ssize_t tls_write(struct net_stream *s, const void *p, size_t n, struct err *e)
{
    size_t put = 0;
    ERR_clear_error();
    errno = 0;
    int rc = SSL_write_ex(s->ssl, p, n, &put);
    int why = errno;
    if (rc == 1)
        return (ssize_t)put;
    int error = SSL_get_error(s->ssl, rc);
    s->want_read = error == SSL_ERROR_WANT_READ;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return -1;
    return tls_fail(s->ssl, error, why, e);
}

/* One record of what fits, so that head and body do not travel as two. */
static ssize_t tls_writev(struct net_stream *s, const struct iovec *iov, int n, struct err *e)
{
    char record[RECORD_BYTES];
    size_t used = 0;
    while (n > 0 && iov->iov_len == 0)
        iov++, n--;
    if (n == 0)
        return 0;
    if (n == 1 || iov->iov_len >= RECORD_BYTES) {
        size_t len = iov->iov_len < RECORD_BYTES ? iov->iov_len : RECORD_BYTES;
        return tls_write(s, iov->iov_base, len, e);
    }
    for (int i = 0; i < n && used < sizeof record; i++) {
        size_t room = sizeof record - used;
        size_t take = iov[i].iov_len < room ? iov[i].iov_len : room;
        if (take)
            memcpy(record + used, iov[i].iov_base, take);
        used += take;
    }
    return tls_write(s, record, used, e);
}

ssize_t net_writev(struct net_stream *s, const struct iovec *iov, int n, struct err *e)
{
    s->want_read = false;
    if (s->ssl)
        return tls_writev(s, iov, n, e);
    struct msghdr m = {.msg_iovlen = (size_t)n};
    /* sendmsg only reads; the field lacks the const. */
    memcpy(&m.msg_iov, &iov, sizeof m.msg_iov);
    return plain_result(sendmsg(s->fd, &m, MSG_NOSIGNAL), e);
}

void net_stream_close(struct net_stream *s)
{
    if (s->ssl) {
        if (!SSL_in_init(s->ssl))
            (void)SSL_shutdown(s->ssl); /* tells the peer; its answer is not waited for */
        SSL_free(s->ssl);
        ERR_clear_error();
    }
    if (s->fd > 0)
        close(s->fd);
    *s = (struct net_stream){.fd = -1};
}
