// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/mem.h"
#include "store/accounts.h"

/* An account with its tokens as it was read last: a copy, which outlives the operation that read
 * it. All zero: none. */
struct record {
    struct secret access_token;
    struct secret refresh_token;
    char *fence; /* the sealed refresh token; NULL: none */
    char *audible_user_id;
    int64_t expires_ms;
    bool needs_reauthorization; /* the stored refresh token was refused */
    bool shows_reauthorization; /* last_sync_error says so, for whatever cause */
};

/* What accounts_open brought. With RC_NO_KEY_OPENS all but the tokens; with any other failure
 * nothing. */
void record_take(struct record *record, const struct accounts_op *account);
void record_forget(struct record *record);

/* What accounts_read brought is the record that it was, but for what its marks say, which is taken
 * over. */
bool record_is_same(struct record *record, const struct accounts_op *account);

/* The access token works, as far as the clock can tell. */
bool record_is_good(const struct record *record, int64_t wall_ms);
