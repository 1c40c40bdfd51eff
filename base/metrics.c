/* See metrics.h. Series are found under a lock once and updated through their pointer ever
 * after. */
#include "base/metrics.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_TABLES = 16, MAX_SERIES = 2000, BUCKETS = 14 };

/* Upper bounds in µs; the last bucket is +Inf. */
static const int64_t bounds_us[BUCKETS - 1] = {
    100, 500, 1000, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 5000000, 30000000};

struct metric {
    const struct metric_def *def;
    char *v1, *v2;
    _Atomic int64_t value; /* counter, gauge; histogram: sum in µs */
    _Atomic int64_t *bucket;
    struct metric *next;
};

struct family {
    const struct metric_def *def;
    struct metric *first, *last;
    int series;
};

static struct {
    pthread_mutex_t lock;
    struct family *tables[MAX_TABLES];
    size_t rows[MAX_TABLES];
    size_t n;
} g = {.lock = PTHREAD_MUTEX_INITIALIZER};

void metrics_register(const struct metric_def *rows, size_t n)
{
    pthread_mutex_lock(&g.lock);
    if (g.n == MAX_TABLES)
        abort();
    struct family *t = xcalloc(n, sizeof *t);
    for (size_t i = 0; i < n; i++)
        t[i].def = &rows[i];
    g.tables[g.n] = t;
    g.rows[g.n++] = n;
    pthread_mutex_unlock(&g.lock);
}

static struct family *family_of(const struct metric_def *row)
{
    for (size_t t = 0; t < g.n; t++) {
        for (size_t i = 0; i < g.rows[t]; i++)
            if (g.tables[t][i].def == row)
                return &g.tables[t][i];
    }
    abort(); /* a row that nobody registered */
}

static struct metric *series_find(struct family *f, const char *v1, const char *v2)
{
    for (struct metric *m = f->first; m; m = m->next)
        if (strcmp(m->v1, v1) == 0 && strcmp(m->v2, v2) == 0)
            return m;
    return NULL;
}

static struct metric *series_add(struct family *f, const char *v1, const char *v2)
{
    struct metric *m = xcalloc(1, sizeof *m);
    m->def = f->def;
    m->v1 = xstrdup(v1);
    m->v2 = xstrdup(v2);
    if (f->def->kind == METRIC_HISTOGRAM)
        m->bucket = xcalloc(BUCKETS, sizeof *m->bucket);
    if (f->last)
        f->last->next = m;
    else
        f->first = m;
    f->last = m;
    f->series++;
    return m;
}

struct metric *metric_series(const struct metric_def *row, const char *v1, const char *v2)
{
    v1 = v1 ? v1 : "";
    v2 = v2 ? v2 : "";
    pthread_mutex_lock(&g.lock);
    struct family *f = family_of(row);
    struct metric *m = series_find(f, v1, v2);
    if (!m && f->series >= MAX_SERIES) {
        v1 = v2 = "other";
        m = series_find(f, v1, v2);
    }
    if (!m)
        m = series_add(f, v1, v2);
    pthread_mutex_unlock(&g.lock);
    return m;
}

void metric_add(struct metric *m, int64_t by)
{
    atomic_fetch_add_explicit(&m->value, by, memory_order_relaxed);
}

void metric_set(struct metric *m, int64_t v)
{
    atomic_store_explicit(&m->value, v, memory_order_relaxed);
}

int64_t metric_get(const struct metric *m)
{
    return atomic_load_explicit(&m->value, memory_order_relaxed);
}

void metric_observe_us(struct metric *m, int64_t us)
{
    int i = 0;
    while (i < BUCKETS - 1 && us > bounds_us[i])
        i++;
    atomic_fetch_add_explicit(&m->bucket[i], 1, memory_order_relaxed);
    metric_add(m, us);
}

static void add_label(struct buf *out, const char *name, const char *value, bool *any)
{
    if (!name)
        return;
    buf_addf(out, "%c%s=\"", *any ? ',' : '{', name);
    for (const char *p = value; *p; p++) {
        if (*p == '"' || *p == '\\')
            buf_addc(out, '\\');
        if (*p == '\n')
            buf_adds(out, "\\n");
        else
            buf_addc(out, *p);
    }
    buf_addc(out, '"');
    *any = true;
}

static void add_name(struct buf *out, const struct metric *m, const char *suffix, const char *le)
{
    bool any = false;
    buf_adds(out, m->def->name);
    buf_adds(out, suffix);
    add_label(out, m->def->label, m->v1, &any);
    add_label(out, m->def->label2, m->v2, &any);
    if (le)
        add_label(out, "le", le, &any);
    buf_adds(out, any ? "} " : " ");
}

static void add_histogram(struct buf *out, const struct metric *m)
{
    int64_t total = 0;
    for (int i = 0; i < BUCKETS; i++) {
        char le[32] = "+Inf";
        if (i < BUCKETS - 1)
            (void)snprintf(le, sizeof le, "%g", (double)bounds_us[i] / 1e6);
        total += atomic_load_explicit(&m->bucket[i], memory_order_relaxed);
        add_name(out, m, "_bucket", le);
        buf_addf(out, "%lld\n", (long long)total);
    }
    add_name(out, m, "_sum", NULL);
    buf_addf(out, "%.6f\n", (double)metric_get(m) / 1e6);
    add_name(out, m, "_count", NULL);
    buf_addf(out, "%lld\n", (long long)total);
}

static void add_family(struct buf *out, const struct family *f)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    if (!f->first)
        return;
    buf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", f->def->name, f->def->help, f->def->name,
             kinds[f->def->kind]);
    for (const struct metric *m = f->first; m; m = m->next) {
        if (f->def->kind == METRIC_HISTOGRAM) {
            add_histogram(out, m);
            continue;
        }
        add_name(out, m, "", NULL);
        buf_addf(out, "%lld\n", (long long)metric_get(m));
    }
}

void metrics_format(struct buf *out)
{
    pthread_mutex_lock(&g.lock);
    for (size_t t = 0; t < g.n; t++)
        for (size_t i = 0; i < g.rows[t]; i++)
            add_family(out, &g.tables[t][i]);
    pthread_mutex_unlock(&g.lock);
}

void metrics_reset(void)
{
    pthread_mutex_lock(&g.lock);
    for (size_t t = 0; t < g.n; t++) {
        for (size_t i = 0; i < g.rows[t]; i++) {
            while (g.tables[t][i].first) {
                struct metric *m = g.tables[t][i].first;
                g.tables[t][i].first = m->next;
                free(m->v1);
                free(m->v2);
                free(m->bucket);
                free(m);
            }
        }
        free(g.tables[t]);
    }
    g.n = 0;
    pthread_mutex_unlock(&g.lock);
}
