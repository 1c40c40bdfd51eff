/* Event streams (WHATWG HTML §9.2): an incremental reader and a writer. No I/O; the reader is
 * fuzzed. */
#ifndef BASE_SSE_H
#define BASE_SSE_H

#include "base/err.h"
#include "base/str.h"

/* One event, borrowed until the callback returns. */
struct sse_event {
    struct str type;  /* "" means "message" */
    struct str data;  /* data lines joined by LF, without the last LF */
    struct str id;    /* the stream's last event id */
    bool has_id;      /* this event carried an id line of its own */
    int64_t retry_ms; /* -1 when the event set none */
};

/* Reader state. Zero-initialised is valid. */
struct sse_reader {
    size_t max_event_bytes;          /* an event over it is ERR_TOO_LARGE; 0 = 16 MiB */
    struct buf line, data, type, id; /* private */
    int64_t retry_ms;
    bool has_data, has_id, has_retry, after_cr, started;
    size_t bom_seen;
};

typedef void (*sse_event_fn)(const struct sse_event *ev, void *arg);

/* Consumes n bytes and calls fn for every event they complete (also for events whose data is empty
 * but that carry an id or retry, as the priming events of MCP 2025-11-25). Comments and unknown
 * fields are skipped. CR, LF and CRLF end lines. A stop of the reader inside fn is not supported;
 * fn must not free the reader. Bytes that are not UTF-8 are handed on as they came. After an error
 * the stream is lost: only sse_fini may follow. */
bool sse_feed(struct sse_reader *r, const char *p, size_t n, sse_event_fn fn, void *arg,
              struct err *e) MUST_USE;
/* Gives back buffers that hold nothing; the stream goes on. Not inside fn. */
void sse_rest(struct sse_reader *r);
/* Frees the reader's buffers. */
void sse_fini(struct sse_reader *r);

/* Appends one event; type and id may be empty (then no such line). data may contain any bytes: CR,
 * LF and CRLF split it into several data lines, so that it can never forge a field. type and id
 * must hold no CR, LF, NUL (asserted). */
void sse_write(struct buf *out, struct str type, struct str id, struct str data);
/* Appends a comment line as a keep-alive. */
void sse_write_comment(struct buf *out);

#endif
