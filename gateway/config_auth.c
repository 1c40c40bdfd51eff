/* See config_parts.h: how clients are authenticated. What is asked for and cannot be had is an
 * error, for running open instead would be a hole. */
#include "base/crypto.h"
#include "base/http1.h"
#include "gateway/config_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

enum { MAX_TOKENS = 10000, MAX_ISSUERS = 32, MAX_SECRET = 64 * 1024 };

const char *auth_type_name(enum auth_type t)
{
    switch (t) {
    case AUTH_TYPE_NONE: return "none";
    case AUTH_TYPE_BEARER: return "bearer";
    case AUTH_TYPE_JWT: return "jwt";
    case AUTH_TYPE_MULTI: return "multi";
    }
    return "none";
}

/* ---- secrets ---- */

/* Where a secret may be written; at most one of them. */
struct secret_source {
    const char *name; /* "token": in messages */
    const char *text, *variable, *file;
};

static char *trimmed(struct str s)
{
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1]))
        s.n--;
    while (s.n && strchr(" \t\r\n", *s.p))
        s = (struct str){s.p + 1, s.n - 1};
    return xmemdup0(s.n ? s.p : "", s.n);
}

static char *secret_from_file(const struct option_reader *r, const struct yaml_node *at,
                              const struct secret_source *s)
{
    struct buf text = {0};
    struct err e;
    char *out = NULL;
    if (config_read_file(s->file, MAX_SECRET, &text, &e))
        out = trimmed(buf_str(&text));
    else
        option_report(r, false, at, s->name, "file '%.128s' %s", s->file, e.msg);
    config_wipe(&text);
    return out;
}

/* The secret without blanks around it. Returns owned, or NULL: there is none, or after a report. */
static char *read_secret(const struct option_reader *r, const struct config_draft *d,
                         const struct yaml_node *at, const struct secret_source *s)
{
    char *out = NULL;
    if (!!s->text + !!s->variable + !!s->file > 1) {
        option_report(r, false, at, s->name, "is given in more than one way: write only one");
        return NULL;
    }
    if (s->file) {
        out = secret_from_file(r, at, s);
    } else if (s->variable && option_getenv(d->environ, s->variable)) {
        out = trimmed(str_of(option_getenv(d->environ, s->variable)));
    } else if (s->variable) {
        option_report(r, false, at, s->name, "the variable %s is not set",
                      config_shown_variable(s->variable));
    } else if (s->text) {
        out = trimmed(str_of(s->text));
    }
    if (out && !*out) {
        option_report(r, false, at, s->name, "is empty");
        free(out);
        out = NULL;
    }
    return out;
}

static void free_secret(char *z)
{
    if (z)
        crypto_wipe(z, strlen(z));
    free(z);
}

static bool is_token_text(const char *z)
{
    struct str ignored;
    struct buf b = {0};
    buf_addf(&b, "Bearer %s", z);
    bool ok = strlen(z) <= JWS_MAX_BYTES && auth_bearer_of(buf_str(&b), &ignored);
    config_wipe(&b);
    return ok;
}

/* The digest of a token; false: none is written, or after a report. */
static bool token_digest(const struct option_reader *r, const struct config_draft *d,
                         const struct yaml_node *at, const struct secret_source *s,
                         uint8_t digest[32])
{
    char *text = read_secret(r, d, at, s);
    bool ok = text && is_token_text(text);
    if (text && !ok)
        option_report(r, false, at, s->name,
                      "holds a character that a bearer token may not hold (RFC 6750 §2.1)");
    if (ok)
        crypto_sha256(&(struct str){text, strlen(text)}, 1, digest);
    free_secret(text);
    return ok;
}

/* ---- static tokens ---- */

static int hex_value(char c)
{
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, c | 0x20) : NULL;
    return at ? (int)(at - digits) : -1;
}

static bool parse_hex(const char *z, uint8_t digest[32])
{
    for (size_t i = 0; i < 32; i++) {
        int high = hex_value(z[2 * i]), low = high < 0 ? -1 : hex_value(z[2 * i + 1]);
        if (low < 0)
            return false;
        digest[i] = (uint8_t)(high * 16 + low);
    }
    return z[64] == '\0';
}

/* A day or a second in UTC (RFC 3339), in ms; false when it is none. */
static bool parse_date(const char *z, int64_t *out)
{
    struct tm tm = {0};
    const char *rest = strptime(z, "%Y-%m-%d", &tm);
    if (rest && *rest == 'T')
        rest = strptime(rest, "T%H:%M:%SZ", &tm);
    if (!rest || *rest)
        return false;
    *out = (int64_t)timegm(&tm) * 1000;
    return true;
}

static bool entry_digest(const struct option_reader *r, const struct config_draft *d,
                         const struct yaml_node *node, uint8_t digest[32])
{
    const struct token_draft *t = r->base;
    const struct secret_source s = {"token", t->token, t->token_env, t->token_file};
    bool secret = t->token || t->token_env || t->token_file;
    if (secret == !!t->sha256) {
        option_report(r, false, node, NULL, "needs one of token, tokenEnv, tokenFile and sha256");
        return false;
    }
    if (secret)
        return token_digest(r, d, node, &s, digest);
    if (parse_hex(t->sha256, digest))
        return true;
    option_report(r, false, node, "sha256", "is not 64 digits of hex");
    return false;
}

static void add_token(const struct option_reader *r, struct config_draft *d,
                      const struct yaml_node *node)
{
    const struct token_draft *t = r->base;
    struct auth_config *c = &d->c.auth;
    uint8_t digest[32];
    int64_t expires = 0;
    if (!t->client_id)
        option_report(r, false, node, "clientId", "is missing: it names whom the token stands for");
    if (t->expires && !parse_date(t->expires, &expires))
        option_report(r, false, node, "expires",
                      "is not a date: write 2027-01-31 or 2027-01-31T12:00:00Z");
    if (!entry_digest(r, d, node, digest))
        return;
    for (size_t i = 0; i < c->token_count; i++) {
        if (crypto_equal(c->tokens[i].digest, digest, sizeof digest))
            option_report(r, false, node, "token", "is the token of %.64s, too",
                          c->tokens[i].who->client);
    }
    auth_add_token(c, digest,
                   principal_new(&(struct principal_facts){.subject = str_of(t->client_id),
                                                           .client = str_of(t->client_id),
                                                           .tenant = str_of(t->tenant),
                                                           .scopes = t->scopes,
                                                           .expires_ms = expires}));
}

static void read_tokens(struct config_draft *d, struct option_reader r, struct yaml_doc *doc,
                        struct yaml_node *list, const char *path)
{
    char below[64];
    size_t i = 0;
    if (!list || list->kind == YAML_NULL)
        return;
    if (list->kind != YAML_LIST) {
        option_report(&r, false, list, path, "is %s, but must be a list of tokens",
                      yaml_kind_name(list->kind));
        return;
    }
    r.table = &token_table;
    r.origins = NULL;
    for (struct yaml_node *n = list->first; n && i < MAX_TOKENS; n = n->next, i++) {
        struct token_draft t = {0};
        (void)snprintf(below, sizeof below, "%s[%zu]", path, i);
        r.path = below;
        r.base = &t;
        config_expand(&r, d->environ, doc, n, "");
        options_read_tree(&r, n);
        add_token(&r, d, n);
        options_fini(&token_table, &t, 0);
    }
}

static void read_tokens_file(struct config_draft *d)
{
    struct option_reader r = config_plain_reader(d);
    struct buf text = {0};
    struct yaml_doc doc = {0};
    struct err e;
    if (!d->auth.tokens_file)
        return;
    r.file = d->auth.tokens_file;
    r.lines = true;
    if (config_read_file(d->auth.tokens_file, YAML_MAX_BYTES, &text, &e) &&
        yaml_parse(&doc, buf_str(&text), &e)) {
        read_tokens(d, r, &doc, doc.root, "");
    } else {
        option_report(&r, false, &(struct yaml_node){.line = doc.error_line}, NULL, "%s", e.msg);
    }
    yaml_doc_fini(&doc);
    config_wipe(&text);
}

static void read_one_token(struct config_draft *d)
{
    struct option_reader r = config_plain_reader(d);
    const struct auth_draft *a = &d->auth;
    uint8_t digest[32];
    const struct secret_source s = {"auth.token", a->token, a->token_env, a->token_file};
    if (token_digest(&r, d, NULL, &s, digest)) {
        auth_add_token(&d->c.auth, digest,
                       principal_new(&(struct principal_facts){.subject = str_of(a->client_id),
                                                               .client = str_of(a->client_id),
                                                               .scopes = a->scopes}));
    }
}

static void read_admin_token(struct config_draft *d)
{
    struct option_reader r = config_plain_reader(d);
    const struct auth_draft *a = &d->auth;
    struct auth_config *c = &d->c.auth;
    const struct secret_source s = {"admin.token", a->admin_token, a->admin_token_env,
                                    a->admin_token_file};
    c->has_admin = token_digest(&r, d, NULL, &s, c->admin_digest);
    if (c->has_admin)
        c->admin = principal_new(&(struct principal_facts){.subject = str_of(a->admin_client),
                                                           .client = str_of(a->admin_client)});
}

/* ---- issuers ---- */

static bool read_algorithms(const struct option_reader *r, const struct yaml_node *node,
                            unsigned *algs)
{
    const struct issuer_draft *i = r->base;
    *algs = 0;
    for (char **z = i->algorithms; z && *z; z++) {
        enum jws_alg alg = jws_alg_of(str_of(*z));
        if (alg == JWS_ALGS) {
            option_report(r, false, node, "algorithms",
                          "'%.32s' is not known: write RS256 (384, 512), PS256, ES256, EdDSA or "
                          "HS256",
                          *z);
            return false;
        }
        *algs |= 1U << alg;
    }
    return true;
}

/* PEM in a variable often has its lines written as "\n". */
static char *unfold_lines(char *pem)
{
    char *to = pem;
    for (const char *z = pem; *z; z++) {
        bool fold = z[0] == '\\' && z[1] == 'n';
        *to++ = fold ? '\n' : *z;
        z += fold;
    }
    *to = '\0';
    return pem;
}

static void read_fixed_key(const struct option_reader *r, const struct config_draft *d,
                           const struct yaml_node *node)
{
    struct issuer_draft *i = r->base;
    struct err e = {0};
    bool is_secret = i->secret || i->secret_env || i->secret_file;
    bool hmac = (i->i.algs & JWS_SET_HMAC) != 0;
    const struct secret_source s =
        is_secret ? (struct secret_source){"secret", i->secret, i->secret_env, i->secret_file}
                  : (struct secret_source){"publicKey", i->public_key, NULL, i->public_key_file};
    char *text = read_secret(r, d, node, &s);
    if (!text)
        return;
    bool pem = strstr(text, "-----BEGIN") != NULL;
    if (hmac && pem) {
        option_report(r, false, node, "algorithms",
                      "HS* with a public key would let anybody sign: write RS256 or another one");
    } else if (hmac || is_secret) {
        i->i.fixed = keyset_from_secret(str_of(text), hmac ? i->i.algs : 1U << JWS_HS256, &e);
        i->i.algs = hmac ? i->i.algs : 1U << JWS_HS256;
    } else {
        i->i.fixed = keyset_from_pem(str_of(unfold_lines(text)), i->i.algs, &e);
    }
    if (e.kind != ERR_NONE)
        option_report(r, false, node, s.name, "%s", e.msg);
    free_secret(text);
}

static bool is_local_host(struct str host)
{
    return str_ieq(host, STR("localhost")) || str_eq(host, STR("127.0.0.1")) ||
           str_eq(host, STR("::1"));
}

static void check_jwks_url(const struct option_reader *r, const struct config_draft *d,
                           const struct yaml_node *node)
{
    const struct issuer_draft *i = r->base;
    struct http1_url u;
    struct err e;
    if (!http1_parse_url(str_of(i->i.jwks_url), &u, &e))
        option_report(r, false, node, "jwksUri", "%s", e.msg);
    else if (!u.https && !is_local_host(u.host))
        option_report(r, !d->c.production, node, "jwksUri",
                      "is not https: who is on the way can replace the keys");
    if (i->i.algs & JWS_SET_HMAC)
        option_report(r, false, node, "algorithms", "HS* does not go with a key set");
}

static void check_names(const struct option_reader *r, const struct config_draft *d,
                        const struct yaml_node *node)
{
    const struct issuer_draft *i = r->base;
    if (!i->i.issuer)
        option_report(r, !d->c.production, node, "issuer",
                      "is missing: tokens of any issuer whose signature is right are accepted");
    if (!i->i.audiences)
        option_report(r, !d->c.production, node, "audience",
                      "is missing: write what aud must be; the gateway's own URL is used");
}

static void check_key_sources(const struct option_reader *r, const struct config_draft *d,
                              const struct yaml_node *node)
{
    struct issuer_draft *i = r->base;
    bool pem = i->public_key || i->public_key_file;
    bool secret = i->secret || i->secret_env || i->secret_file;
    if (!!i->i.jwks_url + pem + secret != 1) {
        option_report(r, false, node, NULL, "needs exactly one of jwksUri, publicKey and secret");
        return;
    }
    if (!read_algorithms(r, node, &i->i.algs))
        return;
    if (i->i.algs & JWS_SET_HMAC && i->i.algs & JWS_SET_ASYMMETRIC)
        option_report(r, false, node, "algorithms", "HS* does not go with others");
    if (!i->i.algs && !secret)
        i->i.algs = JWS_SET_USUAL;
    if (i->i.jwks_url)
        check_jwks_url(r, d, node);
    else
        read_fixed_key(r, d, node);
}

static void add_issuer(struct option_reader *r, struct config_draft *d, struct yaml_doc *doc,
                       struct yaml_node *node, bool with_env)
{
    struct auth_config *c = &d->c.auth;
    struct issuer_draft i = {0};
    options_defaults(&issuer_table, &i);
    r->base = &i;
    if (node) {
        config_expand(r, d->environ, doc, node, "");
        options_read_tree(r, node);
    }
    if (with_env)
        options_read_env(r, d->environ);
    i.i.skew_s = i.skew_ms / 1000;
    i.i.max_lifetime_s = i.lifetime_ms / 1000;
    check_names(r, d, node);
    check_key_sources(r, d, node);
    for (size_t k = 0; k < c->issuer_count; k++) {
        const char *other = c->issuers[k].issuer;
        if (!other || !i.i.issuer || strcmp(other, i.i.issuer) == 0)
            option_report(r, false, node, "issuer",
                          "must be another one than those of the other entries");
    }
    c->issuers = xrealloc(c->issuers, (c->issuer_count + 1) * sizeof *c->issuers);
    c->issuers[c->issuer_count++] = i.i;
    /* What the issuer owns stays; the rest goes. */
    i.i = (struct auth_issuer){0};
    options_fini(&issuer_table, &i, 0);
    r->base = NULL;
}

static bool has_issuer_env(const struct config_draft *d)
{
    for (size_t i = 0; i < issuer_table.n; i++) {
        for (size_t k = 0; k < OPTION_MAX_ENVS && issuer_table.rows[i].env[k]; k++) {
            const char *value = option_getenv(d->environ, issuer_table.rows[i].env[k]);
            if (value && *value)
                return true;
        }
    }
    return false;
}

/* `auth.jwt`: one issuer or a list. The variables speak of the only one. */
static void read_issuers(struct config_draft *d, struct option_reader r, struct yaml_doc *doc,
                         struct yaml_node *node)
{
    bool env = has_issuer_env(d), list = node && node->kind == YAML_LIST;
    char path[32];
    int i = 0;
    r.table = &issuer_table;
    r.origins = NULL;
    r.path = "auth.jwt";
    if (list && node->count > 1 && env)
        config_report(d, true, "MCP_AUTH_JWT_*",
                      "not used: auth.jwt of the file has several issuers");
    if (!list && (node || env))
        add_issuer(&r, d, doc, node && node->kind != YAML_NULL ? node : NULL, env);
    for (struct yaml_node *n = list ? node->first : NULL; n && i < MAX_ISSUERS; n = n->next, i++) {
        (void)snprintf(path, sizeof path, "auth.jwt[%d]", i);
        r.path = path;
        add_issuer(&r, d, doc, n, env && node->count == 1);
    }
}

/* ---- the whole ---- */

static void set_order(struct config_draft *d)
{
    static const char *const names[AUTH_PROVIDERS] = {"bearer", "jwt"};
    struct auth_config *c = &d->c.auth;
    for (char **z = d->auth.providers; z && *z; z++) {
        int k = 0;
        while (k < AUTH_PROVIDERS && strcasecmp(names[k], *z) != 0)
            k++;
        if (k == AUTH_PROVIDERS) {
            config_report(d, false, "auth.providers", "'%.32s' is not known: write bearer or jwt",
                          *z);
        } else if (c->providers == AUTH_PROVIDERS || (c->providers && (int)c->order[0] == k)) {
            config_report(d, false, "auth.providers", "'%.32s' is given twice", *z);
        } else {
            c->order[c->providers++] = (enum auth_provider)k;
        }
    }
    if (d->auth.providers)
        return;
    if (c->token_count)
        c->order[c->providers++] = AUTH_BEARER;
    if (c->issuer_count)
        c->order[c->providers++] = AUTH_JWT;
}

static void check_type(struct config_draft *d)
{
    struct auth_config *c = &d->c.auth;
    enum auth_type type = d->c.auth_type;
    bool uses_jwt = false, uses_bearer = false;
    if (type == AUTH_TYPE_MULTI)
        set_order(d);
    else if (type != AUTH_TYPE_NONE)
        c->order[c->providers++] = type == AUTH_TYPE_BEARER ? AUTH_BEARER : AUTH_JWT;
    for (size_t i = 0; i < c->providers; i++) {
        uses_bearer |= c->order[i] == AUTH_BEARER;
        uses_jwt |= c->order[i] == AUTH_JWT;
    }
    if (type != AUTH_TYPE_NONE && c->providers == 0)
        config_report(d, false, "auth.type", "is multi, but neither tokens nor issuers are there");
    if (uses_bearer && c->token_count == 0)
        config_report(d, false, "auth.type",
                      "asks for bearer, but there is no token: set MCP_AUTH_TOKEN or auth.tokens");
    if (uses_jwt && c->issuer_count == 0) {
        config_report(
            d, false, "auth.type",
            "asks for jwt, but there is no issuer: set MCP_AUTH_JWT_JWKS_URI or auth.jwt");
    }
    if (type == AUTH_TYPE_NONE && c->required_scopes)
        config_report(d, false, "auth.requiredScopes",
                      "nobody can have scopes when auth.type is none");
    if (type == AUTH_TYPE_NONE && d->c.production && !d->auth.allow_none) {
        config_report(d, false, "environment",
                      "is a production one, and clients are not authenticated; configure auth, or "
                      "set MCP_ALLOW_NO_AUTH=true (allowNoAuth: true) if another layer keeps "
                      "strangers out");
    }
}

static void check_public_url(struct config_draft *d)
{
    char *z = d->c.public_url;
    struct http1_url u;
    struct err e;
    size_t n = z ? strlen(z) : 0;
    if (!z)
        return;
    if (z[n - 1] == '/')
        z[n - 1] = '\0';
    if (!http1_parse_url(str_of(z), &u, &e))
        config_report(d, false, "publicUrl", "%s", e.msg);
    else if (!str_eq(u.target, STR("/")))
        config_report(d, false, "publicUrl",
                      "is scheme and host alone, as https://mcp.example.com");
}

/* Scopes stand in headers: what is configured must fit there (RFC 6749 §3.3). */
static void check_scopes(struct config_draft *d, const char *path, char *const *list)
{
    for (; list && *list; list++) {
        for (const char *c = *list; *c; c++) {
            if (*c <= ' ' || *c >= 0x7f || *c == '"' || *c == '\\') {
                config_report(d, false, path, "'%.64s' is not a scope", *list);
                break;
            }
        }
    }
}

static char **take(char ***list)
{
    char **out = *list;
    *list = NULL;
    return out;
}

static void add_server(char ***list, const char *url)
{
    size_t n = 0;
    while (*list && (*list)[n])
        n++;
    *list = xrealloc(*list, (n + 2) * sizeof **list);
    (*list)[n] = xstrdup(url);
    (*list)[n + 1] = NULL;
}

/* Clients get their tokens from the issuers, if nothing else is said. */
static void set_servers(struct config_draft *d)
{
    struct auth_config *c = &d->c.auth;
    c->authorization_servers = take(&d->auth.servers);
    if (c->authorization_servers)
        return;
    for (size_t i = 0; i < c->issuer_count; i++) {
        struct http1_url u;
        const char *issuer = c->issuers[i].issuer;
        if (issuer && http1_parse_url(str_of(issuer), &u, NULL))
            add_server(&c->authorization_servers, issuer);
    }
}

/* Without auth.type what is configured says it: a token that somebody wrote is meant to be asked
 * for. */
static enum auth_type implied_type(const struct auth_config *c)
{
    if (c->token_count && c->issuer_count)
        return AUTH_TYPE_MULTI;
    return c->token_count ? AUTH_TYPE_BEARER : c->issuer_count ? AUTH_TYPE_JWT : AUTH_TYPE_NONE;
}

void config_read_auth(struct config_draft *d, struct yaml_doc *doc)
{
    struct auth_config *c = &d->c.auth;
    struct option_reader r = config_plain_reader(d);
    struct yaml_node *auth = yaml_get(doc->root, "auth");
    const char *scopes = option_getenv(d->environ, "MCP_RELOAD_REQUIRED_SCOPES");
    r.file = d->c.source;
    r.lines = true;
    read_one_token(d);
    read_tokens(d, r, doc, yaml_get(auth, "tokens"), "auth.tokens");
    read_tokens_file(d);
    read_issuers(d, r, doc, yaml_get(auth, "jwt"));
    read_admin_token(d);
    c->required_scopes = take(&d->auth.required_scopes);
    c->reload_scopes = scopes && !*scopes ? NULL : take(&d->auth.reload_scopes);
    set_servers(d);
    check_scopes(d, "auth.requiredScopes", c->required_scopes);
    check_scopes(d, "admin.reloadScopes", c->reload_scopes);
    d->c.auth_type = d->auth.type < 0 ? implied_type(c) : (enum auth_type)d->auth.type;
    check_type(d);
    check_public_url(d);
}
