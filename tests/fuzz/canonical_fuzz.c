/* Fuzzes the canonical form: it is JSON, it is its own canonical form, and where no number is lost
 * both forms are one. */
#include "base/json_canonical.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct json_doc *d, enum json_canonical_form form, struct buf *out)
{
    struct json_doc again = {0};
    struct buf second = {0};
    struct err e = {0};
    if (json_canonical(d, 0, form, out)) {
        assert(json_parse(&again, out->p, out->n, &e));
        assert(json_canonical(&again, 0, form, &second));
        assert(str_eq(buf_str(out), buf_str(&second)));
    } else {
        assert(out->n == 0);
    }
    json_fini(&again);
    buf_fini(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_doc d = {0};
    struct err e = {0};
    struct buf plain = {0}, lossless = {0}, joined = {0};
    if (json_parse(&d, (const char *)data, size, &e)) {
        check(&d, JSON_RFC_8785, &plain);
        check(&d, JSON_LOSSLESS, &lossless);
        if (plain.n) { /* the lossless text means, to a double, what the plain one does */
            assert(json_parse(&d, lossless.p, lossless.n, &e));
            assert(json_canonical(&d, 0, JSON_RFC_8785, &joined));
            assert(str_eq(buf_str(&plain), buf_str(&joined)));
        }
    }
    json_fini(&d);
    buf_fini(&plain);
    buf_fini(&lossless);
    buf_fini(&joined);
    return 0;
}
