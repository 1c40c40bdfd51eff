/* Fuzzes the reader of lines: first byte is the longest line allowed, second where the stream is
 * cut. Beyond not crashing, the lines must be the same as of the stream in one piece, hold no LF,
 * and be no longer than allowed. */
#include "base/line_reader.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct seen {
    struct buf text;
    size_t max;
};

static bool on_line(struct str line, bool too_long, void *arg)
{
    struct seen *s = arg;
    assert(line.n > 0 && !memchr(line.p, '\n', line.n));
    assert(too_long || line.n <= s->max);
    buf_addc(&s->text, too_long ? '!' : '.');
    if (!too_long)
        buf_add_str(&s->text, line);
    return true;
}

static void read_all(struct seen *s, const char *p, size_t n, size_t cut)
{
    struct line_reader r = {.max = s->max};
    (void)line_reader_feed(&r, p, cut, on_line, s);
    (void)line_reader_feed(&r, p + cut, n - cut, on_line, s);
    line_reader_end(&r, on_line, s);
    line_reader_fini(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const char *p = (const char *)data + 2;
    size_t n = size - 2;
    struct seen whole = {.max = 1U + data[0]}, cut = {.max = 1U + data[0]};
    read_all(&whole, p, n, n);
    read_all(&cut, p, n, n ? data[1] % n : 0);
    assert(str_eq(buf_str(&whole.text), buf_str(&cut.text)));
    buf_fini(&whole.text);
    buf_fini(&cut.text);
    return 0;
}
