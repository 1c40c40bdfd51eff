/* The option-table engine, on a table of its own. */
#include "base/json.h"
#include "base/options.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum color { RED, GREEN, BLUE };

struct thing {
    char *name;
    char mark[4];
    char **list;
    struct name_value *pairs;
    size_t pair_count;
    bool on, json;
    int count, wait_ms;
    size_t bytes;
    enum color color;
    char *token;
};

static const struct option_choice colors[] = {{"red", RED}, {"rouge", RED}, {"green", GREEN},
                                              {"", 0},      {"blau", BLUE}, {NULL, 0}};
static const struct option_choice formats[] = {{"text", false}, {"json", true}, {NULL, 0}};

static const struct option rows[] = {
    {.name = "name",
     .type = OPT_STRING,
     OPT_AT(thing, name),
     .def = "bob",
     .min = 1,
     .max = 8,
     .env = {"T_NAME", "T_ALIAS"},
     .help = "A name | or two."},
    {.name = "mark", .type = OPT_CHARS, OPT_AT(thing, mark), .def = "_", .min = 1, .help = "M."},
    {.name = "list",
     .type = OPT_LIST,
     OPT_AT(thing, list),
     .def = "x",
     .env = {"T_LIST"},
     .help = "L."},
    {.name = "pairs",
     .type = OPT_PAIRS,
     OPT_AT(thing, pairs),
     .count_offset = offsetof(struct thing, pair_count),
     .flags = OPT_SECRET,
     .help = "P."},
    {.name = "group.on",
     .type = OPT_BOOL,
     OPT_AT(thing, on),
     .def = "no",
     .env = {"T_ON"},
     .help = "O."},
    {.name = "group.waitTime",
     .type = OPT_MSEC,
     OPT_AT(thing, wait_ms),
     .def = "90s",
     .min = 10,
     .max = 3600000,
     .help = "W."},
    {.name = "wait", .type = OPT_MSEC, OPT_AT(thing, wait_ms), .flags = OPT_ALIAS},
    {.name = "count",
     .type = OPT_INT,
     OPT_AT(thing, count),
     .def = "-1",
     .min = -1,
     .max = 64,
     .env = {"T_COUNT"},
     .help = "C."},
    {.name = "bytes", .type = OPT_BYTES, OPT_AT(thing, bytes), .def = "4MiB", .help = "B."},
    {.name = "color",
     .type = OPT_CHOICE,
     OPT_AT(thing, color),
     .def = "green",
     .choices = colors,
     .help = "Co."},
    {.name = "format", .type = OPT_CHOICE, OPT_AT(thing, json), .choices = formats, .help = "F."},
    {.name = "token",
     .type = OPT_STRING,
     OPT_AT(thing, token),
     .min = 4,
     .env = {"T_TOKEN"},
     .flags = OPT_SECRET,
     .help = "T."},
    {.name = "other", .type = OPT_SUBTREE, .help = "Elsewhere."},
};
static const struct option_table table = {rows, sizeof rows / sizeof *rows};

static struct thing thing;
static struct buf problems; /* "warning? where: what\n", NUL-terminated */

static void on_problem(void *arg, bool warning, const char *where, const char *what)
{
    assert_ptr_equal(arg, &thing);
    problems.n -= problems.n > 0;
    buf_addf(&problems, "%s%s: %s\n", warning ? "warning " : "", where, what);
    buf_addc(&problems, '\0');
}

static struct option_reader reader(void)
{
    return (struct option_reader){
        .table = &table,
        .base = &thing,
        .file = "t.yaml",
        .lines = true,
        .problem = on_problem,
        .arg = &thing,
    };
}

static int set_up(void **state)
{
    (void)state;
    thing = (struct thing){0};
    options_defaults(&table, &thing);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    options_fini(&table, &thing, 0);
    buf_fini(&problems);
    return 0;
}

static void read_yaml(const struct option_reader *r, const char *text)
{
    struct yaml_doc doc;
    struct err e;
    assert_true(yaml_parse(&doc, str_of(text), &e));
    options_read_tree(r, doc.root);
    yaml_doc_fini(&doc);
}

static void read_text(const char *text)
{
    struct option_reader r = reader();
    read_yaml(&r, text);
}

static void assert_problems(const char *want)
{
    assert_string_equal(problems.p ? problems.p : "", want);
    buf_fini(&problems);
}

static void test_defaults_come_from_the_rows(void **state)
{
    (void)state;
    assert_string_equal(thing.name, "bob");
    assert_string_equal(thing.mark, "_");
    assert_string_equal(thing.list[0], "x");
    assert_null(thing.list[1]);
    assert_false(thing.on);
    assert_int_equal(thing.wait_ms, 90000);
    assert_int_equal(thing.count, -1);
    assert_int_equal(thing.bytes, 4 << 20);
    assert_int_equal(thing.color, GREEN);
    assert_null(thing.token);
}

static void test_reads_every_type_from_a_tree(void **state)
{
    (void)state;
    read_text("name: al\nmark: '-'\nlist: [a, b]\npairs: {K: v, L: ''}\n"
              "group: {on: yes, waitTime: 1m30s}\ncount: 7\nbytes: 10MB\ncolor: Rouge\n"
              "format: json\ntoken: 'secret'\nother: {whatever: [1]}\n");
    assert_problems("");
    assert_string_equal(thing.name, "al");
    assert_string_equal(thing.mark, "-");
    assert_string_equal(thing.list[1], "b");
    assert_int_equal(thing.pair_count, 2);
    assert_string_equal(thing.pairs[0].name, "K");
    assert_string_equal(thing.pairs[1].value, "");
    assert_true(thing.on);
    assert_int_equal(thing.wait_ms, 90000);
    assert_int_equal(thing.count, 7);
    assert_int_equal(thing.bytes, 10000000);
    assert_int_equal(thing.color, RED);
    assert_true(thing.json);
    assert_string_equal(thing.token, "secret");
}

static void test_null_and_missing_keys_keep_what_was(void **state)
{
    (void)state;
    read_text("name:\nlist: ~\ngroup:\ncount: null\n");
    assert_problems("");
    assert_string_equal(thing.name, "bob");
    assert_string_equal(thing.list[0], "x");
    assert_int_equal(thing.count, -1);
}

static void test_a_single_text_is_a_list_of_one(void **state)
{
    (void)state;
    read_text("list: a,b\n");
    assert_string_equal(thing.list[0], "a,b");
    assert_null(thing.list[1]);
}

static void test_reports_all_problems_with_line_and_path(void **state)
{
    (void)state;
    read_text("name: ''\nmark: abcd\nlist: {a: b}\npairs: [1]\ngroup:\n  on: maybe\n"
              "  waitTime: 5\ncount: 65\nbytes: 4X\ncolor: blue\nformat: [json]\n");
    assert_problems("t.yaml:1 name: is empty: give it a value or leave it out\n"
                    "t.yaml:2 mark: 'abcd' is too long: at most 3 characters\n"
                    "t.yaml:3 list: is a map, but must be a list: [a, b]\n"
                    "t.yaml:4 pairs: is a list, but must be a map: {NAME: value}\n"
                    "t.yaml:6 group.on: 'maybe' is neither true nor false\n"
                    "t.yaml:7 group.waitTime: '5' is not a duration: write it with a unit, as "
                    "500ms, 60s or 5m\n"
                    "t.yaml:8 count: '65' is out of bounds: write -1 to 64\n"
                    "t.yaml:9 bytes: '4X' is not a size: write it as 4MiB, 512KiB or 4096\n"
                    "t.yaml:10 color: 'blue' is not one of: red, green\n"
                    "t.yaml:11 format: is a list, but must be a single value\n");
}

static void test_reports_entries_that_are_not_text(void **state)
{
    (void)state;
    read_text("list: [a, [b], ~]\npairs: {A: {B: c}}\ngroup: 3\n");
    assert_problems("t.yaml:1 list: holds a list, but each entry must be a text\n"
                    "t.yaml:1 list: holds nothing, but each entry must be a text\n"
                    "t.yaml:2 pairs.A: is a map, but must be a text\n"
                    "t.yaml:3 group: is a single value, but must be a map\n");
}

static void test_suggests_the_key_that_was_meant(void **state)
{
    (void)state;
    read_text("nmae: x\ngroup: {wait_time: 5s, zzzzzz: 1}\nGroup: {}\nquite_unlike_any: 1\n"
              "group.on: true\n");
    assert_problems("t.yaml:1 nmae: is not a known key; did you mean 'name'?\n"
                    "t.yaml:2 group.wait_time: is not a known key; did you mean 'waitTime'?\n"
                    "t.yaml:2 group.zzzzzz: is not a known key\n"
                    "t.yaml:3 Group: is not a known key; did you mean 'group'?\n"
                    "t.yaml:4 quite_unlike_any: is not a known key\n"
                    "t.yaml:5 group.on: is not a known key; did you mean 'group'?\n");
}

static void test_lenient_reader_only_warns_of_unknown_keys(void **state)
{
    (void)state;
    struct option_reader r = reader();
    r.lenient = true;
    r.path = "upstreams.a";
    read_yaml(&r, "nmae: x\ncount: many\n");
    assert_problems(
        "warning t.yaml:1 upstreams.a.nmae: is not a known key; ignored; did you mean 'name'?\n"
        "t.yaml:2 upstreams.a.count: 'many' is not a whole number\n");
}

static void test_an_alias_sets_the_field_but_not_beside_its_row(void **state)
{
    (void)state;
    read_text("wait: 20ms\n");
    assert_problems("");
    assert_int_equal(thing.wait_ms, 20);
    read_text("wait: 20ms\ngroup: {waitTime: 30ms}\n");
    assert_problems("t.yaml:1 wait: says the same as 'group.waitTime': write only one of them\n");
}

static void test_root_must_be_a_map(void **state)
{
    (void)state;
    read_text("[a]\n");
    assert_problems("t.yaml:1: is a list, but must be a map\n");
}

static void test_no_message_shows_a_secret(void **state)
{
    (void)state;
    char *env[] = {(char[]){"T_TOKEN=abc"}, NULL};
    struct option_reader r = reader();
    read_text("token: xyz\n");
    options_read_env(&r, env);
    options_read_flags(&r, (const char *[]){"--token=uvw", NULL});
    assert_problems("t.yaml:1 token: is too short: at least 4 characters\n"
                    "T_TOKEN: is too short: at least 4 characters\n"
                    "--token: is too short: at least 4 characters\n");
}

static void test_a_message_is_one_line_and_bounded(void **state)
{
    (void)state;
    read_text(
        "\"a\\nb\": 1\ncount: \"1\\n2\\u001b\"\n"
        "color: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n");
    assert_problems("t.yaml:1 a?b: is not a known key\n"
                    "t.yaml:2 count: '1?2?' is not a whole number\n"
                    "t.yaml:3 color: 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                    "aaaa…' is not one of: red, green\n");
}

static void test_environment_wins_over_the_file(void **state)
{
    (void)state;
    char *env[] = {(char[]){"T_NAMES=no"},
                   (char[]){"T_NAME="},
                   (char[]){"T_ALIAS=al"},
                   (char[]){"T_ON=TRUE"},
                   (char[]){"T_LIST= a,,b "},
                   (char[]){"T_COUNT="},
                   NULL};
    struct option_reader r = reader();
    read_text("name: file\nlist: [f]\ncount: 5\n");
    options_read_env(&r, env);
    assert_problems("");
    assert_string_equal(thing.name, "al");
    assert_true(thing.on);
    assert_string_equal(thing.list[0], "a");
    assert_string_equal(thing.list[1], "b");
    assert_null(thing.list[2]);
    assert_int_equal(thing.count, 5);
}

static void test_environment_problems_name_the_variable(void **state)
{
    (void)state;
    char *env[] = {(char[]){"T_ON=perhaps"}, (char[]){"T_COUNT=x"}, NULL};
    struct option_reader r = reader();
    options_read_env(&r, env);
    assert_problems(
        "T_ON: 'perhaps' is neither true nor false\nT_COUNT: 'x' is not a whole number\n");
    options_read_env(&r, NULL);
    assert_problems("");
}

static void test_flags_in_every_spelling(void **state)
{
    (void)state;
    struct option_reader r = reader();
    read_text("list: [f]\n");
    options_read_flags(&r, (const char *[]){"--name=flag", "--group-wait-time", "3s", "--group.on",
                                            "--list=a,b", "--LIST=c", "--count", "-1", NULL});
    assert_problems("");
    assert_string_equal(thing.name, "flag");
    assert_int_equal(thing.wait_ms, 3000);
    assert_true(thing.on);
    assert_int_equal(thing.count, -1);
    assert_string_equal(thing.list[0], "a");
    assert_string_equal(thing.list[2], "c");
    assert_null(thing.list[3]);
}

static void test_flag_problems(void **state)
{
    (void)state;
    struct option_reader r = reader();
    options_read_flags(&r, (const char *[]){"--nmae=x", "--count", "--group-on=si", "stray",
                                            "--pairs=a", "--wait=3s", "--", "--name=", NULL});
    assert_problems("--nmae: is not a known option; did you mean '--name'?\n"
                    "--count: needs a value: write --count=VALUE\n"
                    "--group-on: 'si' is neither true nor false\n"
                    "stray: is not a known option; see --help\n"
                    "--pairs: is not a known option; see --help\n"
                    "--wait: is not a known option; see --help\n"
                    "--: is not a known option; see --help\n"
                    "--name: is empty: give it a value or leave it out\n");
    options_read_flags(&r, NULL);
    assert_problems("");
}

static void test_origins_say_where_a_value_was_last_written(void **state)
{
    (void)state;
    char *origins[sizeof rows / sizeof *rows] = {0};
    char *env[] = {(char[]){"T_LIST=a"}, NULL};
    struct option_reader r = reader();
    r.origins = origins;
    read_yaml(&r, "name: a\nlist: [b]\ncount: 1\n");
    options_read_env(&r, env);
    options_read_flags(&r, (const char *[]){"--count=2", NULL});
    assert_string_equal(origins[0], "t.yaml:1 name");
    assert_string_equal(origins[2], "T_LIST");
    assert_null(origins[1]);
    for (size_t i = 0; i < table.n; i++) {
        if (strcmp(rows[i].name, "count") == 0)
            assert_string_equal(origins[i], "--count");
        free(origins[i]);
    }
}

static void test_lists_and_pairs_are_capped(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_adds(&b, "list: [");
    for (int i = 0; i < 1001; i++)
        buf_adds(&b, "a,");
    buf_adds(&b, "]\npairs: {");
    for (int i = 0; i < 1001; i++)
        buf_addf(&b, "k%d: v,", i);
    buf_add(&b, "}\n", 3);
    read_text(b.p);
    assert_problems(
        "t.yaml:1 list: holds too many entries\nt.yaml:2 pairs: holds too many entries\n");
    assert_int_equal(thing.pair_count, 1000);
    buf_fini(&b);
}

static void test_one_grammar_of_booleans(void **state)
{
    (void)state;
    static const char *const yes[] = {"true", "TRUE", "yes", "on", "1", "Enabled", "t", "Y"};
    static const char *const no[] = {"false", "No", "off", "0", "disabled", "F", "n"};
    static const char *const neither[] = {"", "2", "tru", "truee", " true", "null", "01"};
    bool v;
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        assert_true(option_parse_bool(str_of(yes[i]), &v) && v);
    for (size_t i = 0; i < sizeof no / sizeof *no; i++)
        assert_true(option_parse_bool(str_of(no[i]), &v) && !v);
    for (size_t i = 0; i < sizeof neither / sizeof *neither; i++)
        assert_false(option_parse_bool(str_of(neither[i]), &v));
}

static void test_durations(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int64_t ms; /* -1: refused */
    } cases[] = {
        {"500ms", 500},
        {"60s", 60000},
        {"5m", 300000},
        {"1h", 3600000},
        {"2d", 172800000},
        {"1m30s", 90000},
        {"0", 0},
        {"0s", 0},
        {"", -1},
        {"5", -1},
        {"5 s", -1},
        {"1.5s", -1},
        {"-1s", -1},
        {"s", -1},
        {"5S", -1},
        {"5sec", -1},
        {"99999999999999999999d", -1},
        {"999999999999999d", -1},
        {"5s3", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t ms = -1;
        bool ok = option_parse_msec(str_of(cases[i].text), &ms);
        if (ok != (cases[i].ms >= 0) || (ok && ms != cases[i].ms))
            fail_msg("\"%s\" gave %lld", cases[i].text, (long long)ms);
    }
}

static void test_sizes(void **state)
{
    (void)state;
    const struct {
        const char *text;
        int64_t bytes; /* -1: refused */
    } cases[] = {
        {"0", 0},
        {"4096", 4096},
        {"4MiB", 4 << 20},
        {"4Mi", 4 << 20},
        {"1KiB", 1024},
        {"2GiB", 2LL << 30},
        {"10MB", 10000000},
        {"3kB", 3000},
        {"7B", 7},
        {"", -1},
        {"4M", -1},
        {"4 MiB", -1},
        {"-1", -1},
        {"MiB", -1},
        {"4mib", -1},
        {"1MiB1", -1},
        {"1KiB1KiB", -1},
        {"99999999999999999999", -1},
        {"18446744073709551615GiB", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t bytes = 0;
        bool ok = option_parse_bytes(str_of(cases[i].text), &bytes);
        if (ok != (cases[i].bytes >= 0) || (ok && bytes != (uint64_t)cases[i].bytes))
            fail_msg("\"%s\" gave %llu", cases[i].text, (unsigned long long)bytes);
    }
}

static void test_a_duration_beyond_int_is_refused(void **state)
{
    (void)state;
    const struct option o = {.name = "d", .type = OPT_MSEC, OPT_AT(thing, wait_ms)};
    struct err e;
    assert_false(option_set(&o, &thing, "25d", &e));
    assert_true(option_set(&o, &thing, "24d", &e));
    assert_false(option_set(&o, &thing, "99999999d", &e));
}

static void test_suggestions(void **state)
{
    (void)state;
    static const char *const words[] = {"upstreams", "listen", "ui", "maxBodyBytes"};
    assert_string_equal(option_suggest(STR("upstream"), words, 4), "upstreams");
    assert_string_equal(option_suggest(STR("UPSTREMAS"), words, 4), "upstreams");
    assert_string_equal(option_suggest(STR("max_body_bytes"), words, 4), "maxBodyBytes");
    assert_string_equal(option_suggest(STR("lisen"), words, 4), "listen");
    assert_null(option_suggest(STR("zz"), words, 4));
    assert_null(option_suggest(STR(""), words, 4));
    assert_null(option_suggest(STR("mounts"), words, 4));
    char huge[4096];
    memset(huge, 'u', sizeof huge);
    assert_null(option_suggest((struct str){huge, sizeof huge}, words, 4));
}

static void test_words_may_be_understood_but_not_offered(void **state)
{
    (void)state;
    read_text("color: Blau\n");
    assert_problems("");
    assert_int_equal(thing.color, BLUE);
    read_text("color: ''\n");
    assert_problems("t.yaml:1 color: is not one of: red, green\n");
}

static void test_help_and_markdown_show_every_documented_row(void **state)
{
    (void)state;
    struct buf out = {0};
    options_help(&table, &out);
    buf_addc(&out, '\0');
    assert_non_null(strstr(out.p,
                           "  --name=VALUE                    A name | or two. Default: bob. "
                           "Variable: T_NAME, T_ALIAS.\n"));
    assert_non_null(strstr(out.p, "--group-wait-time=VALUE"));
    assert_non_null(strstr(out.p, "--group-on[=BOOL]"));
    assert_non_null(strstr(out.p, "One of red, green. Default: green."));
    assert_null(strstr(out.p, "--wait="));
    out.n = 0;
    options_markdown(&table, "x.", &out);
    buf_addc(&out, '\0');
    assert_non_null(
        strstr(out.p, "| `x.name` | text | `bob` | `T_NAME`, `T_ALIAS` | A name \\| or two. |\n"));
    assert_non_null(strstr(out.p, "| `x.other` | map |  |  | Elsewhere. |\n"));
    assert_null(strstr(out.p, "`x.wait`"));
    buf_fini(&out);
}

static void test_dump_is_json_without_secrets(void **state)
{
    (void)state;
    read_text("token: hush\npairs: {A: hush}\nname: \"q\\\"x\"\n");
    struct buf out = {0};
    options_dump(&table, &thing, &out);
    buf_addc(&out, '\0');
    assert_string_equal(out.p, "\"name\":\"q\\\"x\",\"mark\":\"_\",\"list\":[\"x\"],"
                               "\"pairs\":{\"A\":\"[redacted]\"},"
                               "\"group\":{\"on\":false,\"waitTime\":\"90s\"},\"count\":-1,"
                               "\"bytes\":\"4MiB\",\"color\":\"green\",\"format\":\"text\","
                               "\"token\":\"[redacted]\"");
    buf_fini(&out);
}

static void test_fini_by_flags_leaves_the_others(void **state)
{
    (void)state;
    read_text("token: hush\n");
    options_fini(&table, &thing, OPT_SECRET);
    assert_null(thing.token);
    assert_string_equal(thing.name, "bob");
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_defaults_come_from_the_rows),
        T(test_reads_every_type_from_a_tree),
        T(test_null_and_missing_keys_keep_what_was),
        T(test_a_single_text_is_a_list_of_one),
        T(test_reports_all_problems_with_line_and_path),
        T(test_reports_entries_that_are_not_text),
        T(test_suggests_the_key_that_was_meant),
        T(test_lenient_reader_only_warns_of_unknown_keys),
        T(test_an_alias_sets_the_field_but_not_beside_its_row),
        T(test_root_must_be_a_map),
        T(test_no_message_shows_a_secret),
        T(test_a_message_is_one_line_and_bounded),
        T(test_environment_wins_over_the_file),
        T(test_environment_problems_name_the_variable),
        T(test_flags_in_every_spelling),
        T(test_flag_problems),
        T(test_origins_say_where_a_value_was_last_written),
        T(test_lists_and_pairs_are_capped),
        T(test_one_grammar_of_booleans),
        T(test_durations),
        T(test_sizes),
        T(test_a_duration_beyond_int_is_refused),
        T(test_suggestions),
        T(test_words_may_be_understood_but_not_offered),
        T(test_help_and_markdown_show_every_documented_row),
        T(test_dump_is_json_without_secrets),
        T(test_fini_by_flags_leaves_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
