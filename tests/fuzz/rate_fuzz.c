/* Fuzzes the reader of rates: what is one, is read back the same from how it is shown. */
#include "gateway/rate.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rate r, again;
    struct err e = {0};
    if (!rate_parse((struct str){(const char *)data, size}, &r, &e)) {
        assert(e.kind == ERR_CONFIG && !rate_is_set(r));
        return 0;
    }
    struct buf b = {0};
    rate_format(r, &b);
    assert(rate_parse(buf_str(&b), &again, &e));
    assert(r.limit == again.limit && r.window_ms == again.window_ms && r.limit <= RATE_MAX);
    buf_fini(&b);
    return 0;
}
