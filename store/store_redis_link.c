/* See store_redis.h. An attempt is: with Sentinel, ask one for the master; connect; send the whole
 * greeting (AUTH, SELECT, CLIENT SETNAME, ROLE, PING and the owner's commands) at once; judge the
 * replies. Each part has the deadline of a connect. After a loss the first attempt is made at once,
 * later ones after a pause that doubles up to half a second, so that a server that answers again is
 * found within a second. */
#include "base/crypto.h"
#include "store/store_redis.h"

#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { REST_FIRST_MS = 25, REST_MAX_MS = 400, SHORT_MS = 1000, PASSWORD_MAX = 4096 };
enum greeting_step { STEP_AUTH, STEP_SELECT, STEP_NAME, STEP_ROLE, STEP_PING };

static void try_next(struct redis_link *l);

/* ---- failing ---- */

static void on_rested(void *arg)
{
    try_next(arg);
}

/* Between half and all of the pause, so that replicas do not come at one time. */
static int64_t rest_ms(const struct redis_link *l)
{
    uint32_t roll;
    int64_t ms = REST_FIRST_MS;
    for (int i = 1; i < l->tries && ms < REST_MAX_MS; i++)
        ms *= 2;
    ms = ms < REST_MAX_MS ? ms : REST_MAX_MS;
    crypto_random(&roll, sizeof roll);
    return ms / 2 + roll % (uint32_t)(ms / 2 + 1);
}

static void attempt_failed(struct redis_link *l, const struct err *e)
{
    redis_wire_close(&l->wire);
    l->failures++;
    l->tries++;
    l->asked = 0;
    l->sentinel = (l->sentinel + 1) % l->hub->url.host_count; /* this one may be behind the times */
    l->state = LINK_RESTING;
    timer_set(&l->timer, l->loop, rest_ms(l), on_rested, l);
    l->events->on_down(l, e);
}

/* A sentinel that is away or does not know says nothing about the master: the next is asked. */
static void sentinel_failed(struct redis_link *l, const struct err *e)
{
    l->sentinel = (l->sentinel + 1) % l->hub->url.host_count;
    l->asked++;
    redis_wire_close(&l->wire);
    if (l->asked < l->hub->url.host_count)
        try_next(l);
    else
        attempt_failed(l, e);
}

static void failed(struct redis_link *l, const struct err *e)
{
    switch (l->state) {
    case LINK_ASKING: sentinel_failed(l, e); return;
    case LINK_GREETING: attempt_failed(l, e); return;
    case LINK_UP: redis_link_drop(l, e); return;
    case LINK_OFF:
    case LINK_RESTING: break;
    }
}

static void on_late(void *arg)
{
    struct redis_link *l = arg;
    struct err e = {ERR_TIMEOUT, "no answer within the time for a connect"};
    failed(l, &e);
}

static void on_closed(struct redis_wire *w, const struct err *e, void *arg)
{
    (void)w;
    failed(arg, e);
}

/* ---- the greeting ---- */

static void put_step(struct redis_link *l, enum greeting_step step, const struct str *args,
                     size_t n)
{
    struct buf out = {0};
    redis_encode(&out, args, n);
    redis_wire_put(&l->wire, buf_str(&out));
    crypto_wipe(out.p, out.n); /* it may hold the password */
    buf_fini(&out);
    l->step[l->steps++] = (uint8_t)step;
}

/* Read at each connect, so that a new password is found. Without the line's end. */
static size_t read_password(const char *file, char room[PASSWORD_MAX])
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, room, PASSWORD_MAX);
    if (fd >= 0)
        (void)close(fd);
    while (n > 0 && (room[n - 1] == '\n' || room[n - 1] == '\r'))
        n--;
    return n > 0 ? (size_t)n : 0;
}

static void put_auth(struct redis_link *l)
{
    const struct store_redis_hub *h = l->hub;
    char room[PASSWORD_MAX];
    struct str password = str_of(h->password ? h->password : h->url.password);
    if (h->password_file)
        password = (struct str){room, read_password(h->password_file, room)};
    struct str user = str_of(h->url.user);
    if (password.n || user.n)
        put_step(l, STEP_AUTH, (struct str[]){STR("AUTH"), user.n ? user : password, password},
                 user.n ? 3 : 2);
    crypto_wipe(room, sizeof room);
}

static void put_greeting(struct redis_link *l)
{
    const struct store_redis_hub *h = l->hub;
    char db[16], name[64];
    l->at = l->steps = 0;
    put_auth(l);
    if (h->url.db) {
        int n = snprintf(db, sizeof db, "%d", h->url.db);
        put_step(l, STEP_SELECT, (struct str[]){STR("SELECT"), {db, (size_t)n}}, 2);
    }
    int n = snprintf(name, sizeof name, "headgate-%.32s", h->replica ? h->replica : "");
    put_step(l, STEP_NAME, (struct str[]){STR("CLIENT"), STR("SETNAME"), {name, (size_t)n}}, 3);
    put_step(l, STEP_ROLE, (struct str[]){STR("ROLE")}, 1);
    put_step(l, STEP_PING, (struct str[]){STR("PING")}, 1); /* refused while it loads its data */
    if (l->greeting_count)
        redis_wire_put(&l->wire, l->greeting);
}

/* NULL: the reply is as it must be. Redis' words are not passed on: they may hold any bytes. */
static const char *step_fault(const struct redis_link *l, enum greeting_step step)
{
    const struct redis_node *n = &l->wire.replies.nodes[0];
    const struct redis_node *role = redis_item(&l->wire.replies, 0);
    switch (step) {
    case STEP_AUTH: return n->type == REDIS_ERROR ? "the server refuses user and password" : NULL;
    case STEP_SELECT:
        return n->type == REDIS_ERROR ? "the server refuses the database's number" : NULL;
    case STEP_NAME: return NULL; /* for people who look at CLIENT LIST; an ACL may forbid it */
    case STEP_ROLE:
        return redis_is_error(n, "NOPERM") ? "the user may not ROLE: see the ACL in docs/store.md"
               : role && str_eq(role->text, STR("master")) ? NULL
                                                           : "the server is no master (ROLE)";
    case STEP_PING: break;
    }
    return redis_is_error(n, "NOAUTH")    ? "the server wants a password"
           : redis_is_error(n, "LOADING") ? "the server loads its data"
           : redis_is_error(n, "NOPERM")  ? "the user may not PING: see the ACL in docs/store.md"
           : n->type == REDIS_ERROR       ? "the server refuses PING"
                                          : NULL;
}

static void greeted(struct redis_link *l)
{
    timer_clear(&l->timer);
    l->state = LINK_UP;
    l->failures = 0;
    l->ups++;
    l->up_since_ms = loop_now(l->loop);
    l->events->on_up(l);
}

static void on_greeting_reply(struct redis_link *l)
{
    const struct redis_node *n = &l->wire.replies.nodes[0];
    const char *fault = NULL;
    if (l->at < l->steps)
        fault = step_fault(l, (enum greeting_step)l->step[l->at]);
    else if (n->type == REDIS_ERROR) {
        fault = redis_is_error(n, "NOPERM")
                    ? "the user may not SCRIPT LOAD: see the ACL in docs/store.md"
                    : "the server refuses the scripts";
    }
    l->at++;
    if (fault) {
        struct err e = {ERR_UNAVAILABLE, ""};
        err_fill(&e, ERR_UNAVAILABLE, "%s", fault);
        attempt_failed(l, &e);
    } else if (l->at == l->steps + l->greeting_count) {
        greeted(l);
    }
}

/* ---- Sentinel ---- */

static const struct redis_wire_events wire_events;

static void greet(struct redis_link *l, struct str host, uint16_t port)
{
    l->state = LINK_GREETING;
    timer_set(&l->timer, l->loop, l->hub->connect_ms, on_late, l);
    redis_wire_open(&l->wire, l->loop, host, port, l->hub->tls, &wire_events, l);
    put_greeting(l);
}

/* The reply to SENTINEL get-master-addr-by-name: host and port, or nil. */
static void on_sentinel_reply(struct redis_link *l)
{
    const struct redis_replies *r = &l->wire.replies;
    const struct redis_node *host = redis_item(r, 0);
    int64_t port = redis_item_number(r, 1, 0);
    struct err e = {ERR_UNAVAILABLE, "no sentinel knows the master"};
    if (!host || host->type != REDIS_TEXT || host->text.n == 0 || host->text.n > 255 || port < 1 ||
        port > UINT16_MAX || memchr(host->text.p, '\0', host->text.n)) {
        failed(l, &e);
        return;
    }
    l->asked = 0;
    char *copy = xmemdup0(host->text.p, host->text.n);
    redis_wire_close(&l->wire);
    greet(l, str_of(copy), (uint16_t)port);
    free(copy);
}

static void ask_sentinel(struct redis_link *l)
{
    const struct store_url *url = &l->hub->url;
    const struct store_host *at = &url->hosts[l->sentinel];
    struct buf out = {0};
    l->state = LINK_ASKING;
    timer_set(&l->timer, l->loop, l->hub->connect_ms, on_late, l);
    redis_wire_open(&l->wire, l->loop, str_of(at->host), at->port, l->hub->tls, &wire_events, l);
    redis_encode(
        &out, (struct str[]){STR("SENTINEL"), STR("get-master-addr-by-name"), str_of(url->master)},
        3);
    redis_wire_put(&l->wire, buf_str(&out));
    buf_fini(&out);
}

/* ---- the link ---- */

static void on_reply(struct redis_wire *w, void *arg)
{
    struct redis_link *l = arg;
    (void)w;
    switch (l->state) {
    case LINK_ASKING: on_sentinel_reply(l); return;
    case LINK_GREETING: on_greeting_reply(l); return;
    case LINK_UP: l->events->on_reply(l); return;
    case LINK_OFF:
    case LINK_RESTING: break;
    }
}

static const struct redis_wire_events wire_events = {on_reply, on_closed};

static void try_next(struct redis_link *l)
{
    const struct store_url *url = &l->hub->url;
    if (url->kind == STORE_IN_SENTINEL)
        ask_sentinel(l);
    else
        greet(l, str_of(url->hosts[0].host), url->hosts[0].port);
}

void redis_link_start(struct redis_link *l)
{
    assert(l->state == LINK_OFF);
    try_next(l);
}

void redis_link_drop(struct redis_link *l, const struct err *e)
{
    assert(l->state == LINK_UP);
    if (loop_now(l->loop) - l->up_since_ms < SHORT_MS) {
        attempt_failed(l, e); /* a server that greets and hangs up must not be asked in a circle */
        return;
    }
    redis_wire_close(&l->wire);
    l->tries = 0;
    try_next(l);
    l->events->on_down(l, e);
}

void redis_link_put(struct redis_link *l, struct str commands)
{
    assert(l->state == LINK_UP);
    redis_wire_put(&l->wire, commands);
}

void redis_link_stop(struct redis_link *l)
{
    timer_clear(&l->timer);
    redis_wire_fini(&l->wire);
    l->state = LINK_OFF;
}
