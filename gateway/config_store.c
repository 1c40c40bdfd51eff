/* See config_parts.h: where replicas share their state. */
#include "gateway/config_parts.h"

#include <unistd.h>

static void check_file(struct config_draft *d, const char *path, const char *file)
{
    if (file && access(file, R_OK) != 0)
        config_report(d, false, path, "'%.128s' does not exist or cannot be read", file);
}

static void check_password(struct config_draft *d)
{
    struct config *c = &d->c;
    int ways = !!c->store_password + !!d->store_password_env + !!c->store_password_file;
    if (ways > 1)
        config_report(d, false, "storePassword",
                      "write only one of storePassword, storePasswordEnv and storePasswordFile");
    if (ways && c->store.password)
        config_report(d, false, "store", "holds a password, and there is another: write one");
    check_file(d, "storePasswordFile", c->store_password_file);
    if (!d->store_password_env || ways > 1)
        return;
    const char *value = option_getenv(d->environ, d->store_password_env);
    if (value)
        c->store_password = xstrdup(value);
    else
        config_report(d, false, "storePasswordEnv", "the variable %s is not set",
                      config_shown_variable(d->store_password_env));
}

static void check_tls(struct config_draft *d)
{
    const struct config *c = &d->c;
    if (!c->store.tls && (c->store_ca || c->store_cert || c->store_key)) {
        config_report(d, false,
                      c->store_ca     ? "storeCa"
                      : c->store_cert ? "storeCert"
                                      : "storeKey",
                      "needs a store with TLS: write rediss:// or rediss+sentinel://");
    }
    if (!c->store_cert != !c->store_key)
        config_report(d, false, c->store_cert ? "storeKey" : "storeCert",
                      "is missing: a certificate and its key go together");
    check_file(d, "storeCa", c->store_ca);
    check_file(d, "storeCert", c->store_cert);
    check_file(d, "storeKey", c->store_key);
}

void config_check_store(struct config_draft *d)
{
    struct config *c = &d->c;
    struct err e;
    if (!store_url_parse(str_of(d->store_text), &c->store, &e)) {
        config_report(d, false, "store", "%s", e.msg);
        return;
    }
    if (c->store_prefix[strspn(c->store_prefix,
                               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                               "0123456789._-")])
        config_report(d, false, "storePrefix",
                      "'%.64s' may hold only letters, digits, '.', '_' and '-'", c->store_prefix);
    if (c->store.kind != STORE_IN_MEMORY && c->seal_keys_generated) {
        config_report(d, false, "sealKeys",
                      "are missing: what is kept in Redis is signed with them, and all replicas "
                      "need the same; make one with: openssl rand -base64 32");
    }
    check_password(d);
    check_tls(d);
}
