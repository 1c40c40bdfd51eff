/* Children: a spawner process starts and reaps them, so that no child outlives us and none inherits
 * our secrets.
 *
 * The spawner is this binary again (hidden command), started first of all over a SOCK_SEQPACKET
 * socketpair, with an empty environment. For each child it forks a keeper, a subreaper that knows
 * what came from that child, daemons included: when the child ends, the keeper kills what is left
 * of it. When the gateway goes away (EOF on the socket, even after SIGKILL), or the spawner does,
 * each keeper ends all it has: SIGTERM, 2 s, SIGKILL. Children also get PR_SET_PDEATHSIG SIGKILL in
 * case the keeper itself is killed; its orphans then fall to the spawner, which kills them. */
#ifndef BASE_CHILD_H
#define BASE_CHILD_H

#include "base/loop.h"

/* What to start. Borrowed until child_start returns. No shell is involved. */
struct child_spec {
    const char *command;     /* absolute, or looked up in PATH of env (else of the default PATH) */
    const char *const *argv; /* NULL-terminated, without argv[0] */
    const char *const *env;  /* NULL-terminated "K=V": the whole environment */
    const char *cwd;         /* NULL: ours */
};

/* The connection to the spawner; thread-safe; one a process. */
struct spawner;
/* A child of one loop: all its callbacks run there. */
struct child;

/* Called once when child_start's request was carried out: fds are ours now (non-blocking, CLOEXEC;
 * in = write to its stdin, out = read its stdout, err = read its stderr), or e is set (command not
 * found, no permission, cwd missing) and they are -1. */
typedef void (*child_started_fn)(struct child *c, int in, int out, int err, const struct err *e,
                                 void *arg);
/* Called once after a successful start when the child and all that it left behind have ended and
 * were reaped: wait status. SIGKILL when nobody can tell because the spawner or the keeper died. */
typedef void (*child_exited_fn)(struct child *c, int status, void *arg);

/* Forks and execs /proc/self/exe as the spawner. To be called before threads and before secrets are
 * read. The caller's main() must hand `headgate __spawner FD` to spawner_main. */
struct spawner *spawner_start(struct err *e) MUST_USE;
/* Ends the spawner and with it all children (waits for it, at most 5 s). */
void spawner_stop(struct spawner **s);
/* The spawner's main; returns the exit code. */
int spawner_main(int fd);
/* Pid of the spawner process (for tests and /api). */
int spawner_pid(const struct spawner *s);

/* Asks for a start. started is never called before child_start has returned. Returns owned; free
 * with child_free. */
struct child *child_start(struct spawner *s, struct loop *l, const struct child_spec *spec,
                          child_started_fn started, child_exited_fn exited, void *arg);
int child_pid(const struct child *c); /* 0 before it started and after it ended */
/* Ends the group: SIGTERM now, SIGKILL after grace_ms; exited is still called. */
void child_stop(struct child *c, int grace_ms);
/* Forgets the child: no callback any more; a running one is stopped as child_stop(2000) does. Nulls
 * *c. */
void child_free(struct child **c);

#endif
