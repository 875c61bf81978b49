// SPDX-License-Identifier: MIT
#include "link/flight.h"

#include "base/mem.h"
#include "link/flight_steps.h"

static void on_read(struct accounts_op *account);
static void on_told(struct waiters *waiters);
static void on_timer(struct loop_timer *timer);

void flight_audit(struct flight *flight, const char *event, const char *cause) {
    LOG_AUDIT(flight->opts->log, event, flight->request_id, log_text("user_id", flight->user_id),
              log_text("audible_user_id", slice_str(flight->record.audible_user_id)),
              log_text("client", flight->client),
              log_text("outcome", cause == NULL ? SLICE("ok") : SLICE("failed")),
              log_bool("sealed", flight->account.sealed), log_text("cause", slice_str(cause)));
}

void flight_serve_or(struct flight *flight, enum rc rc) {
    if (record_is_good(&flight->record, flight_wall_ms(flight))) {
        waiters_serve(&flight->waiters);
    }
    waiters_decide_all(&flight->waiters, rc);
}

void flight_settle(struct flight *flight, enum rc rc) {
    flight_serve_or(flight, rc);
    flight_deliver(flight);
}

/* -- read: the record -- */

/* For its log lines. */
static void keep_origin(struct flight *flight) {
    const struct fresh_token *first = waiters_first(&flight->waiters);
    struct slice request_id = slice_head(first->request_id, sizeof flight->request_id_at);
    struct slice client = slice_head(first->client, sizeof flight->client_at);
    flight->request_id = slice_make(flight->request_id_at, request_id.len);
    flight->client = slice_make(flight->client_at, client.len);
    memcpy(flight->request_id_at, request_id.len > 0 ? request_id.at : "", request_id.len);
    memcpy(flight->client_at, client.len > 0 ? client.at : "", client.len);
}

void flight_read(struct flight *flight) {
    keep_origin(flight);
    flight->step = FLIGHT_READ;
    flight->is_refused = false;
    flight->account.request_id = flight->request_id;
    accounts_open(flight->opts->accounts, &flight->account, flight->user_id, on_read);
}

static bool is_known_refused(const struct flight *flight) {
    return flight->refused_fence != NULL &&
           slice_eq(slice_str(flight->refused_fence), slice_str(flight->record.fence));
}

/* What was noted when no key opened it is taken back; where that meets something else, what is
 * there now is read. */
static void on_mark_taken_back(struct accounts_op *account) {
    struct flight *flight = flight_of_account(account);
    flight->record.shows_reauthorization = false;
    if (account->rc == RC_CONFLICT && waiters_first(&flight->waiters) != NULL) {
        flight_read(flight);
    } else {
        flight_decide(flight);
    }
}

static void on_opened(struct flight *flight) {
    if (flight->record.shows_reauthorization && !flight->record.needs_reauthorization) {
        flight_mark(flight, FLIGHT_MARK_OPENED, on_mark_taken_back);
    } else {
        flight_decide(flight);
    }
}

static void on_read(struct accounts_op *account) {
    struct flight *flight = flight_of_account(account);
    enum rc rc = account->rc;
    record_take(&flight->record, account);
    if (rc == RC_OK || rc == RC_NO_KEY_OPENS) {
        flight_audit(flight, "token_opened", rc == RC_OK ? NULL : rc_name(rc));
    }
    if (rc != RC_STORAGE_UNAVAILABLE && !is_known_refused(flight)) {
        flight_forget_refusal(flight);
    }
    if (rc == RC_OK) {
        on_opened(flight);
        return;
    }
    waiters_decide_all(&flight->waiters,
                       rc == RC_ABSENT ? RC_NOT_CONNECTED : RC_STORAGE_UNAVAILABLE);
    if (rc == RC_NO_KEY_OPENS && !flight->record.shows_reauthorization) {
        flight_mark(flight, FLIGHT_MARK_UNOPENED, flight_marked);
    } else {
        flight_deliver(flight);
    }
}

/* -- decide: whether a refresh is needed, and can be -- */

void flight_decide(struct flight *flight) {
    bool is_fresh = record_is_good(&flight->record, flight_wall_ms(flight) + FRESH_TOKEN_AHEAD_MS);
    bool all_have_left = waiters_first(&flight->waiters) == NULL;
    if (all_have_left || (is_fresh && waiters_serve(&flight->waiters))) {
        flight_deliver(flight); /* nobody needs a refresh */
    } else if (!provider_is_configured(flight->opts->provider)) {
        flight_settle(flight, RC_NOT_CONFIGURED);
    } else if (flight->record.needs_reauthorization || is_known_refused(flight)) {
        flight_settle(flight, RC_PROVIDER_UNAVAILABLE);
    } else if (flight->record.refresh_token.len == 0) {
        flight_audit(flight, "token_reauthorization_required", "no_refresh_token");
        flight_serve_or(flight, RC_PROVIDER_UNAVAILABLE);
        flight_mark(flight, FLIGHT_MARK_REFUSED, flight_marked);
    } else if (flight_now_ms(flight) < flight->refresh_from_ms) {
        metrics_add(flight->opts->metrics, METRIC_REFRESH_PAUSED, 1);
        flight_settle(flight, flight->failure);
    } else if (!flight_may_send(flight)) {
        flight_lease(flight);
    } else {
        flight_refresh(flight);
    }
}

/* -- deliver: the answers, some a turn -- */

void flight_deliver(struct flight *flight) {
    flight->step = FLIGHT_DELIVER;
    if (!flight_owes_store(flight)) {
        lease_keeper_end(&flight->lease, flight->rest_note != 0 ? FRESH_TOKEN_PAUSE_MS : 0,
                         flight->rest_note);
        flight->rest_note = 0;
    }
    waiters_tell(&flight->waiters);
}

static void on_told(struct waiters *waiters) {
    struct flight *flight = LIST_ENTRY(waiters, struct flight, waiters);
    if (flight->step == FLIGHT_DELIVER || flight->step == FLIGHT_IDLE) {
        flight_rest(flight);
    }
}

/* -- rest: what is next for this user -- */

/* For the nearest of what the flight's one timer is for. While something is under way that is a
 * deadline only: what else is due by then waits for its end. */
static void set_timer(struct flight *flight) {
    int64_t at_ms = flight->waiters.first_deadline_ms;
    if (flight->step == FLIGHT_IDLE) {
        at_ms = waiters_earlier(at_ms, flight->store_at_ms);
        at_ms = waiters_earlier(at_ms, flight->check_at_ms);
        at_ms = waiters_earlier(at_ms, flight->refresh_from_ms);
    }
    if (at_ms == 0) {
        loop_timer_stop(&flight->timer);
    } else {
        loop_timer_start(&flight->timer, at_ms - flight_now_ms(flight), 0, on_timer);
    }
}

static void on_timer(struct loop_timer *timer) {
    struct flight *flight = LIST_ENTRY(timer, struct flight, timer);
    bool is_asked = flight->step == FLIGHT_REFRESH || flight->check_at_ms != 0;
    bool is_due = flight->store_at_ms != 0 && flight->store_at_ms <= flight_now_ms(flight);
    waiters_expire(&flight->waiters, is_asked ? RC_PROVIDER_UNAVAILABLE : RC_STORAGE_UNAVAILABLE);
    if (flight->step != FLIGHT_IDLE) {
        set_timer(flight);
    } else if (is_due) {
        flight_store_again(flight);
        set_timer(flight);
    } else if (waiters_are_told(&flight->waiters)) {
        flight_rest(flight);
    } /* else on_told goes on */
}

/* Somebody waits. */
static void serve_next(struct flight *flight) {
    if (flight->check_at_ms == 0) {
        flight_read(flight);
    } else if (flight->check_at_ms <= flight_now_ms(flight)) {
        flight_check(flight);
        set_timer(flight);
    } else {
        set_timer(flight);
    }
}

/* Nobody does, and nothing is to be stored. */
static void end(struct flight *flight) {
    if (!flight->is_closing && flight->refresh_from_ms != 0) {
        secret_free(&flight->record.access_token);
        secret_free(&flight->record.refresh_token);
        set_timer(flight);
    } else if (lease_keeper_is_idle(&flight->lease)) {
        flight->ended(flight);
    } else {
        loop_timer_stop(&flight->timer); /* it comes back here when the lease is */
    }
}

void flight_rest(struct flight *flight) {
    flight->step = FLIGHT_IDLE;
    if (flight->is_closing && flight_owes_store(flight)) {
        flight_give_up(flight);
        lease_keeper_end(&flight->lease, 0, 0);
    }
    if (waiters_first(&flight->waiters) == NULL) {
        flight->check_at_ms = 0;
    }
    if (flight->refresh_from_ms <= flight_now_ms(flight)) {
        flight->refresh_from_ms = 0;
    }
    if (waiters_first(&flight->waiters) != NULL && !flight_holds_answer(flight)) {
        serve_next(flight);
    } else if (flight_owes_store(flight)) {
        set_timer(flight);
    } else {
        end(flight);
    }
}

/* -- in and out -- */

struct flight *flight_new(const struct fresh_tokens_opts *opts, struct slice user_id,
                          void (*ended)(struct flight *flight)) {
    struct flight *flight = mem_calloc(1, sizeof *flight);
    flight->opts = opts;
    flight->ended = ended;
    flight->step = FLIGHT_IDLE;
    memcpy(flight->user_id_at, user_id.at, user_id.len);
    flight->user_id = slice_make(flight->user_id_at, user_id.len);
    waiters_init(&flight->waiters, opts->loop, &flight->record, on_told);
    loop_timer_init(opts->loop, &flight->timer);
    flight_open_lease(flight);
    return flight;
}

static void on_timer_closed(struct loop_timer *timer) {
    struct flight *flight = LIST_ENTRY(timer, struct flight, timer);
    void (*freed)(void *owner) = flight->freed;
    void *owner = flight->owner;
    record_forget(&flight->record);
    mem_free(flight);
    freed(owner);
}

static void on_lease_closed(struct lease_keeper *lease) {
    loop_timer_close(&LIST_ENTRY(lease, struct flight, lease)->timer, on_timer_closed);
}

void flight_free(struct flight *flight, void (*freed)(void *owner), void *owner) {
    flight->freed = freed;
    flight->owner = owner;
    if (flight->opts->leases != NULL) {
        lease_keeper_close(&flight->lease, on_lease_closed);
    } else {
        loop_timer_close(&flight->timer, on_timer_closed);
    }
}

void flight_join(struct flight *flight, struct fresh_token *op) {
    bool is_first = waiters_add(&flight->waiters, op);
    if (flight->step == FLIGHT_IDLE && !flight_holds_answer(flight) && flight->check_at_ms == 0) {
        flight_read(flight);
    } else {
        metrics_add(flight->opts->metrics, METRIC_REFRESH_SHARED, 1);
    }
    if (is_first) {
        set_timer(flight);
    }
}

void flight_cancel(struct flight *flight, struct fresh_token *op) {
    waiters_cancel(&flight->waiters, op);
}

void flight_close(struct flight *flight) {
    flight->is_closing = true;
    lease_keeper_hurry(&flight->lease);
    if (flight->step == FLIGHT_IDLE && waiters_are_told(&flight->waiters)) {
        flight_rest(flight);
    }
}
