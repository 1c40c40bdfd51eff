/* See alloc.h. Blocks grow from 1 KiB so that a small call costs one malloc. */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_BLOCK = 1024, MAX_BLOCK = 64 * 1024 };

void *xmalloc(size_t n)
{
    void *p = malloc(n ? n : 1);
    if (!p)
        abort();
    return p;
}

void *xcalloc(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size ? size : 1);
    if (!p)
        abort();
    return p;
}

void *xrealloc(void *p, size_t n)
{
    void *q = realloc(p, n ? n : 1);
    if (!q)
        abort();
    return q;
}

char *xmemdup0(const void *p, size_t n)
{
    char *s = xmalloc(n + 1);
    if (n)
        memcpy(s, p, n);
    s[n] = '\0';
    return s;
}

char *xstrdup(const char *s)
{
    return xmemdup0(s, strlen(s));
}

static struct arena_block *block_new(struct arena *a, size_t need)
{
    size_t size = a->head ? a->head->size * 2 : FIRST_BLOCK;
    if (size > MAX_BLOCK)
        size = MAX_BLOCK;
    if (size < need)
        size = need;
    struct arena_block *b = xmalloc(sizeof *b + size);
    *b = (struct arena_block){.next = a->head, .size = size};
    a->head = b;
    a->total_bytes += size;
    return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
    size_t align = alignof(max_align_t);
    if (n > SIZE_MAX / 2)
        abort();
    n = (n + align - 1) & ~(align - 1);
    struct arena_block *b = a->head;
    if (!b || b->size - b->used < n)
        b = block_new(a, n);
    void *p = (char *)(b + 1) + b->used;
    b->used += n;
    return memset(p, 0, n);
}

char *arena_dup(struct arena *a, const void *p, size_t n)
{
    char *s = arena_alloc(a, n + 1);
    if (n)
        memcpy(s, p, n);
    return s;
}

void arena_fini(struct arena *a)
{
    while (a->head) {
        struct arena_block *next = a->head->next;
        free(a->head);
        a->head = next;
    }
    a->total_bytes = 0;
}
