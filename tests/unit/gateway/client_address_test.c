/* Where a client calls from: who is believed about it, and how addresses are grouped. */
#include "gateway/client_address.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { MAX_TRUSTED = 4 };

/* The bucket of a request from peer with these fields (X-Forwarded-For, Forwarded; NULL: none). */
static void assert_bucket(const char *peer, const char *xff, const char *xff2,
                          const char *forwarded, const char *trusted, const char *want)
{
    struct http1_head head = {0};
    struct net_addr a;
    struct cidr ranges[MAX_TRUSTED], found;
    struct str rest = str_of(trusted), part;
    struct err e;
    struct buf b = {0};
    size_t n = 0;
    while (str_split(&rest, ',', &part))
        assert_true(cidr_parse(part, &ranges[n++], &e));
    if (xff)
        head.field[head.fields++] = (struct http1_field){STR("x-forwarded-for"), str_of(xff)};
    if (forwarded)
        head.field[head.fields++] = (struct http1_field){STR("Forwarded"), str_of(forwarded)};
    if (xff2)
        head.field[head.fields++] = (struct http1_field){STR("X-Forwarded-For"), str_of(xff2)};
    assert_true(net_addr_literal(str_of(peer), 4711, &a));
    assert_true(client_address(&head, &a, ranges, n, &found));
    client_bucket(&found, &b);
    if (!str_eq(buf_str(&b), str_of(want)))
        fail_msg("got %.*s, want %s", STR_FMT(buf_str(&b)), want);
    buf_fini(&b);
}

static void fields_of_strangers_are_not_believed(void **state)
{
    (void)state;
    assert_bucket("203.0.113.9", "1.2.3.4", NULL, "for=1.2.3.4", "", "203.0.113.9");
    assert_bucket("203.0.113.9", "1.2.3.4", NULL, "for=1.2.3.4", "10.0.0.0/8", "203.0.113.9");
    assert_bucket("10.0.0.1", "1.2.3.4, 203.0.113.9", NULL, NULL, "10.0.0.0/8", "203.0.113.9");
}

static void proxies_are_passed_from_the_right(void **state)
{
    (void)state;
    assert_bucket("10.0.0.1", "1.2.3.4, 198.51.100.7, 10.9.9.9", NULL, NULL, "10.0.0.0/8",
                  "198.51.100.7");
    assert_bucket("10.0.0.1", "1.2.3.4", "198.51.100.7 , 10.9.9.9", NULL, "10.0.0.0/8",
                  "198.51.100.7");
    assert_bucket("10.0.0.1", "10.0.0.3,10.0.0.2", NULL, NULL, "10.0.0.0/8", "10.0.0.3");
    assert_bucket("10.0.0.1", NULL, NULL, NULL, "10.0.0.0/8", "10.0.0.1");
    assert_bucket("::ffff:10.0.0.1", "198.51.100.7", NULL, NULL, "10.0.0.0/8", "198.51.100.7");
}

static void every_form_of_an_address_is_read(void **state)
{
    (void)state;
    assert_bucket("10.0.0.1", "198.51.100.7:80", NULL, NULL, "10.0.0.1", "198.51.100.7");
    assert_bucket("10.0.0.1", "[2001:db8:1:2:3::4]:80", NULL, NULL, "10.0.0.1",
                  "2001:db8:1:2::/64");
    assert_bucket("10.0.0.1", "2001:db8:1:2:3::4", NULL, NULL, "10.0.0.1", "2001:db8:1:2::/64");
    assert_bucket("10.0.0.1", NULL, NULL, "for=198.51.100.7;proto=https, For=\"[2001:db8::7]:443\"",
                  "10.0.0.1", "2001:db8::/64");
    assert_bucket("10.0.0.1", NULL, NULL, "by=10.0.0.1;for=198.51.100.7", "10.0.0.1",
                  "198.51.100.7");
}

static void what_cannot_be_read_ends_at_the_proxy(void **state)
{
    (void)state;
    static const char *const odd[] = {"unknown", "",          "1.2.3",      "_hidden",
                                      "[::1",    "1.2.3.4.5", "for=1.2.3.4"};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        assert_bucket("10.0.0.1", odd[i], NULL, NULL, "10.0.0.1", "10.0.0.1");
    assert_bucket("10.0.0.1", NULL, NULL, "for=_secret", "10.0.0.1", "10.0.0.1");
    assert_bucket("10.0.0.1", NULL, NULL, "for=1.2.3.4;for=1.2.3.5", "10.0.0.1", "10.0.0.1");
    assert_bucket("10.0.0.1", NULL, NULL, "for=\"1.2.3.4, for=198.51.100.7", "10.0.0.1",
                  "198.51.100.7");
}

static void fields_that_differ_are_not_believed(void **state)
{
    (void)state;
    assert_bucket("10.0.0.1", "1.2.3.4", NULL, "for=198.51.100.7", "10.0.0.1", "10.0.0.1");
    assert_bucket("10.0.0.1", "198.51.100.7", NULL, "for=198.51.100.7", "10.0.0.1", "198.51.100.7");
}

static void ranges_are_read_strictly(void **state)
{
    (void)state;
    static const char *const bad[] = {"",         "10.0.0.0/33", "10.0.0.1/8",
                                      "10.0.0/8", "::/129",      "2001:db8::1/32",
                                      "a/8",      "10.0.0.0/",   "10.0.0.0/8/8"};
    struct cidr c;
    struct err e;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (cidr_parse(str_of(bad[i]), &c, &e))
            fail_msg("%s is a range", bad[i]);
    assert_true(cidr_parse(STR("0.0.0.0/0"), &c, &e));
    assert_true(cidr_parse(STR("2001:db8::/32"), &c, &e));
    assert_bucket("10.0.0.1", "198.51.100.7", NULL, NULL, "0.0.0.0/0", "198.51.100.7");
    assert_bucket("2001:db8:0:1::1", "198.51.100.7", NULL, NULL, "2001:db8::/63", "198.51.100.7");
    assert_bucket("2001:db8:0:2::1", "198.51.100.7", NULL, NULL, "2001:db8::/63",
                  "2001:db8:0:2::/64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_of_strangers_are_not_believed),
        cmocka_unit_test(proxies_are_passed_from_the_right),
        cmocka_unit_test(every_form_of_an_address_is_read),
        cmocka_unit_test(what_cannot_be_read_ends_at_the_proxy),
        cmocka_unit_test(fields_that_differ_are_not_believed),
        cmocka_unit_test(ranges_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
