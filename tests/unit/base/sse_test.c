/* Event streams: the reader against the rules of WHATWG HTML §9.2.6, at every cut; the writer
 * against data that would forge fields. */
#include "base/sse.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void put_slice(struct buf *out, const char *key, struct str s)
{
    buf_addf(out, "%s[", key);
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c == '\n')
            buf_adds(out, "\\n");
        else if (c < 0x20 || c > 0x7E)
            buf_addf(out, "\\x%02X", c);
        else
            buf_addc(out, (char)c);
    }
    buf_addc(out, ']');
}

/* Writes an event as d[data] and, where there is one, t[type] i[id] I (an id of its own)
 * r[retry]. */
static void on_event(const struct sse_event *ev, void *arg)
{
    struct buf *out = arg;
    put_slice(out, "d", ev->data);
    if (ev->type.n)
        put_slice(out, "t", ev->type);
    if (ev->id.n)
        put_slice(out, "i", ev->id);
    if (ev->has_id)
        buf_addc(out, 'I');
    if (ev->retry_ms != -1)
        buf_addf(out, "r[%lld]", (long long)ev->retry_ms);
    buf_addc(out, ';');
}

/* Feeds n bytes in a block of exactly their size. */
static bool feed(struct sse_reader *r, const char *p, size_t n, struct buf *out, struct err *e)
{
    char *copy = malloc(n ? n : 1);
    assert_non_null(copy);
    if (n)
        memcpy(copy, p, n);
    bool ok = sse_feed(r, copy, n, on_event, out, e);
    free(copy);
    return ok;
}

static const struct {
    const char *what;
    struct str in;
    const char *events;
} streams[] = {
    {"nothing", STR(""), ""},
    {"one event", STR("data: x\n\n"), "d[x];"},
    {"no blank line, no event", STR("data: x\n"), ""},
    {"no line end, no event", STR("data: x"), ""},
    {"blank lines alone", STR("\n\n\r\r\r\n\r\n"), ""},
    {"two events", STR("data: a\n\ndata: b\n\n"), "d[a];d[b];"},
    {"data lines are joined", STR("data: a\ndata: b\ndata:c\n\n"), "d[a\\nb\\nc];"},
    {"one space goes", STR("data:  x \n\n"), "d[ x ];"},
    {"no space needed", STR("data:x\n\n"), "d[x];"},
    {"a tab stays", STR("data:\tx\n\n"), "d[\\x09x];"},
    {"colons in the value stay", STR("data: a: b\n\n"), "d[a: b];"},
    {"CR ends lines", STR("data: a\rdata: b\r\r"), "d[a\\nb];"},
    {"CRLF ends lines", STR("data: a\r\ndata: b\r\n\r\n"), "d[a\\nb];"},
    {"mixed ends", STR("data: a\rdata: b\ndata: c\r\n\rdata: d\n\r\n"), "d[a\\nb\\nc];d[d];"},
    {"LF CR is two ends", STR("data: a\n\rdata: b\n\n"), "d[a];d[b];"},
    {"CR LF LF is two ends", STR("data: a\r\n\ndata: b\n\n"), "d[a];d[b];"},
    {"BOM goes",
     STR("\xEF\xBB\xBF"
         "data: x\n\n"),
     "d[x];"},
    {"second BOM stays",
     STR("\xEF\xBB\xBF\xEF\xBB\xBF"
         "data: x\n\ndata: y\n\n"),
     "d[y];"},
    {"later BOM stays",
     STR("data: x\n\n\xEF\xBB\xBF"
         "data: y\n\n"),
     "d[x];"},
    {"BOM in data stays", STR("data: \xEF\xBB\xBF\n\n"), "d[\\xEF\\xBB\\xBF];"},
    {"half a BOM is no field",
     STR("\xEF\xBB"
         "data: x\ndata: y\n\n"),
     "d[y];"},
    {"BOM, then a blank line", STR("\xEF\xBB\xBF\r\ndata: x\n\n"), "d[x];"},
    {"BOM only", STR("\xEF\xBB\xBF"), ""},
    {"empty data", STR("data\n\n"), "d[];"},
    {"empty data with colon", STR("data:\n\n"), "d[];"},
    {"two empty data lines", STR("data\ndata\n\n"), "d[\\n];"},
    {"empty line in data", STR("data: a\ndata:\ndata: b\n\n"), "d[a\\n\\nb];"},
    {"type", STR("event: ping\ndata: x\n\n"), "d[x]t[ping];"},
    {"last type counts", STR("event: a\nevent: b\ndata: x\n\n"), "d[x]t[b];"},
    {"type is for one event", STR("event: a\ndata: x\n\ndata: y\n\n"), "d[x]t[a];d[y];"},
    {"type alone is no event", STR("event: a\n\ndata: x\n\n"), "d[x];"},
    {"empty type", STR("event: a\nevent:\ndata: x\n\n"), "d[x];"},
    {"id", STR("id: 7\ndata: x\n\n"), "d[x]i[7]I;"},
    {"id stays", STR("id: 7\ndata: x\n\ndata: y\n\n"), "d[x]i[7]I;d[y]i[7];"},
    {"id changes", STR("id: 7\ndata: x\n\nid: 8\ndata: y\n\n"), "d[x]i[7]I;d[y]i[8]I;"},
    {"empty id clears", STR("id: 7\ndata: x\n\nid\ndata: y\n\n"), "d[x]i[7]I;d[y]I;"},
    {"id alone is told", STR("id: 7\n\n"), "d[]i[7]I;"},
    {"id with NUL is ignored", STR("id: 1\n\nid: a\0b\ndata: x\n\n"), "d[]i[1]I;d[x]i[1];"},
    {"priming event", STR("id: p\nretry: 500\ndata:\n\n"), "d[]i[p]Ir[500];"},
    {"retry", STR("retry: 3000\n\n"), "d[]r[3000];"},
    {"retry is for one event", STR("retry: 1\ndata: x\n\ndata: y\n\n"), "d[x]r[1];d[y];"},
    {"retry zero", STR("retry: 0\n\n"), "d[]r[0];"},
    {"retry leading zeros", STR("retry: 0000000000000000000000000012\n\n"), "d[]r[12];"},
    {"retry not digits", STR("retry: 1x\nretry: -1\nretry: +1\nretry: 1 \nretry:  1\n\n"), ""},
    {"retry fraction", STR("retry: 1.5\ndata: x\n\n"), "d[x];"},
    {"retry empty", STR("retry:\nretry\ndata: x\n\n"), "d[x];"},
    {"retry after a wrong one", STR("retry: 5\nretry: x\n\n"), "d[]r[5];"},
    {"retry max", STR("retry: 9223372036854775807\n\n"), "d[]r[9223372036854775807];"},
    {"retry over", STR("retry: 99999999999999999999999\n\n"), "d[]r[9223372036854775807];"},
    {"comment", STR(": hello\n\n:\n\n"), ""},
    {"comment in an event", STR("data: a\n: no: data\ndata: b\n\n"), "d[a\\nb];"},
    {"comment like a field", STR(":data: x\n\n"), ""},
    {"unknown fields", STR("datas: x\ndat: y\nfoo: z\nbar\n\n"), ""},
    {"case counts", STR("Data: x\nDATA: y\nID: 1\nRetry: 1\n\n"), ""},
    {"space before a name", STR(" data: x\n\n"), ""},
    {"space before a colon", STR("data : x\n\n"), ""},
    {"NUL in data stays", STR("data: a\0b\n\n"), "d[a\\x00b];"},
    {"not UTF-8 stays", STR("data: \xFF\n\n"), "d[\\xFF];"},
    {"blank line of one space", STR("data: a\n \n\n"), "d[a];"},
    {"other separators do not end lines", STR("data: a\v\f\xC2\x85\xE2\x80\xA8z\n\n"),
     "d[a\\x0B\\x0C\\xC2\\x85\\xE2\\x80\\xA8z];"},
};
enum { N_STREAMS = sizeof streams / sizeof streams[0] };

static void test_streams_yield_their_events(void **state)
{
    (void)state;
    unsigned wrong = 0;
    for (size_t i = 0; i < N_STREAMS; i++) {
        struct sse_reader r = {0};
        struct buf out = {0};
        assert_true(feed(&r, streams[i].in.p, streams[i].in.n, &out, NULL));
        if (!str_eq(buf_str(&out), str_of(streams[i].events))) {
            print_error("%s: %.*s\n", streams[i].what, STR_FMT(buf_str(&out)));
            wrong++;
        }
        buf_fini(&out);
        sse_fini(&r);
    }
    assert_int_equal(wrong, 0);
}

/* Feeds in pieces that end at a and b, then in pieces of one byte when step is set. */
static void check_cut(size_t i, size_t a, size_t b, bool step)
{
    struct str in = streams[i].in;
    struct sse_reader r = {0};
    struct buf out = {0};
    assert_true(feed(&r, in.p, a, &out, NULL) && feed(&r, in.p + a, b - a, &out, NULL));
    for (size_t at = b, n; at < in.n; at += n) {
        n = step ? 1 : in.n - at;
        assert_true(feed(&r, in.p + at, n, &out, NULL));
    }
    if (!str_eq(buf_str(&out), str_of(streams[i].events)))
        fail_msg("%s cut at %zu and %zu: %.*s", streams[i].what, a, b, STR_FMT(buf_str(&out)));
    buf_fini(&out);
    sse_fini(&r);
}

static void test_no_cut_changes_the_events(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_STREAMS; i++) {
        for (size_t a = 0; a <= streams[i].in.n; a++)
            for (size_t b = a; b <= streams[i].in.n; b += 3)
                check_cut(i, a, b, false);
        check_cut(i, 0, 0, true);
    }
}

static void test_an_event_is_told_as_soon_as_its_blank_line_came(void **state)
{
    (void)state;
    struct sse_reader r = {0};
    struct buf out = {0};
    assert_true(feed(&r, "data: x\r\n\r", 10, &out, NULL));
    assert_int_equal(out.n, 5);
    assert_true(feed(&r, "\n", 1, &out, NULL));
    assert_int_equal(out.n, 5);
    buf_fini(&out);
    sse_fini(&r);
}

/* True when a stream passes a reader limited to max, whole and byte for byte, which must agree. */
static bool passes(const char *stream, size_t max)
{
    struct buf out = {0}, bytewise = {0};
    struct err e = {0}, be = {0};
    struct sse_reader r = {.max_event_bytes = max}, br = {.max_event_bytes = max};
    size_t n = strlen(stream);
    bool ok = feed(&r, stream, n, &out, &e), bok = true;
    for (size_t i = 0; bok && i < n; i++)
        bok = feed(&br, stream + i, 1, &bytewise, &be);
    assert_int_equal(ok, bok);
    assert_int_equal(e.kind, ok ? ERR_NONE : ERR_TOO_LARGE);
    assert_int_equal(be.kind, e.kind);
    assert_true(str_eq(buf_str(&out), buf_str(&bytewise)));
    buf_fini(&out);
    buf_fini(&bytewise);
    sse_fini(&r);
    sse_fini(&br);
    return ok;
}

static void test_an_event_over_the_limit_is_refused(void **state)
{
    (void)state;
    assert_true(passes("data: 123456\n\n", 12));
    assert_false(passes("data: 1234567\n\n", 12));
    assert_false(passes("data: 1234567", 12));
    assert_true(passes("data: 12345\n\ndata: 12345\n\n", 12));
    assert_false(passes("data: 12345\ndata: 12345\n\n", 12));
    assert_false(passes("id: 12345678901\n\n", 12));
    assert_false(passes("unknown and long\n\n", 12));
    assert_true(passes("data: 1\n\n: a comment may be long, it is not kept\ndata: 2\n\n", 12));
    assert_true(passes(":a comment that never ends", 12));
}

static void test_a_large_event_does_not_stay_in_memory(void **state)
{
    (void)state;
    enum { BIG = 1 << 20 };
    struct sse_reader r = {0};
    struct buf out = {0};
    char *big = malloc(BIG);
    assert_non_null(big);
    memset(big, 'x', BIG);
    assert_true(feed(&r, "data: ", 6, &out, NULL) && feed(&r, big, BIG, &out, NULL));
    assert_true(feed(&r, "\n", 1, &out, NULL));
    assert_int_equal(r.line.cap, 0);
    assert_true(feed(&r, "\n", 1, &out, NULL));
    assert_int_equal(out.n, BIG + 4);
    assert_int_equal(r.data.cap, 0);
    free(big);
    buf_fini(&out);
    sse_fini(&r);
}

static void test_the_default_limit_is_16_mib(void **state)
{
    (void)state;
    enum { PIECE = 1 << 20 };
    struct sse_reader r = {0};
    struct buf out = {0};
    struct err e = {0};
    char *piece = malloc(PIECE);
    assert_non_null(piece);
    memset(piece, 'x', PIECE);
    for (int i = 0; i < 16; i++)
        assert_true(feed(&r, piece, PIECE, &out, &e));
    assert_false(feed(&r, "x", 1, &out, &e));
    assert_int_equal(e.kind, ERR_TOO_LARGE);
    free(piece);
    buf_fini(&out);
    sse_fini(&r);
}

static void assert_written(struct str type, struct str id, struct str data, const char *wire,
                           const char *read)
{
    struct buf b = {0}, out = {0};
    struct sse_reader r = {0};
    sse_write(&b, type, id, data);
    if (!str_eq(buf_str(&b), str_of(wire)))
        fail_msg("wrote %.*s", STR_FMT(buf_str(&b)));
    assert_true(feed(&r, b.p, b.n, &out, NULL));
    if (!str_eq(buf_str(&out), str_of(read)))
        fail_msg("read %.*s", STR_FMT(buf_str(&out)));
    sse_fini(&r);
    buf_fini(&b);
    buf_fini(&out);
}

static void test_written_events_read_back(void **state)
{
    (void)state;
    const struct str none = {0};
    assert_written(none, none, STR("{}"), "data: {}\n\n", "d[{}];");
    assert_written(none, none, none, "data: \n\n", "d[];");
    assert_written(none, STR("7"), none, "id: 7\ndata: \n\n", "d[]i[7]I;");
    assert_written(STR("message"), STR(" 7"), STR(" x"), "event: message\nid:  7\ndata:  x\n\n",
                   "d[ x]t[message]i[ 7]I;");
    assert_written(none, none, STR("a\nb"), "data: a\ndata: b\n\n", "d[a\\nb];");
    assert_written(none, none, STR("a\n"), "data: a\ndata: \n\n", "d[a\\n];");
}

static void test_data_cannot_forge_a_field(void **state)
{
    (void)state;
    const struct str none = {0};
    assert_written(none, none, STR("a\n\nid: 9\n"), "data: a\ndata: \ndata: id: 9\ndata: \n\n",
                   "d[a\\n\\nid: 9\\n];");
    assert_written(none, none, STR("a\rid: 9"), "data: a\ndata: id: 9\n\n", "d[a\\nid: 9];");
    assert_written(none, none, STR("a\r\nevent: x"), "data: a\ndata: event: x\n\n",
                   "d[a\\nevent: x];");
    assert_written(none, none, STR("\r\r\n\n"), "data: \ndata: \ndata: \ndata: \n\n",
                   "d[\\n\\n\\n];");
    assert_written(none, none, STR("a\n\rb\r"), "data: a\ndata: \ndata: b\ndata: \n\n",
                   "d[a\\n\\nb\\n];");
    assert_written(none, none, STR(":x"), "data: :x\n\n", "d[:x];");
}

/* True when sse_write aborts on a type or an id, seen from a child. */
static bool write_aborts(struct str type, struct str id)
{
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct buf b = {0};
        signal(SIGABRT, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        sse_write(&b, type, id, STR("x"));
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_type_and_id_of_more_than_a_line_abort(void **state)
{
    (void)state;
    const struct str bad[] = {STR("a\nb"), STR("a\rb"), STR("a\0b"), STR("\n")};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_true(write_aborts(bad[i], STR("1")));
        assert_true(write_aborts(STR("t"), bad[i]));
    }
    assert_false(write_aborts(STR("t"), STR("1")));
}

static void test_a_comment_is_no_event_and_ends_none(void **state)
{
    (void)state;
    struct buf b = {0}, out = {0};
    struct sse_reader r = {0};
    sse_write(&b, STR("t"), STR("1"), STR("x"));
    sse_write_comment(&b);
    sse_write_comment(&b);
    sse_write(&b, (struct str){0}, (struct str){0}, STR("y"));
    assert_true(feed(&r, b.p, b.n, &out, NULL));
    assert_true(str_eq(buf_str(&out), STR("d[x]t[t]i[1]I;d[y]i[1];")));
    sse_fini(&r);
    buf_fini(&b);
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams_yield_their_events),
        cmocka_unit_test(test_no_cut_changes_the_events),
        cmocka_unit_test(test_an_event_is_told_as_soon_as_its_blank_line_came),
        cmocka_unit_test(test_an_event_over_the_limit_is_refused),
        cmocka_unit_test(test_a_large_event_does_not_stay_in_memory),
        cmocka_unit_test(test_the_default_limit_is_16_mib),
        cmocka_unit_test(test_written_events_read_back),
        cmocka_unit_test(test_data_cannot_forge_a_field),
        cmocka_unit_test(test_type_and_id_of_more_than_a_line_abort),
        cmocka_unit_test(test_a_comment_is_no_event_and_ends_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
