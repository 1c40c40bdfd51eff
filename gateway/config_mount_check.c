/* See config_parts.h: one upstream as a whole. Its name and namespace, what its transport needs,
 * its tools. */
#include "base/http1.h"
#include "gateway/config_parts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_NAME = 32, MAX_TAG = 64, HASH_ROOM = 12 };

static bool is_name_byte(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
}

/* Lower case; a run of other characters becomes one '-'; none at the ends. Returns owned, maybe
 * empty. */
static char *legal_name(const char *label)
{
    char name[MAX_NAME + 1];
    size_t n = 0;
    for (; *label && n < MAX_NAME; label++) {
        char c = (char)tolower((unsigned char)*label);
        if (is_name_byte(c) && (c != '-' || n))
            name[n++] = c;
        else if (n && name[n - 1] != '-')
            name[n++] = '-';
    }
    while (n && name[n - 1] == '-')
        n--;
    return xmemdup0(name, n);
}

static void check_name(const struct option_reader *r, const struct yaml_node *node)
{
    struct mount_draft *d = r->base;
    const char *label = d->label ? d->label : "";
    d->m.name = legal_name(label);
    if (!d->label)
        option_report(r, false, node, NULL, "needs a name: write name: files");
    else if (!*d->m.name) {
        option_report(r, false, node, NULL,
                      "needs a name with at least one letter or digit a-z, 0-9");
    } else if (strcmp(d->m.name, label) != 0) {
        option_report(r, true, node, NULL, "is called '%s': names are a-z, 0-9 and '-', at most %d",
                      d->m.name, (int)MAX_NAME);
    }
}

static bool is_prefix(const char *z)
{
    size_t n = strlen(z);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)z[i]) && ((z[i] != '-' && z[i] != '_') || i == 0 || i == n - 1))
            return false;
    return n <= MAX_NAME;
}

static void check_prefix(const struct option_reader *r, const struct config_draft *d,
                         const struct yaml_node *node)
{
    struct mount_config *m = &((struct mount_draft *)r->base)->m;
    const struct yaml_node *at = yaml_get(node, "namespace");
    if (!m->prefix)
        m->prefix = xstrdup(m->name);
    if (!is_prefix(m->prefix)) {
        option_report(r, false, at, "namespace",
                      "may hold only letters, digits, '-' and '_', the last two not at the ends");
    } else if (strlen(m->prefix) + strlen(d->c.separator) + HASH_ROOM > (size_t)d->c.max_name) {
        option_report(r, false, at ? at : node, "namespace",
                      "'%s' is too long for maxNameLength %d: write a shorter one", m->prefix,
                      d->c.max_name);
    }
}

static bool is_given(const struct yaml_node *map, const char *key)
{
    const struct yaml_node *n = yaml_get(map, key);
    return n && n->kind != YAML_NULL;
}

/* Fills transport from what is there, or says what is missing; false when that is not to be
 * known. */
static bool check_transport(const struct option_reader *r, const struct yaml_node *node)
{
    struct mount_draft *d = r->base;
    const struct yaml_node *at = yaml_get(node, "transport");
    at = at ? at : yaml_get(node, "type") ? yaml_get(node, "type") : node;
    bool url = is_given(node, "url"), command = is_given(node, "command");
    if (d->transport < 0 && url != command)
        d->transport = url ? MOUNT_HTTP : MOUNT_STDIO;
    d->m.transport = d->transport < 0 ? MOUNT_HTTP : (enum mount_transport)d->transport;
    if (url && command)
        option_report(r, false, node, NULL, "has both url and command: write only one of them");
    else if (!url && !command) {
        option_report(r, false, node, NULL, "needs url: https://… or command: …");
    } else if ((d->transport == MOUNT_STDIO) != command) {
        option_report(r, false, at, "transport", "is %s, but there is no %s",
                      command ? (d->transport == MOUNT_SSE ? "sse" : "http") : "stdio",
                      command ? "url" : "command");
    } else {
        return true;
    }
    return false;
}

/* Keys of the other transport would be without effect, and one of them may be meant to keep
 * something safe. */
static void refuse_keys(const struct option_reader *r, const struct yaml_node *node,
                        const char *const *keys, const char *with)
{
    for (; *keys; keys++) {
        if (is_given(node, *keys))
            option_report(r, r->lenient, yaml_get(node, *keys), *keys,
                          "is only for upstreams with %s%s", with, r->lenient ? "; ignored" : "");
    }
}

static void check_path(const struct option_reader *r, const struct yaml_node *node, const char *key,
                       const char *name, bool directory)
{
    struct stat st;
    const struct yaml_node *at = yaml_get(node, key);
    const char *shown = at ? at->shown : name;
    if (stat(name, &st) != 0 || access(name, R_OK) != 0)
        option_report(r, false, at, key, "'%.128s' does not exist or cannot be read", shown);
    else if (directory != S_ISDIR(st.st_mode))
        option_report(r, false, at, key, "'%.128s' is %s directory", shown,
                      directory ? "not a" : "a");
}

static void check_http(const struct option_reader *r, const struct yaml_node *node)
{
    static const char *const foreign[] = {"args", "env", "cwd", "envFile", NULL};
    struct mount_config *m = &((struct mount_draft *)r->base)->m;
    const struct yaml_node *at = yaml_get(node, "url");
    struct http1_url url;
    struct err e;
    refuse_keys(r, node, foreign, "command");
    if (!m->url)
        return;
    if (!http1_parse_url(str_of(m->url), &url, &e)) {
        option_report(r, false, at, "url", "%s%s", e.msg,
                      strchr(m->url, '@') ? ": write them as auth: {type: bearer, tokenEnv: NAME}"
                                          : "");
    }
    m->url_shown = xmemdup0(at->shown, strcspn(at->shown, "?"));
    if (m->ca_file)
        check_path(r, node, yaml_get(node, "caFile") ? "caFile" : "ca", m->ca_file, false);
    if (m->tls_insecure)
        option_report(r, true, yaml_get(node, "insecureSkipVerify"), "insecureSkipVerify",
                      "is on: anyone on the way can read and change what this upstream says");
}

static bool in_path(const char *path, const char *command)
{
    struct str rest = str_of(path), dir;
    char file[4096];
    while (str_split(&rest, ':', &dir)) {
        int n = snprintf(file, sizeof file, "%.*s/%s", STR_FMT(dir), command);
        if (n > 0 && (size_t)n < sizeof file && access(file, X_OK) == 0)
            return true;
    }
    return false;
}

static const char *mount_variable(const struct mount_config *m, const char *name)
{
    for (size_t i = 0; i < m->envs; i++)
        if (strcmp(m->env[i].name, name) == 0)
            return m->env[i].value;
    return NULL;
}

/* A warning only: it may be installed later, or in another container's image. */
static void check_command(const struct option_reader *r, const struct config_draft *d,
                          const struct yaml_node *node)
{
    const struct mount_config *m = &((const struct mount_draft *)r->base)->m;
    const struct yaml_node *at = yaml_get(node, "command");
    const char *path = mount_variable(m, "PATH");
    path = path ? path : option_getenv(d->environ, "PATH");
    path = path ? path : "/usr/local/bin:/usr/bin:/bin";
    bool relative = strchr(m->command, '/') && m->command[0] != '/';
    bool found =
        strchr(m->command, '/') ? access(m->command, X_OK) == 0 : in_path(path, m->command);
    if (!found && !(relative && m->cwd)) {
        option_report(r, true, at, "command", "'%.128s' is not found%s%s", at->shown,
                      strchr(m->command, '/') ? "" : " in PATH",
                      strchr(m->command, ' ') ? "; arguments belong in args: [a, b]" : "");
    }
}

static void check_stdio(const struct option_reader *r, const struct config_draft *d,
                        const struct yaml_node *node)
{
    static const char *const foreign[] = {"headers", "auth", "ca", "caFile", NULL};
    const struct mount_draft *draft = r->base;
    const struct mount_config *m = &draft->m;
    refuse_keys(r, node, foreign, "url");
    if (m->command)
        check_command(r, d, node);
    if (m->cwd)
        check_path(r, node, "cwd", m->cwd, true);
    if (draft->env_file) {
        option_report(
            r, false, yaml_get(node, "envFile"), "envFile",
            "is not read: write its variables as env: {NAME: value}, or ${NAME} for those "
            "of the gateway");
    }
    for (size_t i = 0; i < m->envs; i++) {
        if (!*m->env[i].name || strchr(m->env[i].name, '='))
            option_report(r, false, yaml_get(node, "env"), "env",
                          "'%.64s' is not a name of a variable", m->env[i].name);
    }
}

static bool is_visible(const char *z, size_t max)
{
    size_t n = strlen(z);
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)z[i] <= ' ' || z[i] == 0x7f)
            return false;
    return n > 0 && n <= max;
}

void config_check_globs(const struct option_reader *r, const struct yaml_node *node,
                        const char *path, char **globs)
{
    for (; globs && *globs; globs++) {
        if (!is_visible(*globs, 128) || strpbrk(*globs, "[]{}\\")) {
            option_report(
                r, false, node, path,
                "'%.64s' is not a pattern: only '*' (any run) and '?' (any one) are special",
                *globs);
        }
    }
}

static bool is_tool_name(const char *z, int max)
{
    size_t n = strlen(z);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)z[i]) && !strchr("_-.", z[i]))
            return false;
    return n > 0 && n <= (size_t)max;
}

static void check_tools(const struct option_reader *r, const struct config_draft *d,
                        const struct yaml_node *node)
{
    const struct mount_config *m = &((const struct mount_draft *)r->base)->m;
    const struct yaml_node *tools = yaml_get(node, "tools");
    config_check_globs(r, tools, "tools.allow", m->tools_allow);
    config_check_globs(r, tools, "tools.deny", m->tools_deny);
    for (size_t i = 0; i < m->renames; i++) {
        if (!*m->rename[i].name || !is_tool_name(m->rename[i].value, d->c.max_name)) {
            option_report(
                r, false, tools, "tools.rename",
                "'%.64s' is not a public name: letters, digits, '_', '-' and '.', at most %d",
                m->rename[i].value, d->c.max_name);
        }
    }
    for (char **tag = m->tags; tag && *tag; tag++) {
        if (!is_visible(*tag, MAX_TAG))
            option_report(r, false, yaml_get(node, "tags"), "tags",
                          "each tag must be a word without blanks, at most %d long", (int)MAX_TAG);
    }
}

/* How calls of stateless clients share its sessions. */
static void check_sessions(const struct option_reader *r, const struct yaml_node *node)
{
    struct mount_draft *d = r->base;
    struct str affinity = str_of(d->affinity ? d->affinity : "principal");
    struct str header = {affinity.p + 7, affinity.n - 7};
    if (str_eq(affinity, STR("request"))) {
        d->m.affinity = AFFINITY_REQUEST;
    } else if (str_starts(affinity, STR("header:")) && http1_is_token(header)) {
        d->m.affinity = AFFINITY_HEADER;
        d->m.affinity_header = xmemdup0(header.p, header.n);
    } else if (!str_eq(affinity, STR("principal"))) {
        option_report(r, false, yaml_get(node, "affinity"), "affinity",
                      "is principal, request, or header:<name>");
    }
    for (char **root = d->m.roots; root && *root; root++) {
        if (!str_starts(str_of(*root), STR("file://"))) {
            option_report(r, false, yaml_get(node, "roots"), "roots",
                          "'%.128s' is no file URI: write file:///srv/data", *root);
        }
    }
    d->m.superset_caps = d->caps;
    if (d->m.interactive && d->m.session == SESSION_SHARED) {
        option_report(r, false, yaml_get(node, "interactive"), "interactive",
                      "gives each client a session of its own: leave out session: shared");
    } else if (d->m.interactive) {
        d->m.session = SESSION_PER_CLIENT;
    }
}

void config_check_mount(const struct option_reader *r, const struct config_draft *d,
                        const struct yaml_node *node)
{
    struct mount_draft *draft = r->base;
    check_name(r, node);
    check_prefix(r, d, node);
    if (check_transport(r, node) && draft->m.transport != MOUNT_STDIO) {
        check_http(r, node);
        config_check_mount_auth(r, d, node);
    } else if (draft->m.transport == MOUNT_STDIO) {
        check_stdio(r, d, node);
    }
    check_tools(r, d, node);
    check_sessions(r, node);
    int uris = draft->uris == CONFIG_URIS_UNSET ? d->uris : draft->uris;
    draft->m.prefix_uris = uris == CONFIG_URIS_PREFIX;
}
