// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "store/leases.h"

/* Takes one user's lease, renews it for as long as it is wanted, and gives it back. What may still
 * be ours in the store, because the store did not answer, is given back as soon as it does: nobody
 * shall wait for the end of a lease that no one uses. */
struct lease_keeper {
    struct leases *leases;
    struct loop *loop;
    struct slice user_id;
    /* Set by the caller. `taken` follows lease_keeper_take, unless its end comes first: RC_OK;
       RC_CONFLICT; RC_RATE_LIMITED, with left_ms and note; RC_STORAGE_UNAVAILABLE. `lost`: from now
       on another process may have it. `idle`: it is not ours, and nothing is under way. All on a
       later turn than any call. */
    void (*taken)(struct lease_keeper *keeper, enum rc rc);
    void (*lost)(struct lease_keeper *keeper);
    void (*idle)(struct lease_keeper *keeper);
    int64_t left_ms;
    int64_t note;
    /* ours */
    enum {
        LEASE_KEEPER_NONE, /* not ours */
        LEASE_KEEPER_HELD, /* ours, unless it was lost without our knowing */
        LEASE_KEEPER_LEFT, /* not relied on, but perhaps ours in the store */
    } state;
    bool is_wanted;        /* from lease_keeper_take to its end, its loss or its failure */
    bool owes_taken;       /* `taken` is to be called */
    bool is_busy;          /* a call is under way */
    bool is_closing;       /* what can't be given back is left to its end */
    int64_t rest_until_ms; /* after its end nobody shall have it until then */
    int64_t rest_note;
    int64_t asked_ms;      /* when the call under way began */
    int64_t sure_until_ms; /* while it is held: nobody else can have it before */
    int64_t gone_ms;       /* one that was left is gone by itself from then on */
    int64_t pause_ms;      /* until the next try to give back one that was left */
    char request_id_at[LIMIT_REQUEST_ID_BYTES];
    struct lease_op op;
    struct loop_timer timer; /* of the next renewal or try */
    void (*closed)(struct lease_keeper *keeper);
};

/* `user_id` is borrowed for the keeper's life. */
void lease_keeper_open(struct lease_keeper *keeper, struct leases *leases, struct loop *loop,
                       struct slice user_id);
/* It is idle. `closed` on a later turn. */
void lease_keeper_close(struct lease_keeper *keeper, void (*closed)(struct lease_keeper *keeper));

/* What is ours already is given back first. `request_id` is for log lines. */
void lease_keeper_take(struct lease_keeper *keeper, struct slice request_id);

/* It is not wanted any more; as one that rests with this note, unless `rest_ms` is 0 (leases_rest).
 */
void lease_keeper_end(struct lease_keeper *keeper, int64_t rest_ms, int64_t note);

/* From now on nothing is tried twice. */
void lease_keeper_hurry(struct lease_keeper *keeper);

/* Held, and for long enough to send a request. */
bool lease_keeper_is_sure(const struct lease_keeper *keeper);
bool lease_keeper_is_idle(const struct lease_keeper *keeper);
