/* See usession.h. Answers of legacy servers whose stream broke off are taken up again where the
 * server gave event ids (MCP 2025-11-25 basic/transports "Resumability and Redelivery"): after the
 * time that it asked for, with GET and Last-Event-ID. */
#include "gateway/usession.h"

#include <stdlib.h>

enum { MAX_ID = 255 };
enum { RETRY_MS = 1000, RETRY_MAX_MS = 60 * 1000, MAX_TRIES = 5 };

void resume_note(struct resume *p, const struct sse_event *ev)
{
    if (ev->retry_ms >= 0)
        p->retry_ms = ev->retry_ms < RETRY_MAX_MS ? ev->retry_ms : RETRY_MAX_MS;
    if (!ev->has_id || ev->id.n > MAX_ID)
        return;
    p->tries = 0;
    resume_forget(p);
    if (ev->id.n)
        p->id = xmemdup0(ev->id.p, ev->id.n);
}

void resume_forget(struct resume *p)
{
    free(p->id);
    p->id = NULL;
}

int64_t resume_delay_ms(const struct resume *p)
{
    return p->retry_ms >= 0 && (p->retry_ms > 0 || p->tries == 0) ? p->retry_ms : RETRY_MS;
}

void resume_fields(const struct resume *p, struct buf *fields)
{
    if (p->id && !http1_add_field(fields, STR("Last-Event-ID"), str_of(p->id)))
        log_warn("upstream.event_id_unusable");
}

static void on_again(void *arg)
{
    struct urequest *r = arg;
    struct buf fields = {0};
    struct err e;
    if (!r->call || r->us->state != US_READY) {
        (void)err_set(&e, ERR_UNAVAILABLE, "upstream %s broke off its answer", r->up->cfg->name);
        urequest_fail(r, &e);
        return;
    }
    usession_fields(r->us, &fields);
    resume_fields(&r->resume, &fields);
    urequest_get(r, buf_str(&fields));
    buf_fini(&fields);
}

bool urequest_resume(struct urequest *r, int status)
{
    struct resume *p = &r->resume;
    if (!r->us || r->us->pipe || !r->call || !p->id || p->tries >= MAX_TRIES)
        return false;
    if (status != 200 && !(status == 0 && p->tries > 0)) /* it does not know the stream */
        return false;
    timer_set(&p->again, r->up->shard->loop, resume_delay_ms(p), on_again, r);
    p->tries++;
    p->begun = true;
    if (r->call->sink->held)
        r->call->sink->held(r->call);
    return true;
}
