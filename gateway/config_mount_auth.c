/* See config_parts.h: what an upstream is told about who we are. Credentials come from this
 * upstream's own keys and from nowhere else, and no message shows one. */
#include "base/crypto.h"
#include "base/http1.h"
#include "gateway/config_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Headers that the gateway writes itself. */
static const char *const own_headers[] = {"Host",
                                          "Content-Length",
                                          "Content-Type",
                                          "Transfer-Encoding",
                                          "Connection",
                                          "Keep-Alive",
                                          "TE",
                                          "Trailer",
                                          "Upgrade",
                                          "Expect",
                                          "Accept",
                                          "Last-Event-ID",
                                          "Mcp-Session-Id",
                                          "Mcp-Protocol-Version",
                                          "Mcp-Method",
                                          "Mcp-Name"};

static bool is_own_header(const char *name)
{
    for (size_t i = 0; i < sizeof own_headers / sizeof *own_headers; i++)
        if (str_ieq(str_of(name), str_of(own_headers[i])))
            return true;
    return false;
}

static bool is_field(const char *name, const char *value)
{
    struct buf scratch = {0};
    bool ok = http1_add_field(&scratch, str_of(name), str_of(value));
    config_wipe(&scratch);
    return ok;
}

static bool has_header(const struct mount_config *m, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (str_ieq(str_of(m->headers[i].name), str_of(name)))
            return true;
    return false;
}

static void drop_header(struct mount_config *m, size_t i)
{
    crypto_wipe(m->headers[i].value, strlen(m->headers[i].value));
    free(m->headers[i].value);
    free(m->headers[i].name);
    m->header_count--;
    memmove(&m->headers[i], &m->headers[i + 1], (m->header_count - i) * sizeof *m->headers);
}

static void check_headers(const struct option_reader *r, const struct yaml_node *node)
{
    struct mount_config *m = &((struct mount_draft *)r->base)->m;
    const struct yaml_node *map = yaml_get(node, "headers");
    for (size_t i = 0; i < m->header_count;) {
        const char *name = m->headers[i].name;
        const struct yaml_node *at = yaml_get(map, name);
        char path[96];
        (void)snprintf(path, sizeof path, "headers.%s", name);
        if (!is_field(name, m->headers[i].value)) {
            option_report(
                r, false, at, path,
                "is not a header: a name is letters, digits and '-', a value is one line");
        } else if (has_header(m, i, name)) {
            option_report(r, false, at, path, "is given twice");
        }
        if (is_own_header(name)) {
            option_report(r, true, at, path, "is written by the gateway itself; ignored");
            drop_header(m, i);
        } else {
            i++;
        }
    }
}

static const char *token_fault(const char *token, enum mount_auth type)
{
    if (!*token)
        return "is empty";
    if (type == MOUNT_AUTH_BEARER && strchr(token, ' '))
        return "holds a blank: write the token alone, without 'Bearer'";
    for (const char *z = token; *z; z++)
        if ((unsigned char)*z < ' ' || (unsigned char)*z >= 0x7f)
            return "holds a character that a header may not hold";
    return NULL;
}

/* The token of token or tokenEnv, without blanks around it. Returns owned, or NULL after a
 * report. */
static char *inline_token(const struct option_reader *r, const struct config_draft *d,
                          const struct yaml_node *auth)
{
    const struct mount_draft *m = r->base;
    const char *key = m->token_env ? "auth.tokenEnv" : "auth.token";
    const char *text = m->token_env ? option_getenv(d->environ, m->token_env) : m->token;
    const struct yaml_node *at = yaml_get(auth, key + strlen("auth."));
    auth = at ? at : auth;
    if (!text) {
        option_report(
            r, false, auth, key,
            "the variable %s is not set: tokenEnv is the name of a variable, not its value",
            config_shown_variable(m->token_env));
        return NULL;
    }
    struct str s = str_of(text);
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1]))
        s.n--;
    char *token = xmemdup0(s.p, s.n);
    const char *fault = token_fault(token, (enum mount_auth)m->auth);
    if (!fault)
        return token;
    if (m->token_env) {
        option_report(r, false, auth, key, "the variable %s %s",
                      config_shown_variable(m->token_env), fault);
    } else {
        option_report(r, false, auth, key, "%s", fault);
    }
    crypto_wipe(token, s.n);
    free(token);
    return NULL;
}

static void hint(struct mount_config *m, const char *key, const char *value)
{
    struct buf b = {0};
    buf_addf(&b, "%s%s%s", key, value ? " " : "", value ? value : "");
    m->bearer_hint = xmemdup0(b.p, b.n);
    buf_fini(&b);
}

static void bearer(const struct option_reader *r, const struct config_draft *d,
                   const struct yaml_node *auth)
{
    struct mount_draft *m = r->base;
    if (m->auth_header && !str_ieq(str_of(m->auth_header), STR("Authorization")))
        option_report(r, false, auth, "auth.header", "is only for type: header");
    if (has_header(&m->m, m->m.header_count, "Authorization"))
        option_report(r, false, auth, "headers.Authorization",
                      "is what auth writes: write only one of them");
    if (m->token_file && access(m->token_file, R_OK) != 0)
        option_report(r, false, auth, "auth.tokenFile", "'%.128s' does not exist or cannot be read",
                      m->token_file);
    if (m->token_file)
        m->m.bearer_token_file = xstrdup(m->token_file);
    else
        m->m.bearer_token = inline_token(r, d, auth);
    hint(&m->m,
         m->token_file  ? "tokenFile"
         : m->token_env ? "tokenEnv"
                        : "token",
         m->token_file ? m->token_file : m->token_env);
}

static void header(const struct option_reader *r, const struct config_draft *d,
                   const struct yaml_node *auth)
{
    struct mount_draft *m = r->base;
    struct mount_config *c = &m->m;
    if (!m->auth_header) {
        option_report(r, false, auth, "auth.header", "is missing: write header: X-API-Key");
        return;
    }
    if (!is_field(m->auth_header, "x") || is_own_header(m->auth_header)) {
        option_report(r, false, auth, "auth.header", "'%.64s' is not a header for credentials",
                      m->auth_header);
    } else if (has_header(c, c->header_count, m->auth_header)) {
        option_report(r, false, auth, "auth.header", "is in headers too: write only one of them");
    }
    if (m->token_file) {
        option_report(r, false, auth, "auth.tokenFile",
                      "is only for type: bearer: write valueEnv: NAME");
        return;
    }
    char *value = inline_token(r, d, auth);
    if (!value)
        return;
    c->headers = xrealloc(c->headers, (c->header_count + 1) * sizeof *c->headers);
    c->headers[c->header_count++] = (struct name_value){xstrdup(m->auth_header), value};
}

static void no_auth(const struct option_reader *r, const struct yaml_node *auth, bool credential)
{
    if (credential)
        option_report(r, false, auth, "auth.type",
                      "is none, but there is a token: write bearer or header");
}

void config_check_mount_auth(const struct option_reader *r, const struct config_draft *d,
                             const struct yaml_node *node)
{
    struct mount_draft *m = r->base;
    const struct yaml_node *auth = yaml_get(node, "auth");
    int sources = !!m->token + !!m->token_env + !!m->token_file;
    check_headers(r, node);
    if (m->auth == MOUNT_AUTH_UNSET) {
        m->auth = m->auth_header ? MOUNT_AUTH_HEADER
                  : sources      ? MOUNT_AUTH_BEARER
                                 : MOUNT_AUTH_NONE;
    }
    bool needs_source = m->auth == MOUNT_AUTH_BEARER || m->auth == MOUNT_AUTH_HEADER;
    if (needs_source && sources != 1) {
        option_report(r, false, auth, "auth",
                      sources ? "has more than one of token, tokenEnv and tokenFile"
                              : "has no token: write tokenEnv: NAME");
        return;
    }
    switch ((enum mount_auth)m->auth) {
    case MOUNT_AUTH_UNSET:
    case MOUNT_AUTH_NONE: no_auth(r, auth, sources > 0); break;
    case MOUNT_AUTH_BEARER: bearer(r, d, auth); break;
    case MOUNT_AUTH_HEADER: header(r, d, auth); break;
    case MOUNT_AUTH_PASSTHROUGH:
        option_report(r, false, auth, "auth.type",
                      "a client's token is never passed on: give the gateway one of its own, "
                      "auth: {type: bearer, tokenEnv: NAME}");
        break;
    case MOUNT_AUTH_OAUTH:
        option_report(r, false, auth, "auth.type",
                      "oauth-client is not available in this version: write bearer or header");
        break;
    }
}
