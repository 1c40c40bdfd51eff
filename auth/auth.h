/* Is this credential right, and whose is it: static tokens and JWTs of configured issuers, in the
 * configured order. A credential that is there and wrong is refused; it never becomes anonymous. */
#ifndef AUTH_AUTH_H
#define AUTH_AUTH_H

#include "auth/jwks.h"
#include "auth/jwt.h"

enum auth_provider { AUTH_BEARER, AUTH_JWT, AUTH_PROVIDERS };

/* A static token. Only its digest is kept. */
struct auth_token {
    uint8_t digest[32];
    struct principal *who; /* counted */
};

/* An issuer of JWTs: its keys are fixed (a PEM, a secret) or fetched. */
struct auth_issuer {
    char *issuer;     /* NULL: any; then it is the only one */
    char **audiences; /* NULL: not compared */
    char *jwks_url, *ca_file;
    struct keyset *fixed; /* counted; NULL with jwks_url */
    struct jwks *jwks;    /* counted; set by auth_attach */
    unsigned algs;
    int skew_s, max_lifetime_s, ttl_ms, min_refresh_ms;
    char *scopes_claim, *client_claim, *tenant;
};

/* Immutable once attached. */
struct auth_config {
    enum auth_provider order[AUTH_PROVIDERS];
    size_t providers; /* 0: clients are not authenticated */
    struct auth_token *tokens;
    size_t token_count;
    struct auth_issuer *issuers;
    size_t issuer_count;
    char **required_scopes; /* of every caller */
    uint8_t admin_digest[32];
    bool has_admin;
    struct principal *admin; /* who the admin token stands for; counted */
    char **reload_scopes;    /* of reload and drain; NULL: none */
    char **authorization_servers;
};

/* Frees what the structure owns, not the structure. */
void auth_config_fini(struct auth_config *c);
/* Adds a static token; who is taken. */
void auth_add_token(struct auth_config *c, const uint8_t digest[32], struct principal *who);
/* Connects the issuers with their key sets. resource: what an issuer without audiences is held to
 * (NULL-terminated, copied). Control loop, before the configuration is shared. */
void auth_attach(struct auth_config *c, struct jwks_keeper *keeper, char *const *resource);

enum auth_result {
    AUTH_OK,
    AUTH_REFUSED,
    AUTH_WAIT, /* the keys of *jwks have to be asked for; check again then, with settled */
};

/* Judges a token at now_ms (wall time). settled: keys were asked for already. AUTH_OK: *who is a
 * new reference. AUTH_REFUSED: e says why, for the log; nothing of it is secret. AUTH_WAIT: *jwks
 * is borrowed from c. */
enum auth_result auth_check(const struct auth_config *c, struct str token, int64_t now_ms,
                            bool settled, struct principal **who, struct jwks **jwks,
                            struct err *e) MUST_USE;
/* Is it the admin token? Constant time. */
bool auth_is_admin(const struct auth_config *c, struct str token);

/* The token of an Authorization field: "Bearer", blanks, token68 (RFC 6750 §2.1, RFC 9110 §11.2).
 * False: another scheme, or malformed. */
bool auth_bearer_of(struct str field, struct str *token);

/* Appends the value of WWW-Authenticate (RFC 6750 §3, RFC 9728 §5.1): error, scopes
 * (NULL-terminated) and metadata may be NULL. */
void auth_challenge(struct buf *out, const char *error, char *const *scopes, const char *metadata);
/* Appends the metadata document of a resource (RFC 9728 §2). scopes may be NULL. */
void auth_metadata(struct buf *out, const char *resource, const char *name, char *const *servers,
                   char *const *scopes);

#endif
