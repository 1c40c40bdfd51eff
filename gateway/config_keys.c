/* See config_parts.h: the keys that seal what clients hold for us. */
#include "base/crypto.h"
#include "gateway/config_parts.h"

#include <stdlib.h>

enum { MAX_KEYS = 16, MAX_FILE = 64 * 1024, KEY_BYTES = 32 };

static int hex_digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + ('a' - 'A') : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static bool parse_hex(struct str s, uint8_t key[KEY_BYTES])
{
    for (size_t i = 0; i < KEY_BYTES; i++) {
        int high = hex_digit(s.p[2 * i]), low = hex_digit(s.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        key[i] = (uint8_t)(high * 16 + low);
    }
    return true;
}

/* Both alphabets of base64, with or without padding. */
static bool parse_base64(struct str s, uint8_t key[KEY_BYTES])
{
    char text[43];
    struct buf out = {0};
    if (s.n == sizeof text + 1 && s.p[s.n - 1] == '=')
        s.n--;
    if (s.n != sizeof text)
        return false;
    for (size_t i = 0; i < s.n; i++)
        text[i] = s.p[i] == '+' ? '-' : s.p[i] == '/' ? '_' : s.p[i];
    bool ok = crypto_b64url_decode(&out, (struct str){text, sizeof text}) && out.n == KEY_BYTES;
    if (ok)
        memcpy(key, out.p, KEY_BYTES);
    crypto_wipe(text, sizeof text);
    config_wipe(&out);
    return ok;
}

static bool parse_key(struct str s, uint8_t key[KEY_BYTES])
{
    return s.n == 2 * (size_t)KEY_BYTES ? parse_hex(s, key) : parse_base64(s, key);
}

/* 32 times one byte is a placeholder that somebody forgot. */
static bool is_weak(const uint8_t key[KEY_BYTES])
{
    return memcmp(key, key + 1, KEY_BYTES - 1) == 0;
}

static const char *key_fault(const struct config *c, struct str s, uint8_t key[KEY_BYTES])
{
    if (!parse_key(s, key))
        return "is not 32 bytes in base64, base64url or hex";
    if (is_weak(key))
        return "is not random";
    for (size_t i = 0; i < c->seal_key_count; i++)
        if (crypto_equal(c->seal_keys[i], key, KEY_BYTES))
            return "is given twice";
    return c->seal_key_count == MAX_KEYS ? "is one too many (16 at most)" : NULL;
}

static void add_key(struct config_draft *d, const char *path, size_t number, struct str s)
{
    struct config *c = &d->c;
    uint8_t key[KEY_BYTES];
    const char *fault = key_fault(c, s, key);
    if (fault) {
        config_report(d, false, path, "key %zu %s; make one with: openssl rand -base64 32", number,
                      fault);
    } else {
        /* Not realloc, which could leave a copy behind. */
        uint8_t(*keys)[KEY_BYTES] = xcalloc(c->seal_key_count + 1, sizeof *keys);
        if (c->seal_keys) {
            memcpy(keys, c->seal_keys, c->seal_key_count * sizeof *keys);
            crypto_wipe(c->seal_keys, c->seal_key_count * sizeof *keys);
        }
        free(c->seal_keys);
        c->seal_keys = keys;
        memcpy(keys[c->seal_key_count++], key, KEY_BYTES);
    }
    crypto_wipe(key, sizeof key);
}

/* Keys separated by commas, blanks or lines; '#' begins a comment. */
static void add_keys(struct config_draft *d, const char *path, struct str text)
{
    struct str line, word;
    size_t n = 0;
    while (str_split(&text, '\n', &line)) {
        const char *comment = line.n ? memchr(line.p, '#', line.n) : NULL;
        if (comment)
            line.n = (size_t)(comment - line.p);
        while (line.n) {
            size_t len = 0;
            while (len < line.n && !memchr(", \t\r", line.p[len], 4))
                len++;
            word = (struct str){line.p, len};
            line = (struct str){line.p + len + (len < line.n), line.n - len - (len < line.n)};
            if (word.n)
                add_key(d, path, ++n, word);
        }
    }
    if (n == 0)
        config_report(d, false, path, "holds no key; make one with: openssl rand -base64 32");
}

static void keys_from_file(struct config_draft *d)
{
    struct buf text = {0};
    struct err e;
    if (config_read_file(d->seal_keys_file, MAX_FILE, &text, &e))
        add_keys(d, "sealKeysFile", buf_str(&text));
    else
        config_report(d, false, "sealKeysFile", "'%.128s' %s", d->seal_keys_file, e.msg);
    config_wipe(&text);
}

static void keys_from_env(struct config_draft *d)
{
    const char *text = option_getenv(d->environ, d->seal_keys_env);
    if (text)
        add_keys(d, "sealKeysEnv", str_of(text));
    else
        config_report(d, false, "sealKeysEnv", "the variable %s is not set",
                      config_shown_variable(d->seal_keys_env));
}

void config_read_keys(struct config_draft *d)
{
    if (!!d->seal_keys + !!d->seal_keys_file + !!d->seal_keys_env > 1) {
        config_report(d, false, "sealKeys",
                      "write only one of sealKeys, sealKeysFile and sealKeysEnv");
    } else if (d->seal_keys_file) {
        keys_from_file(d);
    } else if (d->seal_keys_env) {
        keys_from_env(d);
    }
    for (size_t i = 0; d->seal_keys && d->seal_keys[i]; i++)
        add_key(d, "sealKeys", i + 1, str_trim(str_of(d->seal_keys[i])));
    if (d->seal_keys || d->seal_keys_file || d->seal_keys_env)
        return;
    d->c.seal_keys = xcalloc(1, sizeof *d->c.seal_keys);
    crypto_random(d->c.seal_keys, sizeof *d->c.seal_keys);
    d->c.seal_key_count = 1;
    d->c.seal_keys_generated = true;
}
