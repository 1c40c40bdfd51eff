/* The gateway's rows of metrics, and pointers to the series that hot paths update. */
#ifndef GATEWAY_METRICS_ROWS_H
#define GATEWAY_METRICS_ROWS_H

#include "base/metrics.h"

enum metric_row {
    M_REQUESTS,            /* mcp_requests_total{code} */
    M_REQUEST_SECONDS,     /* mcp_request_duration_seconds */
    M_ADMITTED,            /* mcp_calls_admitted_total */
    M_ANSWERED,            /* mcp_calls_answered_total */
    M_FAILED,              /* mcp_calls_failed_total */
    M_CANCELLED,           /* mcp_calls_cancelled_total */
    M_INFLIGHT,            /* mcp_inflight_requests */
    M_PARKED,              /* mcp_parked_calls */
    M_PARKED_EXPIRED,      /* mcp_parked_calls_expired_total */
    M_PARKED_REFUSED,      /* mcp_parked_calls_refused_total */
    M_INPUT_ROUNDS,        /* mcp_input_rounds_total */
    M_OPEN_STREAMS,        /* mcp_open_streams */
    M_SESSIONS,            /* mcp_sessions_active */
    M_SESSIONS_EVICTED,    /* mcp_sessions_evicted_total */
    M_SESSIONS_REVIVED,    /* mcp_sessions_revived_total */
    M_LINK_SENT,           /* mcp_link_sent_total{result} */
    M_LINK_RECEIVED,       /* mcp_link_received_total{result} */
    M_CONNECTIONS,         /* mcp_gateway_connections */
    M_GUARD_REJECT,        /* mcp_gateway_guard_reject_total{reason} */
    M_UPSTREAM_UP,         /* mcp_upstream_up{upstream} */
    M_UPSTREAM_CALLS,      /* mcp_upstream_calls_total{upstream} */
    M_UPSTREAM_ERRORS,     /* mcp_upstream_errors_total{upstream} */
    M_UPSTREAM_SECONDS,    /* mcp_upstream_duration_seconds{upstream} */
    M_UPSTREAM_SESSIONS,   /* mcp_gateway_upstream_sessions */
    M_CHILDREN,            /* mcp_gateway_children */
    M_LOOP_LAG_P999,       /* mcp_gateway_loop_lag_p999_microseconds{loop} */
    M_LOOP_LAG_MAX,        /* mcp_gateway_loop_lag_max_microseconds{loop} */
    M_RSS,                 /* mcp_gateway_rss_bytes */
    M_CHARGED,             /* mcp_gateway_charged_bytes */
    M_LOG_DROPPED,         /* mcp_gateway_log_dropped_total */
    M_SNAPSHOT,            /* mcp_gateway_snapshot_version */
    M_RELOADS,             /* mcp_gateway_reload_total{result} */
    M_RELOAD_FAILURES,     /* mcp_config_reload_failures_total */
    M_DRAINING,            /* mcp_draining */
    M_CATALOG_ENTRIES,     /* mcp_catalog_entries{kind} */
    M_RATE_LIMITED,        /* mcp_rate_limited_total{limit} */
    M_RATE_LIMIT_DEGRADED, /* mcp_rate_limit_degraded */
    M_QUOTA_REFUSED,       /* mcp_quota_refused_total{quota} */
    M_CACHE_HITS,          /* mcp_cache_hits_total{source} */
    M_CACHE_MISSES,        /* mcp_cache_misses_total */
    M_CACHE_WAITS,         /* mcp_cache_waits_total */
    M_CACHE_ENTRIES,       /* mcp_cache_entries */
    M_CACHE_BYTES,         /* mcp_cache_bytes */
    M_AUTH,                /* mcp_gateway_auth_total{result} */
    M_LOCAL_WORKERS,       /* mcp_local_workers */
    M_LOCAL_QUEUED,        /* mcp_local_queued */
    M_LOCAL_CRASHES,       /* mcp_local_worker_crashes_total */
    M_LOCAL_TIMEOUTS,      /* mcp_local_timeouts_total */
    M_LOCAL_START,         /* mcp_local_worker_start_seconds */
    M_LOCAL_LOADS,         /* mcp_local_loads_total{result} */
    M_SANDBOX_LEVEL,       /* mcp_sandbox_level{profile} */
    M_ROWS,
};

extern const struct metric_def metric_rows[M_ROWS];

/* Registers the rows; once, before threads. */
void metrics_rows_init(void);
/* The single series of a row without labels: cached, cheap. */
struct metric *metric_of(enum metric_row row);
/* Counts an answered HTTP request by status; cheap. */
void metric_count_status(int status);

#endif
