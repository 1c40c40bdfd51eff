/* Fuzzes the envelope of what Redis holds. The bytes as they are never open; wrapped they open to
 * themselves where they were put, and nowhere else, nor with one byte changed. The first byte picks
 * that one. */
#include "store/store_mac.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW_MS = 1000000 };

static bool opens(const struct store_macs *m, struct store_place at, struct str raw, int64_t now_ms)
{
    struct str out;
    return store_mac_open(m, &at, raw, now_ms, &out);
}

static void check_wrapped(const struct store_macs *m, struct str payload, uint8_t pick)
{
    struct store_place at = {STORE_FOR_VALUE, STR("key"), 0};
    struct buf raw = {0};
    struct str out;
    store_mac_wrap(m, &at, NOW_MS + 1, payload, &raw);
    if (!store_mac_open(m, &at, buf_str(&raw), NOW_MS, &out))
        abort();
    assert(str_eq(out, payload));
    assert(!opens(m, at, buf_str(&raw), NOW_MS + 60000));
    assert(!opens(m, (struct store_place){STORE_FOR_LOG, STR("key"), 0}, buf_str(&raw), NOW_MS));
    assert(!opens(m, (struct store_place){STORE_FOR_VALUE, STR("ke"), 0}, buf_str(&raw), NOW_MS));
    assert(!opens(m, (struct store_place){STORE_FOR_VALUE, STR("key"), 1}, buf_str(&raw), NOW_MS));
    assert(!opens(m, at, (struct str){raw.p, raw.n - 1}, NOW_MS));
    raw.p[pick % raw.n] ^= (char)(1 + pick % 255);
    assert(!opens(m, at, buf_str(&raw), NOW_MS));
    buf_fini(&raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t keys[2][32] = {"one key of thirty-two bytes len",
                                        "and another one of that"};
    struct store_macs *m = store_macs_new(keys, 2);
    if (size > 0) {
        struct str rest = {(const char *)data + 1, size - 1};
        assert(!opens(m, (struct store_place){STORE_FOR_VALUE, STR("key"), 0}, rest, NOW_MS));
        check_wrapped(m, rest, data[0]);
    }
    store_macs_free(&m);
    return 0;
}
