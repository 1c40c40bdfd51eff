/* The name service part of net.h. Helper threads run getaddrinfo, because it blocks; several, so
 * that one dead name does not hold up the others. Everything below `lock` is shared; a lookup
 * belongs to its loop, and the only one who touches it elsewhere is a helper that, under the lock,
 * unlinks it from its name and mails it to that loop. */
#include "base/net.h"

#include "base/clock.h"

#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <resolv.h>
#include <signal.h>
#include <stdlib.h>

enum {
    HELPERS = 4,
    MAX_NAMES = 1024,
    MAX_ADDRS = 16,
    MAX_HOST = 255,
    KEEP_MS = 30000,
    KEEP_FAILURE_MS = 1000,
    ASK_SECONDS = 2, /* a name server, at most … */
    ASK_TIMES = 2,   /* … so often */
};

struct net_lookup {
    struct loop *loop;
    net_resolved_fn fn; /* NULL: cancelled */
    void *arg;
    uint16_t port;
    bool delivering;
    struct name *name;       /* whom it waits for; NULL once answered */
    struct net_lookup *next; /* in name->waiting */
    struct net_addr addrs[MAX_ADDRS];
    size_t n;
    struct err err;
};

/* A host name: asked for, or answered and kept for a while. */
struct name {
    char host[MAX_HOST + 1];
    bool answered;
    int64_t until_ms;
    struct net_addr addrs[MAX_ADDRS];
    size_t n;
    struct err err;
    struct net_lookup *waiting;
    struct name *next; /* in queue */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t asked = PTHREAD_COND_INITIALIZER;
static struct map names;
static struct name *queue, **queue_end = &queue;
static pthread_t helpers[HELPERS];
static bool running;

static void set_port(struct net_addr *a, uint16_t port)
{
    if (a->ss.ss_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)&a->ss)->sin6_port = htons(port);
    else
        ((struct sockaddr_in *)(void *)&a->ss)->sin_port = htons(port);
}

static void deliver(void *arg)
{
    struct net_lookup *l = arg;
    l->delivering = true;
    if (l->fn && l->err.kind != ERR_NONE)
        l->fn(NULL, 0, &l->err, l->arg);
    else if (l->fn)
        l->fn(l->addrs, l->n, NULL, l->arg);
    free(l);
}

static void take_answer(struct net_lookup *l, const struct name *n)
{
    l->name = NULL;
    l->err = n->err;
    l->n = n->n;
    memcpy(l->addrs, n->addrs, n->n * sizeof n->addrs[0]);
    for (size_t i = 0; i < l->n; i++)
        set_port(&l->addrs[i], l->port);
}

/* Under the lock: gives everyone who waits for the name its answer. */
static void answer_waiting(struct name *n)
{
    while (n->waiting) {
        struct net_lookup *l = n->waiting;
        n->waiting = l->next;
        take_answer(l, n);
        loop_post(l->loop, deliver, l);
    }
}

/* Asks the system, as briefly as its configuration allows; n->host is not changed by anyone
 * meanwhile. */
static void ask(const struct name *n, struct name *answer)
{
    if (res_init() == 0) { /* also notices a changed resolv.conf */
        _res.retrans = _res.retrans < ASK_SECONDS ? _res.retrans : ASK_SECONDS;
        _res.retry = _res.retry < ASK_TIMES ? _res.retry : ASK_TIMES;
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list = NULL;
    int rc = getaddrinfo(n->host, NULL, &hints, &list);
    *answer = (struct name){0};
    for (struct addrinfo *i = list; rc == 0 && i && answer->n < MAX_ADDRS; i = i->ai_next) {
        struct net_addr *a = &answer->addrs[answer->n];
        if (i->ai_addrlen > sizeof a->ss || (i->ai_family != AF_INET && i->ai_family != AF_INET6))
            continue;
        memcpy(&a->ss, i->ai_addr, i->ai_addrlen);
        a->len = i->ai_addrlen;
        answer->n++;
    }
    if (list)
        freeaddrinfo(list);
    if (answer->n == 0)
        err_fill(&answer->err, ERR_UNAVAILABLE, "cannot resolve %s: %s", n->host,
                 rc ? gai_strerror(rc) : "no address");
}

static void keep_answer(struct name *n, const struct name *answer)
{
    memcpy(n->addrs, answer->addrs, answer->n * sizeof n->addrs[0]);
    n->n = answer->n;
    n->err = answer->err;
    n->answered = true;
    n->until_ms = clock_ms() + (n->n ? KEEP_MS : KEEP_FAILURE_MS);
    answer_waiting(n);
}

static void *help(void *arg)
{
    (void)arg;
    struct name *answer = xmalloc(sizeof *answer);
    pthread_mutex_lock(&lock);
    for (;;) {
        while (running && !queue)
            pthread_cond_wait(&asked, &lock);
        if (!running)
            break;
        struct name *n = queue;
        queue = n->next;
        if (!queue)
            queue_end = &queue;
        pthread_mutex_unlock(&lock);
        ask(n, answer);
        pthread_mutex_lock(&lock);
        keep_answer(n, answer);
    }
    pthread_mutex_unlock(&lock);
    free(answer);
    return NULL;
}

/* Drops answered names: those past their time, or all. */
static void drop_names(bool all)
{
    struct str host;
    void *value;
    struct name *drop = NULL;
    for (size_t at = 0; map_next(&names, &at, &host, &value);) {
        struct name *n = value;
        if (n->answered && (all || n->until_ms <= clock_ms())) {
            n->next = drop;
            drop = n;
        }
    }
    while (drop) {
        struct name *n = drop;
        drop = n->next;
        map_del(&names, str_of(n->host));
        free(n);
    }
}

/* The name's entry: a new one is put on the queue. NULL when too many are being asked for. */
static struct name *find_name(struct str host)
{
    struct name *n = map_get(&names, host);
    if (n && n->answered && n->until_ms <= clock_ms()) {
        map_del(&names, host);
        free(n);
        n = NULL;
    }
    if (n)
        return n;
    if (names.count >= MAX_NAMES)
        drop_names(false);
    if (names.count >= MAX_NAMES)
        drop_names(true);
    if (names.count >= MAX_NAMES)
        return NULL;
    n = xcalloc(1, sizeof *n);
    memcpy(n->host, host.p, host.n);
    map_set(&names, host, n);
    *queue_end = n;
    queue_end = &n->next;
    pthread_cond_signal(&asked);
    return n;
}

/* Under the lock. Returns true when l has its answer already. */
static bool wait_for_name(struct net_lookup *l, struct str host)
{
    if (!running) {
        err_fill(&l->err, ERR_UNAVAILABLE, "cannot resolve %.*s: not running", STR_FMT(host));
        return true;
    }
    struct name *n = find_name(host);
    if (!n) {
        err_fill(&l->err, ERR_UNAVAILABLE, "cannot resolve %.*s: too many names are asked for",
                 STR_FMT(host));
        return true;
    }
    if (n->answered) {
        take_answer(l, n);
        return true;
    }
    l->name = n;
    l->next = n->waiting;
    n->waiting = l;
    return false;
}

struct net_lookup *net_resolve(struct loop *l, struct str host, uint16_t port, net_resolved_fn fn,
                               void *arg)
{
    struct net_lookup *x = xcalloc(1, sizeof *x);
    x->loop = l;
    x->fn = fn;
    x->arg = arg;
    x->port = port;
    bool answered = true;
    if (host.n == 0 || host.n > MAX_HOST || memchr(host.p, '\0', host.n)) {
        err_fill(&x->err, ERR_UNAVAILABLE, "cannot resolve a malformed host name");
    } else if (net_addr_literal(host, port, &x->addrs[0])) {
        x->n = 1;
    } else {
        pthread_mutex_lock(&lock);
        answered = wait_for_name(x, host);
        pthread_mutex_unlock(&lock);
    }
    if (answered)
        loop_defer(l, deliver, x);
    return x;
}

void net_lookup_cancel(struct net_lookup **l)
{
    struct net_lookup *x = *l;
    *l = NULL;
    if (!x || x->delivering)
        return;
    x->fn = NULL;
    pthread_mutex_lock(&lock);
    bool waiting = x->name != NULL;
    if (waiting) {
        struct net_lookup **at = &x->name->waiting;
        while (*at != x)
            at = &(*at)->next;
        *at = x->next;
    }
    pthread_mutex_unlock(&lock);
    if (waiting)
        free(x); /* else deliver() is on its way and frees it */
}

void net_resolver_start(void)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_mutex_lock(&lock);
    bool start = !running;
    running = true;
    pthread_mutex_unlock(&lock);
    if (!start)
        return;
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the control loop's */
    for (int i = 0; i < HELPERS; i++) {
        if (pthread_create(&helpers[i], NULL, help, NULL) != 0)
            abort();
        pthread_setname_np(helpers[i], "resolver");
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

void net_resolver_stop(void)
{
    pthread_mutex_lock(&lock);
    bool stop = running;
    running = false;
    pthread_cond_broadcast(&asked);
    pthread_mutex_unlock(&lock);
    for (int i = 0; stop && i < HELPERS; i++)
        pthread_join(helpers[i], NULL);
    pthread_mutex_lock(&lock);
    for (; queue; queue = queue->next) {
        err_fill(&queue->err, ERR_UNAVAILABLE, "cannot resolve %s: stopping", queue->host);
        queue->answered = true;
        answer_waiting(queue);
    }
    queue_end = &queue;
    drop_names(true);
    map_fini(&names);
    pthread_mutex_unlock(&lock);
}
