/* HTTP/1.1 heads: what must be refused and with which status, what must be accepted,
 * and that nothing can be injected on the way out. Inputs live in blocks of their exact size, so
 * that ASan sees a read past the end. */
#include "base/http1.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define H    "Host: a\r\n"
#define GET  "GET / HTTP/1.1\r\n"
#define POST "POST / HTTP/1.1\r\n" H

struct bad_case {
    const char *name;
    int status;
    struct str in;
};

#define S(lit)                                                                                     \
    {                                                                                              \
        (lit), sizeof(lit) - 1                                                                     \
    } /* STR for tables of static storage */
#define BAD(what, code, text)                                                                      \
    {                                                                                              \
        what, code,                                                                                \
        {                                                                                          \
            text, sizeof(text) - 1                                                                 \
        }                                                                                          \
    }

static const struct bad_case bad_requests[] = {
    BAD("two differing lengths", 400, POST "Content-Length: 5\r\nContent-Length: 3\r\n\r\n"),
    BAD("two equal lengths", 400, POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\n"),
    BAD("list of lengths", 400, POST "Content-Length: 5, 5\r\n\r\n"),
    BAD("negative length", 400, POST "Content-Length: -5\r\n\r\n"),
    BAD("signed length", 400, POST "Content-Length: +5\r\n\r\n"),
    BAD("hex length", 400, POST "Content-Length: 0x5\r\n\r\n"),
    BAD("empty length", 400, POST "Content-Length:\r\n\r\n"),
    BAD("length with a space inside", 400, POST "Content-Length: 1 2\r\n\r\n"),
    BAD("length of 2^64-1", 400, POST "Content-Length: 18446744073709551615\r\n\r\n"),
    BAD("length over 2^64", 400, POST "Content-Length: 30000000000000000000\r\n\r\n"),
    BAD("length with a vertical tab", 400, POST "Content-Length: \v5\r\n\r\n"),
    BAD("length, then coding", 400, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD("coding, then length", 400, POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n"),
    BAD("coding twice", 400,
        POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    BAD("coding twice, second another", 400,
        POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n"),
    BAD("chunked twice in a list", 400, POST "Transfer-Encoding: chunked, chunked\r\n\r\n"),
    BAD("xchunked", 400, POST "Transfer-Encoding: xchunked\r\n\r\n"),
    BAD("chunked not last", 400, POST "Transfer-Encoding: chunked, identity\r\n\r\n"),
    BAD("identity", 400, POST "Transfer-Encoding: identity\r\n\r\n"),
    BAD("quoted chunked", 400, POST "Transfer-Encoding: \"chunked\"\r\n\r\n"),
    BAD("chunked with a parameter", 400, POST "Transfer-Encoding: chunked;q=1\r\n\r\n"),
    BAD("empty coding", 400, POST "Transfer-Encoding:\r\n\r\n"),
    BAD("chunked after a vertical tab", 400, POST "Transfer-Encoding: \vchunked\r\n\r\n"),
    BAD("gzip before chunked", 501, POST "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    BAD("identity before chunked", 501, POST "Transfer-Encoding: identity, chunked\r\n\r\n"),
    BAD("coding in HTTP/1.0", 400, "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"),
    BAD("space before a length's colon", 400, POST "Content-Length : 5\r\n\r\n"),
    BAD("space before a coding's colon", 400, POST "Transfer-Encoding : chunked\r\n\r\n"),
    BAD("tab before a colon", 400, POST "X-A\t: 5\r\n\r\n"),
    BAD("folded with a space", 400, POST "X-A: b\r\n c\r\n\r\n"),
    BAD("folded with a tab", 400, POST "Content-Length: 1\r\n\t2\r\n\r\n"),
    BAD("space before the first field", 400, GET " Host: a\r\n\r\n"),
    BAD("NUL in a value", 400, POST "X-A: b\0c\r\n\r\n"),
    BAD("control character in a value", 400,
        POST "X-A: b\x01"
             "c\r\n\r\n"),
    BAD("DEL in a value", 400, POST "X-A: 1234567\x7f 12345678\r\n\r\n"),
    BAD("CR in a value", 400, POST "X-A: b\rc\r\n\r\n"),
    BAD("NUL in a name", 400, POST "X\0A: b\r\n\r\n"),
    BAD("control character in a name", 400, POST "X\x02: b\r\n\r\n"),
    BAD("obs-text in a name", 400, POST "X\xc3\xa9: b\r\n\r\n"),
    BAD("parenthesis in a name", 400, POST "X(: b\r\n\r\n"),
    BAD("empty name", 400, POST ": b\r\n\r\n"),
    BAD("field without a colon", 400, POST "X-A\r\n\r\n"),
    BAD("bare LF after the request line", 400, "GET / HTTP/1.1\n" H "\r\n"),
    BAD("bare LF after a field", 400, GET "Host: a\n\r\n"),
    BAD("bare LF as the end", 400, GET H "\n"),
    BAD("CR CR LF", 400, GET "Host: a\r\r\n\r\n"),
    BAD("CR alone as the end", 400, GET H "\rX"),
    BAD("no Host", 400, GET "\r\n"),
    BAD("two Hosts", 400, GET H H "\r\n"),
    BAD("two Hosts in HTTP/1.0", 400, "GET / HTTP/1.0\r\n" H H "\r\n"),
    BAD("empty Host", 400, GET "Host:\r\n\r\n"),
    BAD("Host with a list", 400, GET "Host: a, b\r\n\r\n"),
    BAD("Host with a path", 400, GET "Host: a/b\r\n\r\n"),
    BAD("Host with user info", 400, GET "Host: u@a\r\n\r\n"),
    BAD("Host with a large port", 400, GET "Host: a:65536\r\n\r\n"),
    BAD("Host with a bad port", 400, GET "Host: a:8x\r\n\r\n"),
    BAD("Host with an open bracket", 400, GET "Host: [::1\r\n\r\n"),
    BAD("Host with a bad literal", 400, GET "Host: [::g]\r\n\r\n"),
    BAD("Host with obs-text", 400, GET "Host: a\xff\r\n\r\n"),
    BAD("HTTP/0.9", 400, "GET /\r\n"),
    BAD("no version", 400, "GET / \r\n" H "\r\n"),
    BAD("HTTP/1.9", 505, "GET / HTTP/1.9\r\n" H "\r\n"),
    BAD("HTTP/2.0", 505, "GET / HTTP/2.0\r\n" H "\r\n"),
    BAD("HTTP/2 preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    BAD("HTTP/1.10", 400, "GET / HTTP/1.10\r\n" H "\r\n"),
    BAD("HTTP/1", 400, "GET / HTTP/1\r\n" H "\r\n"),
    BAD("lower-case version", 400, "GET / http/1.1\r\n" H "\r\n"),
    BAD("space after the version", 400, "GET / HTTP/1.1 \r\n" H "\r\n"),
    BAD("two spaces before the target", 400, "GET  / HTTP/1.1\r\n" H "\r\n"),
    BAD("two spaces before the version", 400, "GET /  HTTP/1.1\r\n" H "\r\n"),
    BAD("tab before the target", 400, "GET\t/ HTTP/1.1\r\n" H "\r\n"),
    BAD("space in the target", 400, "GET /a b HTTP/1.1\r\n" H "\r\n"),
    BAD("control character in the target", 400, "GET /\x01 HTTP/1.1\r\n" H "\r\n"),
    BAD("NUL in the target", 400, "GET /\0 HTTP/1.1\r\n" H "\r\n"),
    BAD("obs-text in the target", 400, "GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n"),
    BAD("fragment", 400, "GET /#a HTTP/1.1\r\n" H "\r\n"),
    BAD("malformed escape", 400, "GET /%2 HTTP/1.1\r\n" H "\r\n"),
    BAD("escape not hex", 400, "GET /?%zz HTTP/1.1\r\n" H "\r\n"),
    BAD("target without a slash", 400, "GET a HTTP/1.1\r\n" H "\r\n"),
    BAD("star for GET", 400, "GET * HTTP/1.1\r\n" H "\r\n"),
    BAD("CONNECT", 400, "CONNECT a:1 HTTP/1.1\r\n" H "\r\n"),
    BAD("CONNECT with a path", 400, "CONNECT / HTTP/1.1\r\n" H "\r\n"),
    BAD("other scheme", 400, "GET ftp://a/ HTTP/1.1\r\n" H "\r\n"),
    BAD("absolute without a host", 400, "GET http:///x HTTP/1.1\r\n" H "\r\n"),
    BAD("absolute without a path", 400, "GET http://a?x HTTP/1.1\r\n" H "\r\n"),
    BAD("absolute with user info", 400, "GET http://u@a/ HTTP/1.1\r\nHost: u@a\r\n\r\n"),
    BAD("absolute of another host", 400, "GET http://b/ HTTP/1.1\r\n" H "\r\n"),
    BAD("empty method", 400, " / HTTP/1.1\r\n" H "\r\n"),
    BAD("method not a token", 400, "G(T / HTTP/1.1\r\n" H "\r\n"),
    BAD("method too long", 400, "GGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGGG / HTTP/1.1\r\n" H "\r\n"),
    BAD("two empty lines first", 400, "\r\n\r\n" GET H "\r\n"),
    BAD("LF first", 400, "\n" GET H "\r\n"),
    BAD("TLS hello", 400, "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"),
    BAD("other expectation", 417, POST "Expect: foo\r\nContent-Length: 1\r\n\r\n"),
    BAD("list of expectations", 417, POST "Expect: 100-continue, x\r\n\r\n"),
};

/* Parses a copy of the text in a block of its exact size; slices in h stay valid until the next
 * call. */
static enum http1_result parse(struct str in, struct http1_head *h, size_t *used, int *status,
                               struct err *e)
{
    static char *block;
    free(block);
    block = xmalloc(in.n);
    memcpy(block, in.p, in.n);
    if (in.n == 0) {
        free(block);
        block = NULL;
    }
    return http1_parse_request(block, in.n, h, used, status, e);
}

static void test_refuses_each_malformed_request_with_its_status(void **state)
{
    (void)state;
    assert_true(sizeof bad_requests / sizeof bad_requests[0] >= 46);
    for (size_t i = 0; i < sizeof bad_requests / sizeof bad_requests[0]; i++) {
        const struct bad_case *c = &bad_requests[i];
        struct http1_head h;
        struct err e = {0};
        size_t used = 1;
        int status = 0;
        enum http1_result r = parse(c->in, &h, &used, &status, &e);
        if (r != HTTP1_BAD || status != c->status)
            fail_msg("%s: result %d, status %d, wanted %d", c->name, r, status, c->status);
        assert_int_equal(used, 0);
        assert_int_equal(e.kind, ERR_BAD_REQUEST);
        assert_true(e.msg[0] != '\0');
    }
}

static void test_no_prefix_of_a_malformed_request_passes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_requests / sizeof bad_requests[0]; i++) {
        for (size_t n = 0; n < bad_requests[i].in.n; n++) {
            struct http1_head h;
            size_t used;
            int status;
            struct str in = {bad_requests[i].in.p, n};
            if (parse(in, &h, &used, &status, NULL) == HTTP1_DONE)
                fail_msg("%s passes when cut at %zu", bad_requests[i].name, n);
        }
    }
}

struct good_case {
    const char *in, *path, *query, *authority;
    enum http1_framing framing;
    uint64_t length;
    bool keep_alive, expect;
};

static const struct good_case good_requests[] = {
    {GET H "\r\n", "/", "", "a", HTTP1_NO_BODY, 0, true, false},
    {"\r\n" GET H "\r\n", "/", "", "a", HTTP1_NO_BODY, 0, true, false},
    {"GET /a/b?c=d&e HTTP/1.1\r\nhOST:\t a.example:80 \t\r\n\r\n", "/a/b", "c=d&e", "a.example:80",
     HTTP1_NO_BODY, 0, true, false},
    {"GET /? HTTP/1.1\r\nHost: [::1]:8000\r\n\r\n", "/", "", "[::1]:8000", HTTP1_NO_BODY, 0, true,
     false},
    {"GET //x/%2F?a?b|{}^` HTTP/1.1\r\n" H "\r\n", "//x/%2F", "a?b|{}^`", "a", HTTP1_NO_BODY, 0,
     true, false},
    {"OPTIONS * HTTP/1.1\r\n" H "\r\n", "*", "", "a", HTTP1_NO_BODY, 0, true, false},
    {"GET http://A.b:8/x?y HTTP/1.1\r\nHost: a.B:8\r\n\r\n", "/x", "y", "A.b:8", HTTP1_NO_BODY, 0,
     true, false},
    {"GET HTTPS://a HTTP/1.1\r\n" H "\r\n", "/", "", "a", HTTP1_NO_BODY, 0, true, false},
    {"GET / HTTP/1.0\r\n\r\n", "/", "", "", HTTP1_NO_BODY, 0, false, false},
    {"GET / HTTP/1.0\r\nConnection: x, Keep-Alive\r\n\r\n", "/", "", "", HTTP1_NO_BODY, 0, true,
     false},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n", "/", "", "",
     HTTP1_NO_BODY, 0, false, false},
    {GET H "Connection: foo, Close\r\n\r\n", "/", "", "a", HTTP1_NO_BODY, 0, false, false},
    {GET H "Connection: closed\r\n\r\n", "/", "", "a", HTTP1_NO_BODY, 0, true, false},
    {POST "Content-Length: 0\r\n\r\n", "/", "", "a", HTTP1_LENGTH, 0, true, false},
    {POST "content-length:042\r\n\r\n", "/", "", "a", HTTP1_LENGTH, 42, true, false},
    {POST "Content-Length: 999999999999999\r\n\r\n", "/", "", "a", HTTP1_LENGTH, 999999999999999,
     true, false},
    {POST "Content-Lengthy: 5\r\nContent_Length: 6\r\nXontent-Length: 7\r\n\r\n", "/", "", "a",
     HTTP1_NO_BODY, 0, true, false},
    {POST "TRANSFER-ENCODING: Chunked \r\n\r\n", "/", "", "a", HTTP1_CHUNKED, 0, true, false},
    {POST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\n", "/", "", "a", HTTP1_LENGTH, 1, true,
     true},
    {POST "Expect: 100-continue\r\n\r\n", "/", "", "a", HTTP1_NO_BODY, 0, true, false},
    {"POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", "/", "", "",
     HTTP1_LENGTH, 1, false, false},
    {POST "X-A: caf\xc3\xa9\tand more than eight bytes\r\nX-B:\r\n\r\n", "/", "", "a",
     HTTP1_NO_BODY, 0, true, false},
};

static void assert_slice(struct str got, const char *want)
{
    if (!str_eq(got, str_of(want)))
        fail_msg("got \"%.*s\", wanted \"%s\"", STR_FMT(got), want);
}

static void test_accepts_valid_requests_and_waits_for_every_prefix(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good_requests / sizeof good_requests[0]; i++) {
        const struct good_case *c = &good_requests[i];
        struct http1_head h;
        struct err e = {0};
        size_t used, len = strlen(c->in);
        int status;
        for (size_t n = 0; n < len; n++)
            assert_int_equal(parse((struct str){c->in, n}, &h, &used, &status, &e), HTTP1_MORE);
        if (parse(str_of(c->in), &h, &used, &status, &e) != HTTP1_DONE)
            fail_msg("%s: %s", c->in, e.msg);
        assert_int_equal(used, len);
        assert_slice(h.path, c->path);
        assert_slice(h.query, c->query);
        assert_slice(h.authority, c->authority);
        assert_int_equal(h.framing, c->framing);
        assert_int_equal(h.content_length, c->length);
        assert_int_equal(h.keep_alive, c->keep_alive);
        assert_int_equal(h.expect_continue, c->expect);
    }
}

static void test_leaves_what_follows_the_head_alone(void **state)
{
    (void)state;
    struct http1_head h;
    size_t used;
    int status;
    struct str in = STR(POST "Content-Length: 3\r\n\r\n\0\n\xff");
    assert_int_equal(parse(in, &h, &used, &status, NULL), HTTP1_DONE);
    assert_int_equal(used, in.n - 3);
}

static void test_looks_fields_up_without_regard_to_case(void **state)
{
    (void)state;
    struct http1_head h;
    size_t used;
    int status;
    struct str in = STR(GET "Host: a\r\nX-One:  1 2\t\r\nx-two:\r\nX-ONE: 3\r\n\r\n");
    assert_int_equal(parse(in, &h, &used, &status, NULL), HTTP1_DONE);
    assert_int_equal(h.fields, 4);
    assert_slice(h.method, "GET");
    assert_slice(h.target, "/");
    assert_int_equal(h.minor, 1);
    assert_slice(http1_value(&h, STR("x-one")), "1 2");
    assert_int_equal(http1_count(&h, STR("x-one")), 2);
    assert_non_null(http1_value(&h, STR("X-Two")).p);
    assert_int_equal(http1_value(&h, STR("X-Two")).n, 0);
    assert_null(http1_value(&h, STR("X-Three")).p);
    assert_null(http1_field(&h, STR("X-Three")));
    assert_int_equal(http1_count(&h, STR("X-Three")), 0);
}

static void test_an_earlier_head_leaves_no_trace(void **state)
{
    (void)state;
    struct http1_head h;
    size_t used;
    int status;
    memset(&h, 0xa5, sizeof h);
    struct str first =
        STR("GET http://a/x?y HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 9\r\n\r\n");
    assert_int_equal(parse(first, &h, &used, &status, NULL), HTTP1_DONE);
    assert_int_equal(parse(STR("GET / HTTP/1.0\r\n\r\n"), &h, &used, &status, NULL), HTTP1_DONE);
    assert_int_equal(h.fields, 0);
    assert_null(h.query.p);
    assert_null(h.authority.p);
    assert_int_equal(h.content_length, 0);
    assert_false(h.expect_continue);
}

static enum http1_result parse_fields_of(int count, size_t value_bytes, int *status)
{
    struct buf b = {0};
    buf_adds(&b, GET H);
    for (int i = 1; i < count; i++) {
        buf_adds(&b, "X: ");
        memset(buf_reserve(&b, value_bytes), 'v', value_bytes);
        b.n += value_bytes;
        buf_adds(&b, "\r\n");
    }
    buf_adds(&b, "\r\n");
    struct http1_head h;
    struct err e = {0};
    size_t used;
    enum http1_result r = parse(buf_str(&b), &h, &used, status, &e);
    if (r == HTTP1_BAD)
        assert_int_equal(e.kind, ERR_TOO_LARGE);
    if (r == HTTP1_DONE)
        assert_int_equal(h.fields, count);
    buf_fini(&b);
    return r;
}

static void test_caps_fields_head_and_target(void **state)
{
    (void)state;
    int status = 0;
    assert_int_equal(parse_fields_of(HTTP1_MAX_FIELDS, 1, &status), HTTP1_DONE);
    assert_int_equal(parse_fields_of(HTTP1_MAX_FIELDS + 1, 1, &status), HTTP1_BAD);
    assert_int_equal(status, 431);
    status = 0;
    assert_int_equal(parse_fields_of(2, HTTP1_MAX_HEAD, &status), HTTP1_BAD);
    assert_int_equal(status, 431);
}

static enum http1_result parse_target_of(size_t n, int *status)
{
    struct buf b = {0};
    struct http1_head h;
    size_t used;
    buf_adds(&b, "GET ");
    memset(buf_reserve(&b, n), '/', n);
    b.n += n;
    buf_adds(&b, " HTTP/1.1\r\n" H "\r\n");
    enum http1_result r = parse(buf_str(&b), &h, &used, status, NULL);
    buf_fini(&b);
    return r;
}

static void test_a_long_target_is_414(void **state)
{
    (void)state;
    int status = 0;
    assert_int_equal(parse_target_of(HTTP1_MAX_TARGET, &status), HTTP1_DONE);
    assert_int_equal(parse_target_of(HTTP1_MAX_TARGET + 1, &status), HTTP1_BAD);
    assert_int_equal(status, 414);
}

static void test_a_head_of_the_largest_size_passes(void **state)
{
    (void)state;
    size_t fixed = strlen(GET H "X: \r\n\r\n");
    int status = 0;
    assert_int_equal(parse_fields_of(2, HTTP1_MAX_HEAD - fixed, &status), HTTP1_DONE);
    assert_int_equal(parse_fields_of(2, HTTP1_MAX_HEAD - fixed + 1, &status), HTTP1_BAD);
    assert_int_equal(status, 431);
}

#define OK "HTTP/1.1 200 OK\r\n"

struct response_case {
    const char *in;
    bool head;
    int status;
    enum http1_framing framing;
    bool keep_alive;
};

static const struct response_case good_responses[] = {
    {OK "Content-Length: 5\r\n\r\n", false, 200, HTTP1_LENGTH, true},
    {OK "Content-Length: 5\r\n\r\n", true, 200, HTTP1_NO_BODY, true},
    {OK "Transfer-Encoding: chunked\r\n\r\n", false, 200, HTTP1_CHUNKED, true},
    {OK "\r\n", false, 200, HTTP1_UNTIL_CLOSE, false},
    {OK "Connection: close\r\nContent-Length: 0\r\n\r\n", false, 200, HTTP1_LENGTH, false},
    {"HTTP/1.0 200 OK\r\n\r\n", false, 200, HTTP1_UNTIL_CLOSE, false},
    {"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n", false, 200,
     HTTP1_LENGTH, true},
    {"HTTP/1.1 204 No Content\r\n\r\n", false, 204, HTTP1_NO_BODY, true},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, 304, HTTP1_NO_BODY, true},
    {"HTTP/1.1 100 Continue\r\n\r\n", false, 100, HTTP1_NO_BODY, true},
    {"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", false, 103, HTTP1_NO_BODY, true},
    {"HTTP/1.1 599 \r\n\r\n", false, 599, HTTP1_UNTIL_CLOSE, false},
    {"HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n", false, 404, HTTP1_LENGTH, true},
    {"HTTP/1.1 200 caf\xc3\xa9 \t ok\r\nExpect: foo\r\n\r\n", false, 200, HTTP1_UNTIL_CLOSE, false},
};

static enum http1_result parse_answer(struct str in, bool head, struct http1_head *h, size_t *used,
                                      struct err *e)
{
    static char *block;
    free(block);
    block = xmalloc(in.n);
    memcpy(block, in.p, in.n);
    if (in.n == 0) {
        free(block);
        block = NULL;
    }
    return http1_parse_response(block, in.n, head, h, used, e);
}

static void test_frames_responses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good_responses / sizeof good_responses[0]; i++) {
        const struct response_case *c = &good_responses[i];
        struct http1_head h;
        struct err e = {0};
        size_t used, len = strlen(c->in);
        for (size_t n = 0; n < len; n++)
            assert_int_equal(parse_answer((struct str){c->in, n}, c->head, &h, &used, &e),
                             HTTP1_MORE);
        if (parse_answer(str_of(c->in), c->head, &h, &used, &e) != HTTP1_DONE)
            fail_msg("%s: %s", c->in, e.msg);
        assert_int_equal(used, len);
        assert_int_equal(h.status, c->status);
        assert_int_equal(h.framing, c->framing);
        assert_int_equal(h.keep_alive, c->keep_alive);
    }
}

static const struct str bad_responses[] = {
    {OK "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
    {OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 0},
    {OK "Content-Length: -1\r\n\r\n", 0},
    {OK "Transfer-Encoding: gzip, chunked\r\n\r\n", 0},
    {OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
    {OK "X-A: b\r\n c\r\n\r\n", 0},
    {OK "X-A : b\r\n\r\n", 0},
    {OK "X-A: b\n\r\n", 0},
    {OK "X-A: b\rSet-Cookie: x\r\n\r\n", 0},
    {"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0},
    {"HTTP/2 200 OK\r\n\r\n", 0},
    {"HTTP/1.2 200 OK\r\n\r\n", 0},
    {"HTTP/1.1 99 OK\r\n\r\n", 0},
    {"HTTP/1.1 600 OK\r\n\r\n", 0},
    {"HTTP/1.1 2000 OK\r\n\r\n", 0},
    {"HTTP/1.1 2x0 OK\r\n\r\n", 0},
    {"HTTP/1.1  200 OK\r\n\r\n", 0},
    {"HTTP/1.1 200 O\x01K\r\n\r\n", 0},
    {"HTTP/1.1 200 OK\n\r\n", 0},
    {"ICY 200 OK\r\n\r\n", 0},
};

static void test_refuses_malformed_responses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad_responses / sizeof bad_responses[0]; i++) {
        struct http1_head h;
        struct err e = {0};
        size_t used;
        struct str in = str_of(bad_responses[i].p);
        if (parse_answer(in, false, &h, &used, &e) != HTTP1_BAD)
            fail_msg("passes: %s", in.p);
        assert_int_equal(e.kind, ERR_BAD_UPSTREAM);
    }
}

static void test_an_endless_response_head_is_refused(void **state)
{
    (void)state;
    char *p = xmalloc(HTTP1_MAX_HEAD);
    memset(p, 'a', HTTP1_MAX_HEAD);
    memcpy(p, "HTTP/1.1 200 ", 13);
    struct http1_head h;
    size_t used;
    assert_int_equal(parse_answer((struct str){p, HTTP1_MAX_HEAD - 1}, false, &h, &used, NULL),
                     HTTP1_MORE);
    assert_int_equal(parse_answer((struct str){p, HTTP1_MAX_HEAD}, false, &h, &used, NULL),
                     HTTP1_BAD);
    free(p);
}

static void test_nothing_can_be_injected_through_a_field(void **state)
{
    (void)state;
    struct buf b = {0};
    const struct str bad_values[] = {
        STR("a\r\nX: y"),      STR("a\nX: y"),      STR("a\rb"), STR("a\0b"),
        STR("\x7f"),           STR("12345678\x01"), STR("\x1b"), STR("1234567\r8901234\n"),
        STR("1234567890\x7f"),
    };
    const struct str bad_names[] = {
        STR(""), STR("a b"), STR("a:"), STR("a\r\nb"), STR("a\0b"), STR("\xc3\xa9"), STR("a(b)"),
    };
    for (size_t i = 0; i < sizeof bad_values / sizeof bad_values[0]; i++)
        assert_false(http1_add_field(&b, STR("X"), bad_values[i]));
    for (size_t i = 0; i < sizeof bad_names / sizeof bad_names[0]; i++)
        assert_false(http1_add_field(&b, bad_names[i], STR("x")));
    assert_int_equal(b.n, 0);
    assert_true(http1_add_field(&b, STR("X-A"), STR("caf\xc3\xa9 \t\"ok\"")));
    assert_true(http1_add_field(&b, STR("X-B"), (struct str){0}));
    assert_slice(buf_str(&b), "X-A: caf\xc3\xa9 \t\"ok\"\r\nX-B: \r\n");
    buf_fini(&b);
}

static void test_every_control_character_is_refused_at_every_place(void **state)
{
    (void)state;
    struct buf b = {0};
    for (int c = 0; c < 256; c++) {
        for (size_t at = 0; at < 20; at++) {
            char value[20];
            memset(value, 'v', sizeof value);
            value[at] = (char)c;
            bool want = c == '\t' || (c >= 0x20 && c != 0x7f);
            assert_int_equal(http1_add_field(&b, STR("X"), (struct str){value, sizeof value}),
                             want);
        }
    }
    buf_fini(&b);
}

static void test_writes_status_lines(void **state)
{
    (void)state;
    struct buf b = {0};
    http1_add_status(&b, 200);
    http1_add_status(&b, 431);
    http1_add_status(&b, 299);
    assert_slice(buf_str(&b), "HTTP/1.1 200 OK\r\nHTTP/1.1 431 Request Header Fields Too Large\r\n"
                              "HTTP/1.1 299 Unknown\r\n");
    buf_fini(&b);
}

static void test_knows_tokens(void **state)
{
    (void)state;
    assert_true(http1_is_token(STR("a-Z09!#$%&'*+.^_`|~")));
    assert_false(http1_is_token((struct str){0}));
    const char delimiters[] = "\"(),/:;<=>?@[\\]{} \t\r\n\x7f\x80\xff";
    for (size_t i = 0; i < sizeof delimiters; i++)
        assert_false(http1_is_token((struct str){delimiters + i, 1}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refuses_each_malformed_request_with_its_status),
        cmocka_unit_test(test_no_prefix_of_a_malformed_request_passes),
        cmocka_unit_test(test_accepts_valid_requests_and_waits_for_every_prefix),
        cmocka_unit_test(test_leaves_what_follows_the_head_alone),
        cmocka_unit_test(test_looks_fields_up_without_regard_to_case),
        cmocka_unit_test(test_an_earlier_head_leaves_no_trace),
        cmocka_unit_test(test_caps_fields_head_and_target),
        cmocka_unit_test(test_a_long_target_is_414),
        cmocka_unit_test(test_a_head_of_the_largest_size_passes),
        cmocka_unit_test(test_frames_responses),
        cmocka_unit_test(test_refuses_malformed_responses),
        cmocka_unit_test(test_an_endless_response_head_is_refused),
        cmocka_unit_test(test_nothing_can_be_injected_through_a_field),
        cmocka_unit_test(test_every_control_character_is_refused_at_every_place),
        cmocka_unit_test(test_writes_status_lines),
        cmocka_unit_test(test_knows_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
