/* See net.h. Addresses as text, the address policy, and sockets. The policy looks at the address
 * that would be connected to, never at text, so that odd spellings and names that re-bind make no
 * difference. */
#include "base/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

enum { BACKLOG = 1024 };

/* Views of the storage; memcpy-free because sockaddr_storage is made to be cast. */
static const struct sockaddr_in *as_v4(const struct net_addr *a)
{
    return (const struct sockaddr_in *)(const void *)&a->ss;
}

static const struct sockaddr_in6 *as_v6(const struct net_addr *a)
{
    return (const struct sockaddr_in6 *)(const void *)&a->ss;
}

void net_addr_format(const struct net_addr *a, struct buf *out)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (a->ss.ss_family == AF_INET) {
        inet_ntop(AF_INET, &as_v4(a)->sin_addr, text, sizeof text);
        buf_addf(out, "%s:%u", text, ntohs(as_v4(a)->sin_port));
    } else if (a->ss.ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &as_v6(a)->sin6_addr, text, sizeof text);
        buf_addf(out, "[%s]:%u", text, ntohs(as_v6(a)->sin6_port));
    } else {
        buf_adds(out, "(no address)");
    }
}

bool net_addr_literal(struct str host, uint16_t port, struct net_addr *out)
{
    char text[INET6_ADDRSTRLEN];
    *out = (struct net_addr){0};
    if (host.n == 0 || host.n >= sizeof text || memchr(host.p, '\0', host.n))
        return false;
    memcpy(text, host.p, host.n);
    text[host.n] = '\0';
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        memcpy(&out->ss, &v4, sizeof v4);
        out->len = sizeof v4;
    } else if (inet_pton(AF_INET6, text, &v6.sin6_addr) == 1) {
        memcpy(&out->ss, &v6, sizeof v6);
        out->len = sizeof v6;
    }
    return out->len > 0;
}

/* Splits at the last colon; takes the brackets off, which a v6 host must have and nothing else
 * may. */
static bool split_port(struct str s, struct str *host, uint16_t *port)
{
    const char *colon = s.n ? memrchr(s.p, ':', s.n) : NULL;
    uint64_t v;
    if (!colon)
        return false;
    *host = (struct str){s.p, (size_t)(colon - s.p)};
    struct str digits = {colon + 1, s.n - host->n - 1};
    if (digits.n > 5 || !str_to_u64(digits, &v) || v > UINT16_MAX)
        return false;
    *port = (uint16_t)v;
    bool v6 = host->n && memchr(host->p, ':', host->n);
    bool brackets = host->n >= 2 && host->p[0] == '[' && host->p[host->n - 1] == ']';
    if (brackets)
        *host = (struct str){host->p + 1, host->n - 2};
    return v6 == brackets;
}

bool net_addr_parse(struct str s, struct net_addr *out, struct err *e)
{
    struct str host;
    uint16_t port;
    *out = (struct net_addr){0};
    if (!split_port(s, &host, &port))
        return err_set(e, ERR_CONFIG, "\"%.*s\": write host:port, [v6]:port or :port", STR_FMT(s));
    if (host.n == 0)
        host = STR("::");
    else if (str_ieq(host, STR("localhost")))
        host = STR("127.0.0.1");
    if (!net_addr_literal(host, port, out))
        return err_set(e, ERR_CONFIG, "\"%.*s\": the host must be an IP address or localhost",
                       STR_FMT(s));
    return true;
}

/* What an address is for, as far as the policy cares. */
enum reach {
    REACH_GLOBAL,
    REACH_PRIVATE, /* only where an operator says so */
    REACH_NEVER,
    REACH_EMBEDDED, /* v6 around a v4 address, which decides */
};

struct v4_rule {
    uint32_t net;
    int bits;
    enum reach reach;
};

#define V4(a, b, c, d) (((uint32_t)(a) << 24) | ((uint32_t)(b) << 16) | ((uint32_t)(c) << 8) | (d))

/* IANA's special-purpose registry, and the clouds' metadata services; the first match decides. */
static const struct v4_rule v4_rules[] = {
    {V4(0, 0, 0, 0), 8, REACH_NEVER},          /* "this host": Linux takes it for loopback */
    {V4(169, 254, 0, 0), 16, REACH_NEVER},     /* link-local, most metadata services */
    {V4(168, 63, 129, 16), 32, REACH_NEVER},   /* Azure's host agent */
    {V4(100, 100, 100, 200), 32, REACH_NEVER}, /* Alibaba's metadata */
    {V4(192, 0, 0, 192), 32, REACH_NEVER},     /* Oracle's metadata */
    {V4(224, 0, 0, 0), 4, REACH_NEVER},        /* multicast */
    {V4(240, 0, 0, 0), 4, REACH_NEVER},        /* reserved, broadcast */
    {V4(127, 0, 0, 0), 8, REACH_PRIVATE},      /* loopback */
    {V4(10, 0, 0, 0), 8, REACH_PRIVATE},       /* private */
    {V4(172, 16, 0, 0), 12, REACH_PRIVATE},    /* private */
    {V4(192, 168, 0, 0), 16, REACH_PRIVATE},   /* private */
    {V4(100, 64, 0, 0), 10, REACH_PRIVATE},    /* carrier-grade NAT */
    {V4(192, 0, 0, 0), 24, REACH_PRIVATE},     /* protocol assignments */
    {V4(192, 0, 2, 0), 24, REACH_PRIVATE},     /* documentation */
    {V4(198, 51, 100, 0), 24, REACH_PRIVATE},  /* documentation */
    {V4(203, 0, 113, 0), 24, REACH_PRIVATE},   /* documentation */
    {V4(192, 88, 99, 0), 24, REACH_PRIVATE},   /* 6to4 relays */
    {V4(198, 18, 0, 0), 15, REACH_PRIVATE},    /* benchmarks */
};

static enum reach v4_reach(uint32_t addr)
{
    for (size_t i = 0; i < sizeof v4_rules / sizeof v4_rules[0]; i++) {
        if (((addr ^ v4_rules[i].net) >> (32 - v4_rules[i].bits)) == 0)
            return v4_rules[i].reach;
    }
    return REACH_GLOBAL;
}

struct v6_rule {
    uint8_t net[16];
    int bits;
    enum reach reach;
    int v4_at; /* REACH_EMBEDDED: where the v4 address begins */
};

static const struct v6_rule v6_rules[] = {
    {{0}, 128, REACH_NEVER, 0},                                 /* :: */
    {{[15] = 1}, 128, REACH_PRIVATE, 0},                        /* ::1 */
    {{[10] = 0xff, 0xff}, 96, REACH_EMBEDDED, 12},              /* ::ffff:a.b.c.d */
    {{[8] = 0xff, 0xff}, 96, REACH_EMBEDDED, 12},               /* ::ffff:0:a.b.c.d, SIIT */
    {{0}, 96, REACH_EMBEDDED, 12},                              /* ::a.b.c.d */
    {{0x00, 0x64, 0xff, 0x9b}, 96, REACH_EMBEDDED, 12},         /* 64:ff9b::, NAT64 */
    {{0x00, 0x64, 0xff, 0x9b, 0x00, 0x01}, 48, REACH_NEVER, 0}, /* local NAT64, of any shape */
    {{0x20, 0x02}, 16, REACH_EMBEDDED, 2},                      /* 2002::, 6to4 */
    {{0x20, 0x01, 0x00, 0x00}, 32, REACH_NEVER, 0},             /* Teredo */
    {{0x20, 0x01, 0x0d, 0xb8}, 32, REACH_PRIVATE, 0},           /* documentation */
    {{0x20, 0x01}, 23, REACH_PRIVATE, 0},                       /* protocol assignments */
    {{0xfd, 0x00, 0x0e, 0xc2}, 32, REACH_NEVER, 0},             /* AWS's metadata */
    {{0xfd, 0x20, 0x00, 0xce}, 32, REACH_NEVER, 0},             /* Google's metadata */
    {{0xfe, 0x80}, 10, REACH_NEVER, 0},                         /* link-local */
    {{0xff}, 8, REACH_NEVER, 0},                                /* multicast */
    {{0x20}, 3, REACH_GLOBAL, 0},
};

static bool prefix_is(const uint8_t *a, const struct v6_rule *r)
{
    int whole = r->bits / 8, rest = r->bits % 8;
    if (memcmp(a, r->net, (size_t)whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ r->net[whole]) >> (8 - rest)) == 0;
}

/* What no rule names (fc00::/7 is there, and what IANA has not given out) is private. */
static enum reach v6_reach(const uint8_t *a)
{
    for (size_t i = 0; i < sizeof v6_rules / sizeof v6_rules[0]; i++) {
        const struct v6_rule *r = &v6_rules[i];
        if (!prefix_is(a, r))
            continue;
        if (r->reach != REACH_EMBEDDED)
            return r->reach;
        const uint8_t *v4 = a + r->v4_at;
        return v4_reach(V4(v4[0], v4[1], v4[2], v4[3]));
    }
    return REACH_PRIVATE;
}

bool net_addr_allowed(const struct net_addr *a, bool allow_private)
{
    enum reach reach = REACH_NEVER;
    if (a->ss.ss_family == AF_INET)
        reach = v4_reach(ntohl(as_v4(a)->sin_addr.s_addr));
    else if (a->ss.ss_family == AF_INET6)
        reach = v6_reach(as_v6(a)->sin6_addr.s6_addr);
    return reach == REACH_GLOBAL || (reach == REACH_PRIVATE && allow_private);
}

bool net_addr_is_loopback(const struct net_addr *a)
{
    if (a->ss.ss_family == AF_INET)
        return ntohl(as_v4(a)->sin_addr.s_addr) >> 24 == 127;
    if (a->ss.ss_family != AF_INET6)
        return false;
    const struct in6_addr *v6 = &as_v6(a)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

static void bad_address(const struct net_addr *a, const char *doing, enum err_kind kind,
                        struct err *e)
{
    int why = errno;
    struct buf text = {0};
    net_addr_format(a, &text);
    const char *said = why == EADDRINUSE ? "the port is in use" : strerrordesc_np(why);
    err_fill(e, kind, "%s %.*s: %s", doing, STR_FMT(buf_str(&text)), said ? said : "unknown error");
    buf_fini(&text);
}

static bool begin_listening(int fd, const struct net_addr *a, struct net_addr *bound)
{
    const int on = 1, off = 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0)
        return false;
    if (a->ss.ss_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) < 0)
        return false;
    if (bind(fd, (const struct sockaddr *)&a->ss, a->len) < 0 || listen(fd, BACKLOG) < 0)
        return false;
    *bound = (struct net_addr){.len = sizeof bound->ss};
    return getsockname(fd, (struct sockaddr *)&bound->ss, &bound->len) == 0;
}

/* ":port" means every address; where the kernel has no IPv6 that is 0.0.0.0. */
static struct net_addr without_v6(const struct net_addr *a)
{
    struct net_addr v4 = *a;
    if (a->ss.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&as_v6(a)->sin6_addr))
        (void)net_addr_literal(STR("0.0.0.0"), ntohs(as_v6(a)->sin6_port), &v4);
    return v4;
}

int net_listen(const struct net_addr *a, struct net_addr *bound, struct err *e)
{
    const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    struct net_addr want = *a;
    int fd = socket(want.ss.ss_family, type, 0);
    if (fd < 0 && errno == EAFNOSUPPORT) {
        want = without_v6(a);
        fd = socket(want.ss.ss_family, type, 0);
    }
    if (fd >= 0 && begin_listening(fd, &want, bound))
        return fd;
    bad_address(&want, "cannot listen on", ERR_SYSTEM, e);
    if (fd >= 0)
        close(fd);
    return -1;
}

int net_connect(const struct net_addr *a, struct err *e)
{
    const int on = 1;
    int fd = socket(a->ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (connect(fd, (const struct sockaddr *)&a->ss, a->len) == 0 || errno == EINPROGRESS)
            return fd;
    }
    bad_address(a, "cannot connect to", ERR_UNAVAILABLE, e);
    if (fd >= 0)
        close(fd);
    return -1;
}
