/* See jsontest.h. */
#include "auth/jsontest.h"

#include <stdlib.h>

enum { MAX_NAME = 512 };

bool jsontest_is_pointer(const char *z)
{
    if (*z && *z != '/')
        return false;
    for (; *z; z++)
        if (*z == '~' && z[1] != '0' && z[1] != '1')
            return false;
    return true;
}

void jsontest_fini(struct jsontest *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->values[i].text);
    free(t->values);
    free(t->pointer);
    free(t->glob);
    *t = (struct jsontest){0};
}

/* ---- following the pointer ---- */

/* A reference token without its escapes (RFC 6901 §4); false: longer than any name may be. */
static bool unescape(struct str part, char name[MAX_NAME], struct str *out)
{
    size_t n = 0;
    for (size_t i = 0; i < part.n; i++) {
        char c = part.p[i];
        if (c == '~' && i + 1 < part.n)
            c = part.p[++i] == '1' ? '/' : '~';
        if (n == MAX_NAME)
            return false;
        name[n++] = c;
    }
    *out = (struct str){name, n};
    return true;
}

/* An array's element; "-" and leading zeros name none. */
static uint32_t element(const struct json_doc *d, uint32_t array, struct str index)
{
    uint64_t at;
    if (!str_to_u64(index, &at) || (index.n > 1 && index.p[0] == '0') || at >= d->tok[array].count)
        return JSON_NONE;
    uint32_t k = json_first(d, array);
    while (at--)
        k = json_next(d, array, k);
    return k;
}

/* Where the pointer leads; *ambiguous: two readers would not agree. */
static uint32_t follow(const struct json_doc *d, uint32_t tok, const char *pointer, bool *ambiguous)
{
    struct str rest = str_of(pointer);
    while (rest.n && tok != JSON_NONE) {
        char buffer[MAX_NAME];
        struct str part, name;
        rest = (struct str){rest.p + 1, rest.n - 1};
        const char *slash = rest.n ? memchr(rest.p, '/', rest.n) : NULL;
        part = (struct str){rest.p, slash ? (size_t)(slash - rest.p) : rest.n};
        rest = (struct str){rest.p + part.n, rest.n - part.n};
        if (!unescape(part, buffer, &name))
            return JSON_NONE;
        if (json_is(d, tok, JSON_OBJECT)) {
            *ambiguous = *ambiguous || json_has_duplicates(d, tok);
            tok = json_get(d, tok, name);
        } else {
            tok = json_is(d, tok, JSON_ARRAY) ? element(d, tok, name) : JSON_NONE;
        }
    }
    return tok;
}

/* ---- comparing ---- */

/* Integers exactly, other numbers as doubles: 1.0 is 1. */
static bool same_number(const struct json_doc *d, uint32_t tok, const struct jsontest_value *v)
{
    struct json_doc own = {0};
    int64_t a, b;
    bool same = false;
    if (json_parse(&own, v->text, v->len, NULL) && json_is(&own, 0, JSON_NUMBER)) {
        if (json_int(d, tok, &a) && json_int(&own, 0, &b))
            same = a == b;
        else
            same = json_double(d, tok) == json_double(&own, 0);
    }
    json_fini(&own);
    return same;
}

static bool equals(const struct json_doc *d, uint32_t tok, const struct jsontest_value *v)
{
    if (json_type(d, tok) != v->type)
        return false;
    switch (v->type) {
    case JSON_STRING: return json_str_eq(d, tok, (struct str){v->text, v->len});
    case JSON_NUMBER: return same_number(d, tok, v);
    case JSON_NULL:
    case JSON_TRUE:
    case JSON_FALSE: return true;
    case JSON_ARRAY:
    case JSON_OBJECT: break;
    }
    return false;
}

static bool is_one_of(const struct jsontest *t, const struct json_doc *d, uint32_t tok)
{
    for (size_t i = 0; i < t->n; i++)
        if (equals(d, tok, &t->values[i]))
            return true;
    return false;
}

static bool any_in(const struct jsontest *t, const struct json_doc *d, uint32_t tok)
{
    if (!json_is(d, tok, JSON_ARRAY))
        return is_one_of(t, d, tok);
    for (uint32_t k = json_first(d, tok); k != JSON_NONE; k = json_next(d, tok, k))
        if (is_one_of(t, d, k))
            return true;
    return false;
}

static bool glob_matches(const struct jsontest *t, const struct json_doc *d, uint32_t tok)
{
    struct arena a = {0};
    bool ok = json_is(d, tok, JSON_STRING) && str_glob(str_of(t->glob), json_str(d, tok, &a));
    arena_fini(&a);
    return ok;
}

static bool in_range(const struct jsontest *t, const struct json_doc *d, uint32_t tok)
{
    double v = json_double(d, tok);
    return json_is(d, tok, JSON_NUMBER) && v >= t->min && v <= t->max;
}

enum jsontest_result jsontest_eval(const struct jsontest *t, const struct json_doc *d,
                                   uint32_t root)
{
    bool ambiguous = false, holds = false;
    uint32_t tok = root == JSON_NONE ? JSON_NONE : follow(d, root, t->pointer, &ambiguous);
    bool there = tok != JSON_NONE;
    if (ambiguous)
        return JSONTEST_AMBIGUOUS;
    switch (t->kind) {
    case JSONTEST_EQUALS: holds = there && is_one_of(t, d, tok); break;
    case JSONTEST_IN: holds = there && any_in(t, d, tok); break;
    case JSONTEST_GLOB: holds = there && glob_matches(t, d, tok); break;
    case JSONTEST_RANGE: holds = there && in_range(t, d, tok); break;
    case JSONTEST_ABSENT: holds = !there; break;
    case JSONTEST_PRESENT: holds = there; break;
    }
    return holds ? JSONTEST_TRUE : JSONTEST_FALSE;
}
