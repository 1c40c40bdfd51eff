/* See options.h: the values. Text to field and back, for every type of row; durations, sizes,
 * suggestions. */
#include "base/options.h"

#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_LIST = 1000, MAX_STRING = 4096, MAX_WORD = 48 };

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit time_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0},
};

static const struct unit size_units[] = {
    {"GiB", 1ULL << 30},
    {"MiB", 1ULL << 20},
    {"KiB", 1ULL << 10},
    {"Gi", 1ULL << 30},
    {"Mi", 1ULL << 20},
    {"Ki", 1ULL << 10},
    {"GB", 1000000000},
    {"MB", 1000000},
    {"kB", 1000},
    {"KB", 1000},
    {"B", 1},
    {NULL, 0},
};

static const char *const true_words[] = {"true", "yes", "on", "1", "enabled", "t", "y", NULL};
static const char *const false_words[] = {"false", "no", "off", "0", "disabled", "f", "n", NULL};

static bool is_word(struct str s, const char *const *words)
{
    for (; *words; words++)
        if (str_ieq(s, str_of(*words)))
            return true;
    return false;
}

bool option_parse_bool(struct str s, bool *out)
{
    *out = is_word(s, true_words);
    return *out || is_word(s, false_words);
}

/* Takes "123unit" from *s: the digits, then the letters, which must name a unit. */
static bool take_amount(struct str *s, const struct unit *units, uint64_t *out)
{
    size_t digits = 0, letters = 0;
    while (digits < s->n && isdigit((unsigned char)s->p[digits]))
        digits++;
    while (digits + letters < s->n && isalpha((unsigned char)s->p[digits + letters]))
        letters++;
    struct str name = {s->p + digits, letters};
    uint64_t v;
    if (!str_to_u64((struct str){s->p, digits}, &v))
        return false;
    *s = (struct str){s->p + digits + letters, s->n - digits - letters};
    for (; units->name; units++)
        if (str_eq(name, str_of(units->name)))
            return !__builtin_mul_overflow(v, units->factor, out);
    return false;
}

bool option_parse_msec(struct str s, int64_t *out)
{
    uint64_t sum = 0, v;
    if (str_eq(s, STR("0"))) {
        *out = 0;
        return true;
    }
    if (s.n == 0)
        return false;
    while (s.n)
        if (!take_amount(&s, time_units, &v) || __builtin_add_overflow(sum, v, &sum))
            return false;
    *out = (int64_t)sum;
    return sum <= INT64_MAX;
}

bool option_parse_bytes(struct str s, uint64_t *out)
{
    if (str_to_u64(s, out))
        return true;
    return s.n && take_amount(&s, size_units, out) && s.n == 0;
}

/* The largest unit that divides v; v may be 0. */
static void format_amount(uint64_t v, const struct unit *units, struct buf *out)
{
    const struct unit *best = NULL;
    for (const struct unit *u = units; u->name && v; u++)
        if (v % u->factor == 0 && (!best || u->factor > best->factor))
            best = u;
    buf_add_u64(out, best ? v / best->factor : v);
    if (best && (best->factor > 1 || units == time_units))
        buf_adds(out, best->name);
}

static void format_number(const struct option *o, int64_t v, struct buf *out)
{
    if (o->type == OPT_MSEC)
        format_amount((uint64_t)v, time_units, out);
    else if (o->type == OPT_BYTES)
        format_amount((uint64_t)v, size_units, out);
    else
        buf_addf(out, "%lld", (long long)v);
}

static void format_choice(const struct option *o, int value, struct buf *out)
{
    for (const struct option_choice *c = o->choices; c->name; c++) {
        if (c->value == value && *c->name) {
            buf_adds(out, c->name);
            return;
        }
    }
}

/* Fields of int, enum and bool size, by their bytes: what an enum's type is, the compiler
 * chooses. */
static int load_small(const void *field, size_t size)
{
    int v = 0;
    bool b = false;
    if (size == sizeof b)
        memcpy(&b, field, sizeof b);
    else
        memcpy(&v, field, sizeof v);
    return size == sizeof b ? b : v;
}

static void store_small(void *field, size_t size, int v)
{
    bool b = v != 0;
    if (size == sizeof b)
        memcpy(field, &b, sizeof b);
    else
        memcpy(field, &v, sizeof v);
}

void option_format(const struct option *o, const void *base, struct buf *out)
{
    const char *field = (const char *)base + o->offset;
    const char *z;
    size_t bytes;
    switch (o->type) {
    case OPT_STRING:
        memcpy(&z, field, sizeof z);
        buf_adds(out, z ? z : "");
        break;
    case OPT_CHARS: buf_adds(out, field); break;
    case OPT_BOOL: buf_adds(out, load_small(field, sizeof(bool)) ? "true" : "false"); break;
    case OPT_INT:
    case OPT_MSEC: format_number(o, load_small(field, sizeof(int)), out); break;
    case OPT_BYTES:
        memcpy(&bytes, field, sizeof bytes);
        format_number(o, (int64_t)bytes, out);
        break;
    case OPT_CHOICE: format_choice(o, load_small(field, o->size), out); break;
    case OPT_LIST:
    case OPT_PAIRS:
    case OPT_SUBTREE: break;
    }
}

static void free_string(const struct option *o, char *z)
{
    if (z && (o->flags & OPT_SECRET))
        explicit_bzero(z, strlen(z));
    free(z);
}

static size_t *pairs_count(const struct option *o, void *base)
{
    return (size_t *)(void *)((char *)base + o->count_offset);
}

void option_clear(const struct option *o, void *base)
{
    void *field = (char *)base + o->offset;
    if (o->type == OPT_STRING) {
        char **z = field;
        free_string(o, *z);
        *z = NULL;
    } else if (o->type == OPT_LIST) {
        char ***list = field;
        for (char **z = *list; z && *z; z++)
            free_string(o, *z);
        free(*list);
        *list = NULL;
    } else if (o->type == OPT_PAIRS) {
        struct name_value **pairs = field;
        for (size_t i = 0; i < *pairs_count(o, base); i++) {
            free((*pairs)[i].name);
            free_string(o, (*pairs)[i].value);
        }
        free(*pairs);
        *pairs = NULL;
        *pairs_count(o, base) = 0;
    }
}

bool option_list_add(const struct option *o, void *base, struct str text)
{
    char ***list = (void *)((char *)base + o->offset);
    size_t n = 0;
    while (*list && (*list)[n])
        n++;
    if (n >= MAX_LIST)
        return false;
    *list = xrealloc(*list, (n + 2) * sizeof **list);
    (*list)[n] = xmemdup0(text.p, text.n);
    (*list)[n + 1] = NULL;
    return true;
}

bool option_pairs_add(const struct option *o, void *base, const char *name, const char *value)
{
    struct name_value **pairs = (void *)((char *)base + o->offset);
    size_t *n = pairs_count(o, base);
    if (*n >= MAX_LIST)
        return false;
    *pairs = xrealloc(*pairs, (*n + 1) * sizeof **pairs);
    (*pairs)[(*n)++] = (struct name_value){xstrdup(name), xstrdup(value)};
    return true;
}

static bool set_string(const struct option *o, void *field, const char *text, struct err *e)
{
    size_t n = strlen(text), max = o->max ? (size_t)o->max : MAX_STRING;
    if (o->type == OPT_CHARS)
        max = o->size - 1;
    if (n < (size_t)o->min)
        return n ? err_set(e, ERR_CONFIG, "is too short: at least %d characters", (int)o->min)
                 : err_set(e, ERR_CONFIG, "is empty: give it a value or leave it out");
    if (n > max)
        return err_set(e, ERR_CONFIG, "is too long: at most %zu characters", max);
    if (o->type == OPT_CHARS) {
        memcpy(field, text, n + 1);
        return true;
    }
    char **z = field;
    free_string(o, *z);
    *z = xstrdup(text);
    return true;
}

static bool out_of_bounds(const struct option *o, struct err *e)
{
    struct buf b = {0};
    buf_adds(&b, "is out of bounds: write ");
    format_number(o, o->min, &b);
    buf_adds(&b, " to ");
    format_number(o, o->max, &b);
    err_fill(e, ERR_CONFIG, "%.*s", STR_FMT(buf_str(&b)));
    buf_fini(&b);
    return false;
}

static bool parse_int(struct str s, int64_t *out)
{
    bool negative = s.n && s.p[0] == '-';
    uint64_t v;
    if (!str_to_u64((struct str){s.p + negative, s.n - negative}, &v) || v > INT_MAX)
        return false;
    *out = negative ? -(int64_t)v : (int64_t)v;
    return true;
}

static bool parse_number(const struct option *o, struct str s, int64_t *v, struct err *e)
{
    uint64_t bytes;
    if (o->type == OPT_MSEC) {
        if (!option_parse_msec(s, v))
            return err_set(e, ERR_CONFIG,
                           "is not a duration: write it with a unit, as 500ms, 60s or 5m");
    } else if (o->type == OPT_BYTES) {
        if (!option_parse_bytes(s, &bytes) || bytes > INT64_MAX)
            return err_set(e, ERR_CONFIG, "is not a size: write it as 4MiB, 512KiB or 4096");
        *v = (int64_t)bytes;
    } else if (!parse_int(s, v)) {
        return err_set(e, ERR_CONFIG, "is not a whole number");
    }
    return true;
}

static bool set_number(const struct option *o, void *field, struct str s, struct err *e)
{
    int64_t v = 0;
    if (!parse_number(o, s, &v, e))
        return false;
    if ((o->min || o->max) && (v < o->min || v > o->max))
        return out_of_bounds(o, e);
    if (o->type == OPT_BYTES) {
        size_t bytes = (size_t)v;
        memcpy(field, &bytes, sizeof bytes);
        return true;
    }
    if (v > INT_MAX)
        return err_set(e, ERR_CONFIG, "is too long a time: at most 24d");
    store_small(field, sizeof(int), (int)v);
    return true;
}

static bool set_bool(void *field, struct str s, struct err *e)
{
    bool v;
    if (!option_parse_bool(s, &v))
        return err_set(e, ERR_CONFIG, "is neither true nor false");
    store_small(field, sizeof v, v);
    return true;
}

/* Each value once, by its first word. */
static void add_choices(const struct option *o, struct buf *out)
{
    for (const struct option_choice *c = o->choices; c->name && *c->name; c++) {
        const struct option_choice *first = o->choices;
        while (first->value != c->value)
            first++;
        if (first == c)
            buf_addf(out, "%s%s", c == o->choices ? "" : ", ", c->name);
    }
}

static bool set_choice(const struct option *o, void *field, struct str s, struct err *e)
{
    for (const struct option_choice *c = o->choices; c->name; c++) {
        if (s.n && str_ieq(s, str_of(c->name))) {
            store_small(field, o->size, c->value);
            return true;
        }
    }
    struct buf b = {0};
    add_choices(o, &b);
    err_fill(e, ERR_CONFIG, "is not one of: %.*s", STR_FMT(buf_str(&b)));
    buf_fini(&b);
    return false;
}

bool option_set(const struct option *o, void *base, const char *text, struct err *e)
{
    void *field = (char *)base + o->offset;
    switch (o->type) {
    case OPT_STRING:
    case OPT_CHARS: return set_string(o, field, text, e);
    case OPT_INT:
    case OPT_MSEC:
    case OPT_BYTES: return set_number(o, field, str_of(text), e);
    case OPT_BOOL: return set_bool(field, str_of(text), e);
    case OPT_CHOICE: return set_choice(o, field, str_of(text), e);
    case OPT_LIST:
    case OPT_PAIRS:
    case OPT_SUBTREE: break;
    }
    return err_set(e, ERR_CONFIG, "cannot be a single value");
}

/* Lower case without '-', '_' and '.', cut to fit. */
static size_t plain_word(struct str s, char out[MAX_WORD])
{
    size_t n = 0;
    for (size_t i = 0; i < s.n && n < MAX_WORD; i++)
        if (!strchr("-_.", s.p[i]) || !s.p[i])
            out[n++] = (char)tolower((unsigned char)s.p[i]);
    return n;
}

static int min3(int a, int b, int c)
{
    int m = a < b ? a : b;
    return m < c ? m : c;
}

/* Optimal string alignment: insert, delete, replace, and swap of neighbours cost 1. */
static int distance(const char *a, size_t an, const char *b, size_t bn)
{
    int row[3][MAX_WORD + 1];
    int *prev2 = row[0], *prev = row[1], *cur = row[2];
    for (size_t j = 0; j <= bn; j++)
        prev[j] = (int)j;
    for (size_t i = 1; i <= an; i++) {
        cur[0] = (int)i;
        for (size_t j = 1; j <= bn; j++) {
            int cost = a[i - 1] != b[j - 1];
            cur[j] = min3(prev[j] + 1, cur[j - 1] + 1, prev[j - 1] + cost);
            bool swap = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swap && prev2[j - 2] + 1 < cur[j])
                cur[j] = prev2[j - 2] + 1;
        }
        int *spare = prev2;
        prev2 = prev;
        prev = cur;
        cur = spare;
    }
    return prev[bn];
}

const char *option_suggest(struct str s, const char *const *candidates, size_t n)
{
    char a[MAX_WORD], b[MAX_WORD];
    size_t an = plain_word(s, a);
    int limit = an < 4 ? 1 : an < 8 ? 2 : 3, best = limit + 1;
    const char *found = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t bn = plain_word(str_of(candidates[i]), b);
        size_t apart = an > bn ? an - bn : bn - an;
        int d = apart < (size_t)best ? distance(a, an, b, bn) : best;
        if (d < best && (size_t)d * 2 < bn) {
            best = d;
            found = candidates[i];
        }
    }
    return found;
}
