/* See config_parts.h: what one row cannot know. Addresses, path, origins, environment, and the
 * rules between options. */
#include "base/net.h"
#include "gateway/config_parts.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum { MAX_LISTEN = 16, LAME_DUCK_MS = 5000 };

#define DEFAULT_HOST "127.0.0.1"
#define DEFAULT_PORT "8000"

static void report(struct config_draft *d, const char *path, const char *what)
{
    config_report(d, false, path, "%s", what);
}

static void report_text(struct config_draft *d, const char *path, const char *text,
                        const char *what)
{
    config_report(d, false, path, "'%.64s' %s", text, what);
}

static void replace(char **z, const struct buf *text)
{
    free(*z);
    *z = xmemdup0(text->p, text->n);
}

static bool all_digits(const char *z)
{
    return *z && z[strspn(z, "0123456789")] == '\0';
}

/* Kubernetes sets MCP_PORT=tcp://10.0.0.1:8000 beside a service that is called "mcp". */
static bool is_service_link(const char *port)
{
    return strncmp(port, "tcp://", 6) == 0 || strncmp(port, "udp://", 6) == 0;
}

void config_merge_host_port(struct config_draft *d)
{
    const char *first = d->c.listen ? d->c.listen[0] : DEFAULT_HOST ":" DEFAULT_PORT;
    const char *colon = strrchr(first, ':'), *port = d->port, *host = d->host;
    uint64_t number;
    struct buf out = {0};
    if (port && is_service_link(port)) {
        config_report(d, true, "MCP_PORT",
                      "is the link that Kubernetes makes for a service called mcp, ignored; set "
                      "enableServiceLinks: false, or use --listen");
        port = NULL;
    }
    if (port && (!str_to_u64(str_of(port), &number) || number > 65535)) {
        report_text(d, "MCP_PORT", port, "is not a port: write a number from 0 to 65535");
        port = NULL;
    }
    if (!host && !port)
        return;
    bool bare = host && strchr(host, ':') && host[0] != '[';
    if (host)
        buf_addf(&out, "%s%s%s", bare ? "[" : "", host, bare ? "]" : "");
    else if (colon)
        buf_add(&out, first, (size_t)(colon - first));
    else
        buf_adds(&out, DEFAULT_HOST);
    buf_addf(&out, ":%s",
             port                ? port
             : colon             ? colon + 1
             : all_digits(first) ? first
                                 : DEFAULT_PORT);
    for (char **z = d->c.listen; z && *z; z++)
        free(*z);
    free(d->c.listen);
    d->c.listen = xcalloc(2, sizeof *d->c.listen);
    replace(&d->c.listen[0], &out);
    buf_fini(&out);
}

/* A port alone means the loopback address: what others can reach is always written out. */
static bool check_address(struct config_draft *d, const char *path, char **text, bool *loopback)
{
    struct net_addr a;
    struct err e;
    if (all_digits(*text)) {
        struct buf full = {0};
        buf_addf(&full, "%s:%s", DEFAULT_HOST, *text);
        replace(text, &full);
        buf_fini(&full);
    }
    if (!net_addr_parse(str_of(*text), &a, &e)) {
        report(d, path, e.msg);
        return false;
    }
    *loopback = net_addr_is_loopback(&a);
    return true;
}

/* Every port 0 is another port. */
static bool ends_in_port_zero(const char *address)
{
    size_t n = strlen(address);
    return n >= 2 && strcmp(address + n - 2, ":0") == 0;
}

/* Others cannot reach an address that stands for all of this host's. */
static void check_link(struct config_draft *d)
{
    struct net_addr a;
    struct err e;
    const char *listen = d->c.link_listen;
    if (!listen) {
        if (d->c.link_advertise)
            report(d, "replicaLink.advertise", "means nothing without replicaLink.listen");
        return;
    }
    if (!net_addr_parse(str_of(listen), &a, &e))
        report(d, "replicaLink.listen", e.msg);
    else if (!d->c.link_advertise && (str_starts(str_of(listen), STR("0.0.0.0:")) ||
                                      str_starts(str_of(listen), STR("[::]:"))))
        report(d, "replicaLink.advertise",
               "is needed: the others cannot reach this replica at an address of all interfaces");
}

static void check_listen(struct config_draft *d)
{
    bool all_loopback = true, loopback = false;
    size_t n = 0;
    for (char **z = d->c.listen; z && *z; z++, n++) {
        if (!check_address(d, "listen", z, &loopback))
            continue;
        all_loopback = all_loopback && loopback;
        for (char **y = d->c.listen; y < z; y++)
            if (!ends_in_port_zero(*z) && str_eq(str_of(*y), str_of(*z)))
                report_text(d, "listen", *z, "is given twice");
    }
    if (n == 0)
        report(d, "listen", "needs at least one address, as 127.0.0.1:8000");
    if (n > MAX_LISTEN)
        report(d, "listen", "holds too many addresses: at most 16");
    if (d->c.admin_listen)
        (void)check_address(d, "admin.listen", &d->c.admin_listen, &loopback);
    check_link(d);
    if (d->c.lame_duck_ms < 0)
        d->c.lame_duck_ms = all_loopback ? 0 : LAME_DUCK_MS;
}

static bool is_segment(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && !strchr("-._~", s.p[i]))
            return false;
    return s.n > 0 && !str_eq(s, STR(".")) && !str_eq(s, STR(".."));
}

/* Names that other routes have below the base path. */
static bool is_reserved(struct str last)
{
    static const char *const names[] = {"healthz", "livez",    "readyz", "startupz",   "metrics",
                                        "ui",      "api",      "debug",  "reload",     "drain",
                                        "sse",     "messages", "t",      ".well-known"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (str_eq(last, str_of(names[i])))
            return true;
    return false;
}

static const char *path_fault(const char *path, const char *own)
{
    struct str rest = str_of(path), last = {0};
    if (*path != '/')
        return "must begin with '/', as /mcp";
    rest = (struct str){rest.p + 1, rest.n - 1};
    if (rest.n == 0)
        return "needs a name after '/', as /mcp";
    if (path[strlen(path) - 1] == '/')
        return "must not end with '/'";
    while (str_split(&rest, '/', &last))
        if (!is_segment(last))
            return "may hold only letters, digits, '-', '.', '_', '~' and single '/'";
    return is_reserved(last) && !str_eq(last, str_of(own)) ? "is the path of another route" : NULL;
}

static void check_path(struct config_draft *d)
{
    const char *fault = path_fault(d->c.path, "mcp");
    if (fault)
        report_text(d, "path", d->c.path, fault);
    const char *slash = strrchr(d->c.path, '/');
    d->c.base_path = xmemdup0(d->c.path, slash ? (size_t)(slash - d->c.path) : 0);
}

static void check_sse_path(struct config_draft *d, const char *option, char **path, const char *own)
{
    if (!d->c.sse) {
        free(*path);
        *path = NULL;
        return;
    }
    if (!*path) {
        struct buf b = {0};
        buf_addf(&b, "%s/%s", d->c.base_path, own);
        *path = xmemdup0(b.p, b.n);
        buf_fini(&b);
    }
    const char *fault = path_fault(*path, own);
    if (fault)
        report_text(d, option, *path, fault);
    else if (strcmp(*path, d->c.path) == 0)
        report_text(d, option, *path, "is the value of path too");
}

static void check_sse(struct config_draft *d)
{
    check_sse_path(d, "ssePath", &d->c.sse_path, "sse");
    check_sse_path(d, "messagesPath", &d->c.messages_path, "messages");
    if (d->c.sse && strcmp(d->c.sse_path, d->c.messages_path) == 0)
        report_text(d, "messagesPath", d->c.messages_path, "is the value of ssePath too");
}

static void lower(char *z)
{
    for (; *z; z++)
        *z = (char)tolower((unsigned char)*z);
}

static const char *origin_fault(const char *z)
{
    const char *host = strstr(z, "://");
    if (strcmp(z, "*") == 0)
        return NULL;
    if (!host || host == z)
        return "is not an origin: write it with its scheme, as https://app.example.com";
    host += 3;
    size_t n = strlen(host);
    if (n && host[n - 1] == '/')
        return "must not end with '/'";
    if (n == 0 || strpbrk(host, "/?#@* ,\\"))
        return "is not an origin: write scheme://host or scheme://host:port, without path or '*'";
    return NULL;
}

static const char *host_fault(const char *z)
{
    if (strcmp(z, "*") == 0)
        return NULL;
    if (strstr(z, "://") || strpbrk(z, "/?#@"))
        return "is not a host: write it without scheme and path, as mcp.example.com";
    if (!*z || strpbrk(z, "* ,\\"))
        return "is not a host: write the whole name, or '*' alone for any";
    return NULL;
}

static void check_list(struct config_draft *d, const char *path, char **list,
                       const char *(*fault_of)(const char *))
{
    for (; list && *list; list++) {
        lower(*list);
        const char *fault = fault_of(*list);
        if (fault)
            report_text(d, path, *list, fault);
    }
}

static bool is_plain(const char *z)
{
    for (; *z; z++)
        if ((unsigned char)*z < ' ' || *z == 0x7f)
            return false;
    return true;
}

static void check_names(struct config_draft *d)
{
    if (d->c.separator[strspn(d->c.separator, "_-.")])
        report_text(d, "separator", d->c.separator, "may hold only '_', '-' and '.'");
    if (!is_plain(d->c.server_name))
        report(d, "serverName", "holds a control character");
    if (!is_plain(d->c.server_version))
        report(d, "serverVersion", "holds a control character");
}

static bool is_one_of(const char *z, const char *const *words)
{
    for (; *words; words++)
        if (strcasecmp(z, *words) == 0)
            return true;
    return false;
}

static void check_environment(struct config_draft *d)
{
    static const char *const production[] = {"prod", "production", "staging", NULL};
    d->c.production = d->environment && is_one_of(d->environment, production);
}

void config_check(struct config_draft *d)
{
    check_listen(d);
    check_path(d);
    check_sse(d);
    check_list(d, "cors.allowedOrigins", d->c.cors_origins, origin_fault);
    check_list(d, "allowedHosts", d->c.allowed_hosts, host_fault);
    check_names(d);
    check_environment(d);
    if (d->c.max_message_bytes > d->c.max_buffered_bytes ||
        d->c.max_body_bytes > d->c.max_buffered_bytes)
        report(d, "maxBufferedBytes", "must not be less than maxMessageBytes and maxBodyBytes");
    d->c.prefix_uris = d->uris == CONFIG_URIS_PREFIX;
    int fallback = d->c.production ? DUPLICATE_ERROR : DUPLICATE_WARN;
    d->c.on_duplicate = (enum duplicate_policy)(d->on_duplicate < 0 ? fallback : d->on_duplicate);
}

/* Variables of features that this version does not have; '*' stands for any rest. */
static const char *const later_variables[] = {
    "SOURCE_*",
};

static bool is_of_table(const struct option_table *t, struct str name)
{
    for (size_t i = 0; i < t->n; i++) {
        for (size_t k = 0; k < OPTION_MAX_ENVS && t->rows[i].env[k]; k++)
            if (str_eq(name, str_of(t->rows[i].env[k])))
                return true;
    }
    return config_is_rate_variable(name);
}

static bool is_known_variable(struct str name)
{
    return is_of_table(&config_table, name) || is_of_table(&issuer_table, name);
}

static bool is_later_variable(struct str name)
{
    for (size_t i = 0; i < sizeof later_variables / sizeof *later_variables; i++)
        if (str_glob(str_of(later_variables[i]), name))
            return true;
    return false;
}

static void check_spelling(struct config_draft *d, struct str name)
{
    const char *names[64];
    size_t n = 0;
    for (size_t i = 0; i < config_table.n; i++)
        for (size_t k = 0; k < OPTION_MAX_ENVS && config_table.rows[i].env[k] && n < 64; k++)
            names[n++] = config_table.rows[i].env[k];
    const char *meant = option_suggest(name, names, n);
    char where[64];
    (void)snprintf(where, sizeof where, "%.*s", (int)(name.n > 63 ? 63 : name.n), name.p);
    if (meant)
        config_report(d, true, where, "is not a known variable; did you mean %s?", meant);
}

void config_check_env(struct config_draft *d)
{
    struct buf later = {0};
    for (char *const *at = d->environ; at && *at; at++) {
        struct str rest = str_of(*at), name;
        if (!str_split(&rest, '=', &name) || rest.n == 0 || is_known_variable(name))
            continue;
        if (is_later_variable(name))
            buf_addf(&later, "%s%.*s", later.n ? ", " : "", STR_FMT(name));
        else if (str_starts(name, STR("MCP_")))
            check_spelling(d, name);
    }
    if (later.n)
        config_report(d, true, "environment variables",
                      "not available in this version, ignored: %.*s", STR_FMT(buf_str(&later)));
    buf_fini(&later);
}
