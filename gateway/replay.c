/* See replay.h. An id reads `epoch.stream.seq` in hex, with `.request` in base64url behind it on
 * streams that answer a request: who takes up such a stream after its owner died can be told that
 * the request failed. */
#include "gateway/replay.h"

#include "base/crypto.h"

#include <stdlib.h>

void replay_id_format(const struct replay_id *id, struct buf *out)
{
    buf_addf(out, "%x.%x.%llx", id->epoch, id->stream, (unsigned long long)id->seq);
    if (id->request.n == 0 || id->request.n > REPLAY_REQUEST_MAX)
        return;
    buf_addc(out, '.');
    crypto_b64url(out, id->request.p, id->request.n);
}

static bool read_hex(struct str *rest, size_t max_digits, uint64_t *out)
{
    struct str part;
    *out = 0;
    if (!str_split(rest, '.', &part) || part.n == 0 || part.n > max_digits)
        return false;
    for (size_t i = 0; i < part.n; i++) {
        const char *digit = memchr("0123456789abcdef", part.p[i], 16);
        if (!digit)
            return false;
        *out = *out << 4 | (uint64_t)(digit - "0123456789abcdef");
    }
    return true;
}

bool replay_id_parse(struct str text, struct buf *scratch, struct replay_id *id)
{
    uint64_t epoch, stream, seq;
    *id = (struct replay_id){0};
    if (!read_hex(&text, 8, &epoch) || !read_hex(&text, 8, &stream) || !read_hex(&text, 16, &seq))
        return false;
    *id = (struct replay_id){.epoch = (uint32_t)epoch, .stream = (uint32_t)stream, .seq = seq};
    if (text.n == 0)
        return true;
    if (text.n > 2 * REPLAY_REQUEST_MAX)
        return false;
    scratch->n = 0;
    if (!crypto_b64url_decode(scratch, text))
        return false;
    id->request = buf_str(scratch);
    return true;
}

/* ---- the log ---- */

static void drop(struct replay_log *l, struct replay_event *ev)
{
    TAILQ_REMOVE(&l->events, ev, link);
    l->count--;
    l->bytes -= ev->data.n;
    free(ev);
}

void replay_trim(struct replay_log *l, int64_t now_ms)
{
    struct replay_event *ev;
    while (l->begun && (ev = TAILQ_FIRST(&l->events)) &&
           (ev->at_ms + REPLAY_MAX_AGE_MS < now_ms || l->count > REPLAY_MAX_EVENTS ||
            (l->bytes > REPLAY_MAX_BYTES && l->count > 1)))
        drop(l, ev);
}

void replay_add(struct replay_log *l, uint32_t stream, uint64_t seq, struct str data,
                int64_t now_ms)
{
    struct replay_event *ev = xmalloc(sizeof *ev + data.n);
    if (!l->begun)
        TAILQ_INIT(&l->events);
    l->begun = true;
    if (data.n)
        memcpy(ev->bytes, data.p, data.n);
    ev->stream = stream;
    ev->seq = seq;
    ev->at_ms = now_ms;
    ev->data = (struct str){ev->bytes, data.n};
    TAILQ_INSERT_TAIL(&l->events, ev, link);
    l->count++;
    l->bytes += data.n;
    replay_trim(l, now_ms);
}

const struct replay_event *replay_after(const struct replay_log *l, uint32_t stream, uint64_t seq)
{
    const struct replay_event *ev;
    if (!l->begun)
        return NULL;
    TAILQ_FOREACH (ev, &l->events, link)
        if (ev->stream == stream && ev->seq > seq)
            return ev;
    return NULL;
}

const struct replay_event *replay_next(const struct replay_event *ev)
{
    const struct replay_event *next = ev;
    while ((next = TAILQ_NEXT(next, link)))
        if (next->stream == ev->stream)
            return next;
    return NULL;
}

void replay_drop(struct replay_log *l, uint32_t stream)
{
    struct replay_event *ev, *next;
    if (!l->begun)
        return;
    for (ev = TAILQ_FIRST(&l->events); ev; ev = next) {
        next = TAILQ_NEXT(ev, link);
        if (ev->stream == stream)
            drop(l, ev);
    }
}

void replay_fini(struct replay_log *l)
{
    struct replay_event *ev;
    while (l->begun && (ev = TAILQ_FIRST(&l->events)))
        drop(l, ev);
    l->begun = false;
}
