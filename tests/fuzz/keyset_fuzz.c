/* auth/keyset.c: any bytes as a JWK set. Keys that are taken verify something, and nothing
 * symmetric. */
#include "auth/keyset.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e = {0};
    struct keyset *k = keyset_from_jwks((struct str){(const char *)data, size},
                                        JWS_SET_ASYMMETRIC | JWS_SET_HMAC, &e);
    assert(k || e.kind != ERR_NONE);
    for (size_t i = 0; k && i < k->n; i++)
        assert(k->keys[i].pkey && k->keys[i].algs && !(k->keys[i].algs & JWS_SET_HMAC));
    keyset_unref(&k);
    return 0;
}
