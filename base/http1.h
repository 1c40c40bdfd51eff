/* The one strict HTTP/1.1 codec (RFC 9110, 9112), requests and responses, both directions. No I/O;
 * fuzzed. Heads are parsed in place: fields are slices of the caller's buffer. */
#ifndef BASE_HTTP1_H
#define BASE_HTTP1_H

#include "base/err.h"
#include "base/str.h"

enum { HTTP1_MAX_FIELDS = 100, HTTP1_MAX_HEAD = 16 * 1024, HTTP1_MAX_TARGET = 8 * 1024 };

struct http1_field {
    struct str name, value; /* value trimmed of OWS */
};

enum http1_framing {
    HTTP1_NO_BODY,
    HTTP1_LENGTH,
    HTTP1_CHUNKED,
    HTTP1_UNTIL_CLOSE, /* responses only */
};

struct http1_head {
    struct str method, target; /* requests: target in origin-form, or "*" for OPTIONS */
    struct str path, query;    /* of target; query without '?' */
    struct str authority; /* requests: the one Host field's value (or of an absolute-form target) */
    int status;           /* responses */
    int minor;            /* HTTP/1.minor: 0 or 1 */
    enum http1_framing framing;
    uint64_t content_length;
    bool keep_alive;      /* persistent after this message (RFC 9112 §9.3) */
    bool expect_continue; /* requests */
    struct http1_field field[HTTP1_MAX_FIELDS];
    int fields;
};

enum http1_result { HTTP1_MORE, HTTP1_DONE, HTTP1_BAD };

/* Parses a request head at the start of buf. HTTP1_DONE: *used bytes were the head (with its empty
 * line). HTTP1_BAD: *status is 400 (syntax, framing, Host), 414, 431 (too many or too large), 417
 * (Expect of another kind), 501 (other transfer codings before a final chunked; without one the
 * body has no end: 400, RFC 9112 §6.3) or 505 (version), and e says why. Refused among others: bare
 * LF, obs-fold, space before a colon, CTL or NUL anywhere, differing or repeated Content-Length,
 * Content-Length with Transfer-Encoding, Transfer-Encoding other than exactly one "chunked" or on
 * HTTP/1.0, missing or two Host on 1.1, fragments, CONNECT. */
enum http1_result http1_parse_request(const char *buf, size_t n, struct http1_head *h, size_t *used,
                                      int *status, struct err *e);
/* Parses a response head. head_request: the request was HEAD (no body). 1xx heads are DONE with
 * NO_BODY: the caller skips them. Strict in the same way; both Content-Length and Transfer-Encoding
 * is BAD. */
enum http1_result http1_parse_response(const char *buf, size_t n, bool head_request,
                                       struct http1_head *h, size_t *used, struct err *e);
/* The first field of that name (case-insensitive), or NULL. */
const struct http1_field *http1_field(const struct http1_head *h, struct str name);
/* Its value, or an empty slice with p == NULL when there is none. */
struct str http1_value(const struct http1_head *h, struct str name);
/* How many fields of that name there are. */
int http1_count(const struct http1_head *h, struct str name);

/* Body decoder. Set up from a head; feed it what follows. */
struct http1_body {
    enum http1_framing framing;
    uint64_t left;       /* of the length, or of the current chunk */
    uint64_t total;      /* decoded bytes so far */
    uint64_t max;        /* over it: ERR_TOO_LARGE */
    uint32_t line_bytes; /* of the chunk-size line or the trailers: capped */
    uint8_t state;
    bool done;
};
void http1_body_init(struct http1_body *b, const struct http1_head *h, uint64_t max_bytes);
/* Consumes up to n bytes: *used of them, of which *data (possibly empty) is the next decoded piece.
 * Call again while *used < n and not b->done. Trailers are validated and dropped, chunk extensions
 * are skipped but bounded. Errors: ERR_BAD_REQUEST, ERR_TOO_LARGE. */
bool http1_body_feed(struct http1_body *b, const char *p, size_t n, size_t *used, struct str *data,
                     struct err *e) MUST_USE;
/* Tells an UNTIL_CLOSE body that the peer closed; false when a body of another framing is cut
 * short. */
bool http1_body_eof(struct http1_body *b, struct err *e) MUST_USE;

/* Writing. The single choke-point against header injection: false (and nothing written) when name
 * is not a token or value holds anything but visible ASCII, obs-text, SP and HTAB (RFC 9110 §5.5).
 * Writes "name: value\r\n". */
bool http1_add_field(struct buf *out, struct str name, struct str value) MUST_USE;
/* "HTTP/1.1 200 OK\r\n" */
void http1_add_status(struct buf *out, int status);
/* The reason phrase of a status, "Unknown" for others. */
const char *http1_reason(int status);

/* True when s is a token (RFC 9110 §5.6.2) and not empty. */
bool http1_is_token(struct str s);
/* True when the comma-separated list holds the token, case-insensitively. */
bool http1_list_has(struct str list, struct str token);
/* Does an Accept value admit the type (as "application/json")? Absent or empty admits all; q=0
 * excludes (RFC 9110 §12.5.1). */
bool http1_accepts(struct str accept, struct str type);
/* True when a Content-Type value's media type is type, case-insensitively, parameters ignored. */
bool http1_type_is(struct str content_type, struct str type);

/* A URL with scheme http or https (RFC 3986), split; slices borrow from the text. IPv6 hosts
 * without brackets. */
struct http1_url {
    bool https;
    struct str host;
    uint16_t port; /* the scheme's default when the URL has none */
    bool has_port;
    struct str target; /* path and query, "/" at least; the fragment is refused */
};
/* Errors: ERR_CONFIG with what is wrong; user info is refused (credentials do not belong in
 * URLs). */
bool http1_parse_url(struct str url, struct http1_url *out, struct err *e) MUST_USE;
/* Resolves a reference (absolute URL, or relative to base: RFC 3986 §5.2, dot segments removed) and
 * appends its request target. Only base's own origin is allowed: another scheme, host or port, a
 * fragment, or what a target cannot hold is ERR_BAD_UPSTREAM and appends nothing. */
bool http1_resolve(const struct http1_url *base, struct str ref, struct buf *target,
                   struct err *e) MUST_USE;

#endif
