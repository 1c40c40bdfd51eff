/* The configuration of limits, result cache and trusted proxies. */
#include "tests/unit/gateway/config_fixture.h"

static const struct limits_config *limits(void)
{
    assert_non_null(config);
    return &config->limits;
}

static void rates_come_from_file_and_environment(void **state)
{
    (void)state;
    load("limits: {default: 100/min, perTool: {files_read: 5/s, a.b: 0/h}, failMode: closed}\n",
         NULL, NULL);
    assert_said("");
    assert_int_equal(limits()->fallback.limit, 100);
    assert_int_equal(limits()->tool_count, 2);
    assert_string_equal(limits()->tools[0].name, "files_read");
    assert_false(limits()->tools[0].folded);
    assert_int_equal(limits()->tools[1].rate.limit, 0);
    assert_int_equal(limits()->fail, FAIL_CLOSED);
    load("limits: {default: 100/min, perTool: {files_read: 5/s}}\n",
         ENV(V("MCP_RATE_LIMIT_DEFAULT=7/h"), V("MCP_RATE_LIMIT_FILES_READ=9/s"),
             V("MCP_RATE_LIMIT_EMPTY=")),
         NULL);
    assert_said("");
    assert_int_equal(limits()->fallback.limit, 7);
    assert_int_equal(limits()->tool_count, 2);
    assert_string_equal(limits()->tools[0].name, "FILES_READ"); /* the environment wins */
    assert_true(limits()->tools[0].folded);
    load(NULL, NULL, FLAGS("--limits.default=3/s"));
    assert_said("");
    assert_int_equal(limits()->fallback.limit, 3);
}

static void malformed_rates_name_their_option(void **state)
{
    (void)state;
    refuse("limits: {default: banana}\n",
           "F:1 limits.default: 'banana' is not a rate: write it as");
    refuse("limits:\n  perTool: {x: 5/week}\n", "limits.perTool.x: '5/week' is not a rate");
    load(NULL, ENV(V("MCP_RATE_LIMIT_DEFAULT=10")), NULL);
    assert_null(config);
    assert_says("MCP_RATE_LIMIT_DEFAULT: '10' is not a rate");
    load(NULL, ENV(V("MCP_RATE_LIMIT_MY_TOOL=1/2s")), NULL);
    assert_null(config);
    assert_says("MCP_RATE_LIMIT_MY_TOOL: '1/2s' is not a rate");
    refuse("limits:\n  rules:\n    - {rate: often}\n",
           "F:3 limits.rules[0].rate: 'often' is not a rate");
}

static void rules_say_what_they_match_and_count(void **state)
{
    (void)state;
    load("limits:\n"
         "  failMode: open\n"
         "  rules:\n"
         "    - rate: 600/min\n"
         "    - name: writes\n"
         "      match: {tools: [\"*_write\", \"*_delete\"], tenants: [acme]}\n"
         "      per: [principal, tool]\n"
         "      rate: 5/min\n"
         "      failMode: closed\n"
         "    - {match: {methods: [prompts/get, resources/read]}, per: [], rate: 9/s}\n",
         NULL, NULL);
    assert_said("");
    assert_int_equal(limits()->rule_count, 3);
    const struct limit_rule *r = limits()->rules;
    assert_string_equal(r[0].name, "rules[0]");
    assert_int_equal(r[0].per, PER_TENANT | PER_TOOL);
    assert_int_equal(r[0].fail, FAIL_OPEN);
    assert_string_equal(r[0].methods[0], "tools/call");
    assert_null(r[0].methods[1]);
    assert_string_equal(r[1].name, "writes");
    assert_int_equal(r[1].per, PER_PRINCIPAL | PER_TOOL);
    assert_int_equal(r[1].fail, FAIL_CLOSED);
    assert_string_equal(r[1].tools[1], "*_delete");
    assert_string_equal(r[1].tenants[0], "acme");
    assert_int_equal(r[2].per, 0);
    assert_string_equal(r[2].methods[1], "resources/read");
    assert_true(limits()->across_tenants);
}

static void wrong_rules_are_refused(void **state)
{
    (void)state;
    refuse("limits: {rules: [{per: [tool]}]}\n", "limits.rules[0]: needs a rate");
    refuse("limits: {rules: [{rate: 1/s, per: [client]}]}\n",
           "limits.rules[0].per: 'client' is unknown: write tenant, principal and tool");
    refuse("limits: {rules: [{rate: 1/s, match: {methods: [tools/list]}}]}\n",
           "limits.rules[0].match.methods: 'tools/list' cannot be limited");
    refuse("limits: {rules: [{rate: 1/s, match: {methods: [completion/complete]}}]}\n",
           "cannot be limited");
    refuse("limits: {rules: [{rate: 1/s, match: {tool: [x]}}]}\n",
           "limits.rules[0].match.tool: is not a known key; did you mean 'tools'?");
    refuse("limits: {rules: [{rate: 1/s, match: {tools: [\"a[b]\"]}}]}\n", "is not a pattern");
    refuse("limits: {rules: {rate: 1/s}}\n", "limits.rules: must be a list");
    refuse("limits: {rules: [{rate: 1/s, name: a}, {rate: 2/s, name: a}]}\n",
           "has two rules called 'a'");
    refuse("limits: {response: 503}\n", "limits.response");
}

static void cache_rules_are_read(void **state)
{
    (void)state;
    load("cache:\n"
         "  maxSize: 10\n"
         "  maxBytes: 1MiB\n"
         "  tools:\n"
         "    \"search_*\": {ttl: 30s, scope: public}\n"
         "    \"list_?\": 1m\n"
         "    own: {scope: public}\n",
         NULL, NULL);
    assert_said("");
    const struct cache_config *c = &config->cache;
    assert_true(c->enabled);
    assert_int_equal(c->max_size, 10);
    assert_int_equal(c->rule_count, 3);
    assert_string_equal(c->rules[0].tools, "search_*");
    assert_int_equal(c->rules[0].ttl_ms, 30000);
    assert_true(c->rules[0].shared);
    assert_int_equal(c->rules[1].ttl_ms, 60000);
    assert_false(c->rules[1].shared);
    assert_int_equal(c->rules[2].ttl_ms, -1);
    load(NULL, ENV(V("MCP_CACHE_ENABLED=false"), V("MCP_CACHE_MAX_SIZE=7")), NULL);
    assert_said("");
    assert_false(config->cache.enabled);
    assert_int_equal(config->cache.max_size, 7);
    refuse("cache: {tools: {x: soon}}\n", "cache.tools.x: 'soon' ");
    refuse("cache: {tools: {x: {ttl: 2d}}}\n", "cache.tools.x.ttl");
    refuse("cache: {tools: {x: {scope: all}}}\n", "cache.tools.x.scope");
    refuse("cache: {tools: [x]}\n", "cache.tools: must be a map");
    refuse("cache: {tools: {\"a[b]\": 1s}}\n", "is not a pattern");
}

static void trusted_proxies_are_ranges(void **state)
{
    (void)state;
    load("trustedProxies: [10.0.0.0/8, \"2001:db8::/32\", 192.0.2.1]\n", NULL, NULL);
    assert_said("");
    assert_int_equal(config->trusted_proxy_count, 3);
    assert_int_equal(config->trusted_proxies[1].bits, 32);
    refuse("trustedProxies: [10.0.0.1/8]\n",
           "trustedProxies: '10.0.0.1/8' is not an address range");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rates_come_from_file_and_environment, set_up, tear_down),
        cmocka_unit_test_setup_teardown(malformed_rates_name_their_option, set_up, tear_down),
        cmocka_unit_test_setup_teardown(rules_say_what_they_match_and_count, set_up, tear_down),
        cmocka_unit_test_setup_teardown(wrong_rules_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cache_rules_are_read, set_up, tear_down),
        cmocka_unit_test_setup_teardown(trusted_proxies_are_ranges, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
