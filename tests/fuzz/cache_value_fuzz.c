/* Fuzzes values as the store has them: what is read as one, is written and read back the same. */
#include "gateway/cache.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str generation, again;
    struct cache_value *v = cache_value_read((struct str){(const char *)data, size}, &generation);
    if (!v)
        return 0;
    struct buf b = {0};
    assert(json_is(&v->doc, 0, JSON_OBJECT));
    cache_value_write(v, generation, &b);
    struct cache_value *w = cache_value_read(buf_str(&b), &again);
    if (w) { /* else its time is over */
        assert(str_eq(generation, again) && w->modern == v->modern && w->shared == v->shared);
        assert(str_eq(buf_str(&v->text), buf_str(&w->text)));
    }
    cache_value_unref(&v);
    cache_value_unref(&w);
    buf_fini(&b);
    return 0;
}
