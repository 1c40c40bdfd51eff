/* See sandbox.h. */
#include "local/sandbox.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Landlock without its rules for TCP ports (ABI 4), and for signals (ABI 6). */
enum { ABI_PORTS = 4, ABI_SIGNALS = 6 };

static const char *const profiles[] = {
    [SANDBOX_PURE] = "pure", [SANDBOX_NET] = "net", [SANDBOX_EXEC] = "exec", [SANDBOX_OFF] = "off"};

const char *sandbox_profile_name(enum sandbox_profile p)
{
    return profiles[p];
}

bool sandbox_profile_parse(struct str s, enum sandbox_profile *out)
{
    for (size_t i = 0; i < sizeof profiles / sizeof *profiles; i++) {
        if (str_eq(s, str_of(profiles[i]))) {
            *out = (enum sandbox_profile)i;
            return true;
        }
    }
    return false;
}

static const char *const levels[] = {[SANDBOX_LEVEL_OFF] = "off",
                                     [SANDBOX_LEVEL_LIMITS] = "limits",
                                     [SANDBOX_LEVEL_PARTLY] = "partly",
                                     [SANDBOX_LEVEL_FULL] = "full"};

const char *sandbox_level_name(enum sandbox_level level)
{
    return levels[level];
}

enum sandbox_level sandbox_level_parse(struct str s)
{
    for (size_t i = 0; i < sizeof levels / sizeof *levels; i++)
        if (str_eq(s, str_of(levels[i])))
            return (enum sandbox_level)i;
    return SANDBOX_LEVEL_OFF;
}

/* pure has no sockets, and signals only itself, by seccomp alone. */
static int needed_abi(const struct sandbox *s)
{
    if (s->profile == SANDBOX_EXEC)
        return ABI_SIGNALS;
    return s->profile == SANDBOX_NET && s->ports[0] ? ABI_PORTS : 1;
}

enum sandbox_level sandbox_level(const struct sandbox *s)
{
    int abi = sandbox_landlock_abi();
    bool filter = sandbox_has_seccomp();
    if (s->profile == SANDBOX_OFF)
        return SANDBOX_LEVEL_OFF;
    if (filter && abi >= needed_abi(s))
        return SANDBOX_LEVEL_FULL;
    return filter || abi > 0 ? SANDBOX_LEVEL_PARTLY : SANDBOX_LEVEL_LIMITS;
}

static bool limit(int what, rlim_t max, const char *name, struct err *e)
{
    struct rlimit l;
    if (getrlimit((__rlimit_resource_t)what, &l) == 0 && l.rlim_max < max)
        max = l.rlim_max;
    l.rlim_cur = l.rlim_max = max;
    return setrlimit((__rlimit_resource_t)what, &l) == 0 ||
           err_set(e, ERR_SYSTEM, "cannot limit %s: %s", name, strerror(errno));
}

/* Bytes of address space in use. */
static rlim_t mapped_bytes(void)
{
    char line[128] = "";
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        (void)!fgets(line, sizeof line, f);
        (void)fclose(f);
    }
    return (rlim_t)strtoul(line, NULL, 10) * (rlim_t)sysconf(_SC_PAGESIZE);
}

#ifdef __SANITIZE_ADDRESS__
enum { CAN_LIMIT_MEMORY = false }; /* its shadow is terabytes of address space */
#else
enum { CAN_LIMIT_MEMORY = true };
#endif

static bool set_memory(int mb, struct err *e)
{
    return !CAN_LIMIT_MEMORY || mb <= 0 ||
           limit(RLIMIT_AS, mapped_bytes() + ((rlim_t)mb << 20), "memory", e);
}

static bool set_limits(const struct sandbox *s, struct err *e)
{
    return limit(RLIMIT_CORE, 0, "core files", e) && set_memory(s->memory_mb, e) &&
           (s->cpu_seconds <= 0 || limit(RLIMIT_CPU, (rlim_t)s->cpu_seconds, "CPU time", e)) &&
           (s->files <= 0 || limit(RLIMIT_NOFILE, (rlim_t)s->files, "descriptors", e)) &&
           (s->file_bytes <= 0 || limit(RLIMIT_FSIZE, (rlim_t)s->file_bytes, "file size", e));
}

/* Root without capabilities is an ordinary user who owns much. */
static bool drop_capabilities(struct err *e)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {{0}};
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    return syscall(SYS_capset, &head, none) == 0 ||
           err_set(e, ERR_SYSTEM, "cannot drop capabilities: %s", strerror(errno));
}

bool sandbox_enter(const struct sandbox *s, enum sandbox_level *level, struct err *e)
{
    *level = sandbox_level(s);
    if (s->required && *level != SANDBOX_LEVEL_FULL) {
        return err_set(e, ERR_SYSTEM,
                       "the sandbox %s is required, but this kernel gives only '%s' (Landlock %d, "
                       "seccomp %s)",
                       sandbox_profile_name(s->profile), sandbox_level_name(*level),
                       sandbox_landlock_abi(), sandbox_has_seccomp() ? "yes" : "no");
    }
    if (!set_limits(s, e))
        return false;
    if (s->profile == SANDBOX_OFF)
        return true;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_set(e, ERR_SYSTEM, "no_new_privs: %s", strerror(errno));
    return drop_capabilities(e) && (sandbox_landlock_abi() == 0 || sandbox_landlock(s, e)) &&
           (!sandbox_has_seccomp() || sandbox_seccomp(s, e));
}
