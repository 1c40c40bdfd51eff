/* What a child prints on stderr, in the log: a field of one event a line, bounded in length and in
 * number. */
#ifndef GATEWAY_STDERR_LOG_H
#define GATEWAY_STDERR_LOG_H

#include "base/loop.h"

struct stderr_log;

/* One line, borrowed; not empty. */
typedef void (*stderr_line_fn)(struct str line, void *arg);

/* Takes fd; fn is given what is to be logged, name (copied) is what a flood is logged with. */
struct stderr_log *stderr_log_new(struct loop *l, int fd, const char *name, stderr_line_fn fn,
                                  void *arg);
/* Logs what is left, and closes. Nulls *s. */
void stderr_log_free(struct stderr_log **s);

#endif
