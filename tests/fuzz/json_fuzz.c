/* Fuzzes the JSON scanner and its edits. The first byte of the input seeds where the text is cut
 * and what is edited; the rest is the text. Beyond not crashing:
 *   - fed in pieces a text gets the verdict, the message and the tokens that it gets whole;
 *   - every token lies in the text, in its parent, and is a text of its own of the same type;
 *   - edits leave the text valid, and do to it what they say. */
#include "base/json.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { WHOLE_MAX = 2048 }; /* texts up to this size have each token parsed again */

static uint32_t draw(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1664525 + 1013904223;
    return (*seed >> 8) % below;
}

static char *exact(const char *p, size_t n)
{
    char *copy = calloc(n ? n : 1, 1);
    if (!copy)
        abort();
    if (n)
        memcpy(copy, p, n);
    return copy;
}

/* Feeds ever longer beginnings of the text, each at an address and in a block of its own. */
static bool feed_pieces(struct json_doc *d, const char *p, size_t n, uint32_t seed, struct err *e)
{
    char *held = NULL;
    uint32_t step = 1 + draw(&seed, 64);
    size_t have = 0;
    bool ok = true;
    json_reset(d);
    while (ok && have < n) {
        have += draw(&seed, step + 1);
        have = have < n ? have : n;
        free(held);
        held = exact(p, have);
        ok = json_feed(d, held, have, false, e);
    }
    free(held);
    if (ok)
        ok = json_feed(d, p, n, true, e);
    return ok;
}

static void check_pieces(const struct json_doc *whole, const char *p, size_t n, uint32_t seed,
                         const struct err *we)
{
    struct json_doc d = {0};
    struct err e = {0};
    bool ok = feed_pieces(&d, p, n, seed, &e);
    assert(ok == (we->kind == ERR_NONE) && e.kind == we->kind && strcmp(e.msg, we->msg) == 0);
    assert(!ok || d.n == whole->n);
    for (uint32_t i = 0; ok && i < d.n; i++) {
        const struct json_tok *a = &d.tok[i], *b = &whole->tok[i];
        assert(a->off == b->off && a->len == b->len && a->next == b->next);
        assert(a->count == b->count && a->type == b->type && a->escaped == b->escaped);
    }
    json_fini(&d);
}

/* A token's string, written and read again, is the same; the token alone is a text. */
static void check_token(const struct json_doc *d, uint32_t i)
{
    struct json_doc again = {0};
    struct err e = {0};
    struct arena a = {0};
    struct buf b = {0};
    struct str raw = json_raw(d, i);
    if (!json_parse(&again, raw.p, raw.n, &e))
        abort();
    assert(json_type(&again, 0) == json_type(d, i) && again.n == d->tok[i].next - i);
    if (json_is(d, i, JSON_STRING)) {
        struct str s = json_str(d, i, &a);
        assert(s.n <= raw.n && json_str_eq(d, i, s));
        json_write_str(&b, s);
        if (!json_parse(&again, b.p, b.n, &e))
            abort();
        assert(json_str_eq(&again, 0, s));
    }
    int64_t v;
    if (json_int(d, i, &v))
        assert(json_is(d, i, JSON_NUMBER));
    (void)json_double(d, i);
    buf_fini(&b);
    arena_fini(&a);
    json_fini(&again);
}

static void check_children(const struct json_doc *d, uint32_t i)
{
    const struct json_tok *k = &d->tok[i];
    uint32_t n = 0;
    for (uint32_t c = json_first(d, i); c != JSON_NONE; c = json_next(d, i, c), n++) {
        const struct json_tok *kid = &d->tok[c];
        assert(c > i && c < k->next && kid->off > k->off);
        assert(kid->off + kid->len < k->off + k->len);
        assert(k->type != JSON_OBJECT || (kid->type == JSON_STRING && c + 1 < k->next));
    }
    assert(n == k->count);
    (void)json_has_duplicates(d, i);
}

static void check_tokens(const struct json_doc *d)
{
    assert(d->n > 0 && d->tok[0].next == d->n);
    for (uint32_t i = 0; i < d->n; i++) {
        const struct json_tok *k = &d->tok[i];
        assert(k->len > 0 && k->off < d->len && k->len <= d->len - k->off);
        assert(k->next > i && k->next <= d->n && (i == 0 || k->off > d->tok[i - 1].off));
        check_children(d, i);
        if (d->len <= WHOLE_MAX)
            check_token(d, i);
    }
}

/* What becomes of an object: how many members go, and whether one comes. */
struct fate {
    uint32_t obj, removed;
    bool inserted;
};

static struct fate edit_object(struct json_edits *es, const struct json_doc *d, uint32_t obj,
                               uint32_t *seed)
{
    struct fate f = {.obj = obj};
    uint32_t odds = 1 + draw(seed, 4);
    for (uint32_t k = json_first(d, obj); k != JSON_NONE; k = json_next(d, obj, k)) {
        if (draw(seed, odds) == 0) {
            json_edit_remove(es, d, obj, k);
            f.removed++;
        } else if (draw(seed, 3) == 0) {
            json_edit_replace(es, d, k + 1, STR("[{\"new\":0}]"));
        }
    }
    if (draw(seed, 2)) {
        json_edit_insert(es, d, obj, STR("\"in\":{\"s\":[]}"));
        f.inserted = true;
    }
    return f;
}

/* Edits objects at random, outer and inner ones, and checks validity and the root's members. */
static void check_edits(const struct json_doc *d, uint32_t seed)
{
    struct json_edits es = {0};
    struct json_doc after = {0};
    struct buf out = {0};
    struct err e = {0};
    struct fate root = {.obj = JSON_NONE};
    for (uint32_t n = d->n, i = n; i-- > 0;)
        if (json_is(d, i, JSON_OBJECT) && (i == 0 || draw(&seed, 2))) {
            struct fate f = edit_object(&es, d, i, &seed);
            root = i == 0 ? f : root;
        }
    json_edit_apply(&es, d, 0, (uint32_t)d->len, &out);
    if (!json_parse(&after, out.p, out.n, &e) && e.kind != ERR_TOO_LARGE)
        abort();
    if (root.obj == 0 && e.kind == ERR_NONE)
        assert(after.tok[0].count == d->tok[0].count - root.removed + root.inserted);
    uint32_t sub = draw(&seed, d->n);
    out.n = 0;
    json_edit_apply(&es, d, d->tok[sub].off, d->tok[sub].len, &out);
    e = (struct err){0};
    if (!json_parse(&after, out.p, out.n, &e) && e.kind != ERR_TOO_LARGE)
        abort();
    buf_fini(&out);
    json_fini(&after);
    json_edits_fini(&es);
}

/* Any bytes can be written as a string. */
static void check_write(const char *p, size_t n)
{
    struct json_doc d = {0};
    struct buf b = {0};
    struct err e = {0};
    json_write_str(&b, (struct str){p, n});
    if (!json_parse(&d, b.p, b.n, &e))
        abort();
    json_fini(&d);
    buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint32_t seed = data[0] * 2654435761U;
    size_t n = size - 1;
    char *text = exact((const char *)data + 1, n);
    struct json_doc d = {0};
    struct err e = {0};
    bool ok = json_parse(&d, text, n, &e);
    assert(ok == (e.kind == ERR_NONE));
    check_pieces(&d, text, n, seed, &e);
    check_write(text, n);
    if (ok) {
        check_tokens(&d);
        check_edits(&d, seed);
    }
    json_fini(&d);
    free(text);
    return 0;
}
