/* For the tests of the configuration: loads a text and compares what was said about it. Each
 * program includes it once. */
#ifndef TESTS_CONFIG_FIXTURE_H
#define TESTS_CONFIG_FIXTURE_H

#include "gateway/config_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct config *config;
static struct config_problems problems;
static struct buf said;
static char file_name[64];

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(file_name, sizeof file_name, "%s/config-test-XXXXXX", P_tmpdir);
    int fd = mkstemp(file_name);
    assert_true(fd >= 0);
    (void)close(fd);
    return 0;
}

static void forget(void)
{
    config_unref(&config);
    config_problems_fini(&problems);
    buf_fini(&said);
}

static int tear_down(void **state)
{
    (void)state;
    forget();
    (void)unlink(file_name);
    return 0;
}

static void write_file(const char *text)
{
    FILE *f = fopen(file_name, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* Loads text (NULL: no file) with environment and flags; what was said has the file's name as
 * "F". */
static void load(const char *text, char *const *environ, const char *const *flags)
{
    static char *const no_environ[] = {NULL};
    struct buf raw = {0};
    forget();
    if (text)
        write_file(text);
    config = config_load(text ? file_name : NULL, environ ? environ : no_environ, flags, &problems);
    assert_true(!config == (problems.errors > 0));
    config_problems_format(&problems, &raw);
    struct str rest = buf_str(&raw);
    for (ptrdiff_t at; rest.n && (at = str_find(rest, str_of(file_name))) >= 0;) {
        buf_add(&said, rest.p, (size_t)at);
        buf_addc(&said, 'F');
        rest.p += (size_t)at + strlen(file_name);
        rest.n -= (size_t)at + strlen(file_name);
    }
    buf_add_str(&said, rest);
    buf_addc(&said, '\0');
    buf_fini(&raw);
}

#define ENV(...)   ((char *[]){__VA_ARGS__, NULL})
#define V(text)    ((char[]){text})
#define FLAGS(...) ((const char *[]){__VA_ARGS__, NULL})

static void assert_said(const char *want)
{
    assert_string_equal(said.p, want);
}

static void assert_says(const char *part)
{
    if (!strstr(said.p, part))
        fail_msg("said \"%s\", not \"%s\"", said.p, part);
}

/* Loads a file that must be fine without a word. */
static inline void load_fine(const char *text)
{
    load(text, NULL, NULL);
    assert_said("");
}

static void refuse(const char *text, const char *want)
{
    load(text, NULL, NULL);
    assert_null(config);
    assert_says(want);
}

static inline void warn(const char *text, const char *want)
{
    load(text, NULL, NULL);
    assert_non_null(config);
    assert_said(want);
}

static inline const struct mount_config *mount(size_t i)
{
    assert_non_null(config);
    assert_true(i < config->mount_count);
    return &config->mounts[i];
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
