/* See sandbox.h. Landlock (Linux Documentation/userspace-api/landlock.rst): all rights over files
 * that this kernel knows are handled, and only the paths below are given some. Debian's headers
 * know less of it than newer kernels, so that its numbers stand here. */
#include "local/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NR_CREATE_RULESET = 444, NR_ADD_RULE = 445, NR_RESTRICT_SELF = 446 };
enum { RULESET_VERSION = 1, RULE_PATH = 1, RULE_PORT = 2 };

enum {
    FS_EXECUTE = 1 << 0,
    FS_WRITE_FILE = 1 << 1,
    FS_READ_FILE = 1 << 2,
    FS_READ_DIR = 1 << 3,
    FS_IOCTL_DEV = 1 << 15,
    FS_ABI_1 = (1 << 13) - 1,
    FS_ABI_2 = (1 << 14) - 1, /* moving between folders */
    FS_ABI_3 = (1 << 15) - 1, /* truncating */
    FS_ABI_5 = (1 << 16) - 1, /* ioctls of devices */
    NET_BIND_TCP = 1 << 0,
    NET_CONNECT_TCP = 1 << 1,
    SCOPE_ABSTRACT_SOCKETS = 1 << 0,
    SCOPE_SIGNALS = 1 << 1,
};

struct ruleset {
    uint64_t fs, net, scoped;
};
struct path_rule {
    uint64_t allowed;
    int32_t fd;
} __attribute__((packed));
struct port_rule {
    uint64_t allowed, port;
};

enum { READ = FS_READ_FILE | FS_READ_DIR, RUN = READ | FS_EXECUTE };

/* What an interpreter and its modules read; C modules are loaded from /usr/lib. */
static const char *const reads[] = {"/usr/lib",        "/usr/local/lib",      "/lib",
                                    "/lib64",          "/usr/share/zoneinfo", "/usr/share/locale",
                                    "/usr/share/mime", "/etc/ld.so.cache",    "/etc/localtime",
                                    "/etc/timezone",   "/etc/mime.types",     "/dev/urandom",
                                    "/dev/random",     "/dev/zero",           NULL};
static const char *const net_reads[] = {"/etc/hosts",
                                        "/etc/resolv.conf",
                                        "/etc/nsswitch.conf",
                                        "/etc/host.conf",
                                        "/etc/gai.conf",
                                        "/etc/services",
                                        "/etc/protocols",
                                        "/etc/ssl",
                                        "/run/systemd/resolve",
                                        "/usr/share/ca-certificates",
                                        NULL};
static const char *const exec_runs[] = {"/usr", "/bin", "/sbin", "/lib", "/lib64", "/opt", NULL};
static const char *const exec_reads[] = {
    "/etc/passwd", "/etc/group", "/etc/alternatives", "/etc/gitconfig", "/etc/ld.so.preload", NULL};
static const char *const devices[] = {"/dev/null", NULL};

int sandbox_landlock_abi(void)
{
    long v = syscall(NR_CREATE_RULESET, NULL, 0, RULESET_VERSION);
    return v > 0 ? (int)v : 0;
}

static uint64_t known_rights(int abi)
{
    if (abi >= 5)
        return FS_ABI_5;
    return abi >= 3 ? FS_ABI_3 : abi == 2 ? FS_ABI_2 : FS_ABI_1;
}

/* A file cannot be given what folders have. */
enum { OF_FILES = FS_EXECUTE | FS_WRITE_FILE | FS_READ_FILE | 1 << 14 | FS_IOCTL_DEV };

static bool allow(int set, const char *path, uint64_t rights, struct err *e)
{
    struct stat st;
    int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ELOOP ||
               err_set(e, ERR_SYSTEM, "Landlock: %s: %s", path, strerror(errno));
    bool is_dir = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    struct path_rule rule = {.allowed = is_dir ? rights : rights & OF_FILES, .fd = fd};
    long r = syscall(NR_ADD_RULE, set, RULE_PATH, &rule, 0);
    int saved = errno;
    close(fd);
    return r == 0 || err_set(e, ERR_SYSTEM, "Landlock: %s: %s", path, strerror(saved));
}

static bool allow_all(int set, const char *const *paths, uint64_t rights, struct err *e)
{
    for (; *paths; paths++)
        if (!allow(set, *paths, rights, e))
            return false;
    return true;
}

static bool allow_paths(int set, const struct sandbox *s, uint64_t all, struct err *e)
{
    uint64_t write = all & ~(uint64_t)(FS_EXECUTE | FS_IOCTL_DEV);
    bool net = s->profile != SANDBOX_PURE, exec = s->profile == SANDBOX_EXEC;
    return allow_all(set, reads, READ, e) && allow_all(set, s->read, exec ? RUN : READ, e) &&
           allow_all(set, s->write, write, e) &&
           allow_all(set, devices, FS_READ_FILE | FS_WRITE_FILE, e) &&
           (!net || allow_all(set, net_reads, READ, e)) &&
           (!exec || (allow_all(set, exec_runs, RUN, e) && allow_all(set, exec_reads, READ, e)));
}

static bool allow_ports(int set, const struct sandbox *s, struct err *e)
{
    for (const uint16_t *port = s->ports; *port; port++) {
        struct port_rule rule = {.allowed = NET_CONNECT_TCP, .port = *port};
        if (syscall(NR_ADD_RULE, set, RULE_PORT, &rule, 0) < 0)
            return err_set(e, ERR_SYSTEM, "Landlock: port %d: %s", *port, strerror(errno));
    }
    return true;
}

bool sandbox_landlock(const struct sandbox *s, struct err *e)
{
    int abi = sandbox_landlock_abi();
    struct ruleset rules = {.fs = known_rights(abi)};
    size_t size = sizeof rules.fs;
    if (abi >= 4) {
        size = offsetof(struct ruleset, scoped);
        rules.net = NET_BIND_TCP;
        if (s->profile == SANDBOX_PURE || s->ports[0])
            rules.net |= NET_CONNECT_TCP;
    }
    if (abi >= 6) {
        size = sizeof rules;
        rules.scoped = SCOPE_ABSTRACT_SOCKETS | SCOPE_SIGNALS;
    }
    int set = (int)syscall(NR_CREATE_RULESET, &rules, size, 0);
    if (set < 0)
        return err_set(e, ERR_SYSTEM, "Landlock: %s", strerror(errno));
    bool ok = allow_paths(set, s, rules.fs, e) && (abi < 4 || allow_ports(set, s, e));
    if (ok && syscall(NR_RESTRICT_SELF, set, 0) < 0)
        ok = err_set(e, ERR_SYSTEM, "Landlock: %s", strerror(errno));
    close(set);
    return ok;
}
