/* auth/jws.c and auth/jwt.c: any bytes as a token. What is accepted keeps its promises: three
 * parts, a known algorithm, claims that were asked for. */
#include "auth/jwt.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char audience[] = "a";
    char *const audiences[] = {audience, NULL};
    const struct jwt_rules rules = {"i", audiences, 30, 86400, NULL, NULL};
    struct jws j;
    struct err e = {0};
    if (jws_parse(&j, (struct str){(const char *)data, size}, &e)) {
        struct jwt_claims c;
        assert(j.alg < JWS_ALGS && j.kid.n <= JWS_MAX_KID && size <= JWS_MAX_BYTES);
        if (jwt_claims_parse(&c, &j, &e) && jwt_claims_check(&c, &j, &rules, 1700000000, &e)) {
            assert(str_eq(c.issuer, STR("i")) && c.client.n > 0);
            assert(c.expires_s > 1700000000 - 30 && c.expires_s <= 1700000000 + 86400 + 30);
        }
        jwt_claims_fini(&c);
    } else {
        assert(e.kind == ERR_UNAUTHENTIC);
    }
    jws_fini(&j);
    return 0;
}
