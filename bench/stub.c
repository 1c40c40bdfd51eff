/* The bench's MCP server: one thread, answers made at start, only the id is spliced in. What it
 * costs is the least that an upstream can cost, so that what is measured is the proxy in front.
 *
 *   stub [--tools N] [--tool-bytes B] [--result-bytes B] [--legacy] [--sse]
 *
 * Prints {"port":N} once it listens on 127.0.0.1. Speaks 2026-07-28, or with --legacy only
 * 2025-11-25 (without session ids); with --sse, calls are answered as event streams. Calls of a
 * tool other than "echo" are errors, so that a proxy that does not map names is found out; the
 * method bench/count says how many calls came. */
#include "wire.h"

#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024, MAX_BODY = 4 << 20, MAX_ID = 256, EVENTS = 256 };

struct span {
    const char *p;
    size_t n;
};

struct text {
    char *p;
    size_t n, cap;
};

struct options {
    long tools, tool_bytes, result_bytes;
    bool legacy, sse;
};

/* All after the id of each answer, with the object's closing brace. */
struct answers {
    struct text initialize, discover, list, call, ping, no_method, no_tool;
    bool sse;
};

struct conn {
    int fd;
    char *in;
    size_t in_n, in_cap;
    char *out; /* what the socket did not take yet; nothing is read meanwhile */
    size_t out_n, out_sent;
};

static void append(struct text *t, const char *p, size_t n)
{
    if (t->n + n > t->cap)
        t->p = wire_realloc(t->p, t->cap = (t->n + n) * 2);
    memcpy(t->p + t->n, p, n);
    t->n += n;
}

static void append_str(struct text *t, const char *s)
{
    append(t, s, strlen(s));
}

static void append_fill(struct text *t, size_t upto)
{
    while (t->n < upto)
        append(t, "x", 1);
}

static struct text fixed(const char *s)
{
    struct text t = {0};
    append_str(&t, s);
    return t;
}

static struct text make_list(const struct options *o)
{
    struct text t = fixed(",\"result\":{");
    if (!o->legacy)
        append_str(&t, "\"resultType\":\"complete\",\"ttlMs\":300000,\"cacheScope\":\"public\",");
    append_str(&t, "\"tools\":[");
    static const char end[] = "\",\"inputSchema\":{\"type\":\"object\",\"properties\":{\"message\":"
                              "{\"type\":\"string\"}},"
                              "\"required\":[\"message\"]}}";
    for (long i = 0; i < o->tools; i++) {
        char name[64];
        size_t start = t.n + (i > 0);
        (void)snprintf(name, sizeof name, i ? "%s{\"name\":\"tool_%04ld" : "%s{\"name\":\"echo",
                       i ? "," : "", i);
        append_str(&t, name);
        append_str(&t, "\",\"description\":\"");
        append_fill(&t, start + (size_t)o->tool_bytes - (sizeof end - 1));
        append_str(&t, end);
    }
    append_str(&t, "]}}");
    return t;
}

static struct text make_call(const struct options *o)
{
    static const char end[] = "\"}]}}";
    struct text t = fixed(",\"result\":{");
    if (!o->legacy)
        append_str(&t, "\"resultType\":\"complete\",");
    append_str(&t, "\"content\":[{\"type\":\"text\",\"text\":\"bench-ok ");
    static const char before[] = "{\"jsonrpc\":\"2.0\",\"id\":1000000";
    append_fill(&t, (size_t)o->result_bytes - (sizeof before - 1) - (sizeof end - 1));
    append_str(&t, end);
    return t;
}

static struct answers make_answers(const struct options *o)
{
    return (struct answers){
        .initialize =
            fixed(",\"result\":{\"protocolVersion\":\"2025-11-25\",\"capabilities\":{\"tools\":"
                  "{}},\"serverInfo\":{\"name\":\"stub\",\"version\":\"1\"}}}"),
        .discover =
            fixed(",\"result\":{\"resultType\":\"complete\",\"ttlMs\":300000,\"cacheScope\":"
                  "\"public\",\"supportedVersions\":[\"2026-07-28\"],\"capabilities\":{\"tools\":"
                  "{}},\"_meta\":{\"io.modelcontextprotocol/serverInfo\":{\"name\":\"stub\","
                  "\"version\":\"1\"}}}}"),
        .list = make_list(o),
        .call = make_call(o),
        .ping = fixed(",\"result\":{}}"),
        .no_method = fixed(",\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}"),
        .no_tool = fixed(",\"error\":{\"code\":-32602,\"message\":\"Unknown tool\"}}"),
        .sse = o->sse,
    };
}

/* Past the string whose opening quote is at p; end when it is cut off. */
static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p < end ? p + 1 : end;
}

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

static const char *skip_value(const char *p, const char *end)
{
    if (p < end && *p == '"')
        return skip_string(p, end);
    for (int depth = 0; p < end;) {
        if (*p == '"') {
            p = skip_string(p, end);
            continue;
        }
        if (depth == 0 && (*p == ',' || *p == '}' || *p == ']'))
            return p;
        depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
        p++;
        if (depth == 0 && (p[-1] == '}' || p[-1] == ']'))
            return p;
    }
    return end;
}

/* The value of that member of the object itself, never of one inside it. p == NULL: none. */
static struct span member(struct span object, const char *name)
{
    const char *p = skip_space(object.p, object.p + object.n), *end = object.p + object.n;
    if (p == end || *p != '{')
        return (struct span){0};
    for (p = skip_space(p + 1, end); p < end && *p == '"'; p = skip_space(p + 1, end)) {
        const char *key = p + 1;
        p = skip_string(p, end);
        bool hit = (size_t)(p - 1 - key) == strlen(name) && memcmp(key, name, strlen(name)) == 0;
        p = skip_space(p, end);
        if (p == end || *p != ':')
            break;
        const char *value = skip_space(p + 1, end);
        p = skip_value(value, end);
        if (hit)
            return (struct span){value, (size_t)(p - value)};
        p = skip_space(p, end);
        if (p == end || *p != ',')
            break;
    }
    return (struct span){0};
}

static bool is_string(struct span s, const char *want)
{
    size_t n = strlen(want);
    return s.n == n + 2 && s.p[0] == '"' && memcmp(s.p + 1, want, n) == 0;
}

static const struct text *count(long calls)
{
    static struct text t;
    char line[64];
    (void)snprintf(line, sizeof line, ",\"result\":{\"calls\":%ld}}", calls);
    t.n = 0;
    append_str(&t, line);
    return &t;
}

static const struct text *choose(const struct answers *a, const struct options *o, struct span body)
{
    static long calls;
    struct span method = member(body, "method");
    if (is_string(method, "tools/call") && ++calls)
        return is_string(member(member(body, "params"), "name"), "echo") ? &a->call : &a->no_tool;
    if (is_string(method, "tools/list"))
        return &a->list;
    if (is_string(method, "server/discover") && !o->legacy)
        return &a->discover;
    if (is_string(method, "initialize") && o->legacy)
        return &a->initialize;
    if (is_string(method, "bench/count"))
        return count(calls);
    return is_string(method, "ping") && o->legacy ? &a->ping : &a->no_method;
}

static void keep_rest(struct conn *c, const struct iovec *part, int parts, size_t sent)
{
    size_t total = 0;
    for (int i = 0; i < parts; i++)
        total += part[i].iov_len;
    if (sent == total)
        return;
    c->out = wire_realloc(c->out, total - sent);
    c->out_n = c->out_sent = 0;
    for (int i = 0; i < parts; i++) {
        size_t skip = sent < part[i].iov_len ? sent : part[i].iov_len;
        size_t n = part[i].iov_len - skip;
        if (n)
            memcpy(c->out + c->out_n, (const char *)part[i].iov_base + skip, n);
        c->out_n += n;
        sent -= skip;
    }
}

/* Sends all parts, or what the socket takes, and keeps the rest. False: the connection is gone. */
static bool send_parts(struct conn *c, struct iovec *part, int parts)
{
    struct msghdr m = {.msg_iov = part, .msg_iovlen = (size_t)parts};
    ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        return false;
    keep_rest(c, part, parts, n < 0 ? 0 : (size_t)n);
    return true;
}

static bool send_short(struct conn *c, const char *status_and_fields)
{
    char head[256];
    int n =
        snprintf(head, sizeof head, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", status_and_fields);
    return send_parts(c, &(struct iovec){head, (size_t)n}, 1);
}

static bool send_answer(struct conn *c, struct span id, const struct text *rest, bool sse)
{
    static const char open[] = "{\"jsonrpc\":\"2.0\",\"id\":", event[] = "event: message\ndata: ";
    char head[256 + sizeof open + MAX_ID], sse_end[] = "\n\n\r\n0\r\n\r\n";
    size_t json = sizeof open - 1 + id.n + rest->n;
    int n =
        sse ? snprintf(
                  head, sizeof head,
                  "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache"
                  "\r\nTransfer-Encoding: chunked\r\n\r\n%zx\r\n%s%s%.*s",
                  sizeof event - 1 + json + 2, event, open, (int)id.n, id.p)
            : snprintf(
                  head, sizeof head,
                  "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                  "\r\n%s%.*s",
                  json, open, (int)id.n, id.p);
    struct iovec part[3] = {{head, (size_t)n}, {rest->p, rest->n}, {sse_end, sizeof sse_end - 1}};
    return send_parts(c, part, sse ? 3 : 2);
}

static bool serve(struct conn *c, const struct answers *a, const struct options *o,
                  struct span body)
{
    struct span id = member(body, "id");
    if (!id.p && member(body, "method").p)
        return send_short(c, "202 Accepted");
    if (!id.p || id.n > MAX_ID)
        return send_short(c, "400 Bad Request");
    const struct text *rest = choose(a, o, body);
    return send_answer(c, id, rest, a->sse && rest == &a->call);
}

/* Serves the requests that are whole, as long as answers are taken. False: close. */
static bool serve_all(struct conn *c, const struct answers *a, const struct options *o)
{
    size_t done = 0;
    while (!c->out_n) {
        struct wire_head h;
        enum wire_result r = wire_parse(c->in + done, c->in_n - done, &h);
        if (r == WIRE_BAD || (r == WIRE_DONE && (h.chunked || h.body_bytes > MAX_BODY)))
            return false;
        size_t have = c->in_n - done;
        if (r == WIRE_MORE || have - h.head_bytes < h.body_bytes)
            break;
        struct span body = {c->in + done + h.head_bytes, h.body_bytes};
        if (!(h.post ? serve(c, a, o, body)
                     : send_short(c, "405 Method Not Allowed\r\nAllow: POST")))
            return false;
        done += h.head_bytes + h.body_bytes;
    }
    memmove(c->in, c->in + done, c->in_n - done);
    c->in_n -= done;
    return true;
}

/* False: close. */
static bool read_some(struct conn *c)
{
    if (c->in_cap - c->in_n < READ_BYTES)
        c->in = wire_realloc(c->in, c->in_cap = c->in_n + 2 * READ_BYTES);
    ssize_t n = recv(c->fd, c->in + c->in_n, c->in_cap - c->in_n, 0);
    if (n <= 0)
        return n < 0 && errno == EAGAIN;
    c->in_n += (size_t)n;
    return true;
}

/* False: close. */
static bool write_some(struct conn *c)
{
    ssize_t n = send(c->fd, c->out + c->out_sent, c->out_n - c->out_sent, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN;
    c->out_sent += (size_t)n;
    if (c->out_sent == c->out_n)
        c->out_n = 0;
    return true;
}

static void on_ready(int poll, struct conn *c, const struct answers *a, const struct options *o)
{
    bool was_full = c->out_n > 0;
    bool ok = was_full ? write_some(c) : read_some(c);
    ok = ok && (c->out_n > 0 || serve_all(c, a, o));
    if (!ok) {
        (void)close(c->fd);
        free(c->in);
        free(c->out);
        free(c);
        return;
    }
    if (was_full == (c->out_n > 0))
        return;
    struct epoll_event ev = {.events = c->out_n ? EPOLLOUT : EPOLLIN, .data.ptr = c};
    (void)epoll_ctl(poll, EPOLL_CTL_MOD, c->fd, &ev);
}

static void on_accept(int poll, int listener)
{
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    struct conn *c = wire_realloc(NULL, sizeof *c);
    *c = (struct conn){.fd = fd};
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &ev) != 0)
        wire_die("epoll_ctl: %m");
}

static int listen_loopback(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, n) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&at, &n) != 0)
        wire_die("listen: %m");
    printf("{\"port\":%d}\n", ntohs(at.sin_port));
    (void)fflush(stdout);
    return fd;
}

static struct options parse_options(int argc, char **argv)
{
    static const struct option known[] = {
        {"tools", required_argument, NULL, 't'},
        {"tool-bytes", required_argument, NULL, 'b'},
        {"result-bytes", required_argument, NULL, 'r'},
        {"legacy", no_argument, NULL, 'l'},
        {"sse", no_argument, NULL, 's'},
        {0},
    };
    struct options o = {.tools = 10, .tool_bytes = 400, .result_bytes = 389};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (c) {
        case 't': o.tools = wire_number("--tools", optarg, 100000); break;
        case 'b': o.tool_bytes = wire_number("--tool-bytes", optarg, 1 << 20); break;
        case 'r': o.result_bytes = wire_number("--result-bytes", optarg, 16 << 20); break;
        case 'l': o.legacy = true; break;
        case 's': o.sse = true; break;
        default: exit(2);
        }
    }
    if (o.tool_bytes < 160 || o.result_bytes < 120)
        wire_die("--tool-bytes is at least 160, --result-bytes 120");
    return o;
}

int main(int argc, char **argv)
{
    struct options o = parse_options(argc, argv);
    struct answers a = make_answers(&o);
    int poll = epoll_create1(EPOLL_CLOEXEC), listener = listen_loopback();
    struct epoll_event ev = {.events = EPOLLIN}, ready[EVENTS];
    if (poll < 0 || epoll_ctl(poll, EPOLL_CTL_ADD, listener, &ev) != 0)
        wire_die("epoll: %m");
    for (;;) {
        int n = epoll_wait(poll, ready, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (ready[i].data.ptr)
                on_ready(poll, ready[i].data.ptr, &a, &o);
            else
                on_accept(poll, listener);
        }
    }
}
