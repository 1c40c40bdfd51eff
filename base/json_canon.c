/* See json.h: one text for all that means the same. */
#include "base/json.h"

#include <stdio.h>
#include <stdlib.h>

struct member {
    struct str name;
    uint32_t value;
};

static int by_name(const void *a, const void *b)
{
    return str_cmp(((const struct member *)a)->name, ((const struct member *)b)->name);
}

/* 1, 1.0 and 1e0 are one number; integers that a double cannot hold stay exact. */
static void add_number(const struct json_doc *d, uint32_t tok, struct buf *out)
{
    int64_t whole;
    if (json_int(d, tok, &whole)) {
        buf_addf(out, "%lld", (long long)whole);
        return;
    }
    double v = json_double(d, tok);
    if (v > -1e15 && v < 1e15 && v == (double)(int64_t)v)
        buf_addf(out, "%lld", (long long)v);
    else if (v > -1e300 && v < 1e300)
        buf_addf(out, "%.17g", v);
    else
        buf_add_str(out, json_raw(d, tok));
}

static void add_string(const struct json_doc *d, uint32_t tok, struct buf *out)
{
    struct arena a = {0};
    json_write_str(out, json_str(d, tok, &a));
    arena_fini(&a);
}

static void add_object(const struct json_doc *d, uint32_t tok, struct buf *out)
{
    struct arena a = {0};
    uint32_t n = 0, count = d->tok[tok].count;
    struct member *all = xcalloc(count ? count : 1, sizeof *all);
    for (uint32_t k = json_first(d, tok); k != JSON_NONE; k = json_next(d, tok, k))
        all[n++] = (struct member){json_str(d, k, &a), k + 1};
    qsort(all, n, sizeof *all, by_name);
    buf_addc(out, '{');
    for (uint32_t i = 0; i < n; i++) {
        buf_adds(out, i ? "," : "");
        json_write_str(out, all[i].name);
        buf_addc(out, ':');
        json_canonical(d, all[i].value, out); /* as deep as the document: at most 64 */
    }
    buf_addc(out, '}');
    free(all);
    arena_fini(&a);
}

static void add_array(const struct json_doc *d, uint32_t tok, struct buf *out)
{
    char before = '[';
    for (uint32_t k = json_first(d, tok); k != JSON_NONE; k = json_next(d, tok, k)) {
        buf_addc(out, before);
        json_canonical(d, k, out);
        before = ',';
    }
    buf_adds(out, before == '[' ? "[]" : "]");
}

void json_canonical(const struct json_doc *d, uint32_t tok, struct buf *out)
{
    if (tok == JSON_NONE)
        return;
    switch (json_type(d, tok)) {
    case JSON_NULL:
    case JSON_TRUE:
    case JSON_FALSE: buf_add_str(out, json_raw(d, tok)); break;
    case JSON_NUMBER: add_number(d, tok, out); break;
    case JSON_STRING: add_string(d, tok, out); break;
    case JSON_ARRAY: add_array(d, tok, out); break;
    case JSON_OBJECT: add_object(d, tok, out); break;
    }
}
