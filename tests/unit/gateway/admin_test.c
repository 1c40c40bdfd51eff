/* The control plane's documents and routes: what they say, and what they never show. */
#include "tests/unit/gateway/admin_fixture.h"

static struct admin_answer answer;
static struct json_doc doc;

static int set_up(void **state)
{
    (void)state;
    set_up_gateway();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    buf_fini(&answer.body);
    json_fini(&doc);
    doc = (struct json_doc){0};
    tear_down_gateway();
    return 0;
}

/* Asks and, when the answer is JSON, parses it. */
static int ask(const char *method, const char *path)
{
    struct err e = {0};
    buf_fini(&answer.body);
    admin_answer(&gw, str_of(method), str_of(path), &answer);
    if (!strcmp(answer.type, "application/json") &&
        !json_parse(&doc, answer.body.p, answer.body.n, &e))
        fail_msg("%s: %.*s", e.msg, STR_FMT(buf_str(&answer.body)));
    return answer.status;
}

static bool has(const char *text)
{
    return str_find(buf_str(&answer.body), str_of(text)) >= 0;
}

/* The raw text of a member of the array's element at. */
static void expect(int at, const char *name, const char *raw)
{
    uint32_t tok = 0;
    if (at >= 0) {
        tok = json_first(&doc, 0);
        while (at-- > 0)
            tok = json_next(&doc, 0, tok);
    }
    uint32_t v = json_get(&doc, tok, str_of(name));
    struct str found = v == JSON_NONE ? STR("absent") : json_raw(&doc, v);
    char *z = xmemdup0(found.p, found.n);
    assert_string_equal(z, raw);
    free(z);
}

static void info_tells_who_and_how_many(void **state)
{
    (void)state;
    assert_int_equal(ask("GET", "/api/info"), 200);
    expect(-1, "mode", "\"gateway\"");
    expect(-1, "listen", "[\"127.0.0.1:8000\"]");
    expect(-1, "counts", "{\"tools\":2,\"prompts\":1,\"resources\":1,\"templates\":1}");
    expect(-1, "upstreams", "{\"up\":1,\"total\":2}");
    expect(-1, "auth_type", "\"none\"");
}

static void info_works_before_the_first_catalog(void **state)
{
    struct catalog *c = gw.control.catalog;
    (void)state;
    gw.control.catalog = NULL;
    gw.watch = NULL;
    assert_int_equal(ask("GET", "/api/info"), 200);
    expect(-1, "counts", "{\"tools\":0,\"prompts\":0,\"resources\":0,\"templates\":0}");
    expect(-1, "upstreams", "{\"up\":0,\"total\":2}");
    assert_int_equal(ask("GET", "/api/tools"), 200);
    assert_true(str_eq(buf_str(&answer.body), STR("[]")));
    assert_int_equal(ask("GET", "/api/upstreams"), 200);
    expect(1, "state", "\"connecting\"");
    gw.control.catalog = c;
}

static void an_upstream_that_is_up_is_described(void **state)
{
    (void)state;
    assert_int_equal(ask("GET", "/api/upstreams"), 200);
    expect(0, "name", "\"files\"");
    expect(0, "transport", "\"stdio\"");
    expect(0, "command", "\"files-server\"");
    expect(0, "url", "absent");
    expect(0, "namespace", "\"files\"");
    expect(0, "state", "\"up\"");
    expect(0, "era", "\"legacy\"");
    expect(0, "version", "\"2025-06-18\"");
    expect(0, "session", "\"auto\"");
    expect(0, "server", "\"Files\"");
    expect(0, "counts", "{\"tools\":1,\"prompts\":0,\"resources\":1,\"templates\":1}");
    expect(0, "error", "null");
    expect(0, "since", "\"2023-11-14T22:13:20.123Z\"");
    expect(0, "tags", "[\"local\",\"fast\"]");
}

static void an_upstream_without_credential_says_what_to_set(void **state)
{
    (void)state;
    assert_int_equal(ask("GET", "/api/upstreams"), 200);
    expect(1, "state", "\"needs_authorization\"");
    expect(1, "status", "\"needs authorization\"");
    expect(1, "session", "\"perClient\"");
    expect(1, "era", "null");
    expect(1, "since", "null");
    expect(1, "error", "\"status 401; set auth.tokenEnv or auth.tokenFile of upstreams.web\"");
}

static void upstreams_show_no_query_and_no_arguments(void **state)
{
    (void)state;
    assert_int_equal(ask("GET", "/api/upstreams"), 200);
    expect(1, "url", "\"http://127.0.0.1:9/mcp\"");
    assert_false(has("hush"));
}

static void tools_carry_their_definitions_unchanged(void **state)
{
    (void)state;
    assert_int_equal(ask("GET", "/api/tools"), 200);
    assert_int_equal(doc.tok[0].count, 2);
    expect(0, "name", "\"files_read\"");
    expect(0, "upstream_name", "\"read\"");
    expect(0, "description", "\"a \\\"b\\\"\"");
    expect(0, "inputSchema", "{\"n\":0.10}");
    expect(1, "upstream", "\"web\"");
    expect(1, "title", "\"Get\"");
}

static void a_server_cannot_claim_another_upstream(void **state)
{
    (void)state;
    assert_int_equal(ask("GET", "/api/tools"), 200);
    expect(0, "upstream", "\"files\"");
    assert_false(has("liar"));
}

static void resources_include_templates(void **state)
{
    (void)state;
    assert_int_equal(ask("GET", "/api/resources"), 200);
    assert_int_equal(doc.tok[0].count, 2);
    expect(0, "uri", "\"file:///a\"");
    expect(0, "is_template", "absent");
    expect(1, "uriTemplate", "\"file:///{p}\"");
    expect(1, "is_template", "true");
    assert_int_equal(ask("GET", "/api/prompts"), 200);
    expect(0, "arguments", "[{\"name\":\"q\"}]");
}

static void metrics_are_measured_when_asked_for(void **state)
{
    (void)state;
    assert_int_equal(ask("GET", "/metrics"), 200);
    assert_string_equal(answer.type, "text/plain; version=0.0.4");
    assert_true(has("mcp_gateway_snapshot_version 7\n"));
    assert_true(has("mcp_catalog_entries{kind=\"tools\"} 2\n"));
    assert_true(has("mcp_draining 0\n"));
    assert_true(metric_get(metric_of(M_RSS)) > 0);
    gw.draining = true;
    assert_int_equal(ask("GET", "/metrics"), 200);
    assert_true(has("mcp_draining 1\n"));
}

static void charged_bytes_follow_the_heap_small_and_large(void **state)
{
    enum { LARGE = 32 << 20 };
    (void)state;
    assert_int_equal(ask("GET", "/metrics"), 200);
    int64_t before = metric_get(metric_of(M_CHARGED));
    char *p = xmalloc(LARGE);
    memset(p, 1, LARGE);
    assert_int_equal(ask("GET", "/metrics"), 200);
    int64_t after = metric_get(metric_of(M_CHARGED));
    free(p);
#ifndef __SANITIZE_ADDRESS__ /* its allocator tells mallinfo2 nothing */
#ifndef __SANITIZE_THREAD__
    assert_true(after - before >= LARGE && after - before < LARGE + LARGE / 4);
#endif
#endif
    assert_true(before >= 0 && after >= 0);
}

static void reload_and_drain_act_once(void **state)
{
    (void)state;
    assert_int_equal(ask("POST", "/reload"), 200);
    expect(-1, "status", "\"reloaded\"");
    reload_works = false;
    assert_int_equal(ask("POST", "/reload"), 500);
    expect(-1, "status", "\"error\"");
    expect(-1, "detail", "\"line 3: \\\"no\\\"\"");
    assert_int_equal(ask("POST", "/drain"), 202);
    assert_int_equal(drains, 1);
}

static void wrong_methods_and_paths_are_refused(void **state)
{
    (void)state;
    assert_int_equal(ask("GET", "/drain"), 405);
    assert_string_equal(answer.allow, "POST");
    assert_int_equal(drains, 0);
    assert_int_equal(ask("POST", "/api/info"), 405);
    assert_string_equal(answer.allow, "GET");
    assert_int_equal(ask("GET", "/api/infos"), 404);
    assert_int_equal(ask("GET", "/api/"), 404);
    assert_int_equal(ask("GET", ""), 404);
}

static void debug_info_hides_secrets(void **state)
{
    (void)state;
    assert_int_equal(ask("GET", "/debug/info"), 200);
    assert_true(has("\"config\":{"));
    assert_true(has("\"info\":{"));
    assert_false(has("?key="));
}

static void paths_lie_below_the_base_path(void **state)
{
    struct config *c = gw.control.config;
    char *base = c->base_path, acme[] = "/acme";
    (void)state;
    c->base_path = acme;
    assert_int_equal(ask("GET", "/acme/api/info"), 200);
    assert_int_equal(ask("GET", "/api/info"), 404);
    c->metrics_enabled = false;
    assert_int_equal(ask("GET", "/acme/metrics"), 404);
    c->base_path = base;
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(info_tells_who_and_how_many),
        T(info_works_before_the_first_catalog),
        T(an_upstream_that_is_up_is_described),
        T(an_upstream_without_credential_says_what_to_set),
        T(upstreams_show_no_query_and_no_arguments),
        T(tools_carry_their_definitions_unchanged),
        T(a_server_cannot_claim_another_upstream),
        T(resources_include_templates),
        T(metrics_are_measured_when_asked_for),
        T(charged_bytes_follow_the_heap_small_and_large),
        T(reload_and_drain_act_once),
        T(wrong_methods_and_paths_are_refused),
        T(debug_info_hides_secrets),
        T(paths_lie_below_the_base_path),
    };
    metrics_rows_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
