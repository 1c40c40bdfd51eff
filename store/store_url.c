/* See store.h: the URL that says where the store is. A pure parser; nothing of a password gets into
 * a message. */
#include "base/crypto.h"
#include "store/store.h"

#include <ctype.h>
#include <stdlib.h>

enum { PART_MAX = 255, REDIS_PORT = 6379, SENTINEL_PORT = 26379, DB_MAX = 1023 };

struct scheme {
    const char *text;
    enum store_kind kind;
    bool tls;
};

static const struct scheme schemes[] = {
    {"redis://", STORE_IN_REDIS, false},
    {"rediss://", STORE_IN_REDIS, true},
    {"redis+sentinel://", STORE_IN_SENTINEL, false},
    {"rediss+sentinel://", STORE_IN_SENTINEL, true},
};

static bool bad(struct err *e, const char *what)
{
    return err_set(e, ERR_CONFIG, "%s", what);
}

static int hex_value(char c)
{
    const char *digits = "0123456789abcdef", *at;
    at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* One character of s at *i, percent-decoded; 0 when it is malformed or a control character. */
static char decode_one(struct str s, size_t *i)
{
    int c = (unsigned char)s.p[(*i)++];
    if (c == '%') {
        int high = *i + 1 < s.n ? hex_value(s.p[*i]) : -1;
        int low = *i + 1 < s.n ? hex_value(s.p[*i + 1]) : -1;
        c = high < 0 || low < 0 ? 0 : high * 16 + low;
        *i += 2;
    }
    return (char)(c < ' ' || c == 0x7f ? 0 : c);
}

/* Percent-decodes into an owned string; NULL when it is malformed, empty or too long. */
static char *decode(struct str s)
{
    if (s.n == 0 || s.n > 3 * PART_MAX)
        return NULL;
    char *out = xcalloc(1, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n;) {
        out[n] = decode_one(s, &i);
        if (!out[n++] || n > PART_MAX) {
            crypto_wipe(out, n);
            free(out);
            return NULL;
        }
    }
    return out;
}

static bool parse_credentials(struct str s, struct store_url *u, struct err *e)
{
    const char *colon = s.n ? memchr(s.p, ':', s.n) : NULL;
    struct str user = {s.p, colon ? (size_t)(colon - s.p) : s.n};
    if (user.n && !(u->user = decode(user)))
        return bad(e, "the user before '@' is malformed");
    if (!colon && !u->user)
        return bad(e, "there is nothing before '@'");
    if (colon && !(u->password = decode((struct str){colon + 1, s.n - user.n - 1})))
        return bad(e, "the password before '@' is malformed; encode '/', '@', ':' and '%' as %2F, "
                      "%40, %3A and %25");
    return true;
}

static bool is_host_text(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && !memchr(".-_:", s.p[i], 4))
            return false;
    return s.n > 0 && s.n <= PART_MAX;
}

static bool parse_host(struct str s, struct store_url *u, struct err *e)
{
    bool brackets = s.n && s.p[0] == '[';
    const char *end = !s.n ? NULL : brackets ? memchr(s.p, ']', s.n) : memchr(s.p, ':', s.n);
    struct str host = {s.p + brackets, end ? (size_t)(end - s.p) - brackets : s.n};
    struct str port =
        end ? (struct str){end + brackets, (size_t)(s.p + s.n - end) - brackets} : (struct str){0};
    uint64_t number = u->kind == STORE_IN_SENTINEL ? SENTINEL_PORT : REDIS_PORT;
    if ((brackets && !end) || !is_host_text(host) || (!brackets && memchr(host.p, ':', host.n)))
        return bad(e, "a host is malformed: write host:port, or [v6]:port");
    if (port.n && (port.p[0] != ':' || !str_to_u64((struct str){port.p + 1, port.n - 1}, &number) ||
                   number == 0 || number > UINT16_MAX))
        return bad(e, "a port is not a number from 1 to 65535");
    if (u->host_count == STORE_HOSTS_MAX)
        return bad(e, "there are too many hosts: at most 8");
    u->hosts[u->host_count++] = (struct store_host){xmemdup0(host.p, host.n), (uint16_t)number};
    return true;
}

static bool parse_db(struct str s, struct store_url *u, struct err *e)
{
    uint64_t db = 0;
    if (s.n && (!str_to_u64(s, &db) || db > DB_MAX))
        return bad(e, "the database after '/' is not a number from 0 to 1023");
    u->db = (int)db;
    return true;
}

/* What follows the hosts: "", "db", or "master", "master/db". */
static bool parse_path(struct str s, struct store_url *u, struct err *e)
{
    struct str master;
    if (u->kind != STORE_IN_SENTINEL)
        return parse_db(s, u, e);
    const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
    master = (struct str){s.p, slash ? (size_t)(slash - s.p) : s.n};
    if (!(u->master = decode(master)))
        return bad(e, "the name of the master is missing: write redis+sentinel://host:port/master");
    return !slash || parse_db((struct str){slash + 1, s.n - master.n - 1}, u, e);
}

static bool parse_rest(struct str s, struct store_url *u, struct err *e)
{
    const char *slash = s.n ? memchr(s.p, '/', s.n) : NULL;
    struct str authority = {s.p, slash ? (size_t)(slash - s.p) : s.n}, host;
    struct str path = slash ? (struct str){slash + 1, s.n - authority.n - 1} : (struct str){0};
    const char *at = authority.n ? memrchr(authority.p, '@', authority.n) : NULL;
    if (at && !parse_credentials((struct str){s.p, (size_t)(at - s.p)}, u, e))
        return false;
    if (at)
        authority = (struct str){at + 1, (size_t)(s.p + authority.n - at) - 1};
    if (authority.n == 0)
        return bad(e, "the host is missing: write redis://host:port");
    while (str_split(&authority, ',', &host))
        if (!parse_host(host, u, e))
            return false;
    if (u->host_count > 1 && u->kind != STORE_IN_SENTINEL)
        return bad(e, "names several hosts: write one, or redis+sentinel://… for sentinels");
    return parse_path(path, u, e);
}

bool store_url_parse(struct str text, struct store_url *u, struct err *e)
{
    if (str_eq(text, STR("memory"))) {
        u->kind = STORE_IN_MEMORY;
        return true;
    }
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        struct str scheme = str_of(schemes[i].text);
        if (!str_starts(text, scheme))
            continue;
        u->kind = schemes[i].kind;
        u->tls = schemes[i].tls;
        return parse_rest((struct str){text.p + scheme.n, text.n - scheme.n}, u, e);
    }
    return bad(e, "write memory, redis://host:port, rediss://host:port or "
                  "redis+sentinel://host:port,host:port/master");
}

static void add_encoded(struct buf *out, const char *z)
{
    for (; *z; z++) {
        bool plain = isalnum((unsigned char)*z) || strchr("-._~", *z);
        buf_addf(out, plain ? "%c" : "%%%02X", (unsigned char)*z);
    }
}

void store_url_format(const struct store_url *u, struct buf *out)
{
    const char *scheme = "memory";
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (schemes[i].kind == u->kind && schemes[i].tls == u->tls)
            scheme = schemes[i].text;
    buf_adds(out, scheme);
    if (u->user) {
        add_encoded(out, u->user);
        buf_addc(out, '@');
    }
    for (size_t i = 0; i < u->host_count; i++) {
        bool v6 = strchr(u->hosts[i].host, ':');
        buf_addf(out, "%s%s%s%s:%u", i ? "," : "", v6 ? "[" : "", u->hosts[i].host, v6 ? "]" : "",
                 u->hosts[i].port);
    }
    if (u->master) {
        buf_addc(out, '/');
        add_encoded(out, u->master);
    }
    if (u->db)
        buf_addf(out, "/%d", u->db);
}

void store_url_fini(struct store_url *u)
{
    for (size_t i = 0; i < u->host_count; i++)
        free(u->hosts[i].host);
    if (u->password)
        crypto_wipe(u->password, strlen(u->password));
    free(u->user);
    free(u->password);
    free(u->master);
    *u = (struct store_url){0};
}
