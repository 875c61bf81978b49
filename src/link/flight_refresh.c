// SPDX-License-Identifier: MIT
#include "base/mem.h"
#include "link/flight_steps.h"
#include "link/revocation.h"

enum {
    STORE_PAUSE_FIRST_MS = 100,
    STORE_PAUSE_MAX_MS = 5000,
    STORE_PAUSE_SHARED_MAX_MS = 1000, /* another process may come first, with the old token */
    STORE_PATIENCE_MS = 5 * 60 * 1000,
};

static void on_refreshed(struct token_op *refresh);
static void flight_store(struct flight *flight);
static void on_stored(struct accounts_op *account);
static void on_believed(struct accounts_op *account);
static void note_refusal(struct flight *flight);
static void on_refusal_noted(struct accounts_op *account);

/* -- refresh: once -- */

void flight_refresh(struct flight *flight) {
    flight->step = FLIGHT_REFRESH;
    const struct token_refresh refresh = {
        .refresh_token = secret_slice(&flight->record.refresh_token),
        .user_id = flight->user_id,
        .request_id = flight->request_id,
        .deadline_ms = flight_now_ms(flight) + flight->opts->refresh_timeout_ms,
    };
    token_refresh(flight->opts->provider, &flight->refresh, &refresh, on_refreshed);
}

static const char *failure_cause(const struct token_op *refresh) {
    if (refresh->rc == RC_PROVIDER_UNAVAILABLE) {
        return refresh->is_refusing_us ? "client_refused" : "provider_unavailable";
    }
    return rc_name(refresh->rc);
}

/* For everyone, and for a while. */
static void settle_failure(struct flight *flight, enum rc rc) {
    flight->failure = rc;
    flight->refresh_from_ms = flight_now_ms(flight) + FRESH_TOKEN_PAUSE_MS;
    flight->rest_note = flight_note_of(rc);
    flight_settle(flight, rc);
}

static void start_patience(struct flight *flight) {
    flight->store_pause_ms = STORE_PAUSE_FIRST_MS;
    flight->store_until_ms = flight_now_ms(flight) + STORE_PATIENCE_MS;
}

static void on_refreshed(struct token_op *refresh) {
    struct flight *flight = LIST_ENTRY(refresh, struct flight, refresh);
    if (refresh->rc == RC_OK) {
        flight->new_access_token = secret_copy(refresh->access_token);
        flight->new_refresh_token = slice_is_null(refresh->refresh_token)
                                        ? (struct secret){0}
                                        : secret_copy(refresh->refresh_token);
        flight->new_expires_ms = flight_wall_ms(flight) + refresh->expires_in_s * 1000;
        start_patience(flight);
        flight_store(flight);
    } else if (refresh->rc == RC_GRANT_REFUSED) {
        flight_believe(flight);
    } else if (refresh->rc == RC_CANCELED && flight->opts->leases != NULL) {
        flight_lease(flight); /* the lease was lost before it was sent: from the beginning */
    } else {
        metrics_add(flight->opts->metrics,
                    refresh->is_refusing_us ? METRIC_REFRESH_OPERATOR : METRIC_REFRESH_UNAVAILABLE,
                    1);
        flight_audit(flight, "token_refresh_failed", failure_cause(refresh));
        settle_failure(flight,
                       refresh->rc == RC_OVERLOADED ? RC_OVERLOADED : RC_PROVIDER_UNAVAILABLE);
    }
}

/* -- store: before anyone uses it -- */

static void flight_store(struct flight *flight) {
    const struct secret *refresh_token = flight->new_refresh_token.at != NULL
                                             ? &flight->new_refresh_token
                                             : &flight->record.refresh_token;
    const struct account_tokens tokens = {
        .user_id = flight->user_id,
        .access_token = secret_slice(&flight->new_access_token),
        .refresh_token = secret_slice(refresh_token),
        .expires_ms = flight->new_expires_ms,
        .now_ms = flight_wall_ms(flight),
        .fence = slice_str(flight->record.fence),
    };
    flight->step = FLIGHT_STORE;
    flight->store_at_ms = 0;
    flight->account.request_id = flight->request_id;
    accounts_swap(flight->opts->accounts, &flight->account, &tokens, on_stored);
}

static void take_new_tokens(struct flight *flight) {
    struct slice fence = flight->account.sealed_refresh;
    mem_free(flight->record.fence);
    flight->record.fence = slice_is_null(fence) ? NULL : mem_strdup(fence);
    secret_free(&flight->record.access_token);
    flight->record.access_token = flight->new_access_token;
    flight->new_access_token = (struct secret){0};
    if (flight->new_refresh_token.at != NULL) {
        secret_free(&flight->record.refresh_token);
        flight->record.refresh_token = flight->new_refresh_token;
        flight->new_refresh_token = (struct secret){0};
    }
    flight->record.expires_ms = flight->new_expires_ms;
}

static void forget_answer(struct flight *flight) {
    secret_free(&flight->new_access_token);
    secret_free(&flight->new_refresh_token);
}

void flight_forget_refusal(struct flight *flight) {
    mem_free(flight->refused_fence);
    flight->refused_fence = NULL;
    flight->store_at_ms = 0;
}

void flight_give_up(struct flight *flight) {
    if (flight_holds_answer(flight)) {
        metrics_add(flight->opts->metrics, METRIC_REFRESH_STORAGE, 1);
        flight_audit(flight, "token_refresh_failed", "not_stored");
    }
    forget_answer(flight);
    flight_forget_refusal(flight);
}

/* The store failed: it is tried again, under the lease, as nobody else may send what was sent.
 * False: not any more. */
static bool wait_to_store(struct flight *flight) {
    const struct fresh_tokens_opts *opts = flight->opts;
    int64_t pause_max_ms = opts->leases == NULL ? STORE_PAUSE_MAX_MS : STORE_PAUSE_SHARED_MAX_MS;
    if (flight->is_closing || flight_now_ms(flight) >= flight->store_until_ms) {
        return false;
    }
    flight->store_at_ms = flight_now_ms(flight) + flight->store_pause_ms;
    flight->store_pause_ms *= 2;
    if (flight->store_pause_ms > pause_max_ms) {
        flight->store_pause_ms = pause_max_ms;
    }
    if (opts->leases != NULL && lease_keeper_is_idle(&flight->lease)) {
        lease_keeper_take(&flight->lease, flight->request_id);
    }
    return true;
}

void flight_store_again(struct flight *flight) {
    if (flight_holds_answer(flight)) {
        flight_store(flight);
    } else {
        note_refusal(flight);
    }
}

/* Those who wait hear it, the new tokens are kept. */
static void keep_for_later(struct flight *flight) {
    waiters_decide_all(&flight->waiters, RC_STORAGE_UNAVAILABLE);
    if (!wait_to_store(flight)) {
        flight_give_up(flight);
    }
    flight_deliver(flight);
}

/* Someone unlinked the account meanwhile: that wins, and what we were given must not live on. */
static void give_back(struct flight *flight) {
    struct slice token = flight->new_refresh_token.at != NULL
                             ? secret_slice(&flight->new_refresh_token)
                             : secret_slice(&flight->record.refresh_token);
    flight_audit(flight, "token_refresh_failed", "disconnected");
    const struct revocation revocation = {
        .user_id = flight->user_id,
        .audible_user_id = slice_str(flight->record.audible_user_id),
        .request_id = flight->request_id,
        .client = flight->client,
        .token = token,
    };
    revocation_start(flight->opts->revocations, &revocation);
    forget_answer(flight);
    waiters_decide_all(&flight->waiters, RC_NOT_CONNECTED);
    flight_deliver(flight);
}

static void on_stored(struct accounts_op *account) {
    struct flight *flight = flight_of_account(account);
    switch (account->rc) {
    case RC_OK:
        take_new_tokens(flight);
        metrics_add(flight->opts->metrics, METRIC_REFRESH_OK, 1);
        flight_audit(flight, "token_refreshed", NULL);
        flight_serve_or(flight, RC_PROVIDER_UNAVAILABLE);
        if (flight->record.shows_reauthorization) {
            flight_mark(flight, FLIGHT_MARK_REFRESHED, flight_marked);
        } else {
            flight_deliver(flight);
        }
        break;
    case RC_ABSENT:
        give_back(flight);
        break;
    case RC_CONFLICT:
        flight_believe(flight);
        break;
    default:
        keep_for_later(flight);
    }
}

/* -- believe: what is stored now, when the provider or the fence says no -- */

void flight_believe(struct flight *flight) {
    flight->is_refused = !flight_holds_answer(flight);
    if (flight->is_refused && !flight_may_send(flight)) {
        /* Whoever has the lease by now may be about to store what that token brought it. */
        flight_lease(flight);
        return;
    }
    flight->step = FLIGHT_BELIEVE;
    flight->is_refused = false;
    flight->account.request_id = flight->request_id;
    accounts_open(flight->opts->accounts, &flight->account, flight->user_id, on_believed);
}

/* The token that we sent is still the one that is stored (it may have been sealed anew). */
static bool is_still_ours(const struct flight *flight) {
    return slice_eq_ct(flight->account.refresh_token, secret_slice(&flight->record.refresh_token));
}

static void settle_refusal(struct flight *flight) {
    metrics_add(flight->opts->metrics, METRIC_REFRESH_GRANT_REFUSED, 1);
    flight_audit(flight, "token_reauthorization_required", "invalid_grant");
    flight_serve_or(flight, RC_PROVIDER_UNAVAILABLE);
    flight->refused_fence = mem_strdup(slice_str(flight->record.fence));
    start_patience(flight);
    note_refusal(flight);
}

/* Another refresh or a new link stands: ours is forgotten, and those who wait get the winner's. */
static void take_winner(struct flight *flight) {
    forget_answer(flight);
    record_take(&flight->record, &flight->account);
    metrics_add(flight->opts->metrics, METRIC_REFRESH_OVERTAKEN, 1);
    flight_audit(flight, "token_refresh_failed", "overtaken");
    flight_settle(flight, RC_PROVIDER_UNAVAILABLE);
}

static void on_believed(struct accounts_op *account) {
    struct flight *flight = flight_of_account(account);
    bool holds_answer = flight_holds_answer(flight);
    if (account->rc == RC_OK && !is_still_ours(flight)) {
        take_winner(flight);
    } else if (account->rc == RC_OK) {
        record_take(&flight->record, account);
        if (holds_answer) {
            flight_store(flight);
        } else {
            settle_refusal(flight);
        }
    } else if (account->rc == RC_ABSENT && holds_answer) {
        give_back(flight);
    } else if (account->rc == RC_ABSENT) {
        waiters_decide_all(&flight->waiters, RC_NOT_CONNECTED);
        flight_deliver(flight);
    } else if (holds_answer) {
        keep_for_later(flight);
    } else {
        settle_failure(flight, RC_STORAGE_UNAVAILABLE);
    }
}

/* -- mark: what clients see in last_sync_error -- */

static const struct account_mark *mark_of(enum flight_mark mark) {
#define REAUTHORIZE                                                                                \
    { FRESH_TOKEN_REAUTHORIZE_TEXT, sizeof FRESH_TOKEN_REAUTHORIZE_TEXT - 1 }
    static const struct account_mark marks[] = {
        [FLIGHT_MARK_UNOPENED] = {.sync_status = ACCOUNT_SYNC_PENDING,
                                  .last_sync_error = REAUTHORIZE},
        [FLIGHT_MARK_OPENED] = {.sync_status = ACCOUNT_SYNC_SYNCED, .error_fence = REAUTHORIZE},
        [FLIGHT_MARK_REFRESHED] = {.sync_status = ACCOUNT_SYNC_SYNCED},
        [FLIGHT_MARK_REFUSED] = {.sync_status = ACCOUNT_SYNC_FAILED,
                                 .last_sync_error = REAUTHORIZE},
    };
#undef REAUTHORIZE
    return &marks[mark];
}

static void mark_under(struct flight *flight, const char *fence, enum flight_mark mark,
                       void (*done)(struct accounts_op *account)) {
    struct account_mark whole = *mark_of(mark);
    whole.user_id = flight->user_id;
    whole.fence = slice_str(fence);
    flight->step = FLIGHT_MARK;
    flight->account.request_id = flight->request_id;
    accounts_mark(flight->opts->accounts, &flight->account, &whole, done);
}

void flight_mark(struct flight *flight, enum flight_mark mark,
                 void (*done)(struct accounts_op *account)) {
    mark_under(flight, flight->record.fence, mark, done);
}

void flight_marked(struct accounts_op *account) {
    flight_deliver(flight_of_account(account));
}

/* Unlike the other marks this one is tried again: what was refused must not be sent once more. */
static void note_refusal(struct flight *flight) {
    flight->store_at_ms = 0;
    mark_under(flight, flight->refused_fence, FLIGHT_MARK_REFUSED, on_refusal_noted);
}

static void on_refusal_noted(struct accounts_op *account) {
    struct flight *flight = flight_of_account(account);
    if (account->rc != RC_STORAGE_UNAVAILABLE || !wait_to_store(flight)) {
        flight_forget_refusal(flight);
    }
    flight_deliver(flight);
}
