// SPDX-License-Identifier: MIT
#pragma once

#include "link/flight.h"

/* What the files of a flight share. A step is the last thing that is done with the flight by
 * whoever calls it.
 *
 *   flight.c          read, decide, deliver, rest
 *   flight_lease.c    lease, check
 *   flight_refresh.c  refresh, store, believe, mark */
void flight_read(struct flight *flight); /* somebody waits */
void flight_decide(struct flight *flight);
void flight_lease(struct flight *flight);
void flight_check(struct flight *flight);
void flight_refresh(struct flight *flight);
void flight_believe(struct flight *flight);
void flight_deliver(struct flight *flight);
void flight_rest(struct flight *flight);

/* No refresh is possible now: whoever can use the token that there is gets it, the others hear why
 * there is no other. */
void flight_settle(struct flight *flight, enum rc rc);

/* What is to be stored is tried again. */
void flight_store_again(struct flight *flight);

/* What clients see in last_sync_error, noted under the fence of the record. That no key opens the
 * tokens blocks no retry: a wrong key may be put right; what takes it back doesn't take back that
 * the grant is refused. */
enum flight_mark {
    FLIGHT_MARK_UNOPENED,
    FLIGHT_MARK_OPENED,
    FLIGHT_MARK_REFRESHED,
    FLIGHT_MARK_REFUSED
};
void flight_mark(struct flight *flight, enum flight_mark mark,
                 void (*done)(struct accounts_op *account));
/* The usual `done`. Whatever became of it (a conflict: the record has moved on), the answers stand.
 */
void flight_marked(struct accounts_op *account);

/* -- what is no step -- */

void flight_serve_or(struct flight *flight, enum rc rc); /* flight_settle without its delivery */
void flight_audit(struct flight *flight, const char *event, const char *cause);

/* What was to be stored is given up. */
void flight_give_up(struct flight *flight);

/* The record has moved on: that its grant was refused need not be noted any more. */
void flight_forget_refusal(struct flight *flight);

void flight_open_lease(struct flight *flight);
int64_t flight_note_of(enum rc failure); /* what a lease's rest tells of it */

static inline struct flight *flight_of_account(struct accounts_op *account) {
    return LIST_ENTRY(account, struct flight, account);
}

static inline int64_t flight_now_ms(const struct flight *flight) {
    return loop_now_ms(flight->opts->loop);
}

static inline int64_t flight_wall_ms(const struct flight *flight) {
    return loop_wall_ms(flight->opts->loop);
}

/* The provider gave tokens that are not stored yet. */
static inline bool flight_holds_answer(const struct flight *flight) {
    return flight->new_access_token.at != NULL;
}

/* Something is to be stored, sooner or later. */
static inline bool flight_owes_store(const struct flight *flight) {
    return flight_holds_answer(flight) || flight->refused_fence != NULL;
}

/* Nobody else is sending this user's refresh token. */
static inline bool flight_may_send(const struct flight *flight) {
    return flight->opts->leases == NULL || lease_keeper_is_sure(&flight->lease);
}
