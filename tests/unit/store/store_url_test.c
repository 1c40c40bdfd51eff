/* Where the store is: what is understood, what is refused, and that a password is never shown. */
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct store_url url;

static void parse(const char *text)
{
    struct err e = {0};
    store_url_fini(&url);
    if (!store_url_parse(str_of(text), &url, &e))
        fail_msg("%s: %s", text, e.msg);
}

static void refuse(const char *text, const char *why)
{
    struct err e = {0};
    store_url_fini(&url);
    assert_false(store_url_parse(str_of(text), &url, &e));
    assert_int_equal(e.kind, ERR_CONFIG);
    if (!strstr(e.msg, why))
        fail_msg("%s: %s", text, e.msg);
    assert_null(strstr(e.msg, "sesame"));
    store_url_fini(&url);
}

static void assert_host(size_t i, const char *host, int port)
{
    assert_true(i < url.host_count);
    assert_string_equal(url.hosts[i].host, host);
    assert_int_equal(url.hosts[i].port, port);
}

static void every_form_is_understood(void **state)
{
    (void)state;
    parse("memory");
    assert_int_equal(url.kind, STORE_IN_MEMORY);
    parse("redis://cache");
    assert_int_equal(url.kind, STORE_IN_REDIS);
    assert_host(0, "cache", 6379);
    assert_false(url.tls);
    parse("rediss://app:p%40ss%3Aw@[::1]:7000/3");
    assert_true(url.tls);
    assert_host(0, "::1", 7000);
    assert_string_equal(url.user, "app");
    assert_string_equal(url.password, "p@ss:w");
    assert_int_equal(url.db, 3);
    parse("redis://:only@h:1/");
    assert_null(url.user);
    assert_string_equal(url.password, "only");
    parse("redis+sentinel://app:pw@a:1,b,[fe80::2]:3/mymaster/2");
    assert_int_equal(url.kind, STORE_IN_SENTINEL);
    assert_int_equal(url.host_count, 3);
    assert_host(1, "b", 26379);
    assert_host(2, "fe80::2", 3);
    assert_string_equal(url.master, "mymaster");
    assert_int_equal(url.db, 2);
    parse("rediss+sentinel://s:9/m");
    assert_true(url.tls && url.kind == STORE_IN_SENTINEL);
    store_url_fini(&url);
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    refuse("", "write memory, redis://host:port");
    refuse("Memory", "write memory");
    refuse("http://h", "write memory");
    refuse("redis://", "the host is missing");
    refuse("redis:///1", "the host is missing");
    refuse("redis://a b", "a host is malformed");
    refuse("redis://::1", "a host is malformed");
    refuse("redis://[::1", "a host is malformed");
    refuse("redis://h:0", "a port is not a number");
    refuse("redis://h:65536", "a port is not a number");
    refuse("redis://h:x", "a port is not a number");
    refuse("redis://[::1]x", "a port is not a number");
    refuse("redis://h/x", "the database");
    refuse("redis://h/1024", "the database");
    refuse("redis://a,b", "names several hosts");
    refuse("redis+sentinel://a,b", "the name of the master is missing");
    refuse("redis+sentinel://a,b,c,d,e,f,g,h,i/m", "too many hosts");
    refuse("redis://@h", "nothing before '@'");
    refuse("redis://u:@h", "the password");
    refuse("redis://u:sesame%2@h", "the password");
    refuse("redis://u:sesame%00@h", "the password");
    refuse("redis://u%zz:sesame@h", "the user");
}

static void a_password_is_not_shown(void **state)
{
    (void)state;
    struct buf b = {0};
    parse("rediss://app:sesame@[::1]:7000/3");
    store_url_format(&url, &b);
    assert_true(str_eq(buf_str(&b), STR("rediss://app@[::1]:7000/3")));
    b.n = 0;
    parse("redis+sentinel://:sesame@a:1,b/m");
    store_url_format(&url, &b);
    assert_true(str_eq(buf_str(&b), STR("redis+sentinel://a:1,b:26379/m")));
    buf_fini(&b);
    store_url_fini(&url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_understood),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(a_password_is_not_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
