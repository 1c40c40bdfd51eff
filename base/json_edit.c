/* The edits of json.h. Replacements are what they are; which comma goes with a removed member, and
 * whether an insert needs one, depends on the other edits of that object and is found out when they
 * are applied:
 *   - members removed from the front of an object take the comma after them, all others the one
 * before them, so the spans never overlap and no comma is left over;
 *   - an insert is followed by a comma when a member stays. */
#include "base/json.h"

#include <assert.h>
#include <stdlib.h>

/* An edit with its commas: bytes [from, to) are replaced. */
struct span {
    size_t from, to;
    bool front; /* a removal, and so are all members before it */
};

static struct json_edit *new_edit(struct json_edits *es)
{
    if (es->n == es->cap) {
        assert(es->cap < UINT32_MAX / 2);
        es->cap = es->cap ? es->cap * 2 : 8;
        es->at = xrealloc(es->at, es->cap * sizeof *es->at);
    }
    struct json_edit *ed = &es->at[es->n];
    *ed = (struct json_edit){.obj = JSON_NONE, .name = JSON_NONE, .seq = es->n++};
    es->sorted = false;
    return ed;
}

void json_edit_add(struct json_edits *es, uint32_t off, uint32_t len, struct str with)
{
    struct json_edit *ed = new_edit(es);
    ed->off = off;
    ed->len = len;
    ed->with = with;
}

void json_edit_replace(struct json_edits *es, const struct json_doc *d, uint32_t tok,
                       struct str with)
{
    assert(tok < d->n);
    json_edit_add(es, d->tok[tok].off, d->tok[tok].len, with);
}

void json_edit_remove(struct json_edits *es, const struct json_doc *d, uint32_t obj,
                      uint32_t name_tok)
{
    assert(json_is(d, obj, JSON_OBJECT) && name_tok > obj && name_tok + 1 < d->tok[obj].next);
    const struct json_tok *value = &d->tok[name_tok + 1];
    struct json_edit *ed = new_edit(es);
    ed->off = d->tok[name_tok].off;
    ed->len = value->off + value->len - ed->off;
    ed->obj = obj;
    ed->name = name_tok;
}

void json_edit_insert(struct json_edits *es, const struct json_doc *d, uint32_t obj,
                      struct str members)
{
    assert(json_is(d, obj, JSON_OBJECT));
    struct json_edit *ed = new_edit(es);
    ed->off = d->tok[obj].off + 1;
    ed->obj = obj;
    ed->with = members;
}

static bool is_insert(const struct json_edit *ed)
{
    return ed->obj != JSON_NONE && ed->name == JSON_NONE;
}

static bool is_removal(const struct json_edit *ed)
{
    return ed->name != JSON_NONE;
}

/* By position; at one place, what only adds comes before what takes away. */
static int compare(const void *pa, const void *pb)
{
    const struct json_edit *a = pa, *b = pb;
    if (a->off != b->off)
        return a->off < b->off ? -1 : 1;
    if ((a->len == 0) != (b->len == 0))
        return a->len == 0 ? -1 : 1;
    return (a->seq > b->seq) - (a->seq < b->seq);
}

static void sort(struct json_edits *es)
{
    bool ordered = es->sorted;
    for (uint32_t i = 1; !es->sorted && i < es->n; i++) {
        ordered = compare(&es->at[i - 1], &es->at[i]) < 0;
        if (!ordered)
            break;
    }
    if (!ordered && es->n > 1)
        qsort(es->at, es->n, sizeof *es->at, compare);
    es->sorted = true;
}

/* True when a member of the insert's object stays. The removals of one object lie behind its
 * insert. */
static bool any_stays(const struct json_edits *es, const struct json_doc *d, uint32_t insert)
{
    uint32_t obj = es->at[insert].obj, left = d->tok[obj].count, seen = JSON_NONE;
    size_t end = (size_t)d->tok[obj].off + d->tok[obj].len;
    for (uint32_t i = insert + 1; i < es->n && es->at[i].off < end && left; i++) {
        if (es->at[i].obj != obj || !is_removal(&es->at[i]) || es->at[i].name == seen)
            continue;
        seen = es->at[i].name;
        left--;
    }
    return left > 0;
}

/* True when the removal's member is the first, or follows one that was removed from the front:
 * before. */
static bool at_front(const struct json_doc *d, const struct json_edit *ed,
                     const struct json_edit *before)
{
    if (ed->name == json_first(d, ed->obj))
        return true;
    return before && before->obj == ed->obj && json_next(d, ed->obj, before->name) == ed->name;
}

/* The removal with its comma. */
static struct span removal_span(const struct json_doc *d, const struct json_edit *ed, bool front)
{
    struct span sp = {ed->off, (size_t)ed->off + ed->len, front};
    uint32_t next = json_next(d, ed->obj, ed->name);
    if (front && next != JSON_NONE)
        sp.to = d->tok[next].off;
    if (front)
        return sp;
    do
        sp.from--; /* only spaces lie between a name and the comma before it */
    while (d->text[sp.from] != ',');
    return sp;
}

/* The first edit at or behind off. */
static uint32_t first_edit(const struct json_edits *es, size_t off)
{
    uint32_t lo = 0, hi = es->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (es->at[mid].off < off)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

void json_edit_apply(struct json_edits *es, const struct json_doc *d, uint32_t off, uint32_t len,
                     struct buf *out)
{
    size_t at = off, end = at + len;
    assert(end <= d->len);
    sort(es);
    const struct json_edit *front = NULL;
    for (uint32_t i = first_edit(es, off); i < es->n && es->at[i].off <= end; i++) {
        const struct json_edit *ed = &es->at[i];
        if (ed->off < at)
            continue; /* gone with an edit before it */
        struct span sp = {ed->off, (size_t)ed->off + ed->len, false};
        if (is_removal(ed))
            sp = removal_span(d, ed, at_front(d, ed, front));
        if (sp.from < off || sp.to > end || (is_insert(ed) && sp.from == off))
            continue; /* an insert goes with its object's brace */
        if (sp.front)
            front = ed;
        if (sp.from > at)
            buf_add(out, d->text + at, sp.from - at);
        buf_add_str(out, ed->with);
        if (is_insert(ed) && ed->with.n && any_stays(es, d, i))
            buf_addc(out, ',');
        at = sp.to;
    }
    buf_add(out, d->text + at, end - at);
}

void json_edits_fini(struct json_edits *es)
{
    free(es->at);
    *es = (struct json_edits){0};
}
