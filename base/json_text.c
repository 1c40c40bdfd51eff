/* The strings of json.h: reading, comparing and writing them. */
#include "base/json_text.h"
#include "base/json.h"

#include <assert.h>
#include <stdlib.h>

enum { FEW_MEMBERS = 16, REPLACEMENT = 0xFFFD };

/* The bytes between the quotes. Empty also for a string whose end has not come yet. */
static struct str inside(const struct json_doc *d, uint32_t tok)
{
    if (!json_is(d, tok, JSON_STRING) || d->tok[tok].len < 2)
        return (struct str){0};
    return (struct str){d->text + d->tok[tok].off + 1, d->tok[tok].len - 2};
}

static uint32_t hex4(const char *p)
{
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        uint32_t c = (unsigned char)p[i];
        v = v << 4 | (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return v;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)((0xF00 >> n & 0xFF) | c);
    return n;
}

/* Takes \uXXXX, or two of them that are a surrogate pair (RFC 8259 §7). */
static uint32_t take_unicode(struct str *rest)
{
    uint32_t c = hex4(rest->p + 2);
    rest->p += 6;
    rest->n -= 6;
    if (c < 0xD800 || c > 0xDFFF)
        return c;
    if (c > 0xDBFF || rest->n < 6 || rest->p[0] != '\\' || rest->p[1] != 'u')
        return REPLACEMENT;
    uint32_t low = hex4(rest->p + 2);
    if (low < 0xDC00 || low > 0xDFFF)
        return REPLACEMENT;
    rest->p += 6;
    rest->n -= 6;
    return 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
}

/* Takes a run without escapes (borrowed from the text) or one escape (decoded into tmp). */
static struct str take_piece(struct str *rest, char tmp[4])
{
    const char *slash = memchr(rest->p, '\\', rest->n);
    size_t run = slash ? (size_t)(slash - rest->p) : rest->n;
    struct str piece = {rest->p, run};
    if (run == 0 && rest->p[1] == 'u') {
        piece = (struct str){tmp, put_utf8(tmp, take_unicode(rest))};
        return piece;
    }
    if (run == 0) {
        static const char plain[256] = {
            ['b'] = '\b', ['f'] = '\f', ['n'] = '\n', ['r'] = '\r', ['t'] = '\t'};
        unsigned char c = (unsigned char)rest->p[1];
        tmp[0] = plain[c] ? plain[c] : (char)c;
        piece = (struct str){tmp, 1};
        run = 2;
    }
    rest->p += run;
    rest->n -= run;
    return piece;
}

struct str json_str(const struct json_doc *d, uint32_t tok, struct arena *a)
{
    struct str rest = inside(d, tok);
    if (rest.n == 0 || !d->tok[tok].escaped)
        return rest;
    /* no escape decodes to more bytes than it has */
    char *out = arena_alloc(a, rest.n), tmp[4];
    size_t n = 0;
    while (rest.n) {
        struct str piece = take_piece(&rest, tmp);
        memcpy(out + n, piece.p, piece.n);
        n += piece.n;
    }
    return (struct str){out, n};
}

bool json_escaped_eq(const struct json_doc *d, uint32_t tok, struct str s)
{
    struct str rest = inside(d, tok);
    char tmp[4];
    while (rest.n) {
        struct str piece = take_piece(&rest, tmp);
        if (!str_starts(s, piece))
            return false;
        s.p += piece.n;
        s.n -= piece.n;
    }
    return s.n == 0;
}

static bool few_have_duplicates(const struct str *names, uint32_t n)
{
    for (uint32_t i = 1; i < n; i++) {
        for (uint32_t k = 0; k < i; k++)
            if (str_eq(names[i], names[k]))
                return true;
    }
    return false;
}

/* Open addressing over indexes into names, 0 for a free slot. */
static bool many_have_duplicates(const struct str *names, uint32_t n)
{
    size_t cap = 64;
    while (cap < (size_t)n * 2)
        cap *= 2;
    uint32_t *slots = xcalloc(cap, sizeof *slots);
    bool found = false;
    for (uint32_t i = 0; i < n && !found; i++) {
        size_t at = str_hash(names[i]) & (cap - 1);
        while (slots[at] && !found) {
            found = str_eq(names[slots[at] - 1], names[i]);
            at = (at + 1) & (cap - 1);
        }
        slots[at] = i + 1;
    }
    free(slots);
    return found;
}

bool json_has_duplicates(const struct json_doc *d, uint32_t obj)
{
    if (!json_is(d, obj, JSON_OBJECT) || d->tok[obj].count < 2)
        return false;
    uint32_t count = d->tok[obj].count, n = 0;
    struct str few[FEW_MEMBERS], *names = few;
    struct arena a = {0};
    if (count > FEW_MEMBERS)
        names = xcalloc(count, sizeof *names);
    for (uint32_t k = json_first(d, obj); k != JSON_NONE; k = json_next(d, obj, k))
        names[n++] = json_str(d, k, &a);
    bool found = n > FEW_MEMBERS ? many_have_duplicates(names, n) : few_have_duplicates(names, n);
    arena_fini(&a);
    if (names != few)
        free(names);
    return found;
}

static void write_ascii_escape(struct buf *out, unsigned char c)
{
    static const char letter[256] = {['"'] = '"',  ['\\'] = '\\', ['\b'] = 'b', ['\f'] = 'f',
                                     ['\n'] = 'n', ['\r'] = 'r',  ['\t'] = 't'};
    static const char hex[] = "0123456789abcdef";
    if (letter[c])
        buf_add(out, (const char[]){'\\', letter[c]}, 2);
    else
        buf_add(out, (const char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
}

/* Writes one character that is not plain; returns how many bytes it had. */
static size_t write_odd(struct buf *out, const unsigned char *p, size_t n)
{
    if (*p < 0x80) {
        write_ascii_escape(out, *p);
        return 1;
    }
    int len = json_utf8_len(p, n);
    if (len <= 0) {
        buf_adds(out, "\xEF\xBF\xBD");
        return len ? (size_t)-len : n; /* what is cut off at the end counts as one */
    }
    if (len == 3 && p[0] == 0xE2 && p[1] == 0x80 && (p[2] | 1) == 0xA9)
        buf_adds(out, p[2] == 0xA8 ? "\\u2028" : "\\u2029");
    else
        buf_add(out, p, (size_t)len);
    return (size_t)len;
}

void json_write_str(struct buf *out, struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;
    buf_reserve(out, s.n + 2);
    buf_addc(out, '"');
    for (size_t i = 0; i < s.n;) {
        size_t run = json_plain_run(p + i, s.n - i);
        buf_add(out, p + i, run);
        i += run;
        if (i < s.n)
            i += write_odd(out, p + i, s.n - i);
    }
    buf_addc(out, '"');
}
