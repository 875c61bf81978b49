// SPDX-License-Identifier: MIT
#pragma once

#include <stdatomic.h>
#include <stdint.h>

/* Towards the provider, by endpoint and by what came of the call; a call that is made again counts
 * again. One counter each, outcomes side by side: METRIC_PROVIDER_TOKEN_2XX + endpoint *
 * METRICS_PROVIDER_OUTCOME_COUNT + outcome is the one of any (provider/call.h names both). Labels
 * stand in the name: what is before the "{" is the metric's family. */
#define METRICS_PROVIDER_ENDPOINTS(X)                                                              \
    X(TOKEN, "token")                                                                              \
    X(REFRESH, "refresh")                                                                          \
    X(REVOKE, "revoke")                                                                            \
    X(LIBRARY, "library")                                                                          \
    X(SEARCH, "search")                                                                            \
    X(DETAILS, "details")

/* `Y(X, E, e, id, text)` for each; the first three arguments are passed on. */
#define METRICS_PROVIDER_OUTCOMES(Y, X, E, e)                                                      \
    Y(X, E, e, 2XX, "2xx")                                                                         \
    Y(X, E, e, 3XX, "3xx")                                                                         \
    Y(X, E, e, 4XX, "4xx")                                                                         \
    Y(X, E, e, 429, "429")                                                                         \
    Y(X, E, e, 5XX, "5xx")                                                                         \
    Y(X, E, e, TIMEOUT, "timeout")                                                                 \
    Y(X, E, e, UNREACHABLE, "unreachable")                                                         \
    Y(X, E, e, TOO_LARGE, "too_large")                                                             \
    Y(X, E, e, CANCELED, "canceled")                                                               \
    Y(X, E, e, BREAKER_OPEN, "breaker_open") /* this one and those below: nothing was sent */      \
    Y(X, E, e, QUEUE_FULL, "queue_full")                                                           \
    Y(X, E, e, NOT_SENT, "not_sent")
enum { METRICS_PROVIDER_OUTCOME_COUNT = 12 };

#define METRICS_PROVIDER_CALL(X, E, e, id, text)                                                   \
    X(PROVIDER_##E##_##id,                                                                         \
      "latchkey_provider_calls_total{endpoint=\"" e "\",status=\"" text "\"}", "counter",          \
      "calls to the provider; 4xx without 429")
#define METRICS_PROVIDER_CALLS(X, E, e) METRICS_PROVIDER_OUTCOMES(METRICS_PROVIDER_CALL, X, E, e)

/* Counters and gauges as one flat array, so that it can lie in memory that several processes share.
 * One line here is all that a new metric needs. Any thread. Units stand in the names. */
#define METRICS_MAP(X)                                                                             \
    X(CONNECTIONS, "latchkey_connections", "gauge", "open client connections")                     \
    X(CONNECTIONS_REFUSED, "latchkey_connections_refused_total", "counter",                        \
      "connections closed at once because the cap was reached")                                    \
    X(REQUESTS, "latchkey_requests_total", "counter", "requests answered")                         \
    X(STATES, "latchkey_states", "gauge", "pending states")                                        \
    X(STATES_CREATED, "latchkey_states_created_total", "counter", "states stored")                 \
    X(STATES_TAKEN, "latchkey_states_taken_total", "counter", "states taken by their flow")        \
    X(STATES_EXPIRED, "latchkey_states_expired_total", "counter", "states never taken")            \
    X(STATES_DROPPED, "latchkey_states_dropped_total", "counter",                                  \
      "oldest states dropped for a user's newer one")                                              \
    X(STATES_REPLAYED, "latchkey_states_replayed_total", "counter", "tries with a used state")     \
    X(STATES_MISMATCHED, "latchkey_states_mismatched_total", "counter",                            \
      "tries with another user's state or cookie")                                                 \
    X(STATES_UNKNOWN, "latchkey_states_unknown_total", "counter", "tries with an unknown state")   \
    X(LINKS, "latchkey_links_total", "counter", "accounts linked")                                 \
    X(UNLINKS, "latchkey_unlinks_total", "counter", "accounts disconnected")                       \
    X(SEAL_FAILURES, "latchkey_seal_failures_total", "counter", "tokens that could not be sealed") \
    X(OPEN_FAILURES, "latchkey_open_failures_total", "counter", "sealed tokens no key opened")     \
    X(TOKENS_STORED_PLAIN, "latchkey_tokens_stored_plain_total", "counter",                        \
      "tokens stored without encryption")                                                          \
    X(TOKENS_READ_PLAIN, "latchkey_tokens_read_plain_total", "counter",                            \
      "stored tokens that were legacy plaintext")                                                  \
    X(STORE_FAILURES, "latchkey_store_failures_total", "counter", "store operations that failed")  \
    METRICS_PROVIDER_CALLS(X, TOKEN, "token")                                                      \
    METRICS_PROVIDER_CALLS(X, REFRESH, "refresh")                                                  \
    METRICS_PROVIDER_CALLS(X, REVOKE, "revoke")                                                    \
    METRICS_PROVIDER_CALLS(X, LIBRARY, "library")                                                  \
    METRICS_PROVIDER_CALLS(X, SEARCH, "search")                                                    \
    METRICS_PROVIDER_CALLS(X, DETAILS, "details")                                                  \
    X(PROVIDER_FAILURES, "latchkey_provider_failures_total", "counter",                            \
      "what was wanted of the provider and did not come, retries included")                        \
    X(PROVIDER_RETRIES, "latchkey_provider_retries_total", "counter",                              \
      "calls that were made again")                                                                \
    X(BREAKER_AUTH_OPEN, "latchkey_breaker_processes{peer=\"auth\",state=\"open\"}", "gauge",      \
      "processes whose circuit breaker keeps them from calling the provider")                      \
    X(BREAKER_AUTH_HALF_OPEN, "latchkey_breaker_processes{peer=\"auth\",state=\"half_open\"}",     \
      "gauge", "processes whose circuit breaker keeps them from calling the provider")             \
    X(BREAKER_API_OPEN, "latchkey_breaker_processes{peer=\"api\",state=\"open\"}", "gauge",        \
      "processes whose circuit breaker keeps them from calling the provider")                      \
    X(BREAKER_API_HALF_OPEN, "latchkey_breaker_processes{peer=\"api\",state=\"half_open\"}",       \
      "gauge", "processes whose circuit breaker keeps them from calling the provider")             \
    X(BREAKER_OPENED, "latchkey_breaker_opened_total", "counter", "times that a breaker opened")   \
    X(DEFAULTS_TAKEN, "latchkey_defaults_taken_total", "counter",                                  \
      "provider values missing or unusable, replaced by a default")                                \
    X(LOG_LINES_DROPPED, "latchkey_log_lines_dropped_total", "counter",                            \
      "log lines that did not fit the buffer")

#define METRICS_ENUM(id, name, kind, help) METRIC_##id,
enum metric { METRICS_MAP(METRICS_ENUM) METRIC_COUNT };
#undef METRICS_ENUM

struct metrics {
    _Atomic int64_t values[METRIC_COUNT];
};

static inline void metrics_add(struct metrics *metrics, enum metric metric, int64_t n) {
    atomic_fetch_add_explicit(&metrics->values[metric], n, memory_order_relaxed);
}

static inline int64_t metrics_get(const struct metrics *metrics, enum metric metric) {
    return atomic_load_explicit(&metrics->values[metric], memory_order_relaxed);
}
