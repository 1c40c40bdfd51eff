/* See admin.h. The control plane's HTTP server: evhtp, which sees only requests that our own codec
 * has read and written anew. */
#include "gateway/admin.h"

#include "base/log.h"

#include <errno.h>
#include <evhtp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 1024, IDLE_SECONDS = 30 };

/* evhtp keeps no list of its connections, and evhtp_free frees none. */
struct admin_conn {
    struct admin *admin;
    evhtp_connection_t *c;
    TAILQ_ENTRY(admin_conn) link;
};

struct admin {
    struct gateway *gw;
    evhtp_t *htp;
    char *dir, *socket;
    bool bound;
    TAILQ_HEAD(, admin_conn) conns;
};

const char *admin_socket(const struct admin *a)
{
    return a->socket;
}

/* ---- requests ---- */

static struct str method_of(const evhtp_request_t *r)
{
    switch (r->method) {
    case htp_method_GET: return STR("GET");
    case htp_method_POST: return STR("POST");
    default: return STR("");
    }
}

static void add_header(evhtp_request_t *r, const char *name, const char *value)
{
    evhtp_headers_add_header(r->headers_out, evhtp_header_new(name, value, 0, 1));
}

static void on_request(evhtp_request_t *r, void *arg)
{
    struct admin *a = arg;
    struct admin_answer out;
    char length[24];
    const char *path = r->uri && r->uri->path ? r->uri->path->full : NULL;
    admin_answer(a->gw, method_of(r), str_of(path), &out);
    add_header(r, "Content-Type", out.type);
    if (out.allow)
        add_header(r, "Allow", out.allow);
    /* Left to itself evhtp sometimes writes a length that is not the body's. */
    (void)snprintf(length, sizeof length, "%zu", out.body.n);
    add_header(r, "Content-Length", length);
    (void)evbuffer_add(r->buffer_out, out.body.p, out.body.n);
    buf_fini(&out.body);
    evhtp_request_disable_flag(r, EVHTP_REQ_FLAG_KEEPALIVE);
    evhtp_send_reply(r, (evhtp_res)out.status);
}

/* ---- connections ---- */

static bool is_own_process(int fd)
{
    struct ucred peer;
    socklen_t n = sizeof peer;
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 && n == sizeof peer &&
           peer.pid == getpid() && peer.uid == geteuid();
}

static evhtp_res on_conn_end(evhtp_connection_t *c, void *arg)
{
    struct admin_conn *ac = arg;
    (void)c;
    TAILQ_REMOVE(&ac->admin->conns, ac, link);
    free(ac);
    return EVHTP_RES_OK;
}

/* Anything but OK closes the connection. */
static evhtp_res on_accepted(evhtp_connection_t *c, void *arg)
{
    struct admin *a = arg;
    if (!is_own_process(c->sock)) {
        log_warn("admin.foreign_peer");
        return EVHTP_RES_ERROR;
    }
    struct admin_conn *ac = xcalloc(1, sizeof *ac);
    *ac = (struct admin_conn){.admin = a, .c = c};
    TAILQ_INSERT_TAIL(&a->conns, ac, link);
    (void)evhtp_connection_set_hook(c, evhtp_hook_on_connection_fini, (evhtp_hook)on_conn_end, ac);
    return EVHTP_RES_OK;
}

/* ---- start and stop ---- */

static bool make_dir_in(struct admin *a, const char *parent)
{
    struct buf b = {0};
    buf_addf(&b, "%s/headgate-XXXXXX", parent);
    char *dir = xmemdup0(b.p, b.n);
    buf_fini(&b);
    /* mkdtemp makes it 0700, whatever the umask. A socket's path has little room. */
    if (strlen(dir) + sizeof "/admin.sock" > sizeof((struct sockaddr_un *)NULL)->sun_path ||
        !mkdtemp(dir)) {
        free(dir);
        return false;
    }
    buf_addf(&b, "%s/admin.sock", dir);
    a->dir = dir;
    a->socket = xmemdup0(b.p, b.n);
    buf_fini(&b);
    return true;
}

static bool make_dir(struct admin *a, struct err *e)
{
    const char *run = getenv("XDG_RUNTIME_DIR");
    if (run && *run == '/' && make_dir_in(a, run))
        return true;
    if (make_dir_in(a, P_tmpdir))
        return true;
    return err_set(e, ERR_SYSTEM, "cannot make a directory in %s for the control socket: %s",
                   P_tmpdir, strerror(errno));
}

static bool bind_socket(struct admin *a, struct err *e)
{
    struct buf name = {0};
    buf_addf(&name, "unix:%s", a->socket);
    buf_addc(&name, '\0');
    a->bound = evhtp_bind_socket(a->htp, name.p, 0, BACKLOG) == 0;
    buf_fini(&name);
    if (!a->bound)
        return err_set(e, ERR_SYSTEM, "cannot listen on the control socket %s", a->socket);
    return true;
}

struct admin *admin_start(struct gateway *gw, struct err *e)
{
    struct admin *a = xcalloc(1, sizeof *a);
    struct timeval idle = {.tv_sec = IDLE_SECONDS};
    a->gw = gw;
    TAILQ_INIT(&a->conns);
    a->htp = evhtp_new(loop_base(gw->control.loop), NULL);
    if (!a->htp) {
        (void)err_set(e, ERR_SYSTEM, "cannot make the control plane's server");
        admin_stop(&a);
        return NULL;
    }
    evhtp_disable_flag(a->htp, EVHTP_FLAG_ENABLE_100_CONT);
    evhtp_set_timeouts(a->htp, &idle, &idle);
    evhtp_set_gencb(a->htp, on_request, a);
    evhtp_set_post_accept_cb(a->htp, on_accepted, a);
    if (!make_dir(a, e) || !bind_socket(a, e))
        admin_stop(&a);
    return a;
}

void admin_stop(struct admin **ap)
{
    struct admin *a = *ap;
    struct admin_conn *ac;
    if (!a)
        return;
    *ap = NULL;
    if (a->bound)
        evhtp_unbind_socket(a->htp);
    while ((ac = TAILQ_FIRST(&a->conns)))
        evhtp_connection_free(ac->c); /* its hook takes it from the list */
    if (a->htp)
        evhtp_free(a->htp);
    if (a->socket)
        (void)unlink(a->socket);
    if (a->dir)
        (void)rmdir(a->dir);
    free(a->socket);
    free(a->dir);
    free(a);
}
