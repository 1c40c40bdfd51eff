/* The catalog: what is rendered, who owns a name, what a name leads to, and the merged view. */
#include "gateway/catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { MAX_MOUNTS = 4 };

/* A configuration, what its mounts sent, and the catalog of it. */
struct world {
    struct config cfg;
    struct mount_config mounts[MAX_MOUNTS];
    struct mount_info infos[MAX_MOUNTS];
    struct raw_list lists[MAX_MOUNTS * KINDS];
    struct catalog *c;
    struct arena arena;
};

#define TEXT(lit) ((char[]){lit})

static void assert_str(struct str got, const char *want)
{
    if (!str_eq(got, str_of(want)))
        fail_msg("got  \"%.*s\"\nwant \"%s\"", STR_FMT(got), want);
}

/* n mounts of these names and prefixes, all of them up. */
static struct world *world_new(size_t n, char *const *names, char *const *prefixes)
{
    struct world *w = xcalloc(1, sizeof *w);
    w->cfg = (struct config){.refs = 1, .separator = "_", .max_name = 64, .mount_count = n};
    w->cfg.mounts = w->mounts;
    for (size_t i = 0; i < n; i++) {
        w->mounts[i].name = arena_dup(&w->arena, names[i], strlen(names[i]));
        w->mounts[i].prefix = arena_dup(&w->arena, prefixes[i], strlen(prefixes[i]));
        w->infos[i].state = MOUNT_UP;
    }
    return w;
}

#define WORLD(n, ...) world_new(n, (char *[]){__VA_ARGS__}, (char *[]){__VA_ARGS__})
#define PLAIN_WORLD(n, ...)                                                                        \
    world_new(n, (char *[]){__VA_ARGS__}, (char *[]){TEXT(""), TEXT(""), TEXT("")})

static void send_raw(struct world *w, int mount, enum catalog_kind kind, const char *text)
{
    struct raw_list *l = &w->lists[mount * KINDS + (int)kind];
    l->off = xrealloc(l->off, (l->n + 2) * sizeof *l->off);
    l->off[0] = 0;
    buf_adds(&l->text, text);
    l->off[++l->n] = (uint32_t)l->text.n;
}

static void send_named(struct world *w, int mount, enum catalog_kind kind, const char *name)
{
    static const char *const member[] = {"name", "name", "uri", "uriTemplate"};
    struct buf b = {0};
    buf_addf(&b, "{\"%s\":", member[kind]);
    json_write_str(&b, str_of(name));
    buf_add(&b, "}", 2);
    send_raw(w, mount, kind, b.p);
    buf_fini(&b);
}

/* Forgets what a mount sent, as before it was first up. */
static void forget(struct world *w, int mount)
{
    for (int k = 0; k < KINDS; k++) {
        struct raw_list *l = &w->lists[mount * KINDS + k];
        buf_fini(&l->text);
        free(l->off);
        *l = (struct raw_list){0};
    }
}

static void build(struct world *w)
{
    catalog_unref(&w->c);
    w->c = catalog_build(&w->cfg, w->lists, w->infos);
}

static void world_free(struct world *w)
{
    catalog_unref(&w->c);
    assert_null(w->c);
    assert_int_equal(w->cfg.refs, 1);
    for (int m = 0; m < MAX_MOUNTS; m++)
        forget(w, m);
    arena_fini(&w->arena);
    free(w);
}

/* The public names of a kind, each followed by a space. */
static void assert_names(struct world *w, enum catalog_kind kind, const char *want)
{
    struct buf b = {0};
    const struct catalog_list *l = &w->c->list[kind];
    for (uint32_t i = 0; i < l->n; i++) {
        assert_int_equal(l->entries[i].index, i);
        assert_ptr_equal(map_get(&l->by_public, l->entries[i].public_name), &l->entries[i]);
        buf_add_str(&b, l->entries[i].public_name);
        buf_addc(&b, ' ');
    }
    assert_str(buf_str(&b), want);
    buf_fini(&b);
}

static void assert_leads(struct world *w, enum method_route route, const char *name, int mount,
                         const char *upstream, bool is_listed)
{
    struct target t;
    if (!catalog_resolve(w->c, route, str_of(name), &w->arena, &t))
        fail_msg("\"%s\" leads nowhere", name);
    assert_int_equal(t.mount, mount);
    assert_str(t.name, upstream);
    assert_int_equal(t.entry != NULL, is_listed);
}

static void assert_nowhere(struct world *w, enum method_route route, const char *name)
{
    struct target t;
    if (catalog_resolve(w->c, route, str_of(name), &w->arena, &t))
        fail_msg("\"%s\" leads to mount %d", name, t.mount);
    assert_null(t.entry);
}

/* ---- what local tools say of themselves ---- */

#define OWN                                                                                        \
    "{\"tags\":[\"a\",7,\"b\"],\"requiredScopes\":[\"s\"],\"rateLimit\":\"5/"                      \
    "min\",\"cacheTtl\":1.5}"

static void a_local_tools_traits_are_read_and_shown_to_nobody(void **state)
{
    (void)state;
    struct world *w = PLAIN_WORLD(1, TEXT("m"));
    w->mounts[0].local = true;
    send_raw(w, 0, KIND_TOOLS,
             "{\"name\":\"x\",\"_meta\":{\"dev.headgate/tool\":" OWN ",\"k\":1}}");
    send_raw(w, 0, KIND_TOOLS, "{\"_meta\":{\"dev.headgate/tool\":" OWN "},\"name\":\"y\"}");
    send_raw(w, 0, KIND_TOOLS, "{\"name\":\"z\",\"_meta\":{\"k\":1}}");
    build(w);
    assert_str(buf_str(&w->c->list[KIND_TOOLS].text[0]),
               "{\"name\":\"x\",\"_meta\":{\"k\":1}},{\"name\":\"y\"},"
               "{\"name\":\"z\",\"_meta\":{\"k\":1}}");
    const struct catalog_entry *e = w->c->list[KIND_TOOLS].entries;
    assert_string_equal(e[0].traits.tags[0], "a");
    assert_string_equal(e[0].traits.tags[1], "b");
    assert_null(e[0].traits.tags[2]);
    assert_string_equal(e[0].traits.scopes[0], "s");
    assert_int_equal(e[0].traits.rate.limit, 5);
    assert_int_equal(e[0].traits.rate.window_ms, 60000);
    assert_int_equal(e[0].traits.cache_ttl_ms, 1500);
    assert_int_equal(e[1].traits.rate.limit, 5);
    assert_null(e[2].traits.tags);
    assert_false(rate_is_set(e[2].traits.rate));
    world_free(w);
}

static void malformed_traits_are_passed_over(void **state)
{
    (void)state;
    static const char *const own[] = {
        "{\"rateLimit\":\"often\",\"cacheTtl\":-1,\"tags\":\"a\",\"requiredScopes\":[]}",
        "{\"rateLimit\":5,\"cacheTtl\":\"1\",\"tags\":null}", "[]", "1", "{}"};
    struct world *w = PLAIN_WORLD(1, TEXT("m"));
    w->mounts[0].local = true;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        struct buf b = {0};
        buf_addf(&b, "{\"name\":\"t%zu\",\"_meta\":{\"dev.headgate/tool\":%s}}", i, own[i]);
        buf_addc(&b, '\0');
        send_raw(w, 0, KIND_TOOLS, b.p);
        buf_fini(&b);
    }
    build(w);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++) {
        const struct traits *t = &w->c->list[KIND_TOOLS].entries[i].traits;
        assert_false(rate_is_set(t->rate));
        assert_int_equal(t->cache_ttl_ms, 0);
        assert_null(t->tags);
        assert_null(t->scopes);
    }
    world_free(w);
}

static void traits_are_believed_of_local_mounts_only(void **state)
{
    (void)state;
    struct world *w = PLAIN_WORLD(1, TEXT("m"));
    send_raw(w, 0, KIND_TOOLS, "{\"name\":\"x\",\"_meta\":{\"dev.headgate/tool\":" OWN "}}");
    build(w);
    const struct catalog_list *l = &w->c->list[KIND_TOOLS];
    assert_str(buf_str(&l->text[0]), "{\"name\":\"x\",\"_meta\":{\"dev.headgate/tool\":" OWN "}}");
    assert_null(l->entries[0].traits.tags);
    assert_false(rate_is_set(l->entries[0].traits.rate));
    world_free(w);
}

/* ---- lists ---- */

static void entries_keep_every_byte_but_their_name(void **state)
{
    (void)state;
    struct world *w = WORLD(1, TEXT("m"));
    send_raw(w, 0, KIND_TOOLS,
             "{ \"x\" : 1.50e1, \"name\":\"a\\u0062\" ,\"execution\":{\"a\":[1]},\"z\":\"\\/\"}");
    send_raw(w, 0, KIND_PROMPTS, "{\"name\":\"p\",\"execution\":1}");
    build(w);
    assert_str(buf_str(&w->c->list[KIND_TOOLS].text[0]),
               "{ \"x\" : 1.50e1, \"name\":\"m_ab\" ,\"z\":\"\\/\"}");
    assert_str(buf_str(&w->c->list[KIND_PROMPTS].text[0]), "{\"name\":\"m_p\",\"execution\":1}");
    assert_int_equal(w->c->list[KIND_TOOLS].text[1].n, 0);
    assert_str(w->c->list[KIND_TOOLS].entries[0].name, "ab");
    world_free(w);
    w = PLAIN_WORLD(1, TEXT("m"));
    send_raw(w, 0, KIND_TOOLS, " {\"name\":\"\\u0061\"} ");
    build(w);
    assert_str(buf_str(&w->c->list[KIND_TOOLS].text[0]), "{\"name\":\"\\u0061\"}");
    world_free(w);
}

static void what_is_no_definition_is_left_out(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[]",
        "1",
        "{",
        "",
        "{}",
        "{\"name\":1}",
        "{\"name\":\"\"}",
        "{\"name\":\"a\\u0000b\"}",
        "{\"name\":\"a\",\"name\":\"b\"}",
        "{\"uri\":\"a\"}",
    };
    struct world *w = WORLD(1, TEXT("m"));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        send_raw(w, 0, KIND_TOOLS, bad[i]);
    send_named(w, 0, KIND_TOOLS, "good");
    send_raw(w, 0, KIND_TOOLS, "{\"name\":\"good\",\"again\":1}");
    build(w);
    assert_names(w, KIND_TOOLS, "m_good ");
    assert_str(buf_str(&w->c->list[KIND_TOOLS].text[0]), "{\"name\":\"m_good\"}");
    assert_int_equal(w->c->mounts[0].count[KIND_TOOLS], 1);
    world_free(w);
}

static void lists_are_in_mount_order_then_upstream_order(void **state)
{
    (void)state;
    struct world *w = WORLD(2, TEXT("z"), TEXT("a"));
    static const char *const names[] = {"2", "1"};
    for (int m = 1; m >= 0; m--)
        for (int i = 0; i < 2; i++)
            send_named(w, m, KIND_PROMPTS, names[i]);
    build(w);
    assert_names(w, KIND_PROMPTS, "z_2 z_1 a_2 a_1 ");
    assert_int_equal(w->c->mounts[1].count[KIND_PROMPTS], 2);
    assert_int_equal(w->c->mounts[1].count[KIND_TOOLS], 0);
    world_free(w);
}

static void legacy_clients_see_object_schemas_only(void **state)
{
    (void)state;
    struct world *w = WORLD(1, TEXT("m"));
    send_raw(w, 0, KIND_TOOLS, "{\"name\":\"a\",\"outputSchema\":{\"type\":\"object\"}}");
    build(w);
    assert_int_equal(w->c->list[KIND_TOOLS].text[1].n, 0);
    assert_str(catalog_page(w->c, KIND_TOOLS, true, 0, 9),
               "{\"name\":\"m_a\",\"outputSchema\":{\"type\":\"object\"}}");
    send_raw(w, 0, KIND_TOOLS, "{\"name\":\"b\",\"outputSchema\":{\"type\":\"array\"}}");
    send_raw(w, 0, KIND_TOOLS, "{\"outputSchema\":true,\"name\":\"c\"}");
    send_named(w, 0, KIND_TOOLS, "d");
    build(w);
    assert_str(catalog_page(w->c, KIND_TOOLS, true, 0, 9),
               "{\"name\":\"m_a\",\"outputSchema\":{\"type\":\"object\"}},"
               "{\"name\":\"m_b\"},{\"name\":\"m_c\"},{\"name\":\"m_d\"}");
    assert_str(catalog_page(w->c, KIND_TOOLS, true, 2, 1), "{\"name\":\"m_c\"}");
    assert_str(catalog_page(w->c, KIND_TOOLS, false, 1, 2),
               "{\"name\":\"m_b\",\"outputSchema\":{\"type\":\"array\"}},"
               "{\"outputSchema\":true,\"name\":\"m_c\"}");
    world_free(w);
}

static void a_page_is_a_slice(void **state)
{
    (void)state;
    struct world *w = PLAIN_WORLD(1, TEXT("m"));
    build(w);
    assert_str(catalog_page(w->c, KIND_TOOLS, false, 0, 10), "");
    static const char *const names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++)
        send_named(w, 0, KIND_TOOLS, names[i]);
    build(w);
    assert_str(catalog_page(w->c, KIND_TOOLS, false, 0, 1), "{\"name\":\"a\"}");
    assert_str(catalog_page(w->c, KIND_TOOLS, true, 1, 2), "{\"name\":\"b\"},{\"name\":\"c\"}");
    assert_str(catalog_page(w->c, KIND_TOOLS, false, 2, UINT32_MAX), "{\"name\":\"c\"}");
    assert_str(catalog_page(w->c, KIND_TOOLS, false, 3, 1), "");
    assert_str(catalog_page(w->c, KIND_TOOLS, false, 0, 0), "");
    world_free(w);
}

static void snapshots_are_the_same_when_their_texts_are(void **state)
{
    (void)state;
    struct world *w = WORLD(1, TEXT("m"));
    send_named(w, 0, KIND_TOOLS, "a");
    build(w);
    struct catalog *before = catalog_ref(w->c);
    build(w);
    assert_true(catalog_same(before, w->c, KIND_TOOLS));
    assert_memory_equal(before->list[KIND_TOOLS].entries[0].fingerprint,
                        w->c->list[KIND_TOOLS].entries[0].fingerprint, 16);
    send_named(w, 0, KIND_TOOLS, "b");
    build(w);
    assert_false(catalog_same(before, w->c, KIND_TOOLS));
    assert_true(catalog_same(before, w->c, KIND_PROMPTS));
    catalog_unref(&before);
    world_free(w);
}

/* ---- collisions ---- */

/* Two mounts without prefix, and one of them offers what both have. */
static struct world *colliding(enum duplicate_policy policy)
{
    struct world *w = PLAIN_WORLD(2, TEXT("a"), TEXT("b"));
    w->cfg.on_duplicate = policy;
    send_named(w, 0, KIND_TOOLS, "same");
    send_named(w, 0, KIND_TOOLS, "first");
    send_named(w, 1, KIND_TOOLS, "same");
    send_named(w, 1, KIND_TOOLS, "second");
    build(w);
    return w;
}

static void plain_names_collide_as_the_operator_wants(void **state)
{
    (void)state;
    struct world *w = colliding(DUPLICATE_WARN);
    assert_names(w, KIND_TOOLS, "same first same_dda2b3a8 second ");
    assert_leads(w, ROUTE_TOOL, "same", 0, "same", true);
    assert_leads(w, ROUTE_TOOL, "same_dda2b3a8", 1, "same", true);
    world_free(w);
    static const enum duplicate_policy drops[] = {DUPLICATE_ERROR, DUPLICATE_IGNORE};
    for (int i = 0; i < 2; i++) {
        w = colliding(drops[i]);
        assert_names(w, KIND_TOOLS, "same first second ");
        assert_leads(w, ROUTE_TOOL, "same", 0, "same", true);
        assert_int_equal(w->c->mounts[1].count[KIND_TOOLS], 1);
        world_free(w);
    }
    w = colliding(DUPLICATE_REPLACE);
    assert_names(w, KIND_TOOLS, "first same second ");
    assert_leads(w, ROUTE_TOOL, "same", 1, "same", true);
    world_free(w);
}

static void a_prefix_is_its_mounts_own(void **state)
{
    (void)state;
    for (int policy = DUPLICATE_WARN; policy <= DUPLICATE_REPLACE; policy++) {
        struct world *w = WORLD(2, TEXT("plain"), TEXT("a"));
        w->mounts[0].prefix = TEXT("");
        w->cfg.on_duplicate = (enum duplicate_policy)policy;
        send_named(w, 0, KIND_TOOLS, "a_b");
        send_named(w, 1, KIND_TOOLS, "b");
        build(w);
        assert_leads(w, ROUTE_TOOL, "a_b", 1, "b", true);
        world_free(w);
    }
}

static void a_renamed_tool_takes_its_name(void **state)
{
    (void)state;
    struct name_value rename[] = {{TEXT("x"), TEXT("a_b")}};
    struct world *w = WORLD(2, TEXT("a"), TEXT("c"));
    w->mounts[1].rename = rename;
    w->mounts[1].renames = 1;
    send_named(w, 0, KIND_TOOLS, "b");
    send_named(w, 1, KIND_TOOLS, "x");
    build(w);
    assert_names(w, KIND_TOOLS, "a_b_59b271ae a_b ");
    assert_leads(w, ROUTE_TOOL, "a_b", 1, "x", true);
    assert_leads(w, ROUTE_TOOL, "a_b_59b271ae", 0, "b", true);
    world_free(w);
}

/* Whatever happens to mounts, in whatever order: what is listed again has the name it had. */
static void flapping_mounts_rename_nothing(void **state)
{
    (void)state;
    static const enum mount_state states[] = {MOUNT_UP, MOUNT_STALE, MOUNT_DOWN, MOUNT_CONNECTING,
                                              MOUNT_NEEDS_AUTH};
    struct world *w = colliding(DUPLICATE_WARN);
    struct catalog *first = catalog_ref(w->c);
    for (int i = 0; i < 25; i++) {
        w->infos[0].state = states[i % 5];
        w->infos[1].state = states[i / 5];
        build(w);
        assert_true(catalog_same(first, w->c, KIND_TOOLS));
    }
    forget(w, 0);
    build(w);
    assert_names(w, KIND_TOOLS, "same second ");
    send_named(w, 0, KIND_TOOLS, "same");
    send_named(w, 0, KIND_TOOLS, "first");
    build(w);
    assert_true(catalog_same(first, w->c, KIND_TOOLS));
    catalog_unref(&first);
    world_free(w);
}

static void a_shared_uri_is_prefixed_for_the_later_mount(void **state)
{
    (void)state;
    struct world *w = WORLD(2, TEXT("one"), TEXT("two"));
    for (int m = 0; m < 2; m++) {
        send_named(w, m, KIND_RESOURCES, "demo://x/a");
        send_named(w, m, KIND_RESOURCES, "memo:note");
        send_named(w, m, KIND_TEMPLATES, "memo:{id}");
    }
    send_named(w, 1, KIND_RESOURCES, "demo://x/b");
    build(w);
    assert_names(w, KIND_RESOURCES,
                 "demo://x/a memo:note demo://two/x/a headgate://two/memo%3Anote demo://x/b ");
    assert_names(w, KIND_TEMPLATES, "memo:{id} headgate://two/memo%3A{id} ");
    assert_leads(w, ROUTE_URI, "demo://x/a", 0, "demo://x/a", true);
    assert_leads(w, ROUTE_URI, "demo://two/x/a", 1, "demo://x/a", true);
    assert_leads(w, ROUTE_URI, "headgate://two/memo%3Anote", 1, "memo:note", true);
    assert_leads(w, ROUTE_URI, "memo:1", 0, "memo:1", true);
    assert_leads(w, ROUTE_URI, "headgate://two/memo%3Aa%2Fb", 1, "memo:a%2Fb", true);
    world_free(w);
}

static void uris_are_prefixed_where_the_operator_wants(void **state)
{
    (void)state;
    struct world *w = WORLD(1, TEXT("up"));
    w->mounts[0].prefix_uris = true;
    send_named(w, 0, KIND_RESOURCES, "demo://one/a");
    send_named(w, 0, KIND_TEMPLATES, "demo://items/{id}");
    build(w);
    assert_names(w, KIND_RESOURCES, "demo://up/one/a ");
    assert_names(w, KIND_TEMPLATES, "demo://up/items/{id} ");
    assert_leads(w, ROUTE_URI, "demo://up/items/4", 0, "demo://items/4", true);
    assert_leads(w, ROUTE_URI, "demo://up/items/{id}", 0, "demo://items/{id}", true);
    world_free(w);
}

/* ---- resolving ---- */

static void unlisted_names_go_by_the_longest_prefix(void **state)
{
    (void)state;
    struct world *w = WORLD(3, TEXT("a"), TEXT("a_b"), TEXT("plain"));
    build(w);
    assert_leads(w, ROUTE_TOOL, "a_x", 0, "x", false);
    assert_leads(w, ROUTE_TOOL, "a_b_x", 1, "x", false);
    assert_leads(w, ROUTE_PROMPT, "a_b_x", 1, "x", false);
    assert_nowhere(w, ROUTE_TOOL, "x");
    assert_nowhere(w, ROUTE_TOOL, "ax");
    assert_nowhere(w, ROUTE_NONE, "a_x");
    w->mounts[2].prefix = TEXT("");
    assert_leads(w, ROUTE_TOOL, "x", 2, "x", false);
    assert_leads(w, ROUTE_TOOL, "a_", 2, "a_", false);
    w->mounts[0].prefix = TEXT("");
    assert_nowhere(w, ROUTE_TOOL, "x"); /* two could be meant */
    world_free(w);
    w = WORLD(2, TEXT("a_b"), TEXT("a"));
    build(w);
    assert_leads(w, ROUTE_TOOL, "a_b_x", 0, "x", false);
    world_free(w);
}

static void mounts_with_rules_offer_only_what_is_listed(void **state)
{
    (void)state;
    char *globs[] = {TEXT("secret*"), NULL};
    struct name_value rename[] = {{TEXT("x"), TEXT("y")}};
    struct world *w = WORLD(2, TEXT("a"), TEXT("plain"));
    w->mounts[1].prefix = TEXT("");
    send_named(w, 0, KIND_TOOLS, "secret");
    send_named(w, 0, KIND_TOOLS, "open");
    w->mounts[0].tools_deny = globs;
    build(w);
    assert_names(w, KIND_TOOLS, "a_open ");
    assert_nowhere(w, ROUTE_TOOL, "a_secret");
    assert_leads(w, ROUTE_PROMPT, "a_secret", 0, "secret", false);
    w->mounts[0].tools_deny = NULL;
    w->mounts[0].tools_allow = globs;
    assert_nowhere(w, ROUTE_TOOL, "a_other");
    w->mounts[0].tools_allow = NULL;
    w->mounts[0].rename = rename;
    w->mounts[0].renames = 1;
    assert_nowhere(w, ROUTE_TOOL, "a_x");
    world_free(w);
}

static void a_listed_tool_is_known_by_its_unshortened_name(void **state)
{
    (void)state;
    struct world *w = WORLD(1, TEXT("a"));
    w->cfg.max_name = 20;
    send_named(w, 0, KIND_TOOLS, "a-name-of-many-bytes");
    build(w);
    assert_leads(w, ROUTE_TOOL, "a_a-name-of-many-bytes", 0, "a-name-of-many-bytes", true);
    world_free(w);
}

static void unlisted_uris_go_where_only_one_mount_can_be_meant(void **state)
{
    (void)state;
    struct world *w = WORLD(3, TEXT("a"), TEXT("b"), TEXT("plain"));
    w->infos[1].server.capabilities = TEXT("{\"resources\":{}}");
    build(w);
    assert_leads(w, ROUTE_URI, "x://y/z", 1, "x://y/z", false);
    assert_leads(w, ROUTE_URI, "x://a/z", 0, "x://z", false);
    assert_leads(w, ROUTE_URI, "headgate://a/ui%3A%2F%2Fz", 0, "ui://z", false);
    w->infos[0].server.capabilities = TEXT("{\"resources\":{}}");
    build(w);
    assert_nowhere(w, ROUTE_URI, "x://y/z");
    w->mounts[2].prefix = TEXT("");
    assert_leads(w, ROUTE_URI, "x://y/z", 2, "x://y/z", false);
    world_free(w);
}

/* ---- invalid definitions ---- */

static void only_modern_http_servers_must_annotate_well(void **state)
{
    (void)state;
    static const struct {
        enum mount_transport transport;
        enum up_era era;
        bool is_shown;
    } cases[] = {{MOUNT_HTTP, UP_MODERN, false},
                 {MOUNT_HTTP, UP_LEGACY, true},
                 {MOUNT_STDIO, UP_MODERN, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world *w = WORLD(1, TEXT("m"));
        w->mounts[0].transport = cases[i].transport;
        w->infos[0].server.era = cases[i].era;
        send_raw(w, 0, KIND_TOOLS,
                 "{\"name\":\"good\",\"inputSchema\":{\"properties\":{\"a\":"
                 "{\"type\":\"string\",\"x-mcp-header\":\"A\"}}}}");
        send_raw(w, 0, KIND_TOOLS,
                 "{\"name\":\"bad\",\"inputSchema\":{\"properties\":{\"a\":"
                 "{\"type\":\"number\",\"x-mcp-header\":\"A\"}}}}");
        build(w);
        assert_names(w, KIND_TOOLS, cases[i].is_shown ? "m_good m_bad " : "m_good ");
        assert_int_equal(w->c->list[KIND_TOOLS].entries[0].param_count, 1);
        if (cases[i].is_shown) {
            assert_int_equal(w->c->list[KIND_TOOLS].entries[1].param_count, 0);
            assert_leads(w, ROUTE_TOOL, "m_bad", 0, "bad", true);
        } else {
            assert_nowhere(w, ROUTE_TOOL, "m_bad");
        }
        world_free(w);
    }
}

/* ---- the merged view ---- */

static void capabilities_are_those_of_mounts_that_are_shown(void **state)
{
    (void)state;
    struct world *w = WORLD(3, TEXT("a"), TEXT("b"), TEXT("c"));
    w->infos[0].server.capabilities = TEXT("{\"tools\":{},\"completions\":{}}");
    w->infos[1].server.capabilities = TEXT("{\"resources\":{\"subscribe\":true},\"logging\":{}}");
    w->infos[1].state = MOUNT_STALE;
    w->infos[2].server.capabilities = TEXT("{\"prompts\":{},\"tools\":{}}");
    w->infos[2].state = MOUNT_DOWN;
    build(w);
    assert_true(w->c->has[KIND_TOOLS] && w->c->has[KIND_RESOURCES] && w->c->has[KIND_TEMPLATES]);
    assert_false(w->c->has[KIND_PROMPTS]);
    assert_true(w->c->subscribe && w->c->completions && w->c->logging);
    w->infos[0].state = MOUNT_NEEDS_AUTH;
    w->infos[1].state = MOUNT_CONNECTING;
    w->infos[2].state = MOUNT_UP;
    build(w);
    assert_true(w->c->has[KIND_TOOLS] && w->c->has[KIND_PROMPTS]);
    assert_false(w->c->has[KIND_RESOURCES] || w->c->has[KIND_TEMPLATES]);
    assert_false(w->c->subscribe || w->c->completions || w->c->logging);
    world_free(w);
}

static void instructions_are_joined_under_headings(void **state)
{
    (void)state;
    struct world *w = WORLD(3, TEXT("a"), TEXT("plain"), TEXT("c"));
    w->mounts[1].prefix = TEXT("");
    build(w);
    assert_int_equal(w->c->instructions.n, 0);
    w->infos[0].server.instructions = TEXT("\"Do \\\"it\\\".\"");
    w->infos[1].server.instructions = TEXT("\"Or not.\"");
    w->infos[2].server.instructions = TEXT("\"Gone.\"");
    w->infos[2].state = MOUNT_DOWN;
    build(w);
    assert_str(buf_str(&w->c->instructions),
               "\"# a\\n(its tools are named a_\xe2\x80\xa6)\\nDo \\\"it\\\".\\n\\n"
               "# plain\\nOr not.\\n\\n\"");
    world_free(w);
}

static void instructions_are_bounded_and_stay_json(void **state)
{
    (void)state;
    static const char *const fill[] = {"x", "\xc3\xa4", "\\u0001", "\\\""};
    for (size_t i = 0; i < sizeof fill / sizeof *fill; i++) {
        struct world *w = WORLD(1, TEXT("a"));
        struct buf b = {0};
        struct json_doc d = {0};
        buf_addc(&b, '"');
        while (b.n < 100000)
            buf_adds(&b, fill[i]);
        buf_add(&b, "\"", 2);
        w->infos[0].server.instructions = b.p;
        build(w);
        assert_in_range(w->c->instructions.n, 32 * 1024 - 16, 32 * 1024);
        struct err e;
        assert_true(json_parse(&d, w->c->instructions.p, w->c->instructions.n, &e));
        assert_true(json_is(&d, 0, JSON_STRING));
        assert_int_equal(str_find(buf_str(&w->c->instructions), STR("\xef\xbf\xbd")), -1);
        json_fini(&d);
        buf_fini(&b);
        world_free(w);
    }
}

static void mounts_are_copied(void **state)
{
    (void)state;
    struct world *w = WORLD(1, TEXT("a"));
    char error[] = "refused";
    w->infos[0].error = error;
    w->infos[0].since_ms = 7;
    w->infos[0].state = MOUNT_STALE;
    build(w);
    error[0] = 'x';
    assert_string_equal(w->c->mounts[0].error, "refused");
    assert_int_equal(w->c->mounts[0].since_ms, 7);
    assert_string_equal(mount_state_name(w->c->mounts[0].state), "stale");
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_keep_every_byte_but_their_name),
        cmocka_unit_test(what_is_no_definition_is_left_out),
        cmocka_unit_test(a_local_tools_traits_are_read_and_shown_to_nobody),
        cmocka_unit_test(malformed_traits_are_passed_over),
        cmocka_unit_test(traits_are_believed_of_local_mounts_only),
        cmocka_unit_test(lists_are_in_mount_order_then_upstream_order),
        cmocka_unit_test(legacy_clients_see_object_schemas_only),
        cmocka_unit_test(a_page_is_a_slice),
        cmocka_unit_test(snapshots_are_the_same_when_their_texts_are),
        cmocka_unit_test(plain_names_collide_as_the_operator_wants),
        cmocka_unit_test(a_prefix_is_its_mounts_own),
        cmocka_unit_test(a_renamed_tool_takes_its_name),
        cmocka_unit_test(flapping_mounts_rename_nothing),
        cmocka_unit_test(a_shared_uri_is_prefixed_for_the_later_mount),
        cmocka_unit_test(uris_are_prefixed_where_the_operator_wants),
        cmocka_unit_test(unlisted_names_go_by_the_longest_prefix),
        cmocka_unit_test(mounts_with_rules_offer_only_what_is_listed),
        cmocka_unit_test(a_listed_tool_is_known_by_its_unshortened_name),
        cmocka_unit_test(unlisted_uris_go_where_only_one_mount_can_be_meant),
        cmocka_unit_test(only_modern_http_servers_must_annotate_well),
        cmocka_unit_test(capabilities_are_those_of_mounts_that_are_shown),
        cmocka_unit_test(instructions_are_joined_under_headings),
        cmocka_unit_test(instructions_are_bounded_and_stay_json),
        cmocka_unit_test(mounts_are_copied),
    };
    metrics_rows_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
