/* Tests on JSON values that a pointer names: on a call's arguments, on a token's claims. Types are
 * strict: "5" is not 5. Pure and bounded; fuzzed. */
#ifndef AUTH_JSONTEST_H
#define AUTH_JSONTEST_H

#include "base/json.h"

enum jsontest_kind {
    JSONTEST_EQUALS, /* the one value */
    JSONTEST_IN,     /* one of the values; an array's element counts, for claims as "groups" */
    JSONTEST_GLOB,   /* a string that the glob matches */
    JSONTEST_RANGE,  /* a number from min to max */
    JSONTEST_ABSENT,
    JSONTEST_PRESENT,
};

/* A value to compare with. */
struct jsontest_value {
    enum json_type type; /* not a container */
    char *text;          /* of a string: unescaped; of a number: as written */
    size_t len;
};

struct jsontest {
    char *pointer; /* RFC 6901: "/path", "/items/0/id"; "" is the whole */
    enum jsontest_kind kind;
    struct jsontest_value *values;
    size_t n;
    char *glob;
    double min, max;
};

/* AMBIGUOUS: on the way lies an object with a member given twice, which readers take differently.
 */
enum jsontest_result { JSONTEST_FALSE, JSONTEST_TRUE, JSONTEST_AMBIGUOUS };

/* root: the value that pointers start from; JSON_NONE: there is none, so all is absent. */
enum jsontest_result jsontest_eval(const struct jsontest *t, const struct json_doc *d,
                                   uint32_t root);
/* Is it a JSON pointer? */
bool jsontest_is_pointer(const char *z);
void jsontest_fini(struct jsontest *t);

#endif
