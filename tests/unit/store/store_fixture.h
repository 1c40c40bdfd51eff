/* For tests of the store: operations whose answers are waited for by running the loop, and
 * subscriptions that keep what they hear. Each program includes it once. */
#ifndef TESTS_STORE_FIXTURE_H
#define TESTS_STORE_FIXTURE_H

#include "base/clock.h"
#include "store/store_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct loop *loop;
static struct store *store, *other; /* two handles on one store, on one loop */
static void (*pass)(int64_t ms);    /* lets time go by for the store */

static const uint8_t fleet_keys[2][32] = {"the fleet's first key, 32 bytes",
                                          "and the one before it, the same"};

/* ---- waiting ---- */

struct waiter {
    struct store_op op;
    struct store_reply r;
    struct buf value;
    struct buf entries; /* "seq=value," each */
    int calls;
};

static inline void keep(struct waiter *w, const struct store_reply *r)
{
    w->r = *r;
    w->value.n = w->entries.n = 0;
    buf_add_str(&w->value, r->value);
    for (size_t i = 0; i < r->count; i++)
        buf_addf(&w->entries, "%lld=%.*s,", (long long)r->entries[i].seq,
                 STR_FMT(r->entries[i].value));
}

static inline void on_reply(const struct store_reply *r, void *arg)
{
    struct waiter *w = arg;
    keep(w, r);
    w->calls++;
    loop_stop(loop);
}

static struct waiter last; /* the operation that was done last */

static inline struct store_op *begin(void)
{
    assert_false(store_waits(&last.op));
    last.op.fn = on_reply;
    last.op.arg = &last;
    last.calls = 0;
    return &last.op;
}

static inline enum store_status finish(bool now, const struct store_reply *r)
{
    if (now) {
        keep(&last, r);
        assert_int_equal(last.calls, 0);
    } else {
        assert_int_equal(last.calls, 0); /* never before the function returned */
        while (store_waits(&last.op))
            loop_run(loop);
        assert_int_equal(last.calls, 1);
    }
    return last.r.status;
}

/* Does one operation of the given handle to its end: DO(store, get, key). */
#define DO(s, name, ...)                                                                           \
    ({                                                                                             \
        struct store_reply answer_;                                                                \
        bool now_ = store_##name(s, begin(), __VA_ARGS__, &answer_);                               \
        finish(now_, &answer_);                                                                    \
    })

/* One for a log. */
#define ENTRY(number, bytes) (&(const struct store_entry){number, bytes})

static inline void assert_value(const char *want)
{
    buf_addc(&last.value, '\0');
    assert_string_equal(last.value.p, want);
}

static inline void assert_entries(const char *want)
{
    buf_addc(&last.entries, '\0');
    assert_string_equal(last.entries.p, want);
}

static struct store_key key_room[8];
static int key_next;

/* A key of its own for each name and each run of the program. */
static inline struct str key_of(const char *name)
{
    struct store_key *k = &key_room[key_next++ % 8];
    return store_key(store, k, "test", STR("tag"), (struct str[]){str_of(name)}, 1);
}

static inline struct store_window window_of(const char *name, int64_t limit, int64_t window_ms)
{
    return (struct store_window){key_of(name), limit, window_ms};
}

/* ---- messages ---- */

struct hearer {
    struct store_sub sub;
    struct buf heard; /* "[body]" each, "!" for a gap */
    int events, want;
    struct store_sub *drop; /* unsubscribed at the first message */
};

static inline void on_heard(enum store_event event, struct str body, void *arg)
{
    struct hearer *h = arg;
    if (event == STORE_GAP)
        buf_addc(&h->heard, '!');
    else
        buf_addf(&h->heard, "[%.*s]", STR_FMT(body));
    if (event == STORE_MESSAGE && h->drop)
        store_unsubscribe(h->drop);
    if (++h->events >= h->want)
        loop_stop(loop);
}

static inline void hear(struct hearer *h, struct store *s, struct str channel)
{
    h->sub.fn = on_heard;
    h->sub.arg = h;
    h->want = 1;
    store_subscribe(s, &h->sub, channel);
    assert_int_equal(h->events, 0);
}

static inline void wait_for(struct hearer *h, int events)
{
    for (h->want = events; h->events < events;)
        loop_run(loop);
}

static inline void assert_heard(struct hearer *h, const char *want)
{
    buf_addc(&h->heard, '\0');
    assert_string_equal(h->heard.p, want);
    h->heard.n--;
}

static inline void fini_cases(void)
{
    buf_fini(&last.value);
    buf_fini(&last.entries);
}

#endif
