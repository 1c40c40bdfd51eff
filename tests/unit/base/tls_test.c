/* TLS streams against a real server: who is trusted, how a stream ends, and that bytes survive
 * partial writes. */
#include "base/net.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>

#include "tests/unit/base/tls_fixture.h"

struct world {
    struct identity ca, other_ca, good, foreign, expired;
    struct ca_file ca_file;
};

static int set_up(void **state)
{
    static struct world w;
    w.ca = make_identity("ca", NULL, NULL, 30);
    w.other_ca = make_identity("other ca", NULL, NULL, 30);
    w.good = make_identity("s", &w.ca, "DNS:good.test,DNS:*.wild.test,IP:127.0.0.1,IP:::1", 30);
    w.foreign = make_identity("s", &w.other_ca, "DNS:good.test", 30);
    w.expired = make_identity("s", &w.ca, "DNS:good.test", -1);
    w.ca_file = make_ca_file(&w.ca);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    struct identity *all[] = {&w->ca, &w->other_ca, &w->good, &w->foreign, &w->expired};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        free_identity(all[i]);
    close(w->ca_file.fd);
    return 0;
}

static struct tls_ctx *make_ctx(const struct world *w, bool insecure)
{
    struct err e = {0};
    struct tls_options o = {.ca_file = w->ca_file.path, .insecure = insecure};
    struct tls_ctx *c = tls_ctx_new(&o, &e);
    if (!c)
        fail_msg("%s", e.msg);
    return c;
}

static void wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    assert_int_equal(poll(&p, 1, -1), 1);
}

static struct net_stream open_stream(const struct server *s, struct tls_ctx *c, const char *host)
{
    struct net_addr a;
    struct net_stream n;
    struct err e = {0};
    assert_true(net_addr_literal(STR("127.0.0.1"), s->port, &a));
    int fd = net_connect(&a, &e);
    assert_true(fd >= 0);
    assert_true(net_stream_init(&n, fd, c, str_of(host), &e));
    return n;
}

static ssize_t read_some(struct net_stream *s, void *p, size_t n, struct err *e)
{
    ssize_t got;
    while ((got = net_read(s, p, n, e)) == -1)
        wait_for(s->fd, s->want_write ? POLLOUT : POLLIN);
    return got;
}

static ssize_t write_some(struct net_stream *s, const struct iovec *iov, int n, struct err *e)
{
    ssize_t put;
    while ((put = net_writev(s, iov, n, e)) == -1)
        wait_for(s->fd, s->want_read ? POLLIN : POLLOUT);
    return put;
}

/* Sends back what comes until the peer ends properly, then ends properly too. */
static void echo(struct server *s)
{
    char block[4096];
    ssize_t n;
    while ((n = server_get(s, block, sizeof block)) > 0) {
        if (!server_put(s, block, (size_t)n))
            return;
    }
    bool proper = SSL_get_error(s->ssl, (int)n) == SSL_ERROR_ZERO_RETURN;
    s->got_bytes = proper;
    SSL_shutdown(s->ssl);
}

/* One round trip. Returns the error's message, or "" when it worked. */
static const char *round_trip(const struct identity *id, struct tls_ctx *c, const char *host,
                              int max_version)
{
    static struct err e;
    struct server s = {.identity = id, .serve = echo, .max_version = max_version};
    char text[] = "hello", got[8] = "";
    const struct iovec iov = {text, 5};
    e = (struct err){0};
    start_server(&s);
    struct net_stream n = open_stream(&s, c, host);
    if (write_some(&n, &iov, 1, &e) == 5 && read_some(&n, got, sizeof got, &e) == 5)
        assert_string_equal(got, "hello");
    else
        assert_int_equal(e.kind, ERR_UNAVAILABLE);
    net_stream_close(&n);
    stop_server(&s);
    assert_int_equal(s.got_bytes, e.msg[0] == '\0'); /* we end with close_notify */
    return e.msg;
}

static void test_a_server_of_a_known_authority_is_trusted_by_name_and_address(void **state)
{
    struct world *w = *state;
    struct tls_ctx *c = make_ctx(w, false);
    const char *hosts[] = {"good.test",   "GOOD.test", "good.test.",
                           "a.wild.test", "127.0.0.1", "::1"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        assert_string_equal(round_trip(&w->good, c, hosts[i], 0), "");
    assert_string_equal(round_trip(&w->good, c, "good.test", TLS1_2_VERSION), "");
    tls_ctx_unref(&c);
    assert_null(c);
}

static void test_a_wrong_name_is_refused(void **state)
{
    struct world *w = *state;
    struct tls_ctx *c = make_ctx(w, false);
    const char *hosts[] = {"bad.test",       "test", "x.good.test", "a.b.wild.test", "wild.test",
                           "good.test.evil", "s"};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
        assert_non_null(strstr(round_trip(&w->good, c, hosts[i], 0), "ostname mismatch"));
    assert_non_null(strstr(round_trip(&w->good, c, "127.0.0.2", 0), "IP address mismatch"));
    tls_ctx_unref(&c);
}

static void test_an_unknown_authority_is_refused(void **state)
{
    struct world *w = *state;
    struct tls_ctx *c = make_ctx(w, false);
    assert_non_null(strstr(round_trip(&w->foreign, c, "good.test", 0), "issuer"));
    assert_non_null(strstr(round_trip(&w->other_ca, c, "good.test", 0), "self-signed"));
    tls_ctx_unref(&c);
}

static void test_an_expired_certificate_is_refused(void **state)
{
    struct world *w = *state;
    struct tls_ctx *c = make_ctx(w, false);
    assert_non_null(strstr(round_trip(&w->expired, c, "good.test", 0), "expired"));
    tls_ctx_unref(&c);
}

static void test_old_versions_are_refused(void **state)
{
    struct world *w = *state;
    struct tls_ctx *c = make_ctx(w, true);
    assert_string_not_equal(round_trip(&w->good, c, "good.test", TLS1_1_VERSION), "");
    tls_ctx_unref(&c);
}

static void test_the_system_authorities_do_not_know_ours(void **state)
{
    struct world *w = *state;
    struct err e = {0};
    struct tls_ctx *c = tls_ctx_new(&(struct tls_options){0}, &e);
    assert_non_null(c);
    assert_string_not_equal(round_trip(&w->good, c, "good.test", 0), "");
    tls_ctx_unref(&c);
}

static void test_insecure_accepts_whoever_answers(void **state)
{
    struct world *w = *state;
    struct tls_ctx *c = make_ctx(w, true);
    assert_string_equal(round_trip(&w->foreign, c, "bad.test", 0), "");
    assert_string_equal(round_trip(&w->expired, c, "127.0.0.2", 0), "");
    tls_ctx_unref(&c);
}

static void test_a_missing_authority_file_is_a_config_error(void **state)
{
    (void)state;
    struct err e = {0};
    assert_null(tls_ctx_new(&(struct tls_options){.ca_file = "/nonexistent/ca.pem"}, &e));
    assert_int_equal(e.kind, ERR_CONFIG);
    assert_non_null(strstr(e.msg, "/nonexistent/ca.pem"));
}

static void test_a_malformed_host_is_refused(void **state)
{
    struct tls_ctx *c = make_ctx(*state, false);
    const struct str hosts[] = {STR(""), STR("."), STR("good.test\0.evil")};
    for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++) {
        struct net_stream n;
        struct err e = {0};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_false(net_stream_init(&n, fd, c, hosts[i], &e));
        assert_int_equal(e.kind, ERR_CONFIG);
        assert_int_equal(n.fd, -1);
    }
    tls_ctx_unref(&c);
}

static void test_settings_live_until_the_last_reference(void **state)
{
    struct world *w = *state;
    struct tls_ctx *c = make_ctx(w, false), *second = tls_ctx_ref(c);
    tls_ctx_unref(&c);
    assert_string_equal(round_trip(&w->good, second, "good.test", 0), "");
    tls_ctx_unref(&second);
    tls_ctx_unref(&second);
}

static void say_and_end(struct server *s)
{
    (void)server_put(s, "bye", 3);
    SSL_shutdown(s->ssl);
}

static void say_and_cut(struct server *s)
{
    (void)server_put(s, "bye", 3);
}

static void test_only_a_proper_end_is_an_end(void **state)
{
    struct world *w = *state;
    struct tls_ctx *c = make_ctx(w, false);
    const serve_fn serves[] = {say_and_end, say_and_cut};
    const ssize_t ends[] = {0, -2};
    for (int i = 0; i < 2; i++) {
        struct server s = {.identity = &w->good, .serve = serves[i]};
        struct err e = {0};
        char got[16];
        start_server(&s);
        struct net_stream n = open_stream(&s, c, "good.test");
        assert_int_equal(read_some(&n, got, sizeof got, &e), 3);
        assert_int_equal(read_some(&n, got, sizeof got, &e), ends[i]);
        assert_int_equal(e.kind, ends[i] ? ERR_UNAVAILABLE : ERR_NONE);
        net_stream_close(&n);
        stop_server(&s);
    }
    tls_ctx_unref(&c);
}

static void talk_plain(struct server *s)
{
    char got[256];
    (void)server_get(s, got, sizeof got);
    (void)server_put(s, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
}

static void test_a_server_without_tls_is_an_error(void **state)
{
    struct tls_ctx *c = make_ctx(*state, true);
    struct server s = {.serve = talk_plain};
    struct err e = {0};
    char got[16];
    start_server(&s);
    struct net_stream n = open_stream(&s, c, "good.test");
    assert_int_equal(read_some(&n, got, sizeof got, &e), -2);
    assert_int_equal(e.kind, ERR_UNAVAILABLE);
    net_stream_close(&n);
    stop_server(&s);
    tls_ctx_unref(&c);
}

/* Keeps the length of the first record (by what one SSL_read gives, which never crosses
 * records). */
static void note_record(struct server *s)
{
    s->got_bytes = (size_t)server_get(s, s->got, sizeof s->got);
    (void)server_put(s, "k", 1);
    char rest[1];
    (void)server_get(s, rest, 1);
}

static size_t first_record(struct world *w, const struct iovec *iov, int count)
{
    struct tls_ctx *c = make_ctx(w, false);
    struct server s = {.identity = &w->good, .serve = note_record};
    struct err e = {0};
    char ack;
    start_server(&s);
    struct net_stream n = open_stream(&s, c, "good.test");
    ssize_t put = write_some(&n, iov, count, &e);
    assert_int_equal(read_some(&n, &ack, 1, &e), 1);
    net_stream_close(&n);
    stop_server(&s);
    tls_ctx_unref(&c);
    assert_int_equal(put, s.got_bytes);
    return s.got_bytes;
}

static void test_head_and_body_travel_as_one_record(void **state)
{
    static char head[300], body[1000], large[20000];
    const struct iovec small[] = {{NULL, 0}, {head, 300}, {NULL, 0}, {body, 1000}};
    assert_int_equal(first_record(*state, small, 4), 1300);
    const struct iovec big[] = {{head, 300}, {large, 20000}};
    assert_int_equal(first_record(*state, big, 2), 16384);
    const struct iovec alone[] = {{large, 20000}};
    assert_int_equal(first_record(*state, alone, 1), 16384);
}

static void test_writing_nothing_is_nothing(void **state)
{
    struct world *w = *state;
    struct tls_ctx *c = make_ctx(w, false);
    struct server s = {.identity = &w->good, .serve = echo};
    struct err e = {0};
    start_server(&s);
    struct net_stream n = open_stream(&s, c, "good.test");
    const struct iovec none = {NULL, 0};
    assert_int_equal(net_writev(&n, &none, 1, &e), 0);
    net_stream_close(&n);
    stop_server(&s);
    tls_ctx_unref(&c);
}

enum { TOTAL = 1000 * 1000 };

static unsigned char byte_at(size_t i)
{
    return (unsigned char)(i * 2654435761U >> 13);
}

/* Waits for a go-ahead on nothing but the data: reads all slowly, in odd pieces, and checks each
 * byte. */
static void check_bytes(struct server *s)
{
    unsigned char block[977];
    size_t total = 0;
    ssize_t n;
    while (total < TOTAL && (n = server_get(s, block, sizeof block)) > 0) {
        for (ssize_t i = 0; i < n; i++)
            assert(block[i] == byte_at(total + (size_t)i));
        total += (size_t)n;
    }
    s->got_bytes = total;
    (void)server_put(s, "k", 1);
}

static void test_bytes_survive_partial_writes_from_moving_buffers(void **state)
{
    struct world *w = *state;
    struct tls_ctx *c = make_ctx(w, false);
    struct server s = {.identity = &w->good, .serve = check_bytes};
    struct err e = {0};
    start_server(&s);
    struct net_stream n = open_stream(&s, c, "good.test");
    const int small = 4096; /* less than a record, so that writes must block */
    setsockopt(n.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    size_t sent = 0, blocked = 0, attempts = 0;
    unsigned char *last = NULL;
    while (sent < TOTAL) {
        size_t len = TOTAL - sent < 40000 ? TOTAL - sent : 40000;
        unsigned char *copy = xmalloc(len);
        for (size_t i = 0; i < len; i++)
            copy[i] = byte_at(sent + i);
        size_t cut = len / 7;
        const struct iovec iov[] = {{copy, cut}, {copy + cut, len - cut}};
        const struct iovec whole = {copy, len};
        bool single = attempts++ % 4 < 2;
        ssize_t put = single ? net_writev(&n, &whole, 1, &e) : net_writev(&n, iov, 2, &e);
        free(last); /* only now, so that each attempt has another address */
        last = copy;
        if (put == -1) {
            blocked++;
            wait_for(n.fd, n.want_read ? POLLIN : POLLOUT);
        } else if (put < 0) {
            fail_msg("%s", e.msg);
        } else {
            sent += (size_t)put;
        }
    }
    free(last);
    char ack;
    assert_int_equal(read_some(&n, &ack, 1, &e), 1);
    net_stream_close(&n);
    stop_server(&s);
    assert_int_equal(s.got_bytes, TOTAL);
    assert_true(blocked > 0);
    tls_ctx_unref(&c);
}

static void reset(struct server *s)
{
    const struct linger hard = {.l_onoff = 1};
    setsockopt(s->conn, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    (void)server_put(s, "k", 1);
    char go;
    (void)server_get(s, &go, 1);
}

static void test_a_reset_is_an_error_not_a_signal(void **state)
{
    struct world *w = *state;
    struct tls_ctx *c = make_ctx(w, false);
    struct server s = {.identity = &w->good, .serve = reset};
    struct err e = {0};
    char byte[] = "x";
    const struct iovec iov = {byte, 1};
    start_server(&s);
    struct net_stream n = open_stream(&s, c, "good.test");
    assert_int_equal(read_some(&n, byte, 1, &e), 1);
    assert_int_equal(write_some(&n, &iov, 1, &e), 1);
    stop_server(&s);
    ssize_t put = 1;
    while (put > 0) /* until the reset has arrived */
        put = write_some(&n, &iov, 1, &e);
    assert_int_equal(put, -2);
    assert_int_equal(e.kind, ERR_UNAVAILABLE);
    assert_int_equal(write_some(&n, &iov, 1, &e), -2);
    net_stream_close(&n);
    tls_ctx_unref(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_server_of_a_known_authority_is_trusted_by_name_and_address),
        cmocka_unit_test(test_a_wrong_name_is_refused),
        cmocka_unit_test(test_an_unknown_authority_is_refused),
        cmocka_unit_test(test_an_expired_certificate_is_refused),
        cmocka_unit_test(test_old_versions_are_refused),
        cmocka_unit_test(test_the_system_authorities_do_not_know_ours),
        cmocka_unit_test(test_insecure_accepts_whoever_answers),
        cmocka_unit_test(test_a_missing_authority_file_is_a_config_error),
        cmocka_unit_test(test_a_malformed_host_is_refused),
        cmocka_unit_test(test_settings_live_until_the_last_reference),
        cmocka_unit_test(test_only_a_proper_end_is_an_end),
        cmocka_unit_test(test_a_server_without_tls_is_an_error),
        cmocka_unit_test(test_head_and_body_travel_as_one_record),
        cmocka_unit_test(test_writing_nothing_is_nothing),
        cmocka_unit_test(test_bytes_survive_partial_writes_from_moving_buffers),
        cmocka_unit_test(test_a_reset_is_an_error_not_a_signal),
    };
    signal(SIGPIPE, SIG_DFL);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
