/* See principal.h. The anonymous one is never freed: its count starts with a reference of its own.
 */
#include "auth/principal.h"

#include "base/crypto.h"

#include <stdlib.h>

static char anonymous_key[] = "anonymous", nothing[] = "";
static struct principal anonymous = {.refs = 1,
                                     .key = anonymous_key,
                                     .tenant = nothing,
                                     .issuer = nothing,
                                     .subject = nothing,
                                     .client = nothing,
                                     .expires_ms = INT64_MAX,
                                     .anonymous = true};

struct principal *principal_anonymous(void)
{
    return principal_ref(&anonymous);
}

/* Every part with its length before it, so that no two lists of parts give the same bytes. */
static char *key_of(const struct principal_facts *f)
{
    const struct str parts[] = {f->issuer, f->subject, f->client, f->tenant};
    uint8_t digest[32];
    struct buf text = {0}, hex = {0};
    if (f->anonymous && f->tenant.n == 0)
        return xstrdup(anonymous_key);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        buf_addf(&text, "%zu:", parts[i].n);
        buf_add_str(&text, parts[i]);
    }
    buf_addc(&text, f->anonymous ? '0' : '1');
    crypto_sha256(&(struct str){text.p, text.n}, 1, digest);
    crypto_hex(&hex, digest, sizeof digest);
    char *key = xmemdup0(hex.p, hex.n);
    buf_fini(&text);
    buf_fini(&hex);
    return key;
}

static char *copy(struct str s)
{
    return xmemdup0(s.n ? s.p : "", s.n);
}

static char **copy_list(char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    if (n == 0)
        return NULL;
    char **out = xcalloc(n + 1, sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = xstrdup(list[i]);
    return out;
}

struct principal *principal_new(const struct principal_facts *f)
{
    struct principal *p = xcalloc(1, sizeof *p);
    atomic_init(&p->refs, 1);
    p->key = key_of(f);
    p->tenant = copy(f->tenant);
    p->issuer = copy(f->issuer);
    p->subject = copy(f->subject);
    p->client = copy(f->client);
    p->scopes = copy_list(f->scopes);
    p->claims = f->claims.n ? copy(f->claims) : NULL;
    p->expires_ms = f->expires_ms ? f->expires_ms : INT64_MAX;
    p->anonymous = f->anonymous;
    return p;
}

struct principal *principal_in_tenant(const struct principal *p, const char *tenant)
{
    return principal_new(&(struct principal_facts){
        .issuer = str_of(p->issuer),
        .subject = str_of(p->subject),
        .client = str_of(p->client),
        .tenant = str_of(tenant),
        .claims = str_of(p->claims),
        .scopes = p->scopes,
        .expires_ms = p->expires_ms,
        .anonymous = p->anonymous,
    });
}

struct principal *principal_ref(struct principal *p)
{
    atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
    return p;
}

void principal_unref(struct principal **pp)
{
    struct principal *p = *pp;
    *pp = NULL;
    if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (char **z = p->scopes; z && *z; z++)
        free(*z);
    free(p->scopes);
    free(p->key);
    free(p->tenant);
    free(p->issuer);
    free(p->subject);
    free(p->client);
    free(p->claims);
    free(p->standing);
    free(p);
}

bool principal_has_scope(const struct principal *p, const char *scope)
{
    for (char *const *z = p->scopes; z && *z; z++)
        if (strcmp(*z, scope) == 0)
            return true;
    return false;
}

bool principal_has_scopes(const struct principal *p, char *const *scopes)
{
    for (; scopes && *scopes; scopes++)
        if (!principal_has_scope(p, *scopes))
            return false;
    return true;
}
