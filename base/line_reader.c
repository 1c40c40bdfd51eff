/* See line_reader.h. */
#include "base/line_reader.h"

enum { DEFAULT_MAX = 16 * 1024 * 1024, KEEP_BUFFER = 64 * 1024 };

static size_t limit(const struct line_reader *r)
{
    return r->max ? r->max : DEFAULT_MAX;
}

/* Hands on a whole line: what was kept of it, or the slice itself when nothing was. */
static bool finish(struct line_reader *r, struct str last, line_fn fn, void *arg)
{
    struct buf whole = r->part;
    bool skipped = r->skipping;
    r->part = (struct buf){0};
    r->skipping = false;
    if (whole.n) {
        if (!skipped)
            buf_add_str(&whole, last);
        last = buf_str(&whole);
    }
    bool too_long = skipped || last.n > limit(r);
    if (!too_long && last.n && last.p[last.n - 1] == '\r')
        last.n--;
    bool go_on = last.n == 0 || fn(last, too_long, arg);
    if (go_on && whole.cap <= KEEP_BUFFER) {
        whole.n = 0;
        r->part = whole;
    } else {
        buf_fini(&whole);
    }
    return go_on;
}

bool line_reader_feed(struct line_reader *r, const char *p, size_t n, line_fn fn, void *arg)
{
    const char *nl;
    while (n && (nl = memchr(p, '\n', n))) {
        size_t len = (size_t)(nl - p);
        if (r->part.n + len > limit(r) && r->part.n)
            r->skipping = true;
        if (!finish(r, (struct str){p, len}, fn, arg))
            return false;
        p += len + 1;
        n -= len + 1;
    }
    if (n == 0 || r->skipping)
        return true;
    r->skipping = r->part.n + n > limit(r);
    if (!r->skipping || r->part.n == 0)
        buf_add(&r->part, p, r->skipping ? limit(r) : n);
    return true;
}

void line_reader_end(struct line_reader *r, line_fn fn, void *arg)
{
    (void)finish(r, (struct str){0}, fn, arg);
}

void line_reader_fini(struct line_reader *r)
{
    buf_fini(&r->part);
}
