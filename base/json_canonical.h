/* The one way to write a JSON value (RFC 8785, JSON Canonicalization Scheme), for digests of values
 * that mean the same. No I/O; fuzzed. */
#ifndef BASE_JSON_CANONICAL_H
#define BASE_JSON_CANONICAL_H

#include "base/json.h"

enum json_canonical_form {
    JSON_RFC_8785, /* numbers as a double holds them */
    JSON_LOSSLESS, /* the same, but a number that a double would change stays as it was written, so
                      that values that differ never become one text */
};

/* Appends the canonical text of tok: no blanks, members in order of their names' UTF-16 units,
 * strings with the fewest escapes, numbers as ECMAScript writes them. False, with *out as long as
 * before, for what has no canonical text: an object with two members of one name, a lone surrogate,
 * a number beyond a double. */
bool json_canonical(const struct json_doc *d, uint32_t tok, enum json_canonical_form form,
                    struct buf *out) MUST_USE;
/* The lossless form for a digest: what has none is appended as it was written, and nothing for
 * JSON_NONE. */
void json_canonical_or_raw(const struct json_doc *d, uint32_t tok, struct buf *out);
/* Appends a finite number as ECMAScript's Number::toString writes it (ECMA-262 §6.1.6.1.20): the
 * fewest digits that read back as the same double. */
void json_canonical_double(double v, struct buf *out);

#endif
