/* See wire.h. */
#include "wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

enum { MAX_HEAD = 16 * 1024, ENDS = 512 };

static bool parse_decimal(const char *p, const char *end, uint64_t *out)
{
    uint64_t v = 0;
    if (p == end || end - p > 12)
        return false;
    for (; p < end; p++) {
        if (*p < '0' || *p > '9')
            return false;
        v = v * 10 + (uint64_t)(*p - '0');
    }
    *out = v;
    return true;
}

/* The value of the field that the line holds, trimmed, when its name is the given one. */
static bool field_value(const char **p, const char **end, const char *name, size_t n)
{
    if ((size_t)(*end - *p) <= n || (*p)[n] != ':' || strncasecmp(*p, name, n) != 0)
        return false;
    *p += n + 1;
    while (*p < *end && (**p == ' ' || **p == '\t'))
        (*p)++;
    while (*end > *p && ((*end)[-1] == ' ' || (*end)[-1] == '\t'))
        (*end)--;
    return true;
}

static bool is_word(const char *p, const char *end, const char *word)
{
    return (size_t)(end - p) == strlen(word) && strncasecmp(p, word, strlen(word)) == 0;
}

static bool parse_field(const char *p, const char *end, struct wire_head *h)
{
    if (field_value(&p, &end, "Content-Length", 14)) {
        h->has_length = true;
        return parse_decimal(p, end, &h->body_bytes);
    }
    if (field_value(&p, &end, "Transfer-Encoding", 17)) {
        h->chunked = true;
        return is_word(p, end, "chunked");
    }
    if (field_value(&p, &end, "Connection", 10))
        h->close = is_word(p, end, "close");
    return true;
}

static bool parse_first_line(const char *p, const char *end, struct wire_head *h)
{
    size_t n = (size_t)(end - p);
    if (n >= 12 && memcmp(p, "HTTP/1.1 ", 9) == 0) {
        uint64_t status;
        if (!parse_decimal(p + 9, p + 12, &status))
            return false;
        h->status = (int)status;
        return true;
    }
    h->post = n > 5 && memcmp(p, "POST ", 5) == 0;
    return n > 9 && memcmp(end - 9, " HTTP/1.1", 9) == 0;
}

enum wire_result wire_parse(const char *buf, size_t n, struct wire_head *h)
{
    const char *stop = n ? memmem(buf, n, "\r\n\r\n", 4) : NULL;
    if (!stop)
        return n > MAX_HEAD ? WIRE_BAD : WIRE_MORE;
    *h = (struct wire_head){.head_bytes = (size_t)(stop - buf) + 4};
    const char *line = buf;
    while (line <= stop) {
        const char *end = memmem(line, (size_t)(stop + 2 - line), "\r\n", 2);
        bool ok = line == buf ? parse_first_line(line, end, h) : parse_field(line, end, h);
        if (!ok)
            return WIRE_BAD;
        line = end + 2;
    }
    return h->has_length && h->chunked ? WIRE_BAD : WIRE_DONE;
}

/* One chunk at p: its data and the start of the next. A last chunk has no data. */
static enum wire_result next_chunk(const char *p, const char *end, const char **data, size_t *size)
{
    size_t v = 0;
    const char *q = p;
    for (; q < end && *q != '\r'; q++) {
        int digit = *q >= '0' && *q <= '9'   ? *q - '0'
                    : *q >= 'a' && *q <= 'f' ? *q - 'a' + 10
                    : *q >= 'A' && *q <= 'F' ? *q - 'A' + 10
                                             : -1;
        if (digit < 0 || q - p >= 8)
            return WIRE_BAD;
        v = v * 16 + (size_t)digit;
    }
    if (end - q < 2 || (size_t)(end - q) < v + 4)
        return q > p || q == end ? WIRE_MORE : WIRE_BAD;
    if (q == p || q[1] != '\n' || memcmp(q + 2 + v, "\r\n", 2) != 0)
        return WIRE_BAD;
    *data = q + 2;
    *size = v;
    return WIRE_DONE;
}

enum wire_result wire_dechunk(char *buf, size_t n, size_t *body_bytes, size_t *used)
{
    const char *end = buf + n, *data;
    size_t size = 1;
    for (const char *p = buf; size; p = data + size + 2) {
        enum wire_result r = next_chunk(p, end, &data, &size);
        if (r != WIRE_DONE)
            return r;
    }
    *body_bytes = 0;
    for (const char *p = buf;; p = data + size + 2) {
        (void)next_chunk(p, end, &data, &size);
        if (!size)
            break;
        memmove(buf + *body_bytes, data, size);
        *body_bytes += size;
    }
    *used = (size_t)(data - buf) + 2;
    return WIRE_DONE;
}

bool wire_contains(const char *hay, size_t hay_n, const char *needle, size_t n)
{
    if (hay_n <= 4 * ENDS)
        return memmem(hay, hay_n, needle, n);
    return memmem(hay, ENDS, needle, n) || memmem(hay + hay_n - ENDS, ENDS, needle, n) ||
           memmem(hay, hay_n, needle, n);
}

int64_t wire_now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void *wire_realloc(void *p, size_t n)
{
    p = realloc(p, n);
    if (!p)
        wire_die("no memory for %zu bytes", n);
    return p;
}

void wire_die(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    (void)vfprintf(stderr, format, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    exit(2);
}

long wire_number(const char *option, const char *text, long max)
{
    char *end;
    long v = strtol(text, &end, 10);
    if (end == text || *end || v < 0 || v > max)
        wire_die("%s: a number from 0 to %ld, not \"%s\"", option, max, text);
    return v;
}
