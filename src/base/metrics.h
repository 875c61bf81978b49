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

/* What came of the refreshes of access tokens that were asked for. */
#define METRICS_REFRESH(X, id, text)                                                               \
    X(REFRESH_##id, "latchkey_refreshes_total{outcome=\"" text "\"}", "counter",                   \
      "access tokens refreshed, or not; shared: by another request's refresh")
#define METRICS_REFRESHES(X)                                                                       \
    METRICS_REFRESH(X, OK, "ok")                                                                   \
    METRICS_REFRESH(X, GRANT_REFUSED, "grant_refused")                                             \
    METRICS_REFRESH(X, UNAVAILABLE, "unavailable")                                                 \
    METRICS_REFRESH(X, OPERATOR, "operator")                                                       \
    METRICS_REFRESH(X, SHARED, "shared")                                                           \
    METRICS_REFRESH(X, STORAGE, "storage")                                                         \
    METRICS_REFRESH(X, OVERTAKEN, "overtaken")                                                     \
    METRICS_REFRESH(X, PAUSED, "paused")

/* Which key of AUDIBLE_TOKEN_ENCRYPTION_KEY a stored token was opened with: METRIC_TOKENS_OPENED_1
 * + its position, at most METRICS_KEY_POSITIONS - 1. What was in plaintext counts as
 * TOKENS_READ_PLAIN. */
#define METRICS_OPENED(X, id, text)                                                                \
    X(TOKENS_OPENED_##id, "latchkey_tokens_opened_total{key=\"" text "\"}", "counter",             \
      "stored tokens opened, by the position of their key in the list")
#define METRICS_TOKENS_OPENED(X)                                                                   \
    METRICS_OPENED(X, 1, "1")                                                                      \
    METRICS_OPENED(X, 2, "2")                                                                      \
    METRICS_OPENED(X, 3, "3")                                                                      \
    METRICS_OPENED(X, LATER, "later")
enum { METRICS_KEY_POSITIONS = 4 };

/* Questions to the platform's records about a user (LATCHKEY_USERS); those whose answer is known
 * already are not counted. */
#define METRICS_USER_LOOKUP(X, id, text)                                                           \
    X(USER_LOOKUPS_##id, "latchkey_user_lookups_total{outcome=\"" text "\"}", "counter",           \
      "users looked up in the platform's records")
#define METRICS_USER_LOOKUPS(X)                                                                    \
    METRICS_USER_LOOKUP(X, FOUND, "found")                                                         \
    METRICS_USER_LOOKUP(X, ABSENT, "absent")                                                       \
    METRICS_USER_LOOKUP(X, FAILED, "failed")

/* Requests that a rate limit refused, by its bucket. */
#define METRICS_RATE_REFUSAL(X, id, text)                                                          \
    X(RATE_REFUSED_##id, "latchkey_rate_limit_refused_total{bucket=\"" text "\"}", "counter",      \
      "requests that a rate limit refused")
#define METRICS_RATE_REFUSALS(X)                                                                   \
    METRICS_RATE_REFUSAL(X, AUTHORIZE, "authorize")                                                \
    METRICS_RATE_REFUSAL(X, CALLBACK, "callback")                                                  \
    METRICS_RATE_REFUSAL(X, CALLBACK_ADDRESS, "callback_address")                                  \
    METRICS_RATE_REFUSAL(X, SEARCH, "search")                                                      \
    METRICS_RATE_REFUSAL(X, OTHER, "other")

/* Tokens under a published key, by what came of them; those that are remembered are not counted. */
#define METRICS_SIGNATURE(X, id, text)                                                             \
    X(SIGNATURES_##id, "latchkey_signatures_total{outcome=\"" text "\"}", "counter",               \
      "signatures of published keys checked, or not")
#define METRICS_SIGNATURES(X)                                                                      \
    METRICS_SIGNATURE(X, GOOD, "good")                                                             \
    METRICS_SIGNATURE(X, BAD, "bad")                                                               \
    METRICS_SIGNATURE(X, LIMITED, "limited")                                                       \
    METRICS_SIGNATURE(X, OVERLOADED, "overloaded")

/* Tries to be the one process that refreshes a user's token, by what came of them. lost: it was to
 * be renewed and had become someone else's. */
#define METRICS_LEASE(X, id, text)                                                                 \
    X(LEASES_##id, "latchkey_leases_total{outcome=\"" text "\"}", "counter",                       \
      "leases asked for, and those that were lost")
#define METRICS_LEASES(X)                                                                          \
    METRICS_LEASE(X, ACQUIRED, "acquired")                                                         \
    METRICS_LEASE(X, HELD, "held")                                                                 \
    METRICS_LEASE(X, RESTING, "resting")                                                           \
    METRICS_LEASE(X, LOST, "lost")

/* The lanes of io/work: how many operations are in each, and how long they waited for a thread. */
#define METRICS_LANES(Y, X)                                                                        \
    Y(X, FAST, "fast")                                                                             \
    Y(X, STORE_WRITE, "store_write")                                                               \
    Y(X, STORE_READ, "store_read")                                                                 \
    Y(X, SIGNATURE, "signature")                                                                   \
    Y(X, MONGO, "mongodb")
#define METRICS_LANE_DEPTH(X, id, text)                                                            \
    X(LANE_DEPTH_##id, "latchkey_lane_operations{lane=\"" text "\"}", "gauge",                     \
      "operations handed to another thread and not done")

/* What became of TLS handshakes. refused: closed at once, as too many were under way; failed: the
 * client left, or no version or suite was common. */
#define METRICS_TLS_OUTCOME(X, id, text)                                                           \
    X(TLS_##id, "latchkey_tls_handshakes_total{outcome=\"" text "\"}", "counter",                  \
      "TLS handshakes that are over")
#define METRICS_TLS_OUTCOMES(X)                                                                    \
    METRICS_TLS_OUTCOME(X, OK, "ok")                                                               \
    METRICS_TLS_OUTCOME(X, FAILED, "failed")                                                       \
    METRICS_TLS_OUTCOME(X, TIMEOUT, "timeout")                                                     \
    METRICS_TLS_OUTCOME(X, REFUSED, "refused")

/* Commands to Redis, by what came of them. refused: an error answer, or too large. */
#define METRICS_REDIS_OUTCOME(X, id, text)                                                         \
    X(REDIS_COMMANDS_##id, "latchkey_redis_commands_total{outcome=\"" text "\"}", "counter",       \
      "commands to Redis that are over")
#define METRICS_REDIS_OUTCOMES(X)                                                                  \
    METRICS_REDIS_OUTCOME(X, OK, "ok")                                                             \
    METRICS_REDIS_OUTCOME(X, REFUSED, "refused")                                                   \
    METRICS_REDIS_OUTCOME(X, TIMEOUT, "timeout")                                                   \
    METRICS_REDIS_OUTCOME(X, UNREACHABLE, "unreachable")                                           \
    METRICS_REDIS_OUTCOME(X, FULL, "full")                                                         \
    METRICS_REDIS_OUTCOME(X, CANCELED, "canceled")

/* Counters and gauges as one flat array, so that it can lie in memory that several processes share.
 * One line here is all that a new metric needs, those of one family one after the other. Any
 * thread. Units stand in the names. What is counted by route, and histograms, follows below. */
#define METRICS_MAP(X)                                                                             \
    X(CONNECTIONS, "latchkey_connections", "gauge", "open client connections")                     \
    X(CONNECTIONS_REFUSED, "latchkey_connections_refused_total", "counter",                        \
      "connections closed at once because the cap was reached")                                    \
    X(TLS_HANDSHAKES, "latchkey_tls_handshakes", "gauge", "TLS handshakes that are under way")     \
    METRICS_TLS_OUTCOMES(X)                                                                        \
    X(UNSENT_BYTES, "latchkey_unsent_bytes", "gauge",                                              \
      "answers that clients have not taken yet, beyond what the system keeps for them")            \
    X(REQUESTS, "latchkey_http_responses_total", "counter",                                        \
      "responses written, those to what is no request among them")                                 \
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
    METRICS_TOKENS_OPENED(X)                                                                       \
    METRICS_LEASES(X)                                                                              \
    X(STORE_FAILURES, "latchkey_store_failures_total", "counter", "store operations that failed")  \
    METRICS_USER_LOOKUPS(X)                                                                        \
    METRICS_REFRESHES(X)                                                                           \
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
    METRICS_SIGNATURES(X)                                                                          \
    X(JWKS_FETCHES_OK, "latchkey_jwks_fetches_total{outcome=\"ok\"}", "counter",                   \
      "fetches of LATCHKEY_JWKS_URL")                                                              \
    X(JWKS_FETCHES_FAILED, "latchkey_jwks_fetches_total{outcome=\"failed\"}", "counter",           \
      "fetches of LATCHKEY_JWKS_URL")                                                              \
    X(JWKS_KEYS, "latchkey_jwks_keys", "gauge", "published keys that tokens may be signed with")   \
    X(BREAKER_OPENED, "latchkey_breaker_opened_total", "counter", "times that a breaker opened")   \
    X(DEFAULTS_TAKEN, "latchkey_defaults_taken_total", "counter",                                  \
      "provider values missing or unusable, replaced by a default")                                \
    METRICS_RATE_REFUSALS(X)                                                                       \
    X(RATE_FALLBACKS, "latchkey_rate_limit_fallbacks_total", "counter",                            \
      "requests counted in this process alone, as Redis was down or slow")                         \
    METRICS_LANES(METRICS_LANE_DEPTH, X)                                                           \
    METRICS_REDIS_OUTCOMES(X)                                                                      \
    X(REDIS_UNANSWERED, "latchkey_redis_unanswered", "gauge", "commands without an answer yet")    \
    X(REDIS_CONNECTED, "latchkey_redis_connections", "gauge", "connections to Redis in use")       \
    X(REDIS_CONNECTS_OK, "latchkey_redis_connects_total{outcome=\"ok\"}", "counter",               \
      "attempts to connect to Redis")                                                              \
    X(REDIS_CONNECTS_FAILED, "latchkey_redis_connects_total{outcome=\"failed\"}", "counter",       \
      "attempts to connect to Redis")                                                              \
    X(LOG_LINES_DROPPED, "latchkey_log_lines_dropped_total", "counter",                            \
      "log lines that did not fit the buffer")                                                     \
    X(WORKERS, "latchkey_workers", "gauge", "processes that serve")                                \
    X(WORKER_RESTARTS, "latchkey_worker_restarts_total", "counter",                                \
      "workers that ended and were started again")                                                 \
    X(PROCESS_START, "process_start_time_seconds", "gauge", "when it started, since 1970")

/* Processes that share them are shown as one: a gauge is the sum of theirs, but for these, where
 * MAX says that each has the same thing, and MIN which began it. */
#define METRICS_NOT_ADDED(X)                                                                       \
    X(JWKS_KEYS, MAX)                                                                              \
    X(PROCESS_START, MIN)

#define METRICS_ENUM(id, name, kind, help) METRIC_##id,
enum metric { METRICS_MAP(METRICS_ENUM) METRIC_COUNT };
#undef METRICS_ENUM

/* Requests, by route and class of status. `none`: an unknown path or method, OPTIONS. */
#define METRICS_ROUTES(X)                                                                          \
    X(NONE, "none")                                                                                \
    X(AUTHORIZE, "authorize")                                                                      \
    X(CALLBACK, "callback")                                                                        \
    X(RETURN, "return")                                                                            \
    X(CONNECTED, "connected")                                                                      \
    X(DISCONNECT, "disconnect")                                                                    \
    X(SYNC, "sync")                                                                                \
    X(LIBRARY, "library")                                                                          \
    X(SEARCH, "search")                                                                            \
    X(DETAILS, "details")                                                                          \
    X(PLAY_URL, "play_url")                                                                        \
    X(HEALTHZ, "healthz")                                                                          \
    X(READYZ, "readyz")                                                                            \
    X(METRICS, "metrics")                                                                          \
    X(OPENAPI, "openapi")                                                                          \
    X(DOCS, "docs")
#define METRICS_ENUM(id, text) METRICS_ROUTE_##id,
enum metrics_route { METRICS_ROUTES(METRICS_ENUM) METRICS_ROUTE_COUNT };
#undef METRICS_ENUM
enum { METRICS_STATUS_CLASSES = 5 };

#define METRICS_ENUM(X, id, text) METRICS_LANE_##id,
enum metrics_lane { METRICS_LANE_NONE, METRICS_LANES(METRICS_ENUM, ) METRICS_LANE_LAST };
#undef METRICS_ENUM

/* Histograms, all with the same buckets: a cell for each, one for what is above the last bound, and
 * one for the sum in nanoseconds. Buckets are added up when they are shown. */
#define METRICS_BOUNDS(X)                                                                          \
    X(100000, "0.0001")                                                                            \
    X(250000, "0.00025")                                                                           \
    X(500000, "0.0005")                                                                            \
    X(1000000, "0.001")                                                                            \
    X(2500000, "0.0025")                                                                           \
    X(5000000, "0.005")                                                                            \
    X(10000000, "0.01")                                                                            \
    X(25000000, "0.025")                                                                           \
    X(50000000, "0.05")                                                                            \
    X(100000000, "0.1")                                                                            \
    X(250000000, "0.25")                                                                           \
    X(500000000, "0.5")                                                                            \
    X(1000000000, "1")                                                                             \
    X(2500000000, "2.5")                                                                           \
    X(5000000000, "5")                                                                             \
    X(10000000000, "10")                                                                           \
    X(30000000000, "30")
enum { METRICS_BOUND_COUNT = 17, METRICS_HISTOGRAM_CELLS = METRICS_BOUND_COUNT + 2 };

#define METRICS_HISTOGRAMS_REQUEST(id, text) METRICS_REQUEST_##id,
#define METRICS_HISTOGRAMS_PROVIDER(id, text) METRICS_PROVIDER_##id,
#define METRICS_HISTOGRAMS_LANE(X, id, text) METRICS_LANE_WAIT_##id,
enum metrics_histogram {
    METRICS_ROUTES(METRICS_HISTOGRAMS_REQUEST)              /* in the order of enum metrics_route */
    METRICS_PROVIDER_ENDPOINTS(METRICS_HISTOGRAMS_PROVIDER) /* one call, without its retries */
    METRICS_LANES(METRICS_HISTOGRAMS_LANE, ) METRICS_LOOP_LAG, /* the loop's turns */
    METRICS_HISTOGRAM_COUNT
};

enum {
    METRICS_REQUESTS_AT = METRIC_COUNT,
    METRICS_HISTOGRAMS_AT = METRICS_REQUESTS_AT + METRICS_ROUTE_COUNT * METRICS_STATUS_CLASSES,
    METRICS_PROCESS_AT = METRICS_HISTOGRAMS_AT + METRICS_HISTOGRAM_COUNT * METRICS_HISTOGRAM_CELLS,
    /* What the system knows of a process (base/metrics_group), looked up now and then. */
    METRICS_CPU_NS = METRICS_PROCESS_AT,
    METRICS_CPU_GONE_NS, /* of processes that had this place before */
    METRICS_RESIDENT_BYTES,
    METRICS_VIRTUAL_BYTES,
    METRICS_CELLS
};

struct metrics {
    _Atomic int64_t values[METRICS_CELLS];
};

static inline void metrics_add_to(struct metrics *metrics, int cell, int64_t n) {
    atomic_fetch_add_explicit(&metrics->values[cell], n, memory_order_relaxed);
}

static inline void metrics_add(struct metrics *metrics, enum metric metric, int64_t n) {
    metrics_add_to(metrics, (int)metric, n);
}

static inline void metrics_set(struct metrics *metrics, enum metric metric, int64_t value) {
    atomic_store_explicit(&metrics->values[metric], value, memory_order_relaxed);
}

static inline int64_t metrics_get(const struct metrics *metrics, enum metric metric) {
    return atomic_load_explicit(&metrics->values[metric], memory_order_relaxed);
}

/* `status` 100 to 599. */
static inline int metrics_request_cell(enum metrics_route route, int status) {
    return METRICS_REQUESTS_AT + (int)route * METRICS_STATUS_CLASSES + status / 100 - 1;
}

static inline void metrics_count_request(struct metrics *metrics, enum metrics_route route,
                                         int status) {
    metrics_add_to(metrics, metrics_request_cell(route, status), 1);
}

static inline void metrics_observe(struct metrics *metrics, enum metrics_histogram histogram,
                                   int64_t ns) {
#define METRICS_BOUND_NS(bound_ns, text) bound_ns,
    static const int64_t bounds_ns[] = {METRICS_BOUNDS(METRICS_BOUND_NS)};
#undef METRICS_BOUND_NS
    int first = METRICS_HISTOGRAMS_AT + (int)histogram * METRICS_HISTOGRAM_CELLS;
    int bucket = 0;
    while (bucket < METRICS_BOUND_COUNT && ns > bounds_ns[bucket]) {
        bucket++;
    }
    metrics_add_to(metrics, first + bucket, 1);
    metrics_add_to(metrics, first + METRICS_BOUND_COUNT + 1, ns);
}
