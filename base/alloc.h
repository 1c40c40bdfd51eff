/* Memory: an allocation that fails aborts; an arena holds what lives as long as one call. */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include <stdalign.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUST_USE __attribute__((warn_unused_result))

/* Like malloc, calloc, realloc and strdup, but abort when memory is out. Sizes from the wire are
 * capped before. */
void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
/* Copies n bytes and adds a NUL. Returns owned. */
char *xmemdup0(const void *p, size_t n);

/* One block of an arena; its bytes follow it, so its size must keep them aligned. */
struct arena_block {
    alignas(max_align_t) struct arena_block *next;
    size_t used, size;
};

/* Bump allocator: freed as a whole. Zero-initialised is empty and valid; embed it. */
struct arena {
    struct arena_block *head;
    size_t total_bytes;
};

/* Returns n zeroed bytes aligned for any type, valid until arena_fini. */
void *arena_alloc(struct arena *a, size_t n);
/* Copies n bytes and adds a NUL. */
char *arena_dup(struct arena *a, const void *p, size_t n);
/* Frees everything the arena gave; the arena is empty and usable afterwards. */
void arena_fini(struct arena *a);

#endif
