/* The zygote: a process that listens on a unix socket and forks one worker a connection. It holds a
 * worker's connection too, so that it notices its end: then the worker is killed, with all that it
 * left behind. When a worker ends first, the peer is told how in a last message, and the connection
 * ends after it was reaped. */
#ifndef LOCAL_ZYGOTE_H
#define LOCAL_ZYGOTE_H

#include "base/err.h"

#include <sys/types.h>

/* The notification about a worker's end: {"jsonrpc":"2.0","method":ZYGOTE_EXITED,"params":
 * {"status":N}} or {"signal":N}. It stands on a line of its own, whatever the worker wrote last. */
#define ZYGOTE_EXITED "dev.headgate/exited"

struct zygote {
    int listen_fd;
    int life_fd;          /* its end (EOF) is the zygote's end */
    pid_t peer;           /* who may connect; 0: any process of this user */
    void (*before)(void); /* around fork, in the parent */
    void (*after)(void);
    /* In the new process: fd is the connection, and no descriptor but 0, 1, 2 and it is open.
     * Returns the exit status. */
    int (*worker)(int fd, void *arg);
    void *arg;
};

/* Runs until life_fd ends. All workers have been killed and reaped then. False: it could not begin.
 */
bool zygote_run(const struct zygote *z, struct err *e) MUST_USE;

#endif
