// SPDX-License-Identifier: MIT
#pragma once

#include <stdatomic.h>
#include <stdint.h>

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
    X(PROVIDER_CALLS, "latchkey_provider_calls_total", "counter", "calls to the provider")         \
    X(PROVIDER_FAILURES, "latchkey_provider_failures_total", "counter", "of those, failed")        \
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
