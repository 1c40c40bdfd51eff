/* See usession.h: what a tool keeps for its caller's session, in the store, so that every worker
 * and every replica sees it. Whose state it is, is the gateway's to say: the caller of the call
 * that asks. A worker asks with dev.headgate/state/get, set and delete. */
#include "base/crypto.h"
#include "gateway/session.h"
#include "gateway/usession.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>

enum { KEY_MAX = 1024, ID_MAX = 64 };

enum state_verb { STATE_GET, STATE_SET, STATE_DELETE };

struct local_state_op {
    struct store_op op;
    struct usession *us;
    enum state_verb verb;
    char id[ID_MAX]; /* raw JSON */
    LIST_ENTRY(local_state_op) link;
};

void local_session_name(const struct call *c, char out[65])
{
    struct str name = c->session ? session_id(c->session) : c->session_name;
    struct str parts[] = {name.n ? STR("session") : STR("principal"),
                          name.n ? name : principal_key(c->principal)};
    uint8_t hash[32];
    crypto_sha256(parts, 2, hash);
    for (size_t i = 0; i < sizeof hash; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

static void refuse(struct usession *us, struct str id, const char *why)
{
    struct buf body = {0};
    rpc_error(&body, id, RPC_INTERNAL_ERROR, str_of(why), (struct str){0});
    usession_send(us, buf_str(&body));
    buf_fini(&body);
}

static void answer(struct usession *us, struct str id, enum state_verb verb,
                   const struct store_reply *r)
{
    struct buf body = {0};
    if (r->status == STORE_AWAY) {
        refuse(us, id, "the store of session state does not answer");
        return;
    }
    rpc_begin_result(&body, id);
    buf_addc(&body, '{');
    if (verb == STATE_GET && r->status == STORE_OK) {
        buf_adds(&body, "\"value\":");
        buf_add_str(&body, r->value);
    }
    buf_adds(&body, "}}");
    usession_send(us, buf_str(&body));
    buf_fini(&body);
}

static void on_stored(const struct store_reply *r, void *arg)
{
    struct local_state_op *o = arg;
    LIST_REMOVE(o, link);
    answer(o->us, str_of(o->id), o->verb, r);
    free(o);
}

void local_state_cancel(struct usession *us)
{
    struct local_state_op *o;
    while ((o = LIST_FIRST(&us->states))) {
        store_cancel(&o->op);
        LIST_REMOVE(o, link);
        free(o);
    }
}

static bool run(struct local_state_op *o, struct str key, struct str value, struct store_reply *r)
{
    struct store *s = o->us->up->shard->store;
    int64_t ttl = o->us->up->shard->config->local.state_ttl_ms;
    switch (o->verb) {
    case STATE_GET: return store_get(s, &o->op, key, r);
    case STATE_SET: return store_set(s, &o->op, key, value, ttl, STORE_ALWAYS, r);
    case STATE_DELETE: break;
    }
    return store_del(s, &o->op, key, r);
}

static void start(struct usession *us, const struct call *c, const struct rpc_msg *m,
                  enum state_verb verb)
{
    struct arena a = {0};
    struct store_key room;
    struct store_reply r;
    char name[65];
    struct str id = json_raw(m->doc, m->id);
    uint32_t value = json_get(m->doc, m->params, STR("value"));
    struct str key = json_str(m->doc, json_get(m->doc, m->params, STR("key")), &a);
    if (!c || key.n == 0 || key.n > KEY_MAX || id.n >= ID_MAX ||
        (verb == STATE_SET &&
         (value == JSON_NONE || json_raw(m->doc, value).n > STORE_VALUE_MAX))) {
        refuse(us, id, c ? "the key or the value is missing or too long" : "no call is running");
        arena_fini(&a);
        return;
    }
    local_session_name(c, name);
    struct str parts[] = {str_of(name), key};
    struct local_state_op *o = xcalloc(1, sizeof *o);
    o->op.fn = on_stored;
    o->op.arg = o;
    o->us = us;
    o->verb = verb;
    memcpy(o->id, id.p, id.n);
    LIST_INSERT_HEAD(&us->states, o, link);
    if (run(o, store_key(us->up->shard->store, &room, "localstate", str_of(name), parts, 2),
            json_raw(m->doc, value), &r))
        on_stored(&r, o);
    arena_fini(&a);
}

bool local_state(struct usession *us, const struct call *c, const struct rpc_msg *m)
{
    static const char *const methods[] = {[STATE_GET] = "dev.headgate/state/get",
                                          [STATE_SET] = "dev.headgate/state/set",
                                          [STATE_DELETE] = "dev.headgate/state/delete"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        if (!rpc_is(m, str_of(methods[i])))
            continue;
        start(us, c, m, (enum state_verb)i);
        return true;
    }
    return false;
}
