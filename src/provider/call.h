// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/metrics.h"
#include "base/rc.h"
#include "base/slice.h"
#include "io/loop.h"
#include "io/upstream.h"
#include "provider/provider.h"

/* The one way in which this folder talks to the provider: a call with a deadline, past a circuit
 * breaker, counted by endpoint and outcome, and made again where that can do no harm. */

#define PROVIDER_CALL_ENDPOINT(id, name) PROVIDER_CALL_##id,
enum provider_call_endpoint {
    METRICS_PROVIDER_ENDPOINTS(PROVIDER_CALL_ENDPOINT) PROVIDER_CALL_ENDPOINTS
};
#undef PROVIDER_CALL_ENDPOINT

#define PROVIDER_CALL_OUTCOME(X, E, e, id, name) PROVIDER_CALL_##id,
enum provider_call_outcome {
    METRICS_PROVIDER_OUTCOMES(PROVIDER_CALL_OUTCOME, , , ) PROVIDER_CALL_OUTCOMES
};
#undef PROVIDER_CALL_OUTCOME

/* Of the API's endpoints: GET, and borrowed until `done`. Of the others: POST, sent at most once,
 * and borrowed until provider_call_start returns, but for the two ids. */
struct provider_call_request {
    enum provider_call_endpoint endpoint;
    struct slice url; /* null: it did not fit its cap, and nothing is sent */
    const struct upstream_header *headers;
    size_t header_count;
    struct slice body;
    struct slice user_id;    /* for the log; until `done` */
    struct slice request_id; /* for the log; until `done` */
    int64_t deadline_ms;     /* loop_now_ms; retries and their pauses included */
    size_t answer_max;
};

/* The caller's until `done` is called, and not touched after that. */
struct provider_call {
    void (*done)(struct provider_call *call);
    /* The result, borrowed during `done`. */
    enum rc rc;        /* RC_OK: an answer arrived whole, whatever its status;
                          RC_PROVIDER_UNAVAILABLE; RC_OVERLOADED; RC_CANCELED */
    int status;        /* of the last answer; 0: there was none */
    struct slice body; /* to keep it: provider_call_take_body */
    bool was_sent;     /* valid at any time: the provider may have seen it */
    /* ours */
    enum provider_call_outcome outcome; /* of the last try */
    struct provider *provider;
    struct provider_call_request request;
    struct upstream_op upstream;
    struct loop_task task;
    struct provider_call_pause *pause; /* before a retry; else NULL */
    unsigned retries;
    int64_t started_ms;
    int64_t tried_ns; /* clock_ns when the last try began */
    int64_t left_ms;  /* that the last try had */
    uint64_t breaker_turn;
    bool is_canceled;
};

/* Calls must have ended, or be canceled, before their upstream is closed. */
void provider_call_start(struct provider *provider, struct provider_call *call,
                         const struct provider_call_request *request,
                         void (*done)(struct provider_call *call));

/* At any wait; `done` follows on a later turn with RC_CANCELED, or with the answer if it had come
 * already. */
void provider_call_cancel(struct provider_call *call);

/* Whether the provider may have seen the request by now. */
bool provider_call_was_sent(const struct provider_call *call);

/* During `done` only: the body becomes the caller's, to buf_fini. */
struct buf provider_call_take_body(struct provider_call *call);

/* Counts and logs (`provider_failed`) that the provider did not give what was wanted.
 * `error_code` says more than the outcome does, or is NULL. Never with text of the provider's.
 * After `done` too, while the call's memory and the two ids are there. */
void provider_call_failed(const struct provider_call *call, const char *error_code);
