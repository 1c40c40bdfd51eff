/* Fetches against a server in a thread: what is sent, what comes back, each way to fail, and that
 * the address policy holds for literals and for names. */
#include "base/fetch.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/base/tls_fixture.h"

#define OK_ANSWER                                                                                  \
    "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: 2\r\n"    \
    "\r\n{}"

struct world {
    struct loop *loop;
    struct fetcher *fetcher;
};

static int set_up(void **state)
{
    static struct world w;
    w.loop = loop_new("test");
    w.fetcher = fetcher_new(w.loop);
    *state = &w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    fetcher_free(&w->fetcher);
    assert_null(w->fetcher);
    loop_free(&w->loop);
    return 0;
}

/* What a fetch led to, copied. */
struct result {
    struct loop *loop;
    int calls, stop_after, status;
    char body[128], type[64];
    size_t body_bytes;
    struct err err;
};

static void copy_text(char *to, size_t size, struct str s)
{
    size_t n = s.n < size - 1 ? s.n : size - 1;
    if (n)
        memcpy(to, s.p, n);
    to[n] = '\0';
}

static void on_done(const struct fetch_response *r, const struct err *e, void *arg)
{
    struct result *x = arg;
    x->calls++;
    assert_int_equal(r == NULL, e != NULL);
    if (e)
        x->err = *e;
    if (r) {
        x->status = r->status;
        x->body_bytes = r->body.n;
        copy_text(x->body, sizeof x->body, r->body);
        copy_text(x->type, sizeof x->type, r->content_type);
    }
    if (x->calls >= x->stop_after)
        loop_stop(x->loop);
}

static struct result run_fetch(struct world *w, const struct fetch_request *req)
{
    struct result r = {.loop = w->loop, .stop_after = 1};
    assert_non_null(fetch_start(w->fetcher, req, on_done, &r));
    assert_int_equal(r.calls, 0);
    loop_run(w->loop);
    assert_int_equal(r.calls, 1);
    return r;
}

/* Reads one request, head and as much body as it says, and answers with the script. */
static void answer(struct server *s)
{
    s->got_bytes = 0;
    char *end = NULL;
    size_t want = SIZE_MAX;
    while (s->got_bytes < want) {
        ssize_t n = server_get(s, s->got + s->got_bytes, sizeof s->got - 1 - s->got_bytes);
        if (n <= 0)
            return;
        s->got_bytes += (size_t)n;
        s->got[s->got_bytes] = '\0';
        end = end ? end : strstr(s->got, "\r\n\r\n");
        const char *length = strstr(s->got, "Content-Length: ");
        if (end)
            want = (size_t)(end - s->got) + 4 +
                   (length ? (size_t)strtoul(length + strlen("Content-Length: "), NULL, 10) : 0);
    }
    (void)server_put(s, s->script, strlen(s->script));
    if (s->ssl)
        SSL_shutdown(s->ssl);
}

static const char *url_of(const struct server *s, const char *scheme, const char *host)
{
    static char url[128];
    (void)snprintf(url, sizeof url, "%s://%s:%u/path?q=1", scheme, host, s->port);
    return url;
}

static struct result fetch_answer(struct world *w, const char *script)
{
    struct server s = {.serve = answer, .script = script};
    start_server(&s);
    struct fetch_request req = {.url = url_of(&s, "http", "127.0.0.1"), .allow_private = true};
    struct result r = run_fetch(w, &req);
    stop_server(&s);
    return r;
}

static void test_a_get_brings_status_body_and_type(void **state)
{
    struct result r = fetch_answer(*state, OK_ANSWER);
    assert_int_equal(r.err.kind, ERR_NONE);
    assert_int_equal(r.status, 200);
    assert_string_equal(r.body, "{}");
    assert_string_equal(r.type, "application/json; charset=utf-8");
}

static void test_ipv6_addresses_are_connected_to(void **state)
{
    struct server s = {.serve = answer, .script = OK_ANSWER};
    start_server(&s);
    struct fetch_request req = {.url = url_of(&s, "http", "[::ffff:127.0.0.1]"),
                                .allow_private = true};
    struct result r = run_fetch(*state, &req);
    stop_server(&s);
    assert_string_equal(r.err.msg, "");
    assert_int_equal(r.status, 200);
}

static void test_an_answer_without_type_or_body_is_fine(void **state)
{
    struct result r = fetch_answer(*state, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(r.status, 404);
    assert_int_equal(r.body_bytes, 0);
    assert_string_equal(r.type, "");
}

static void test_redirects_are_not_followed(void **state)
{
    struct result r =
        fetch_answer(*state, "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(r.status, 302);
}

static void test_a_post_sends_method_headers_and_body(void **state)
{
    struct world *w = *state;
    struct server s = {.serve = answer, .script = OK_ANSWER};
    start_server(&s);
    const char *headers[] = {"Content-Type: text/x", "X-Empty:", "X-Spaced: \t a b ", NULL};
    struct fetch_request req = {.url = url_of(&s, "http", "127.0.0.1"),
                                .method = "POST",
                                .headers = headers,
                                .body = STR("a\0b"),
                                .allow_private = true};
    struct result r = run_fetch(w, &req);
    stop_server(&s);
    assert_int_equal(r.status, 200);
    assert_int_equal(strncmp(s.got, "POST /path?q=1 HTTP/1.1\r\n", 25), 0);
    assert_non_null(strstr(s.got, "\r\nContent-Type: text/x\r\n"));
    assert_non_null(strstr(s.got, "\r\nX-Empty:\r\n"));
    assert_non_null(strstr(s.got, "\r\nX-Spaced: a b\r\n"));
    assert_null(strstr(s.got, "Expect"));
    assert_memory_equal(s.got + s.got_bytes - 3, "a\0b", 3);
}

static void test_other_methods_are_sent_as_they_are(void **state)
{
    struct world *w = *state;
    const char *methods[] = {"POST", "DELETE", "HEAD"};
    for (size_t i = 0; i < 3; i++) {
        struct server s = {.serve = answer,
                           .script = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};
        start_server(&s);
        struct fetch_request req = {
            .url = url_of(&s, "http", "127.0.0.1"), .method = methods[i], .allow_private = true};
        assert_int_equal(run_fetch(w, &req).status, 200);
        stop_server(&s);
        assert_int_equal(strncmp(s.got, methods[i], strlen(methods[i])), 0);
    }
}

static void test_the_environment_names_no_proxy(void **state)
{
    const char *names[] = {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"};
    for (size_t i = 0; i < 4; i++)
        setenv(names[i], "http://127.0.0.1:1", 1);
    struct result r = fetch_answer(*state, OK_ANSWER);
    for (size_t i = 0; i < 4; i++)
        unsetenv(names[i]);
    assert_int_equal(r.status, 200);
}

static struct result fetch_limited(struct world *w, const char *script, size_t max_bytes)
{
    struct server s = {.serve = answer, .script = script};
    start_server(&s);
    struct fetch_request req = {
        .url = url_of(&s, "http", "127.0.0.1"), .max_bytes = max_bytes, .allow_private = true};
    struct result r = run_fetch(w, &req);
    stop_server(&s);
    return r;
}

static void test_an_answer_over_the_limit_is_too_large(void **state)
{
    const char *ten = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";
    const char *chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                          "6\r\n012345\r\n4\r\n6789\r\n0\r\n\r\n";
    const char *closed = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123456789";
    const char *scripts[] = {ten, chunked, closed};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(fetch_limited(*state, scripts[i], 9).err.kind, ERR_TOO_LARGE);
        struct result r = fetch_limited(*state, scripts[i], 10);
        assert_string_equal(r.body, "0123456789");
    }
}

static void test_what_is_no_http_is_unavailable(void **state)
{
    assert_int_equal(fetch_answer(*state, "hello\r\n\r\n").err.kind, ERR_UNAVAILABLE);
    assert_int_equal(fetch_answer(*state, "").err.kind, ERR_UNAVAILABLE);
    assert_int_equal(
        fetch_answer(*state, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort").err.kind,
        ERR_UNAVAILABLE);
}

static void test_a_refused_connection_is_unavailable(void **state)
{
    struct server s = {.serve = answer, .script = OK_ANSWER};
    start_server(&s);
    stop_server(&s);
    struct fetch_request req = {.url = url_of(&s, "http", "127.0.0.1"), .allow_private = true};
    assert_int_equal(run_fetch(*state, &req).err.kind, ERR_UNAVAILABLE);
}

static void say_nothing(struct server *s)
{
    char got[256];
    while (server_get(s, got, sizeof got) > 0)
        ;
}

static void test_silence_is_a_timeout(void **state)
{
    struct server s = {.serve = say_nothing};
    start_server(&s);
    struct fetch_request req = {
        .url = url_of(&s, "http", "127.0.0.1"), .timeout_ms = 50, .allow_private = true};
    assert_int_equal(run_fetch(*state, &req).err.kind, ERR_TIMEOUT);
    stop_server(&s);
}

static void count_connections(struct server *s)
{
    s->got_bytes++;
}

static void test_the_policy_stops_addresses_and_names_before_a_connection(void **state)
{
    struct server s = {.serve = count_connections, .connections = 100};
    start_server(&s);
    char url[128];
    const char *private[] = {"127.0.0.1",  "localhost",          "127.1",
                             "0177.0.0.1", "2130706433",         "0x7f000001",
                             "[::1]",      "[::ffff:127.0.0.1]", "[::7f00:1]"};
    for (size_t i = 0; i < sizeof private / sizeof private[0]; i++) {
        (void)snprintf(url, sizeof url, "http://%s:%u/", private[i], s.port);
        assert_int_equal(run_fetch(*state, &(struct fetch_request){.url = url}).err.kind,
                         ERR_FORBIDDEN);
    }
    const char *never[] = {
        "169.254.169.254", "0.0.0.0",        "0", "[::]", "[fe80::1]", "[::ffff:169.254.169.254]",
        "224.0.0.1",       "255.255.255.255"};
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        (void)snprintf(url, sizeof url, "http://%s:%u/", never[i], s.port);
        struct fetch_request req = {.url = url, .allow_private = true};
        assert_int_equal(run_fetch(*state, &req).err.kind, ERR_FORBIDDEN);
    }
    stop_server(&s);
    assert_int_equal(s.got_bytes, 0);
}

/* A connection that one fetch may have must not carry another that may not. */
static void test_connections_are_not_shared_between_policies(void **state)
{
    struct server s = {.serve = answer, .script = OK_ANSWER, .connections = 2};
    start_server(&s);
    struct fetch_request req = {.url = url_of(&s, "http", "127.0.0.1"), .allow_private = true};
    assert_int_equal(run_fetch(*state, &req).status, 200);
    req.allow_private = false;
    assert_int_equal(run_fetch(*state, &req).err.kind, ERR_FORBIDDEN);
    stop_server(&s);
}

static void test_malformed_requests_are_config_errors(void **state)
{
    const char *urls[] = {"",
                          "ftp://127.0.0.1/",
                          "file:///etc/passwd",
                          "http://",
                          "http://u:p@127.0.0.1/",
                          "http://127.0.0.1/#x",
                          "//127.0.0.1",
                          "http://127.0.0.1/\r\nX: y"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct fetch_request req = {.url = urls[i], .allow_private = true};
        assert_int_equal(run_fetch(*state, &req).err.kind, ERR_CONFIG);
    }
    const char *lines[] = {"X: a\r\nY: b", "X: a\nb", "X", "X;", ": a", "X Y: a", "X : a", ""};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const char *headers[] = {lines[i], NULL};
        struct fetch_request req = {.url = "http://127.0.0.1:1/", .headers = headers};
        assert_int_equal(run_fetch(*state, &req).err.kind, ERR_CONFIG);
    }
    struct fetch_request req = {.url = "http://127.0.0.1:1/", .method = "GET / HTTP/1.1\r\nX:"};
    assert_int_equal(run_fetch(*state, &req).err.kind, ERR_CONFIG);
}

static void test_tls_is_verified_against_the_given_authority(void **state)
{
    struct world *w = *state;
    struct identity ca = make_identity("ca", NULL, NULL, 30);
    struct identity other = make_identity("other", NULL, NULL, 30);
    struct identity id = make_identity("s", &ca, "DNS:localhost", 30);
    struct ca_file files[] = {make_ca_file(&ca), make_ca_file(&other)};
    const struct {
        const char *host, *ca_file;
        int status;
    } cases[] = {
        {"localhost", files[0].path, 200},       {"localhost", files[1].path, 0},
        {"127.0.0.1", files[0].path, 0},         {"localhost", NULL, 0},
        {"localhost", "/nonexistent/ca.pem", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct server s = {.identity = &id, .serve = answer, .script = OK_ANSWER};
        start_server(&s);
        struct fetch_request req = {.url = url_of(&s, "https", cases[i].host),
                                    .ca_file = cases[i].ca_file,
                                    .allow_private = true};
        struct result r = run_fetch(w, &req);
        stop_server(&s);
        assert_int_equal(r.status, cases[i].status);
        assert_int_equal(r.err.kind, cases[i].status ? ERR_NONE : ERR_UNAVAILABLE);
    }
    close(files[0].fd);
    close(files[1].fd);
    free_identity(&ca);
    free_identity(&other);
    free_identity(&id);
}

static void test_many_run_at_once(void **state)
{
    struct world *w = *state;
    struct server s = {.serve = answer, .script = OK_ANSWER, .connections = 20};
    start_server(&s);
    struct result r = {.loop = w->loop, .stop_after = 20};
    struct fetch_request req = {
        .url = url_of(&s, "http", "127.0.0.1"), .timeout_ms = 60000, .allow_private = true};
    for (int i = 0; i < 20; i++)
        (void)fetch_start(w->fetcher, &req, on_done, &r);
    loop_run(w->loop);
    stop_server(&s);
    assert_int_equal(r.calls, 20);
    assert_int_equal(r.err.kind, ERR_NONE);
}

static void test_a_cancelled_fetch_never_calls_back(void **state)
{
    struct world *w = *state;
    struct server s = {.serve = answer, .script = OK_ANSWER, .connections = 2};
    start_server(&s);
    struct result gone = {.loop = w->loop, .stop_after = 9};
    struct fetch_request req = {.url = url_of(&s, "http", "127.0.0.1"), .allow_private = true};
    struct fetch_request malformed = {.url = "x"};
    struct fetch *running = fetch_start(w->fetcher, &req, on_done, &gone);
    struct fetch *ended = fetch_start(w->fetcher, &malformed, on_done, &gone);
    fetch_cancel(&running);
    fetch_cancel(&ended);
    assert_null(running);
    assert_null(ended);
    fetch_cancel(&ended);
    assert_int_equal(run_fetch(w, &req).status, 200);
    assert_int_equal(gone.calls, 0);
    stop_server(&s);
}

struct chain {
    struct world *w;
    struct fetch *fetch;
    const char *url;
    int rounds;
};

/* Cancels itself, starts the next, and at last frees the fetcher with one under way. */
static void on_chain(const struct fetch_response *r, const struct err *e, void *arg)
{
    struct chain *c = arg;
    assert_non_null(r);
    assert_null(e);
    fetch_cancel(&c->fetch);
    struct fetch_request req = {.url = c->url, .allow_private = true};
    c->fetch = fetch_start(c->w->fetcher, &req, on_chain, c);
    if (++c->rounds == 3) {
        struct fetch_request malformed = {.url = "x"};
        (void)fetch_start(c->w->fetcher, &malformed, on_chain, c);
        fetcher_free(&c->w->fetcher);
        loop_stop(c->w->loop);
    }
}

static void test_a_callback_may_cancel_start_and_free(void **state)
{
    struct world *w = *state;
    struct server s = {.serve = answer, .script = OK_ANSWER, .connections = 3};
    start_server(&s);
    struct chain c = {.w = w, .url = url_of(&s, "http", "127.0.0.1")};
    struct fetch_request req = {.url = c.url, .allow_private = true};
    c.fetch = fetch_start(w->fetcher, &req, on_chain, &c);
    loop_run(w->loop);
    assert_int_equal(c.rounds, 3);
    stop_server(&s);
}

static void test_freeing_cancels_what_is_under_way(void **state)
{
    struct world *w = *state;
    struct server s = {.serve = say_nothing};
    start_server(&s);
    struct result gone = {.loop = w->loop, .stop_after = 9};
    struct fetch_request req = {.url = url_of(&s, "http", "127.0.0.1"), .allow_private = true};
    for (int i = 0; i < 3; i++)
        (void)fetch_start(w->fetcher, &req, on_done, &gone);
    fetcher_free(&w->fetcher);
    stop_server(&s);
    assert_int_equal(gone.calls, 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_get_brings_status_body_and_type),
        TEST(test_ipv6_addresses_are_connected_to),
        TEST(test_an_answer_without_type_or_body_is_fine),
        TEST(test_redirects_are_not_followed),
        TEST(test_a_post_sends_method_headers_and_body),
        TEST(test_other_methods_are_sent_as_they_are),
        TEST(test_the_environment_names_no_proxy),
        TEST(test_an_answer_over_the_limit_is_too_large),
        TEST(test_what_is_no_http_is_unavailable),
        TEST(test_a_refused_connection_is_unavailable),
        TEST(test_silence_is_a_timeout),
        TEST(test_the_policy_stops_addresses_and_names_before_a_connection),
        TEST(test_connections_are_not_shared_between_policies),
        TEST(test_malformed_requests_are_config_errors),
        TEST(test_tls_is_verified_against_the_given_authority),
        TEST(test_many_run_at_once),
        TEST(test_a_cancelled_fetch_never_calls_back),
        TEST(test_a_callback_may_cancel_start_and_free),
        TEST(test_freeing_cancels_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
