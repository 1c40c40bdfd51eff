/* The command line: run, stdio, check, version. The spawner starts before threads, and before
 * secrets are read. */
#include "auth/audit.h"
#include "base/child.h"
#include "gateway/explain.h"
#include "gateway/gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef HEADGATE_VERSION
#define HEADGATE_VERSION "0.1.0"
#endif

static int usage(FILE *to)
{
    struct buf b = {0};
    config_help(&b);
    (void)fprintf(
        to,
        "headgate " HEADGATE_VERSION ": one MCP endpoint in front of many MCP servers\n\n"
        "  headgate run [--config FILE] [--OPTION=VALUE …]  serve (default file: "
        "headgate.yaml, if there is one)\n"
        "  headgate local DIR [--OPTION=VALUE …]             serve the Python tools of a "
        "folder, and nothing else\n"
        "  headgate stdio [--config FILE] [--OPTION=VALUE …]  serve one client on stdin and "
        "stdout; listens only with --listen=…\n"
        "  headgate check [--live] FILE                     check a configuration; "
        "--live: try its upstreams too\n"
        "  headgate check [--config FILE] --explain PRINCIPAL.json TOOL [ARGS.json]  say what "
        "the policy decides, and why\n"
        "  headgate approve [--config FILE] --for PRINCIPAL.json TOOL ARGS.json  approve one "
        "call, for ten minutes\n"
        "  headgate audit verify FILE                       verify an audit log\n"
        "  headgate version\n\nOptions:\n%.*s",
        (int)b.n, b.p ? b.p : "");
    buf_fini(&b);
    return to == stdout ? 0 : 2;
}

struct arguments {
    const char *file;
    const char *flags[64];
    int flag_count;
    bool live, stdio, listens;
    const char *explain[3]; /* principal, tool, arguments */
};

static bool take_argument(struct arguments *a, char **argv, int argc, int *i)
{
    if (strcmp(argv[*i], "--config") == 0 && *i + 1 < argc)
        a->file = argv[++*i];
    else if (strncmp(argv[*i], "--config=", 9) == 0)
        a->file = argv[*i] + 9;
    else if (strcmp(argv[*i], "--live") == 0)
        a->live = true;
    else if ((strcmp(argv[*i], "--explain") == 0 || strcmp(argv[*i], "--for") == 0) &&
             *i + 2 < argc) {
        for (int k = 0; k < 3 && *i + 1 < argc; k++)
            a->explain[k] = argv[++*i];
    } else if (strncmp(argv[*i], "--", 2) == 0 && a->flag_count < 63) {
        a->listens = a->listens || strncmp(argv[*i], "--listen=", 9) == 0;
        a->flags[a->flag_count++] = argv[*i];
    } else if (argv[*i][0] != '-' && !a->file)
        a->file = argv[*i];
    else
        return false;
    return true;
}

static struct config *load(const struct arguments *a)
{
    struct config_problems problems = {0};
    struct buf text = {0};
    struct config *c = config_load(a->file, environ, a->flags, &problems);
    config_problems_format(&problems, &text);
    (void)fwrite(text.p ? text.p : "", 1, text.n, stderr);
    config_problems_fini(&problems);
    buf_fini(&text);
    return c;
}

static int serve(const struct arguments *a)
{
    struct err e;
    uint64_t seed;
    struct gateway gw = {.config_file = a->file,
                         .flags = a->flags,
                         .check_live = a->live,
                         .stdio = a->stdio,
                         .listens = !a->stdio || a->listens};
    crypto_random(&seed, sizeof seed);
    map_seed(seed);
    gw.spawner = spawner_start(&e);
    if (!gw.spawner) {
        (void)fprintf(stderr, "headgate: %s\n", e.msg);
        return 1;
    }
    struct config *c = load(a);
    int code = 2;
    if (c) {
        if (!c->debuggable)
            (void)prctl(PR_SET_DUMPABLE, 0);
        metrics_rows_init();
        log_configure(c->log_level, c->log_json);
        log_start();
        code = gateway_run(&gw, c);
    }
    spawner_stop(&gw.spawner);
    log_stop();
    return code;
}

static int check(const struct arguments *a)
{
    if (!a->file) {
        (void)fprintf(stderr, "headgate check: name the file to check\n");
        return 2;
    }
    if (a->live)
        return serve(a);
    struct config *c = load(a);
    if (!c)
        return 2;
    int code = 0;
    if (a->explain[0])
        code = explain(c, a->explain[0], a->explain[1], a->explain[2]);
    else
        printf("%s: ok, %zu upstreams\n", a->file, c->mount_count);
    config_unref(&c);
    return code;
}

/* headgate approve --config FILE --for PRINCIPAL.json TOOL ARGS.json */
static int approve_one(const struct arguments *a)
{
    if (!a->explain[2]) {
        (void)fprintf(stderr, "headgate approve: needs --for PRINCIPAL.json TOOL ARGS.json\n");
        return 2;
    }
    struct config *c = load(a);
    int code = c ? approve(c, a->explain[0], a->explain[1], a->explain[2]) : 2;
    if (c)
        config_unref(&c);
    return code;
}

/* headgate audit verify FILE */
static int verify(const char *file)
{
    static char bytes[64 * 1024];
    struct audit_verifier v = {0};
    FILE *f = fopen(file, "re");
    if (!f) {
        perror(file);
        return 2;
    }
    for (size_t n; (n = fread(bytes, 1, sizeof bytes, f)) > 0;)
        if (!audit_verify_feed(&v, (struct str){bytes, n}))
            break;
    bool read = !ferror(f), ok = audit_verify_end(&v);
    (void)fclose(f);
    if (!ok)
        printf("%s: line %llu %s\n", file, (unsigned long long)v.report.bad_line, v.report.fault);
    else {
        printf("%s: ok, %llu lines, %llu lost, after %s, last %s\n", file,
               (unsigned long long)v.report.lines, (unsigned long long)v.report.lost,
               v.report.lines ? v.report.first : "-", v.report.lines ? v.report.last : "-");
    }
    return ok && read ? 0 : 1;
}

/* The folder came where a file might stand. */
static int serve_local(struct arguments *a)
{
    static const char mode[] = "--mode=server";
    struct buf folder = {0};
    if (!a->file || a->flag_count > 61) {
        (void)fprintf(stderr, "headgate local: name the folder with tools/ resources/ prompts/ "
                              "knowledge/\n");
        return 2;
    }
    buf_addf(&folder, "--local.inline=%s", a->file);
    buf_addc(&folder, '\0');
    a->flags[a->flag_count++] = mode;
    a->flags[a->flag_count++] = folder.p;
    a->file = NULL;
    int code = serve(a);
    buf_fini(&folder);
    return code;
}

int main(int argc, char **argv)
{
    struct arguments a = {0};
    const char *command = argc > 1 ? argv[1] : "run";
    if (strcmp(command, "__spawner") == 0 && argc == 3)
        return spawner_main((int)strtol(argv[2], NULL, 10));
    if (strcmp(command, "version") == 0 || strcmp(command, "--version") == 0)
        return printf("headgate " HEADGATE_VERSION "\n") < 0;
    if (strcmp(command, "help") == 0 || strcmp(command, "--help") == 0)
        return usage(stdout);
    if (strcmp(command, "audit") == 0 && argc == 4 && strcmp(argv[2], "verify") == 0)
        return verify(argv[3]);
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0)
            return usage(stdout);
        if (!take_argument(&a, argv, argc, &i)) {
            (void)fprintf(stderr, "headgate: unexpected argument %s (headgate --help)\n", argv[i]);
            return 2;
        }
    }
    if (strcmp(command, "check") == 0)
        return check(&a);
    if (strcmp(command, "approve") == 0)
        return approve_one(&a);
    if (strcmp(command, "local") == 0)
        return serve_local(&a);
    a.stdio = strcmp(command, "stdio") == 0;
    if (!a.stdio && strcmp(command, "run") != 0) {
        (void)fprintf(stderr, "headgate: no command %s (headgate --help)\n", command);
        return 2;
    }
    if (!a.file && access("headgate.yaml", R_OK) == 0)
        a.file = "headgate.yaml";
    return serve(&a);
}
