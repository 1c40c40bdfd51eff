/* Addresses as text, where a URL may lead, and plain sockets over loopback. */
#include "base/net.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <unistd.h>

static struct net_addr literal(const char *text)
{
    struct net_addr a;
    if (!net_addr_literal(str_of(text), 80, &a))
        fail_msg("no address: %s", text);
    return a;
}

enum verdict { NEVER, IF_PRIVATE, ALWAYS };

struct policy_case {
    const char *addr;
    enum verdict verdict;
};

static const struct policy_case policy[] = {
    {"0.0.0.0", NEVER},
    {"0.1.2.3", NEVER},
    {"169.254.169.254", NEVER},
    {"169.254.0.1", NEVER},
    {"169.254.170.23", NEVER},
    {"169.255.0.1", ALWAYS},
    {"100.100.100.200", NEVER},
    {"168.63.129.16", NEVER},
    {"192.0.0.192", NEVER},
    {"224.0.0.1", NEVER},
    {"239.255.255.255", NEVER},
    {"240.0.0.1", NEVER},
    {"255.255.255.255", NEVER},
    {"127.0.0.1", IF_PRIVATE},
    {"127.255.255.254", IF_PRIVATE},
    {"10.0.0.1", IF_PRIVATE},
    {"10.255.255.255", IF_PRIVATE},
    {"11.0.0.0", ALWAYS},
    {"172.15.255.255", ALWAYS},
    {"172.16.0.0", IF_PRIVATE},
    {"172.31.255.255", IF_PRIVATE},
    {"172.32.0.0", ALWAYS},
    {"192.168.1.1", IF_PRIVATE},
    {"192.169.0.0", ALWAYS},
    {"100.63.255.255", ALWAYS},
    {"100.64.0.1", IF_PRIVATE},
    {"100.127.255.255", IF_PRIVATE},
    {"100.128.0.0", ALWAYS},
    {"198.18.0.1", IF_PRIVATE},
    {"198.19.255.255", IF_PRIVATE},
    {"192.0.2.1", IF_PRIVATE},
    {"8.8.8.8", ALWAYS},
    {"223.255.255.255", ALWAYS},
    {"::", NEVER},
    {"::1", IF_PRIVATE},
    {"::2", NEVER}, /* ::0.0.0.2 */
    {"::7f00:1", IF_PRIVATE},
    {"::169.254.169.254", NEVER},
    {"::8.8.8.8", ALWAYS},
    {"::ffff:0.0.0.0", NEVER},
    {"::ffff:127.0.0.1", IF_PRIVATE},
    {"::ffff:10.0.0.1", IF_PRIVATE},
    {"::ffff:a9fe:a9fe", NEVER},
    {"::ffff:8.8.8.8", ALWAYS},
    {"::ffff:0:169.254.169.254", NEVER},
    {"::ffff:0:10.0.0.1", IF_PRIVATE},
    {"64:ff9b::169.254.169.254", NEVER},
    {"64:ff9b::10.0.0.1", IF_PRIVATE},
    {"64:ff9b::8.8.8.8", ALWAYS},
    {"64:ff9b:1::8.8.8.8", NEVER},
    {"64:ff9b:1:a9fe:a9:fe00::", NEVER},
    {"2002:a9fe:a9fe::", NEVER},
    {"2002:a00:1::1", IF_PRIVATE},
    {"2002:7f00:1::", IF_PRIVATE},
    {"2002:e000:1::", NEVER},
    {"2002:808:808::1", ALWAYS},
    {"2001:0:4136:e378:8000:63bf:3fff:fdd2", NEVER},
    {"2001:db8::1", IF_PRIVATE},
    {"2001:2::1", IF_PRIVATE},
    {"2001:4860:4860::8888", ALWAYS},
    {"2600::1", ALWAYS},
    {"3fff:ffff::1", ALWAYS},
    {"4000::1", IF_PRIVATE},
    {"100::1", IF_PRIVATE},
    {"fc00::1", IF_PRIVATE},
    {"fd00::1", IF_PRIVATE},
    {"fdff::1", IF_PRIVATE},
    {"fd00:ec2::254", NEVER},
    {"fd00:ec2::23", NEVER},
    {"fd20:ce::254", NEVER},
    {"fe80::1", NEVER},
    {"febf::1", NEVER},
    {"fec0::1", IF_PRIVATE},
    {"ff02::1", NEVER},
    {"ff0e::1", NEVER},
};

static void test_the_policy_admits_what_it_should_and_no_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof policy / sizeof policy[0]; i++) {
        struct net_addr a = literal(policy[i].addr);
        bool open = net_addr_allowed(&a, true), strict = net_addr_allowed(&a, false);
        if (open != (policy[i].verdict != NEVER) || strict != (policy[i].verdict == ALWAYS))
            fail_msg("%s: private allowed %d, not %d", policy[i].addr, open, strict);
    }
}

static void test_no_other_family_is_admitted(void **state)
{
    (void)state;
    struct net_addr a = {.ss = {.ss_family = AF_UNIX}, .len = sizeof a.ss};
    assert_false(net_addr_allowed(&a, true));
    a = (struct net_addr){0};
    assert_false(net_addr_allowed(&a, true));
    assert_false(net_addr_is_loopback(&a));
}

static void test_knows_loopback(void **state)
{
    (void)state;
    const char *yes[] = {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"};
    const char *no[] = {"128.0.0.1", "0.0.0.0", "::", "::ffff:10.0.0.1", "fe80::1", "::127.0.0.1"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        struct net_addr a = literal(yes[i]);
        assert_true(net_addr_is_loopback(&a));
    }
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++) {
        struct net_addr a = literal(no[i]);
        assert_false(net_addr_is_loopback(&a));
    }
}

static void assert_formats(const struct net_addr *a, const char *want)
{
    struct buf b = {0};
    net_addr_format(a, &b);
    buf_addc(&b, '\0');
    assert_string_equal(b.p, want);
    buf_fini(&b);
}

static void test_reads_and_writes_addresses(void **state)
{
    (void)state;
    const char *const cases[][2] = {
        {"127.0.0.1:8000", "127.0.0.1:8000"},
        {"[::1]:8000", "[::1]:8000"},
        {":8000", "[::]:8000"},
        {"localhost:1", "127.0.0.1:1"},
        {"LOCALHOST:0", "127.0.0.1:0"},
        {"[2001:DB8::0:1]:65535", "[2001:db8::1]:65535"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct net_addr a;
        struct err e = {0};
        if (!net_addr_parse(str_of(cases[i][0]), &a, &e))
            fail_msg("%s: %s", cases[i][0], e.msg);
        assert_formats(&a, cases[i][1]);
    }
}

static void test_refuses_what_is_no_address(void **state)
{
    (void)state;
    static const struct str cases[] = {
        {"", 0},
        {"8000", 4},
        {"127.0.0.1", 9},
        {"127.0.0.1:", 10},
        {"127.0.0.1:65536", 15},
        {"127.0.0.1:-1", 12},
        {"127.0.0.1:8x", 12},
        {"127.1:80", 8},
        {"0177.0.0.1:80", 13},
        {"2130706433:80", 13},
        {"::1:80", 6},
        {"[127.0.0.1]:80", 14},
        {"[::1:80", 7},
        {"[::1]80", 7},
        {"[fe80::1%lo]:80", 15},
        {"example.com:80", 14},
        {"127.0.0.1\0:80", 13},
        {"127.0.0.1 :80", 13},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct net_addr a;
        struct err e = {0};
        if (net_addr_parse(cases[i], &a, &e))
            fail_msg("passes: %.*s", STR_FMT(cases[i]));
        assert_int_equal(e.kind, ERR_CONFIG);
    }
}

static void wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    assert_int_equal(poll(&p, 1, -1), 1);
}

static int listen_on(const char *text, struct net_addr *bound)
{
    struct net_addr a;
    struct err e = {0};
    assert_true(net_addr_parse(str_of(text), &a, &e));
    int fd = net_listen(&a, bound, &e);
    if (fd < 0)
        fail_msg("%s", e.msg);
    return fd;
}

struct pair {
    struct net_stream near;
    int listener, far; /* far is blocking */
};

static struct pair connect_pair(void)
{
    struct pair p;
    struct net_addr bound;
    struct err e = {0};
    p.listener = listen_on("127.0.0.1:0", &bound);
    int fd = net_connect(&bound, &e);
    assert_true(fd >= 0);
    assert_true(net_stream_init(&p.near, fd, NULL, STR("127.0.0.1"), &e));
    wait_for(p.listener, POLLIN);
    p.far = accept(p.listener, NULL, NULL);
    assert_true(p.far >= 0);
    wait_for(fd, POLLOUT);
    return p;
}

static void close_pair(struct pair *p)
{
    net_stream_close(&p->near);
    if (p->far >= 0)
        close(p->far);
    close(p->listener);
}

static void test_descriptors_are_non_blocking_and_not_inherited(void **state)
{
    (void)state;
    struct pair p = connect_pair();
    const int fds[] = {p.listener, p.near.fd};
    for (int i = 0; i < 2; i++) {
        assert_true(fcntl(fds[i], F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fds[i], F_GETFD) & FD_CLOEXEC);
    }
    int on = 0;
    socklen_t len = sizeof on;
    assert_int_equal(getsockopt(p.near.fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_true(on);
    close_pair(&p);
}

static void test_a_used_port_is_named_in_the_error(void **state)
{
    (void)state;
    struct net_addr bound, again;
    struct err e = {0};
    int fd = listen_on("127.0.0.1:0", &bound);
    assert_int_equal(net_listen(&bound, &again, &e), -1);
    assert_int_equal(e.kind, ERR_SYSTEM);
    struct buf text = {0};
    net_addr_format(&bound, &text);
    buf_addc(&text, '\0');
    assert_non_null(strstr(e.msg, text.p));
    assert_non_null(strstr(e.msg, "in use"));
    buf_fini(&text);
    close(fd);
}

static void test_a_port_alone_listens_for_ipv4_too(void **state)
{
    (void)state;
    struct net_addr bound, to = literal("127.0.0.1");
    struct err e = {0};
    int listener = listen_on(":0", &bound);
    in_port_t port = bound.ss.ss_family == AF_INET6
                         ? ((struct sockaddr_in6 *)(void *)&bound.ss)->sin6_port
                         : ((struct sockaddr_in *)(void *)&bound.ss)->sin_port;
    ((struct sockaddr_in *)(void *)&to.ss)->sin_port = port;
    int fd = net_connect(&to, &e);
    assert_true(fd >= 0);
    wait_for(listener, POLLIN);
    int far = accept(listener, NULL, NULL);
    assert_true(far >= 0);
    close(far);
    close(fd);
    close(listener);
}

static void test_a_refused_connection_is_unavailable(void **state)
{
    (void)state;
    struct net_addr bound;
    struct net_stream s;
    struct err e = {0};
    close(listen_on("127.0.0.1:0", &bound));
    int fd = net_connect(&bound, &e);
    if (fd >= 0) {
        char c;
        assert_true(net_stream_init(&s, fd, NULL, STR("x"), &e));
        wait_for(fd, POLLOUT);
        assert_int_equal(net_read(&s, &c, 1, &e), -2);
        net_stream_close(&s);
    }
    assert_int_equal(e.kind, ERR_UNAVAILABLE);
}

static void test_an_impossible_address_is_unavailable(void **state)
{
    (void)state;
    struct net_addr a = {.ss = {.ss_family = AF_INET}, .len = 1};
    struct err e = {0};
    assert_int_equal(net_connect(&a, &e), -1);
    assert_int_equal(e.kind, ERR_UNAVAILABLE);
}

static void test_reads_and_writes_vectors(void **state)
{
    (void)state;
    struct pair p = connect_pair();
    struct err e = {0};
    char got[16], a[] = "head ", b[] = "body";
    assert_int_equal(net_read(&p.near, got, sizeof got, &e), -1);
    const struct iovec iov[] = {{a, 5}, {NULL, 0}, {b, 4}};
    assert_int_equal(net_writev(&p.near, iov, 3, &e), 9);
    assert_int_equal(recv(p.far, got, 9, MSG_WAITALL), 9);
    assert_memory_equal(got, "head body", 9);
    assert_int_equal(send(p.far, "answer", 6, 0), 6);
    wait_for(p.near.fd, POLLIN);
    assert_int_equal(net_read(&p.near, got, sizeof got, &e), 6);
    assert_memory_equal(got, "answer", 6);
    shutdown(p.far, SHUT_WR);
    wait_for(p.near.fd, POLLIN);
    assert_int_equal(net_read(&p.near, got, sizeof got, &e), 0);
    close_pair(&p);
}

static void test_a_full_socket_would_block(void **state)
{
    (void)state;
    struct pair p = connect_pair();
    struct err e = {0};
    static char block[65536];
    const struct iovec iov = {block, sizeof block};
    size_t sent = 0, got = 0;
    ssize_t n;
    while ((n = net_writev(&p.near, &iov, 1, &e)) > 0)
        sent += (size_t)n;
    assert_int_equal(n, -1);
    while (got < sent && (n = recv(p.far, block, sizeof block, 0)) > 0)
        got += (size_t)n;
    assert_int_equal(got, sent);
    wait_for(p.near.fd, POLLOUT);
    assert_true(net_writev(&p.near, &iov, 1, &e) > 0);
    close_pair(&p);
}

static void test_writing_to_a_gone_peer_is_an_error_not_a_signal(void **state)
{
    (void)state;
    struct pair p = connect_pair();
    struct err e = {0};
    char byte[] = "x";
    const struct iovec iov = {byte, 1};
    const struct linger hard = {.l_onoff = 1};
    setsockopt(p.far, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(p.far);
    p.far = -1;
    wait_for(p.near.fd, POLLIN);
    assert_int_equal(net_read(&p.near, byte, 1, &e), -2);
    assert_int_equal(e.kind, ERR_UNAVAILABLE);
    e = (struct err){0};
    assert_int_equal(net_writev(&p.near, &iov, 1, &e), -2); /* EPIPE */
    assert_int_equal(e.kind, ERR_UNAVAILABLE);
    close_pair(&p);
}

static void test_closing_twice_or_never_opened_is_harmless(void **state)
{
    (void)state;
    struct net_stream s = {0};
    net_stream_close(&s);
    assert_int_equal(s.fd, -1);
    struct pair p = connect_pair();
    net_stream_close(&p.near);
    assert_int_equal(p.near.fd, -1);
    net_stream_close(&p.near);
    close_pair(&p);
}

/* A zeroed stream says fd 0; it must not close what is there. */
static void test_a_stream_never_sits_on_descriptor_zero(void **state)
{
    (void)state;
    struct err e = {0};
    struct net_stream s, zeroed = {0};
    int saved = dup(STDIN_FILENO), ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    net_stream_close(&zeroed);
    assert_true(fcntl(STDIN_FILENO, F_GETFD) >= 0);
    assert_true(net_stream_init(&s, STDIN_FILENO, NULL, STR("x"), &e));
    assert_true(s.fd > 0);
    assert_int_equal(fcntl(STDIN_FILENO, F_GETFD), -1);
    net_stream_close(&s);
    if (saved >= 0) {
        dup2(saved, STDIN_FILENO);
        close(saved);
    }
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_policy_admits_what_it_should_and_no_more),
        cmocka_unit_test(test_no_other_family_is_admitted),
        cmocka_unit_test(test_knows_loopback),
        cmocka_unit_test(test_reads_and_writes_addresses),
        cmocka_unit_test(test_refuses_what_is_no_address),
        cmocka_unit_test(test_descriptors_are_non_blocking_and_not_inherited),
        cmocka_unit_test(test_a_used_port_is_named_in_the_error),
        cmocka_unit_test(test_a_port_alone_listens_for_ipv4_too),
        cmocka_unit_test(test_a_refused_connection_is_unavailable),
        cmocka_unit_test(test_an_impossible_address_is_unavailable),
        cmocka_unit_test(test_reads_and_writes_vectors),
        cmocka_unit_test(test_a_full_socket_would_block),
        cmocka_unit_test(test_writing_to_a_gone_peer_is_an_error_not_a_signal),
        cmocka_unit_test(test_closing_twice_or_never_opened_is_harmless),
        cmocka_unit_test(test_a_stream_never_sits_on_descriptor_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
