/* gateway/config_auth.c: every way to write tokens and issuers, and what is refused. */
#include "base/crypto.h"
#include "config_fixture.h"

static const char pem[] =
    "-----BEGIN PUBLIC "
    "KEY-----\\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEEVs/o5+uQbTjL3chynL4wXgUg2R9\\n"
    "q9UU8I5mEovUf86QZ7kOBIjJwqnzD1omageEHWwHdBO6B+dFabmdT9POxg==\\n-----END PUBLIC KEY-----\\n";

static const struct auth_config *auth(void)
{
    if (!config)
        fail_msg("refused: %s", said.p);
    return &config->auth;
}

static void test_a_token_of_the_environment_is_enough(void **state)
{
    (void)state;
    load(NULL,
         ENV(V("MCP_AUTH_TYPE=bearer"), V("MCP_AUTH_TOKEN= hush\n"), V("MCP_AUTH_SCOPES=a, b"),
             V("MCP_AUTH_CLIENT_ID=ci"), V("MCP_AUTH_REQUIRED_SCOPES=a")),
         NULL);
    assert_said("");
    assert_int_equal(auth()->token_count, 1);
    const struct principal *p = auth()->tokens[0].who;
    assert_string_equal(p->client, "ci");
    assert_string_equal(p->subject, "ci");
    assert_true(principal_has_scope(p, "a") && principal_has_scope(p, "b"));
    assert_false(principal_has_scope(p, "ab"));
    assert_string_equal(auth()->required_scopes[0], "a");
    uint8_t digest[32];
    crypto_sha256(&STR("hush"), 1, digest);
    assert_memory_equal(digest, auth()->tokens[0].digest, 32);
}

static void test_a_token_asks_for_authentication_without_a_type(void **state)
{
    (void)state;
    load(NULL, ENV(V("MCP_AUTH_TOKEN=hush")), NULL);
    assert_int_equal(config->auth_type, AUTH_TYPE_BEARER);
    assert_int_equal(auth()->providers, 1);
    load(NULL, ENV(V("MCP_AUTH_TOKEN=hush"), V("MCP_AUTH_TYPE=none")), NULL);
    assert_int_equal(auth()->providers, 0);
}

static void test_tokens_come_inline_from_files_variables_and_as_digests(void **state)
{
    (void)state;
    load("tenants: {t: {}}\nauth:\n  tokens:\n"
         "    - {token: one, clientId: a, scopes: [x], tenant: t, expires: 2030-01-31}\n"
         "    - {tokenEnv: TWO, clientId: b, expires: '2030-01-31T01:02:03Z'}\n"
         "    - {sha256: 8B5B9DB0C13DB24256C829AA364AA90C6D2EBA318B9232A4AB9313B954D3555F, "
         "clientId: c}\n"
         "    - {token: '${FOUR}', clientId: d}\n",
         ENV(V("TWO=zwei"), V("FOUR=vier")), NULL);
    assert_said("");
    assert_int_equal(auth()->token_count, 4);
    assert_string_equal(auth()->tokens[0].who->tenant, "t");
    assert_int_equal(auth()->tokens[0].who->expires_ms, 1896048000000);
    assert_int_equal(auth()->tokens[1].who->expires_ms, 1896051723000);
    assert_int_equal(auth()->tokens[2].digest[0], 0x8b);
    assert_int_equal(auth()->tokens[2].who->expires_ms, INT64_MAX);
}

static void test_tokens_that_cannot_be_are_refused(void **state)
{
    (void)state;
    refuse("auth: {tokens: [{clientId: a}]}\n", "auth.tokens[0]: needs one of token, tokenEnv");
    refuse("auth: {tokens: [{token: a}]}\n", "auth.tokens[0].clientId: is missing");
    refuse("auth: {tokens: [{token: a b, clientId: c}]}\n", "a bearer token may not hold");
    refuse("auth: {tokens: [{token: a, clientId: c}, {token: a, clientId: d}]}\n",
           "is the token of c, too");
    refuse("auth: {tokens: [{token: a, clientId: c, expires: soon}]}\n", "is not a date");
    refuse("auth: {tokens: [{sha256: zz, clientId: c}]}\n", "auth.tokens[0].sha256: ");
    refuse("auth: {tokens: {a: b}}\n", "is a map, but must be a list of tokens");
    refuse("auth: {tokens: [{tokenEnv: NOPE, clientId: c}]}\n", "the variable NOPE is not set");
    refuse("auth: {tokensFile: /nonexistent}\n", "error: /nonexistent: cannot be opened");
    assert_null(strstr(said.p, "hush"));
}

static void test_an_issuer_of_the_environment(void **state)
{
    (void)state;
    char key[512];
    (void)snprintf(key, sizeof key, "MCP_AUTH_JWT_PUBLIC_KEY=%s", pem);
    load(NULL,
         ENV(V("MCP_AUTH_TYPE=jwt"), key, V("MCP_AUTH_JWT_ALGORITHM=ES256"),
             V("MCP_AUTH_JWT_ISSUER=https://i"), V("MCP_AUTH_JWT_AUDIENCE=x")),
         NULL);
    assert_said("");
    assert_int_equal(auth()->issuer_count, 1);
    assert_int_equal(auth()->issuers[0].algs, 1 << JWS_ES256);
    assert_non_null(auth()->issuers[0].fixed);
    assert_string_equal(auth()->authorization_servers[0], "https://i");
}

static void test_issuers_that_would_be_holes_are_refused(void **state)
{
    (void)state;
    char text[700];
    refuse("auth: {jwt: {issuer: i, audience: a}}\n", "needs exactly one of jwksUri");
    refuse("auth: {jwt: {issuer: i, audience: a, jwksUri: 'https://h/k', secret: x}}\n",
           "needs exactly one of jwksUri");
    refuse("auth: {jwt: {issuer: i, audience: a, jwksUri: 'https://h/k', algorithms: [HS256]}}\n",
           "HS* does not go with a key set");
    refuse("auth: {jwt: {issuer: i, audience: a, jwksUri: 'https://h/k', algorithms: [none]}}\n",
           "'none' is not known");
    refuse("auth: {jwt: {issuer: i, audience: a, secret: short, algorithms: [HS256]}}\n",
           "is too short: it needs at least 32 bytes");
    refuse("auth: {jwt: {issuer: i, audience: a, publicKey: abc}}\n", "is not a public key in PEM");
    refuse("auth: {jwt: {issuer: i, audience: a, jwksUri: 'https://u:p@h/k'}}\n",
           "credentials do not belong in a URL");
    refuse("auth: {jwt: {issuer: i, audience: a, jwksUri: 'https://h/k', clockSkew: 5m}}\n",
           "auth.jwt.clockSkew");
    (void)snprintf(
        text, sizeof text,
        "auth: {jwt: {issuer: i, audience: a, algorithms: [HS256], publicKey: \"%s\"}}\n", pem);
    refuse(text, "HS* with a public key would let anybody sign");
    (void)snprintf(
        text, sizeof text,
        "auth: {jwt: {issuer: i, audience: a, algorithms: [RS256], publicKey: \"%s\"}}\n", pem);
    refuse(text, "is a key of another kind or size");
    refuse(
        "auth: {jwt: [{issuer: i, audience: a, jwksUri: 'https://h/k'}, {issuer: i, audience: b, "
        "jwksUri: 'https://g/k'}]}\n",
        "auth.jwt[1].issuer: must be another one");
}

static void test_production_asks_for_issuer_audience_and_https(void **state)
{
    (void)state;
    static const char text[] = "auth: {jwt: {jwksUri: 'http://idp.example.com/k'}}\n";
    load(text, NULL, NULL);
    assert_non_null(config);
    assert_says("warning: F:1 auth.jwt.audience: is missing");
    assert_says("warning: F:1 auth.jwt.issuer: is missing");
    assert_says("warning: F:1 auth.jwt.jwksUri: is not https");
    load(text, ENV(V("MCP_ENV=production")), NULL);
    assert_null(config);
    assert_says("error: F:1 auth.jwt.audience: is missing");
    assert_says("error: F:1 auth.jwt.issuer: is missing");
    assert_says("error: F:1 auth.jwt.jwksUri: is not https");
}

static void test_reload_scopes_unset_empty_and_set(void **state)
{
    (void)state;
    load(NULL, NULL, NULL);
    assert_string_equal(auth()->reload_scopes[0], "mcp:admin");
    load(NULL, ENV(V("MCP_RELOAD_REQUIRED_SCOPES=")), NULL);
    assert_null(auth()->reload_scopes);
    load("admin: {reloadScopes: []}\n", NULL, NULL);
    assert_null(auth()->reload_scopes);
    load(NULL, ENV(V("MCP_RELOAD_REQUIRED_SCOPES=a,b")), NULL);
    assert_string_equal(auth()->reload_scopes[1], "b");
    refuse("admin: {reloadScopes: ['a b']}\n", "'a b' is not a scope");
}

static void test_multi_tries_in_the_order_written(void **state)
{
    (void)state;
    static const char both[] = "auth:\n  type: multi\n  token: x\n  jwt: {issuer: i, audience: a, "
                               "jwksUri: 'https://h/k'}\n";
    char text[300];
    load_fine(both);
    assert_int_equal(auth()->providers, 2);
    assert_int_equal(auth()->order[0], AUTH_BEARER);
    (void)snprintf(text, sizeof text, "%s  providers: [jwt, bearer]\n", both);
    load_fine(text);
    assert_int_equal(auth()->order[0], AUTH_JWT);
    (void)snprintf(text, sizeof text, "%s  providers: [jwt, saml]\n", both);
    refuse(text, "'saml' is not known");
    (void)snprintf(text, sizeof text, "%s  providers: [jwt, jwt]\n", both);
    refuse(text, "'jwt' is given twice");
}

static void test_a_dump_holds_no_secret(void **state)
{
    (void)state;
    struct buf out = {0};
    load(NULL, ENV(V("MCP_AUTH_TOKEN=canary-1"), V("MCP_ADMIN_TOKEN=canary-2")), NULL);
    config_dump(config, &out);
    assert_int_equal(str_find(buf_str(&out), STR("canary")), -1);
    buf_fini(&out);
}

static void test_the_public_url_is_an_origin(void **state)
{
    (void)state;
    load_fine("publicUrl: https://mcp.example.com/\n");
    assert_string_equal(config->public_url, "https://mcp.example.com");
    refuse("publicUrl: https://mcp.example.com/mcp\n", "is scheme and host alone");
    refuse("publicUrl: mcp.example.com\n", "error: F:1 publicUrl: ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_token_of_the_environment_is_enough),
        T(test_a_token_asks_for_authentication_without_a_type),
        T(test_tokens_come_inline_from_files_variables_and_as_digests),
        T(test_tokens_that_cannot_be_are_refused),
        T(test_an_issuer_of_the_environment),
        T(test_issuers_that_would_be_holes_are_refused),
        T(test_production_asks_for_issuer_audience_and_https),
        T(test_reload_scopes_unset_empty_and_set),
        T(test_multi_tries_in_the_order_written),
        T(test_a_dump_holds_no_secret),
        T(test_the_public_url_is_an_origin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
