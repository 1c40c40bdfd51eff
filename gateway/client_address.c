/* See client_address.h. Lists are read from the right: what stands there was added by the nearest
 * proxy; what a client wrote itself is on the left, and reached only through trusted addresses. */
#include "gateway/client_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

enum { MAX_HOPS = 32 };

/* The last elements of a list that may be spread over several fields. */
struct hops {
    struct str at[MAX_HOPS];
    size_t n; /* seen; the last MAX_HOPS of them are in at */
};

static void collect(const struct http1_head *head, struct str name, struct hops *out)
{
    out->n = 0;
    for (int i = 0; i < head->fields; i++) {
        struct str rest = head->field[i].value, part;
        if (!str_ieq(head->field[i].name, name))
            continue;
        while (str_split(&rest, ',', &part))
            out->at[out->n++ % MAX_HOPS] = str_trim(part);
    }
}

static struct str strip_quotes(struct str s)
{
    if (s.n >= 2 && s.p[0] == '"' && s.p[s.n - 1] == '"')
        return (struct str){s.p + 1, s.n - 2};
    return s;
}

/* An address, "v4:port", "[v6]" or "[v6]:port". */
static bool read_node(struct str s, struct cidr *out)
{
    struct net_addr a;
    struct str host = s;
    const char *end = s.n ? memchr(s.p, ']', s.n) : NULL;
    const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
    if (s.n && s.p[0] == '[' && end)
        host = (struct str){s.p + 1, (size_t)(end - s.p) - 1};
    else if (colon && memrchr(s.p, ':', s.n) == colon)
        host.n = (size_t)(colon - s.p);
    return net_addr_literal(host, 0, &a) && cidr_of(&a, out);
}

/* One element of Forwarded: for=node;proto=http;… (RFC 7239 §4) */
static bool read_forwarded(struct str element, struct cidr *out)
{
    struct str pair, node = {0};
    int found = 0;
    while (str_split(&element, ';', &pair)) {
        pair = str_trim(pair);
        if (pair.n > 4 && str_ieq((struct str){pair.p, 4}, STR("for="))) {
            node = (struct str){pair.p + 4, pair.n - 4};
            found++;
        }
    }
    return found == 1 && read_node(strip_quotes(node), out);
}

static bool is_trusted(const struct cidr *trusted, size_t n, const struct cidr *a)
{
    for (size_t i = 0; i < n; i++)
        if (cidr_has(&trusted[i], a))
            return true;
    return false;
}

typedef bool (*read_fn)(struct str element, struct cidr *out);

/* Walks from the peer towards the client. */
static void walk(const struct hops *hops, read_fn read, const struct cidr *trusted, size_t n,
                 struct cidr *at)
{
    size_t left = hops->n < MAX_HOPS ? hops->n : MAX_HOPS;
    struct cidr next;
    for (size_t i = hops->n; left && is_trusted(trusted, n, at); left--) {
        if (!read(hops->at[--i % MAX_HOPS], &next))
            return;
        *at = next;
    }
}

bool client_address(const struct http1_head *head, const struct net_addr *peer,
                    const struct cidr *trusted, size_t n, struct cidr *out)
{
    struct hops x_hops, f_hops;
    if (!cidr_of(peer, out))
        return false;
    if (!head || !is_trusted(trusted, n, out))
        return true;
    struct cidr x = *out, f = *out;
    collect(head, STR("X-Forwarded-For"), &x_hops);
    collect(head, STR("Forwarded"), &f_hops);
    walk(&x_hops, read_node, trusted, n, &x);
    walk(&f_hops, read_forwarded, trusted, n, &f);
    if (f_hops.n == 0)
        *out = x;
    else if (x_hops.n == 0 || memcmp(&x, &f, sizeof x) == 0)
        *out = f;
    return true;
}

void client_address_format(const struct cidr *address, struct buf *out)
{
    char text[INET6_ADDRSTRLEN];
    bool v4 = cidr_is_v4(address);
    buf_adds(out,
             inet_ntop(v4 ? AF_INET : AF_INET6, address->addr + (v4 ? 12 : 0), text, sizeof text));
}

void client_bucket(const struct cidr *address, struct buf *out)
{
    struct cidr net = *address;
    bool v4 = cidr_is_v4(address);
    if (!v4)
        memset(net.addr + 8, 0, 8);
    client_address_format(&net, out);
    if (!v4)
        buf_adds(out, "/64");
}
