/* Fuzzes the configuration. The first byte picks a file, MCP_MOUNT_SERVERS or a sealing key file;
 * the rest is its text. Whatever it says, a configuration comes exactly when there is no error, its
 * dump is YAML (and so JSON) again, and each problem is one line. */
#include "base/yaml.h"
#include "gateway/config.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_problems(const struct config_problems *p)
{
    struct buf text = {0};
    size_t lines = 0;
    config_problems_format(p, &text);
    for (size_t i = 0; i < text.n; i++)
        lines += text.p[i] == '\n';
    assert(lines == p->n || lines == p->n + 1);
    buf_fini(&text);
}

static void check_config(const struct config *c)
{
    struct buf text = {0};
    struct yaml_doc doc;
    struct err e;
    assert(c->listen && c->listen[0] && c->seal_key_count > 0);
    for (size_t i = 0; i < c->mount_count; i++) {
        const struct mount_config *m = &c->mounts[i];
        assert(*m->name && m->prefix && !m->url == !m->url_shown);
        assert((m->transport == MOUNT_STDIO) == (m->command != NULL));
        assert((m->transport == MOUNT_HTTP) == (m->url != NULL));
    }
    config_dump(c, &text);
    if (text.n <= YAML_MAX_BYTES)
        assert(yaml_parse(&doc, buf_str(&text), &e));
    else
        doc = (struct yaml_doc){0};
    yaml_doc_fini(&doc);
    buf_fini(&text);
}

/* Puts the text where a path leads to it. Returns the descriptor. */
static int as_file(const uint8_t *data, size_t size, char path[32])
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, 32, "/proc/self/fd/%d", fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_problems problems = {0};
    char path[32], mode[] = "MCP_MODE=gateway", token[] = "TOKEN=t0ken", flag[64];
    char *environ[] = {token, NULL, NULL, NULL};
    const char *flags[] = {NULL, NULL};
    if (size == 0)
        return 0;
    int kind = data[0] % 3, fd = as_file(data + 1, size - 1, path);
    struct buf servers = {0};
    if (kind == 1) {
        buf_adds(&servers, "MCP_MOUNT_SERVERS=");
        buf_add(&servers, data + 1, size - 1);
        buf_addc(&servers, '\0');
        environ[1] = mode;
        environ[2] = servers.p;
    } else if (kind == 2) {
        (void)snprintf(flag, sizeof flag, "--sealKeysFile=%s", path);
        flags[0] = flag;
    }
    struct config *c = config_load(kind == 0 ? path : NULL, environ, flags, &problems);
    assert(!c == (problems.errors > 0));
    check_problems(&problems);
    if (c)
        check_config(c);
    config_unref(&c);
    config_problems_fini(&problems);
    buf_fini(&servers);
    (void)close(fd);
    return 0;
}
