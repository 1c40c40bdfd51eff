/* See upstream.h. How a question to a client ends: with its answer or refusal on the server's
 * conversation, or at whoever asks through the gateway. */
#include "base/clock.h"
#include "gateway/usession.h"

#include <stdlib.h>

static void ask_end(struct ask *a, struct str body)
{
    if (a->us) {
        struct urequest *r = a->call ? a->call->ureq : NULL;
        if (r && r->asks > 0 && --r->asks == 0) {
            r->max_at_ms += clock_ms() - r->asked_ms; /* a person's time is not the server's */
            urequest_arm(r, r->up->cfg->idle_ms);
        }
        TAILQ_REMOVE(&a->us->asks, a, link);
        usession_send(a->us, body);
    }
    free(a->id);
    free(a);
}

/* True: it was somebody else's question than a server's. */
static bool answered(struct ask *a, bool ok, struct str raw)
{
    if (!a->answered)
        return false;
    a->answered(a, ok, raw);
    free(a->id);
    free(a);
    return true;
}

void ask_answer(struct ask *a, struct str result)
{
    struct buf body = {0};
    if (answered(a, true, result))
        return;
    rpc_begin_result(&body, str_of(a->id));
    buf_add_str(&body, result);
    buf_addc(&body, '}');
    ask_end(a, buf_str(&body));
    buf_fini(&body);
}

void ask_refuse(struct ask *a, struct str error)
{
    struct buf body = {0};
    if (answered(a, false, error))
        return;
    buf_adds(&body, "{\"jsonrpc\":\"2.0\",\"id\":");
    buf_adds(&body, a->id ? a->id : "null");
    buf_adds(&body, ",\"error\":");
    buf_add_str(&body, error);
    buf_addc(&body, '}');
    ask_end(a, buf_str(&body));
    buf_fini(&body);
}

void ask_withdraw(struct ask *a)
{
    a->answered = NULL;
    if (a->on_cancelled)
        a->on_cancelled(a);
    a->on_cancelled = NULL;
    ask_refuse(a, STR("{}"));
}
