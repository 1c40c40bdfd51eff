/* The gateway's configuration: defaults, sources and their order, refusals, keys, and what is never
 * shown. */
#include "tests/unit/gateway/config_fixture.h"

static void test_defaults(void **state)
{
    (void)state;
    load(NULL, NULL, NULL);
    assert_said("");
    assert_string_equal(config->listen[0], "127.0.0.1:8000");
    assert_null(config->listen[1]);
    assert_null(config->admin_listen);
    assert_false(config->admin_public);
    assert_string_equal(config->path, "/mcp");
    assert_string_equal(config->base_path, "");
    assert_string_equal(config->server_name, "headgate");
    assert_int_equal(config->log_level, LV_INFO);
    assert_false(config->log_json || config->gateway_mode);
    assert_true(config->metrics_enabled);
    assert_true(config->ui_enabled);
    assert_int_equal(config->threads, 1);
    assert_null(config->cors_origins);
    assert_null(config->allowed_hosts);
    assert_string_equal(config->separator, "_");
    assert_int_equal(config->max_name, 64);
    assert_int_equal(config->on_duplicate, DUPLICATE_WARN);
    assert_int_equal(config->page_size, 1000);
    assert_int_equal(config->max_body_bytes, 4 << 20);
    assert_int_equal(config->max_message_bytes, 16 << 20);
    assert_int_equal(config->max_buffered_bytes, 512 << 20);
    assert_int_equal(config->max_connections, 10000);
    assert_int_equal(config->max_sessions, 10000);
    assert_int_equal(config->session_idle_ms, 3600000);
    assert_int_equal(config->startup_wait_ms, 3000);
    assert_int_equal(config->drain_ms, 25000);
    assert_int_equal(config->lame_duck_ms, 0);
    assert_int_equal(config->header_ms, 10000);
    assert_int_equal(config->body_ms, 30000);
    assert_int_equal(config->keep_alive_ms, 75000);
    assert_int_equal(config->mount_count, 0);
    assert_null(config->source);
}

static void test_order_is_file_environment_flags(void **state)
{
    (void)state;
    const char *text = "serverName: file\npath: /file/mcp\nlog: {level: debug}\nthreads: 2\n";
    load(text, ENV(V("MCP_SERVER_NAME=env"), V("MCP_PATH=/env/mcp"), V("LOG_LEVEL=WARNING")),
         FLAGS("--server-name=flag", "--threads", "3"));
    assert_said("");
    assert_string_equal(config->server_name, "flag");
    assert_string_equal(config->path, "/env/mcp");
    assert_string_equal(config->base_path, "/env");
    assert_int_equal(config->log_level, LV_WARN);
    assert_int_equal(config->threads, 3);
}

static void test_every_variable_works(void **state)
{
    (void)state;
    load(NULL,
         ENV(V("MCP_MODE=Gateway"),
             V("MCP_MOUNT_SERVERS=[{\"name\":\"a\",\"url\":\"http://h/m\"}]"),
             V("MCP_HOST=0.0.0.0"), V("MCP_PORT=9000"), V("MCP_PATH=/acme/mcp"),
             V("MCP_SERVER_NAME=n"), V("MCP_SERVER_VERSION=1.0"), V("LOG_LEVEL=ERROR"),
             V("LOG_FORMAT=JSON"),
             V("MCP_CORS_ALLOWED_ORIGINS=https://a.example, https://B.example"),
             V("MCP_ON_DUPLICATE_TOOLS=replace"), V("MCP_METRICS_ENABLED=on"),
             V("MCP_UI_ENABLED=0"), V("MCP_ENV=test")),
         NULL);
    assert_said("");
    assert_true(config->gateway_mode);
    assert_string_equal(mount(0)->url, "http://h/m");
    assert_string_equal(config->listen[0], "0.0.0.0:9000");
    assert_string_equal(config->path, "/acme/mcp");
    assert_string_equal(config->base_path, "/acme");
    assert_string_equal(config->server_version, "1.0");
    assert_int_equal(config->log_level, LV_ERROR);
    assert_true(config->log_json);
    assert_string_equal(config->cors_origins[1], "https://b.example");
    assert_int_equal(config->on_duplicate, DUPLICATE_REPLACE);
    assert_true(config->metrics_enabled);
    assert_false(config->ui_enabled);
    assert_false(config->production);
    assert_int_equal(config->lame_duck_ms, 5000);
}

static void test_host_and_port_replace_halves_of_listen(void **state)
{
    (void)state;
    const char *text = "listen: [127.0.0.2:9001, 127.0.0.3:9002]\n";
    load(text, ENV(V("MCP_PORT=7")), NULL);
    assert_string_equal(config->listen[0], "127.0.0.2:7");
    assert_null(config->listen[1]);
    load(text, ENV(V("MCP_HOST=::1")), NULL);
    assert_string_equal(config->listen[0], "[::1]:9001");
    load("listen: 9001\n", ENV(V("MCP_HOST=0.0.0.0")), NULL);
    assert_string_equal(config->listen[0], "0.0.0.0:9001");
    load(text, ENV(V("MCP_HOST=0.0.0.0"), V("MCP_PORT=1")), FLAGS("--listen=127.0.0.1:5"));
    assert_string_equal(config->listen[0], "127.0.0.1:5");
    assert_int_equal(config->lame_duck_ms, 0);
    load(text, ENV(V("MCP_PORT=http")), NULL);
    assert_said("error: MCP_PORT: 'http' is not a port: write a number from 0 to 65535\n");
}

static void test_service_link_is_not_a_port(void **state)
{
    (void)state;
    load(NULL, ENV(V("MCP_PORT=tcp://10.0.0.1:8000")), NULL);
    assert_says("warning: MCP_PORT: is the link that Kubernetes makes");
    assert_string_equal(config->listen[0], "127.0.0.1:8000");
}

static void test_listen(void **state)
{
    (void)state;
    load_fine("listen: [':9000', '[::1]:1', localhost:2, 3]\nadmin: {listen: 127.0.0.1:9}\n");
    assert_string_equal(config->listen[3], "127.0.0.1:3");
    assert_int_equal(config->lame_duck_ms, 5000);
    assert_string_equal(config->admin_listen, "127.0.0.1:9");
    load_fine("listen: '0.0.0.0:1'\ntimeouts: {lameDuck: 0}\n");
    assert_int_equal(config->lame_duck_ms, 0);
    refuse("listen: []\n", "error: F:1 listen: needs at least one address");
    refuse("a: 1\n\nlisten: nowhere\n", "error: F:3 listen: ");
    refuse("listen: [127.0.0.1:1, 127.0.0.1:1]\n", "'127.0.0.1:1' is given twice");
    refuse("admin: {listen: example.com:1}\n", "error: F:1 admin.listen: ");
}

static void test_path(void **state)
{
    (void)state;
    load_fine("path: /a/b/mcp\n");
    assert_string_equal(config->base_path, "/a/b");
    load(NULL, ENV(V("MCP_PATH=mcp")), NULL);
    assert_said("error: MCP_PATH: 'mcp' must begin with '/', as /mcp\n");
    refuse("path: /\n", "needs a name");
    refuse("path: /mcp/\n", "must not end with '/'");
    refuse("path: /a//b\n", "may hold only");
    refuse("path: /a/../b\n", "may hold only");
    refuse("path: /a?b\n", "may hold only");
    refuse("path: /x/healthz\n", "is the path of another route");
}

static void test_origins_and_hosts(void **state)
{
    (void)state;
    load_fine("cors: {allowedOrigins: ['*', 'https://A.example:8443', 'vscode-webview://x']}\n"
              "allowedHosts: [Mcp.example.com, '*']\n");
    assert_string_equal(config->cors_origins[1], "https://a.example:8443");
    assert_string_equal(config->allowed_hosts[0], "mcp.example.com");
    refuse("cors: {allowedOrigins: [a.example]}\n", "'a.example' is not an origin");
    refuse("cors: {allowedOrigins: ['https://a.example/']}\n", "must not end with '/'");
    refuse("cors: {allowedOrigins: ['https://a.example/x']}\n", "is not an origin");
    refuse("cors: {allowedOrigins: ['https://*.a.example']}\n", "is not an origin");
    refuse("allowedHosts: ['https://a.example']\n", "without scheme and path");
    refuse("allowedHosts: ['*.a.example']\n", "write the whole name");
}

static void test_bounds(void **state)
{
    (void)state;
    refuse("threads: 65\n", "error: F:1 threads: '65' is out of bounds: write 1 to 64");
    refuse("maxBodyBytes: 4M\n", "write it as 4MiB");
    refuse("timeouts: {drain: 25}\n", "error: F:1 timeouts.drain: '25' is not a duration");
    refuse("separator: ''\n", "separator");
    refuse("separator: '/'\n", "may hold only '_', '-' and '.'");
    refuse("maxBufferedBytes: 8MiB\n", "must not be less than maxMessageBytes");
    refuse("serverName: \"a\\u0007\"\n", "control character");
}

static void test_unknown_keys_are_errors_with_a_suggestion(void **state)
{
    (void)state;
    refuse("upstream: {}\nlisten: 127.0.0.1:1\n",
           "error: F:1 upstream: is not a known key; did you mean 'upstreams'?\n");
    refuse("upstreams:\n  a:\n    ulr: http://h/m\n",
           "upstreams.a.ulr: is not a known key; did you "
           "mean 'url'?");
    load(NULL, NULL, FLAGS("--lisen=127.0.0.1:1"));
    assert_said("error: --lisen: is not a known option; did you mean '--listen'?\n");
}

static void test_all_problems_come_at_once(void **state)
{
    (void)state;
    load("threads: 0\nfoo: 1\nupstreams:\n  a: {}\n  b: {url: ftp://x}\n", ENV(V("LOG_LEVEL=loud")),
         FLAGS("--ui=si"));
    assert_int_equal(problems.errors, 6);
    assert_says("error: F:1 threads: ");
    assert_says("error: F:2 foo: ");
    assert_says("error: LOG_LEVEL: 'loud' is not one of: info, debug, warn, error\n");
    assert_says("error: --ui: 'si' is neither true nor false\n");
    assert_says("error: F:4 upstreams.a: needs url: https://… or command: …\n");
    assert_says("error: F:5 upstreams.b.url: URL: must begin with http:// or https://\n");
}

static void test_files_that_cannot_be_read(void **state)
{
    (void)state;
    config = config_load("no/such.yaml", NULL, NULL, &problems);
    assert_null(config);
    assert_string_equal(problems.at[0].where, "no/such.yaml");
    assert_string_equal(problems.at[0].what, "cannot be opened: No such file or directory");
    config_problems_fini(&problems);
    config = config_load("examples", NULL, NULL, &problems);
    assert_null(config);
    refuse("a: [\n", "error: F:2: not valid YAML");
    refuse("- a\n", "error: F:1: is a list, but must be a map");
}

static void test_a_file_over_a_mebibyte_is_refused(void **state)
{
    (void)state;
    struct buf b = {0};
    memset(buf_reserve(&b, YAML_MAX_BYTES + 2), '#', YAML_MAX_BYTES + 1);
    b.n = YAML_MAX_BYTES + 1;
    buf_addc(&b, '\0');
    refuse(b.p, "is larger than 1048576 bytes");
    buf_fini(&b);
}

static void test_empty_file_is_all_defaults(void **state)
{
    (void)state;
    load_fine("");
    assert_false(config->gateway_mode);
    assert_non_null(config->source);
    load_fine("upstreams:\nlog:\nlisten:\n");
    assert_string_equal(config->listen[0], "127.0.0.1:8000");
}

static void test_store_is_memory_or_redis_with_keys(void **state)
{
    (void)state;
    load_fine("");
    assert_int_equal(config->store.kind, STORE_IN_MEMORY);
    assert_string_equal(config->store_prefix, "hg");
    assert_int_equal(config->store_op_ms, 200);
    refuse("store: redis://h\n", "error: sealKeys: are missing");
    refuse("store: postgres://h\n", "error: F:1 store: write memory, redis://host:port");
    refuse("storePrefix: 'a:b'\n", "error: F:1 storePrefix: 'a:b' may hold only letters");
    refuse("storeCert: x\n", "error: F:1 storeCert: needs a store with TLS");
    refuse("storeCert: x\n", "error: storeKey: is missing");
    refuse("storePasswordEnv: NOT_SET_HERE\n",
           "error: F:1 storePasswordEnv: the variable NOT_SET_HERE is not set");
    load("store: redis+sentinel://user@a:1,b:2/main/3\nstorePasswordEnv: PW\n"
         "timeouts: {store: 20ms}\n",
         ENV(V("PW=hidden"), V("KEY=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")),
         FLAGS("--seal-keys-env=KEY"));
    assert_said("");
    assert_int_equal(config->store.kind, STORE_IN_SENTINEL);
    assert_string_equal(config->store_password, "hidden");
    assert_int_equal(config->store_op_ms, 20);
    struct buf dump = {0};
    config_dump(config, &dump);
    assert_true(str_find(buf_str(&dump), STR("\"redis+sentinel://user@a:1,b:2/main/3\"")) > 0);
    assert_true(str_find(buf_str(&dump), STR("hidden")) < 0);
    buf_fini(&dump);
}

static void test_keys_may_be_empty(void **state)
{
    (void)state;
    load_fine("store: memory\nauth: none\ncache:\n");
    load_fine("auth: {type: none}\n");
}

static void test_never_runs_open_where_auth_was_asked_for(void **state)
{
    (void)state;
    refuse("auth: {type: bearer}\n",
           "error: F:1 auth.type: asks for bearer, but there is no token");
    refuse("auth: {type: multi, providers: [jwt]}\n",
           "error: F:1 auth.type: asks for jwt, but there is no issuer");
    refuse("auth: {type: multi}\n", "error: F:1 auth.type: is multi, but neither");
    refuse("auth: jwt\n", "asks for jwt, but there is no issuer");
    refuse("auth: []\n", "error: F:1 auth: is a list, but must be a map");
    refuse("auth: basic\n", "error: F:1 auth.type: ");
    load(NULL, ENV(V("MCP_AUTH_TYPE=multi")), NULL);
    assert_null(config);
    assert_says("error: MCP_AUTH_TYPE: is multi, but neither tokens nor issuers are there");
    load(NULL, ENV(V("MCP_AUTH_TYPE=None")), NULL);
    assert_said("");
}

static void test_production_is_stricter(void **state)
{
    (void)state;
    load(NULL, ENV(V("MCP_ENV="), V("ENVIRONMENT=Staging")), NULL);
    assert_null(config);
    assert_says("error: ENVIRONMENT: is a production one, and clients are not authenticated");
    load(NULL, ENV(V("MCP_ENV=prod"), V("MCP_ALLOW_NO_AUTH=true")), NULL);
    assert_said("");
    assert_true(config->production);
    assert_int_equal(config->on_duplicate, DUPLICATE_ERROR);
    load(NULL,
         ENV(V("MCP_ENV=production"), V("MCP_ALLOW_NO_AUTH=yes"), V("MCP_ON_DUPLICATE_TOOLS=warn")),
         NULL);
    assert_int_equal(config->on_duplicate, DUPLICATE_WARN);
}

static void test_variables_without_effect_are_told(void **state)
{
    (void)state;
    load(NULL,
         ENV(V("SOURCE_GIT_ENABLED=true"), V("MCP_CACHE_ENABLED="), V("MCP_HOT_RELOAD=1"),
             V("MCP_MOUNT_SERVER=[]"), V("MCP_UNLIKE_ANY_OTHER=1"), V("PATH=/bin"), V("odd")),
         NULL);
    assert_said(
        "warning: MCP_MOUNT_SERVER: is not a known variable; did you mean MCP_MOUNT_SERVERS?\n"
        "warning: environment variables: not available in this version, ignored: "
        "SOURCE_GIT_ENABLED\n");
}

#define KEY_HEX  "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1eff"
#define KEY_B64  "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8="
#define KEY_URL  "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8"
#define KEY_URL2 "_wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHv8"

static void test_seal_keys_in_every_form(void **state)
{
    (void)state;
    static const char *const same[] = {KEY_HEX, KEY_B64, KEY_URL};
    for (size_t i = 0; i < 3; i++) {
        char text[200];
        (void)snprintf(text, sizeof text, "sealKeys: ['%s', '%s']\n", same[i], KEY_URL2);
        load_fine(text);
        assert_int_equal(config->seal_key_count, 2);
        assert_false(config->seal_keys_generated);
        assert_int_equal(config->seal_keys[0][1], 1);
        assert_int_equal(config->seal_keys[0][31], 255);
        assert_int_equal(config->seal_keys[1][0], 255);
    }
    load("sealKeysEnv: KEYS\n", ENV(V("KEYS=" KEY_HEX ", " KEY_URL2)), NULL);
    assert_int_equal(config->seal_key_count, 2);
}

static void test_seal_keys_from_a_file(void **state)
{
    (void)state;
    write_file("# first\n" KEY_B64 "\n\n  " KEY_URL2 " # second\n");
    char flag[96];
    (void)snprintf(flag, sizeof flag, "--seal-keys-file=%s", file_name);
    load(NULL, NULL, FLAGS(flag));
    assert_said("");
    assert_int_equal(config->seal_key_count, 2);
    write_file("# nothing\n");
    load(NULL, NULL, FLAGS(flag));
    assert_said("error: --seal-keys-file: holds no key; make one with: openssl rand -base64 32\n");
    load(NULL, NULL, FLAGS("--seal-keys-file=no/such"));
    assert_says("error: --seal-keys-file: 'no/such' cannot be opened");
}

static void test_seal_key_refusals(void **state)
{
    (void)state;
    refuse("sealKeys: [hush]\n",
           "error: F:1 sealKeys: key 1 is not 32 bytes in base64, base64url or "
           "hex; make one with: openssl rand -base64 32");
    assert_null(strstr(said.p, "hush"));
    refuse("sealKeys: [" KEY_HEX ", " KEY_URL "]\n", "key 2 is given twice");
    refuse("sealKeys: '0000000000000000000000000000000000000000000000000000000000000000'\n",
           "key 1 is not random");
    refuse("sealKeys: " KEY_HEX "\nsealKeysEnv: X\n", "write only one of");
    refuse("sealKeysEnv: NOPE\n", "error: F:1 sealKeysEnv: the variable NOPE is not set");
}

static void test_a_key_is_generated_when_there_is_none(void **state)
{
    (void)state;
    uint8_t first[32];
    load_fine("");
    assert_true(config->seal_keys_generated);
    assert_int_equal(config->seal_key_count, 1);
    memcpy(first, config->seal_keys[0], 32);
    load_fine("");
    assert_memory_not_equal(first, config->seal_keys[0], 32);
}

static void test_references_keep_a_snapshot(void **state)
{
    (void)state;
    load_fine("serverName: x\n");
    struct config *mine = config_ref(config);
    config_unref(&config);
    assert_null(config);
    assert_string_equal(mine->server_name, "x");
    config_unref(&mine);
    config_unref(&mine);
}

static const char secrets[] =
    "sealKeys: ['" KEY_HEX "']\n"
    "upstreams:\n"
    "  a: {url: 'https://h/m?k=hush', auth: {token: hush}, headers: {X-A: hush}}\n"
    "  b: {command: /bin/sh, args: [hush], env: {A: hush}}\n"
    "  c: {url: 'https://h/${P}', auth: {header: X-B, value: hush}}\n";

static void test_the_dump_is_json_and_shows_no_secret(void **state)
{
    (void)state;
    load(secrets, ENV(V("P=hush")), NULL);
    assert_said("");
    struct buf out = {0};
    config_dump(config, &out);
    struct yaml_doc doc;
    struct err e;
    assert_true(yaml_parse(&doc, buf_str(&out), &e));
    const struct yaml_node *a = yaml_get(yaml_get(doc.root, "upstreams"), "a");
    assert_string_equal(yaml_get(a, "url")->text, "https://h/m");
    assert_string_equal(yaml_get(yaml_get(a, "headers"), "X-A")->text, "[redacted]");
    assert_string_equal(yaml_get(yaml_get(a, "auth"), "from")->text, "token");
    assert_string_equal(yaml_get(doc.root, "mode")->text, "gateway");
    assert_string_equal(yaml_get(doc.root, "sealing")->text, "1 configured");
    buf_addc(&out, '\0');
    assert_null(strstr(out.p, "hush"));
    assert_null(strstr(out.p, "00010203"));
    yaml_doc_fini(&doc);
    buf_fini(&out);
}

static void test_a_dump_reads_back_to_the_same_dump(void **state)
{
    (void)state;
    struct buf first = {0}, second = {0};
    load_fine(
        "listen: [127.0.0.1:1, '[::1]:2']\npath: /x/mcp\nlog: {level: debug, format: json}\n"
        "cors: {allowedOrigins: ['*']}\nmaxBodyBytes: 1MiB\ntimeouts: {drain: 1m30s}\n"
        "onDuplicate: ignore\nresourceUris: prefix\n"
        "upstreams:\n  a: {url: http://h/m, era: modern, session: shared, timeout: 5s, tags: "
        "[t], tools: {allow: [x], rename: {x: y}}}\n  b: {command: /bin/sh, namespace: ''}\n");
    config_dump(config, &first);
    /* What the dump adds for people is no option. */
    ptrdiff_t at = str_find(buf_str(&first), STR(",\"production\""));
    ptrdiff_t ups = str_find(buf_str(&first), STR(",\"upstreams\""));
    assert_true(at > 0 && ups > at);
    struct buf text = {0};
    buf_add(&text, first.p, (size_t)at);
    buf_add(&text, first.p + ups, first.n - (size_t)ups);
    buf_addc(&text, '\0');
    load_fine(text.p);
    config_dump(config, &second);
    assert_true(str_eq(buf_str(&first), buf_str(&second)));
    buf_fini(&first);
    buf_fini(&second);
    buf_fini(&text);
}

static void test_the_problems_kept_are_capped_but_counted(void **state)
{
    (void)state;
    struct buf b = {0};
    for (int i = 0; i < 300; i++)
        buf_addf(&b, "zz%d: 1\n", i);
    buf_addc(&b, '\0');
    load(b.p, NULL, NULL);
    assert_int_equal(problems.errors, 300);
    assert_int_equal(problems.n, 200);
    assert_says("error: and 100 more\n");
    buf_fini(&b);
}

static void test_help_and_markdown_are_made_from_the_table(void **state)
{
    (void)state;
    struct buf out = {0};
    config_help(&out);
    buf_addc(&out, '\0');
    assert_non_null(strstr(out.p, "--max-body-bytes=VALUE"));
    assert_non_null(strstr(out.p, "MCP_MOUNT_SERVERS"));
    out.n = 0;
    config_markdown(&out);
    buf_addc(&out, '\0');
    assert_non_null(strstr(out.p, "| `timeouts.lameDuck` | duration |"));
    assert_non_null(strstr(out.p, "| `auth.tokenEnv` | text |"));
    assert_null(strstr(out.p, "inputs"));
    buf_fini(&out);
}

/* Flags ignore case, '-' and '.', so two rows must not meet there; and a typo in a default would
 * abort. */
static void test_rows_are_sound(void **state)
{
    (void)state;
    const struct option_table *tables[] = {&config_table, &mount_table};
    for (size_t t = 0; t < 2; t++)
        for (size_t i = 0; i < tables[t]->n; i++) {
            const struct option *o = &tables[t]->rows[i];
            assert_true(o->name || o->env[0]);
            assert_true(o->type != OPT_CHOICE || o->choices);
            assert_true(!o->help || o->help[strlen(o->help) - 1] == '.');
            for (size_t k = 0; k < i; k++)
                if (o->name && tables[t]->rows[k].name)
                    assert_string_not_equal(o->name, tables[t]->rows[k].name);
        }
}

static void test_the_example_loads(void **state)
{
    (void)state;
    struct config_problems found = {0};
    config = config_load("examples/headgate.yaml", ENV(V("PATH=")), NULL, &found);
    assert_non_null(config);
    for (size_t i = 0; i < found.n; i++) /* npx need not be here */
        assert_non_null(strstr(found.at[i].where, " upstreams.files.command"));
    config_problems_fini(&found);
    assert_true(config->gateway_mode && config->metrics_enabled);
    assert_int_equal(config->mount_count, 1);
    assert_string_equal(mount(0)->name, "files");
    assert_string_equal(mount(0)->args[2], ".");
    assert_int_equal(mount(0)->max_ms, 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_defaults),
        T(test_order_is_file_environment_flags),
        T(test_every_variable_works),
        T(test_host_and_port_replace_halves_of_listen),
        T(test_service_link_is_not_a_port),
        T(test_listen),
        T(test_path),
        T(test_origins_and_hosts),
        T(test_bounds),
        T(test_unknown_keys_are_errors_with_a_suggestion),
        T(test_all_problems_come_at_once),
        T(test_files_that_cannot_be_read),
        T(test_a_file_over_a_mebibyte_is_refused),
        T(test_empty_file_is_all_defaults),
        T(test_store_is_memory_or_redis_with_keys),
        T(test_keys_may_be_empty),
        T(test_never_runs_open_where_auth_was_asked_for),
        T(test_production_is_stricter),
        T(test_variables_without_effect_are_told),
        T(test_seal_keys_in_every_form),
        T(test_seal_keys_from_a_file),
        T(test_seal_key_refusals),
        T(test_a_key_is_generated_when_there_is_none),
        T(test_references_keep_a_snapshot),
        T(test_the_dump_is_json_and_shows_no_secret),
        T(test_a_dump_reads_back_to_the_same_dump),
        T(test_the_problems_kept_are_capped_but_counted),
        T(test_help_and_markdown_are_made_from_the_table),
        T(test_rows_are_sound),
        T(test_the_example_loads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
