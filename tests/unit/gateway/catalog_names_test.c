/* Public names and URIs: what they look like, that they lead back, and what a template matches. */
#include "gateway/catalog.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TEXT(lit) ((char[]){lit})

static void assert_str(struct str got, const char *want)
{
    if (!str_eq(got, str_of(want)))
        fail_msg("got  \"%.*s\"\nwant \"%s\"", STR_FMT(got), want);
}

/* ---- names ---- */

static void assert_public(const struct config *cfg, const struct mount_config *m, const char *name,
                          bool force, const char *want)
{
    struct buf b = {0};
    catalog_public_name(cfg, m, KIND_TOOLS, str_of(name), force, &b);
    assert_str(buf_str(&b), want);
    buf_fini(&b);
}

static void names_are_renamed_else_prefixed_else_plain(void **state)
{
    (void)state;
    struct name_value rename[] = {{TEXT("get"), TEXT("fetch")}};
    struct config cfg = {.separator = "__", .max_name = 20};
    struct mount_config m = {
        .name = TEXT("db"), .prefix = TEXT("pre"), .rename = rename, .renames = 1};
    assert_public(&cfg, &m, "get", false, "fetch");
    assert_public(&cfg, &m, "set", false, "pre__set");
    struct buf b = {0};
    catalog_public_name(&cfg, &m, KIND_PROMPTS, STR("get"), false, &b);
    assert_str(buf_str(&b), "pre__get"); /* renames are of tools */
    buf_fini(&b);
    m.prefix = TEXT("");
    assert_public(&cfg, &m, "set", false, "set");
}

static void long_names_end_in_a_hash_of_mount_and_name(void **state)
{
    (void)state;
    struct config cfg = {.separator = "_", .max_name = 20};
    struct mount_config m = {.name = TEXT("db"), .prefix = TEXT("p")};
    /* The first 8 digits of SHA-256("db" NUL name), made with sha256sum. */
    assert_public(&cfg, &m, "123456789012345678", false, "p_123456789012345678");
    assert_public(&cfg, &m, "1234567890123456789", false, "p_123456789_253d0fce");
    assert_public(&cfg, &m, "x", true, "p_x_8f812e5f");
    m.name = TEXT("other");
    assert_public(&cfg, &m, "x", true, "p_x_4acd6b53");
}

static void a_cut_splits_no_character(void **state)
{
    (void)state;
    struct config cfg = {.separator = "_", .max_name = 20};
    struct mount_config m = {.name = TEXT("db"), .prefix = TEXT("")};
    struct buf b = {0};
    catalog_public_name(&cfg, &m, KIND_TOOLS,
                        STR("1234567890\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4x"), false, &b);
    assert_int_equal(b.n, 19);
    assert_memory_equal(b.p, "1234567890_", 11);
    buf_fini(&b);
}

static void globs_say_which_tools_are_offered(void **state)
{
    (void)state;
    char *allow[] = {TEXT("get_*"), TEXT("x"), NULL}, *deny[] = {TEXT("*_secret"), NULL};
    struct mount_config m = {0};
    assert_true(catalog_tool_allowed(&m, STR("anything")));
    m.tools_allow = allow;
    assert_true(catalog_tool_allowed(&m, STR("get_a")));
    assert_true(catalog_tool_allowed(&m, STR("x")));
    assert_false(catalog_tool_allowed(&m, STR("set_a")));
    m.tools_deny = deny;
    assert_false(catalog_tool_allowed(&m, STR("get_secret")));
    m.tools_allow = NULL;
    assert_false(catalog_tool_allowed(&m, STR("a_secret")));
    assert_true(catalog_tool_allowed(&m, STR("set_a")));
}

/* ---- URIs ---- */

static const struct {
    const char *uri, *prefixed;
} uri_forms[] = {
    {"demo://one/a", "demo://two/one/a"},
    {"demo://", "demo://two/"},
    {"demo://one?q=1#f", "demo://two/one?q=1#f"},
    {"file:///etc/motd", "file://two//etc/motd"},
    {"git+ssh://h/p", "git+ssh://two/h/p"},
    {"https://x.example/y?z=1", "headgate://two/https%3A%2F%2Fx.example%2Fy%3Fz%3D1"},
    {"HTTP://x/", "headgate://two/HTTP%3A%2F%2Fx%2F"},
    {"ui://app/page", "headgate://two/ui%3A%2F%2Fapp%2Fpage"},
    {"memo:note", "headgate://two/memo%3Anote"},
    {"memo:50%25", "headgate://two/memo%3A50%2525"},
    {"headgate://two/x", "headgate://two/headgate%3A%2F%2Ftwo%2Fx"},
    {"memo:\xc3\xa4{", "headgate://two/memo%3A%C3%A4%7B"},
    {"memo:{id}/{a%20}", "headgate://two/memo%3A{id}%2F{a%2520}"},
    {"1x://a", "headgate://two/1x%3A%2F%2Fa"},
};

static void uris_come_back_from_their_prefixed_form(void **state)
{
    (void)state;
    struct mount_config m = {.name = TEXT("two")};
    for (size_t i = 0; i < sizeof uri_forms / sizeof *uri_forms; i++) {
        struct buf shown = {0}, back = {0};
        struct str mount;
        catalog_public_uri(&m, str_of(uri_forms[i].uri), true, &shown);
        assert_str(buf_str(&shown), uri_forms[i].prefixed);
        assert_true(catalog_split_uri(buf_str(&shown), &mount, &back));
        assert_str(mount, "two");
        assert_str(buf_str(&back), uri_forms[i].uri);
        shown.n = 0;
        catalog_public_uri(&m, str_of(uri_forms[i].uri), false, &shown);
        assert_str(buf_str(&shown), uri_forms[i].uri);
        buf_fini(&shown);
        buf_fini(&back);
    }
}

static void other_uris_are_no_prefixed_form(void **state)
{
    (void)state;
    static const char *const plain[] = {
        "",
        "memo:note",
        "demo://two",
        "demo:///x",
        "demo://Two/x",
        "https://two/x",
        "ui://two/x",
        "headgate://two/",
        "headgate://two/%",
        "headgate://two/%4",
        "headgate://two/%g0",
        "headgate://two/a%00",
        "://two/x",
        "demo://a.b/x",
    };
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++) {
        struct buf back = {0};
        struct str mount;
        buf_adds(&back, "kept");
        if (catalog_split_uri(str_of(plain[i]), &mount, &back))
            fail_msg("\"%s\" was split", plain[i]);
        assert_str(buf_str(&back), "kept");
        buf_fini(&back);
    }
}

/* ---- templates ---- */

static const struct {
    const char *tmpl, *uri;
    bool matches;
} template_cases[] = {
    {"demo://a", "demo://a", true},
    {"demo://a", "demo://ab", false},
    {"demo://{x}", "demo://a%20b", true},
    {"demo://{x}", "demo://a/b", false},
    {"demo://{x}/b", "demo://a/b", true},
    {"demo://{x}/b", "demo://a/c", false},
    {"demo://{x}-{y}.txt", "demo://a-b-c.txt", true},
    {"demo://{x}-{y}.txt", "demo://abc.txt", false},
    {"demo://{x}", "demo://a b", false},
    {"demo://{x,y}", "demo://1,2", true},
    {"demo://{+path}", "demo://a/b?c#d", true},
    {"demo://{+path}/end", "demo://a/end/b/end", true},
    {"demo://x{#f}", "demo://x", true},
    {"demo://x{#f}", "demo://x#a/b", true},
    {"demo://x{#f}", "demo://xa", false},
    {"demo://x{.ext}", "demo://x.tar.gz", true},
    {"demo://x{/a,b}", "demo://x/1/2", true},
    {"demo://x{/a,b}", "demo://x/1/2/3", false},
    {"demo://x{/a*}", "demo://x/1/2/3", true},
    {"demo://x{/a}/y", "demo://x/1/y", true},
    {"demo://x{;p}", "demo://x;p=1", true},
    {"demo://x{?q,r}", "demo://x?q=1&r=2", true},
    {"demo://x{?q}", "demo://x", true},
    {"demo://x{?q}", "demo://xq=1", false},
    {"demo://x?a=1{&q}", "demo://x?a=1&q=2", true},
    {"demo://{x", "demo://{x", false},
    {"demo://{}", "demo://", false},
    {"{+any}", "anything://at/all", true},
};

static void templates_match_what_they_expand_to(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof template_cases / sizeof *template_cases; i++) {
        bool got =
            catalog_template_match(str_of(template_cases[i].tmpl), str_of(template_cases[i].uri));
        if (got != template_cases[i].matches)
            fail_msg("%s and %s", template_cases[i].tmpl, template_cases[i].uri);
    }
}

static void no_template_makes_matching_slow(void **state)
{
    (void)state;
    struct buf tmpl = {0}, uri = {0};
    for (int i = 0; i < 30; i++)
        buf_adds(&tmpl, "{+a}x");
    for (int i = 0; i < 8000; i++)
        buf_addc(&uri, 'x');
    assert_true(catalog_template_match(buf_str(&tmpl), buf_str(&uri)));
    buf_addc(&uri, 'y');
    assert_false(catalog_template_match(buf_str(&tmpl), buf_str(&uri)));
    for (int i = 0; i < 30; i++)
        buf_adds(&tmpl, "{+a}x");
    assert_false(catalog_template_match(buf_str(&tmpl), STR("x"))); /* more pieces than we take */
    buf_fini(&tmpl);
    buf_fini(&uri);
}

static void a_template_maps_the_text_of_its_expressions(void **state)
{
    (void)state;
    struct buf out = {0};
    assert_true(catalog_template_map(STR("headgate://m/memo%3A{a}%2F{+b}"),
                                     STR("headgate://m/memo%3Ax%2Fy%2Fz/%20"), STR("memo:{a}/{+b}"),
                                     &out));
    assert_str(buf_str(&out), "memo:x%2Fy/z/%20");
    out.n = 0;
    assert_true(catalog_template_map(STR("d://m/x{/a,b}{?q}"), STR("d://m/x/1/2?q=3"),
                                     STR("d://x{/a,b}{?q}"), &out));
    assert_str(buf_str(&out), "d://x/1/2?q=3");
    assert_false(catalog_template_map(STR("d://{a}"), STR("d://1"), STR("d://{a}{b}"), &out));
    assert_false(catalog_template_map(STR("d://{a}"), STR("e://1"), STR("d://{a}"), &out));
    assert_str(buf_str(&out), "d://x/1/2?q=3");
    buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_renamed_else_prefixed_else_plain),
        cmocka_unit_test(long_names_end_in_a_hash_of_mount_and_name),
        cmocka_unit_test(a_cut_splits_no_character),
        cmocka_unit_test(globs_say_which_tools_are_offered),
        cmocka_unit_test(uris_come_back_from_their_prefixed_form),
        cmocka_unit_test(other_uris_are_no_prefixed_form),
        cmocka_unit_test(templates_match_what_they_expand_to),
        cmocka_unit_test(no_template_makes_matching_slow),
        cmocka_unit_test(a_template_maps_the_text_of_its_expressions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
