/* What authentication and policy cost, by the functions that a call goes through: CPU of this
 * process an operation in ns, one JSON object a line. auth_bench CONFIG TOKEN TOOL: a configuration
 * with an issuer, tenants and rules; a JWT that it takes; a tool that no rule names. */
#include "auth/verdicts.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/log.h"
#include "gateway/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { TURNS = 5 };

static const struct config *config;
static struct str token;
static struct policy_item item;
static struct principal *caller; /* in its tenant */
static struct policy_decision listed;
static struct verdicts *verdicts;
static struct json_doc doc;
static uint32_t args;
static int64_t now;

static int64_t cpu_ns(void)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static _Noreturn void fail(const char *why)
{
    (void)fprintf(stderr, "auth_bench: %s\n", why);
    exit(1);
}

static struct principal *check(void)
{
    struct principal *who = NULL;
    struct jwks *jwks;
    struct err e;
    if (auth_check(&config->auth, token, now, true, &who, &jwks, &e) != AUTH_OK)
        fail(e.msg);
    return who;
}

/* ---- what is measured ---- */

/* As gate.c does with tenants: the credential and where it came to. */
static void key_of(uint8_t digest[32])
{
    const struct str parts[] = {token, STR("\n"), STR("127.0.0.1:8000"), STR("/mcp")};
    crypto_sha256(parts, 4, digest);
}

static void cached(void)
{
    uint8_t digest[32];
    key_of(digest);
    struct principal *who = verdicts_get(verdicts, digest, clock_wall_ms());
    if (!who)
        fail("the verdict is not there");
    who = principal_ref(who);
    principal_unref(&who);
}

static void cold(void)
{
    uint8_t digest[32];
    key_of(digest);
    struct principal *who = check();
    verdicts_put(verdicts, digest, who, now);
    principal_unref(&who);
}

static void standing(void)
{
    const struct policy_tenant *t;
    struct principal *who = check();
    if (!policy_place(&config->policy, who, NULL, STR("127.0.0.1"), &t) || !t)
        fail("the caller has no tenant");
    struct principal *placed = principal_in_tenant(who, t->name);
    placed->standing = policy_subject_new(&config->policy, placed);
    principal_unref(&who);
    principal_unref(&caller);
    caller = placed;
}

/* Nothing is known of the item: all rules that may concern the caller are tried. */
static void decide_whole(void)
{
    struct policy_decision d =
        policy_decide(&config->policy, caller->standing, &item, &doc, args, 0);
    if (d.effect != POLICY_ALLOW)
        fail("the call is not allowed");
}

/* As for a listed tool: the catalog's decision is kept, and a call tries the rules from the first
 * that looks at arguments. */
static void decide_call(void)
{
    struct policy_decision d =
        policy_decide(&config->policy, caller->standing, &item, &doc, args, listed.next_rule);
    if (d.effect != POLICY_ALLOW)
        fail("the call is not allowed");
}

static void measure(const char *name, void (*fn)(void), int n)
{
    int64_t best = INT64_MAX;
    for (int turn = 0; turn < TURNS; turn++) {
        int64_t cpu = cpu_ns();
        for (int i = 0; i < n; i++)
            fn();
        cpu = cpu_ns() - cpu;
        best = cpu < best ? cpu : best;
    }
    printf("{\"case\":\"auth\",\"target\":\"%s\",\"cpu_us\":%.3f}\n", name,
           (double)best / n / 1000);
}

int main(int argc, char **argv)
{
    static char *no_environment[] = {NULL};
    static const char arguments[] = "{\"env\":\"stage\",\"path\":\"/srv/data\",\"n\":7}";
    struct config_problems problems = {0};
    struct buf text = {0};
    struct err e;
    if (argc != 4)
        fail("usage: auth_bench CONFIG TOKEN TOOL");
    log_configure(LV_ERROR, false);
    struct config *c = config_load(argv[1], no_environment, NULL, &problems);
    if (!c) {
        config_problems_format(&problems, &text);
        buf_addc(&text, '\0');
        fail(text.p);
    }
    config = c;
    token = str_of(argv[2]);
    item = (struct policy_item){.kind = POLICY_TOOL, .name = str_of(argv[3]), .mount = "bench"};
    now = clock_wall_ms();
    verdicts = verdicts_new(4096);
    if (!json_parse(&doc, arguments, sizeof arguments - 1, &e))
        fail(e.msg);

    measure("jwt-rs256-cold", cold, 2000);
    measure("jwt-cached", cached, 500000);
    measure("jwt-and-standing-cold", standing, 2000);
    measure("policy-whole", decide_whole, 200000);
    listed = policy_decide(&config->policy, caller->standing, &item, NULL, JSON_NONE, 0);
    measure("policy-listed", decide_call, 200000);

    principal_unref(&caller);
    verdicts_free(&verdicts);
    config_problems_fini(&problems);
    config_unref(&c);
    return 0;
}
