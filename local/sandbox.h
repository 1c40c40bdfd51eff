/* Confinement of the calling process, for workers that run what users wrote: limits, no new
 * privileges, no capabilities, Landlock and seccomp, in that order and for good. It needs no
 * privilege. What a kernel lacks is left out, and the level says so. */
#ifndef LOCAL_SANDBOX_H
#define LOCAL_SANDBOX_H

#include "base/err.h"
#include "base/str.h"

/* What a worker may do beside computing and reading its own files.
 * pure: nothing. net: outgoing TCP and UDP. exec: net, and programs. off: everything. */
enum sandbox_profile { SANDBOX_PURE, SANDBOX_NET, SANDBOX_EXEC, SANDBOX_OFF };

/* How much of the profile holds. */
enum sandbox_level {
    SANDBOX_LEVEL_OFF,    /* limits only: the profile is off */
    SANDBOX_LEVEL_LIMITS, /* the kernel has neither seccomp nor Landlock */
    SANDBOX_LEVEL_PARTLY, /* one of the two, or a Landlock that cannot do all that the profile needs
                           */
    SANDBOX_LEVEL_FULL,
};

enum { SANDBOX_MAX_PATHS = 32 };

struct sandbox {
    enum sandbox_profile profile;
    bool required;                       /* less than SANDBOX_LEVEL_FULL is an error */
    int memory_mb;                       /* beyond what the process has mapped now; 0: no limit */
    int cpu_seconds;                     /* 0: no limit */
    int files;                           /* descriptors; 0: as it is */
    int64_t file_bytes;                  /* largest file to write; 0: as it is */
    const char *read[SANDBOX_MAX_PATHS]; /* files and folders to read, NULL-terminated; missing ones
                                            are passed over */
    const char *write[SANDBOX_MAX_PATHS]; /* to read and write */
    uint16_t ports[SANDBOX_MAX_PATHS];    /* TCP ports to connect to; 0-terminated; none: any */
};

/* The word of a profile; and back, false when there is none. */
const char *sandbox_profile_name(enum sandbox_profile p);
bool sandbox_profile_parse(struct str s, enum sandbox_profile *out);
const char *sandbox_level_name(enum sandbox_level level);
enum sandbox_level sandbox_level_parse(struct str s); /* OFF for what is none */

/* The level that this kernel gives the profile; nothing is changed. */
enum sandbox_level sandbox_level(const struct sandbox *s);
/* Confines this process and all its children. *level is what was achieved. False: it could not be
 * done (ERR_SYSTEM), or not in full although required; the process may be half confined then and
 * must end. */
bool sandbox_enter(const struct sandbox *s, enum sandbox_level *level, struct err *e) MUST_USE;

/* sandbox_landlock.c: the version of Landlock, 0 for none; and what enter does with it. */
int sandbox_landlock_abi(void);
bool sandbox_landlock(const struct sandbox *s, struct err *e) MUST_USE;
/* sandbox_seccomp.c: is there a filter mode; and the filter. Signals go to this process only, but
 * for SANDBOX_EXEC. */
bool sandbox_has_seccomp(void);
bool sandbox_seccomp(const struct sandbox *s, struct err *e) MUST_USE;

#endif
