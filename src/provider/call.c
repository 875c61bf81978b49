// SPDX-License-Identifier: MIT
#include "provider/call.h"

#include <assert.h>

#include "base/limits.h"
#include "base/mem.h"
#include "crypto/rng.h"

_Static_assert((int)METRICS_PROVIDER_OUTCOME_COUNT == (int)PROVIDER_CALL_OUTCOMES,
               "a counter for each outcome");
_Static_assert(METRIC_PROVIDER_DETAILS_NOT_SENT - METRIC_PROVIDER_TOKEN_2XX + 1 ==
                   (int)PROVIDER_CALL_ENDPOINTS * (int)PROVIDER_CALL_OUTCOMES,
               "a counter for each endpoint and outcome, side by side");

/* The pause before a retry. On its own on the heap: a timer's memory must outlive its closing, and
 * a call's is gone when `done` has been told. */
struct provider_call_pause {
    struct loop_timer timer;
    struct provider_call *call; /* NULL: over */
};

static const char *endpoint_name(enum provider_call_endpoint endpoint) {
#define ENDPOINT_NAME(id, name) [PROVIDER_CALL_##id] = name,
    static const char *const names[] = {METRICS_PROVIDER_ENDPOINTS(ENDPOINT_NAME)};
#undef ENDPOINT_NAME
    return names[endpoint];
}

static const char *outcome_name(enum provider_call_outcome outcome) {
#define OUTCOME_NAME(X, E, e, id, name) [PROVIDER_CALL_##id] = name,
    static const char *const names[] = {METRICS_PROVIDER_OUTCOMES(OUTCOME_NAME, , , )};
#undef OUTCOME_NAME
    return names[outcome];
}

static bool is_of_api(const struct provider_call *call) {
    return call->request.endpoint >= PROVIDER_CALL_LIBRARY;
}

/* --- counting --------------------------------------------------------------------------------- */

static void count(const struct provider_call *call) {
    int first = METRIC_PROVIDER_TOKEN_2XX + (int)call->request.endpoint * PROVIDER_CALL_OUTCOMES;
    metrics_add(call->provider->metrics, (enum metric)(first + (int)call->outcome), 1);
}

static void count_breaker(struct metrics *metrics, enum provider_peer peer,
                          enum breaker_state state, int64_t n) {
    static const enum metric gauges[PROVIDER_PEERS][3] = {
        [PROVIDER_AUTH] = {[BREAKER_OPEN] = METRIC_BREAKER_AUTH_OPEN,
                           [BREAKER_HALF_OPEN] = METRIC_BREAKER_AUTH_HALF_OPEN},
        [PROVIDER_API] = {[BREAKER_OPEN] = METRIC_BREAKER_API_OPEN,
                          [BREAKER_HALF_OPEN] = METRIC_BREAKER_API_HALF_OPEN},
    };
    if (state != BREAKER_CLOSED) {
        metrics_add(metrics, gauges[peer][state], n);
    }
}

static void count_change(const struct provider_call *call, enum breaker_state before) {
    enum provider_peer peer = is_of_api(call) ? PROVIDER_API : PROVIDER_AUTH;
    struct metrics *metrics = call->provider->metrics;
    enum breaker_state after = call->provider->breakers[peer].state;
    if (after == before) {
        return;
    }
    count_breaker(metrics, peer, before, -1);
    count_breaker(metrics, peer, after, 1);
    if (before == BREAKER_CLOSED) {
        metrics_add(metrics, METRIC_BREAKER_OPENED, 1);
    }
}

void provider_call_failed(const struct provider_call *call, const char *error_code) {
    const char *cause = error_code;
    if (cause == NULL) {
        cause = call->outcome > PROVIDER_CALL_5XX ? outcome_name(call->outcome) : "http_status";
    }
    metrics_add(call->provider->metrics, METRIC_PROVIDER_FAILURES, 1);
    LOG(call->provider->log, LOG_ERROR, "provider_failed", call->request.request_id,
        log_text("user_id", call->request.user_id),
        log_text("endpoint", slice_str(endpoint_name(call->request.endpoint))),
        log_text("error_code", slice_str(cause)), log_int("status", call->status),
        log_int("duration_ms", loop_timer_now_ms(call->provider->loop) - call->started_ms));
}

/* --- what a try came to ----------------------------------------------------------------------- */

static enum provider_call_outcome outcome_of_status(int status) {
    return status >= 500   ? PROVIDER_CALL_5XX
           : status == 429 ? PROVIDER_CALL_429
           : status >= 400 ? PROVIDER_CALL_4XX
           : status >= 300 ? PROVIDER_CALL_3XX
                           : PROVIDER_CALL_2XX;
}

static enum provider_call_outcome outcome_of(const struct upstream_op *upstream) {
    switch (upstream->rc) {
    case RC_OK:
        return outcome_of_status(upstream->status);
    case RC_TIMEOUT:
        return PROVIDER_CALL_TIMEOUT;
    case RC_TOO_LARGE:
        return PROVIDER_CALL_TOO_LARGE;
    case RC_CANCELED:
        return PROVIDER_CALL_CANCELED;
    case RC_FULL:
        return PROVIDER_CALL_QUEUE_FULL;
    case RC_MALFORMED:
        return PROVIDER_CALL_NOT_SENT;
    default:
        return PROVIDER_CALL_UNREACHABLE;
    }
}

/* Does the peer work? One that refuses us, by 429 too, does: it answers, quickly, what it means to,
 * and to take its "slow down" to one user for a failure would shut out all others. */
static enum breaker_result breaker_result_of(const struct provider_call *call) {
    switch (call->outcome) {
    case PROVIDER_CALL_2XX:
    case PROVIDER_CALL_3XX:
    case PROVIDER_CALL_4XX:
    case PROVIDER_CALL_429:
    case PROVIDER_CALL_TOO_LARGE:
        return BREAKER_SUCCESS;
    case PROVIDER_CALL_5XX:
    case PROVIDER_CALL_UNREACHABLE:
        return BREAKER_FAILURE;
    case PROVIDER_CALL_TIMEOUT:
        /* What is left of a deadline can be too little for anyone. */
        return call->left_ms < LIMIT_BREAKER_PATIENCE_MS ? BREAKER_NEUTRAL : BREAKER_FAILURE;
    default:
        return BREAKER_NEUTRAL;
    }
}

static uint32_t random_number(void) {
    uint32_t random = 0;
    /* Only spreads pauses: without randomness they are as long as they can be. */
    return rng_system(&random, sizeof random) == RC_OK ? random : 0;
}

static void report(struct provider_call *call) {
    struct breaker *breaker =
        &call->provider->breakers[is_of_api(call) ? PROVIDER_API : PROVIDER_AUTH];
    enum breaker_state before = breaker->state;
    enum breaker_result result = breaker_result_of(call);
    breaker_report(breaker, call->breaker_turn, result, loop_now_ms(call->provider->loop),
                   result == BREAKER_FAILURE ? random_number() : 0);
    count_change(call, before);
}

/* A time-out of a call that was sent is not tried again: the provider is slow, asking twice makes
 * it slower, and the client has waited long. */
static bool may_pass(const struct provider_call *call) {
    return call->outcome == PROVIDER_CALL_5XX || call->outcome == PROVIDER_CALL_429 ||
           call->outcome == PROVIDER_CALL_UNREACHABLE ||
           (call->outcome == PROVIDER_CALL_TIMEOUT && !call->upstream.sent);
}

/* -1: not again. */
static int64_t pause_before_retry(const struct provider_call *call) {
    if (!is_of_api(call) || call->is_canceled || !may_pass(call)) {
        return -1;
    }
    const struct retry_case now = {
        .retries = call->retries,
        .retry_after_s = call->upstream.rc == RC_OK ? call->upstream.retry_after_s : -1,
        .left_ms = call->request.deadline_ms - loop_now_ms(call->provider->loop),
        .left_min_ms = LIMIT_CALL_LEFT_MIN_MS,
        .random = random_number(),
    };
    return retry_pause_ms(&call->provider->retry, &now);
}

/* --- a call's way ----------------------------------------------------------------------------- */

static void on_tried(struct upstream_op *upstream);

static enum rc rc_of(enum provider_call_outcome outcome) {
    return outcome <= PROVIDER_CALL_5XX          ? RC_OK
           : outcome == PROVIDER_CALL_CANCELED   ? RC_CANCELED
           : outcome == PROVIDER_CALL_QUEUE_FULL ? RC_OVERLOADED
                                                 : RC_PROVIDER_UNAVAILABLE;
}

static void finish(struct provider_call *call) {
    call->rc = rc_of(call->outcome);
    call->done(call);
}

static void run_finish(struct loop_task *task) {
    finish(LIST_ENTRY(task, struct provider_call, task));
}

/* False: it ends here, with `outcome`. */
static bool try_once(struct provider_call *call) {
    struct provider *provider = call->provider;
    struct breaker *breaker = &provider->breakers[is_of_api(call) ? PROVIDER_API : PROVIDER_AUTH];
    enum breaker_state before = breaker->state;
    const struct provider_call_request *request = &call->request;
    int64_t now_ms = loop_now_ms(provider->loop);
    call->left_ms = request->deadline_ms - now_ms;
    if (call->left_ms < LIMIT_CALL_LEFT_MIN_MS || slice_is_null(request->url)) {
        call->outcome = PROVIDER_CALL_NOT_SENT;
    } else if (!breaker_admit(breaker, now_ms, &call->breaker_turn)) {
        call->outcome = PROVIDER_CALL_BREAKER_OPEN;
    } else {
        count_change(call, before);
        const struct upstream_request sent = {
            .method = is_of_api(call) ? "GET" : "POST",
            .url = request->url,
            .headers = request->headers,
            .header_count = request->header_count,
            .body = request->body,
            .timeout_ms = call->left_ms,
            .answer_max = request->answer_max,
        };
        call->tried_ns = loop_turn_ns(provider->loop);
        upstream_start(provider->upstream, &call->upstream, &sent, on_tried);
        return true;
    }
    count(call);
    return false;
}

static void on_pause_closed(struct loop_timer *timer) {
    mem_free(LIST_ENTRY(timer, struct provider_call_pause, timer));
}

static void end_pause(struct provider_call *call) {
    loop_timer_close(&call->pause->timer, on_pause_closed);
    call->pause = NULL;
}

static void on_pause_over(struct loop_timer *timer) {
    struct provider_call *call = LIST_ENTRY(timer, struct provider_call_pause, timer)->call;
    end_pause(call);
    metrics_add(call->provider->metrics, METRIC_PROVIDER_RETRIES, 1);
    if (!try_once(call)) {
        finish(call);
    }
}

static void start_pause(struct provider_call *call, int64_t pause_ms) {
    struct provider_call_pause *pause = mem_calloc(1, sizeof *pause);
    pause->call = call;
    call->pause = pause;
    call->retries++;
    loop_timer_init(call->provider->loop, &pause->timer);
    loop_timer_start(&pause->timer, pause_ms, 0, on_pause_over);
}

static void on_tried(struct upstream_op *upstream) {
    struct provider_call *call = LIST_ENTRY(upstream, struct provider_call, upstream);
    call->outcome = outcome_of(upstream);
    call->status = upstream->status;
    call->was_sent |= upstream->sent;
    metrics_observe(call->provider->metrics,
                    (enum metrics_histogram)(METRICS_PROVIDER_TOKEN + (int)call->request.endpoint),
                    clock_ns() - call->tried_ns);
    count(call);
    report(call);
    int64_t pause_ms = pause_before_retry(call);
    if (pause_ms >= 0) {
        start_pause(call, pause_ms);
        return;
    }
    call->body = buf_slice(&upstream->body);
    finish(call);
}

void provider_call_start(struct provider *provider, struct provider_call *call,
                         const struct provider_call_request *request,
                         void (*done)(struct provider_call *call)) {
    assert(provider->loop != NULL);
    *call = (struct provider_call){
        .done = done,
        .provider = provider,
        .request = *request,
        .started_ms = loop_timer_now_ms(provider->loop),
    };
    if (!try_once(call)) {
        loop_later(provider->loop, &call->task, run_finish);
    }
}

void provider_call_cancel(struct provider_call *call) {
    call->is_canceled = true;
    if (call->pause != NULL) {
        end_pause(call);
        call->outcome = PROVIDER_CALL_CANCELED;
        loop_later(call->provider->loop, &call->task, run_finish);
    } else if (!list_is_linked(&call->task.node)) {
        upstream_cancel(call->provider->upstream, &call->upstream);
    }
}

bool provider_call_was_sent(const struct provider_call *call) {
    return call->was_sent || call->upstream.sent;
}

struct buf provider_call_take_body(struct provider_call *call) {
    if (slice_is_null(call->body)) {
        return (struct buf){0};
    }
    call->body = SLICE_NULL;
    return upstream_take_body(&call->upstream);
}
