/* See jwt.h. Every claim that is looked at must have its type: a string where a number belongs is a
 * bad token, not a missing claim. */
#include "auth/jwt.h"

enum { MAX_SCOPES = 256, MAX_SCOPE = 256, MAX_NAME = 1024 };

bool jwt_claims_parse(struct jwt_claims *c, const struct jws *j, struct err *e)
{
    *c = (struct jwt_claims){.doc.limits = {.max_depth = 16, .max_tokens = 2000}};
    if (!json_parse(&c->doc, j->payload.p ? j->payload.p : "", j->payload.n, NULL))
        return err_set(e, ERR_UNAUTHENTIC, "the token's claims are not JSON");
    if (!json_is(&c->doc, 0, JSON_OBJECT) || json_has_duplicates(&c->doc, 0))
        return err_set(e, ERR_UNAUTHENTIC,
                       "the token's claims are not an object of single members");
    return true;
}

void jwt_claims_fini(struct jwt_claims *c)
{
    json_fini(&c->doc);
    arena_fini(&c->arena);
    *c = (struct jwt_claims){0};
}

struct str jwt_claims_issuer(struct jwt_claims *c)
{
    uint32_t tok = json_get(&c->doc, 0, STR("iss"));
    return json_is(&c->doc, tok, JSON_STRING) ? json_str(&c->doc, tok, &c->arena) : (struct str){0};
}

/* ---- the parts of a judgement ---- */

static bool integer(const struct jwt_claims *c, const char *name, bool required, int64_t *out)
{
    uint32_t tok = json_get(&c->doc, 0, str_of(name));
    if (tok == JSON_NONE)
        return !required;
    return json_is(&c->doc, tok, JSON_NUMBER) && json_int(&c->doc, tok, out) && *out >= 0;
}

static bool check_times(struct jwt_claims *c, const struct jwt_rules *r, int64_t now, struct err *e)
{
    int64_t nbf = 0, iat = -1;
    if (!integer(c, "exp", true, &c->expires_s))
        return err_set(e, ERR_UNAUTHENTIC, "the token's exp is missing or no integer");
    if (!integer(c, "nbf", false, &nbf) || !integer(c, "iat", false, &iat))
        return err_set(e, ERR_UNAUTHENTIC, "the token's nbf or iat is no integer");
    if (c->expires_s <= now - r->skew_s)
        return err_set(e, ERR_UNAUTHENTIC, "the token has expired");
    if (nbf > now + r->skew_s || iat > now + r->skew_s)
        return err_set(e, ERR_UNAUTHENTIC, "the token is not valid yet");
    int64_t from = iat >= 0 ? iat : now;
    if (c->expires_s - now > (int64_t)r->max_lifetime_s + r->skew_s ||
        c->expires_s - from > (int64_t)r->max_lifetime_s + r->skew_s)
        return err_set(e, ERR_UNAUTHENTIC, "the token lives longer than is allowed");
    return true;
}

static bool is_one_of(const struct json_doc *d, uint32_t tok, char *const *list)
{
    for (; *list; list++)
        if (json_str_eq(d, tok, str_of(*list)))
            return true;
    return false;
}

/* A string or an array of strings (RFC 7519 §4.1.3); equal means byte for byte. */
static bool check_audience(const struct jwt_claims *c, char *const *wanted, struct err *e)
{
    const struct json_doc *d = &c->doc;
    uint32_t aud = json_get(d, 0, STR("aud"));
    bool found = json_is(d, aud, JSON_STRING) && is_one_of(d, aud, wanted);
    if (json_is(d, aud, JSON_ARRAY)) {
        for (uint32_t k = json_first(d, aud); k != JSON_NONE; k = json_next(d, aud, k)) {
            if (!json_is(d, k, JSON_STRING))
                return err_set(e, ERR_UNAUTHENTIC, "the token's aud holds what is no string");
            found = found || is_one_of(d, k, wanted);
        }
    }
    return found || err_set(e, ERR_UNAUTHENTIC, "the token is not for this audience");
}

/* A name that others use as a key: a string without control characters. */
static bool name_claim(struct jwt_claims *c, const char *name, struct str *out)
{
    uint32_t tok = json_get(&c->doc, 0, str_of(name));
    if (tok == JSON_NONE)
        return true;
    *out = json_str(&c->doc, tok, &c->arena);
    if (!json_is(&c->doc, tok, JSON_STRING) || out->n > MAX_NAME)
        return false;
    for (size_t i = 0; i < out->n; i++)
        if ((unsigned char)out->p[i] < ' ' || out->p[i] == 0x7f)
            return false;
    return true;
}

/* client_id (RFC 9068 §2.2), azp as OpenID Connect has it, the subject as the last. */
static bool check_names(struct jwt_claims *c, const struct jwt_rules *r, struct err *e)
{
    static const char *const usual[] = {"client_id", "azp", NULL};
    if (!name_claim(c, "sub", &c->subject))
        return err_set(e, ERR_UNAUTHENTIC, "the token's sub is no plain string");
    if (r->client_claim && !name_claim(c, r->client_claim, &c->client))
        return err_set(e, ERR_UNAUTHENTIC, "the token's client is no plain string");
    for (const char *const *z = usual; !r->client_claim && *z && c->client.n == 0; z++)
        if (!name_claim(c, *z, &c->client))
            return err_set(e, ERR_UNAUTHENTIC, "the token's client is no plain string");
    if (c->client.n == 0)
        c->client = c->subject;
    return c->client.n > 0 ||
           err_set(e, ERR_UNAUTHENTIC, "the token names neither a subject nor a client");
}

/* scope-token of RFC 6749 §3.3: visible ASCII without '"' and '\'. */
static bool is_scope(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || s.p[i] == '"' || s.p[i] == '\\')
            return false;
    return s.n > 0 && s.n <= MAX_SCOPE;
}

static bool add_scope(struct jwt_claims *c, struct str s, size_t *n)
{
    if (!is_scope(s) || *n == MAX_SCOPES)
        return false;
    c->scopes[(*n)++] = arena_dup(&c->arena, s.p, s.n);
    return true;
}

/* A string of scopes with blanks between them, or an array of strings. */
static bool read_scopes(struct jwt_claims *c, uint32_t tok, struct err *e)
{
    const struct json_doc *d = &c->doc;
    size_t n = 0;
    bool ok = true;
    c->scopes = arena_alloc(&c->arena, (MAX_SCOPES + 1) * sizeof *c->scopes);
    if (json_is(d, tok, JSON_STRING)) {
        struct str rest = json_str(d, tok, &c->arena), part;
        while (ok && str_split(&rest, ' ', &part))
            ok = part.n == 0 || add_scope(c, part, &n);
    } else if (json_is(d, tok, JSON_ARRAY)) {
        for (uint32_t k = json_first(d, tok); ok && k != JSON_NONE; k = json_next(d, tok, k))
            ok = json_is(d, k, JSON_STRING) && add_scope(c, json_str(d, k, &c->arena), &n);
    } else {
        ok = false;
    }
    return ok || err_set(e, ERR_UNAUTHENTIC, "the token's scopes are malformed");
}

static bool check_scopes(struct jwt_claims *c, const struct jwt_rules *r, struct err *e)
{
    uint32_t tok = json_get(&c->doc, 0, r->scopes_claim ? str_of(r->scopes_claim) : STR("scope"));
    if (tok == JSON_NONE && !r->scopes_claim)
        tok = json_get(&c->doc, 0, STR("scp"));
    return tok == JSON_NONE || read_scopes(c, tok, e);
}

/* A token that was made to be something else (a logout, a proof of possession) says so in typ (RFC
 * 8725 §3.11). */
static bool check_type(const struct jws *j, struct err *e)
{
    static const char *const types[] = {"JWT", "at+jwt", "application/at+jwt", "application/jwt"};
    bool ok = !j->typ.p;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        ok = ok || str_ieq(j->typ, str_of(types[i]));
    return ok || err_set(e, ERR_UNAUTHENTIC, "the token is of another type than an access token");
}

bool jwt_claims_check(struct jwt_claims *c, const struct jws *j, const struct jwt_rules *r,
                      int64_t now_s, struct err *e)
{
    c->issuer = jwt_claims_issuer(c);
    if (!check_type(j, e))
        return false;
    if (json_get(&c->doc, 0, STR("iss")) != JSON_NONE && !c->issuer.p)
        return err_set(e, ERR_UNAUTHENTIC, "the token's iss is no string");
    if (r->issuer && !str_eq(c->issuer, str_of(r->issuer)))
        return err_set(e, ERR_UNAUTHENTIC, "the token is from another issuer");
    return check_times(c, r, now_s, e) && (!r->audiences || check_audience(c, r->audiences, e)) &&
           check_names(c, r, e) && check_scopes(c, r, e);
}
