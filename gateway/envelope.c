/* See envelope.h. Layout, numbers big-endian:
 *
 *   "HGL1" | key id 8 | MAC 32 | from 16 | to 16 | nonce 16 | sent 8 |
 *   length 4, principal | length 4, head | body
 *
 * The MAC is HMAC-SHA-256 over all that follows it. */
#include "gateway/envelope.h"

enum { MAGIC = 4, KEY_ID = 8, MAC = 32, PREFIX = MAGIC + KEY_ID + MAC, FIXED = 64 };

static const char magic[] = "HGL1";

void envelope_keys_init(struct envelope_keys *k, const uint8_t (*fleet)[32], size_t n)
{
    *k = (struct envelope_keys){.n = n < ENVELOPE_KEYS_MAX ? n : ENVELOPE_KEYS_MAX};
    for (size_t i = 0; i < k->n; i++) {
        uint8_t id[32];
        crypto_hmac((struct str){(const char *)fleet[i], 32}, STR("headgate replica link 1"),
                    k->key[i].key);
        crypto_hmac((struct str){(const char *)k->key[i].key, 32}, STR("id"), id);
        memcpy(k->key[i].id, id, sizeof k->key[i].id);
    }
}

void envelope_keys_fini(struct envelope_keys *k)
{
    crypto_wipe(k, sizeof *k);
}

static void add_number(struct buf *out, uint64_t v, int bytes)
{
    while (bytes-- > 0)
        buf_addc(out, (char)(v >> (8 * bytes)));
}

void envelope_seal(const struct envelope_keys *k, const struct envelope *env, struct buf *out)
{
    uint8_t mac[MAC] = {0};
    size_t at = out->n;
    (void)buf_reserve(out, PREFIX + FIXED + env->principal.n + env->head.n + env->body.n);
    buf_add(out, magic, MAGIC);
    buf_add(out, k->key[0].id, KEY_ID);
    buf_add(out, mac, MAC);
    buf_add_str(out, env->from);
    buf_add_str(out, env->to);
    buf_add_str(out, env->nonce);
    add_number(out, (uint64_t)env->sent_ms, 8);
    add_number(out, env->principal.n, 4);
    buf_add_str(out, env->principal);
    add_number(out, env->head.n, 4);
    buf_add_str(out, env->head);
    buf_add_str(out, env->body);
    crypto_hmac((struct str){(const char *)k->key[0].key, 32},
                (struct str){out->p + at + PREFIX, out->n - at - PREFIX}, mac);
    memcpy(out->p + at + MAGIC + KEY_ID, mac, MAC);
}

static bool take(struct str *rest, size_t n, struct str *out)
{
    if (rest->n < n)
        return false;
    *out = (struct str){rest->p, n};
    rest->p += n;
    rest->n -= n;
    return true;
}

static bool take_number(struct str *rest, size_t bytes, uint64_t *v)
{
    struct str s;
    *v = 0;
    if (!take(rest, bytes, &s))
        return false;
    for (size_t i = 0; i < bytes; i++)
        *v = *v << 8 | (uint8_t)s.p[i];
    return true;
}

static bool take_long(struct str *rest, struct str *out)
{
    uint64_t n;
    return take_number(rest, 4, &n) && n <= ENVELOPE_OVERHEAD && take(rest, (size_t)n, out);
}

static const uint8_t *find_key(const struct envelope_keys *k, struct str id)
{
    for (size_t i = 0; i < k->n; i++)
        if (memcmp(k->key[i].id, id.p, KEY_ID) == 0)
            return k->key[i].key;
    return NULL;
}

bool envelope_open(const struct envelope_keys *k, struct str text, struct envelope *env,
                   struct err *e)
{
    struct str head, id, mac;
    uint8_t want[MAC];
    uint64_t sent;
    *env = (struct envelope){0};
    if (!take(&text, MAGIC, &head) || memcmp(head.p, magic, MAGIC) != 0 ||
        !take(&text, KEY_ID, &id) || !take(&text, MAC, &mac))
        return err_set(e, ERR_BAD_REQUEST, "this is no envelope that this version knows");
    const uint8_t *key = find_key(k, id);
    if (key)
        crypto_hmac((struct str){(const char *)key, 32}, text, want);
    if (!key || !crypto_equal(want, mac.p, MAC))
        return err_set(e, ERR_UNAUTHENTIC, "the envelope is not of this fleet");
    if (!take(&text, ENVELOPE_NAME, &env->from) || !take(&text, ENVELOPE_NAME, &env->to) ||
        !take(&text, ENVELOPE_NONCE, &env->nonce) || !take_number(&text, 8, &sent) ||
        sent > INT64_MAX || !take_long(&text, &env->principal) || !take_long(&text, &env->head))
        return err_set(e, ERR_BAD_REQUEST, "the envelope is cut short");
    env->sent_ms = (int64_t)sent;
    env->body = text;
    return true;
}
