// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "kit/provider_rig.h"

/* Time: retries and their pauses, deadlines, cancels at every wait, the circuit breaker. */

static const enum provider_call_endpoint gets[] = {PROVIDER_CALL_LIBRARY, PROVIDER_CALL_SEARCH,
                                                   PROVIDER_CALL_DETAILS};
enum { GETS = 3 };

/* An asin that nobody has: RC_BOOK_ABSENT is details' way to work. */
static enum rc good(enum provider_call_endpoint endpoint) {
    return endpoint == PROVIDER_CALL_DETAILS ? RC_BOOK_ABSENT : RC_OK;
}

static struct rig *linked_with(const struct rig_opts *opts) {
    struct rig *rig = rig_new(opts);
    rig_link(rig);
    rig->asin = "NOSUCHBOOK";
    return rig;
}

static struct rig *linked(void) {
    return linked_with(&rig_usual);
}

/* --- retries ---------------------------------------------------------------------------------- */

Test(provider_waits, a_get_is_made_again_at_most_twice) {
    static const struct simprovider_fault faults[] = {
        {.kind = SIMPROVIDER_STATUS, .number = 500},
        {.kind = SIMPROVIDER_STATUS, .number = 503},
        {.kind = SIMPROVIDER_NOISE},
        {.kind = SIMPROVIDER_TRUNCATE},
    };
    struct rig *rig = linked();
    for (size_t f = 0; f < sizeof faults / sizeof faults[0]; f++) {
        for (unsigned failing = 1; failing <= 4; failing++) {
            for (size_t g = 0; g < GETS; g++) {
                struct simprovider_fault fault = faults[f];
                int64_t sends = rig_sends(rig, gets[g]);
                int64_t retries = metrics_get(&rig->metrics, METRIC_PROVIDER_RETRIES);
                int64_t failures = metrics_get(&rig->metrics, METRIC_PROVIDER_FAILURES);
                int expected = failing > 2 ? 3 : (int)failing + 1;
                fault.count = failing;
                rig_fault(rig, gets[g], fault);
                enum rc rc = rig_ask(rig, gets[g])->rc;
                simprovider_faults_clear(rig->sim);
                cr_assert_eq(rc, failing > 2 ? RC_PROVIDER_UNAVAILABLE : good(gets[g]),
                             "fault %zu, %u times, %s: %s", f, failing, rig_endpoint_name(gets[g]),
                             rc_name(rc));
                cr_assert_eq(rig_sends(rig, gets[g]) - sends, expected, "fault %zu, %u times, %s",
                             f, failing, rig_endpoint_name(gets[g]));
                cr_assert_eq(metrics_get(&rig->metrics, METRIC_PROVIDER_RETRIES) - retries,
                             expected - 1);
                cr_assert_eq(metrics_get(&rig->metrics, METRIC_PROVIDER_FAILURES) - failures,
                             failing > 2);
            }
        }
    }
    rig_end(rig);
}

Test(provider_waits, retry_after_is_waited_for_where_it_fits) {
    struct rig *rig = linked();
    rig_fault(rig, PROVIDER_CALL_LIBRARY,
              (struct simprovider_fault){.kind = SIMPROVIDER_RATELIMIT, .number = 1, .count = 1});
    struct rig_call *call = rig_ask(rig, PROVIDER_CALL_LIBRARY);
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    cr_assert(call->took_ms >= 1000 && call->took_ms < 3000, "after %d ms", (int)call->took_ms);
    cr_assert_eq(rig_sends(rig, PROVIDER_CALL_LIBRARY), 2);

    rig_fault(rig, PROVIDER_CALL_LIBRARY,
              (struct simprovider_fault){.kind = SIMPROVIDER_RATELIMIT, .number = 10, .count = 1});
    call = rig_ask(rig, PROVIDER_CALL_LIBRARY);
    cr_assert_eq(call->rc, RC_PROVIDER_UNAVAILABLE, "%s", rc_name(call->rc));
    cr_assert_lt(call->took_ms, 900, "it waits for what cannot come: %d ms", (int)call->took_ms);
    cr_assert_eq(rig_sends(rig, PROVIDER_CALL_LIBRARY), 3);
    cr_assert_eq(rig_metric(rig, PROVIDER_CALL_LIBRARY, PROVIDER_CALL_429), 2);
    cr_assert_eq(rig_metric(rig, PROVIDER_CALL_LIBRARY, PROVIDER_CALL_4XX), 0);
    rig_end(rig);
}

Test(provider_waits, without_opts_nothing_is_made_again) {
    struct rig *rig = linked();
    rig->provider.retry = (struct retry_opts){0};
    rig_fault(rig, PROVIDER_CALL_SEARCH, (struct simprovider_fault){.kind = SIMPROVIDER_STATUS});
    cr_assert_eq(rig_ask(rig, PROVIDER_CALL_SEARCH)->rc, RC_PROVIDER_UNAVAILABLE);
    cr_assert_eq(rig_sends(rig, PROVIDER_CALL_SEARCH), 1);
    rig_end(rig);
}

/* --- deadlines -------------------------------------------------------------------------------- */

Test(provider_waits, nothing_is_sent_when_no_time_is_left) {
    static const int64_t left_ms[] = {-100000, -1, 0, LIMIT_CALL_LEFT_MIN_MS - 1};
    struct rig *rig = linked();
    for (size_t i = 0; i < sizeof left_ms / sizeof left_ms[0]; i++) {
        for (enum provider_call_endpoint e = PROVIDER_CALL_TOKEN; e < PROVIDER_CALL_ENDPOINTS;
             e++) {
            int64_t sends = rig_sends(rig, e);
            rig->patience_ms = left_ms[i];
            struct rig_call *call = rig_ask(rig, e);
            cr_assert_eq(call->rc, RC_PROVIDER_UNAVAILABLE, "%s with %d ms: %s",
                         rig_endpoint_name(e), (int)left_ms[i], rc_name(call->rc));
            cr_assert_not(call->was_sent, "%s", rig_endpoint_name(e));
            cr_assert_eq(rig_sends(rig, e), sends, "%s with %d ms was sent", rig_endpoint_name(e),
                         (int)left_ms[i]);
        }
    }
    rig->patience_ms = 10000;
    rig_consent(rig);
    rig->patience_ms = 0;
    rig_ask(rig, PROVIDER_CALL_TOKEN);
    rig->patience_ms = 10000;
    cr_assert_eq(rig_ask(rig, PROVIDER_CALL_TOKEN)->rc, RC_OK, "the code is not spent");
    rig_end(rig);
}

/* All tries and pauses together. The provider answers each after 150 ms. */
Test(provider_waits, retries_stay_within_the_deadline) {
    struct rig *rig = linked();
    rig->provider.retry = (struct retry_opts){2, 150, 150};
    for (size_t g = 0; g < GETS; g++) {
        rig->patience_ms = 400;
        rig_fault(rig, gets[g], (struct simprovider_fault){.kind = SIMPROVIDER_NOISE, .count = 1});
        rig_fault(rig, gets[g], (struct simprovider_fault){.kind = SIMPROVIDER_HOLD});
        struct rig_call *call = rig_ask(rig, gets[g]);
        cr_assert_eq(call->rc, RC_PROVIDER_UNAVAILABLE, "%s", rc_name(call->rc));
        cr_assert(call->took_ms >= 380 && call->took_ms < 1200, "%s: %d ms",
                  rig_endpoint_name(gets[g]), (int)call->took_ms);
        cr_assert_eq(rig_sends(rig, gets[g]), 2);
        simprovider_faults_clear(rig->sim);

        /* A pause that does not fit is not begun. */
        rig->patience_ms = 110;
        rig_fault(rig, gets[g], (struct simprovider_fault){.kind = SIMPROVIDER_STATUS});
        call = rig_ask(rig, gets[g]);
        cr_assert_eq(call->rc, RC_PROVIDER_UNAVAILABLE, "%s", rc_name(call->rc));
        cr_assert_lt(call->took_ms, 100, "%d ms", (int)call->took_ms);
        cr_assert_eq(rig_sends(rig, gets[g]), 3);
        simprovider_faults_clear(rig->sim);
    }
    rig_end(rig);
}

/* --- cancels ---------------------------------------------------------------------------------- */

static void cancel_first(struct rig *rig) {
    rig_cancel(&rig->calls[0]);
    if (rig->calls[0].done == 0) {
        rig_cancel(&rig->calls[0]);
    }
}

Test(provider_waits, cancel_before_anything_is_sent) {
    struct rig *rig = linked();
    rig_consent(rig);
    for (enum provider_call_endpoint e = PROVIDER_CALL_TOKEN; e < PROVIDER_CALL_ENDPOINTS; e++) {
        int64_t sends = rig_sends(rig, e);
        rig_start(rig, 0, e);
        cancel_first(rig);
        rig_run(rig);
        cr_assert_eq(rig->calls[0].rc, RC_CANCELED, "%s: %s", rig_endpoint_name(e),
                     rc_name(rig->calls[0].rc));
        cr_assert_not(rig->calls[0].was_sent);
        cr_assert_eq(rig_sends(rig, e), sends);
        cr_assert_eq(rig_metric(rig, e, PROVIDER_CALL_CANCELED), 1);
    }
    for (enum provider_call_endpoint e = PROVIDER_CALL_TOKEN; e < PROVIDER_CALL_ENDPOINTS; e++) {
        cr_assert_eq(rig_ask(rig, e)->rc, good(e), "%s is not spent", rig_endpoint_name(e));
        if (e == PROVIDER_CALL_REVOKE) {
            rig_link(rig);
        }
    }
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_PROVIDER_FAILURES), 0);
    rig_end(rig);
}

/* ... which a call that ends on the next turn, without being sent, is in its own way. */
Test(provider_waits, cancel_of_one_that_fails_at_once) {
    struct rig *rig = linked();
    rig->patience_ms = 0;
    for (enum provider_call_endpoint e = PROVIDER_CALL_TOKEN; e < PROVIDER_CALL_ENDPOINTS; e++) {
        rig_start(rig, 0, e);
        cancel_first(rig);
        rig_run(rig);
        cr_assert_eq(rig->calls[0].rc, RC_PROVIDER_UNAVAILABLE, "%s", rig_endpoint_name(e));
    }
    rig_end(rig);
}

static bool is_first_sent(struct rig *rig) {
    return simprovider_count(rig->sim, SIMPROVIDER_FAULTS) > 0;
}

static void cancel_and_let_go(struct rig *rig) {
    cancel_first(rig);
    simprovider_release(rig->sim);
}

Test(provider_waits, cancel_of_what_is_sent) {
    for (enum provider_call_endpoint e = PROVIDER_CALL_TOKEN; e < PROVIDER_CALL_ENDPOINTS; e++) {
        struct rig *rig = linked();
        rig_consent(rig);
        rig_fault(rig, e, (struct simprovider_fault){.kind = SIMPROVIDER_HOLD, .count = 1});
        rig_when(rig, is_first_sent, cancel_and_let_go);
        struct rig_call *call = rig_ask(rig, e);
        cr_assert(rig->then_ran);
        cr_assert_eq(call->rc, rig_is_post(e) ? RC_OK : RC_CANCELED, "%s: %s", rig_endpoint_name(e),
                     rc_name(call->rc));
        cr_assert(!rig_is_post(e) || call->was_sent, "%s", rig_endpoint_name(e));
        cr_assert_eq(metrics_get(&rig->metrics, METRIC_PROVIDER_FAILURES), 0);
        rig_end(rig);
    }
}

static bool is_first_pausing(struct rig *rig) {
    return rig->calls[0].op.books.call.pause != NULL;
}

Test(provider_waits, cancel_in_the_pause_before_a_retry) {
    struct rig *rig = linked();
    rig->provider.retry = (struct retry_opts){2, 5000, 5000};
    for (size_t g = 0; g < GETS; g++) {
        rig_fault(rig, gets[g], (struct simprovider_fault){.kind = SIMPROVIDER_STATUS, .count = 1});
        rig_when(rig, is_first_pausing, cancel_first);
        struct rig_call *call = rig_ask(rig, gets[g]);
        cr_assert(rig->then_ran);
        cr_assert_eq(call->rc, RC_CANCELED, "%s", rc_name(call->rc));
        cr_assert_lt(call->took_ms, 2000, "%d ms", (int)call->took_ms);
        cr_assert_eq(rig_sends(rig, gets[g]), 1);
    }
    cr_assert_eq(metrics_get(&rig->metrics, METRIC_PROVIDER_RETRIES), 0);
    rig_end(rig);
}

/* Work that keeps every thread of the lane busy until `gate` is opened. */
enum { BLOCKERS = 64 };

struct blocker {
    struct work_op op;
    sem_t *gate;
};

static void run_blocker(struct work_op *op) {
    sem_t *gate = LIST_ENTRY(op, struct blocker, op)->gate;
    while (sem_wait(gate) != 0) {
    }
    sem_post(gate);
}

static void on_unblocked(struct work_op *op, enum rc rc) {
    (void)op;
    cr_assert_eq(rc, RC_OK);
}

static sem_t gate;

static bool is_first_reading(struct rig *rig) {
    return rig->calls[0].op.books.is_reading;
}

static void cancel_and_unblock(struct rig *rig) {
    cancel_first(rig);
    sem_post(&gate);
}

/* The answer is there, and comes. */
Test(provider_waits, cancel_while_the_answer_is_read) {
    struct rig *rig = linked();
    static struct blocker blockers[BLOCKERS];
    sem_init(&gate, 0, 0);
    for (size_t i = 0; i < BLOCKERS; i++) {
        blockers[i].gate = &gate;
        work_submit(rig->work, &blockers[i].op, run_blocker, on_unblocked);
    }
    rig->limit = 100;
    rig_when(rig, is_first_reading, cancel_and_unblock);
    struct rig_call *call = rig_ask(rig, PROVIDER_CALL_LIBRARY);
    cr_assert(rig->then_ran);
    cr_assert_eq(call->rc, RC_OK, "%s", rc_name(call->rc));
    cr_assert_eq(call->count, 100);
    rig_end(rig);
}

/* --- the breaker ------------------------------------------------------------------------------ */

enum { PAUSE_MS = 300 };

static struct rig *breaking(void) {
    struct rig *rig = linked();
    rig->provider.retry = (struct retry_opts){0};
    provider_set_breakers(&rig->provider, &(struct breaker_opts){3, PAUSE_MS, 10 * PAUSE_MS});
    return rig;
}

static void fail_three_times(struct rig *rig, enum provider_call_endpoint endpoint) {
    rig_fault(rig, endpoint, (struct simprovider_fault){.kind = SIMPROVIDER_NOISE});
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(rig_ask(rig, endpoint)->rc, RC_PROVIDER_UNAVAILABLE);
    }
    simprovider_faults_clear(rig->sim);
}

static void move_clock(struct rig *rig, int64_t ms) {
    rig->clock.offset_ms += ms;
    loop_run(&rig->loop); /* which reads it */
}

static int64_t gauge(struct rig *rig, enum metric metric) {
    return metrics_get(&rig->metrics, metric);
}

Test(provider_waits, an_open_breaker_answers_at_once_and_spends_nothing) {
    for (enum provider_call_endpoint e = PROVIDER_CALL_TOKEN; e < PROVIDER_CALL_ENDPOINTS; e++) {
        struct rig *rig = breaking();
        bool is_auth = rig_is_post(e);
        enum metric open = is_auth ? METRIC_BREAKER_AUTH_OPEN : METRIC_BREAKER_API_OPEN;
        enum metric half = is_auth ? METRIC_BREAKER_AUTH_HALF_OPEN : METRIC_BREAKER_API_HALF_OPEN;
        fail_three_times(rig, e == PROVIDER_CALL_TOKEN ? PROVIDER_CALL_REFRESH : e);
        cr_assert_eq(gauge(rig, open), 1);
        cr_assert_eq(gauge(rig, METRIC_BREAKER_OPENED), 1);
        rig_consent(rig);
        for (enum provider_call_endpoint other = PROVIDER_CALL_TOKEN;
             other < PROVIDER_CALL_ENDPOINTS; other++) {
            int64_t sends = rig_sends(rig, other);
            if (rig_is_post(other) != is_auth) {
                continue;
            }
            struct rig_call *call = rig_ask(rig, other);
            cr_assert_eq(call->rc, RC_PROVIDER_UNAVAILABLE, "%s: %s", rig_endpoint_name(other),
                         rc_name(call->rc));
            cr_assert_not(call->was_sent);
            cr_assert_eq(rig_sends(rig, other), sends, "%s was sent", rig_endpoint_name(other));
            cr_assert_eq(rig_metric(rig, other, PROVIDER_CALL_BREAKER_OPEN), 1);
        }
        move_clock(rig, PAUSE_MS);
        cr_assert_eq(rig_ask(rig, e)->rc, good(e), "%s", rig_endpoint_name(e));
        cr_assert_eq(gauge(rig, open) + gauge(rig, half), 0, "%s", rig_endpoint_name(e));
        rig_end(rig);
    }
}

/* One peer's failures are not the other's. */
Test(provider_waits, each_peer_has_a_breaker_of_its_own) {
    struct rig *rig = breaking();
    fail_three_times(rig, PROVIDER_CALL_SEARCH);
    cr_assert_eq(rig_ask(rig, PROVIDER_CALL_DETAILS)->rc, RC_PROVIDER_UNAVAILABLE);
    cr_assert_eq(rig_ask(rig, PROVIDER_CALL_REFRESH)->rc, RC_OK);
    cr_assert_eq(gauge(rig, METRIC_BREAKER_AUTH_OPEN), 0);
    cr_assert_eq(gauge(rig, METRIC_BREAKER_API_OPEN), 1);
    rig_end(rig);
}

Test(provider_waits, exactly_one_probe) {
    struct rig *rig = breaking();
    fail_three_times(rig, PROVIDER_CALL_SEARCH);
    int64_t sends = rig_sends(rig, PROVIDER_CALL_SEARCH);
    move_clock(rig, PAUSE_MS);
    rig_fault(rig, PROVIDER_CALL_SEARCH, (struct simprovider_fault){.kind = SIMPROVIDER_STATUS});
    for (size_t i = 0; i < RIG_CALLS; i++) {
        rig_start(rig, i, PROVIDER_CALL_SEARCH);
    }
    cr_assert_eq(gauge(rig, METRIC_BREAKER_API_HALF_OPEN), 1);
    cr_assert_eq(gauge(rig, METRIC_BREAKER_API_OPEN), 0);
    rig_run(rig);
    cr_assert_eq(rig_sends(rig, PROVIDER_CALL_SEARCH), sends + 1);
    cr_assert_eq(gauge(rig, METRIC_BREAKER_API_HALF_OPEN), 0);
    cr_assert_eq(gauge(rig, METRIC_BREAKER_API_OPEN), 1);
    simprovider_faults_clear(rig->sim);

    /* The pause has doubled, and may be shortened by a half. */
    move_clock(rig, PAUSE_MS - 50);
    cr_assert_eq(rig_ask(rig, PROVIDER_CALL_SEARCH)->rc, RC_PROVIDER_UNAVAILABLE);
    move_clock(rig, PAUSE_MS + 50);
    cr_assert_eq(rig_ask(rig, PROVIDER_CALL_SEARCH)->rc, RC_OK);
    for (size_t i = 0; i < RIG_CALLS; i++) {
        rig_start(rig, i, PROVIDER_CALL_SEARCH);
    }
    rig_run(rig);
    for (size_t i = 0; i < RIG_CALLS; i++) {
        cr_assert_eq(rig->calls[i].rc, RC_OK, "closed: %zu", i);
    }
    cr_assert_eq(gauge(rig, METRIC_BREAKER_OPENED), 1, "one outage");
    rig_end(rig);
}

Test(provider_waits, a_canceled_probe_makes_room_for_another) {
    struct rig *rig = breaking();
    fail_three_times(rig, PROVIDER_CALL_SEARCH);
    move_clock(rig, PAUSE_MS);
    rig_start(rig, 0, PROVIDER_CALL_SEARCH);
    cancel_first(rig);
    rig_run(rig);
    cr_assert_eq(rig->calls[0].rc, RC_CANCELED);
    cr_assert_eq(rig_ask(rig, PROVIDER_CALL_SEARCH)->rc, RC_OK);
    rig_end(rig);
}

/* The breaker opens while a call waits to be made again: it is not made. */
Test(provider_waits, no_retry_through_an_open_breaker) {
    struct rig *rig = linked();
    provider_set_breakers(&rig->provider, &(struct breaker_opts){2, 60000, 60000});
    rig_fault(rig, PROVIDER_CALL_LIBRARY, (struct simprovider_fault){.kind = SIMPROVIDER_STATUS});
    struct rig_call *call = rig_ask(rig, PROVIDER_CALL_LIBRARY);
    cr_assert_eq(call->rc, RC_PROVIDER_UNAVAILABLE, "%s", rc_name(call->rc));
    cr_assert_eq(rig_sends(rig, PROVIDER_CALL_LIBRARY), 2);
    cr_assert_eq(rig_metric(rig, PROVIDER_CALL_LIBRARY, PROVIDER_CALL_BREAKER_OPEN), 1);
    rig_end(rig);
}

/* What says that the provider works, or says nothing, does not open it. */
Test(provider_waits, what_is_no_failure_of_the_provider) {
    static const struct simprovider_fault faults[] = {
        {.kind = SIMPROVIDER_STATUS, .number = 400},
        {.kind = SIMPROVIDER_STATUS, .number = 404},
        {.kind = SIMPROVIDER_RATELIMIT},
        {.kind = SIMPROVIDER_REDIRECT},
        {.kind = SIMPROVIDER_GARBAGE},
        {.kind = SIMPROVIDER_HUGE},
        {.kind = SIMPROVIDER_HOLD}, /* until a deadline that no one could keep */
    };
    struct rig *rig = breaking();
    for (size_t f = 0; f < sizeof faults / sizeof faults[0]; f++) {
        rig_fault(rig, PROVIDER_CALL_LIBRARY, faults[f]);
        rig->patience_ms = faults[f].kind == SIMPROVIDER_HOLD ? 100 : 10000;
        for (int i = 0; i < 4; i++) {
            rig_ask(rig, PROVIDER_CALL_LIBRARY);
        }
        simprovider_faults_clear(rig->sim);
        cr_assert_eq(gauge(rig, METRIC_BREAKER_OPENED), 0, "fault %zu", f);
    }
    rig_end(rig);
}

/* ... and where it says that it works, it starts counting anew. */
Test(provider_waits, an_answer_between_failures) {
    static const int64_t statuses[] = {200, 302, 404, 429};
    struct rig *rig = breaking();
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        for (int n = 0; n < 5; n++) {
            rig_fault(rig, PROVIDER_CALL_SEARCH,
                      (struct simprovider_fault){.kind = SIMPROVIDER_STATUS,
                                                 .number = n == 2 ? statuses[i] : 500,
                                                 .count = 1});
            rig_ask(rig, PROVIDER_CALL_SEARCH);
        }
        cr_assert_eq(gauge(rig, METRIC_BREAKER_OPENED), 0, "%d", (int)statuses[i]);
        rig_ask(rig, PROVIDER_CALL_SEARCH);
    }
    rig_end(rig);
}

/* A provider that has got slow: its time-outs open it, where they had time enough. */
Test(provider_waits, timeouts_open_it) {
    struct rig_opts opts = rig_usual;
    opts.timeout_ms = 100;
    struct rig *rig = linked_with(&opts);
    provider_set_breakers(&rig->provider, &(struct breaker_opts){3, PAUSE_MS, PAUSE_MS});
    rig_fault(rig, PROVIDER_CALL_LIBRARY, (struct simprovider_fault){.kind = SIMPROVIDER_HOLD});
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(gauge(rig, METRIC_BREAKER_API_OPEN), 0, "after %d", i);
        cr_assert_eq(rig_ask(rig, PROVIDER_CALL_LIBRARY)->rc, RC_PROVIDER_UNAVAILABLE);
    }
    cr_assert_eq(gauge(rig, METRIC_BREAKER_API_OPEN), 1);
    rig_end(rig);
}

/* A provider that is not there. */
Test(provider_waits, nobody_listens) {
    struct rig *rig = breaking();
    rig->provider.auth_url = SLICE("http://127.0.0.1:1/auth");
    rig->provider.api_base_url = SLICE("http://127.0.0.1:1/api");
    rig->provider.revoke_url = SLICE("http://127.0.0.1:1/revoke");
    for (enum provider_call_endpoint e = PROVIDER_CALL_TOKEN; e < PROVIDER_CALL_ENDPOINTS; e++) {
        struct rig_call *call = rig_ask(rig, e);
        cr_assert_eq(call->rc, RC_PROVIDER_UNAVAILABLE, "%s", rc_name(call->rc));
        cr_assert_not(call->was_sent, "%s", rig_endpoint_name(e));
        cr_assert_eq(rig_metric(rig, e, PROVIDER_CALL_UNREACHABLE), 1);
    }
    cr_assert_eq(gauge(rig, METRIC_BREAKER_AUTH_OPEN), 1);
    cr_assert_eq(gauge(rig, METRIC_BREAKER_API_OPEN), 1);
    rig_end(rig);
}
