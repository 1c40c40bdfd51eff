/* See fetch.h. libcurl tells us which sockets and which timeout it waits for; libevent tells it
 * when they are due. A fetch that ended is reported at the end of the turn, outside of libcurl, so
 * that a callback may start, cancel or free what it likes. Connections are not kept: a later fetch
 * must not ride on one that its own address policy would have refused. */
#include "base/fetch.h"

#include "base/http1.h"
#include "base/net.h"

#include <curl/curl.h>
#include <event2/event.h>
#include <stdlib.h>

enum { DEFAULT_MAX_BYTES = 256 * 1024, DEFAULT_TIMEOUT_MS = 2000 };

struct fetcher {
    struct loop *loop;
    CURLM *multi;
    struct timer timer;
    struct fetch *running; /* those with libcurl */
    struct fetch *ended;   /* those whose callback is to come */
};

struct fetch {
    struct fetcher *fetcher; /* NULL once cancelled or delivered */
    struct fetch *next, **at;
    fetch_done_fn fn;
    void *arg;
    CURL *easy;
    struct curl_slist *headers;
    struct buf body;
    size_t max_bytes;
    bool allow_private, denied, too_large;
    char error[CURL_ERROR_SIZE];
    char *type;
    struct fetch_response response;
    struct err err;
};

static void link_to(struct fetch **list, struct fetch *x)
{
    x->next = *list;
    x->at = list;
    if (x->next)
        x->next->at = &x->next;
    *list = x;
}

static void unlink_fetch(struct fetch *x)
{
    *x->at = x->next;
    if (x->next)
        x->next->at = x->at;
}

static struct fetch *take_first(struct fetch **list)
{
    struct fetch *x = *list;
    *list = x->next;
    if (x->next)
        x->next->at = list;
    return x;
}

/* Frees what belongs to libcurl; the fetch itself may live on until it is delivered. */
static void end_transfer(struct fetch *x)
{
    if (x->easy) {
        curl_multi_remove_handle(x->fetcher->multi, x->easy);
        curl_easy_cleanup(x->easy);
        x->easy = NULL;
    }
    curl_slist_free_all(x->headers);
    x->headers = NULL;
}

static void free_fetch(struct fetch *x)
{
    buf_fini(&x->body);
    free(x->type);
    free(x);
}

static void deliver(void *arg)
{
    struct fetch *x = arg;
    if (x->fetcher) {
        unlink_fetch(x);
        x->fetcher = NULL;
        x->response.body = buf_str(&x->body);
        bool failed = x->err.kind != ERR_NONE;
        x->fn(failed ? NULL : &x->response, failed ? &x->err : NULL, x->arg);
    }
    free_fetch(x);
}

static void report(struct fetch *x)
{
    link_to(&x->fetcher->ended, x);
    loop_defer(x->fetcher->loop, deliver, x);
}

static void judge(struct fetch *x, CURLcode rc)
{
    const char *why = x->error[0] ? x->error : curl_easy_strerror(rc);
    if (rc == CURLE_OK) {
        long status = 0;
        const char *type = NULL;
        curl_easy_getinfo(x->easy, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(x->easy, CURLINFO_CONTENT_TYPE, &type);
        x->response.status = (int)status;
        x->type = type ? xstrdup(type) : NULL;
        x->response.content_type = str_of(x->type);
    } else if (x->too_large) {
        err_fill(&x->err, ERR_TOO_LARGE, "fetch: answer over %zu bytes", x->max_bytes);
    } else if (rc == CURLE_OPERATION_TIMEDOUT) {
        err_fill(&x->err, ERR_TIMEOUT, "fetch: timed out");
    } else if (x->denied) {
        err_fill(&x->err, ERR_FORBIDDEN, "fetch: the address policy forbids where the name leads");
    } else {
        err_fill(&x->err, ERR_UNAVAILABLE, "fetch: %s", why);
    }
}

static void collect_ended(struct fetcher *f)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(f->multi, &left))) {
        if (m->msg != CURLMSG_DONE)
            continue;
        struct fetch *x = NULL;
        CURLcode rc = m->data.result; /* m dies with the handle */
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&x);
        judge(x, rc);
        end_transfer(x);
        unlink_fetch(x);
        report(x);
    }
}

static void act(struct fetcher *f, curl_socket_t fd, int what)
{
    int running;
    curl_multi_socket_action(f->multi, fd, what, &running);
    collect_ended(f);
}

static void on_timeout(void *arg)
{
    act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    act(arg, fd, (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static int on_timer_change(CURLM *multi, long ms, void *arg)
{
    (void)multi;
    struct fetcher *f = arg;
    if (ms < 0)
        timer_clear(&f->timer);
    else
        timer_set(&f->timer, f->loop, ms, on_timeout, f);
    return 0;
}

static int on_socket_change(CURL *easy, curl_socket_t fd, int what, void *arg, void *old)
{
    (void)easy;
    struct fetcher *f = arg;
    struct event *ev = NULL;
    if (old)
        event_free(old);
    if (what != CURL_POLL_REMOVE) {
        int events = (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);
        ev = event_new(loop_base(f->loop), fd, (short)(events | EV_PERSIST), on_ready, f);
        event_add(ev, NULL);
    }
    curl_multi_assign(f->multi, fd, ev);
    return 0;
}

/* The address policy, at the last moment before a connection. */
static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
    struct fetch *x = arg;
    struct net_addr a = {.len = to->addrlen};
    if (purpose != CURLSOCKTYPE_IPCXN || to->addrlen > sizeof a.ss)
        return CURL_SOCKET_BAD;
    /* A v6 address is longer than the struct sockaddr that the header declares. */
    const char *from = (const char *)to + offsetof(struct curl_sockaddr, addr);
    memcpy(&a.ss, from, to->addrlen);
    if (net_addr_allowed(&a, x->allow_private))
        return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
    x->denied = true;
    return CURL_SOCKET_BAD;
}

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct fetch *x = arg;
    n *= size;
    if (n > x->max_bytes - x->body.n) {
        x->too_large = true;
        return 0;
    }
    buf_add(&x->body, p, n);
    return n;
}

/* Appends "Name: value" in the form that libcurl sends also when the value is empty. */
static bool add_header(struct fetch *x, const char *line)
{
    struct str value = str_of(line), name;
    struct buf b = {0};
    if (!str_split(&value, ':', &name) || value.p == name.p + name.n)
        return false;
    value = str_trim(value);
    if (!http1_add_field(&b, name, value))
        return false;
    b.n = name.n;
    if (value.n)
        buf_addf(&b, ": %.*s", STR_FMT(value));
    else
        buf_addc(&b, ';');
    buf_addc(&b, '\0');
    x->headers = curl_slist_append(x->headers, b.p);
    buf_fini(&b);
    return true;
}

static bool set_headers(struct fetch *x, const char *const *lines)
{
    for (; lines && *lines; lines++) {
        if (!add_header(x, *lines))
            return err_set(&x->err, ERR_CONFIG, "fetch: malformed header");
    }
    x->headers = curl_slist_append(x->headers, "Expect:"); /* no wait for 100 Continue */
    curl_easy_setopt(x->easy, CURLOPT_HTTPHEADER, x->headers);
    return true;
}

static bool set_request(struct fetch *x, const struct fetch_request *req)
{
    const char *method = req->method ? req->method : "GET";
    struct http1_url url;
    struct err why;
    if (!http1_parse_url(str_of(req->url), &url, &why))
        return err_set(&x->err, ERR_CONFIG, "fetch: %s", why.msg);
    if (!http1_is_token(str_of(method)))
        return err_set(&x->err, ERR_CONFIG, "fetch: malformed method");
    curl_easy_setopt(x->easy, CURLOPT_URL, req->url);
    if (req->body.n || strcmp(method, "POST") == 0) {
        curl_easy_setopt(x->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)req->body.n);
        curl_easy_setopt(x->easy, CURLOPT_COPYPOSTFIELDS, req->body.n ? req->body.p : "");
    }
    if (strcmp(method, "HEAD") == 0)
        curl_easy_setopt(x->easy, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(x->easy, CURLOPT_CUSTOMREQUEST, method);
    return set_headers(x, req->headers);
}

static void set_policy(struct fetch *x, const struct fetch_request *req)
{
    CURL *c = x->easy;
    long timeout_ms = req->timeout_ms > 0 ? req->timeout_ms : DEFAULT_TIMEOUT_MS;
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L); /* a cancel does not wait for the name service */
    curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(c, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
    if (req->ca_file) {
        curl_easy_setopt(c, CURLOPT_CAINFO, req->ca_file);
        curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    }
    curl_easy_setopt(c, CURLOPT_USERAGENT, "headgate");
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, timeout_ms);
}

static void set_callbacks(struct fetch *x)
{
    CURL *c = x->easy;
    curl_easy_setopt(c, CURLOPT_PRIVATE, x);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->error);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, x);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
}

struct fetch *fetch_start(struct fetcher *f, const struct fetch_request *req, fetch_done_fn fn,
                          void *arg)
{
    struct fetch *x = xcalloc(1, sizeof *x);
    x->fetcher = f;
    x->fn = fn;
    x->arg = arg;
    x->max_bytes = req->max_bytes ? req->max_bytes : DEFAULT_MAX_BYTES;
    x->allow_private = req->allow_private;
    CURL *easy = curl_easy_init();
    if (!easy)
        abort();
    x->easy = easy;
    if (!set_request(x, req)) {
        x->easy = NULL;
        curl_easy_cleanup(easy);
        end_transfer(x);
        report(x);
        return x;
    }
    set_policy(x, req);
    set_callbacks(x);
    link_to(&f->running, x);
    curl_multi_add_handle(f->multi, x->easy); /* arms the timer; nothing happens yet */
    return x;
}

/* Of a fetch that is in no list any more: frees it now, or leaves that to deliver(), which is on
 * its way. */
static void drop(struct fetch *x)
{
    bool running = x->easy != NULL;
    end_transfer(x);
    x->fetcher = NULL;
    if (running)
        free_fetch(x);
}

void fetch_cancel(struct fetch **x)
{
    struct fetch *gone = *x;
    *x = NULL;
    if (gone && gone->fetcher) {
        unlink_fetch(gone);
        drop(gone);
    }
}

struct fetcher *fetcher_new(struct loop *l)
{
    struct fetcher *f = xcalloc(1, sizeof *f);
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        abort();
    f->loop = l;
    f->multi = curl_multi_init();
    if (!f->multi)
        abort();
    curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, on_socket_change);
    curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
    curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, on_timer_change);
    curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
    return f;
}

void fetcher_free(struct fetcher **fp)
{
    struct fetcher *f = *fp;
    *fp = NULL;
    if (!f)
        return;
    while (f->running)
        drop(take_first(&f->running));
    while (f->ended)
        drop(take_first(&f->ended));
    curl_multi_cleanup(f->multi);
    timer_clear(&f->timer);
    free(f);
    curl_global_cleanup();
}
