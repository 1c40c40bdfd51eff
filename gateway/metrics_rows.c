/* See metrics_rows.h. */
#include "gateway/metrics_rows.h"

#include "store/store.h"

#include <stdio.h>

const struct metric_def metric_rows[M_ROWS] = {
    [M_REQUESTS] = {"mcp_requests_total", "HTTP answers by status.", METRIC_COUNTER, "code", NULL},
    [M_REQUEST_SECONDS] = {"mcp_request_duration_seconds",
                           "Time from a call's admission to its end.", METRIC_HISTOGRAM, NULL,
                           NULL},
    [M_ADMITTED] = {"mcp_calls_admitted_total", "Calls taken in.", METRIC_COUNTER, NULL, NULL},
    [M_ANSWERED] = {"mcp_calls_answered_total",
                    "Calls that ended with an upstream's or our own answer.", METRIC_COUNTER, NULL,
                    NULL},
    [M_FAILED] = {"mcp_calls_failed_total", "Calls that ended with an error made by the gateway.",
                  METRIC_COUNTER, NULL, NULL},
    [M_CANCELLED] = {"mcp_calls_cancelled_total", "Calls that the client gave up.", METRIC_COUNTER,
                     NULL, NULL},
    [M_INFLIGHT] = {"mcp_inflight_requests", "Calls not yet ended.", METRIC_GAUGE, NULL, NULL},
    [M_PARKED] = {"mcp_parked_calls", "Calls that wait for their client to come back with answers.",
                  METRIC_GAUGE, NULL, NULL},
    [M_PARKED_EXPIRED] = {"mcp_parked_calls_expired_total",
                          "Parked calls, or their results, that no client came back for.",
                          METRIC_COUNTER, NULL, NULL},
    [M_PARKED_REFUSED] = {"mcp_parked_calls_refused_total",
                          "Calls ended because too many were parked.", METRIC_COUNTER, NULL, NULL},
    [M_INPUT_ROUNDS] = {"mcp_input_rounds_total",
                        "Rounds of questions put to clients on behalf of servers of the other era.",
                        METRIC_COUNTER, NULL, NULL},
    [M_OPEN_STREAMS] = {"mcp_open_streams", "Event streams open to clients.", METRIC_GAUGE, NULL,
                        NULL},
    [M_SESSIONS] = {"mcp_sessions_active", "Legacy sessions of clients.", METRIC_GAUGE, NULL, NULL},
    [M_SESSIONS_EVICTED] = {"mcp_sessions_evicted_total",
                            "Sessions that went to make room for others.", METRIC_COUNTER, NULL,
                            NULL},
    [M_SESSIONS_REVIVED] = {"mcp_sessions_revived_total",
                            "Sessions brought back from what their ids say.", METRIC_COUNTER, NULL,
                            NULL},
    [M_LINK_SENT] = {"mcp_link_sent_total",
                     "Requests handed to other replicas, by what became of them.", METRIC_COUNTER,
                     "result", NULL},
    [M_LINK_RECEIVED] = {"mcp_link_received_total",
                         "Requests from other replicas, by what was found of them.", METRIC_COUNTER,
                         "result", NULL},
    [M_CONNECTIONS] = {"mcp_gateway_connections", "Client connections open.", METRIC_GAUGE, NULL,
                       NULL},
    [M_GUARD_REJECT] = {"mcp_gateway_guard_reject_total",
                        "Requests refused before any handler saw them.", METRIC_COUNTER, "reason",
                        NULL},
    [M_UPSTREAM_UP] = {"mcp_upstream_up", "1 while the upstream answers.", METRIC_GAUGE, "upstream",
                       NULL},
    [M_UPSTREAM_CALLS] = {"mcp_upstream_calls_total", "Requests sent upstream.", METRIC_COUNTER,
                          "upstream", NULL},
    [M_UPSTREAM_ERRORS] = {"mcp_upstream_errors_total",
                           "Requests that the upstream did not answer properly.", METRIC_COUNTER,
                           "upstream", NULL},
    [M_UPSTREAM_SECONDS] = {"mcp_upstream_duration_seconds", "Time an upstream took to answer.",
                            METRIC_HISTOGRAM, "upstream", NULL},
    [M_UPSTREAM_SESSIONS] = {"mcp_gateway_upstream_sessions", "Legacy sessions open on upstreams.",
                             METRIC_GAUGE, NULL, NULL},
    [M_CHILDREN] = {"mcp_gateway_children", "Stdio servers running.", METRIC_GAUGE, NULL, NULL},
    [M_LOOP_LAG_P999] = {"mcp_gateway_loop_lag_p999_microseconds",
                         "99.9th percentile of loop lateness.", METRIC_GAUGE, "loop", NULL},
    [M_LOOP_LAG_MAX] = {"mcp_gateway_loop_lag_max_microseconds",
                        "Worst loop lateness since the last scrape.", METRIC_GAUGE, "loop", NULL},
    [M_RSS] = {"mcp_gateway_rss_bytes", "Resident memory.", METRIC_GAUGE, NULL, NULL},
    [M_CHARGED] = {"mcp_gateway_charged_bytes", "Memory that the gateway accounts for.",
                   METRIC_GAUGE, NULL, NULL},
    [M_LOG_DROPPED] = {"mcp_gateway_log_dropped_total",
                       "Log lines dropped because stderr was full.", METRIC_COUNTER, NULL, NULL},
    [M_SNAPSHOT] = {"mcp_gateway_snapshot_version", "Version of the catalog in use.", METRIC_GAUGE,
                    NULL, NULL},
    [M_RELOADS] = {"mcp_gateway_reload_total", "Configuration reloads.", METRIC_COUNTER, "result",
                   NULL},
    [M_RELOAD_FAILURES] = {"mcp_config_reload_failures_total",
                           "Reloads that kept the old configuration.", METRIC_COUNTER, NULL, NULL},
    [M_DRAINING] = {"mcp_draining", "1 while the gateway drains.", METRIC_GAUGE, NULL, NULL},
    [M_CATALOG_ENTRIES] = {"mcp_catalog_entries", "Entries of the merged lists.", METRIC_GAUGE,
                           "kind", NULL},
    [M_RATE_LIMITED] = {"mcp_rate_limited_total",
                        "Calls refused by a rate limit: default, tool, tenant, or a rule's name.",
                        METRIC_COUNTER, "limit", NULL},
    [M_QUOTA_REFUSED] = {"mcp_quota_refused_total",
                         "Sessions and calls refused because their tenant has its fill: "
                         "sessions, parked, concurrent.",
                         METRIC_COUNTER, "quota", NULL},
    [M_RATE_LIMIT_DEGRADED] = {"mcp_rate_limit_degraded",
                               "Loops that decide on limits alone, because the store is away.",
                               METRIC_GAUGE, NULL, NULL},
    [M_CACHE_HITS] = {"mcp_cache_hits_total",
                      "Calls answered from the cache: the loop's own (local), the store, or the "
                      "call that was under way (flight).",
                      METRIC_COUNTER, "source", NULL},
    [M_CACHE_MISSES] = {"mcp_cache_misses_total",
                        "Calls that the cache could have answered, and sent upstream.",
                        METRIC_COUNTER, NULL, NULL},
    [M_CACHE_WAITS] = {"mcp_cache_waits_total",
                       "Calls that waited for an equal one that was under way.", METRIC_COUNTER,
                       NULL, NULL},
    [M_CACHE_ENTRIES] = {"mcp_cache_entries", "Results kept in memory.", METRIC_GAUGE, NULL, NULL},
    [M_CACHE_BYTES] = {"mcp_cache_bytes", "Memory of the results kept.", METRIC_GAUGE, NULL, NULL},
    [M_AUTH] = {"mcp_gateway_auth_total", "Requests by what authentication said.", METRIC_COUNTER,
                "result", NULL},
    [M_LOCAL_WORKERS] = {"mcp_local_workers", "Python workers ready.", METRIC_GAUGE, NULL, NULL},
    [M_LOCAL_QUEUED] = {"mcp_local_queued", "Calls that wait for a Python worker.", METRIC_GAUGE,
                        NULL, NULL},
    [M_LOCAL_CRASHES] = {"mcp_local_worker_crashes_total", "Python workers that ended unasked.",
                         METRIC_COUNTER, NULL, NULL},
    [M_LOCAL_TIMEOUTS] = {"mcp_local_timeouts_total", "Calls of Python tools that ran out of time.",
                          METRIC_COUNTER, NULL, NULL},
    [M_LOCAL_START] = {"mcp_local_worker_start_seconds", "From a worker's order to its readiness.",
                       METRIC_HISTOGRAM, NULL, NULL},
    [M_LOCAL_LOADS] = {"mcp_local_loads_total", "Loads of the local files.", METRIC_COUNTER,
                       "result", NULL},
    [M_SANDBOX_LEVEL] = {"mcp_sandbox_level",
                         "What confines Python workers: 0 off, 1 limits, 2 partly, 3 full.",
                         METRIC_GAUGE, "profile", NULL},
};

static struct metric *single[M_ROWS];
static struct metric *status_series[600];

void metrics_rows_init(void)
{
    metrics_register(metric_rows, M_ROWS);
    metrics_register(store_metric_rows, store_metric_row_count);
    for (int i = 0; i < M_ROWS; i++)
        if (!metric_rows[i].label)
            single[i] = metric_series(&metric_rows[i], NULL, NULL);
    static const int used[] = {200, 202, 204, 400, 401, 403, 404, 405, 406, 408, 409, 411, 413,
                               414, 415, 417, 421, 429, 431, 500, 501, 502, 503, 504, 505};
    for (size_t i = 0; i < sizeof used / sizeof *used; i++) {
        char code[8];
        (void)snprintf(code, sizeof code, "%d", used[i]);
        status_series[used[i]] = metric_series(&metric_rows[M_REQUESTS], code, NULL);
    }
}

struct metric *metric_of(enum metric_row row)
{
    return single[row];
}

void metric_count_status(int status)
{
    if (status > 0 && status < 600 && status_series[status])
        metric_add(status_series[status], 1);
}
