/* auth/jsontest.c: a pointer, then a newline, then any JSON; all kinds of tests on it. */
#include "auth/jsontest.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char one[] = "1", a_text[] = "a", a_glob[] = "a*";
    struct str rest = {(const char *)data, size}, first;
    struct json_doc d = {0};
    if (!str_split(&rest, '\n', &first) || memchr(first.p, '\0', first.n))
        return 0;
    char *pointer = xmemdup0(first.p, first.n);
    if (jsontest_is_pointer(pointer) && json_parse(&d, rest.p ? rest.p : "", rest.n, NULL)) {
        struct jsontest_value v[] = {{JSON_NUMBER, one, 1}, {JSON_STRING, a_text, 1}};
        for (int kind = JSONTEST_EQUALS; kind <= JSONTEST_PRESENT; kind++) {
            struct jsontest t = {pointer, (enum jsontest_kind)kind, v, 2, a_glob, 0, 9};
            (void)jsontest_eval(&t, &d, 0);
        }
        struct jsontest absent = {.pointer = pointer, .kind = JSONTEST_ABSENT};
        struct jsontest present = {.pointer = pointer, .kind = JSONTEST_PRESENT};
        enum jsontest_result a = jsontest_eval(&absent, &d, 0), b = jsontest_eval(&present, &d, 0);
        assert(a == JSONTEST_AMBIGUOUS ? b == a : a != b);
    }
    json_fini(&d);
    free(pointer);
    return 0;
}
