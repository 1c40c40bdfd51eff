/* Metrics: tables of rows; counters, gauges and histograms; Prometheus text 0.0.4. Labels come from
 * rows and configured names, never from a client. Updates are relaxed atomics: any thread, any
 * time. */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include "base/str.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* One row: a family. label2 may be NULL; label NULL means a single series. */
struct metric_def {
    const char *name, *help;
    enum metric_kind kind;
    const char *label, *label2;
};

/* A family at run time; opaque. */
struct metric;

/* Registers a table (once, before threads). rows and its strings live for ever. Returns the base
 * index of the table. */
void metrics_register(const struct metric_def *rows, size_t n);
/* A series of the row with these label values (copied; "" for none), made on first use. At most
 * 2,000 a family; above, the series "other". The pointer stays valid for ever: keep it. Takes a
 * lock: not on the hot path. */
struct metric *metric_series(const struct metric_def *row, const char *v1, const char *v2);
void metric_add(struct metric *m, int64_t by);
void metric_set(struct metric *m, int64_t v);
int64_t metric_get(const struct metric *m);
/* Observes a duration of us microseconds (buckets 0.0001 … 30 s). */
void metric_observe_us(struct metric *m, int64_t us);
/* Appends all registered families that have a series. */
void metrics_format(struct buf *out);
/* Tests only: forgets all. */
void metrics_reset(void);

#endif
