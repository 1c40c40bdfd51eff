/* See http1.h and http1_text.h: the character classes, and what is read from or written to single
 * values. */
#include "base/http1_text.h"

#include "base/http1.h"

#include <arpa/inet.h>

enum {
    C_NONTOKEN = HTTP1_VCHAR | HTTP1_TARGET,
    C_TOKEN = HTTP1_TCHAR | HTTP1_VCHAR | HTTP1_TARGET,
    C_NAME = C_TOKEN | HTTP1_HOST,
    C_HEX = C_NAME | HTTP1_HEX,
};

const uint8_t http1_classes[256] = {
    ['\t'] = HTTP1_VCHAR,
    [' '] = HTTP1_VCHAR,
    ['!'] = C_TOKEN,
    ['"'] = HTTP1_VCHAR,
    ['#'] = HTTP1_VCHAR | HTTP1_TCHAR,
    ['$' ... '\''] = C_TOKEN,
    ['(' ... ')'] = C_NONTOKEN,
    ['*' ... '+'] = C_TOKEN,
    [','] = C_NONTOKEN,
    ['-' ... '.'] = C_NAME,
    ['/'] = C_NONTOKEN,
    ['0' ... '9'] = C_HEX,
    [':' ... ';'] = C_NONTOKEN,
    ['<'] = HTTP1_VCHAR,
    ['='] = C_NONTOKEN,
    ['>'] = HTTP1_VCHAR,
    ['?' ... '@'] = C_NONTOKEN,
    ['A' ... 'F'] = C_HEX,
    ['G' ... 'Z'] = C_NAME,
    ['[' ... ']'] = C_NONTOKEN,
    ['^'] = C_TOKEN,
    ['_'] = C_NAME,
    ['`'] = C_TOKEN,
    ['a' ... 'f'] = C_HEX,
    ['g' ... 'z'] = C_NAME,
    ['{'] = C_NONTOKEN,
    ['|'] = C_TOKEN,
    ['}'] = C_NONTOKEN,
    ['~'] = C_NAME,
    [0x80 ... 0xff] = HTTP1_VCHAR,
};

struct reason {
    int status;
    const char *text;
};

static const struct reason reasons[] = {
    {200, "OK"},
    {202, "Accepted"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {100, "Continue"},
    {101, "Switching Protocols"},
    {201, "Created"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Content Too Large"},
    {414, "URI Too Long"},
    {415, "Unsupported Media Type"},
    {417, "Expectation Failed"},
    {421, "Misdirected Request"},
    {422, "Unprocessable Content"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {428, "Precondition Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
    {507, "Insufficient Storage"},
};

const char *http1_reason(int status)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].status == status)
            return reasons[i].text;
    }
    return "Unknown";
}

static bool all_of(struct str s, enum http1_class class)
{
    return s.n && http1_skip(s.p, s.p + s.n, class) == s.p + s.n;
}

bool http1_is_token(struct str s)
{
    return all_of(s, HTTP1_TCHAR);
}

bool http1_list_has(struct str list, struct str token)
{
    struct str part;
    while (str_split(&list, ',', &part)) {
        if (str_ieq(str_trim(part), token))
            return true;
    }
    return false;
}

/* Takes the part of *rest up to sep, like str_split, but not within a quoted string. */
static bool split_quoted(struct str *rest, char sep, struct str *part)
{
    size_t i = 0;
    bool quoted = false;
    if (rest->n == 0)
        return false;
    if (!memchr(rest->p, '"', rest->n))
        return str_split(rest, sep, part);
    for (; i < rest->n && (quoted || rest->p[i] != sep); i++) {
        if (rest->p[i] == '"') {
            quoted = !quoted;
        } else if (quoted && rest->p[i] == '\\' && i + 1 < rest->n) {
            i++;
        }
    }
    size_t used = i < rest->n ? i + 1 : i;
    *part = (struct str){rest->p, i};
    rest->p += used;
    rest->n -= used;
    return true;
}

/* True for "0", "0.", "0.0" and so on. */
static bool is_zero(struct str q)
{
    if (q.n == 0 || q.p[0] != '0')
        return false;
    for (size_t i = 1; i < q.n; i++) {
        if (q.p[i] != (i == 1 ? '.' : '0'))
            return false;
    }
    return true;
}

static bool excluded_by_q(struct str params)
{
    struct str part;
    while (split_quoted(&params, ';', &part)) {
        part = str_trim(part);
        if (part.n > 2 && (part.p[0] | 0x20) == 'q' && part.p[1] == '=')
            return is_zero((struct str){part.p + 2, part.n - 2});
    }
    return false;
}

/* How narrowly the media range names the type: 3 exactly, 2 as type/ *, 1 as any, 0 not at all. */
static int range_rank(struct str range, struct str type)
{
    if (str_eq(range, STR("*/*")) || str_eq(range, STR("*")))
        return 1;
    if (str_ieq(range, type))
        return 3;
    ptrdiff_t slash = str_find(type, STR("/"));
    size_t n = (size_t)(slash + 1);
    bool whole = slash > 0 && range.n == n + 1 && range.p[n] == '*';
    return whole && str_ieq((struct str){range.p, n}, (struct str){type.p, n}) ? 2 : 0;
}

bool http1_accepts(struct str accept, struct str type)
{
    struct str item, range;
    int best = 0;
    bool any = false, admitted = false;
    while (split_quoted(&accept, ',', &item)) {
        item = str_trim(item);
        if (item.n == 0)
            continue;
        any = true;
        struct str params = item;
        (void)split_quoted(&params, ';', &range);
        int rank = range_rank(str_trim(range), type);
        if (rank == 0 || rank < best)
            continue;
        bool ok = !excluded_by_q(params);
        admitted = rank > best ? ok : admitted || ok;
        best = rank;
    }
    return !any || admitted;
}

bool http1_type_is(struct str content_type, struct str type)
{
    struct str media;
    return str_split(&content_type, ';', &media) && str_ieq(str_trim(media), type);
}

bool http1_escapes_valid(struct str s)
{
    const char *p = s.p, *end = s.p + s.n;
    while (p < end && (p = memchr(p, '%', (size_t)(end - p)))) {
        if (end - p < 3 || !http1_is(p[1], HTTP1_HEX) || !http1_is(p[2], HTTP1_HEX))
            return false;
        p += 3;
    }
    return true;
}

static bool is_v6(struct str s)
{
    char text[INET6_ADDRSTRLEN];
    struct in6_addr a;
    if (s.n >= sizeof text || (s.n && memchr(s.p, '\0', s.n)))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    return inet_pton(AF_INET6, text, &a) == 1;
}

/* The part after the host: nothing, ":" or ":port". */
static bool parse_port(struct str s, uint16_t *port)
{
    uint64_t v = 0;
    *port = 0;
    if (s.n == 0)
        return true;
    if (s.p[0] != ':' || s.n > 6)
        return false;
    if (s.n > 1 && (!str_to_u64((struct str){s.p + 1, s.n - 1}, &v) || v == 0 || v > UINT16_MAX))
        return false;
    *port = (uint16_t)v;
    return true;
}

bool http1_split_authority(struct str s, struct str *host, uint16_t *port)
{
    if (s.n && s.p[0] == '[') {
        const char *close = memchr(s.p, ']', s.n);
        if (!close)
            return false;
        *host = (struct str){s.p + 1, (size_t)(close - s.p) - 1};
        size_t used = host->n + 2;
        return is_v6(*host) && parse_port((struct str){close + 1, s.n - used}, port);
    }
    const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
    *host = (struct str){s.p, colon ? (size_t)(colon - s.p) : s.n};
    return all_of(*host, HTTP1_HOST) &&
           parse_port((struct str){s.p + host->n, s.n - host->n}, port);
}

static bool parse_scheme(struct str *url, struct http1_url *out)
{
    static const struct str schemes[] = {{"http://", 7}, {"https://", 8}};
    for (int i = 0; i < 2; i++) {
        size_t n = schemes[i].n;
        if (url->n >= n && str_ieq((struct str){url->p, n}, schemes[i])) {
            out->https = i == 1;
            url->p += n;
            url->n -= n;
            return true;
        }
    }
    return false;
}

bool http1_parse_url(struct str url, struct http1_url *out, struct err *e)
{
    struct str rest = url;
    *out = (struct http1_url){0};
    if (url.n > HTTP1_MAX_TARGET)
        return err_set(e, ERR_CONFIG, "URL: longer than %d bytes", HTTP1_MAX_TARGET);
    if (!parse_scheme(&rest, out))
        return err_set(e, ERR_CONFIG, "URL: must begin with http:// or https://");
    if (memchr(rest.p, '#', rest.n))
        return err_set(e, ERR_CONFIG, "URL: has a fragment (#)");
    if (rest.n && (!all_of(rest, HTTP1_TARGET) || !http1_escapes_valid(rest)))
        return err_set(e, ERR_CONFIG, "URL: has a character that must be percent-encoded");
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    struct str authority = {rest.p, n};
    if (n && memchr(rest.p, '@', n))
        return err_set(e, ERR_CONFIG, "URL: credentials do not belong in a URL");
    if (!http1_split_authority(authority, &out->host, &out->port))
        return err_set(e, ERR_CONFIG, "URL: malformed host or port");
    if (n < rest.n && rest.p[n] == '?')
        return err_set(e, ERR_CONFIG, "URL: a query needs a path before it (/?…)");
    out->has_port = out->port != 0;
    if (!out->has_port)
        out->port = out->https ? 443 : 80;
    out->target = n < rest.n ? (struct str){rest.p + n, rest.n - n} : STR("/");
    return true;
}

/* ---- references ---- */

/* True for "name:" before any of "/?#": a reference with a scheme. */
static bool has_scheme(struct str ref)
{
    for (size_t i = 0; i < ref.n && !strchr("/?#", ref.p[i]); i++)
        if (ref.p[i] == ':')
            return i > 0;
    return false;
}

static bool same_origin(const struct http1_url *a, const struct http1_url *b)
{
    return a->https == b->https && a->port == b->port && str_ieq(a->host, b->host);
}

/* The length of a target's path. */
static size_t path_length(struct str target)
{
    const char *query = memchr(target.p, '?', target.n);
    return query ? (size_t)(query - target.p) : target.n;
}

/* Appends an absolute path without its dot segments (RFC 3986 §5.2.4). */
static void add_path(struct buf *out, struct str path)
{
    size_t start = out->n;
    struct str segment, rest = {path.p + 1, path.n - 1};
    bool dot = false;
    while (str_split(&rest, '/', &segment)) {
        bool up = str_eq(segment, STR(".."));
        dot = up || str_eq(segment, STR("."));
        if (up)
            while (out->n > start && out->p[--out->n] != '/')
                ;
        if (dot)
            continue;
        buf_addc(out, '/');
        buf_add_str(out, segment);
    }
    if (dot || out->n == start || (path.p[path.n - 1] == '/' && out->p[out->n - 1] != '/'))
        buf_addc(out, '/');
}

/* Joins a relative reference with the base's target into an absolute one. */
static void join(struct str base, struct str ref, struct buf *out)
{
    size_t base_path = path_length(base), path = path_length(ref);
    struct buf whole = {0};
    if (path == 0) {
        buf_add(out, base.p, base_path);
    } else {
        size_t keep = base_path;
        while (ref.p[0] != '/' && keep > 0 && base.p[keep - 1] != '/')
            keep--;
        if (ref.p[0] != '/')
            buf_add(&whole, base.p, keep);
        buf_add(&whole, ref.p, path);
        add_path(out, buf_str(&whole));
    }
    buf_add(out, ref.p + path, ref.n - path);
    buf_fini(&whole);
}

bool http1_resolve(const struct http1_url *base, struct str ref, struct buf *target, struct err *e)
{
    struct http1_url url;
    struct buf whole = {0};
    bool absolute = has_scheme(ref) || str_starts(ref, STR("//"));
    bool ok = ref.n > 0 && ref.n <= HTTP1_MAX_TARGET;
    if (ok && absolute) {
        if (ref.p[0] == '/')
            buf_adds(&whole, base->https ? "https:" : "http:");
        buf_add_str(&whole, ref);
        ok = http1_parse_url(buf_str(&whole), &url, NULL) && same_origin(base, &url);
        if (ok)
            buf_add_str(target, url.target);
    } else if (ok) {
        ok = all_of(ref, HTTP1_TARGET) && http1_escapes_valid(ref);
        if (ok)
            join(base->target, ref, target);
    }
    buf_fini(&whole);
    return ok || err_set(e, ERR_BAD_UPSTREAM, "a reference leads to another origin, or nowhere");
}
