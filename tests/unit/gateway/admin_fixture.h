/* A gateway for the control plane's tests: a real configuration, a catalog written by hand, and
 * stand-ins for what the control plane calls. */
#ifndef TESTS_ADMIN_FIXTURE_H
#define TESTS_ADMIN_FIXTURE_H

#include "gateway/admin.h"
#include "gateway/catalog.h"
#include "gateway/local.h"
#include "gateway/watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

static const char fixture_yaml[] = "metrics: true\n"
                                   "upstreams:\n"
                                   "  files:\n"
                                   "    command: files-server\n"
                                   "    args: [\"--token=hush\"]\n"
                                   "    tags: [local, fast]\n"
                                   "  web:\n"
                                   "    url: http://127.0.0.1:9/mcp?key=hush\n"
                                   "    session: perClient\n";

static struct gateway gw;
static struct mount_info fixture_mounts[2];
static char watch_object;
static bool reload_works;
static int drains;

const struct mount_info *watch_mounts(const struct watch *w, size_t *n)
{
    assert_ptr_equal(w, &watch_object);
    *n = 2;
    return fixture_mounts;
}

const char *mount_state_name(enum mount_state s)
{
    static const char *const names[] = {"connecting", "up", "stale", "down", "needs_authorization"};
    return names[s];
}

struct str catalog_page(const struct catalog *c, enum catalog_kind kind, bool legacy, uint32_t at,
                        uint32_t n)
{
    const struct catalog_list *l = &c->list[kind];
    assert_false(legacy);
    assert_int_equal(n, 1);
    return (struct str){l->text[0].p + l->off[0][at], l->off[0][at + 1] - l->off[0][at] - 1};
}

bool gateway_reload(struct gateway *g, struct err *e)
{
    assert_ptr_equal(g, &gw);
    return reload_works || err_set(e, ERR_CONFIG, "line 3: \"no\"");
}

void gateway_drain(void *g)
{
    assert_ptr_equal(g, &gw);
    drains++;
}

void local_status(const struct local *l, struct buf *out)
{
    (void)l;
    buf_adds(out, "{}");
}

static struct config *fixture_config(const char *yaml, char *const *environ)
{
    char name[] = "admin-test-XXXXXX";
    struct config_problems problems = {0};
    int fd = mkstemp(name);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, yaml, strlen(yaml)), strlen(yaml));
    assert_int_equal(close(fd), 0);
    struct config *c = config_load(name, environ, NULL, &problems);
    assert_int_equal(unlink(name), 0);
    assert_int_equal(problems.errors, 0);
    config_problems_fini(&problems);
    assert_non_null(c);
    return c;
}

/* Adds an entry as the catalog renders it. */
static void add_entry(struct catalog *c, enum catalog_kind kind, int mount, const char *public_name,
                      const char *name, const char *text)
{
    struct catalog_list *l = &c->list[kind];
    l->entries = xrealloc(l->entries, (l->n + 1) * sizeof *l->entries);
    l->off[0] = xrealloc(l->off[0], (l->n + 2) * sizeof *l->off[0]);
    l->entries[l->n] = (struct catalog_entry){
        .mount = mount, .public_name = str_of(public_name), .name = str_of(name)};
    l->off[0][l->n] = (uint32_t)l->text[0].n;
    buf_adds(&l->text[0], text);
    buf_addc(&l->text[0], ',');
    l->off[0][++l->n] = (uint32_t)l->text[0].n;
}

static struct catalog *fixture_catalog(struct config *cfg)
{
    struct catalog *c = xcalloc(1, sizeof *c);
    c->config = cfg;
    c->version = 7;
    add_entry(c, KIND_TOOLS, 0, "files_read", "read",
              "{\"name\":\"files_read\",\"upstream\":\"liar\",\"description\":\"a \\\"b\\\"\","
              "\"inputSchema\":{\"n\":0.10}}");
    add_entry(c, KIND_TOOLS, 1, "web_get", "get", "{\"name\":\"web_get\",\"title\":\"Get\"}");
    add_entry(c, KIND_PROMPTS, 1, "web_ask", "ask",
              "{\"name\":\"web_ask\",\"arguments\":[{\"name\":\"q\"}]}");
    add_entry(c, KIND_RESOURCES, 0, "file:///a", "file:///a",
              "{\"uri\":\"file:///a\",\"name\":\"A\",\"size\":3}");
    add_entry(c, KIND_TEMPLATES, 0, "file:///{p}", "file:///{p}",
              "{\"uriTemplate\":\"file:///{p}\",\"name\":\"any\"}");
    return c;
}

static void set_up_gateway(void)
{
    static char *const environ[] = {NULL};
    static char address[] = "127.0.0.1:8000", server[] = "\"Files\"", refused[] = "status 401";
    static char *bound[] = {address, NULL};
    gw = (struct gateway){
        .watch = (struct watch *)&watch_object, .bound = bound, .started_ms = clock_ms()};
    gw.control.config = fixture_config(fixture_yaml, environ);
    gw.control.catalog = fixture_catalog(gw.control.config);
    fixture_mounts[0] = (struct mount_info){.state = MOUNT_UP,
                                            .server = {.era = UP_LEGACY, .version = "2025-06-18"},
                                            .since_ms = 1700000000123,
                                            .count = {1, 0, 1, 1}};
    fixture_mounts[0].server.name = server;
    fixture_mounts[1] = (struct mount_info){.state = MOUNT_NEEDS_AUTH};
    fixture_mounts[1].error = refused;
    reload_works = true;
    drains = 0;
}

static void tear_down_gateway(void)
{
    for (int k = 0; k < KINDS; k++) {
        struct catalog_list *l = &gw.control.catalog->list[k];
        free(l->entries);
        free(l->off[0]);
        buf_fini(&l->text[0]);
    }
    free(gw.control.catalog);
    config_unref(&gw.control.config);
}

#endif
