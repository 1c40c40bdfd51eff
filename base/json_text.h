/* What the scanner and the string helpers of json.h share: how far plain bytes reach, how long a
 * character is. */
#ifndef BASE_JSON_TEXT_H
#define BASE_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

/* True for ASCII that stands for itself in a JSON string: no control, quote, backslash. */
static inline bool json_is_plain(unsigned char c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* How many of the n bytes at p are plain before the first one that is not. */
static inline size_t json_plain_run(const unsigned char *p, size_t n)
{
    size_t i = 0;
#ifdef __SSE2__
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    const __m128i space = _mm_set1_epi8(' ');
    for (; n - i >= 16; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        /* the signed comparison finds controls and all bytes from 0x80 up at once */
        __m128i odd = _mm_or_si128(_mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash)),
                                   _mm_cmplt_epi8(v, space));
        unsigned mask = (unsigned)_mm_movemask_epi8(odd);
        if (mask)
            return i + (size_t)__builtin_ctz(mask);
    }
#endif
    while (i < n && json_is_plain(p[i]))
        i++;
    return i;
}

/* Length of the UTF-8 character (RFC 3629 §4) at p of n > 0 bytes: 1 to 4; 0 when it is right so
 * far but bytes are missing; -k when it is wrong and its first k bytes are what a decoder replaces
 * as one (Unicode §3.9). */
static inline int json_utf8_len(const unsigned char *p, size_t n)
{
    unsigned lo = 0x80, hi = 0xBF, c = p[0];
    if (c < 0x80)
        return 1;
    if (c < 0xC2 || c > 0xF4)
        return -1;
    int len = c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
    if (c == 0xE0)
        lo = 0xA0; /* below: overlong */
    else if (c == 0xED)
        hi = 0x9F; /* above: surrogates */
    else if (c == 0xF0)
        lo = 0x90; /* below: overlong */
    else if (c == 0xF4)
        hi = 0x8F; /* above: over U+10FFFF */
    for (int i = 1; i < len; i++) {
        if ((size_t)i == n)
            return 0;
        if (p[i] < lo || p[i] > hi)
            return -i;
        lo = 0x80;
        hi = 0xBF;
    }
    return len;
}

#endif
