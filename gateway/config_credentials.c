/* See config_parts.h: what tenants have of their own for upstreams. */
#include "base/crypto.h"
#include "gateway/config_parts.h"

#include <stdio.h>
#include <stdlib.h>

static void credential_fini(struct mount_credential *c)
{
    if (c->bearer_token)
        crypto_wipe(c->bearer_token, strlen(c->bearer_token));
    free(c->bearer_token);
    free(c->bearer_token_file);
    free(c->tenant);
    for (size_t i = 0; i < c->header_count; i++) {
        crypto_wipe(c->headers[i].value, strlen(c->headers[i].value));
        free(c->headers[i].value);
        free(c->headers[i].name);
    }
    free(c->headers);
}

void config_credentials_fini(struct mount_config *m)
{
    for (size_t i = 0; i < m->credential_count; i++)
        credential_fini(&m->credentials[i]);
    free(m->credentials);
}

static int by_tenant(const void *a, const void *b)
{
    const struct mount_credential *x = a, *y = b;
    return strcmp(x->tenant, y->tenant);
}

static int is_of(const void *tenant, const void *c)
{
    return strcmp(tenant, ((const struct mount_credential *)c)->tenant);
}

const struct mount_credential *mount_credential_of(const struct mount_config *m, const char *tenant)
{
    if (m->credential_count == 0)
        return NULL;
    return bsearch(tenant, m->credentials, m->credential_count, sizeof *m->credentials, is_of);
}

static struct mount_config *find_mount(struct config *c, const char *name)
{
    for (size_t i = 0; i < c->mount_count; i++)
        if (strcmp(c->mounts[i].name, name) == 0)
            return &c->mounts[i];
    return NULL;
}

static bool check_keys(const struct option_reader *r, const struct yaml_node *n)
{
    if (n->kind != YAML_MAP) {
        option_report(r, false, n, NULL, "is %s, but must be a map of auth and headers",
                      yaml_kind_name(n->kind));
        return false;
    }
    for (const struct yaml_node *k = n->first; k; k = k->next) {
        if (strcmp(k->key, "auth") != 0 && strcmp(k->key, "headers") != 0) {
            option_report(r, false, k, k->key, "is not a tenant's to say: only auth and headers");
            return false;
        }
    }
    return true;
}

/* Its auth and headers are read as those of a mount are. */
static void read_credential(struct option_reader *r, const struct config_draft *d,
                            struct mount_config *m, const char *tenant, const struct yaml_node *n)
{
    struct mount_draft draft = {.auth = MOUNT_AUTH_UNSET};
    r->base = &draft;
    options_read_tree(r, n);
    config_check_mount_auth(r, d, n);
    options_fini(&mount_table, &draft, OPT_INPUT);
    m->credentials = xrealloc(m->credentials, (m->credential_count + 1) * sizeof *m->credentials);
    m->credentials[m->credential_count++] = (struct mount_credential){
        .tenant = xstrdup(tenant),
        .bearer_token = draft.m.bearer_token,
        .bearer_token_file = draft.m.bearer_token_file,
        .headers = draft.m.headers,
        .header_count = draft.m.header_count,
    };
    free(draft.m.bearer_hint);
}

static void read_tenant(struct option_reader r, struct config_draft *d,
                        const struct yaml_node *tenant)
{
    const struct yaml_node *map = yaml_get(tenant, "upstreams");
    char path[224];
    if (!map || map->kind != YAML_MAP)
        return;
    for (const struct yaml_node *n = map->first; n; n = n->next) {
        struct mount_config *m = find_mount(&d->c, n->key);
        (void)snprintf(path, sizeof path, "tenants.%.64s.upstreams.%.128s", tenant->key, n->key);
        r.path = path;
        if (!m) {
            option_report(&r, false, n, NULL, "is no upstream");
        } else if (n->kind != YAML_NULL && n->count > 0 && check_keys(&r, n)) {
            if (mount_is_http(m))
                read_credential(&r, d, m, tenant->key, n);
            else
                option_report(&r, false, n, NULL, "is not spoken to over HTTP: it has no auth");
        }
    }
}

void config_read_credentials(struct config_draft *d, struct yaml_doc *doc)
{
    const struct yaml_node *map = yaml_get(doc->root, "tenants");
    struct option_reader r = config_plain_reader(d);
    r.file = d->c.source;
    r.lines = true;
    r.table = &mount_table;
    r.origins = NULL;
    for (const struct yaml_node *n = map && map->kind == YAML_MAP ? map->first : NULL; n;
         n = n->next)
        read_tenant(r, d, n);
    for (size_t i = 0; i < d->c.mount_count; i++) {
        struct mount_config *m = &d->c.mounts[i];
        if (m->credential_count)
            qsort(m->credentials, m->credential_count, sizeof *m->credentials, by_tenant);
    }
}
