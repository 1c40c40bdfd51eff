/* Messages that are lines, as on pipes: an incremental reader. No I/O; fuzzed. */
#ifndef BASE_LINE_READER_H
#define BASE_LINE_READER_H

#include "base/str.h"

/* Reader state. Zero-initialised is valid. */
struct line_reader {
    size_t max;      /* bytes of a line; longer ones are dropped. 0 = 16 MiB */
    struct buf part; /* of a line that has not ended yet; private */
    bool skipping;   /* private */
};

/* One line without its LF or CRLF; never empty. too_long: it was dropped, and line is its
 * beginning. Borrowed. False: no more lines, the reader is not used any more (it may have been
 * freed). */
typedef bool (*line_fn)(struct str line, bool too_long, void *arg);

/* Consumes n bytes and calls fn for every line they complete. False when fn said so. */
bool line_reader_feed(struct line_reader *r, const char *p, size_t n, line_fn fn, void *arg);
/* The stream has ended: what came after the last LF is a line too. */
void line_reader_end(struct line_reader *r, line_fn fn, void *arg);
void line_reader_fini(struct line_reader *r);

#endif
