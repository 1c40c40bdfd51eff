/* Fuzzes how forwarded fields are read. The first byte says which field; a peer that is not trusted
 * is never left. */
#include "gateway/client_address.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct http1_head head = {.fields = 2};
    struct net_addr peer;
    struct cidr trusted[2], found, plain;
    struct err e;
    struct buf b = {0};
    if (size == 0)
        return 0;
    struct str value = {(const char *)data + 1, size - 1};
    size_t half = value.n / 2;
    struct str name = data[0] & 1 ? STR("Forwarded") : STR("X-Forwarded-For");
    struct str other = data[0] & 2 ? STR("Forwarded") : name;
    head.field[0] = (struct http1_field){name, {value.p, half}};
    head.field[1] = (struct http1_field){other, {value.p + half, value.n - half}};
    bool ok = net_addr_literal(STR("10.0.0.1"), 1, &peer) &&
              cidr_parse(STR("10.0.0.0/8"), &trusted[0], &e) &&
              cidr_parse(STR("2001:db8::/32"), &trusted[1], &e);
    ok = ok && client_address(&head, &peer, trusted, 2, &found) &&
         client_address(&head, &peer, NULL, 0, &plain);
    client_bucket(&found, &b);
    assert(ok && b.n > 0 && found.bits == 128);
    b.n = 0;
    client_bucket(&plain, &b);
    assert(str_eq(buf_str(&b), STR("10.0.0.1")));
    (void)!cidr_parse(value, &found, &e);
    buf_fini(&b);
    return 0;
}
