/* Fuzzes what clients bring back to a session: event ids, and the text inside the seal of a session
 * id (of keys that leaked). What is read is written again as it was. */
#include "gateway/replay.h"
#include "gateway/session_ids.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_event_id(struct str text)
{
    struct buf scratch = {0}, out = {0}, again_scratch = {0};
    struct replay_id id, again;
    if (replay_id_parse(text, &scratch, &id)) {
        replay_id_format(&id, &out);
        assert(replay_id_parse(buf_str(&out), &again_scratch, &again));
        assert(again.epoch == id.epoch && again.stream == id.stream && again.seq == id.seq);
        assert(id.request.n > REPLAY_REQUEST_MAX || str_eq(again.request, id.request));
    }
    buf_fini(&scratch);
    buf_fini(&out);
    buf_fini(&again_scratch);
}

static void check_ticket(struct str text)
{
    struct buf out = {0};
    struct session_ticket t, again;
    if (session_ticket_parse(text, &t)) {
        assert(t.caps.n + t.client_info.n <= text.n);
        session_ticket_format(&t, &out);
        assert(session_ticket_parse(buf_str(&out), &again));
        assert(str_eq(again.key, t.key) && again.made_ms == t.made_ms);
    }
    buf_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    check_event_id(text);
    check_ticket(text);
    return 0;
}
