/* See json_canonical.h. Depth is bounded by the scanner, so recursion is, too. */
#include "base/json_canonical.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_DIGITS = 17, SAFE_DIGITS = 15 };

/* ---- numbers ---- */

/* 0.d1d2d3… × 10^point */
struct decimal {
    char digits[MAX_DIGITS + 1];
    int n, point;
};

/* Correctly rounded to n digits. */
static void round_to(double v, int n, struct decimal *out)
{
    char text[40];
    (void)snprintf(text, sizeof text, "%.*e", n - 1, v); /* d.ddde±x */
    out->n = 0;
    const char *p = text;
    for (; *p && *p != 'e'; p++)
        if (*p != '.')
            out->digits[out->n++] = *p;
    out->point = (int)strtol(p + 1, NULL, 10) + 1;
}

static double value_of(const struct decimal *x)
{
    char text[48];
    (void)snprintf(text, sizeof text, "0.%.*se%d", x->n, x->digits, x->point);
    return strtod(text, NULL);
}

/* The next decimal of as many digits. */
static void next_up(struct decimal *x)
{
    int i = x->n - 1;
    while (i >= 0 && x->digits[i] == '9')
        x->digits[i--] = '0';
    if (i >= 0) {
        x->digits[i]++;
    } else {
        x->digits[0] = '1';
        x->point++;
    }
}

/* The fewest digits that read back as v > 0. Below a power of two doubles lie denser than above, so
 * there the upper neighbour can be shorter than what is nearest. */
static void shortest(double v, struct decimal *out)
{
    for (int n = 1; n < MAX_DIGITS; n++) {
        round_to(v, n, out);
        if (value_of(out) == v)
            return;
        next_up(out);
        if (value_of(out) == v)
            return;
    }
    round_to(v, MAX_DIGITS, out);
}

static void trim_zeros(struct decimal *x)
{
    while (x->n > 1 && x->digits[x->n - 1] == '0')
        x->n--;
}

static void add_zeros(struct buf *out, int n)
{
    while (n-- > 0)
        buf_addc(out, '0');
}

static void write_decimal(const struct decimal *x, struct buf *out)
{
    int n = x->n, point = x->point;
    if (n <= point && point <= 21) {
        buf_add(out, x->digits, (size_t)n);
        add_zeros(out, point - n);
    } else if (0 < point && point < n) {
        buf_add(out, x->digits, (size_t)point);
        buf_addc(out, '.');
        buf_add(out, x->digits + point, (size_t)(n - point));
    } else if (-6 < point && point <= 0) {
        buf_adds(out, "0.");
        add_zeros(out, -point);
        buf_add(out, x->digits, (size_t)n);
    } else {
        buf_addc(out, x->digits[0]);
        if (n > 1)
            buf_addc(out, '.');
        buf_add(out, x->digits + 1, (size_t)n - 1);
        buf_addf(out, "e%+d", point - 1);
    }
}

void json_canonical_double(double v, struct buf *out)
{
    struct decimal x;
    if (v == 0) { /* also -0 */
        buf_addc(out, '0');
        return;
    }
    if (v < 0)
        buf_addc(out, '-');
    shortest(fabs(v), &x);
    trim_zeros(&x);
    write_decimal(&x, out);
}

/* The significant digits of a number's text and where its point is; false: more than fit. */
static bool read_decimal(struct str s, struct decimal *out)
{
    int64_t point = 0, exponent = 0;
    bool fraction = false;
    size_t i = s.n && s.p[0] == '-', zeros = 0;
    out->n = 0;
    for (; i < s.n && s.p[i] != 'e' && s.p[i] != 'E'; i++) {
        if (s.p[i] == '.') {
            fraction = true;
            continue;
        }
        point += !fraction && (out->n || s.p[i] != '0');
        if (s.p[i] == '0') { /* kept only when another digit follows */
            zeros += out->n > 0;
            point -= fraction && !out->n;
            continue;
        }
        if (out->n + zeros >= MAX_DIGITS)
            return false;
        for (; zeros; zeros--)
            out->digits[out->n++] = '0';
        out->digits[out->n++] = s.p[i];
    }
    if (i < s.n)
        exponent = strtoll(s.p + i + 1, NULL, 10); /* saturates */
    if (exponent > 100000 || exponent < -100000 || point > 100000 || point < -100000)
        return false;
    out->point = (int)(point + exponent);
    return true;
}

/* Is the number's text, of the value v, the decimal that v is written as? */
static bool is_lossless(struct str raw, double v)
{
    struct decimal written, x;
    if (!read_decimal(raw, &written))
        return false;
    if (v == 0)
        return written.n == 0 && raw.p[0] != '-';
    if (written.n <= SAFE_DIGITS && fabs(v) > 1e-300)
        return true; /* that many digits always survive */
    shortest(fabs(v), &x);
    trim_zeros(&x);
    return x.n == written.n && x.point == written.point &&
           memcmp(x.digits, written.digits, (size_t)x.n) == 0;
}

static bool add_number(const struct json_doc *d, uint32_t tok, enum json_canonical_form form,
                       struct buf *out)
{
    int64_t i;
    struct str raw = json_raw(d, tok);
    if (json_int(d, tok, &i) && i >= -(1LL << 53) && i <= 1LL << 53 && (i || raw.n == 1)) {
        buf_add_str(out, raw); /* JSON allows no other way to write such a one */
        return true;
    }
    double v = json_double(d, tok);
    if (form == JSON_LOSSLESS && (!isfinite(v) || !is_lossless(raw, v)))
        buf_add_str(out, raw);
    else if (isfinite(v))
        json_canonical_double(v, out);
    else
        return false;
    return true;
}

/* ---- strings ---- */

static int hex4(const char *p)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        v = v * 16 + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return v;
}

/* A validated string holds surrogates only as escapes; are they all in pairs? */
static bool is_well_formed(struct str raw)
{
    for (size_t i = 0; i + 1 < raw.n; i++) {
        if (raw.p[i] != '\\')
            continue;
        i++;
        if (raw.p[i] != 'u')
            continue;
        int unit = hex4(raw.p + i + 1);
        i += 4;
        if (unit < 0xD800 || unit > 0xDFFF)
            continue;
        bool low_follows = unit < 0xDC00 && i + 6 < raw.n && raw.p[i + 1] == '\\' &&
                           raw.p[i + 2] == 'u' && hex4(raw.p + i + 3) >= 0xDC00 &&
                           hex4(raw.p + i + 3) <= 0xDFFF;
        if (!low_follows)
            return false;
        i += 6;
    }
    return true;
}

/* RFC 8785 §3.2.2.2 */
static void add_text(struct str s, struct buf *out)
{
    static const char letters[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f',
                                   ['\r'] = 'r', ['"'] = '"',  ['\\'] = '\\'};
    if (s.n == 0) {
        buf_adds(out, "\"\"");
        return;
    }
    buf_addc(out, '"');
    for (size_t i = 0, from = 0; i <= s.n; i++) {
        unsigned char c = i < s.n ? (unsigned char)s.p[i] : '"';
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buf_add(out, s.p + from, i - from);
        from = i + 1;
        if (i == s.n)
            break;
        if (letters[c])
            buf_addf(out, "\\%c", letters[c]);
        else
            buf_addf(out, "\\u%04x", c);
    }
    buf_addc(out, '"');
}

static bool add_string(const struct json_doc *d, uint32_t tok, struct arena *a, struct buf *out)
{
    if (!d->tok[tok].escaped) {
        buf_add_str(out, json_raw(d, tok));
        return true;
    }
    if (!is_well_formed(json_raw(d, tok)))
        return false;
    add_text(json_str(d, tok, a), out);
    return true;
}

/* ---- values ---- */

struct member {
    struct str name;
    uint32_t tok; /* of the name */
};

/* By UTF-16 code units (RFC 8785 §3.2.3). UTF-8 sorts as code points do, which differs only where
 * what takes a surrogate pair (from F0) meets U+E000 to U+FFFF (EE, EF). */
static int compare_names(const void *x, const void *y)
{
    const struct str *a = &((const struct member *)x)->name, *b = &((const struct member *)y)->name;
    size_t n = a->n < b->n ? a->n : b->n, i = 0;
    while (i < n && a->p[i] == b->p[i])
        i++;
    if (i == n)
        return a->n < b->n ? -1 : a->n > b->n;
    unsigned char p = (unsigned char)a->p[i], q = (unsigned char)b->p[i];
    if (p >= 0xEE && q >= 0xEE && (p >= 0xF0) != (q >= 0xF0))
        return p >= 0xF0 ? -1 : 1;
    return p < q ? -1 : 1;
}

static bool add_value(const struct json_doc *d, uint32_t tok, enum json_canonical_form form,
                      struct arena *a, struct buf *out);

static bool add_members(const struct json_doc *d, uint32_t obj, enum json_canonical_form form,
                        struct arena *a, struct buf *out)
{
    size_t count = d->tok[obj].count, n = 0;
    struct member *m = arena_alloc(a, (count + 1) * sizeof *m);
    bool sorted = true;
    for (uint32_t k = json_first(d, obj); k != JSON_NONE; k = json_next(d, obj, k), n++) {
        m[n] = (struct member){json_str(d, k, a), k};
        sorted = sorted && (n == 0 || compare_names(&m[n - 1], &m[n]) < 0);
    }
    if (!sorted)
        qsort(m, n, sizeof *m, compare_names);
    buf_addc(out, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0 && str_eq(m[i - 1].name, m[i].name))
            return false;
        if (i > 0)
            buf_addc(out, ',');
        if (!add_string(d, m[i].tok, a, out))
            return false;
        buf_addc(out, ':');
        if (!add_value(d, m[i].tok + 1, form, a, out))
            return false;
    }
    buf_addc(out, '}');
    return true;
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as the scanner allows */
static bool add_value(const struct json_doc *d, uint32_t tok, enum json_canonical_form form,
                      struct arena *a, struct buf *out)
{
    switch (json_type(d, tok)) {
    case JSON_NULL:
    case JSON_TRUE:
    case JSON_FALSE: buf_add_str(out, json_raw(d, tok)); return true;
    case JSON_NUMBER: return add_number(d, tok, form, out);
    case JSON_STRING: return add_string(d, tok, a, out);
    case JSON_OBJECT: return add_members(d, tok, form, a, out);
    case JSON_ARRAY: break;
    }
    buf_addc(out, '[');
    for (uint32_t k = json_first(d, tok), first = k; k != JSON_NONE; k = json_next(d, tok, k)) {
        if (k != first)
            buf_addc(out, ',');
        if (!add_value(d, k, form, a, out))
            return false;
    }
    buf_addc(out, ']');
    return true;
}

bool json_canonical(const struct json_doc *d, uint32_t tok, enum json_canonical_form form,
                    struct buf *out)
{
    struct arena a = {0};
    size_t before = out->n;
    bool ok = add_value(d, tok, form, &a, out);
    if (!ok)
        out->n = before;
    arena_fini(&a);
    return ok;
}

void json_canonical_or_raw(const struct json_doc *d, uint32_t tok, struct buf *out)
{
    if (tok != JSON_NONE && !json_canonical(d, tok, JSON_LOSSLESS, out))
        buf_add_str(out, json_raw(d, tok));
}
