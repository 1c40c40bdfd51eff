/* As much HTTP/1.1 as the bench's two programs need, and not more: heads, lengths and chunks of
 * well-meaning peers. */
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum wire_result { WIRE_MORE, WIRE_DONE, WIRE_BAD };

struct wire_head {
    size_t head_bytes;   /* with its empty line */
    uint64_t body_bytes; /* of Content-Length; 0 without one */
    int status;          /* answers; 0 in requests */
    bool post;           /* requests */
    bool has_length, chunked, close;
};

/* Parses the head of a request or of an answer at the start of buf. */
enum wire_result wire_parse(const char *buf, size_t n, struct wire_head *h);
/* Takes the chunk framing away in place once all of a body is there: *body_bytes are then at buf,
 * and *used were the framed ones. Changes nothing before. Trailers are BAD. */
enum wire_result wire_dechunk(char *buf, size_t n, size_t *body_bytes, size_t *used);
/* Whether needle (n bytes) is in hay. Looks at both ends first: that is where ids are. */
bool wire_contains(const char *hay, size_t hay_n, const char *needle, size_t n);

/* Monotonic nanoseconds. */
int64_t wire_now_ns(void);
/* realloc() that ends the program when there is no memory. */
void *wire_realloc(void *p, size_t n);
/* Says what went wrong (printf style) on stderr and ends the program. */
void wire_die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
/* A decimal number from 0 to max, or the end of the program. */
long wire_number(const char *option, const char *text, long max);

#endif
