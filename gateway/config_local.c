/* See config_parts.h: the local provider. */
#include "gateway/config_parts.h"
#include "local/sandbox.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_MS = 24 * 3600 * 1000 };

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Where the images of old had their files. */
static const char default_inline[] = "/app/inline", default_workspace[] = "/app/workspace";

/* MCP_MODE=server means local tools, wherever they usually are. */
static void find_defaults(struct config_draft *d)
{
    struct local_config *l = &d->c.local;
    if (d->mode != CONFIG_MODE_SERVER || l->folders || l->workspace)
        return;
    if (is_folder(default_inline)) {
        l->folders = xcalloc(2, sizeof *l->folders);
        l->folders[0] = xstrdup(default_inline);
    }
    if (is_folder(default_workspace))
        l->workspace = xstrdup(default_workspace);
}

static void check_folders(struct config_draft *d)
{
    const char *from_env = option_getenv(d->environ, "SOURCE_INLINE_DIR");
    for (char **f = d->c.local.folders; f && *f; f++) {
        if (is_folder(*f))
            continue;
        bool volume = from_env && strcmp(from_env, *f) == 0; /* it may be mounted later */
        config_report(d, volume, "local.inline", "'%.128s' is not a folder", *f);
    }
}

static void check_sandbox(struct config_draft *d)
{
    const struct local_config *l = &d->c.local;
    uint64_t port;
    size_t n = 0;
    for (char **p = l->ports; p && *p; p++)
        if (!str_to_u64(str_of(*p), &port) || port == 0 || port > 65535)
            config_report(d, false, "sandbox.ports", "'%.32s' is not a port", *p);
    for (char **p = l->read; p && *p; p++, n++)
        if (access(*p, F_OK) < 0)
            config_report(d, true, "sandbox.read", "'%.128s' is not there", *p);
    for (char **p = l->write; p && *p; p++, n++)
        if (access(*p, F_OK) < 0)
            config_report(d, true, "sandbox.write", "'%.128s' is not there", *p);
    if (n > SANDBOX_MAX_PATHS / 2)
        config_report(d, false, "sandbox", "names too many paths: at most %d",
                      SANDBOX_MAX_PATHS / 2);
}

/* "a>=1,<2,b" is a>=1,<2 and b: what begins a package is no operator. Joined to the list. */
static void add_extra_packages(struct config_draft *d)
{
    struct local_config *l = &d->c.local;
    struct str rest = str_of(d->extra_packages), part;
    size_t n = 0;
    while (l->packages && l->packages[n])
        n++;
    while (str_split(&rest, ',', &part)) {
        part = str_trim(part);
        if (part.n == 0)
            continue;
        if (n && strchr("<>=!~", part.p[0])) {
            struct buf joined = {0};
            buf_addf(&joined, "%s,%.*s", l->packages[n - 1], STR_FMT(part));
            buf_addc(&joined, '\0');
            free(l->packages[n - 1]);
            l->packages[n - 1] = joined.p;
            continue;
        }
        l->packages = xrealloc(l->packages, (n + 2) * sizeof *l->packages);
        l->packages[n++] = xmemdup0(part.p, part.n);
        l->packages[n] = NULL;
    }
}

/* What begins with '-' would be an option of pip. */
static void check_packages(struct config_draft *d)
{
    for (char **p = d->c.local.packages; p && *p; p++)
        if (**p == '-' || !**p)
            config_report(d, false, "local.packages", "'%.64s' is not a package", *p);
}

void config_check_local(struct config_draft *d)
{
    struct local_config *l = &d->c.local;
    find_defaults(d);
    l->enabled = l->folders || l->workspace;
    if (l->strict < 0)
        l->strict = d->c.production;
    if (l->mask_errors < 0)
        l->mask_errors = d->c.production;
    if (l->workers == 0)
        l->workers = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (!l->prefix)
        l->prefix = xstrdup("");
    if (!l->enabled)
        return;
    if (d->extra_packages)
        add_extra_packages(d);
    check_packages(d);
    check_folders(d);
    check_sandbox(d);
}

void config_local_mount(const struct config *c, struct mount_config *m)
{
    m->name = xstrdup("local");
    free(m->prefix);
    m->prefix = xstrdup(c->local.prefix);
    m->transport = MOUNT_LOCAL;
    m->local = true;
    m->era = ERA_PIN_LEGACY;
    m->session = SESSION_SHARED;
    m->superset_caps = true; /* who can be asked is known call by call */
    /* What ends a call is its tool's own time, or local.timeout (upstream_local.c). */
    m->first_byte_ms = m->idle_ms = m->max_ms = MAX_MS;
    m->prefix_uris = c->prefix_uris;
}
