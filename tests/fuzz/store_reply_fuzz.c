/* Fuzzes what a server that is Redis, or says so, answers. The first byte picks the operation that
 * was asked and where the stream is cut; bytes 1 to 4 of the rest become genuine envelopes, so that
 * the fuzzer gets behind the MAC. Whole and cut the stream yields the same answers; each keeps to
 * the bounds of store.h, and lends nothing that was not wrapped by us. */
#include "store/store_redis.h"

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t keys[1][32] = {"one key of thirty-two bytes len"};

/* What byte 1…4 stands for. */
static const struct store_place places[] = {
    {STORE_FOR_VALUE, {"k", 1}, 0},
    {STORE_FOR_LOG, {"k", 1}, 1},
    {STORE_FOR_LOG, {"k", 1}, 2},
    {STORE_FOR_MEMBER, {"k", 1}, 0},
};

static struct buf with_envelopes(const struct store_macs *m, const uint8_t *p, size_t n)
{
    struct buf out = {0};
    for (size_t i = 0; i < n; i++) {
        if (p[i] >= 1 && p[i] <= 4)
            store_mac_wrap(m, &places[p[i] - 1], 0, STR("v"), &out);
        else
            buf_addc(&out, (char)p[i]);
    }
    return out;
}

static void note_entries(const struct store_reply *r, struct buf *out)
{
    assert(r->count <= STORE_MEMBERS_MAX);
    for (size_t i = 0; i < r->count; i++) {
        assert(str_eq(r->entries[i].value, STR("v")));
        buf_addf(out, "(%lld)", (long long)r->entries[i].seq);
    }
}

static void note_reply(const struct store_macs *m, const struct redis_pending *p,
                       const struct redis_replies *reply, struct buf *out)
{
    static struct store_entry entries[STORE_MEMBERS_MAX];
    unsigned forged[FORGERIES] = {0};
    struct store_reply r;
    const struct redis_decoding d = {m, p, STR("k"), reply, 1000, entries, forged};
    bool ok = redis_op_decode(&d, &r);
    assert(ok || r.status == STORE_AWAY);
    assert(r.status <= STORE_AWAY && r.window < STORE_WINDOWS_MAX);
    assert(r.value.n == 0 || str_eq(r.value, STR("v")));
    note_entries(&r, out);
    buf_addf(out, "%d:%d:%zu:%lld;", ok, r.status, reply->n, (long long)r.number);
    for (size_t i = 0; i < reply->n + 2; i++) {
        const struct redis_node *n = redis_item(reply, i);
        assert(!n || n->level == 1);
        (void)redis_item_number(reply, i, 0);
    }
}

/* Returns whether the stream broke. */
static bool run(const struct store_macs *m, const struct redis_pending *p, struct str in,
                size_t step, struct buf *out)
{
    struct redis_replies replies = {0};
    int got = 0;
    for (size_t at = 0; at < in.n && got >= 0; at += step) {
        size_t n = in.n - at < step ? in.n - at : step;
        char *copy = malloc(n);
        if (!copy)
            abort();
        memcpy(copy, in.p + at, n);
        redis_replies_feed(&replies, copy, n);
        free(copy);
        while ((got = redis_replies_next(&replies)) == 1) {
            assert(replies.n >= 1 && replies.n <= REDIS_NODES_MAX);
            note_reply(m, p, &replies, out);
        }
    }
    redis_replies_fini(&replies);
    return got < 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const int8_t scripts[ACTIONS + 1] = {
        [ACTION_GET] = -1,
        [ACTION_SET] = -1,
        [ACTION_DEL] = -1,
        [ACTION_DEL_IF] = SCRIPT_DEL_IF,
        [ACTION_EXTEND] = SCRIPT_EXTEND,
        [ACTION_ADMIT] = SCRIPT_ADMIT,
        [ACTION_APPEND] = SCRIPT_APPEND,
        [ACTION_READ] = SCRIPT_READ,
        [ACTION_JOIN] = SCRIPT_JOIN,
        [ACTION_LEAVE] = -1,
        [ACTION_MEMBERS] = SCRIPT_MEMBERS,
        [ACTION_PUBLISH] = -1,
        [ACTIONS] = -1,
    };
    if (size == 0)
        return 0;
    struct store_macs *m = store_macs_new(keys, 1);
    struct buf in = with_envelopes(m, data + 1, size - 1), whole = {0}, cut = {0};
    uint8_t action = data[0] % (ACTIONS + 1);
    struct redis_pending p = {
        .action = action, .script = scripts[action], .seq = data[0] / (ACTIONS + 1) % 3};
    bool broke = run(m, &p, buf_str(&in), in.n + 1, &whole);
    assert(run(m, &p, buf_str(&in), 1 + data[0] % 7, &cut) == broke);
    assert(str_eq(buf_str(&whole), buf_str(&cut)));
    buf_fini(&in);
    buf_fini(&whole);
    buf_fini(&cut);
    store_macs_free(&m);
    return 0;
}
