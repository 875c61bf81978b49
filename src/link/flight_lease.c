// SPDX-License-Identifier: MIT
#include "link/flight_steps.h"

/* Another process refreshes: a call to the provider takes longer than the shorter of these. */
enum { CHECK_PAUSE_FIRST_MS = 50, CHECK_PAUSE_LAST_MS = 150 };

static void on_checked(struct accounts_op *account);

/* -- a failure's name among processes, which may be of different releases -- */

enum { NOTE_PROVIDER = 1, NOTE_STORAGE = 2, NOTE_OVERLOADED = 3 };

int64_t flight_note_of(enum rc failure) {
    return failure == RC_OVERLOADED            ? NOTE_OVERLOADED
           : failure == RC_STORAGE_UNAVAILABLE ? NOTE_STORAGE
                                               : NOTE_PROVIDER;
}

static enum rc read_note(int64_t note) {
    return note == NOTE_OVERLOADED ? RC_OVERLOADED
           : note == NOTE_STORAGE  ? RC_STORAGE_UNAVAILABLE
                                   : RC_PROVIDER_UNAVAILABLE;
}

/* -- lease: among processes, one refreshes -- */

void flight_lease(struct flight *flight) {
    flight->step = FLIGHT_LEASE;
    lease_keeper_take(&flight->lease, flight->request_id);
}

/* Another process refreshes, or died at it. Whoever can use the token that there is gets it, the
 * others wait. */
static void wait_for_other(struct flight *flight) {
    unsigned char random = flight->lease.op.owner[0];
    flight->check_at_ms = flight_now_ms(flight) + CHECK_PAUSE_FIRST_MS +
                          random % (CHECK_PAUSE_LAST_MS - CHECK_PAUSE_FIRST_MS + 1);
    if (record_is_good(&flight->record, flight_wall_ms(flight))) {
        waiters_serve(&flight->waiters);
    }
    flight_deliver(flight);
}

static void share_failure(struct flight *flight) {
    metrics_add(flight->opts->metrics, METRIC_REFRESH_PAUSED, 1);
    flight->failure = read_note(flight->lease.note);
    flight->refresh_from_ms = flight_now_ms(flight) + flight->lease.left_ms;
    flight_settle(flight, flight->failure);
}

static void on_taken(struct lease_keeper *lease, enum rc rc) {
    struct flight *flight = LIST_ENTRY(lease, struct flight, lease);
    if (flight->step != FLIGHT_LEASE) {
        return; /* one that was lost is ours again, or isn't */
    }
    switch (rc) {
    case RC_OK:
        if (flight->is_refused) {
            flight_believe(flight);
        } else {
            flight_check(flight);
        }
        break;
    case RC_CONFLICT:
        wait_for_other(flight);
        break;
    case RC_RATE_LIMITED:
        share_failure(flight);
        break;
    default:
        flight_settle(flight, RC_STORAGE_UNAVAILABLE);
    }
}

/* What has not been sent yet would be sent without it; what has is not to be sent by another
 * process. */
static void on_lost(struct lease_keeper *lease) {
    struct flight *flight = LIST_ENTRY(lease, struct flight, lease);
    if (flight->step == FLIGHT_REFRESH) {
        token_cancel(&flight->refresh);
    }
    if (flight->step == FLIGHT_REFRESH || flight_owes_store(flight)) {
        lease_keeper_take(lease, flight->request_id);
    }
}

static void on_idle(struct lease_keeper *lease) {
    struct flight *flight = LIST_ENTRY(lease, struct flight, lease);
    if (flight->step == FLIGHT_IDLE && waiters_are_told(&flight->waiters)) {
        flight_rest(flight);
    }
}

void flight_open_lease(struct flight *flight) {
    if (flight->opts->leases != NULL) {
        flight->lease.taken = on_taken;
        flight->lease.lost = on_lost;
        flight->lease.idle = on_idle;
        lease_keeper_open(&flight->lease, flight->opts->leases, flight->opts->loop,
                          flight->user_id);
    }
}

/* -- check: is the record still the one that was read? -- */

void flight_check(struct flight *flight) {
    flight->step = FLIGHT_CHECK;
    flight->check_at_ms = 0;
    flight->account.request_id = flight->request_id;
    accounts_read(flight->opts->accounts, &flight->account, flight->user_id, on_checked);
}

static void on_checked(struct accounts_op *account) {
    struct flight *flight = flight_of_account(account);
    if (waiters_first(&flight->waiters) == NULL) {
        flight_deliver(flight);
    } else if (record_is_same(&flight->record, account)) {
        flight_decide(flight);
    } else {
        flight_read(flight);
    }
}
