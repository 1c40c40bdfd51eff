/* Copies of workspaces. */
#include "local/stage.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char root[] = "stage-test-XXXXXX", dir[sizeof root];
static struct stage_result result;

static int setup(void **state)
{
    (void)state;
    memcpy(dir, root, sizeof root);
    return mkdtemp(dir) && chdir(dir) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    stage_result_fini(&result);
    assert_int_equal(chdir(".."), 0);
    stage_remove(dir);
    return access(dir, F_OK) == 0 ? -1 : 0;
}

static void put(const char *path, const char *text)
{
    char folder[128];
    (void)snprintf(folder, sizeof folder, "%s", path);
    for (char *slash = strchr(folder, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(folder, 0700);
        *slash = '/';
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static bool holds(const char *path, const char *text)
{
    char got[64] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, got, sizeof got - 1) : -1;
    if (fd >= 0)
        close(fd);
    return n >= 0 && strcmp(got, text) == 0;
}

static bool was_skipped(const char *path)
{
    return str_find(buf_str(&result.skipped), str_of(path)) >= 0;
}

static void build(const struct stage_spec *s, const char *to)
{
    struct err e;
    stage_result_fini(&result);
    assert_true(stage_build(s, to, &result, &e));
}

static void test_later_folders_win(void **state)
{
    char *folders[] = {(char[]){"a"}, (char[]){"nowhere"}, (char[]){"b"}, NULL};
    (void)state;
    put("a/tools/x.py", "a");
    put("a/tools/y.py", "a");
    put("b/tools/x.py", "b");
    build(&(struct stage_spec){.folders = folders}, "out");
    assert_true(holds("out/tools/x.py", "b") && holds("out/tools/y.py", "a"));
}

static void test_only_what_counts_is_taken(void **state)
{
    char *folders[] = {(char[]){"a"}, NULL};
    char *unblocked[] = {(char[]){"tools/my_secret*"}, NULL};
    (void)state;
    put("a/tools/x.py", "x");
    put("a/tools/x.so", "x");
    put("a/tools/.hidden.py", "x");
    put("a/tools/__pycache__/x.py", "x");
    put("a/tools/rotate_secrets.py", "x");
    put("a/tools/my_secret_santa.py", "x");
    put("a/other/x.py", "x");
    put("a/knowledge/deep/READ.MD", "x");
    put("a/knowledge/tls.pem", "x");
    build(&(struct stage_spec){.folders = folders, .unblocked = unblocked}, "out");
    assert_int_equal(result.files, 3);
    assert_true(holds("out/tools/my_secret_santa.py", "x"));
    assert_true(holds("out/knowledge/deep/READ.MD", "x"));
    assert_true(was_skipped("tools/x.so") && was_skipped("tools/rotate_secrets.py"));
    assert_true(was_skipped("knowledge/tls.pem"));
}

static void test_links_stay_below_their_folder(void **state)
{
    char *folders[] = {(char[]){"a"}, NULL};
    (void)state;
    put("outside.md", "secret");
    put("a/knowledge/..data/in.md", "in");
    assert_int_equal(symlink("..data/in.md", "a/knowledge/in.md"), 0);
    assert_int_equal(symlink("../../outside.md", "a/knowledge/out.md"), 0);
    assert_int_equal(symlink("/proc/self/environ", "a/knowledge/env.md"), 0);
    assert_int_equal(mkfifo("a/knowledge/pipe.md", 0600), 0);
    build(&(struct stage_spec){.folders = folders}, "out");
    assert_int_equal(result.files, 1);
    assert_true(holds("out/knowledge/in.md", "in"));
    assert_true(was_skipped("knowledge/out.md") && was_skipped("knowledge/env.md"));
    assert_true(was_skipped("knowledge/pipe.md"));
}

static void test_sizes_are_limited(void **state)
{
    char *folders[] = {(char[]){"a"}, NULL};
    (void)state;
    put("a/tools/large.py", "0123456789");
    put("a/knowledge/a.md", "01234");
    put("a/knowledge/b.md", "01234");
    build(&(struct stage_spec){.folders = folders, .max_file_bytes = 9, .max_knowledge_bytes = 9},
          "out");
    assert_int_equal(result.files, 1);
    assert_true(was_skipped("tools/large.py") && was_skipped("knowledge/b.md"));
}

static void test_the_hash_is_of_names_and_contents(void **state)
{
    char *folders[] = {(char[]){"a"}, NULL};
    struct stage_spec s = {.folders = folders};
    uint8_t first[32];
    (void)state;
    put("a/tools/x.py", "x");
    build(&s, "out1");
    memcpy(first, result.hash, sizeof first);
    put("a/tools/x.so", "ignored");
    build(&s, "out2");
    assert_memory_equal(first, result.hash, sizeof first);
    put("a/tools/x.py", "y");
    build(&s, "out3");
    assert_memory_not_equal(first, result.hash, sizeof first);
}

static void test_a_file_comes_back_from_an_earlier_stage(void **state)
{
    struct err e;
    (void)state;
    put("old/tools/x.py", "good");
    put("new/tools/x.py", "broken");
    assert_true(stage_restore("old", "new", "tools/x.py", &e));
    assert_true(holds("new/tools/x.py", "good"));
    assert_false(stage_restore("old", "new", "tools/none.py", &e));
    assert_false(stage_restore("old", "new", "../new/tools/x.py", &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        T(test_later_folders_win),
        T(test_only_what_counts_is_taken),
        T(test_links_stay_below_their_folder),
        T(test_sizes_are_limited),
        T(test_the_hash_is_of_names_and_contents),
        T(test_a_file_comes_back_from_an_earlier_stage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
