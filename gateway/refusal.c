/* See refusal.h. A tool's caller is a model more often than a program: the text says what to do. */
#include "gateway/refusal.h"

#include "gateway/catalog.h"

#include <assert.h>

enum { SECOND_MS = 1000 };

static int seconds(int64_t ms)
{
    return ms < 0 ? 0 : ms < SECOND_MS ? 1 : (int)((ms + SECOND_MS - 1) / SECOND_MS);
}

static const char *window_word(int window_ms)
{
    return window_ms >= 86400000  ? "day"
           : window_ms >= 3600000 ? "hour"
           : window_ms >= 60000   ? "minute"
                                  : "second";
}

static const char *scope_words(const struct limit_window *w)
{
    if (w->sort == WINDOW_TENANT)
        return " for all calls of this tenant";
    if (w->sort == WINDOW_POLICY)
        return " by what the policy allows";
    return w->per & PER_TOOL ? "" : " over all that its rule covers";
}

static void say(const struct limit_check *k, struct buf *out)
{
    const struct limit_window *w = k->by;
    struct str name = k->call->public_target;
    int wait = seconds(k->retry_ms);
    buf_adds(out, "Rate limit reached for ");
    buf_add(out, name.p, name.n < 200 ? name.n : 200);
    if (k->away) {
        buf_adds(out, ": calls cannot be counted just now, and without that none is admitted.");
    } else if (k->rate.limit == 0) {
        buf_adds(out, ": its limit is 0, no call is admitted.");
        return;
    } else {
        buf_addf(out, ": at most %u per %s%s%s.", k->rate.limit, window_word(k->rate.window_ms),
                 scope_words(w), w->per & PER_PRINCIPAL ? " for each caller" : "");
    }
    buf_addf(out, " Try again in %d second%s.", wait, wait == 1 ? "" : "s");
}

/* "dev.headgate/retryAfter":12,"dev.headgate/rateLimit":{…} */
static void add_numbers(const struct limit_check *k, const char *prefix, struct buf *out)
{
    if (k->retry_ms >= 0)
        buf_addf(out, "\"%sretryAfter\":%d,", prefix, seconds(k->retry_ms));
    buf_addf(out, "\"%srateLimit\":{\"name\":", prefix);
    json_write_str(out, str_of(k->by->name));
    buf_addf(out, ",\"limit\":%u,\"windowSeconds\":%d}", k->rate.limit,
             k->rate.window_ms / SECOND_MS);
}

void refusal_init(struct refusal *r, const struct limit_check *k)
{
    const struct call *c = k->call;
    bool http = c->catalog->config->limits.http_429, tool = c->method->route == ROUTE_TOOL;
    struct buf words = {0};
    struct err e;
    *r = (struct refusal){0};
    say(k, &words);
    if (tool && !http) {
        buf_adds(&r->text, "{\"content\":[{\"type\":\"text\",\"text\":");
        json_write_str(&r->text, buf_str(&words));
        buf_adds(&r->text, "}],\"isError\":true,\"_meta\":{");
        add_numbers(k, "dev.headgate/", &r->text);
        buf_adds(&r->text, "}}");
    } else {
        buf_addf(&r->text, "{\"code\":%d,\"message\":", RPC_INTERNAL_ERROR);
        json_write_str(&r->text, buf_str(&words));
        buf_adds(&r->text, ",\"data\":{\"reason\":\"rate_limited\",");
        add_numbers(k, "", &r->text);
        buf_adds(&r->text, "}}");
    }
    bool ok = json_parse(&r->doc, r->text.p, r->text.n, &e);
    assert(ok);
    (void)ok;
    r->outcome = (struct outcome){.kind = tool && !http ? OUT_RESULT : OUT_ERROR,
                                  .doc = &r->doc,
                                  .status = http ? 429 : 0,
                                  .retry_after_s = seconds(k->retry_ms)};
    buf_fini(&words);
}

void refusal_fini(struct refusal *r)
{
    json_fini(&r->doc);
    buf_fini(&r->text);
}
