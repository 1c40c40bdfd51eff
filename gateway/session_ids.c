/* See session_ids.h. The text: format, replica, key, version, time and the length of the
 * capabilities, a line each; then the capabilities and clientInfo as they came. */
#include "gateway/session_ids.h"

static const char purpose[] = "session";
#define FORMAT   "2"
#define TOO_LONG "-"

static bool is_hex(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!memchr("0123456789abcdef", s.p[i], 16))
            return false;
    return true;
}

void session_ticket_format(const struct session_ticket *t, struct buf *text)
{
    buf_addf(text, FORMAT "\n%.*s\n%.*s\n%.*s\n%lld\n", STR_FMT(t->replica), STR_FMT(t->key),
             STR_FMT(t->version), (long long)t->made_ms);
    if (t->caps.n + t->client_info.n > SESSION_ID_INFO_MAX) {
        buf_adds(text, TOO_LONG "\n");
        return;
    }
    buf_add_u64(text, t->caps.n);
    buf_addc(text, '\n');
    buf_add_str(text, t->caps);
    buf_add_str(text, t->client_info);
}

bool session_ticket_parse(struct str text, struct session_ticket *t)
{
    struct str format, made, caps;
    uint64_t ms, n = 0;
    *t = (struct session_ticket){0};
    if (!str_split(&text, '\n', &format) || !str_eq(format, STR(FORMAT)) ||
        !str_split(&text, '\n', &t->replica) || !str_split(&text, '\n', &t->key) ||
        !str_split(&text, '\n', &t->version) || !str_split(&text, '\n', &made) ||
        !str_split(&text, '\n', &caps))
        return false;
    if (t->key.n != SESSION_KEY_DIGITS || !is_hex(t->key) || !str_to_u64(made, &ms) ||
        ms > INT64_MAX)
        return false;
    t->made_ms = (int64_t)ms;
    t->whole = !str_eq(caps, STR(TOO_LONG));
    if (!t->whole)
        return text.n == 0;
    if (!str_to_u64(caps, &n) || n > text.n)
        return false;
    t->caps = (struct str){text.p, (size_t)n};
    t->client_info = (struct str){text.p + n, text.n - (size_t)n};
    return true;
}

void session_ticket_seal(const struct sealer *s, struct str principal_key,
                         const struct session_ticket *t, struct buf *id)
{
    struct buf text = {0};
    session_ticket_format(t, &text);
    sealer_seal(s, purpose, principal_key, buf_str(&text), id);
    buf_fini(&text);
}

bool session_ticket_open(const struct sealer *s, struct str principal_key, struct str id,
                         struct buf *text, struct session_ticket *t)
{
    return sealer_open(s, purpose, principal_key, id, text, NULL) &&
           session_ticket_parse(buf_str(text), t);
}
