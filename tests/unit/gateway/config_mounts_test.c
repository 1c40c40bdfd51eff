/* The upstreams of the configuration: every form in which they are written, every refusal. */
#include "tests/unit/gateway/config_fixture.h"

static void test_mount_defaults(void **state)
{
    (void)state;
    load_fine("upstreams: {a: {url: https://h.example/mcp}}\n");
    assert_true(config->gateway_mode);
    const struct mount_config *m = mount(0);
    assert_string_equal(m->name, "a");
    assert_string_equal(m->prefix, "a");
    assert_int_equal(m->transport, MOUNT_HTTP);
    assert_string_equal(m->url, "https://h.example/mcp");
    assert_null(m->command);
    assert_int_equal(m->era, ERA_PIN_AUTO);
    assert_int_equal(m->session, SESSION_AUTO);
    assert_null(m->bearer_token);
    assert_null(m->bearer_hint);
    assert_int_equal(m->connect_ms, 1000);
    assert_int_equal(m->tls_ms, 3000);
    assert_int_equal(m->first_byte_ms, 60000);
    assert_int_equal(m->idle_ms, 120000);
    assert_int_equal(m->max_ms, 900000);
    assert_null(m->tools_allow);
    assert_false(m->prefix_uris || m->tls_insecure);
}

static void test_reads_every_key_of_a_mount(void **state)
{
    (void)state;
    load("upstreams:\n"
         "  a:\n    url: https://h.example/mcp\n    transport: streamable-http\n    era: legacy\n"
         "    session: perClient\n    namespace: ''\n    auth: {type: bearer, tokenEnv: TOK}\n"
         "    headers: {X-One: '1'}\n    timeout: 60s\n"
         "    timeouts: {connect: 2s, tls: 4s, firstByte: 5s, idle: 6s}\n"
         "    tools: {allow: ['get_*'], deny: [x, y], rename: {get_a: a.b}}\n"
         "    tags: [public]\n    resourceUris: prefix\n    caFile: examples/headgate.yaml\n"
         "  b:\n    command: /bin/sh\n    args: [-c, 'echo a,b']\n    env: {A: '1', B: ''}\n"
         "    cwd: examples\n",
         ENV(V("TOK= abc \n")), NULL);
    assert_said("error: F:8 upstreams.a.auth.tokenEnv: the variable TOK holds a blank: write the "
                "token alone, without 'Bearer'\n");
    load("upstreams:\n"
         "  a:\n    url: https://h.example/mcp\n    transport: streamable-http\n    era: legacy\n"
         "    session: perClient\n    namespace: ''\n    auth: {type: bearer, tokenEnv: TOK}\n"
         "    headers: {X-One: '1'}\n    timeout: 60s\n"
         "    timeouts: {connect: 2s, tls: 4s, firstByte: 5s, idle: 6s}\n"
         "    tools: {allow: ['get_*'], deny: [x, y], rename: {get_a: a.b}}\n"
         "    tags: [public]\n    resourceUris: prefix\n    caFile: examples/headgate.yaml\n"
         "  b:\n    command: /bin/sh\n    args: [-c, 'echo a,b']\n    env: {A: '1', B: ''}\n"
         "    cwd: examples\n",
         ENV(V("TOK=abc\n")), NULL);
    assert_said("");
    const struct mount_config *a = mount(0), *b = mount(1);
    assert_string_equal(a->prefix, "");
    assert_int_equal(a->era, ERA_PIN_LEGACY);
    assert_int_equal(a->session, SESSION_PER_CLIENT);
    assert_string_equal(a->bearer_token, "abc");
    assert_string_equal(a->bearer_hint, "tokenEnv TOK");
    assert_string_equal(a->headers[0].name, "X-One");
    assert_int_equal(a->max_ms, 60000);
    assert_int_equal(a->connect_ms, 2000);
    assert_int_equal(a->idle_ms, 6000);
    assert_string_equal(a->tools_allow[0], "get_*");
    assert_string_equal(a->tools_deny[1], "y");
    assert_string_equal(a->rename[0].value, "a.b");
    assert_string_equal(a->tags[0], "public");
    assert_true(a->prefix_uris);
    assert_string_equal(a->ca_file, "examples/headgate.yaml");
    assert_int_equal(b->transport, MOUNT_STDIO);
    assert_string_equal(b->command, "/bin/sh");
    assert_string_equal(b->args[1], "echo a,b");
    assert_int_equal(b->envs, 2);
    assert_string_equal(b->cwd, "examples");
    assert_string_equal(b->prefix, "b");
}

static void test_mode_decides_about_mounts(void **state)
{
    (void)state;
    const char *text = "upstreams: {a: {url: http://h/m}}\n";
    char servers[] = "MCP_MOUNT_SERVERS=[{\"name\":\"b\",\"url\":\"http://h/m\"}]";
    load(text, ENV(V("MCP_MODE=server")), NULL);
    assert_said("warning: MCP_MODE: is server, so the upstreams of the file are not used; write "
                "gateway, or leave MCP_MODE out\n");
    assert_false(config->gateway_mode);
    assert_int_equal(config->mount_count, 0);
    load(NULL, ENV(servers), NULL);
    assert_said("warning: MCP_MOUNT_SERVERS: is not used without MCP_MODE=gateway, ignored\n");
    assert_int_equal(config->mount_count, 0);
    load(text, ENV(servers), NULL);
    assert_int_equal(config->mount_count, 1);
    load(text, ENV(servers, V("MCP_MODE=gateway")), NULL);
    assert_said("");
    assert_int_equal(config->mount_count, 2);
    assert_string_equal(mount(1)->name, "b");
    load(NULL, ENV(V("MCP_MODE=gateway")), NULL);
    assert_said("warning: MCP_MODE: is gateway, but there are no upstreams\n");
    assert_true(config->gateway_mode);
    load(NULL, ENV(V("MCP_MODE=proxy")), NULL);
    assert_said("error: MCP_MODE: 'proxy' is not one of: server, gateway\n");
}

static void load_servers(const char *json, const char *extra)
{
    struct buf b = {0};
    buf_addf(&b, "MCP_MOUNT_SERVERS=%s", json);
    buf_addc(&b, '\0');
    char *copy = xstrdup(extra);
    load(NULL, ENV(V("MCP_MODE=gateway"), b.p, copy), NULL);
    free(copy);
    buf_fini(&b);
}

static void test_mount_servers_as_list_and_map(void **state)
{
    (void)state;
    load_servers("[{\"name\":\"a\",\"url\":\"http://h/m\",\"namespace\":\"\"},"
                 "{\"name\":\"b\",\"url\":\"http://h/n\",\"extra\":1}]",
                 "X=1");
    assert_said("warning: MCP_MOUNT_SERVERS [1].extra: is not a known key; ignored\n");
    assert_string_equal(mount(0)->prefix, "");
    load_servers("{\"a\":{\"transport\":\"streamable-http\",\"url\":\"http://h/m\","
                 "\"auth\":{\"type\":\"bearer\",\"tokenEnv\":\"T\"}},"
                 "\"b\":{\"url\":\"http://h/n\",\"auth\":{\"type\":\"header\",\"header\":\"X-Key\","
                 "\"token\":\"k\"}}}",
                 "T=tok");
    assert_said("");
    assert_string_equal(mount(0)->bearer_token, "tok");
    assert_string_equal(mount(1)->headers[0].name, "X-Key");
    assert_string_equal(mount(1)->headers[0].value, "k");
    load_servers("{\"mcpServers\":{\"a\":{\"url\":\"http://h/m\"}}}", "X=1");
    assert_int_equal(config->mount_count, 1);
    load_servers("[{\"url\":\"http://h/m\"}]", "X=1");
    assert_says("error: MCP_MOUNT_SERVERS [0]: needs a name");
    load_servers("[{\"name\":\"a\"", "X=1");
    assert_says("error: MCP_MOUNT_SERVERS: not valid YAML");
    load_servers("\"text\"", "X=1");
    assert_says("error: MCP_MOUNT_SERVERS: is a single value, but must be a map");
    load_servers("{\"a\":{\"url\":\"http://h/m\",\"auth\":{\"tokenEnv\":\"NOPE\"}}}", "X=1");
    assert_said(
        "error: MCP_MOUNT_SERVERS a.auth.tokenEnv: the variable NOPE is not set: tokenEnv is the "
        "name of a variable, not its value\n");
}

static void test_reads_a_desktop_clients_document(void **state)
{
    (void)state;
    load("{\n\t\"mcpServers\": {\n"
         "\t\t\"My Files\": {\"command\":\"/bin/sh\",\"args\":[\"-c\",\"${DIR}\",\"$${X}\"],"
         "\"env\":{\"K\":\"${env:KEY}\",\"PORT\":3000}},\n"
         "\t\t\"web\": {\"type\":\"streamable-http\",\"url\":\"${BASE:-https://h.example}/mcp\","
         "\"headers\":{\"Authorization\":\"Bearer ${KEY}\",\"Accept\":\"*/*\"},\"timeout\":60},\n"
         "\t\t\"off\": {\"command\":\"${UNSET}\",\"disabled\":true},\n"
         "\t\t\"off2\": {\"url\":\"http://h/\",\"enabled\":false}\n"
         "\t},\n\t\"globalShortcut\": \"Ctrl\"\n}\n",
         ENV(V("DIR=/srv"), V("KEY=s3cret"), V("BASE=")), NULL);
    assert_said(
        "warning: F:8 globalShortcut: is not a known key; ignored\n"
        "warning: F:3 mcpServers.My Files: is called 'my-files': names are a-z, 0-9 and "
        "'-', at most 32\n"
        "warning: F:4 mcpServers.web.timeout: has no unit, ignored; write it as 60s or 500ms\n"
        "warning: F:4 mcpServers.web.headers.Accept: is written by the gateway itself; "
        "ignored\n");
    assert_int_equal(config->mount_count, 2);
    assert_string_equal(mount(0)->name, "my-files");
    assert_string_equal(mount(0)->prefix, "my-files");
    assert_string_equal(mount(0)->args[1], "/srv");
    assert_string_equal(mount(0)->args[2], "${X}");
    assert_string_equal(mount(0)->env[0].value, "s3cret");
    assert_string_equal(mount(0)->env[1].value, "3000");
    assert_string_equal(mount(1)->url, "https://h.example/mcp");
    assert_string_equal(mount(1)->url_shown, "${BASE:-https://h.example}/mcp");
    assert_string_equal(mount(1)->headers[0].value, "Bearer s3cret");
    assert_int_equal(mount(1)->header_count, 1);
    assert_int_equal(mount(1)->max_ms, 900000);
}

static void test_reads_an_editors_document(void **state)
{
    (void)state;
    load_fine("{\"inputs\":[{\"id\":\"k\"}],\"servers\":{\"a\":{\"type\":\"http\","
              "\"url\":\"http://h/m\"},\"b\":{\"type\":\"stdio\",\"command\":\"/bin/sh\"}}}");
    assert_int_equal(config->mount_count, 2);
    refuse("{\"servers\":{\"a\":{\"url\":\"http://h/m\",\"headers\":{\"X\":\"${input:k}\"}}}}",
           "error: F:1 servers.a.headers.X: ${input:k} asks a person, and nobody is there to "
           "answer: set an environment variable and write ${env:NAME}");
    refuse("{\"servers\":{\"a\":{\"command\":\"/bin/sh\",\"envFile\":\".env\"}}}",
           "error: F:1 servers.a.envFile: is not read");
}

static void test_variables_that_cannot_be_filled_in(void **state)
{
    (void)state;
    refuse("upstreams: {a: {url: '${NOPE}/mcp'}}\n",
           "error: F:1 upstreams.a.url: the variable NOPE is not set: set it, or write "
           "${NOPE:-default}");
    refuse("upstreams: {a: {url: 'http://h/${X'}}\n", "has '${' without '}'");
    refuse("upstreams: {a: {url: 'http://h/${a b}'}}\n", "holds a ${…} that is not understood");
    refuse("upstreams: {a: {url: 'http://h/${}'}}\n", "is not understood");
    refuse("upstreams: {a: {command: sh, args: ['${command:x}']}}\n", "is not understood");
}

static void test_variables_are_not_expanded_twice(void **state)
{
    (void)state;
    load("upstreams: {a: {command: /bin/sh, args: ['${A}', '${B:-}', x$]}}\n", ENV(V("A=${B}")),
         NULL);
    assert_said("");
    assert_string_equal(mount(0)->args[0], "${B}");
    assert_string_equal(mount(0)->args[1], "");
    assert_string_equal(mount(0)->args[2], "x$");
}

static void test_names_are_made_legal(void **state)
{
    (void)state;
    const struct {
        const char *label, *name;
    } cases[] = {{"GitHub", "github"},
                 {"a_b.c", "a-b-c"},
                 {" x  y ", "x-y"},
                 {"com.example/Files!", "com-example-files"},
                 {"0123456789012345678901234567890 tail", "0123456789012345678901234567890"},
                 {"\xc3\xa9t\xc3\xa9", "t"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[160];
        (void)snprintf(text, sizeof text, "upstreams: {'%s': {url: http://h/m}}\n", cases[i].label);
        load(text, NULL, NULL);
        assert_string_equal(mount(0)->name, cases[i].name);
        assert_says("is called '");
    }
    load_fine("upstreams: {a-1--b: {url: http://h/m}}\n");
    refuse("upstreams: {'--': {url: http://h/m}}\n", "needs a name with at least one letter");
}

static void test_clashes_are_errors(void **state)
{
    (void)state;
    load("upstreams:\n  a_b: {url: http://h/m}\n  A.B: {url: http://h/n}\n", NULL, NULL);
    assert_says("error: F:3 upstreams.A.B: has the name 'a-b', as upstreams.a_b (line 2) has\n");
    refuse(
        "upstreams:\n  a: {url: http://h/m, namespace: x}\n  b: {url: http://h/n, namespace: x}\n",
        "error: F:3 upstreams.b: has the namespace 'x', as upstreams.a (line 2) has\n");
    load_fine(
        "upstreams:\n  a: {url: http://h/m, namespace: ''}\n  b: {url: http://h/n, namespace: "
        "''}\n");
    refuse("upstreams:\n  a: {url: http://h/m, tools: {rename: {x: same}}}\n"
           "  b: {url: http://h/n, tools: {rename: {y: same}}}\n",
           "error: F:3 upstreams.b: has the renamed tool 'same', as upstreams.a (line 2) has\n");
    refuse("upstreams: {a: {url: http://h/m, tools: {rename: {x: same, y: same}}}}\n",
           "has the renamed tool 'same'");
    load("upstreams: {a: {url: http://h/m}}\n",
         ENV(V("MCP_MODE=gateway"), V("MCP_MOUNT_SERVERS={\"a\":{\"url\":\"http://h/m\"}}")), NULL);
    assert_said("error: MCP_MOUNT_SERVERS a: has the name 'a', as upstreams.a (line 1) has\n");
}

static void test_namespaces(void **state)
{
    (void)state;
    load_fine("upstreams: {a: {url: http://h/m, namespace: My_name-1}}\n");
    assert_string_equal(mount(0)->prefix, "My_name-1");
    refuse("upstreams: {a: {url: http://h/m, namespace: a.b}}\n", "may hold only letters");
    refuse("upstreams: {a: {url: http://h/m, namespace: _a}}\n", "may hold only letters");
    refuse("upstreams: {a: {url: http://h/m, namespace: a-}}\n", "may hold only letters");
    refuse("upstreams: {a: {url: http://h/m, namespace: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}}\n",
           "is too long: at most 32");
    refuse("maxNameLength: 24\nupstreams: {a: {url: http://h/m, namespace: aaaaaaaaaaaaaaaa}}\n",
           "is too long for maxNameLength 24");
}

static void test_transports(void **state)
{
    (void)state;
    refuse("upstreams: {a: {transport: sse, command: x}}\n", "is sse, but there is no url");
    refuse("upstreams: {a: {url: http://h/m, command: x}}\n", "has both url and command");
    refuse("upstreams: {a: {transport: stdio, url: http://h/m}}\n", "is stdio, but there is no "
                                                                    "command");
    refuse("upstreams: {a: {transport: http, command: x}}\n", "is http, but there is no url");
    refuse("upstreams: {a: {transport: carrier-pigeon, url: http://h/m}}\n",
           "is not one of: http,");
    refuse("upstreams: {a: {url: http://h/m, args: [x]}}\n", "args: is only for upstreams with "
                                                             "command");
    refuse("upstreams: {a: {command: /bin/sh, headers: {A: b}}}\n",
           "headers: is only for upstreams with url");
    refuse("upstreams: {a: {url: ~}}\n", "needs url:");
    refuse("upstreams: {a: http://h/m}\n", "is a single value, but must be a map");
    refuse("upstreams: 3\n", "must be a map of upstreams by name");
}

static void test_urls(void **state)
{
    (void)state;
    refuse("upstreams: {a: {url: 'http://u:hush@h/m'}}\n", "write them as auth:");
    assert_null(strstr(said.p, "hush"));
    refuse("upstreams: {a: {url: 'http://h/m#x'}}\n", "fragment");
    refuse("upstreams: {a: {url: 'http://'}}\n", "upstreams.a.url: ");
    load_fine("upstreams: {a: {url: 'https://h/m?key=hush'}}\n");
    assert_string_equal(mount(0)->url_shown, "https://h/m");
}

static void test_commands_and_files(void **state)
{
    (void)state;
    warn("upstreams: {a: {command: no-such-program -x}}\n",
         "warning: F:1 upstreams.a.command: 'no-such-program -x' is not found in PATH; arguments "
         "belong in args: [a, b]\n");
    refuse("upstreams: {a: {command: /bin/sh, cwd: no/such}}\n",
           "upstreams.a.cwd: 'no/such' does not exist");
    refuse("upstreams: {a: {command: /bin/sh, cwd: examples/headgate.yaml}}\n",
           "is not a directory");
    refuse("upstreams: {a: {url: https://h/m, ca: no/such}}\n",
           "upstreams.a.ca: 'no/such' does not exist");
    refuse("upstreams: {a: {url: https://h/m, caFile: examples}}\n", "is a directory");
    refuse("upstreams: {a: {command: /bin/sh, env: {'A=B': c}}}\n", "is not a name of a variable");
    warn(
        "upstreams: {a: {url: https://h/m, insecureSkipVerify: true}}\n",
        "warning: F:1 upstreams.a.insecureSkipVerify: is on: anyone on the way can read and change "
        "what this upstream says\n");
}

static void refuse_auth(const char *auth, const char *want)
{
    struct buf b = {0};
    buf_addf(&b, "upstreams: {a: {url: https://h/m, %s}}\n", auth);
    buf_addc(&b, '\0');
    load(b.p, ENV(V("EMPTY="), V("LINES=a\nb"), V("BLANK=Bearer hush")), NULL);
    assert_null(config);
    assert_says(want);
    assert_null(strstr(said.p, "hush"));
    buf_fini(&b);
}

static void test_auth_refusals(void **state)
{
    (void)state;
    refuse_auth("auth: {type: passthrough}",
                "a client's token is never passed on: give the gateway "
                "one of its own");
    refuse_auth("auth: {type: oauth-client}", "is not available in this version");
    refuse_auth("auth: {type: bearer}", "has no token: write tokenEnv: NAME");
    refuse_auth("auth: {type: bearer, token: hush, tokenEnv: A}", "has more than one of token");
    refuse_auth("auth: {type: bearer, tokenEnv: NOPE}", "the variable NOPE is not set");
    refuse_auth("auth: {tokenEnv: ghp_hushhushhushhushhush42}", "the variable […] is not set");
    refuse_auth("auth: {tokenEnv: 'hush-hush'}", "the variable […] is not set");
    refuse_auth("auth: {tokenEnv: EMPTY}", "the variable EMPTY is empty");
    refuse_auth("auth: {tokenEnv: LINES}", "holds a character that a header may not hold");
    refuse_auth("auth: {tokenEnv: BLANK}", "without 'Bearer'");
    refuse_auth("auth: {token: 'Bearer hush'}", "without 'Bearer'");
    refuse_auth("auth: {tokenFile: no/such}", "auth.tokenFile: 'no/such' does not exist");
    refuse_auth("auth: {type: none, token: hush}", "is none, but there is a token");
    refuse_auth("auth: {type: bearer, token: hush, header: X-A}", "is only for type: header");
    refuse_auth("auth: {type: header, token: hush}", "auth.header: is missing");
    refuse_auth("auth: {header: 'a b', token: hush}", "is not a header for credentials");
    refuse_auth("auth: {header: Host, token: hush}", "is not a header for credentials");
    refuse_auth("auth: {header: X-A, token: hush}, headers: {x-a: y}", "is in headers too");
    refuse_auth("auth: {header: X-A, tokenFile: no/such}", "is only for type: bearer");
    refuse_auth("auth: {token: hush}, headers: {authorization: y}", "is what auth writes");
    refuse_auth("auth: bearer", "is a single value, but must be a map");
    refuse_auth("auth: {type: bearer, token: [hush]}", "is a list");
    refuse_auth("auth: {value: hush, token: hush}", "says the same as 'auth.token'");
}

static void test_auth_forms(void **state)
{
    (void)state;
    load_fine("upstreams:\n  a: {url: https://h/m, auth: {token: t}}\n"
              "  b: {url: https://h/m, auth: {tokenFile: examples/headgate.yaml}}\n"
              "  c: {url: https://h/m, auth: {type: none}}\n"
              "  d: {url: https://h/m, auth: {header: X-A, value: 'a b'}}\n");
    assert_string_equal(mount(0)->bearer_token, "t");
    assert_string_equal(mount(0)->bearer_hint, "token");
    assert_string_equal(mount(1)->bearer_token_file, "examples/headgate.yaml");
    assert_null(mount(1)->bearer_token);
    assert_null(mount(2)->bearer_hint);
    assert_string_equal(mount(3)->headers[0].value, "a b");
}

static void test_headers(void **state)
{
    (void)state;
    refuse("upstreams: {a: {url: https://h/m, headers: {'A b': c}}}\n",
           "headers.A b: is not a header");
    refuse("upstreams: {a: {url: https://h/m, headers: {A: \"c\\nhush: 1\"}}}\n",
           "is not a header");
    assert_null(strstr(said.p, "hush"));
    refuse("upstreams: {a: {url: https://h/m, headers: {A: b, a: c}}}\n",
           "headers.a: is given twice");
    load("upstreams: {a: {url: https://h/m, headers: {Host: x, A: b, TE: y}}}\n", NULL, NULL);
    assert_int_equal(mount(0)->header_count, 1);
    assert_string_equal(mount(0)->headers[0].name, "A");
}

static void test_tools(void **state)
{
    (void)state;
    refuse("upstreams: {a: {url: https://h/m, tools: {allow: ['a[bc]']}}}\n", "is not a pattern");
    refuse("upstreams: {a: {url: https://h/m, tools: {deny: ['']}}}\n", "is not a pattern");
    refuse("upstreams: {a: {url: https://h/m, tools: {rename: {x: 'a b'}}}}\n",
           "not a public name");
    refuse("upstreams: {a: {url: https://h/m, tools: {rename: {x: ''}}}}\n", "not a public name");
    refuse("upstreams: {a: {url: https://h/m, tags: ['a b']}}\n", "each tag must be a word");
    refuse("upstreams: {a: {url: https://h/m, tools: [x]}}\n", "is a list, but must be a map");
    load_fine("upstreams: {a: {url: https://h/m, include: ['a*'], exclude: [ab]}}\n");
    assert_string_equal(mount(0)->tools_allow[0], "a*");
    assert_string_equal(mount(0)->tools_deny[0], "ab");
    refuse("upstreams: {a: {url: https://h/m, exclude: [x], tools: {deny: [y]}}}\n",
           "says the same as 'tools.deny'");
}

static void test_uris_follow_the_gateway_unless_said(void **state)
{
    (void)state;
    load_fine("resourceUris: prefix\nupstreams:\n  a: {url: http://h/m}\n"
              "  b: {url: http://h/n, resourceUris: plain}\n");
    assert_true(config->prefix_uris && mount(0)->prefix_uris);
    assert_false(mount(1)->prefix_uris);
}

static void test_too_many_upstreams_are_refused(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_adds(&b, "upstreams:\n");
    for (int i = 0; i < 501; i++)
        buf_addf(&b, "  u%d: {url: http://h/m}\n", i);
    buf_addc(&b, '\0');
    refuse(b.p, "holds too many upstreams: at most 500");
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_mount_defaults),
        T(test_reads_every_key_of_a_mount),
        T(test_mode_decides_about_mounts),
        T(test_mount_servers_as_list_and_map),
        T(test_reads_a_desktop_clients_document),
        T(test_reads_an_editors_document),
        T(test_variables_that_cannot_be_filled_in),
        T(test_variables_are_not_expanded_twice),
        T(test_names_are_made_legal),
        T(test_clashes_are_errors),
        T(test_namespaces),
        T(test_transports),
        T(test_urls),
        T(test_commands_and_files),
        T(test_auth_refusals),
        T(test_auth_forms),
        T(test_headers),
        T(test_tools),
        T(test_uris_follow_the_gateway_unless_said),
        T(test_too_many_upstreams_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
