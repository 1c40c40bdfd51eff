/* Ranges of addresses, as operators write them: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`. Pure.
 */
#ifndef BASE_CIDR_H
#define BASE_CIDR_H

#include "base/net.h"

/* A range: the first `bits` bits of the address count. IPv4 is held in its mapped IPv6 form. */
struct cidr {
    uint8_t addr[16];
    int bits;
};

/* Reads an address with or without a prefix length; bits beyond it must be zero. ERR_CONFIG; the
 * message begins after the value: "is not …". */
bool cidr_parse(struct str s, struct cidr *out, struct err *e) MUST_USE;
/* The range of one address; false when it is neither IPv4 nor IPv6. */
bool cidr_of(const struct net_addr *a, struct cidr *out) MUST_USE;
/* Does it lie in the range? IPv4 and its mapped form are one. */
bool cidr_has(const struct cidr *range, const struct cidr *address);
static inline bool cidr_is_v4(const struct cidr *c)
{
    return c->bits >= 96 && memcmp(c->addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0;
}

#endif
