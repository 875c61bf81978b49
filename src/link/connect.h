// SPDX-License-Identifier: MIT
#pragma once

#include <stdint.h>

#include "link/linker.h"
#include "provider/token.h"

/* Links an account: takes the state, exchanges the code, stores the account. Three waits, one
 * pending operation at a time.
 *
 * Everything that the caller sets is borrowed until `done` is called, and so is the flow itself. */
struct connect {
    void (*done)(struct connect *flow);
    /* set by the caller */
    struct slice state;
    struct slice code;
    struct state_claim claim;
    struct slice request_id;
    struct slice client; /* address, for the audit */
    int64_t deadline_ms; /* loop_now_ms */
    /* the result: RC_OK, RC_INVALID_STATE, RC_CODE_REFUSED, RC_PROVIDER_UNAVAILABLE,
       RC_STORAGE_UNAVAILABLE, RC_CANCELED (before the code was sent) */
    enum rc rc;
    struct slice audible_user_id; /* null: unknown */
    int64_t synced_ms;
    /* ours */
    struct linker *linker;
    enum { CONNECT_TAKE, CONNECT_EXCHANGE, CONNECT_STORE } step;
    bool is_canceled;
    struct slice user_id; /* the state's */
    char verifier[RANDOM_TEXT_BYTES];
    char audible_user_id_at[LIMIT_PROVIDER_USER_ID_BYTES];
    struct states_op take;
    struct token_op exchange;
    struct accounts_op store;
};

void connect_start(struct linker *linker, struct connect *flow, void (*done)(struct connect *flow));

/* The client is gone. Before the code is sent the flow stops; after that the code is spent, so the
 * flow goes on and stores the account. */
void connect_cancel(struct connect *flow);

/* What a finished take means: RC_OK, RC_INVALID_STATE (logged with its reason) or
 * RC_STORAGE_UNAVAILABLE. For this flow, and for a way back that spends a state without a code. */
enum rc connect_read_take(struct linker *linker, struct states_op *take, struct slice state,
                          const struct state_claim *claim, struct slice request_id);
