/* The verifier of auth/audit.c: any bytes as a log, cut at any place; the verdict is the same. */
#include "auth/audit.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *p = (const char *)data;
    struct audit_verifier whole = {0}, cut = {0};
    size_t at = size ? data[0] % size : 0;
    (void)audit_verify_feed(&whole, (struct str){p, size});
    bool ok = audit_verify_end(&whole);
    if (audit_verify_feed(&cut, (struct str){p, at}))
        (void)audit_verify_feed(&cut, (struct str){p + at, size - at});
    assert(audit_verify_end(&cut) == ok);
    assert(whole.report.lines == cut.report.lines && whole.report.bad_line == cut.report.bad_line);
    return 0;
}
