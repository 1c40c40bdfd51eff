/* See principal_wire.h. Members as `length:bytes`, in a fixed order. */
#include "auth/principal_wire.h"

#include <stdlib.h>

enum { MAX_SCOPES = 1000 };

static void add(struct buf *out, const char *z)
{
    struct str s = str_of(z);
    buf_add_u64(out, s.n);
    buf_addc(out, ':');
    buf_add_str(out, s);
}

static bool take(struct str *rest, struct str *out)
{
    struct str digits;
    uint64_t n;
    if (!str_split(rest, ':', &digits) || !str_to_u64(digits, &n) || n > rest->n ||
        (n && memchr(rest->p, '\0', (size_t)n)))
        return false;
    *out = (struct str){rest->p, (size_t)n};
    rest->p += n;
    rest->n -= (size_t)n;
    return true;
}

static bool take_number(struct str *rest, uint64_t max, uint64_t *v)
{
    struct str s;
    return take(rest, &s) && str_to_u64(s, v) && *v <= max;
}

static void add_number(struct buf *out, uint64_t v)
{
    char digits[24];
    struct buf b = {.p = digits, .cap = sizeof digits};
    buf_add_u64(&b, v);
    digits[b.n] = '\0';
    add(out, digits);
}

void principal_write(const struct principal *p, struct buf *out)
{
    size_t scopes = 0;
    while (p->scopes && p->scopes[scopes])
        scopes++;
    add(out, p->key);
    add(out, p->issuer);
    add(out, p->subject);
    add(out, p->client);
    add(out, p->tenant);
    add(out, p->claims);
    add_number(out, (uint64_t)p->expires_ms);
    add_number(out, p->anonymous);
    add_number(out, scopes);
    for (size_t i = 0; i < scopes; i++)
        add(out, p->scopes[i]);
}

static bool take_scopes(struct str *rest, char ***list)
{
    uint64_t n;
    struct str s;
    if (!take_number(rest, MAX_SCOPES, &n))
        return false;
    *list = xcalloc((size_t)n + 1, sizeof **list);
    for (uint64_t i = 0; i < n; i++) {
        if (!take(rest, &s))
            return false;
        (*list)[i] = xmemdup0(s.n ? s.p : "", s.n);
    }
    return true;
}

struct principal *principal_read(struct str text)
{
    struct principal_facts f = {0};
    struct principal *p = NULL;
    char **scopes = NULL;
    struct str key;
    uint64_t expires, anonymous;
    if (take(&text, &key) && take(&text, &f.issuer) && take(&text, &f.subject) &&
        take(&text, &f.client) && take(&text, &f.tenant) && take(&text, &f.claims) &&
        take_number(&text, INT64_MAX, &expires) && take_number(&text, 1, &anonymous) &&
        take_scopes(&text, &scopes) && text.n == 0) {
        f.expires_ms = (int64_t)expires;
        f.anonymous = anonymous == 1;
        f.scopes = scopes;
        p = principal_anonymous();
        if (!str_eq(key, principal_key(p))) {
            principal_unref(&p);
            p = principal_new(&f);
        }
    }
    if (p && !str_eq(key, principal_key(p)))
        principal_unref(&p);
    for (char **z = scopes; z && *z; z++)
        free(*z);
    free(scopes);
    return p;
}
