/* The store in a real Redis, as the least-privileged user: the cases of every backend, alone, over
 * TLS with a client's certificate, and behind Sentinel; what the ACL grants and refuses. */
#include "tests/unit/store/redis_store.h"
#include "tests/unit/store/store_cases.h"

static struct process redis, replica, sentinels[3];

/* ---- one server ---- */

static int set_up_plain(void **state)
{
    (void)state;
    make_scratch();
    start_redis(&redis, "");
    open_store("redis://app:secret@127.0.0.1:%u/1", redis.port);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_store();
    end_process(&redis);
    end_process(&replica);
    for (int i = 0; i < 3; i++)
        end_process(&sentinels[i]);
    redis = replica = (struct process){0};
    remove_scratch();
    return 0;
}

static void the_store_is_up_and_counts_itself(void **state)
{
    (void)state;
    assert_int_equal(DO(store, get, key_of("any")), STORE_ABSENT);
    assert_true(store_is_up(store));
    assert_string_equal(store_name(store), "redis");
    assert_true(store_local(store) != store);
    assert_int_equal(store_replicas(store), 1);
    assert_int_equal(forged_so_far(), 0);
}

/* After all cases ran as that user. */
static void the_acl_grants_what_is_used_and_no_more(void **state)
{
    (void)state;
    assert_string_equal(admin(redis.port, "ACL LOG"), "*0\r\n");
    const char *stats = admin(redis.port, "INFO commandstats");
    struct str rest = STR(ACL_COMMANDS), word;
    while (str_split(&rest, ' ', &word)) {
        char line[64];
        if (word.p[0] != '+')
            continue;
        (void)snprintf(line, sizeof line, "cmdstat_%.*s:", (int)word.n - 1, word.p + 1);
        if (!strstr(stats, line))
            fail_msg("%.*s is granted and not used", STR_FMT(word));
    }
}

static void assert_refused(const char *command)
{
    const char *answer = admin(redis.port, "AUTH app secret\r\n%s", command);
    if (!strstr(answer, "NOPERM"))
        fail_msg("%s: %s", command, answer);
}

static void the_acl_refuses_what_is_not_ours(void **state)
{
    (void)state;
    static const char *const commands[] = {"GETRANGE foreign 0 1",
                                           "SET foreign x PX 100",
                                           "DEL foreign",
                                           "GETRANGE hgx 0 1",
                                           "PUBLISH foreign x",
                                           "SUBSCRIBE foreign",
                                           "PSUBSCRIBE hg*",
                                           "CONFIG GET *",
                                           "FLUSHALL",
                                           "KEYS *",
                                           "SCAN 0",
                                           "SCRIPT FLUSH",
                                           "EVAL \"return 1\" 0",
                                           "CLIENT KILL TYPE normal",
                                           "ACL LIST",
                                           "GET hg:x",
                                           "SHUTDOWN",
                                           "REPLICAOF NO ONE"};
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        assert_refused(commands[i]);
}

static void the_acl_is_the_one_in_the_documentation(void **state)
{
    (void)state;
    struct buf text = {0};
    FILE *f = fopen("docs/store.md", "r");
    assert_non_null(f);
    text.n = fread(buf_reserve(&text, 1 << 16), 1, 1 << 16, f);
    (void)fclose(f);
    assert_true(str_find(buf_str(&text), STR(ACL_COMMANDS)) > 0);
    buf_fini(&text);
}

static void scripts_that_redis_forgot_are_loaded_again(void **state)
{
    (void)state;
    struct store_window w = window_of("forgotten", 100, 60000);
    for (int i = 0; i < 3; i++) {
        assert_non_null(strstr(admin(redis.port, "SCRIPT FLUSH"), "+OK"));
        assert_int_equal(DO(store, admit, &w, 1), STORE_OK);
        assert_int_equal(last.r.number, 99 - 2 * i);
        assert_int_equal(DO(store, admit, &w, 1), STORE_OK);
    }
}

static void another_fleet_shares_nothing(void **state)
{
    (void)state;
    static const uint8_t foreign[1][32] = {"a key of some other fleet, 32 b"};
    struct str k = key_of("fleet");
    assert_int_equal(DO(store, set, k, STR("ours"), 60000, STORE_ALWAYS), STORE_OK);
    close_store();
    open_store_with((struct store_options){.keys = foreign, .key_count = 1},
                    "redis://app:secret@127.0.0.1:%u/1", redis.port);
    assert_int_equal(DO(store, get, k), STORE_ABSENT);
    assert_int_equal(metric_get(hub->forged[FORGED_VALUE]), 1);
    close_store();
    /* After rotation the older key still opens. */
    open_store_with((struct store_options){.keys = fleet_keys + 1, .key_count = 1},
                    "redis://app:secret@127.0.0.1:%u/1", redis.port);
    assert_int_equal(DO(store, set, k, STR("old"), 60000, STORE_ALWAYS), STORE_OK);
    close_store();
    open_store("redis://app:secret@127.0.0.1:%u/1", redis.port);
    assert_int_equal(DO(store, get, k), STORE_OK);
    assert_value("old");
}

static void a_wrong_password_is_away_and_said(void **state)
{
    (void)state;
    close_store();
    open_store("redis://app:wrong@127.0.0.1:%u", redis.port);
    assert_int_equal(DO(store, get, key_of("any")), STORE_AWAY);
    assert_false(store_is_up(store));
    assert_int_equal(DO(store_local(store), set, key_of("any"), STR("v"), 1000, STORE_ALWAYS),
                     STORE_OK);
    close_store();
    open_store("redis://app:secret@127.0.0.1:%u/1", redis.port);
}

static void a_password_is_read_from_its_file_at_each_connect(void **state)
{
    (void)state;
    char file[128];
    (void)snprintf(file, sizeof file, "%s/password", scratch);
    write_config(file, "%s", "wrong\n");
    close_store();
    open_store_with((struct store_options){.password_file = file}, "redis://app@127.0.0.1:%u",
                    redis.port);
    assert_int_equal(DO(store, get, key_of("any")), STORE_AWAY);
    write_config(file, "%s", "secret\n");
    while (!store_is_up(store))
        wait_ms(5);
    assert_int_equal(DO(store, get, key_of("any")), STORE_ABSENT);
    close_store();
    open_store("redis://app:secret@127.0.0.1:%u/1", redis.port);
}

/* ---- TLS ---- */

static struct identity ca, server, client;

static void write_pem(char path[128], const char *name, const struct identity *id, bool key)
{
    (void)snprintf(path, 128, "%s/%s", scratch, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    if (key)
        assert_true(PEM_write_PrivateKey(f, id->key, NULL, NULL, 0, NULL, NULL) == 1);
    else
        assert_true(PEM_write_X509(f, id->cert) == 1);
    assert_int_equal(fclose(f), 0);
}

static char ca_pem[128], server_pem[128], server_key[128], client_pem[128], client_key[128];
static uint16_t tls_port;

static void open_tls_store(bool show_certificate)
{
    open_store_with((struct store_options){.ca_file = ca_pem,
                                           .cert_file = show_certificate ? client_pem : NULL,
                                           .key_file = show_certificate ? client_key : NULL},
                    "rediss://app:secret@127.0.0.1:%u", tls_port);
}

static int set_up_tls(void **state)
{
    (void)state;
    char extra[1024];
    make_scratch();
    ca = make_identity("the authority", NULL, NULL, 1);
    server = make_identity("redis", &ca, "IP:127.0.0.1", 1);
    client = make_identity("headgate", &ca, "DNS:headgate", 1);
    write_pem(ca_pem, "ca.pem", &ca, false);
    write_pem(server_pem, "server.pem", &server, false);
    write_pem(server_key, "server.key", &server, true);
    write_pem(client_pem, "client.pem", &client, false);
    write_pem(client_key, "client.key", &client, true);
    tls_port = free_port();
    (void)snprintf(extra, sizeof extra,
                   "tls-port %u\ntls-cert-file %s\ntls-key-file %s\ntls-ca-cert-file %s\n"
                   "tls-auth-clients yes\n",
                   tls_port, server_pem, server_key, ca_pem);
    start_redis(&redis, extra);
    open_tls_store(true);
    return 0;
}

static int tear_down_tls(void **state)
{
    free_identity(&ca);
    free_identity(&server);
    free_identity(&client);
    return tear_down(state);
}

static void without_a_certificate_the_server_refuses(void **state)
{
    (void)state;
    close_store();
    open_tls_store(false);
    assert_int_equal(DO(store, get, key_of("any")), STORE_AWAY);
    close_store();
    open_tls_store(true);
    assert_int_equal(DO(store, get, key_of("any")), STORE_ABSENT);
}

static void a_server_that_the_authority_does_not_know_is_refused(void **state)
{
    (void)state;
    close_store();
    open_store_with((struct store_options){.ca_file = client_pem, /* signed nothing */
                                           .cert_file = client_pem,
                                           .key_file = client_key},
                    "rediss://app:secret@127.0.0.1:%u", tls_port);
    assert_int_equal(DO(store, get, key_of("any")), STORE_AWAY);
}

/* ---- Sentinel ---- */

static int set_up_sentinel(void **state)
{
    (void)state;
    char extra[64];
    make_scratch();
    start_redis(&redis, "");
    (void)snprintf(extra, sizeof extra, "replicaof 127.0.0.1 %u\n", redis.port);
    start_redis(&replica, extra);
    for (int i = 0; i < 3; i++)
        start_sentinel(&sentinels[i], redis.port);
    /* The first is no sentinel at all, the second one is not there: the third is found. */
    open_store("redis+sentinel://app:secret@127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u/main",
               replica.port, free_port(), sentinels[0].port);
    return 0;
}

static void a_replica_is_not_taken_for_the_master(void **state)
{
    (void)state;
    close_store();
    /* A sentinel that is wrong about the master: it names the replica. */
    struct process liar = {0};
    char config[128];
    start_sentinel(&liar, replica.port);
    (void)snprintf(config, sizeof config, "SENTINEL get-master-addr-by-name main");
    assert_non_null(strstr(admin(liar.port, "%s", config), "127.0.0.1"));
    open_store("redis+sentinel://app:secret@127.0.0.1:%u/main", liar.port);
    assert_int_equal(DO(store, get, key_of("any")), STORE_AWAY);
    end_process(&liar);
}

static void an_unknown_master_is_away(void **state)
{
    (void)state;
    close_store();
    open_store("redis+sentinel://app:secret@127.0.0.1:%u/none", sentinels[0].port);
    assert_int_equal(DO(store, get, key_of("any")), STORE_AWAY);
}

int main(void)
{
    const struct CMUnitTest plain[] = {
        STORE_CASES,
        cmocka_unit_test(the_store_is_up_and_counts_itself),
        cmocka_unit_test(the_acl_grants_what_is_used_and_no_more),
        cmocka_unit_test(the_acl_refuses_what_is_not_ours),
        cmocka_unit_test(the_acl_is_the_one_in_the_documentation),
        cmocka_unit_test(scripts_that_redis_forgot_are_loaded_again),
        cmocka_unit_test(another_fleet_shares_nothing),
        cmocka_unit_test(a_wrong_password_is_away_and_said),
        cmocka_unit_test(a_password_is_read_from_its_file_at_each_connect),
    };
    const struct CMUnitTest tls[] = {
        STORE_CASES,
        cmocka_unit_test(without_a_certificate_the_server_refuses),
        cmocka_unit_test(a_server_that_the_authority_does_not_know_is_refused),
    };
    const struct CMUnitTest sentinel[] = {
        STORE_CASES,
        cmocka_unit_test(an_unknown_master_is_away),
        cmocka_unit_test(a_replica_is_not_taken_for_the_master),
    };
    int failed = cmocka_run_group_tests(plain, set_up_plain, tear_down);
    failed += cmocka_run_group_tests(tls, set_up_tls, tear_down_tls);
    failed += cmocka_run_group_tests(sentinel, set_up_sentinel, tear_down);
    return failed;
}
