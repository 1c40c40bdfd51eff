/* See stage.h. */
#include "local/stage.h"

#include "base/crypto.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct work {
    const struct stage_spec *s;
    int from, to; /* roots */
    struct stage_result *out;
    size_t knowledge_bytes;
    struct err *e;
};

static const char *const kinds[] = {"tools", "resources", "prompts", "knowledge"};
enum { KINDS = sizeof kinds / sizeof *kinds, KNOWLEDGE = 3 };

static char *const default_extensions[] = {
    (char[]){"csv"}, (char[]){"htm"}, (char[]){"html"}, (char[]){"json"}, (char[]){"md"},
    (char[]){"txt"}, (char[]){"xml"}, (char[]){"yaml"}, (char[]){"yml"},  NULL};

/* Names that look like secrets or leavings; compared in lower case. */
static const char *const blocked[] = {"__pycache__", "htmlcov", "thumbs.db", "*.env",   "*.pem",
                                      "*.key",       "*.p12",   "id_rsa",    "*secret*"};

static void skip(struct work *w, const char *path, const char *why)
{
    buf_addf(&w->out->skipped, "%s: %s\n", path, why);
}

static bool matches_any(char *const *globs, struct str s)
{
    for (; globs && *globs; globs++)
        if (str_glob(str_of(*globs), s))
            return true;
    return false;
}

static bool is_blocked(const struct work *w, const char *path)
{
    struct str rest = str_of(path), part;
    char low[256];
    if (matches_any(w->s->unblocked, rest))
        return false;
    while (str_split(&rest, '/', &part)) {
        size_t n = part.n < sizeof low ? part.n : sizeof low;
        for (size_t i = 0; i < n; i++)
            low[i] = (char)tolower((unsigned char)part.p[i]);
        for (size_t i = 0; i < sizeof blocked / sizeof *blocked; i++)
            if (str_glob(str_of(blocked[i]), (struct str){low, n}))
                return true;
    }
    return false;
}

static bool has_extension(const struct work *w, int kind, const char *path)
{
    const char *dot = strrchr(path, '.');
    char *const *list = w->s->extensions ? w->s->extensions : default_extensions;
    if (!dot || strchr(dot, '/'))
        return false;
    if (kind != KNOWLEDGE)
        return strcmp(dot, ".py") == 0;
    for (; *list; list++)
        if (str_ieq(str_of(dot + 1), str_of(**list == '.' ? *list + 1 : *list)))
            return true;
    return false;
}

/* Opens below root, whatever links say. */
static int open_below(int root, const char *path, int flags)
{
    struct open_how how = {.flags = (uint64_t)(flags | O_CLOEXEC | O_NONBLOCK),
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    return (int)syscall(SYS_openat2, root, path, &how, sizeof how);
}

static bool make_folders(int root, const char *path)
{
    char *copy = xstrdup(path);
    bool ok = true;
    for (char *slash = strchr(copy, '/'); ok && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ok = mkdirat(root, copy, 0700) == 0 || errno == EEXIST;
        *slash = '/';
    }
    free(copy);
    return ok;
}

static bool write_file(int root, const char *path, struct str text)
{
    int fd = make_folders(root, path)
                 ? openat(root, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600)
                 : -1;
    size_t done = 0;
    while (fd >= 0 && done < text.n) {
        ssize_t n = write(fd, text.p + done, text.n - done);
        if (n < 0 && errno != EINTR)
            break;
        done += n > 0 ? (size_t)n : 0;
    }
    if (fd >= 0)
        close(fd);
    return fd >= 0 && done == text.n;
}

static bool read_file(int fd, size_t size, struct buf *out)
{
    for (;;) {
        ssize_t n = read(fd, buf_reserve(out, 65536), 65536);
        if (n == 0)
            return true;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 || out->n + (size_t)n > size + 65536)
            return false; /* it grows while we read */
        out->n += (size_t)n;
    }
}

static void count_file(struct work *w, const char *path, struct str text)
{
    struct str parts[] = {
        {(const char *)w->out->hash, sizeof w->out->hash}, {path, strlen(path) + 1}, text};
    crypto_sha256(parts, 3, w->out->hash);
    w->out->files++;
}

static bool take_file(struct work *w, int kind, const char *path, int fd, size_t size)
{
    struct buf text = {0};
    if (w->s->max_file_bytes && size > w->s->max_file_bytes) {
        skip(w, path, "is larger than local.maxFileBytes");
        return true;
    }
    if (kind == KNOWLEDGE && w->s->max_knowledge_bytes &&
        w->knowledge_bytes + size > w->s->max_knowledge_bytes) {
        skip(w, path, "knowledge/ is larger than local.maxKnowledgeBytes");
        return true;
    }
    bool ok = true;
    if (!read_file(fd, size, &text)) {
        skip(w, path, "cannot be read");
    } else if (!write_file(w->to, path, buf_str(&text))) {
        ok = err_set(w->e, ERR_SYSTEM, "cannot stage %s: %s", path, strerror(errno));
    } else {
        count_file(w, path, buf_str(&text));
        w->knowledge_bytes += kind == KNOWLEDGE ? size : 0;
    }
    buf_fini(&text);
    return ok;
}

static bool walk(struct work *w, int kind, const char *path, int depth);

static bool take_entry(struct work *w, int kind, const char *path, int depth)
{
    struct stat st;
    int fd = open_below(w->from, path, O_RDONLY);
    if (fd < 0) {
        skip(w, path, errno == EXDEV ? "leads out of its folder" : strerrordesc_np(errno));
        return true;
    }
    bool ok = true;
    if (fstat(fd, &st) < 0 || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
        skip(w, path, "is no file");
    else if (is_blocked(w, path))
        skip(w, path, "has the name of a secret or a leaving (local.blockedFileAllowlist)");
    else if (S_ISDIR(st.st_mode))
        ok = walk(w, kind, path, depth + 1);
    else if (!has_extension(w, kind, path))
        skip(w, path, "is of another kind");
    else if (w->out->files == STAGE_MAX_FILES)
        skip(w, path, "there are too many files");
    else
        ok = take_file(w, kind, path, fd, (size_t)st.st_size);
    close(fd);
    return ok;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a folder, sorted, so that the hash does not depend on the disk. */
static char **list_names(int fd, size_t *n)
{
    char **names = NULL;
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return NULL;
    }
    for (const struct dirent *d; (d = readdir(dir)) && *n < STAGE_MAX_FILES;) { /* NOLINT */
        if (d->d_name[0] == '.')
            continue;
        names = xrealloc(names, (*n + 1) * sizeof *names);
        names[(*n)++] = xstrdup(d->d_name);
    }
    closedir(dir);
    if (*n)
        qsort(names, *n, sizeof *names, by_name);
    return names;
}

static bool walk(struct work *w, int kind, const char *path, int depth)
{
    size_t n = 0;
    int fd = depth < STAGE_MAX_DEPTH ? open_below(w->from, path, O_RDONLY | O_DIRECTORY) : -1;
    if (fd < 0)
        return true;
    char **names = list_names(fd, &n);
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        struct buf below = {0};
        buf_addf(&below, "%s/%s", path, names[i]);
        buf_addc(&below, '\0');
        ok = ok && take_entry(w, kind, below.p, depth);
        buf_fini(&below);
        free(names[i]);
    }
    free(names);
    return ok;
}

bool stage_build(const struct stage_spec *s, const char *to, struct stage_result *out,
                 struct err *e)
{
    struct work w = {.s = s, .from = -1, .out = out, .e = e};
    *out = (struct stage_result){.files = 0};
    if (mkdir(to, 0700) < 0 || (w.to = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return err_set(e, ERR_SYSTEM, "cannot make %s: %s", to, strerror(errno));
    bool ok = true;
    for (char *const *folder = s->folders; ok && *folder; folder++) {
        w.from = open(*folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (int kind = 0; ok && w.from >= 0 && kind < KINDS; kind++)
            ok = walk(&w, kind, kinds[kind], 0);
        if (w.from >= 0)
            close(w.from);
    }
    close(w.to);
    return ok;
}

void stage_result_fini(struct stage_result *r)
{
    buf_fini(&r->skipped);
}

bool stage_restore(const char *from, const char *to, const char *file, struct err *e)
{
    struct buf text = {0};
    struct stat st;
    int a = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int b = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = a >= 0 ? open_below(a, file, O_RDONLY) : -1;
    bool ok = fd >= 0 && b >= 0 && fstat(fd, &st) == 0 &&
              read_file(fd, (size_t)st.st_size, &text) && write_file(b, file, buf_str(&text));
    if (!ok)
        (void)err_set(e, ERR_NOT_FOUND, "%s is not in the last generation", file);
    for (const int *each = (const int[]){a, b, fd, -2}; *each != -2; each++)
        if (*each >= 0)
            close(*each);
    buf_fini(&text);
    return ok;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    (void)remove(path);
    return 0;
}

void stage_remove(const char *dir)
{
    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
