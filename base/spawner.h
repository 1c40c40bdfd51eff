/* What the gateway, the spawner and its keepers say to each other. Private to child.c, spawner.c
 * and keeper.c; see child.h for the whole.
 *
 * One datagram a message, on SOCK_SEQPACKET pairs: gateway - spawner, and spawner - each keeper.
 * A keeper is a fork of the spawner that starts and reaps one child: as a subreaper it inherits
 * whatever that child leaves behind, so that it knows exactly what to end with it. */
#ifndef BASE_SPAWNER_H
#define BASE_SPAWNER_H

#include "base/err.h"

#include <sys/types.h>

enum {
    SPAWN_FD = 3,                /* where the spawner and its keepers have their socket */
    SPAWN_SPEC_MAX = 256 * 1024, /* command, arguments, environment and cwd together */
    SPAWN_END_MS = 2000,         /* from SIGTERM to SIGKILL when the gateway goes away */
    SPAWN_GIVE_UP_MS = 2000,     /* from SIGKILL to no longer waiting for the unkillable */
};

enum spawn_type {
    SPAWN_START,   /* down; with a memfd of struct spawn_head and its strings */
    SPAWN_STOP,    /* down; value: ms of grace */
    SPAWN_STARTED, /* up; value: pid, with our ends of stdin, stdout and stderr; or err is set */
    SPAWN_EXITED,  /* up; value: wait status; the last word on this id */
};

struct spawn_msg {
    enum spawn_type type;
    int value;
    uint64_t id; /* the gateway's number of the child; 0 between spawner and keeper */
    struct err err;
};

/* Followed by NUL-terminated strings: command, argc arguments, envc of "K=V", cwd if has_cwd. */
struct spawn_head {
    uint32_t argc, envc, has_cwd;
};

enum spawn_got { SPAWN_GOT, SPAWN_NOTHING, SPAWN_EOF };

/* Sends m with n <= 3 descriptors, which stay the caller's. False with errno. */
bool spawn_send(int sock, const struct spawn_msg *m, const int *fds, size_t n, int flags) MUST_USE;
/* Receives one message and its descriptors (CLOEXEC, now the caller's; -1 where there is none).
 * A message that is not ours counts as nothing. Any error but EAGAIN and EINTR counts as EOF. */
enum spawn_got spawn_recv(int sock, struct spawn_msg *m, int fds[3], int flags) MUST_USE;

struct spawn_proc {
    pid_t pid, pgrp;
};
/* Lists children of this process, adopted ones too, as /proc knows them; at most max. */
size_t spawn_children(struct spawn_proc *out, size_t max);

/* The life of a keeper, just forked: starts what the memfd spec says, reports on ctl, exits when
 * the child and all that came from it have ended (0), or could not be ended (1). */
_Noreturn void keeper_main(int ctl, int spec_fd);

#endif
