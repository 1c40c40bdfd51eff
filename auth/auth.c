/* See auth.h. Static tokens are compared as SHA-256 digests, all of them every time, so that
 * neither a match nor its place shows in the time taken. */
#include "auth/auth.h"

#include "base/crypto.h"

#include <stdlib.h>

/* ---- configuration ---- */

static void free_list(char **list)
{
    for (char **z = list; z && *z; z++)
        free(*z);
    free(list);
}

static void issuer_fini(struct auth_issuer *i)
{
    free(i->issuer);
    free_list(i->audiences);
    free(i->jwks_url);
    free(i->ca_file);
    keyset_unref(&i->fixed);
    jwks_unref(&i->jwks);
    free(i->scopes_claim);
    free(i->client_claim);
    free(i->tenant);
}

void auth_config_fini(struct auth_config *c)
{
    for (size_t i = 0; i < c->token_count; i++)
        principal_unref(&c->tokens[i].who);
    if (c->tokens)
        crypto_wipe(c->tokens, c->token_count * sizeof *c->tokens);
    free(c->tokens);
    for (size_t i = 0; i < c->issuer_count; i++)
        issuer_fini(&c->issuers[i]);
    free(c->issuers);
    free_list(c->required_scopes);
    free_list(c->reload_scopes);
    free_list(c->authorization_servers);
    principal_unref(&c->admin);
    *c = (struct auth_config){0};
}

void auth_add_token(struct auth_config *c, const uint8_t digest[32], struct principal *who)
{
    c->tokens = xrealloc(c->tokens, (c->token_count + 1) * sizeof *c->tokens);
    struct auth_token *t = &c->tokens[c->token_count++];
    memcpy(t->digest, digest, sizeof t->digest);
    t->who = who;
}

static char **copy_list(char *const *list)
{
    size_t n = 0;
    while (list && list[n])
        n++;
    char **out = n ? xcalloc(n + 1, sizeof *out) : NULL;
    for (size_t i = 0; i < n; i++)
        out[i] = xstrdup(list[i]);
    return out;
}

void auth_attach(struct auth_config *c, struct jwks_keeper *keeper, char *const *resource)
{
    for (size_t i = 0; i < c->issuer_count; i++) {
        struct auth_issuer *is = &c->issuers[i];
        if (!is->audiences)
            is->audiences = copy_list(resource);
        if (is->jwks_url && !is->jwks) {
            is->jwks =
                jwks_get(keeper, &(struct jwks_options){.url = is->jwks_url,
                                                        .ca_file = is->ca_file,
                                                        .algs = is->algs,
                                                        .ttl_ms = is->ttl_ms,
                                                        .min_refresh_ms = is->min_refresh_ms});
        }
    }
}

/* ---- static tokens ---- */

static enum auth_result check_static(const struct auth_config *c, struct str token, int64_t now_ms,
                                     struct principal **who, struct err *e)
{
    uint8_t digest[32];
    const struct auth_token *found = NULL;
    crypto_sha256(&token, 1, digest);
    for (size_t i = 0; i < c->token_count; i++)
        found = crypto_equal(c->tokens[i].digest, digest, sizeof digest) ? &c->tokens[i] : found;
    crypto_wipe(digest, sizeof digest);
    if (!found || found->who->expires_ms <= now_ms) {
        (void)err_set(e, ERR_UNAUTHENTIC, "the token is %s", found ? "expired" : "not known");
        return AUTH_REFUSED;
    }
    *who = principal_ref(found->who);
    return AUTH_OK;
}

bool auth_is_admin(const struct auth_config *c, struct str token)
{
    uint8_t digest[32];
    crypto_sha256(&token, 1, digest);
    bool same = crypto_equal(digest, c->admin_digest, sizeof digest);
    crypto_wipe(digest, sizeof digest);
    return c->has_admin && same;
}

/* ---- JWTs ---- */

static const struct auth_issuer *select_issuer(const struct auth_config *c, struct str iss)
{
    for (size_t i = 0; i < c->issuer_count; i++)
        if (!c->issuers[i].issuer || str_eq(str_of(c->issuers[i].issuer), iss))
            return &c->issuers[i];
    return NULL;
}

/* Finds the key by issuer and kid, and verifies with it. */
static enum auth_result verify(const struct auth_issuer *is, const struct jws *j, bool settled,
                               struct jwks **wait, struct err *e)
{
    struct keyset *set = is->fixed  ? keyset_ref(is->fixed)
                         : is->jwks ? jwks_current(is->jwks)
                                    : NULL;
    const struct jws_key *key = set ? keyset_find(set, j->kid, j->alg) : NULL;
    enum auth_result result = AUTH_REFUSED;
    if (!(is->algs & 1U << j->alg)) {
        (void)err_set(e, ERR_UNAUTHENTIC, "the token's algorithm is not allowed for its issuer");
    } else if (key) {
        result = jws_verify(j, key) ? AUTH_OK : AUTH_REFUSED;
        if (result == AUTH_REFUSED)
            (void)err_set(e, ERR_UNAUTHENTIC, "the token's signature is not right");
    } else if (is->jwks && !settled && jwks_may_refresh(is->jwks)) {
        *wait = is->jwks;
        result = AUTH_WAIT;
    } else {
        (void)err_set(e, ERR_UNAUTHENTIC,
                      set ? "the token's key is not known" : "the issuer's keys are not there");
    }
    keyset_unref(&set);
    return result;
}

static struct principal *principal_of(const struct auth_issuer *is, const struct jwt_claims *c,
                                      const struct jws *j)
{
    return principal_new(&(struct principal_facts){
        .issuer = c->issuer,
        .subject = c->subject,
        .client = c->client,
        .tenant = str_of(is->tenant),
        .claims = buf_str(&j->payload),
        .scopes = c->scopes,
        .expires_ms = c->expires_s < INT64_MAX / 1000 - is->skew_s
                          ? (c->expires_s + is->skew_s) * 1000
                          : INT64_MAX,
    });
}

static enum auth_result judge(const struct auth_config *c, const struct jws *j, int64_t now_ms,
                              bool settled, struct principal **who, struct jwks **wait,
                              struct err *e)
{
    struct jwt_claims claims;
    enum auth_result result = AUTH_REFUSED;
    const struct auth_issuer *is = NULL;
    if (jwt_claims_parse(&claims, j, e)) {
        is = select_issuer(c, jwt_claims_issuer(&claims));
        if (is)
            result = verify(is, j, settled, wait, e);
        else
            (void)err_set(e, ERR_UNAUTHENTIC, "the token's issuer is not known");
    }
    if (result == AUTH_OK) {
        const struct jwt_rules rules = {is->issuer,         is->audiences,    is->skew_s,
                                        is->max_lifetime_s, is->scopes_claim, is->client_claim};
        if (jwt_claims_check(&claims, j, &rules, now_ms / 1000, e))
            *who = principal_of(is, &claims, j);
        else
            result = AUTH_REFUSED;
    }
    jwt_claims_fini(&claims);
    return result;
}

static enum auth_result check_jwt(const struct auth_config *c, struct str token, int64_t now_ms,
                                  bool settled, struct principal **who, struct jwks **wait,
                                  struct err *e)
{
    struct jws j;
    enum auth_result result = AUTH_REFUSED;
    if (jws_parse(&j, token, e))
        result = judge(c, &j, now_ms, settled, who, wait, e);
    jws_fini(&j);
    return result;
}

enum auth_result auth_check(const struct auth_config *c, struct str token, int64_t now_ms,
                            bool settled, struct principal **who, struct jwks **jwks, struct err *e)
{
    enum auth_result result = AUTH_REFUSED;
    (void)err_set(e, ERR_UNAUTHENTIC, "the token is not known");
    *who = NULL;
    if (token.n > JWS_MAX_BYTES) {
        (void)err_set(e, ERR_UNAUTHENTIC, "the token is too long");
        return AUTH_REFUSED;
    }
    for (size_t i = 0; i < c->providers && result == AUTH_REFUSED; i++) {
        switch (c->order[i]) {
        case AUTH_BEARER: result = check_static(c, token, now_ms, who, e); break;
        case AUTH_JWT: result = check_jwt(c, token, now_ms, settled, who, jwks, e); break;
        case AUTH_PROVIDERS: break;
        }
    }
    return result;
}

/* ---- HTTP ---- */

static bool is_token68(struct str s)
{
    size_t i = 0;
    while (i < s.n && (s.p[i] == '-' || s.p[i] == '.' || s.p[i] == '_' || s.p[i] == '~' ||
                       s.p[i] == '+' || s.p[i] == '/' || (s.p[i] >= '0' && s.p[i] <= '9') ||
                       (s.p[i] >= 'A' && s.p[i] <= 'Z') || (s.p[i] >= 'a' && s.p[i] <= 'z')))
        i++;
    bool some = i > 0;
    while (i < s.n && s.p[i] == '=')
        i++;
    return some && i == s.n;
}

bool auth_bearer_of(struct str field, struct str *token)
{
    if (field.n < 8 || !str_ieq((struct str){field.p, 7}, STR("Bearer ")))
        return false;
    *token = (struct str){field.p + 7, field.n - 7};
    while (token->n && *token->p == ' ')
        *token = (struct str){token->p + 1, token->n - 1};
    return is_token68(*token);
}

void auth_challenge(struct buf *out, const char *error, char *const *scopes, const char *metadata)
{
    const char *comma = " ";
    buf_adds(out, "Bearer");
    if (error) {
        buf_addf(out, "%serror=\"%s\"", comma, error);
        comma = ", ";
    }
    if (scopes && *scopes) {
        buf_addf(out, "%sscope=\"", comma);
        for (char *const *z = scopes; *z; z++)
            buf_addf(out, "%s%s", z == scopes ? "" : " ", *z);
        buf_addc(out, '"');
        comma = ", ";
    }
    if (metadata)
        buf_addf(out, "%sresource_metadata=\"%s\"", comma, metadata);
}

static void add_list(struct buf *out, const char *name, char *const *list)
{
    if (!list || !*list)
        return;
    buf_addf(out, ",\"%s\":[", name);
    for (char *const *z = list; *z; z++) {
        buf_adds(out, z == list ? "" : ",");
        json_write_str(out, str_of(*z));
    }
    buf_addc(out, ']');
}

void auth_metadata(struct buf *out, const char *resource, const char *name, char *const *servers,
                   char *const *scopes)
{
    buf_adds(out, "{\"resource\":");
    json_write_str(out, str_of(resource));
    add_list(out, "authorization_servers", servers);
    add_list(out, "scopes_supported", scopes);
    buf_adds(out, ",\"bearer_methods_supported\":[\"header\"],\"resource_name\":");
    json_write_str(out, str_of(name));
    buf_addc(out, '}');
}
