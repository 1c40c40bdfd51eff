/* Fuzzes what may arrive on the replica link: the envelope (as it is, and as the inside of one that
 * is authentic), the head in it and the principal in it. What opens is sealed again as it was. */
#include "auth/principal_wire.h"
#include "gateway/envelope.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t fleet[1][32] = {"0123456789abcdef0123456789abcde"};

static void check(const struct envelope_keys *k, struct str text)
{
    struct envelope env, again;
    struct buf out = {0};
    struct err e = {0};
    if (!envelope_open(k, text, &env, &e)) {
        assert(e.kind == ERR_BAD_REQUEST || e.kind == ERR_UNAUTHENTIC);
        return;
    }
    assert(env.from.n == ENVELOPE_NAME && env.to.n == ENVELOPE_NAME);
    envelope_seal(k, &env, &out);
    assert(envelope_open(k, buf_str(&out), &again, &e));
    assert(str_eq(again.head, env.head) && str_eq(again.body, env.body));
    assert(str_eq(again.principal, env.principal) && again.sent_ms == env.sent_ms);
    buf_fini(&out);
}

/* The input behind the prefix of one that is authentic. */
static void check_inside(const struct envelope_keys *k, struct str text)
{
    struct buf out = {0};
    uint8_t mac[32];
    buf_adds(&out, "HGL1");
    buf_add(&out, k->key[0].id, 8);
    crypto_hmac((struct str){(const char *)k->key[0].key, 32}, text, mac);
    buf_add(&out, mac, sizeof mac);
    buf_add_str(&out, text);
    check(k, buf_str(&out));
    buf_fini(&out);
}

static void check_principal(struct str text)
{
    struct principal *p = principal_read(text);
    struct buf out = {0};
    if (p) {
        principal_write(p, &out);
        struct principal *again = principal_read(buf_str(&out));
        assert(again && str_eq(principal_key(again), principal_key(p)));
        principal_unref(&again);
    }
    principal_unref(&p);
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct envelope_keys k;
    struct str text = {(const char *)data, size};
    envelope_keys_init(&k, fleet, 1);
    check(&k, text);
    check_inside(&k, text);
    check_principal(text);
    envelope_keys_fini(&k);
    return 0;
}
