/* See str.h. The map keeps tombstones (key == TOMB) and rehashes at 3/4 full, so probing always
 * ends. */
#include "base/str.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int str_cmp(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* Not strncasecmp: that stops at a NUL and follows the locale. */
static unsigned char ascii_lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool str_ieq(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (a.p[i] != b.p[i] && ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
            return false;
    return true;
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && (prefix.n == 0 || memcmp(s.p, prefix.p, prefix.n) == 0);
}

struct str str_trim(struct str s)
{
    while (s.n && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

bool str_to_u64(struct str s, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0 || s.n > 20)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        unsigned d = (unsigned char)s.p[i] - (unsigned)'0';
        if (d > 9 || __builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, d, &v))
            return false;
    }
    *out = v;
    return true;
}

ptrdiff_t str_find(struct str s, struct str needle)
{
    if (needle.n == 0)
        return 0;
    const char *hit = s.n ? memmem(s.p, s.n, needle.p, needle.n) : NULL;
    return hit ? hit - s.p : -1;
}

bool str_split(struct str *rest, char sep, struct str *part)
{
    if (!rest->p || rest->n == 0)
        return false;
    const char *hit = memchr(rest->p, sep, rest->n);
    size_t n = hit ? (size_t)(hit - rest->p) : rest->n;
    *part = (struct str){rest->p, n};
    size_t used = hit ? n + 1 : n;
    rest->p += used;
    rest->n -= used;
    return true;
}

bool str_glob(struct str glob, struct str name)
{
    size_t g = 0, i = 0, star = SIZE_MAX, mark = 0;
    while (i < name.n) {
        if (g < glob.n && glob.p[g] == '*') {
            star = g++;
            mark = i;
        } else if (g < glob.n && (glob.p[g] == '?' || glob.p[g] == name.p[i])) {
            g++;
            i++;
        } else if (star != SIZE_MAX) {
            g = star + 1;
            i = ++mark;
        } else {
            return false;
        }
    }
    while (g < glob.n && glob.p[g] == '*')
        g++;
    return g == glob.n;
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (b->cap - b->n < n || !b->p) {
        size_t need, cap = b->cap ? b->cap * 2 : 256;
        if (__builtin_add_overflow(b->n, n, &need))
            abort();
        if (cap < need)
            cap = need;
        b->p = xrealloc(b->p, cap);
        b->cap = cap;
    }
    return b->p + b->n;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    memcpy(buf_reserve(b, n), p, n);
    b->n += n;
}

void buf_adds(struct buf *b, const char *z)
{
    buf_add(b, z, strlen(z));
}

void buf_addc(struct buf *b, char c)
{
    *buf_reserve(b, 1) = c;
    b->n++;
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    char stack[256];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(stack, sizeof stack, fmt, ap);
    va_end(ap);
    if (n <= 0)
        return;
    if ((size_t)n < sizeof stack) {
        buf_add(b, stack, (size_t)n);
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->n += (size_t)n;
}

void buf_add_u64(struct buf *b, uint64_t v)
{
    char tmp[20];
    size_t i = sizeof tmp;
    do {
        tmp[--i] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    buf_add(b, tmp + i, sizeof tmp - i);
}

void buf_drop(struct buf *b, size_t n)
{
    if (n < b->n)
        memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

void buf_fini(struct buf *b)
{
    free(b->p);
    *b = (struct buf){0};
}

static uint64_t hash_key[2] = {0x9e3779b97f4a7c15ULL, 0xbf58476d1ce4e5b9ULL};
static char tomb_mark;
#define TOMB (&tomb_mark)

/* One step of splitmix64: spreads the seed over both halves of the key. */
static uint64_t mix64(uint64_t x)
{
    x += 0x9e3779b97f4a7c15ULL;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

void map_seed(uint64_t seed)
{
    hash_key[0] = mix64(seed);
    hash_key[1] = mix64(hash_key[0]);
}

static inline uint64_t rotl64(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl64(v[1], 13) ^ v[0];
    v[3] = rotl64(v[3], 16) ^ v[2];
    v[0] = rotl64(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl64(v[1], 17) ^ v[2];
    v[3] = rotl64(v[3], 21) ^ v[0];
    v[2] = rotl64(v[2], 32);
}

/* SipHash-1-3: of a plain multiplicative hash collisions can be made without knowing the seed. */
uint64_t str_hash(struct str s)
{
    uint64_t v[4] = {hash_key[0] ^ 0x736f6d6570736575ULL, hash_key[1] ^ 0x646f72616e646f6dULL,
                     hash_key[0] ^ 0x6c7967656e657261ULL, hash_key[1] ^ 0x7465646279746573ULL};
    uint64_t last = (uint64_t)s.n << 56;
    size_t i = 0;
    for (; s.n - i >= 8; i += 8) {
        uint64_t w;
        memcpy(&w, s.p + i, 8);
        v[3] ^= w;
        sip_round(v);
        v[0] ^= w;
    }
    for (size_t k = 0; i + k < s.n; k++)
        last |= (uint64_t)(unsigned char)s.p[i + k] << (8 * k);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int k = 0; k < 3; k++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static struct map_slot *map_find(const struct map *m, struct str key, uint64_t hash)
{
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        struct map_slot *s = &m->slots[i];
        if (!s->key)
            return s;
        if (s->key != TOMB && s->hash == hash && s->key_len == key.n &&
            memcmp(s->key, key.p ? key.p : "", key.n) == 0)
            return s;
    }
}

static void map_grow(struct map *m)
{
    struct map old = *m;
    m->cap = old.count * 2 >= 8 ? 16 : 8;
    while (m->cap < old.count * 3)
        m->cap *= 2;
    m->slots = xcalloc(m->cap, sizeof *m->slots);
    m->used = m->count;
    for (size_t i = 0; i < old.cap; i++) {
        struct map_slot *s = &old.slots[i];
        if (s->key && s->key != TOMB)
            *map_find(m, (struct str){s->key, s->key_len}, s->hash) = *s;
    }
    free(old.slots);
}

void *map_get(const struct map *m, struct str key)
{
    return m->count ? map_find(m, key, str_hash(key))->value : NULL;
}

void *map_set(struct map *m, struct str key, void *value)
{
    if ((m->used + 1) * 4 >= m->cap * 3)
        map_grow(m);
    uint64_t hash = str_hash(key);
    struct map_slot *s = map_find(m, key, hash);
    void *old = s->value;
    if (!s->key) {
        *s = (struct map_slot){xmemdup0(key.p, key.n), key.n, hash, value};
        m->used++;
        m->count++;
    }
    s->value = value;
    return old;
}

void *map_del(struct map *m, struct str key)
{
    if (!m->count)
        return NULL;
    struct map_slot *s = map_find(m, key, str_hash(key));
    if (!s->key)
        return NULL;
    void *old = s->value;
    free(s->key);
    *s = (struct map_slot){.key = TOMB};
    m->count--;
    return old;
}

bool map_next(const struct map *m, size_t *at, struct str *key, void **value)
{
    for (; *at < m->cap; ++*at) {
        struct map_slot *s = &m->slots[*at];
        if (!s->key || s->key == TOMB)
            continue;
        if (key)
            *key = (struct str){s->key, s->key_len};
        *value = s->value;
        ++*at;
        return true;
    }
    return false;
}

void map_fini(struct map *m)
{
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].key != TOMB)
            free(m->slots[i].key);
    free(m->slots);
    *m = (struct map){0};
}
