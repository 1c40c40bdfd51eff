/* See local_watch.h. What changed is not of interest: whoever is told looks at everything. After
 * each change the folders are walked again, so that new ones are heard of; adding a watch twice is
 * one. */
#include "gateway/local_watch.h"

#include "base/clock.h"
#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <unistd.h>

enum { MAX_WATCHES = 2000, MAX_DEPTH = 9, LONGEST = 10 };
enum {
    CHANGES = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
              IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB
};

struct local_watch {
    struct loop *loop;
    int fd;
    struct event rd;
    char **folders;
    unsigned watches;
    int quiet_ms;
    int64_t first_ms; /* the oldest change not told; 0: none */
    struct timer timer;
    loop_fn fn;
    void *arg;
};

static bool add(struct local_watch *w, const char *path)
{
    if (w->watches == MAX_WATCHES || inotify_add_watch(w->fd, path, CHANGES) < 0)
        return false;
    w->watches++;
    return true;
}

/* Links are not followed: Kubernetes' link to the newest volume is heard of in the folder it is in.
 */
static void walk(struct local_watch *w, const char *path, int depth)
{
    DIR *dir = depth < MAX_DEPTH && add(w, path) ? opendir(path) : NULL;
    if (!dir)
        return;
    for (const struct dirent *d; (d = readdir(dir));) { /* NOLINT: one thread */
        struct buf below = {0};
        if (d->d_type != DT_DIR || d->d_name[0] == '.')
            continue;
        buf_addf(&below, "%s/%s", path, d->d_name);
        buf_addc(&below, '\0');
        walk(w, below.p, depth + 1);
        buf_fini(&below);
    }
    closedir(dir);
}

/* A folder that is not there yet: its parent may tell. */
static void add_parent(struct local_watch *w, const char *path)
{
    const char *slash = strrchr(path, '/');
    char *parent = slash ? xmemdup0(path, slash > path ? (size_t)(slash - path) : 1) : xstrdup(".");
    (void)add(w, parent);
    free(parent);
}

static void add_all(struct local_watch *w)
{
    w->watches = 0;
    for (char **f = w->folders; *f; f++) {
        if (access(*f, F_OK) < 0)
            add_parent(w, *f);
        else
            walk(w, *f, 0);
    }
    if (w->watches == MAX_WATCHES)
        log_warn("local.watch_full", L_INT("folders", w->watches));
}

static void tell(void *arg)
{
    struct local_watch *w = arg;
    w->first_ms = 0;
    add_all(w);
    w->fn(w->arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct local_watch *w = arg;
    char events[8192];
    while (read(fd, events, sizeof events) > 0)
        ;
    int64_t now = clock_ms();
    if (!w->first_ms)
        w->first_ms = now;
    int64_t wait = w->quiet_ms, left = w->first_ms + (int64_t)LONGEST * w->quiet_ms - now;
    timer_set(&w->timer, w->loop, wait < left ? wait : left > 0 ? left : 0, tell, w);
}

struct local_watch *local_watch_new(struct loop *l, char *const *folders, int quiet_ms, loop_fn fn,
                                    void *arg)
{
    size_t n = 0;
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0) {
        log_error("local.watch_failed", L_STR("error", strerrordesc_np(errno)));
        return NULL;
    }
    while (folders[n])
        n++;
    struct local_watch *w = xcalloc(1, sizeof *w);
    *w = (struct local_watch){.loop = l, .fd = fd, .quiet_ms = quiet_ms, .fn = fn, .arg = arg};
    w->folders = xcalloc(n + 1, sizeof *w->folders);
    for (size_t i = 0; i < n; i++)
        w->folders[i] = xstrdup(folders[i]);
    add_all(w);
    event_assign(&w->rd, loop_base(l), fd, EV_READ | EV_PERSIST, on_readable, w);
    event_add(&w->rd, NULL);
    return w;
}

void local_watch_free(struct local_watch **wp)
{
    struct local_watch *w = *wp;
    *wp = NULL;
    if (!w)
        return;
    event_del(&w->rd);
    timer_clear(&w->timer);
    close(w->fd);
    for (char **f = w->folders; *f; f++)
        free(*f);
    free(w->folders);
    free(w);
}
