// SPDX-License-Identifier: MIT
#include "link/flight.h"

#include "base/mem.h"
#include "link/revocation.h"

enum {
    STORE_PAUSE_FIRST_MS = 100,
    STORE_PAUSE_MAX_MS = 5000,
    STORE_PAUSE_SHARED_MAX_MS = 1000, /* another process may come first, with the old token */
    STORE_PATIENCE_MS = 5 * 60 * 1000,
    CHECK_PAUSE_FIRST_MS = 50, /* another process refreshes: a call to the provider takes longer */
    CHECK_PAUSE_LAST_MS = 150,
};

/* -- the steps, in the order in which a refresh goes through them -- */

static void flight_read(struct flight *flight);
static void on_read(struct accounts_op *account);
static void flight_decide(struct flight *flight);
static void flight_lease(struct flight *flight);
static void on_taken(struct lease_keeper *lease, enum rc rc);
static void flight_check(struct flight *flight);
static void on_checked(struct accounts_op *account);
static void flight_refresh(struct flight *flight);
static void on_refreshed(struct token_op *refresh);
static void flight_store(struct flight *flight);
static void on_stored(struct accounts_op *account);
static void flight_believe(struct flight *flight);
static void on_believed(struct accounts_op *account);
static void flight_mark(struct flight *flight, enum account_sync status, struct slice error);
static void on_marked(struct accounts_op *account);
static void flight_deliver(struct flight *flight);
static void on_told(struct waiters *waiters);
static void flight_rest(struct flight *flight);

static struct flight *of_account(struct accounts_op *account) {
    return LIST_ENTRY(account, struct flight, account);
}

static int64_t now_ms(const struct flight *flight) {
    return loop_now_ms(flight->opts->loop);
}

static int64_t wall_ms(const struct flight *flight) {
    return loop_wall_ms(flight->opts->loop);
}

static void audit(struct flight *flight, const char *event, const char *cause) {
    LOG_AUDIT(flight->opts->log, event, flight->request_id, log_text("user_id", flight->user_id),
              log_text("audible_user_id", slice_str(flight->record.audible_user_id)),
              log_text("client", flight->client),
              log_text("outcome", cause == NULL ? SLICE("ok") : SLICE("failed")),
              log_bool("sealed", flight->account.sealed), log_text("cause", slice_str(cause)));
}

static bool holds_answer(const struct flight *flight) {
    return flight->new_access_token.at != NULL;
}

static void forget_answer(struct flight *flight) {
    secret_free(&flight->new_access_token);
    secret_free(&flight->new_refresh_token);
}

/* Whoever can use the token that there is gets it, the others hear why there is no other. */
static void serve_or(struct flight *flight, enum rc rc) {
    if (record_is_good(&flight->record, wall_ms(flight))) {
        waiters_serve(&flight->waiters);
    }
    waiters_decide_all(&flight->waiters, rc);
}

/* No refresh is possible now. */
static void settle(struct flight *flight, enum rc rc) {
    serve_or(flight, rc);
    flight_deliver(flight);
}

/* What a failure is called among processes, which may be of different releases. */
enum { NOTE_PROVIDER = 1, NOTE_STORAGE = 2, NOTE_OVERLOADED = 3 };

static int64_t note_of(enum rc rc) {
    return rc == RC_OVERLOADED            ? NOTE_OVERLOADED
           : rc == RC_STORAGE_UNAVAILABLE ? NOTE_STORAGE
                                          : NOTE_PROVIDER;
}

static enum rc read_note(int64_t note) {
    return note == NOTE_OVERLOADED ? RC_OVERLOADED
           : note == NOTE_STORAGE  ? RC_STORAGE_UNAVAILABLE
                                   : RC_PROVIDER_UNAVAILABLE;
}

static void settle_failure(struct flight *flight, enum rc rc) {
    flight->failure = rc;
    flight->refresh_from_ms = now_ms(flight) + FRESH_TOKEN_PAUSE_MS;
    flight->rest_note = note_of(rc);
    settle(flight, rc);
}

/* -- read: the record, and whether a refresh is needed -- */

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

/* Somebody waits. */
static void flight_read(struct flight *flight) {
    keep_origin(flight);
    flight->step = FLIGHT_READ;
    flight->account.request_id = flight->request_id;
    accounts_open(flight->opts->accounts, &flight->account, flight->user_id, on_read);
}

static void on_read(struct accounts_op *account) {
    struct flight *flight = of_account(account);
    enum rc rc = account->rc;
    record_take(&flight->record, account);
    if (rc == RC_OK || rc == RC_NO_KEY_OPENS) {
        audit(flight, "token_opened", rc == RC_OK ? NULL : rc_name(rc));
    }
    if (rc == RC_OK) {
        flight_decide(flight);
        return;
    }
    waiters_decide_all(&flight->waiters,
                       rc == RC_ABSENT ? RC_NOT_CONNECTED : RC_STORAGE_UNAVAILABLE);
    if (rc == RC_NO_KEY_OPENS && !flight->record.shows_reauthorization) {
        /* Shown, but it blocks no retry: a wrong key may be put right. */
        flight_mark(flight, ACCOUNT_SYNC_PENDING, FRESH_TOKEN_REAUTHORIZE);
    } else {
        flight_deliver(flight);
    }
}

static void flight_decide(struct flight *flight) {
    bool is_fresh = record_is_good(&flight->record, wall_ms(flight) + FRESH_TOKEN_AHEAD_MS);
    if (waiters_first(&flight->waiters) == NULL) {
        flight_deliver(flight); /* all have left: nobody needs a refresh */
    } else if (is_fresh && waiters_serve(&flight->waiters)) {
        if (flight->record.shows_reauthorization && !flight->record.needs_reauthorization) {
            flight_mark(flight, ACCOUNT_SYNC_SYNCED, SLICE_NULL);
        } else {
            flight_deliver(flight);
        }
    } else if (!provider_is_configured(flight->opts->provider)) {
        settle(flight, RC_NOT_CONFIGURED);
    } else if (flight->record.needs_reauthorization) {
        settle(flight, RC_PROVIDER_UNAVAILABLE);
    } else if (flight->record.refresh_token.len == 0) {
        audit(flight, "token_reauthorization_required", "no_refresh_token");
        serve_or(flight, RC_PROVIDER_UNAVAILABLE);
        flight_mark(flight, ACCOUNT_SYNC_FAILED, FRESH_TOKEN_REAUTHORIZE);
    } else if (now_ms(flight) < flight->refresh_from_ms) {
        metrics_add(flight->opts->metrics, METRIC_REFRESH_PAUSED, 1);
        settle(flight, flight->failure);
    } else if (flight->opts->leases != NULL && !lease_keeper_is_sure(&flight->lease)) {
        flight_lease(flight);
    } else {
        flight_refresh(flight);
    }
}

/* -- lease: among processes, one refreshes -- */

static void flight_lease(struct flight *flight) {
    flight->step = FLIGHT_LEASE;
    lease_keeper_take(&flight->lease, flight->request_id);
}

/* Another process refreshes, or died at it. Whoever can use the token that there is gets it, the
 * others wait. */
static void wait_for_other(struct flight *flight) {
    unsigned char random = flight->lease.op.owner[0];
    flight->check_at_ms = now_ms(flight) + CHECK_PAUSE_FIRST_MS +
                          random % (CHECK_PAUSE_LAST_MS - CHECK_PAUSE_FIRST_MS + 1);
    if (record_is_good(&flight->record, wall_ms(flight))) {
        waiters_serve(&flight->waiters);
    }
    flight_deliver(flight);
}

static void on_taken(struct lease_keeper *lease, enum rc rc) {
    struct flight *flight = LIST_ENTRY(lease, struct flight, lease);
    if (flight->step != FLIGHT_LEASE) {
        return; /* one that was lost is ours again, or isn't */
    }
    switch (rc) {
    case RC_OK:
        flight_check(flight);
        break;
    case RC_CONFLICT:
        wait_for_other(flight);
        break;
    case RC_RATE_LIMITED:
        metrics_add(flight->opts->metrics, METRIC_REFRESH_PAUSED, 1);
        flight->failure = read_note(lease->note);
        flight->refresh_from_ms = now_ms(flight) + lease->left_ms;
        settle(flight, flight->failure);
        break;
    default:
        settle(flight, RC_STORAGE_UNAVAILABLE);
    }
}

/* What has not been sent yet would be sent without it; what has is not to be sent by another
 * process. */
static void on_lost(struct lease_keeper *lease) {
    struct flight *flight = LIST_ENTRY(lease, struct flight, lease);
    if (flight->step == FLIGHT_REFRESH) {
        token_cancel(&flight->refresh);
    }
    if (flight->step == FLIGHT_REFRESH || holds_answer(flight)) {
        lease_keeper_take(lease, flight->request_id);
    }
}

static void on_lease_idle(struct lease_keeper *lease) {
    struct flight *flight = LIST_ENTRY(lease, struct flight, lease);
    if (flight->step == FLIGHT_IDLE && waiters_are_told(&flight->waiters)) {
        flight_rest(flight);
    }
}

static void flight_check(struct flight *flight) {
    flight->step = FLIGHT_CHECK;
    flight->check_at_ms = 0;
    flight->account.request_id = flight->request_id;
    accounts_read(flight->opts->accounts, &flight->account, flight->user_id, on_checked);
}

static void on_checked(struct accounts_op *account) {
    struct flight *flight = of_account(account);
    if (waiters_first(&flight->waiters) == NULL) {
        flight_deliver(flight);
    } else if (record_is_same(&flight->record, account)) {
        flight_decide(flight);
    } else {
        flight_read(flight);
    }
}

/* -- refresh: once -- */

static void flight_refresh(struct flight *flight) {
    flight->step = FLIGHT_REFRESH;
    const struct token_refresh refresh = {
        .refresh_token = secret_slice(&flight->record.refresh_token),
        .user_id = flight->user_id,
        .request_id = flight->request_id,
        .deadline_ms = now_ms(flight) + flight->opts->refresh_timeout_ms,
    };
    token_refresh(flight->opts->provider, &flight->refresh, &refresh, on_refreshed);
}

static const char *failure_cause(const struct token_op *refresh) {
    if (refresh->rc == RC_PROVIDER_UNAVAILABLE) {
        return refresh->is_refusing_us ? "client_refused" : "provider_unavailable";
    }
    return rc_name(refresh->rc);
}

static void on_refreshed(struct token_op *refresh) {
    struct flight *flight = LIST_ENTRY(refresh, struct flight, refresh);
    struct metrics *metrics = flight->opts->metrics;
    switch (refresh->rc) {
    case RC_OK:
        flight->new_access_token = secret_copy(refresh->access_token);
        flight->new_refresh_token = slice_is_null(refresh->refresh_token)
                                        ? (struct secret){0}
                                        : secret_copy(refresh->refresh_token);
        flight->new_expires_ms = wall_ms(flight) + refresh->expires_in_s * 1000;
        flight->store_pause_ms = STORE_PAUSE_FIRST_MS;
        flight->store_until_ms = now_ms(flight) + STORE_PATIENCE_MS;
        flight_store(flight);
        break;
    case RC_GRANT_REFUSED:
        flight_believe(flight);
        break;
    case RC_CANCELED: /* the lease was lost before it was sent: from the beginning */
        flight_lease(flight);
        break;
    default:
        metrics_add(metrics,
                    refresh->is_refusing_us ? METRIC_REFRESH_OPERATOR : METRIC_REFRESH_UNAVAILABLE,
                    1);
        audit(flight, "token_refresh_failed", failure_cause(refresh));
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
        .now_ms = wall_ms(flight),
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

static void give_up(struct flight *flight) {
    metrics_add(flight->opts->metrics, METRIC_REFRESH_STORAGE, 1);
    audit(flight, "token_refresh_failed", "not_stored");
    forget_answer(flight);
}

/* The store failed: those who wait hear it, the new tokens are kept and tried again. */
static void store_again(struct flight *flight) {
    int64_t pause_max_ms =
        flight->opts->leases == NULL ? STORE_PAUSE_MAX_MS : STORE_PAUSE_SHARED_MAX_MS;
    waiters_decide_all(&flight->waiters, RC_STORAGE_UNAVAILABLE);
    if (now_ms(flight) < flight->store_until_ms && !flight->is_closing) {
        flight->store_at_ms = now_ms(flight) + flight->store_pause_ms;
        flight->store_pause_ms =
            2 * flight->store_pause_ms < pause_max_ms ? 2 * flight->store_pause_ms : pause_max_ms;
        if (flight->opts->leases != NULL && lease_keeper_is_idle(&flight->lease)) {
            lease_keeper_take(&flight->lease, flight->request_id);
        }
    } else {
        give_up(flight);
    }
    flight_deliver(flight);
}

/* Someone unlinked the account meanwhile: that wins, and what we were given must not live on. */
static void give_back(struct flight *flight) {
    const struct fresh_tokens_opts *opts = flight->opts;
    struct slice token = flight->new_refresh_token.at != NULL
                             ? secret_slice(&flight->new_refresh_token)
                             : secret_slice(&flight->record.refresh_token);
    audit(flight, "token_refresh_failed", "disconnected");
    revocation_start(opts->revocations, &(struct revocation){.user_id = flight->user_id,
                                                             .audible_user_id = slice_str(
                                                                 flight->record.audible_user_id),
                                                             .request_id = flight->request_id,
                                                             .client = flight->client,
                                                             .token = token});
    forget_answer(flight);
    waiters_decide_all(&flight->waiters, RC_NOT_CONNECTED);
    flight_deliver(flight);
}

static void on_stored(struct accounts_op *account) {
    struct flight *flight = of_account(account);
    switch (account->rc) {
    case RC_OK:
        take_new_tokens(flight);
        metrics_add(flight->opts->metrics, METRIC_REFRESH_OK, 1);
        audit(flight, "token_refreshed", NULL);
        serve_or(flight, RC_PROVIDER_UNAVAILABLE);
        if (flight->record.shows_reauthorization) {
            flight_mark(flight, ACCOUNT_SYNC_SYNCED, SLICE_NULL);
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
        store_again(flight);
    }
}

/* -- believe: what is stored now, when the provider or the fence says no -- */

static void flight_believe(struct flight *flight) {
    flight->step = FLIGHT_BELIEVE;
    flight->account.request_id = flight->request_id;
    accounts_open(flight->opts->accounts, &flight->account, flight->user_id, on_believed);
}

/* The token that we sent is still the one that is stored (it may have been sealed anew). */
static bool is_still_ours(const struct flight *flight) {
    return slice_eq_ct(flight->account.refresh_token, secret_slice(&flight->record.refresh_token));
}

static void mark_refused(struct flight *flight) {
    metrics_add(flight->opts->metrics, METRIC_REFRESH_GRANT_REFUSED, 1);
    audit(flight, "token_reauthorization_required", "invalid_grant");
    serve_or(flight, RC_PROVIDER_UNAVAILABLE);
    flight_mark(flight, ACCOUNT_SYNC_FAILED, FRESH_TOKEN_REAUTHORIZE);
}

/* Another refresh or a new link stands: ours is forgotten, and those who wait get the winner's. */
static void take_winner(struct flight *flight) {
    forget_answer(flight);
    record_take(&flight->record, &flight->account);
    metrics_add(flight->opts->metrics, METRIC_REFRESH_OVERTAKEN, 1);
    audit(flight, "token_refresh_failed", "overtaken");
    serve_or(flight, RC_PROVIDER_UNAVAILABLE);
    flight_deliver(flight);
}

static void on_believed(struct accounts_op *account) {
    struct flight *flight = of_account(account);
    if (account->rc == RC_OK && is_still_ours(flight)) {
        record_take(&flight->record, &flight->account);
        if (holds_answer(flight)) {
            flight_store(flight);
        } else {
            mark_refused(flight);
        }
    } else if (account->rc == RC_OK) {
        take_winner(flight);
    } else if (account->rc == RC_ABSENT && holds_answer(flight)) {
        give_back(flight);
    } else if (account->rc == RC_ABSENT) {
        waiters_decide_all(&flight->waiters, RC_NOT_CONNECTED);
        flight_deliver(flight);
    } else if (holds_answer(flight)) {
        store_again(flight);
    } else {
        settle_failure(flight, RC_STORAGE_UNAVAILABLE);
    }
}

/* -- mark: what clients see in last_sync_error -- */

static void flight_mark(struct flight *flight, enum account_sync status, struct slice error) {
    flight->step = FLIGHT_MARK;
    flight->account.request_id = flight->request_id;
    const struct account_mark mark = {.user_id = flight->user_id,
                                      .fence = slice_str(flight->record.fence),
                                      .sync_status = status,
                                      .last_sync_error = error};
    accounts_mark(flight->opts->accounts, &flight->account, &mark, on_marked);
}

/* Whatever became of it (a conflict: the record has moved on), the answers stand. */
static void on_marked(struct accounts_op *account) {
    flight_deliver(of_account(account));
}

/* -- deliver: the answers, some a turn -- */

static void flight_deliver(struct flight *flight) {
    flight->step = FLIGHT_DELIVER;
    if (!holds_answer(flight)) {
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

static void on_timer(struct loop_timer *timer);

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
        loop_timer_start(&flight->timer, at_ms - now_ms(flight), 0, on_timer);
    }
}

static void on_timer(struct loop_timer *timer) {
    struct flight *flight = LIST_ENTRY(timer, struct flight, timer);
    bool is_asked = flight->step == FLIGHT_REFRESH || flight->check_at_ms != 0;
    bool is_due = flight->store_at_ms != 0 && flight->store_at_ms <= now_ms(flight);
    waiters_expire(&flight->waiters, is_asked ? RC_PROVIDER_UNAVAILABLE : RC_STORAGE_UNAVAILABLE);
    if (flight->step != FLIGHT_IDLE) {
        set_timer(flight);
    } else if (is_due) {
        flight_store(flight);
        set_timer(flight);
    } else if (waiters_are_told(&flight->waiters)) {
        flight_rest(flight);
    } /* else on_told goes on */
}

/* Somebody waits. */
static void flight_next(struct flight *flight) {
    if (flight->check_at_ms == 0) {
        flight_read(flight);
    } else if (flight->check_at_ms <= now_ms(flight)) {
        flight_check(flight);
        set_timer(flight);
    } else {
        set_timer(flight);
    }
}

static void flight_rest(struct flight *flight) {
    flight->step = FLIGHT_IDLE;
    if (flight->is_closing && holds_answer(flight)) {
        give_up(flight);
        lease_keeper_end(&flight->lease, 0, 0);
    }
    if (waiters_first(&flight->waiters) == NULL) {
        flight->check_at_ms = 0;
    }
    if (flight->refresh_from_ms <= now_ms(flight)) {
        flight->refresh_from_ms = 0;
    }
    if (holds_answer(flight)) {
        set_timer(flight);
    } else if (waiters_first(&flight->waiters) != NULL) {
        flight_next(flight);
    } else if (!flight->is_closing && flight->refresh_from_ms != 0) {
        secret_free(&flight->record.access_token);
        secret_free(&flight->record.refresh_token);
        set_timer(flight);
    } else if (lease_keeper_is_idle(&flight->lease)) {
        flight->ended(flight);
    } else {
        loop_timer_stop(&flight->timer); /* on_lease_idle follows */
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
    if (opts->leases != NULL) {
        flight->lease.taken = on_taken;
        flight->lease.lost = on_lost;
        flight->lease.idle = on_lease_idle;
        lease_keeper_open(&flight->lease, opts->leases, opts->loop, flight->user_id);
    }
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
    if (flight->step == FLIGHT_IDLE && !holds_answer(flight) && flight->check_at_ms == 0) {
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
