/* See store_mac.h. */
#include "store/store_mac.h"

#include "base/crypto.h"

#include <assert.h>
#include <stdlib.h>

enum { VERSION = 1, ID_BYTES = 4, KEY_BYTES = 32, SKEW_MS = 30000 };

struct mac_key {
    uint8_t id[ID_BYTES];
    uint8_t key[KEY_BYTES];
};

struct store_macs {
    size_t n;
    struct mac_key keys[];
};

static struct str bytes(const uint8_t *p, size_t n)
{
    return (struct str){(const char *)p, n};
}

/* The fleet's keys seal other things too: these are derived for this use alone. */
struct store_macs *store_macs_new(const uint8_t (*keys)[32], size_t n)
{
    assert(n >= 1);
    struct store_macs *m = xcalloc(1, sizeof *m + n * sizeof m->keys[0]);
    m->n = n;
    for (size_t i = 0; i < n; i++) {
        uint8_t id[32];
        struct mac_key *k = &m->keys[i];
        crypto_hmac(bytes(keys[i], KEY_BYTES), STR("headgate store mac 1"), k->key);
        crypto_hmac(bytes(k->key, KEY_BYTES), STR("id"), id);
        memcpy(k->id, id, ID_BYTES);
    }
    return m;
}

void store_macs_free(struct store_macs **m)
{
    if (!*m)
        return;
    crypto_wipe((*m)->keys, (*m)->n * sizeof(*m)->keys[0]);
    free(*m);
    *m = NULL;
}

static void put_u64(uint8_t *to, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        to[i] = (uint8_t)(v >> (8 * (7 - i)));
}

static int64_t get_i64(const char *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++)
        v = v << 8 | (uint8_t)p[i];
    return (int64_t)v;
}

/* The key is preceded by its length, so that it cannot run into the rest. */
static void mac(const struct mac_key *k, const struct store_place *at, struct str body,
                uint8_t out[32])
{
    uint8_t head[1 + 8 + 8];
    head[0] = (uint8_t)at->purpose;
    put_u64(head + 1, (uint64_t)at->seq);
    put_u64(head + 9, at->key.n);
    const struct str parts[] = {bytes(head, sizeof head), at->key, body};
    crypto_hmac_parts(bytes(k->key, KEY_BYTES), parts, 3, out);
}

void store_mac_wrap(const struct store_macs *m, const struct store_place *at, int64_t expires_ms,
                    struct str payload, struct buf *out)
{
    const struct mac_key *k = &m->keys[0];
    uint8_t *to = (uint8_t *)buf_reserve(out, payload.n + STORE_MAC_BYTES);
    to[0] = VERSION;
    memcpy(to + 1, k->id, ID_BYTES);
    put_u64(to + 1 + ID_BYTES, (uint64_t)expires_ms);
    if (payload.n)
        memcpy(to + STORE_MAC_HEAD, payload.p, payload.n);
    mac(k, at, bytes(to, STORE_MAC_HEAD + payload.n), to + STORE_MAC_HEAD + payload.n);
    out->n += payload.n + STORE_MAC_BYTES;
}

bool store_mac_open(const struct store_macs *m, const struct store_place *at, struct str raw,
                    int64_t now_ms, struct str *payload)
{
    uint8_t want[32];
    const struct mac_key *k = NULL;
    if (raw.n < STORE_MAC_BYTES || raw.p[0] != VERSION)
        return false;
    for (size_t i = 0; i < m->n && !k; i++)
        if (memcmp(m->keys[i].id, raw.p + 1, ID_BYTES) == 0)
            k = &m->keys[i];
    if (!k)
        return false;
    struct str body = {raw.p, raw.n - STORE_MAC_TAIL};
    mac(k, at, body, want);
    if (!crypto_equal(want, body.p + body.n, STORE_MAC_TAIL))
        return false;
    int64_t expires_ms = get_i64(raw.p + 1 + ID_BYTES);
    *payload = (struct str){body.p + STORE_MAC_HEAD, body.n - STORE_MAC_HEAD};
    return expires_ms == 0 || now_ms - SKEW_MS < expires_ms;
}
