/* Orders to workers: whatever the line says, what comes out is bounded and terminated. */
#include "local/order.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_paths(const char *const *paths)
{
    size_t n = 0;
    while (paths[n])
        n++;
    if (n >= SANDBOX_MAX_PATHS)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct order o;
    struct err e;
    if (size > ORDER_MAX_BYTES)
        return 0;
    if (order_parse((struct str){(const char *)data, size}, &o, &a, &e)) {
        check_paths(o.sandbox.read);
        check_paths(o.sandbox.write);
        if (o.sandbox.memory_mb < 0 || o.sandbox.files < 0 || o.sandbox.file_bytes < 0)
            abort();
    }
    arena_fini(&a);
    return 0;
}
