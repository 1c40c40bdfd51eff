/* Fuzzes requestState: the input as a client's token, and as what is inside a seal. Beyond not
 * crashing: no token opens that was not sealed, and what was read is read again after it was sealed
 * anew. */
#include "gateway/state.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t key[1][32] = {{9}}, binding[STATE_BINDING] = {3};
    static struct sealer *sealer;
    struct str text = {(const char *)data, size};
    struct arena a = {0};
    struct state st, again;
    struct buf token = {0};
    if (!sealer)
        sealer = sealer_new(key, 1);
    assert(!state_open(sealer, binding, text, &a, &st));
    if (state_parse(text, &st)) {
        st.expires_ms = INT64_MAX;
        state_seal(sealer, binding, &st, &token);
        assert(state_open(sealer, binding, (struct str){token.p + 1, token.n - 2}, &a, &again));
        assert(again.kind == st.kind && str_eq(again.mount, st.mount) &&
               str_eq(again.raw, st.raw) && str_eq(again.replica, st.replica) &&
               again.shard == st.shard && again.park == st.park && again.nonce == st.nonce &&
               again.questions == st.questions);
    }
    buf_fini(&token);
    arena_fini(&a);
    return 0;
}
