/* What http1.c and http1_text.c share: classes of characters and the shape of an authority. Not for
 * others. */
#ifndef BASE_HTTP1_TEXT_H
#define BASE_HTTP1_TEXT_H

#include "base/str.h"

enum http1_class {
    HTTP1_TCHAR = 1, /* of a token, RFC 9110 §5.6.2 */
    HTTP1_VCHAR = 2, /* of a field value: visible, obs-text, SP, HTAB, RFC 9110 §5.5 */
    HTTP1_TARGET =
        4,          /* of a request target: what RFC 3986 has, and what browsers leave unescaped */
    HTTP1_HOST = 8, /* of a registered name, less sub-delims and escapes, which no DNS name needs */
    HTTP1_HEX = 16,
};

extern const uint8_t http1_classes[256];

static inline bool http1_is(char c, enum http1_class class)
{
    return (http1_classes[(unsigned char)c] & class) != 0;
}

/* The first byte from p on that is not of the class, or end. */
static inline const char *http1_skip(const char *p, const char *end, enum http1_class class)
{
    while (p < end && http1_is(*p, class))
        p++;
    return p;
}

/* Splits "host", "host:port" or "[v6]:port"; host without brackets, *port 0 when there is none.
 * False when malformed. */
bool http1_split_authority(struct str s, struct str *host, uint16_t *port);
/* True when every '%' is followed by two hex digits. */
bool http1_escapes_valid(struct str s);

#endif
