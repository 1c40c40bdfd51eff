/* Fuzzes the URL of the store. What is understood is written and understood again as the same, and
 * neither the writing nor a message shows the password. */
#include "store/store.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

static void check(const struct store_url *u)
{
    struct store_url again = {0};
    struct buf text = {0};
    struct err e;
    store_url_format(u, &text);
    if (!store_url_parse(buf_str(&text), &again, &e))
        abort();
    assert(again.kind == u->kind && again.tls == u->tls && again.db == u->db);
    assert(same(again.user, u->user) && same(again.master, u->master) && !again.password);
    assert(again.host_count == u->host_count);
    for (size_t i = 0; i < u->host_count; i++)
        assert(same(again.hosts[i].host, u->hosts[i].host) &&
               again.hosts[i].port == u->hosts[i].port && u->hosts[i].port);
    assert((u->kind == STORE_IN_MEMORY) == (u->host_count == 0));
    assert((u->kind == STORE_IN_SENTINEL) == (u->master != NULL));
    buf_fini(&text);
    store_url_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store_url u = {0};
    struct err e = {0};
    if (store_url_parse((struct str){(const char *)data, size}, &u, &e))
        check(&u);
    else
        assert(e.kind == ERR_CONFIG && *e.msg);
    store_url_fini(&u);
    return 0;
}
