/* Single values of HTTP fields: lists, Accept, Content-Type, and URLs. */
#include "base/http1.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void assert_slice(struct str got, const char *want)
{
    if (!str_eq(got, str_of(want)))
        fail_msg("got \"%.*s\", wanted \"%s\"", STR_FMT(got), want);
}

static void test_finds_tokens_in_lists(void **state)
{
    (void)state;
    assert_true(http1_list_has(STR("a,\tUpgrade ,b"), STR("upgrade")));
    assert_true(http1_list_has(STR("close"), STR("close")));
    assert_false(http1_list_has(STR("closed, xclose"), STR("close")));
    assert_false(http1_list_has((struct str){0}, STR("close")));
}

static void test_judges_accept(void **state)
{
    (void)state;
    const struct {
        const char *accept;
        bool json, events;
    } cases[] = {
        {"", true, true},
        {" , ", true, true},
        {"*/*", true, true},
        {"*; q=.2", true, true},
        {"application/json, text/event-stream", true, true},
        {"Application/JSON", true, false},
        {"application/*", true, false},
        {"text/*;q=0.1", false, true},
        {"text/html", false, false},
        {"application/json;q=0, */*", false, true},
        {"*/*;q=0", false, false},
        {"*/*;q=0, application/*", true, false},
        {"application/*;q=0,application/json;q=0.001", true, false},
        {"application/json;q=0.000", false, false},
        {"application/json ; charset=utf-8 ; Q=1", true, false},
        {"text/html;a=\"x,application/json\"", false, false},
        {"text/html;a=\"\\\",\", application/json;p=\";q=0\"", true, false},
        {"application/jsonp, xapplication/json, application/json2/*", false, false},
        {"text/*;q=0;x, text/event-stream", false, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct str accept = str_of(cases[i].accept);
        if (http1_accepts(accept, STR("application/json")) != cases[i].json ||
            http1_accepts(accept, STR("text/event-stream")) != cases[i].events)
            fail_msg("wrong for \"%s\"", cases[i].accept);
    }
    assert_true(http1_accepts((struct str){0}, STR("application/json")));
}

static void test_reads_content_types(void **state)
{
    (void)state;
    struct str json = STR("application/json");
    assert_true(http1_type_is(json, json));
    assert_true(http1_type_is(STR(" Application/Json ; charset=utf-8"), json));
    assert_false(http1_type_is(STR("application/json2"), json));
    assert_false(http1_type_is(STR("text/plain; application/json"), json));
    assert_false(http1_type_is((struct str){0}, json));
}

static void test_parses_urls(void **state)
{
    (void)state;
    const struct {
        const char *url, *host, *target;
        uint16_t port;
        bool https, has_port;
    } cases[] = {
        {"http://a", "a", "/", 80, false, false},
        {"HTTPS://A.example/mcp?x=1", "A.example", "/mcp?x=1", 443, true, false},
        {"http://127.0.0.1:8000/", "127.0.0.1", "/", 8000, false, true},
        {"http://[::1]:1/x", "::1", "/x", 1, false, true},
        {"https://[fe80::1]", "fe80::1", "/", 443, true, false},
        {"http://a:/x", "a", "/x", 80, false, false},
        {"http://a_b-c.d./%7e/@", "a_b-c.d.", "/%7e/@", 80, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http1_url u;
        struct err e = {0};
        if (!http1_parse_url(str_of(cases[i].url), &u, &e))
            fail_msg("%s: %s", cases[i].url, e.msg);
        assert_slice(u.host, cases[i].host);
        assert_slice(u.target, cases[i].target);
        assert_int_equal(u.port, cases[i].port);
        assert_int_equal(u.https, cases[i].https);
        assert_int_equal(u.has_port, cases[i].has_port);
    }
}

static void test_refuses_malformed_urls(void **state)
{
    (void)state;
    const struct str urls[] = {
        STR(""),
        STR("http://"),
        STR("http:///x"),
        STR("ftp://a/"),
        STR("//a/"),
        STR("a/b"),
        STR("http:a"),
        STR("http://u:p@a/"),
        STR("http://u@a/"),
        STR("http://a/#f"),
        STR("http://a?x"),
        STR("http://a/ b"),
        STR("http://a/\r\nX"),
        STR("http://a/\0"),
        STR("http://a/%g0"),
        STR("http://a/\xc3\xa9"),
        STR("http://a:0/"),
        STR("http://a:65536/"),
        STR("http://a:123456/"),
        STR("http://a:-1/"),
        STR("http://a:1:2/"),
        STR("http://[::1/"),
        STR("http://[::1]x/"),
        STR("http://[fe80::1%25eth0]/"),
        STR("http://[1.2.3.4]/"),
        STR("http://::1/"),
        STR("http://a%2e/"),
        STR("http://a\\b/"),
        STR("http://:80/"),
    };
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct http1_url u;
        struct err e = {0};
        if (http1_parse_url(urls[i], &u, &e))
            fail_msg("passes: %.*s", STR_FMT(urls[i]));
        assert_int_equal(e.kind, ERR_CONFIG);
    }
}

static void test_resolves_references_within_the_origin(void **state)
{
    (void)state;
    static const struct {
        const char *ref, *target;
    } cases[] = {
        {"/messages?sessionId=1", "/messages?sessionId=1"},
        {"messages/?session_id=1", "/api/messages/?session_id=1"},
        {"?sessionId=1", "/api/sse?sessionId=1"},
        {"../m", "/m"},
        {"../../../m", "/m"},
        {"./m/./n/..", "/api/m/"},
        {"/", "/"},
        {"/a//b", "/a//b"},
        {"http://h.example:8080/m?x=/../y", "/m?x=/../y"},
        {"HTTP://H.Example:8080", "/"},
        {"//h.example:8080/m", "/m"},
    };
    struct http1_url base;
    assert_true(http1_parse_url(STR("http://h.example:8080/api/sse?a=b"), &base, NULL));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buf out = {0};
        struct err e = {0};
        if (!http1_resolve(&base, str_of(cases[i].ref), &out, &e))
            fail_msg("%s: %s", cases[i].ref, e.msg);
        assert_slice(buf_str(&out), cases[i].target);
        buf_fini(&out);
    }
}

static void test_refuses_references_to_other_origins(void **state)
{
    (void)state;
    static const char *const refs[] = {
        "",
        "https://h.example:8080/m",
        "http://h.example/m",
        "http://h.example:8081/m",
        "http://other.example:8080/m",
        "//other.example:8080/m",
        "http://u@h.example:8080/m",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "/m#fragment",
        "/m n",
        "/m\r\nX: y",
        "/%zz",
    };
    struct http1_url base;
    assert_true(http1_parse_url(STR("http://h.example:8080/sse"), &base, NULL));
    for (size_t i = 0; i < sizeof refs / sizeof refs[0]; i++) {
        struct buf out = {0};
        struct err e = {0};
        if (http1_resolve(&base, str_of(refs[i]), &out, &e))
            fail_msg("passes: %s", refs[i]);
        assert_int_equal(e.kind, ERR_BAD_UPSTREAM);
        assert_int_equal(out.n, 0);
        buf_fini(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_tokens_in_lists),
        cmocka_unit_test(test_judges_accept),
        cmocka_unit_test(test_reads_content_types),
        cmocka_unit_test(test_parses_urls),
        cmocka_unit_test(test_refuses_malformed_urls),
        cmocka_unit_test(test_resolves_references_within_the_origin),
        cmocka_unit_test(test_refuses_references_to_other_origins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
