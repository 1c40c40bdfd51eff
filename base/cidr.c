/* See cidr.h. */
#include "base/cidr.h"

#include <netinet/in.h>

enum { MAPPED_BITS = 96 };

bool cidr_of(const struct net_addr *a, struct cidr *out)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    *out = (struct cidr){.bits = 128};
    if (a->ss.ss_family == AF_INET) {
        const struct sockaddr_in *in = (const void *)&a->ss;
        memcpy(out->addr, mapped, sizeof mapped);
        memcpy(out->addr + sizeof mapped, &in->sin_addr, 4);
        return true;
    }
    if (a->ss.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)&a->ss;
        memcpy(out->addr, &in6->sin6_addr, 16);
        return true;
    }
    return false;
}

static bool same_bits(const uint8_t *a, const uint8_t *b, int bits)
{
    int whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, (size_t)whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

bool cidr_has(const struct cidr *range, const struct cidr *address)
{
    return address->bits >= range->bits && same_bits(range->addr, address->addr, range->bits);
}

/* The range with the bits beyond its length cleared. */
static struct cidr base_of(const struct cidr *c)
{
    struct cidr out = {.bits = c->bits};
    for (int i = 0; i < 16; i++) {
        int left = c->bits - 8 * i;
        int keep = left >= 8 ? 0xff : left <= 0 ? 0 : 0xff00 >> left;
        out.addr[i] = (uint8_t)(c->addr[i] & keep);
    }
    return out;
}

bool cidr_parse(struct str s, struct cidr *out, struct err *e)
{
    struct str rest = s, host = {0};
    struct net_addr a;
    uint64_t bits;
    bool has_length = s.n && memchr(s.p, '/', s.n);
    *out = (struct cidr){0};
    if (!str_split(&rest, '/', &host) || !net_addr_literal(host, 0, &a) || !cidr_of(&a, out))
        return err_set(e, ERR_CONFIG, "is not an address range: write it as 10.0.0.0/8");
    bool v4 = a.ss.ss_family == AF_INET;
    if (!has_length)
        return true;
    if (!str_to_u64(rest, &bits) || bits > (v4 ? 32 : 128))
        return err_set(e, ERR_CONFIG, "is not an address range: its length is 0 to %d",
                       v4 ? 32 : 128);
    out->bits = (int)bits + (v4 ? MAPPED_BITS : 0);
    struct cidr base = base_of(out);
    if (memcmp(base.addr, out->addr, sizeof base.addr) != 0) {
        return err_set(e, ERR_CONFIG,
                       "is not an address range: it has bits beyond its length; an address alone "
                       "is written without '/'");
    }
    return true;
}
