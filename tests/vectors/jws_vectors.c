/* Runs Wycheproof's sets of JWS and JWK: jws_vectors FOLDER (its testvectors_v1). No invalid token
 * may be accepted, and every valid one with RS*, PS*, ES256, ES384 or ES512; what is symmetric is
 * refused by choice, since a key set never holds a secret. */
#include "auth/keyset.h"

#include <stdio.h>
#include <stdlib.h>

struct tally {
    unsigned valid, accepted, by_choice, invalid, refused;
};

static bool slurp(const char *folder, const char *name, struct buf *out)
{
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "re");
    size_t n = 1;
    while (f && n > 0) {
        n = fread(buf_reserve(out, 65536), 1, 65536, f);
        out->n += n;
    }
    if (!f || fclose(f) != 0)
        perror(path);
    return out->n > 0;
}

/* The set of a group's keys, as an issuer would publish it. */
static struct keyset *keys_of(const struct json_doc *d, uint32_t group)
{
    struct buf text = {0};
    struct err e;
    uint32_t keys = json_get(d, group, STR("public"));
    if (keys == JSON_NONE)
        keys = json_get(d, group, STR("private"));
    bool set = json_get(d, keys, STR("keys")) != JSON_NONE;
    buf_adds(&text, set ? "" : "{\"keys\":[");
    buf_add_str(&text, json_raw(d, keys));
    buf_adds(&text, set ? "" : "]}");
    struct keyset *k = keyset_from_jwks(buf_str(&text), JWS_SET_ASYMMETRIC, &e);
    buf_fini(&text);
    return k;
}

static bool accepts(const struct keyset *k, struct str token, struct jws *j)
{
    struct err e;
    if (!jws_parse(j, token, &e) || !k)
        return false;
    const struct jws_key *key = keyset_find(k, j->kid, j->alg);
    return key && jws_verify(j, key);
}

static bool run_test(const struct json_doc *d, uint32_t test, const struct keyset *k,
                     struct tally *t)
{
    struct arena a = {0};
    struct jws j;
    struct str token = json_str(d, json_get(d, test, STR("jws")), &a);
    bool valid = json_str_eq(d, json_get(d, test, STR("result")), STR("valid"));
    bool accepted = accepts(k, token, &j);
    bool known = j.alg < JWS_ALGS && !(JWS_SET_HMAC & 1U << j.alg);
    bool ok = valid ? accepted || !known : !accepted;
    t->valid += valid;
    t->accepted += valid && accepted;
    t->by_choice += valid && !accepted && !known;
    t->invalid += !valid;
    t->refused += !valid && !accepted;
    if (!ok)
        printf("test %.*s: %s\n", STR_FMT(json_raw(d, json_get(d, test, STR("tcId")))),
               valid ? "valid, but refused" : "invalid, but accepted");
    jws_fini(&j);
    arena_fini(&a);
    return ok;
}

static bool run_file(const char *folder, const char *name)
{
    struct buf text = {0};
    struct json_doc d = {.limits = {.max_tokens = 1000000}};
    struct tally t = {0};
    bool ok = slurp(folder, name, &text) && json_parse(&d, text.p, text.n, NULL);
    uint32_t groups = ok ? json_get(&d, 0, STR("testGroups")) : JSON_NONE;
    for (uint32_t g = ok ? json_first(&d, groups) : JSON_NONE; g != JSON_NONE;
         g = json_next(&d, groups, g)) {
        struct keyset *k = keys_of(&d, g);
        uint32_t tests = json_get(&d, g, STR("tests"));
        for (uint32_t i = json_first(&d, tests); i != JSON_NONE; i = json_next(&d, tests, i))
            ok = run_test(&d, i, k, &t) && ok;
        keyset_unref(&k);
    }
    printf("%s: %u of %u invalid refused, %u of %u valid accepted, %u refused by choice\n", name,
           t.refused, t.invalid, t.accepted, t.valid, t.by_choice);
    json_fini(&d);
    buf_fini(&text);
    return ok && t.invalid > 0;
}

int main(int argc, char **argv)
{
    static const char *const files[] = {"json_web_signature_test.json", "json_web_key_test.json"};
    bool ok = argc == 2;
    for (size_t i = 0; argc == 2 && i < sizeof files / sizeof *files; i++)
        ok = run_file(argv[1], files[i]) && ok;
    return ok ? 0 : 1;
}
