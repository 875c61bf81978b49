// SPDX-License-Identifier: MIT
#include "link/record.h"

#include "link/fresh_token.h"

static char *copy_or_null(struct slice text) {
    return slice_is_null(text) ? NULL : mem_strdup(text);
}

void record_forget(struct record *record) {
    secret_free(&record->access_token);
    secret_free(&record->refresh_token);
    mem_free(record->fence);
    mem_free(record->audible_user_id);
    *record = (struct record){0};
}

static void take_marks(struct record *record, const struct accounts_op *account) {
    record->shows_reauthorization =
        slice_eq(account->view.last_sync_error, FRESH_TOKEN_REAUTHORIZE);
    record->needs_reauthorization =
        record->shows_reauthorization && account->sync_status == ACCOUNT_SYNC_FAILED;
}

void record_take(struct record *record, const struct accounts_op *account) {
    record_forget(record);
    if (account->rc == RC_OK) {
        record->access_token = secret_copy(account->access_token);
        record->refresh_token = secret_copy(account->refresh_token);
        record->expires_ms = account->expires_ms;
    }
    if (account->rc == RC_OK || account->rc == RC_NO_KEY_OPENS) {
        record->fence = copy_or_null(account->sealed_refresh);
        record->audible_user_id = copy_or_null(account->view.audible_user_id);
        take_marks(record, account);
    }
}

/* The time as well as the fence: without keys a refresh token that isn't rotated is its own fence.
 */
bool record_is_same(struct record *record, const struct accounts_op *account) {
    bool is_same = account->rc == RC_OK && account->expires_ms == record->expires_ms &&
                   slice_eq(account->sealed_refresh, slice_str(record->fence));
    if (is_same) {
        take_marks(record, account);
    }
    return is_same;
}

bool record_is_good(const struct record *record, int64_t wall_ms) {
    return record->expires_ms > wall_ms && record->access_token.len > 0;
}
