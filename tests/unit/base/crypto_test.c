/* Published vectors for the primitives; for sealed tokens, everything that must not open. */
#include "base/crypto.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint8_t key_pair[2][32] = {"first key: thirty-two bytes long",
                                        "other key, 32 bytes as they say"};

static void assert_hex(const uint8_t *p, size_t n, const char *want)
{
    struct buf b = {0};
    crypto_hex(&b, p, n);
    assert_int_equal(b.n, strlen(want));
    assert_memory_equal(b.p, want, b.n);
    buf_fini(&b);
}

static void assert_buf(struct buf *b, const char *want)
{
    assert_int_equal(b->n, strlen(want));
    if (b->n)
        assert_memory_equal(b->p, want, b->n);
    buf_fini(b);
}

static void sha256_matches_fips_180(void **state)
{
    (void)state;
    uint8_t out[32];
    crypto_sha256(NULL, 0, out);
    assert_hex(out, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    crypto_sha256(&STR("abc"), 1, out);
    assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    crypto_sha256(&STR("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), 1, out);
    assert_hex(out, 32, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

static void sha256_of_parts_is_that_of_their_concatenation(void **state)
{
    (void)state;
    uint8_t out[32];
    crypto_sha256((struct str[]){STR("a"), {NULL, 0}, STR(""), STR("bc")}, 4, out);
    assert_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

/* RFC 4231 §4.2, §4.3, §4.7. */
static void hmac_matches_rfc_4231(void **state)
{
    (void)state;
    uint8_t out[32];
    char key[131];
    memset(key, 0x0b, 20);
    crypto_hmac((struct str){key, 20}, STR("Hi There"), out);
    assert_hex(out, 32, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    crypto_hmac(STR("Jefe"), STR("what do ya want for nothing?"), out);
    assert_hex(out, 32, "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    memset(key, 0xaa, sizeof key);
    crypto_hmac((struct str){key, sizeof key},
                STR("Test Using Larger Than Block-Size Key - Hash Key First"), out);
    assert_hex(out, 32, "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

static void hmac_takes_empty_key_and_data(void **state)
{
    (void)state;
    uint8_t out[32];
    crypto_hmac((struct str){NULL, 0}, (struct str){NULL, 0}, out);
    assert_hex(out, 32, "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

/* RFC 4648 §10. */
static const struct {
    const char *plain, *b64, *b64url;
} b64_rows[] = {
    {"", "", ""},
    {"f", "Zg==", "Zg"},
    {"fo", "Zm8=", "Zm8"},
    {"foo", "Zm9v", "Zm9v"},
    {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    {"\xfb\xff\xbf", "+/+/", "-_-_"},
};

static void base64_matches_rfc_4648_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof b64_rows / sizeof b64_rows[0]; i++) {
        struct buf b = {0};
        crypto_b64(&b, b64_rows[i].plain, strlen(b64_rows[i].plain));
        assert_buf(&b, b64_rows[i].b64);
        crypto_b64url(&b, b64_rows[i].plain, strlen(b64_rows[i].plain));
        assert_buf(&b, b64_rows[i].b64url);
        assert_true(crypto_b64_decode(&b, str_of(b64_rows[i].b64)));
        assert_buf(&b, b64_rows[i].plain);
        assert_true(crypto_b64url_decode(&b, str_of(b64_rows[i].b64url)));
        assert_buf(&b, b64_rows[i].plain);
    }
}

static void base64_round_trips_every_byte_at_every_length(void **state)
{
    (void)state;
    uint8_t all[256 + 3];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)(i * 7);
    for (size_t n = 250; n <= sizeof all; n++) {
        struct buf text = {0}, back = {0};
        crypto_b64url(&text, all, n);
        assert_true(crypto_b64url_decode(&back, buf_str(&text)));
        assert_int_equal(back.n, n);
        assert_memory_equal(back.p, all, n);
        buf_fini(&text);
        buf_fini(&back);
    }
}

static void base64_decoding_refuses_and_appends_nothing(void **state)
{
    (void)state;
    static const char *const bad_url[] = {"Zg==", "Zh",   "Zm9",  "A", "Zm9vA",   "Zm9v\n", " Zm9",
                                          "+_+_", "-/-/", "Zm=v", "=", "Zm\x80v", "Zg="};
    static const char *const bad_plain[] = {"Zg",   "Zg=",  "Zh==",     "Zm9=",   "====",
                                            "=",    "Z===", "Zg==Zg==", "Zm9v\n", "-_-_",
                                            "Zg=A", "A===", "==Zg"};
    struct buf b = {0};
    buf_adds(&b, "kept");
    for (size_t i = 0; i < sizeof bad_url / sizeof bad_url[0]; i++)
        if (crypto_b64url_decode(&b, str_of(bad_url[i])))
            fail_msg("base64url decoder took '%s'", bad_url[i]);
    for (size_t i = 0; i < sizeof bad_plain / sizeof bad_plain[0]; i++)
        if (crypto_b64_decode(&b, str_of(bad_plain[i])))
            fail_msg("base64 decoder took '%s'", bad_plain[i]);
    assert_false(crypto_b64url_decode(&b, (struct str){"Zm\0v", 4}));
    assert_buf(&b, "kept");
}

static void random_fills_all_and_differs(void **state)
{
    (void)state;
    uint8_t a[64] = {0}, b[64] = {0};
    crypto_random(a, sizeof a);
    crypto_random(b, sizeof b);
    assert_false(crypto_equal(a, b, sizeof a));
    assert_false(crypto_equal(a + 48, (uint8_t[16]){0}, 16));
    crypto_random(a, 0);
}

static void equal_compares_all_bytes(void **state)
{
    (void)state;
    assert_true(crypto_equal("same", "same", 4));
    assert_false(crypto_equal("same", "sama", 4));
    assert_false(crypto_equal("same", "zame", 4));
    assert_true(crypto_equal(NULL, NULL, 0));
}

static void wipe_zeroes(void **state)
{
    (void)state;
    uint8_t a[5] = "abcd";
    crypto_wipe(a, 4);
    assert_memory_equal(a, "\0\0\0\0", 5);
}

static struct sealer *sealer_of(size_t n)
{
    return sealer_new(key_pair, n);
}

static void assert_refused(const struct sealer *s, const char *purpose, struct str context,
                           struct str token)
{
    struct err e = {0};
    struct buf out = {0};
    buf_adds(&out, "kept");
    assert_false(sealer_open(s, purpose, context, token, &out, &e));
    assert_int_equal(e.kind, ERR_BAD_REQUEST);
    assert_string_equal(e.msg, "the token is not valid");
    assert_buf(&out, "kept");
}

static void sealed_opens_to_what_was_sealed(void **state)
{
    (void)state;
    struct sealer *s = sealer_of(1);
    char big[5000];
    memset(big, 'x', sizeof big);
    const struct str plains[] = {{NULL, 0}, STR("a"), STR("hello, sealed"), {big, sizeof big}};
    for (size_t i = 0; i < sizeof plains / sizeof plains[0]; i++) {
        struct buf token = {0}, out = {0};
        struct err e = {0};
        buf_adds(&token, "v=");
        sealer_seal(s, "session", STR("alice"), plains[i], &token);
        assert_memory_equal(token.p, "v=", 2);
        struct str t = {token.p + 2, token.n - 2};
        buf_adds(&out, ">");
        assert_true(sealer_open(s, "session", STR("alice"), t, &out, &e));
        assert_int_equal(out.n, plains[i].n + 1);
        assert_true(str_eq((struct str){out.p + 1, out.n - 1}, plains[i]));
        buf_fini(&token);
        buf_fini(&out);
    }
    sealer_free(&s);
    assert_null(s);
    sealer_free(&s);
}

static void token_is_base64url_of_version_id_nonce_ciphertext_tag(void **state)
{
    (void)state;
    struct sealer *s = sealer_of(1);
    struct buf token = {0}, raw = {0};
    uint8_t id[32];
    sealer_seal(s, "cursor", STR(""), STR("12345"), &token);
    assert_true(crypto_b64url_decode(&raw, buf_str(&token)));
    assert_int_equal(raw.n, 1 + 8 + 16 + 5 + 16);
    assert_int_equal(raw.p[0], 1);
    crypto_sha256((struct str[]){STR("headgate key id"), {(const char *)key_pair[0], 32}}, 2, id);
    assert_memory_equal(raw.p + 1, id, 8);
    assert_int_equal(str_find(buf_str(&raw), STR("12345")), -1);
    buf_fini(&token);
    buf_fini(&raw);
    sealer_free(&s);
}

static void sealing_twice_gives_different_tokens(void **state)
{
    (void)state;
    struct sealer *s = sealer_of(1);
    struct buf a = {0}, b = {0};
    sealer_seal(s, "state", STR("c"), STR("same"), &a);
    sealer_seal(s, "state", STR("c"), STR("same"), &b);
    assert_false(str_eq(buf_str(&a), buf_str(&b)));
    buf_fini(&a);
    buf_fini(&b);
    sealer_free(&s);
}

static void every_flipped_bit_is_refused(void **state)
{
    (void)state;
    struct sealer *s = sealer_of(2);
    struct buf token = {0}, raw = {0}, bent = {0};
    sealer_seal(s, "session", STR("alice"), STR("plain"), &token);
    assert_true(crypto_b64url_decode(&raw, buf_str(&token)));
    for (size_t bit = 0; bit < raw.n * 8; bit++) {
        raw.p[bit / 8] = (char)(raw.p[bit / 8] ^ 1 << bit % 8);
        bent.n = 0;
        crypto_b64url(&bent, raw.p, raw.n);
        assert_refused(s, "session", STR("alice"), buf_str(&bent));
        raw.p[bit / 8] = (char)(raw.p[bit / 8] ^ 1 << bit % 8);
    }
    buf_fini(&token);
    buf_fini(&raw);
    buf_fini(&bent);
    sealer_free(&s);
}

static void truncated_and_extended_tokens_are_refused(void **state)
{
    (void)state;
    struct sealer *s = sealer_of(1);
    struct buf token = {0};
    sealer_seal(s, "session", STR("alice"), STR("plain"), &token);
    for (size_t n = 0; n < token.n; n++)
        assert_refused(s, "session", STR("alice"), (struct str){token.p, n});
    buf_adds(&token, "AAAA");
    assert_refused(s, "session", STR("alice"), buf_str(&token));
    assert_refused(s, "session", STR("alice"), (struct str){NULL, 0});
    assert_refused(s, "session", STR("alice"), STR("not base64url!"));
    buf_fini(&token);
    sealer_free(&s);
}

static void wrong_purpose_or_context_is_refused(void **state)
{
    (void)state;
    struct sealer *s = sealer_of(1);
    struct buf token = {0};
    sealer_seal(s, "session", STR("alice"), STR("plain"), &token);
    assert_refused(s, "cursor", STR("alice"), buf_str(&token));
    assert_refused(s, "session", STR("bob"), buf_str(&token));
    assert_refused(s, "session", STR(""), buf_str(&token));
    /* The boundary between the two is bound as well. */
    assert_refused(s, "sessiona", STR("lice"), buf_str(&token));
    assert_refused(s, "", STR("sessionalice"), buf_str(&token));
    buf_fini(&token);
    sealer_free(&s);
}

static bool opens(const struct sealer *s, struct str token)
{
    struct buf out = {0};
    bool ok = sealer_open(s, "session", STR("c"), token, &out, NULL);
    buf_fini(&out);
    return ok;
}

static void rotation_mints_by_the_first_and_opens_by_all(void **state)
{
    (void)state;
    const uint8_t(*k)[32] = key_pair;
    uint8_t swapped[2][32];
    memcpy(swapped[0], k[1], 32);
    memcpy(swapped[1], k[0], 32);
    struct sealer *only_old = sealer_new(k, 1), *accepts = sealer_new(k, 2);
    struct sealer *mints = sealer_new(swapped, 2), *only_new = sealer_new(swapped, 1);
    struct buf old = {0}, mid = {0}, new = {0};
    sealer_seal(only_old, "session", STR("c"), STR("p"), &old);
    sealer_seal(accepts, "session", STR("c"), STR("p"), &mid);
    sealer_seal(mints, "session", STR("c"), STR("p"), &new);
    assert_true(opens(only_old, buf_str(&mid)));
    assert_true(opens(accepts, buf_str(&old)));
    assert_true(opens(accepts, buf_str(&new)));
    assert_true(opens(mints, buf_str(&old)));
    assert_true(opens(only_new, buf_str(&new)));
    /* A key id that is not known. */
    assert_refused(only_old, "session", STR("c"), buf_str(&new));
    assert_refused(only_new, "session", STR("c"), buf_str(&mid));
    buf_fini(&old);
    buf_fini(&mid);
    buf_fini(&new);
    sealer_free(&only_old);
    sealer_free(&accepts);
    sealer_free(&mints);
    sealer_free(&only_new);
}

static void *seal_and_open(void *arg)
{
    const struct sealer *s = arg;
    for (int i = 0; i < 200; i++) {
        struct buf token = {0};
        sealer_seal(s, "session", STR("c"), STR("p"), &token);
        bool ok = opens(s, buf_str(&token));
        buf_fini(&token);
        if (!ok)
            return arg;
    }
    return NULL;
}

static void one_sealer_serves_many_threads(void **state)
{
    (void)state;
    struct sealer *s = sealer_of(2);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, seal_and_open, s), 0);
    for (int i = 0; i < 4; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(t[i], &failed), 0);
        assert_null(failed);
    }
    sealer_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_sealer_serves_many_threads), /* first: it races for the set-up */
        cmocka_unit_test(sha256_matches_fips_180),
        cmocka_unit_test(sha256_of_parts_is_that_of_their_concatenation),
        cmocka_unit_test(hmac_matches_rfc_4231),
        cmocka_unit_test(hmac_takes_empty_key_and_data),
        cmocka_unit_test(base64_matches_rfc_4648_both_ways),
        cmocka_unit_test(base64_round_trips_every_byte_at_every_length),
        cmocka_unit_test(base64_decoding_refuses_and_appends_nothing),
        cmocka_unit_test(random_fills_all_and_differs),
        cmocka_unit_test(equal_compares_all_bytes),
        cmocka_unit_test(wipe_zeroes),
        cmocka_unit_test(sealed_opens_to_what_was_sealed),
        cmocka_unit_test(token_is_base64url_of_version_id_nonce_ciphertext_tag),
        cmocka_unit_test(sealing_twice_gives_different_tokens),
        cmocka_unit_test(every_flipped_bit_is_refused),
        cmocka_unit_test(truncated_and_extended_tokens_are_refused),
        cmocka_unit_test(wrong_purpose_or_context_is_refused),
        cmocka_unit_test(rotation_mints_by_the_first_and_opens_by_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
