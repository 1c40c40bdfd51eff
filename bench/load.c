/* The bench's client: one thread, N keep-alive connections, each sending its next request when it
 * has its answer.
 *
 *   load --port P [--connections N] [--ms T] [--expect TEXT] REQUEST…
 *
 * A REQUEST is a file with one whole HTTP/1.1 request whose JSON-RPC id is 1000000 (connection i
 * sends file i modulo their number); every sending gets an id of its own. An answer counts when its
 * status is 200 and it holds that id and TEXT; all others, broken connections among them, are
 * errors. When the time is over, what is in flight may still arrive, so that requests sent =
 * answers + errors. Prints one JSON object; exit status 0 also when there were errors. */
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    FIRST_ID = 1000000,
    LAST_ID = 9999999,
    ID_DIGITS = 7,
    READ_BYTES = 64 * 1024,
    MAX_ANSWER = 64 << 20,
    MAX_REQUEST = 1 << 20,
    MAX_ERRORS = 10000, /* a target that is this broken is not worth the rest of the time */
    EVENTS = 256,
    DRAIN_MS = 5000,
    /* Latencies: 128 buckets a power of two, so a bucket is less than 0.8 % wide. */
    SUB_BITS = 7,
    SUB = 1 << SUB_BITS,
    BUCKETS = (64 - SUB_BITS) * SUB,
};

struct request {
    char *bytes;
    size_t n, id_at;
};

struct conn {
    int fd;
    char *out; /* its own copy of the request, for the id */
    size_t out_n, sent, id_at;
    char *in;
    size_t in_n, in_cap;
    int64_t sent_ns;
    bool in_flight;
};

struct load {
    int port, poll;
    long connections, ms;
    const char *expect;
    struct request *request;
    int requests;
    struct conn *conn;
    long next_id, in_flight;
    bool draining;
    uint64_t answers, errors, reconnects, bytes, body_min, body_max, latency[BUCKETS];
    int64_t latency_sum_ns, latency_max_ns;
    char first_error[256];
};

static unsigned bucket_of(uint64_t ns)
{
    if (ns < SUB)
        return (unsigned)ns;
    unsigned shift = 63 - (unsigned)__builtin_clzll(ns) - SUB_BITS;
    return (shift + 1) * SUB + (unsigned)((ns >> shift) - SUB);
}

/* The middle of a bucket. */
static double bucket_ns(unsigned b)
{
    if (b < SUB)
        return b;
    unsigned shift = b / SUB - 1;
    return ((double)(SUB + b % SUB) + 0.5) * (double)(1ULL << shift);
}

static double percentile_us(const struct load *l, double share)
{
    uint64_t want = (uint64_t)((double)l->answers * share), seen = 0;
    for (unsigned b = 0; b < BUCKETS; b++) {
        seen += l->latency[b];
        if (seen > want)
            return bucket_ns(b) / 1000;
    }
    return (double)l->latency_max_ns / 1000;
}

static void send_next(struct load *l, struct conn *c, int64_t now);

/* Without TCP_NODELAY the second part of a large request would wait for an acknowledgement. */
static int connect_loopback(const struct load *l)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)l->port),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0)
        wire_die("connect to port %d: %m", l->port);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0)
        wire_die("fcntl: %m");
    return fd;
}

static void open_conn(struct load *l, struct conn *c)
{
    c->fd = connect_loopback(l);
    c->in_n = 0;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(l->poll, EPOLL_CTL_ADD, c->fd, &ev) != 0)
        wire_die("epoll_ctl: %m");
}

static void wait_for(const struct load *l, struct conn *c, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};
    (void)epoll_ctl(l->poll, EPOLL_CTL_MOD, c->fd, &ev);
}

static void count_error(struct load *l, const char *what, const char *detail, size_t n)
{
    if (!l->errors++) {
        int at = snprintf(l->first_error, sizeof l->first_error, "%s: ", what);
        for (size_t i = 0; i < n && at < (int)sizeof l->first_error - 1; i++) {
            char ch = detail[i];
            l->first_error[at++] = ch < ' ' || ch > '~' || ch == '"' || ch == '\\' ? '.' : ch;
        }
        l->first_error[at] = '\0';
    }
}

static void reopen(struct load *l, struct conn *c)
{
    (void)close(c->fd);
    l->reconnects++;
    open_conn(l, c);
    send_next(l, c, wire_now_ns());
}

/* The answer that was awaited is not coming. */
static void fail(struct load *l, struct conn *c, const char *what)
{
    if (c->in_flight) {
        c->in_flight = false;
        l->in_flight--;
        count_error(l, what, c->in, c->in_n);
    }
    if (l->draining || l->errors >= MAX_ERRORS) {
        (void)close(c->fd);
        c->fd = -1;
        return;
    }
    reopen(l, c);
}

static void flush_request(struct load *l, struct conn *c)
{
    ssize_t n = send(c->fd, c->out + c->sent, c->out_n - c->sent, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        return; /* the read that follows finds the connection's end, and perhaps an answer before it
                 */
    bool was_whole = c->sent == 0;
    c->sent += n > 0 ? (size_t)n : 0;
    if (c->sent < c->out_n)
        wait_for(l, c, EPOLLIN | EPOLLOUT);
    else if (!was_whole)
        wait_for(l, c, EPOLLIN);
}

static void send_next(struct load *l, struct conn *c, int64_t now)
{
    if (l->draining || l->errors >= MAX_ERRORS)
        return;
    long id = l->next_id;
    l->next_id = id == LAST_ID ? FIRST_ID : id + 1;
    for (int i = ID_DIGITS - 1; i >= 0; i--, id /= 10)
        c->out[c->id_at + (size_t)i] = (char)('0' + id % 10);
    c->sent = 0;
    c->sent_ns = now;
    c->in_flight = true;
    l->in_flight++;
    flush_request(l, c);
}

static const char *check_answer(const struct load *l, const struct conn *c, int status,
                                const char *body, size_t n)
{
    char id[5 + ID_DIGITS];
    memcpy(id, "\"id\":", 5);
    memcpy(id + 5, c->out + c->id_at, ID_DIGITS);
    if (status != 200)
        return "status";
    if (!wire_contains(body, n, id, sizeof id))
        return "id";
    return l->expect && !wire_contains(body, n, l->expect, strlen(l->expect)) ? "expected text"
                                                                              : NULL;
}

static void on_answer(struct load *l, struct conn *c, const struct wire_head *h, size_t body_bytes)
{
    int64_t now = wire_now_ns(), took = now - c->sent_ns;
    const char *bad = check_answer(l, c, h->status, c->in + h->head_bytes, body_bytes);
    c->in_flight = false;
    l->in_flight--;
    l->bytes += h->head_bytes + body_bytes;
    if (bad) {
        count_error(l, bad, c->in, h->head_bytes + body_bytes);
    } else {
        l->answers++;
        l->latency[bucket_of((uint64_t)took)]++;
        l->latency_sum_ns += took;
        l->latency_max_ns = took > l->latency_max_ns ? took : l->latency_max_ns;
        l->body_min = l->body_min && l->body_min < body_bytes ? l->body_min : body_bytes;
        l->body_max = l->body_max > body_bytes ? l->body_max : body_bytes;
    }
    c->in_n = 0;
    if (h->close && !l->draining)
        reopen(l, c);
    else
        send_next(l, c, now);
}

/* Deals with what has been read: nothing yet, an answer, or nonsense. */
static void digest(struct load *l, struct conn *c)
{
    struct wire_head h;
    enum wire_result r = wire_parse(c->in, c->in_n, &h);
    if (r == WIRE_MORE)
        return;
    size_t have = r == WIRE_DONE ? c->in_n - h.head_bytes : 0, body = 0, used = 0;
    if (r == WIRE_DONE && h.chunked)
        r = wire_dechunk(c->in + h.head_bytes, have, &body, &used);
    else if (r == WIRE_DONE)
        body = used = (size_t)h.body_bytes;
    if (r == WIRE_BAD || (!h.chunked && !h.has_length) || used > MAX_ANSWER || !c->in_flight)
        fail(l, c, "framing");
    else if (r == WIRE_DONE && have > used)
        fail(l, c, "more than one answer");
    else if (r == WIRE_DONE && have == used)
        on_answer(l, c, &h, body);
}

static void on_readable(struct load *l, struct conn *c)
{
    if (c->in_cap - c->in_n < READ_BYTES) {
        if (c->in_n > MAX_ANSWER) {
            fail(l, c, "size");
            return;
        }
        c->in_cap = c->in_cap * 2 + 2 * READ_BYTES;
        c->in = wire_realloc(c->in, c->in_cap);
    }
    ssize_t n = recv(c->fd, c->in + c->in_n, c->in_cap - c->in_n, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        fail(l, c, "closed");
        return;
    }
    c->in_n += (size_t)n;
    digest(l, c);
}

static void turn(struct load *l)
{
    struct epoll_event ready[EVENTS];
    int n = epoll_wait(l->poll, ready, EVENTS, 50);
    for (int i = 0; i < n; i++) {
        struct conn *c = ready[i].data.ptr;
        if (ready[i].events & EPOLLOUT)
            flush_request(l, c);
        if (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
            on_readable(l, c);
    }
}

/* Returns how many nanoseconds it took, to the last answer. */
static int64_t run(struct load *l)
{
    int64_t start = wire_now_ns(), stop = start + l->ms * 1000000;
    for (long i = 0; i < l->connections; i++)
        send_next(l, &l->conn[i], wire_now_ns());
    while (wire_now_ns() < stop && l->errors < MAX_ERRORS)
        turn(l);
    l->draining = true;
    while (l->in_flight && wire_now_ns() < stop + (int64_t)DRAIN_MS * 1000000)
        turn(l);
    int64_t took = wire_now_ns() - start;
    for (long i = 0; i < l->connections; i++)
        if (l->conn[i].in_flight)
            fail(l, &l->conn[i], "no answer");
    return took;
}

static void open_all(struct load *l)
{
    l->poll = epoll_create1(EPOLL_CLOEXEC);
    l->conn = wire_realloc(NULL, (size_t)l->connections * sizeof *l->conn);
    for (long i = 0; i < l->connections; i++) {
        const struct request *r = &l->request[i % l->requests];
        struct conn *c = &l->conn[i];
        *c = (struct conn){.out = wire_realloc(NULL, r->n), .out_n = r->n, .id_at = r->id_at};
        memcpy(c->out, r->bytes, r->n);
        open_conn(l, c);
    }
}

static struct request read_request(const char *path)
{
    static const char id[] = "\"id\":1000000";
    struct request r = {.bytes = wire_realloc(NULL, MAX_REQUEST)};
    FILE *f = fopen(path, "rb");
    if (!f)
        wire_die("%s: %m", path);
    r.n = fread(r.bytes, 1, MAX_REQUEST, f);
    (void)fclose(f);
    r.bytes = wire_realloc(r.bytes, r.n + 1);
    const char *at = memmem(r.bytes, r.n, id, sizeof id - 1);
    if (!at || r.n == MAX_REQUEST)
        wire_die("%s: too large, or without %s", path, id);
    r.id_at = (size_t)(at - r.bytes) + 5;
    return r;
}

static void parse_options(struct load *l, int argc, char **argv)
{
    static const struct option known[] = {
        {"port", required_argument, NULL, 'p'},
        {"connections", required_argument, NULL, 'c'},
        {"ms", required_argument, NULL, 't'},
        {"expect", required_argument, NULL, 'e'},
        {0},
    };
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (c) {
        case 'p': l->port = (int)wire_number("--port", optarg, 65535); break;
        case 'c': l->connections = wire_number("--connections", optarg, 100000); break;
        case 't': l->ms = wire_number("--ms", optarg, 24L * 3600 * 1000); break;
        case 'e': l->expect = optarg; break;
        default: exit(2);
        }
    }
    l->requests = argc - optind;
    if (!l->port || !l->connections || !l->requests)
        wire_die("load --port P [--connections N] [--ms T] [--expect TEXT] REQUEST...");
    l->request = wire_realloc(NULL, (size_t)l->requests * sizeof *l->request);
    for (int i = 0; i < l->requests; i++)
        l->request[i] = read_request(argv[optind + i]);
}

static void report(const struct load *l, int64_t took_ns)
{
    double seconds = (double)took_ns / 1e9, n = l->answers ? (double)l->answers : 1;
    printf("{\"requests\":%llu,\"errors\":%llu,\"reconnects\":%llu,\"seconds\":%.6f,\"rps\":%.1f,",
           (unsigned long long)l->answers, (unsigned long long)l->errors,
           (unsigned long long)l->reconnects, seconds, (double)l->answers / seconds);
    printf("\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f,\"mean_us\":%.1f,\"max_us\":%.1f,",
           percentile_us(l, 0.5), percentile_us(l, 0.9), percentile_us(l, 0.99),
           (double)l->latency_sum_ns / n / 1000, (double)l->latency_max_ns / 1000);
    printf("\"bytes\":%llu,\"body_min\":%llu,\"body_max\":%llu,\"first_error\":\"%s\"}\n",
           (unsigned long long)l->bytes, (unsigned long long)l->body_min,
           (unsigned long long)l->body_max, l->first_error);
}

int main(int argc, char **argv)
{
    struct load l = {.connections = 1, .ms = 1000, .next_id = FIRST_ID};
    parse_options(&l, argc, argv);
    open_all(&l);
    int64_t took = run(&l);
    report(&l, took);
    return 0;
}
