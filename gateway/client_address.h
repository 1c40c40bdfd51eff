/* Where a client calls from, for limits on callers that have no other name. */
#ifndef GATEWAY_CLIENT_ADDRESS_H
#define GATEWAY_CLIENT_ADDRESS_H

#include "base/cidr.h"
#include "base/http1.h"

/* The address behind peer, as far as trusted proxies vouch for it: from the right, what
 * X-Forwarded-For or Forwarded (RFC 7239) of a trusted peer says, up to the first address that is
 * not itself trusted. Where both fields are there and differ, neither is believed. head may be
 * NULL. False: peer has no address. */
bool client_address(const struct http1_head *head, const struct net_addr *peer,
                    const struct cidr *trusted, size_t n, struct cidr *out) MUST_USE;
/* Appends the address, as net_addr_literal reads it. */
void client_address_format(const struct cidr *address, struct buf *out);
/* Appends the name of the address' bucket: an IPv4 address, or the /64 of an IPv6 one, since
 * whoever has one of its addresses has all of them. */
void client_bucket(const struct cidr *address, struct buf *out);

#endif
