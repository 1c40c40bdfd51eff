/* Messages over descriptors, one a line: the pipes of a child, or the socket of a worker. */
#ifndef GATEWAY_LINES_H
#define GATEWAY_LINES_H

#include "base/loop.h"

struct lines;

struct lines_ops {
    /* One line without its end, not empty; borrowed. May free the lines. */
    void (*line)(struct str text, void *arg);
    /* Once: nothing comes or goes any more, and what says why. */
    void (*end)(const char *what, void *arg);
};

/* Reads from out and writes to in; takes both, which may be one. A line longer than max_line is the
 * end. */
struct lines *lines_new(struct loop *l, int in, int out, size_t max_line,
                        const struct lines_ops *ops, void *arg);
/* Sends one message; what cannot be written is queued, up to 32 MiB. Never calls back at once. */
void lines_write(struct lines *l, struct str message);
/* Closes the descriptors; no callback any more. Nulls *l. */
void lines_free(struct lines **l);

#endif
