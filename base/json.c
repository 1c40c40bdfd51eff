/* See json.h (RFC 8259). The scanner is a state machine whose stack lies in the open containers, so
 * that it can stop after any byte. What it must see whole (a literal, an escape, a UTF-8 character:
 * at most six bytes) it reads again from its first byte when more has come; strings and numbers,
 * which may be long, continue where they stopped. */
#include "base/json.h"

#include "base/json_text.h"

#include <assert.h>
#include <stdlib.h>

enum { MAX_DEPTH = 64, MAX_TOKENS = 100000, FIRST_CAP = 64 };

/* What may come next. From ST_STRING on the scanner is inside a token, where spaces count. */
enum state {
    ST_VALUE,
    ST_ARRAY_FIRST,  /* a value or ] */
    ST_OBJECT_FIRST, /* a name or } */
    ST_NAME,
    ST_COLON,
    ST_AFTER, /* a comma or the end of the container */
    ST_DONE,
    ST_FAILED,
    ST_STRING,
    ST_NAME_STRING,
    ST_NUM_MINUS, /* the states of a number say what was last read */
    ST_NUM_ZERO,
    ST_NUM_INT,
    ST_NUM_DOT,
    ST_NUM_FRAC,
    ST_NUM_EXP,
    ST_NUM_EXP_SIGN,
    ST_NUM_EXP_DIGITS,
};

/* Classes of bytes in numbers, and where they lead; 0: the number does not go on so. */
enum num_class { NC_OTHER, NC_ZERO, NC_DIGIT, NC_DOT, NC_EXP, NC_SIGN, NC_N };
static const uint8_t num_class[256] = {
    ['0'] = NC_ZERO, ['1' ... '9'] = NC_DIGIT, ['.'] = NC_DOT,  ['e'] = NC_EXP,
    ['E'] = NC_EXP,  ['+'] = NC_SIGN,          ['-'] = NC_SIGN,
};
#define NUM(st) [ST_NUM_##st - ST_NUM_MINUS]
static const uint8_t num_next[][NC_N] = {
    NUM(MINUS) = {[NC_ZERO] = ST_NUM_ZERO, [NC_DIGIT] = ST_NUM_INT},
    NUM(ZERO) = {[NC_DOT] = ST_NUM_DOT, [NC_EXP] = ST_NUM_EXP},
    NUM(INT) = {[NC_ZERO] = ST_NUM_INT,
                [NC_DIGIT] = ST_NUM_INT,
                [NC_DOT] = ST_NUM_DOT,
                [NC_EXP] = ST_NUM_EXP},
    NUM(DOT) = {[NC_ZERO] = ST_NUM_FRAC, [NC_DIGIT] = ST_NUM_FRAC},
    NUM(FRAC) = {[NC_ZERO] = ST_NUM_FRAC, [NC_DIGIT] = ST_NUM_FRAC, [NC_EXP] = ST_NUM_EXP},
    NUM(EXP) = {[NC_ZERO] = ST_NUM_EXP_DIGITS,
                [NC_DIGIT] = ST_NUM_EXP_DIGITS,
                [NC_SIGN] = ST_NUM_EXP_SIGN},
    NUM(EXP_SIGN) = {[NC_ZERO] = ST_NUM_EXP_DIGITS, [NC_DIGIT] = ST_NUM_EXP_DIGITS},
    NUM(EXP_DIGITS) = {[NC_ZERO] = ST_NUM_EXP_DIGITS, [NC_DIGIT] = ST_NUM_EXP_DIGITS},
};

/* The call of json_feed that runs. */
struct scan {
    const unsigned char *t;
    size_t pos, end;
    uint32_t room; /* tokens that fit without growing */
    struct err *e;
};

static bool fail(struct json_doc *d, struct scan *s, const char *expected)
{
    d->state = ST_FAILED;
    return err_set(s->e, ERR_BAD_REQUEST, "invalid JSON at byte %zu: expected %s", s->pos,
                   expected);
}

static bool fail_large(struct json_doc *d, struct scan *s, const char *what, uint32_t max)
{
    d->state = ST_FAILED;
    return err_set(s->e, ERR_TOO_LARGE, "JSON at byte %zu: more than %u %s", s->pos, max, what);
}

static uint32_t max_tokens(const struct json_doc *d)
{
    return d->limits.max_tokens ? d->limits.max_tokens : MAX_TOKENS;
}

static bool grow(struct json_doc *d, struct scan *s)
{
    uint32_t max = max_tokens(d);
    if (d->n >= max)
        return fail_large(d, s, "tokens", max);
    uint32_t cap = d->cap ? d->cap : FIRST_CAP / 2;
    cap = cap > UINT32_MAX / 2 ? UINT32_MAX : cap * 2;
    d->tok = xrealloc(d->tok, cap * sizeof *d->tok);
    d->cap = cap;
    s->room = cap < max ? cap : max;
    return true;
}

/* Starts a token at the scanner's position; its length follows when its end is seen. */
static inline bool push(struct json_doc *d, struct scan *s, enum json_type type)
{
    if (d->n >= s->room && !grow(d, s))
        return false;
    d->tok[d->n] = (struct json_tok){.off = (uint32_t)s->pos, .next = d->n + 1, .type = type};
    d->n++;
    return true;
}

static inline uint8_t state_after_value(const struct json_doc *d)
{
    return d->depth ? ST_AFTER : ST_DONE;
}

/* Length of the escape at p (a backslash) of n bytes; 0 when bytes are missing; -1 when wrong. */
static int escape_len(const unsigned char *p, size_t n)
{
    static const uint8_t len[256] = {
        ['"'] = 2, ['\\'] = 2, ['/'] = 2, ['b'] = 2, ['f'] = 2,
        ['n'] = 2, ['r'] = 2,  ['t'] = 2, ['u'] = 6,
    };
    if (n < 2)
        return 0;
    int want = len[p[1]];
    if (want == 0)
        return -1;
    for (int i = 2; i < want; i++) {
        if ((size_t)i == n)
            return 0;
        unsigned char c = p[i] | 0x20;
        if (!((p[i] >= '0' && p[i] <= '9') || (c >= 'a' && c <= 'f')))
            return -1;
    }
    return want;
}

/* Goes over one or more characters that are not plain. False on an error and when bytes are
 * missing. */
static bool odd_bytes(struct json_doc *d, struct scan *s)
{
    const unsigned char *t = s->t;
    if (t[s->pos] < 0x20)
        return fail(d, s, "no control character in a string");
    if (t[s->pos] == '\\') {
        d->tok[d->n - 1].escaped = 1;
        int n = escape_len(t + s->pos, s->end - s->pos);
        if (n < 0)
            return fail(d, s, "an escape");
        s->pos += (size_t)n;
        return n > 0;
    }
    while (s->pos < s->end && t[s->pos] >= 0x80) {
        int n = json_utf8_len(t + s->pos, s->end - s->pos);
        if (n < 0)
            return fail(d, s, "UTF-8");
        if (n == 0)
            return false;
        s->pos += (size_t)n;
    }
    return true;
}

/* Continues inside a string; the token is the last one. */
static inline bool string(struct json_doc *d, struct scan *s)
{
    for (;;) {
        s->pos += json_plain_run(s->t + s->pos, s->end - s->pos);
        if (s->pos == s->end)
            return true;
        if (s->t[s->pos] == '"')
            break;
        if (!odd_bytes(d, s))
            return false;
    }
    struct json_tok *k = &d->tok[d->n - 1];
    k->len = (uint32_t)(++s->pos - k->off);
    d->state = d->state == ST_NAME_STRING ? ST_COLON : state_after_value(d);
    return true;
}

static inline bool open_string(struct json_doc *d, struct scan *s, enum state inside)
{
    if (!push(d, s, JSON_STRING))
        return false;
    s->pos++;
    d->state = inside;
    return string(d, s);
}

static bool end_number(struct json_doc *d, struct scan *s)
{
    if (d->state != ST_NUM_ZERO && d->state != ST_NUM_INT && d->state != ST_NUM_FRAC &&
        d->state != ST_NUM_EXP_DIGITS)
        return fail(d, s, "a digit");
    struct json_tok *k = &d->tok[d->n - 1];
    k->len = (uint32_t)(s->pos - k->off);
    d->state = state_after_value(d);
    return true;
}

/* Continues inside a number; the token is the last one. Its end is seen by the byte after it. */
static bool number(struct json_doc *d, struct scan *s)
{
    uint8_t st = d->state;
    size_t pos = s->pos;
    for (; pos < s->end; pos++) {
        uint8_t next = num_next[st - ST_NUM_MINUS][num_class[s->t[pos]]];
        if (!next)
            break;
        st = next;
    }
    s->pos = pos;
    d->state = st;
    return pos == s->end || end_number(d, s);
}

static inline bool open_number(struct json_doc *d, struct scan *s)
{
    unsigned char c = s->t[s->pos];
    if (!push(d, s, JSON_NUMBER))
        return false;
    s->pos++;
    d->state = c == '-' ? ST_NUM_MINUS : c == '0' ? ST_NUM_ZERO : ST_NUM_INT;
    return number(d, s);
}

static bool literal(struct json_doc *d, struct scan *s, const char *word, enum json_type type)
{
    size_t have = s->end - s->pos, want = strlen(word);
    if (memcmp(s->t + s->pos, word, have < want ? have : want) != 0)
        return fail(d, s, word);
    if (have < want || !push(d, s, type))
        return false;
    d->tok[d->n - 1].len = (uint32_t)want;
    s->pos += want;
    d->state = state_after_value(d);
    return true;
}

static inline bool open_container(struct json_doc *d, struct scan *s, enum json_type type)
{
    uint32_t max = d->limits.max_depth;
    if (max == 0 || max > MAX_DEPTH)
        max = MAX_DEPTH;
    if (d->depth >= max)
        return fail_large(d, s, "levels", max);
    if (!push(d, s, type))
        return false;
    d->tok[d->n - 1].next = 0; /* until it is closed it has no children to walk */
    d->tok[d->n - 1].len = d->open;
    d->open = d->n - 1;
    d->depth++;
    d->state = type == JSON_OBJECT ? ST_OBJECT_FIRST : ST_ARRAY_FIRST;
    s->pos++;
    return true;
}

static inline bool close_container(struct json_doc *d, struct scan *s)
{
    struct json_tok *k = &d->tok[d->open];
    d->open = k->len;
    d->depth--;
    k->len = (uint32_t)(++s->pos - k->off);
    k->next = d->n;
    d->state = state_after_value(d);
    return true;
}

static inline bool value(struct json_doc *d, struct scan *s)
{
    switch (s->t[s->pos]) {
    case '"': return open_string(d, s, ST_STRING);
    case '{': return open_container(d, s, JSON_OBJECT);
    case '[': return open_container(d, s, JSON_ARRAY);
    case 't': return literal(d, s, "true", JSON_TRUE);
    case 'f': return literal(d, s, "false", JSON_FALSE);
    case 'n': return literal(d, s, "null", JSON_NULL);
    case '-':
    case '0' ... '9': return open_number(d, s);
    default: return fail(d, s, "a value");
    }
}

static inline bool name(struct json_doc *d, struct scan *s)
{
    if (s->t[s->pos] != '"')
        return fail(d, s, "a member name");
    return open_string(d, s, ST_NAME_STRING);
}

static inline bool colon(struct json_doc *d, struct scan *s)
{
    if (s->t[s->pos] != ':')
        return fail(d, s, "':'");
    s->pos++;
    d->state = ST_VALUE;
    return true;
}

static inline bool after(struct json_doc *d, struct scan *s)
{
    struct json_tok *k = &d->tok[d->open];
    bool object = k->type == JSON_OBJECT;
    unsigned char c = s->t[s->pos];
    if (c == ',') {
        k->count++;
        s->pos++;
        d->state = object ? ST_NAME : ST_VALUE;
        return true;
    }
    if (c != (object ? '}' : ']'))
        return fail(d, s, object ? "',' or '}'" : "',' or ']'");
    k->count++;
    return close_container(d, s);
}

/* Reads what the state asks for. False on an error and when bytes are missing. */
static inline bool step(struct json_doc *d, struct scan *s)
{
    switch ((enum state)d->state) {
    case ST_VALUE: return value(d, s);
    case ST_ARRAY_FIRST: return s->t[s->pos] == ']' ? close_container(d, s) : value(d, s);
    case ST_OBJECT_FIRST: return s->t[s->pos] == '}' ? close_container(d, s) : name(d, s);
    case ST_NAME: return name(d, s);
    case ST_COLON: return colon(d, s);
    case ST_AFTER: return after(d, s);
    case ST_DONE: return fail(d, s, "nothing more");
    case ST_FAILED: return fail(d, s, "nothing after an error");
    case ST_STRING:
    case ST_NAME_STRING: return string(d, s);
    case ST_NUM_MINUS:
    case ST_NUM_ZERO:
    case ST_NUM_INT:
    case ST_NUM_DOT:
    case ST_NUM_FRAC:
    case ST_NUM_EXP:
    case ST_NUM_EXP_SIGN:
    case ST_NUM_EXP_DIGITS: return number(d, s);
    }
    return false;
}

static inline bool is_space(unsigned char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static void run(struct json_doc *d, struct scan *s)
{
    do {
        if (d->state < ST_STRING)
            while (s->pos < s->end && is_space(s->t[s->pos]))
                s->pos++;
    } while (s->pos < s->end && step(d, s));
}

bool json_feed(struct json_doc *d, const char *text, size_t len, bool last, struct err *e)
{
    uint32_t max = max_tokens(d);
    struct scan s = {.t = (const unsigned char *)text,
                     .pos = d->pos,
                     .end = len,
                     .room = d->cap < max ? d->cap : max,
                     .e = e};
    assert(len >= d->pos);
    d->text = text;
    d->len = len;
    if (len >= UINT32_MAX) {
        d->state = ST_FAILED;
        return err_set(e, ERR_TOO_LARGE, "JSON of %zu bytes", len);
    }
    if (d->state == ST_FAILED)
        return fail(d, &s, "nothing after an error");
    run(d, &s);
    d->pos = s.pos;
    if (last && s.pos == s.end && d->state >= ST_NUM_MINUS)
        (void)end_number(d, &s);
    if (last && d->state != ST_DONE && d->state != ST_FAILED) {
        s.pos = len;
        return fail(d, &s, "more, not the end of the text");
    }
    return d->state != ST_FAILED;
}

bool json_parse(struct json_doc *d, const char *text, size_t len, struct err *e)
{
    json_reset(d);
    return json_feed(d, text, len, true, e);
}

void json_reset(struct json_doc *d)
{
    d->text = NULL;
    d->len = d->pos = 0;
    d->n = d->depth = d->open = 0;
    d->state = ST_VALUE;
}

void json_fini(struct json_doc *d)
{
    free(d->tok);
    *d = (struct json_doc){0};
}

uint32_t json_get(const struct json_doc *d, uint32_t obj, struct str name)
{
    if (!json_is(d, obj, JSON_OBJECT))
        return JSON_NONE;
    for (uint32_t k = json_first(d, obj); k != JSON_NONE; k = json_next(d, obj, k))
        if (json_str_eq(d, k, name))
            return k + 1;
    return JSON_NONE;
}

uint32_t json_path(const struct json_doc *d, uint32_t from, const char *const *names)
{
    for (; *names; names++)
        from = json_get(d, from, str_of(*names));
    return from;
}

bool json_int(const struct json_doc *d, uint32_t tok, int64_t *out)
{
    if (!json_is(d, tok, JSON_NUMBER))
        return false;
    struct str s = json_raw(d, tok);
    bool negative = s.p[0] == '-';
    int64_t v = 0;
    for (size_t i = negative; i < s.n; i++) {
        int digit = s.p[i] - '0';
        if (digit < 0 || digit > 9 || __builtin_mul_overflow(v, 10, &v) ||
            __builtin_sub_overflow(v, digit, &v))
            return false;
    }
    /* summed up negative, because INT64_MIN has no positive */
    if (!negative && v == INT64_MIN)
        return false;
    *out = negative ? v : -v;
    return true;
}

double json_double(const struct json_doc *d, uint32_t tok)
{
    if (!json_is(d, tok, JSON_NUMBER))
        return 0;
    struct str s = json_raw(d, tok);
    char small[64];
    char *z = s.n < sizeof small ? small : xmalloc(s.n + 1);
    memcpy(z, s.p, s.n);
    z[s.n] = '\0';
    double v = strtod(z, NULL);
    if (z != small)
        free(z);
    return v;
}
