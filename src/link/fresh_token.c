// SPDX-License-Identifier: MIT
#include "link/fresh_token.h"

#include <uthash.h>

#include "base/limits.h"
#include "base/mem.h"
#include "link/revocation.h"
#include "provider/token.h"

enum {
    DELIVER_MAX = 64, /* waiters a turn: a thousand of them hold nobody else up */
    STORE_PAUSE_FIRST_MS = 100,
    STORE_PAUSE_MAX_MS = 5000,
    STORE_TRIES_MAX = 60,
};

/* One user's way to a token. It lives from the first who asks until nobody waits and its pause is
 * over. */
struct fresh_token_flight {
    struct fresh_tokens *tokens;
    UT_hash_handle hh;
    char user_id_at[LIMIT_USER_ID_BYTES];
    struct slice user_id;
    enum {
        FLIGHT_IDLE,    /* nothing under way */
        FLIGHT_READ,    /* the record is being read */
        FLIGHT_REFRESH, /* the provider is being asked */
        FLIGHT_STORE,   /* what it gave is being committed, or waits to be tried again */
        FLIGHT_BELIEVE, /* it refused the token: is it still the one that is stored? */
        FLIGHT_MARK,    /* what became of it is being noted */
        FLIGHT_DELIVER, /* the result is being handed out */
    } step;
    struct list waiters;  /* fresh_token, of whom nothing is decided */
    struct list decided;  /* those whose `rc` is set, until they are told */
    struct list canceled; /* the same, by their owner */
    struct loop_task deliver;
    struct loop_timer timer; /* of the first deadline, a store's pause, the pause after a failure */
    int64_t first_deadline_ms; /* of the waiters; 0: none */
    int64_t store_at_ms;       /* 0: no store waits */
    int64_t refresh_from_ms;   /* no refresh starts before */
    enum rc failure;           /* of the last refresh */

    /* the record as it was read */
    struct accounts_op account;
    struct secret access_token;
    struct secret refresh_token;
    char *fence;
    char *audible_user_id;
    int64_t expires_ms;
    bool needs_reauthorization; /* the stored refresh token was refused */
    bool shows_reauthorization; /* last_sync_error says so, for whatever cause */

    struct token_op refresh;
    struct secret new_access_token;
    struct secret new_refresh_token; /* at is NULL: the old one stays */
    int64_t new_expires_ms;
    unsigned store_tries;
    char request_id_at[LIMIT_REQUEST_ID_BYTES];
    char client_at[64];
    struct slice request_id; /* of the one who began it, for its log lines */
    struct slice client;
};

struct fresh_tokens {
    struct fresh_tokens_opts opts;
    struct fresh_token_flight *flights; /* by user id */
    size_t flight_count;
    bool is_closing;
    void (*closed)(void *owner);
    void *closed_owner;
    struct loop_task close_task;
};

/* -- the steps, in the order in which a refresh goes through them -- */

static void flight_read(struct fresh_token_flight *flight);
static void on_read(struct accounts_op *account);
static void flight_decide(struct fresh_token_flight *flight);
static void flight_refresh(struct fresh_token_flight *flight);
static void on_refreshed(struct token_op *refresh);
static void flight_store(struct fresh_token_flight *flight);
static void on_stored(struct accounts_op *account);
static void flight_believe(struct fresh_token_flight *flight);
static void on_believed(struct accounts_op *account);
static void flight_mark(struct fresh_token_flight *flight, enum account_sync status,
                        struct slice error);
static void on_marked(struct accounts_op *account);
static void flight_deliver(struct fresh_token_flight *flight);
static void on_deliver(struct loop_task *task);
static void flight_rest(struct fresh_token_flight *flight);
static void on_close(struct loop_task *task);

static struct fresh_token_flight *of_account(struct accounts_op *account) {
    return LIST_ENTRY(account, struct fresh_token_flight, account);
}

static int64_t now_ms(const struct fresh_token_flight *flight) {
    return loop_now_ms(flight->tokens->opts.loop);
}

static int64_t wall_ms(const struct fresh_token_flight *flight) {
    return loop_wall_ms(flight->tokens->opts.loop);
}

static void audit(struct fresh_token_flight *flight, const char *event, const char *cause) {
    LOG_AUDIT(flight->tokens->opts.log, event, flight->request_id,
              log_text("user_id", flight->user_id),
              log_text("audible_user_id", slice_str(flight->audible_user_id)),
              log_text("client", flight->client),
              log_text("outcome", cause == NULL ? SLICE("ok") : SLICE("failed")),
              log_bool("sealed", flight->account.sealed), log_text("cause", slice_str(cause)));
}

/* -- what was read -- */

static void forget_record(struct fresh_token_flight *flight) {
    secret_free(&flight->access_token);
    secret_free(&flight->refresh_token);
    mem_free(flight->fence);
    mem_free(flight->audible_user_id);
    flight->fence = NULL;
    flight->audible_user_id = NULL;
}

static void forget_answer(struct fresh_token_flight *flight) {
    secret_free(&flight->new_access_token);
    secret_free(&flight->new_refresh_token);
}

static char *copy_or_null(struct slice text) {
    return slice_is_null(text) ? NULL : mem_strdup(text);
}

static void keep_record(struct fresh_token_flight *flight) {
    const struct accounts_op *account = &flight->account;
    forget_record(flight);
    flight->access_token = secret_copy(account->access_token);
    flight->refresh_token = secret_copy(account->refresh_token);
    flight->fence = copy_or_null(account->sealed_refresh);
    flight->audible_user_id = copy_or_null(account->view.audible_user_id);
    flight->expires_ms = account->expires_ms;
    flight->shows_reauthorization =
        slice_eq(account->view.last_sync_error, FRESH_TOKEN_REAUTHORIZE);
    flight->needs_reauthorization =
        flight->shows_reauthorization && account->sync_status == ACCOUNT_SYNC_FAILED;
}

/* -- who waits -- */

static void decide(struct fresh_token *op, enum rc rc) {
    op->rc = rc;
    list_remove(&op->node);
    list_append(&op->flight->decided, &op->node);
}

static void decide_all(struct fresh_token_flight *flight, enum rc rc) {
    while (!list_is_empty(&flight->waiters)) {
        decide(LIST_ENTRY(flight->waiters.next, struct fresh_token, node), rc);
    }
}

static bool is_refused(const struct fresh_token_flight *flight, const struct fresh_token *op) {
    return !slice_is_null(op->refused) &&
           slice_eq_ct(op->refused, secret_slice(&flight->access_token));
}

/* Gives the stored access token to all whom it helps: not to those for whom the provider refused
 * it. True: nobody is left. */
static bool serve_stored(struct fresh_token_flight *flight) {
    struct list *node = flight->waiters.next;
    while (node != &flight->waiters) {
        struct fresh_token *op = LIST_ENTRY(node, struct fresh_token, node);
        node = node->next;
        if (!is_refused(flight, op)) {
            decide(op, RC_OK);
        }
    }
    return list_is_empty(&flight->waiters);
}

/* No refresh is possible now. Whoever can use the old token gets it, the others hear why. */
static void settle(struct fresh_token_flight *flight, enum rc rc) {
    if (flight->expires_ms > wall_ms(flight) && flight->access_token.len > 0) {
        serve_stored(flight);
    }
    decide_all(flight, rc);
    flight_deliver(flight);
}

static void settle_failure(struct fresh_token_flight *flight, enum rc rc) {
    flight->failure = rc;
    flight->refresh_from_ms = now_ms(flight) + FRESH_TOKEN_PAUSE_MS;
    settle(flight, rc);
}

/* -- read: the record, and whether a refresh is needed -- */

static void flight_read(struct fresh_token_flight *flight) {
    const struct fresh_token *first = LIST_ENTRY(flight->waiters.next, struct fresh_token, node);
    struct slice request_id = slice_head(first->request_id, sizeof flight->request_id_at);
    struct slice client = slice_head(first->client, sizeof flight->client_at);
    flight->request_id = slice_make(flight->request_id_at, request_id.len);
    flight->client = slice_make(flight->client_at, client.len);
    memcpy(flight->request_id_at, request_id.len > 0 ? request_id.at : "", request_id.len);
    memcpy(flight->client_at, client.len > 0 ? client.at : "", client.len);
    flight->step = FLIGHT_READ;
    flight->account.request_id = flight->request_id;
    accounts_open(flight->tokens->opts.accounts, &flight->account, flight->user_id, on_read);
}

/* True: it was read, and its tokens opened. */
static bool take_record(struct fresh_token_flight *flight) {
    enum rc rc = flight->account.rc;
    if (rc == RC_OK) {
        keep_record(flight);
        audit(flight, "token_opened", NULL);
        return true;
    }
    forget_record(flight);
    flight->expires_ms = 0;
    if (rc == RC_NO_KEY_OPENS) {
        flight->fence = copy_or_null(flight->account.sealed_refresh);
        flight->audible_user_id = copy_or_null(flight->account.view.audible_user_id);
        flight->shows_reauthorization =
            slice_eq(flight->account.view.last_sync_error, FRESH_TOKEN_REAUTHORIZE);
        audit(flight, "token_opened", rc_name(rc));
    }
    return false;
}

static void on_read(struct accounts_op *account) {
    struct fresh_token_flight *flight = of_account(account);
    if (take_record(flight)) {
        flight_decide(flight);
    } else if (account->rc == RC_ABSENT) {
        decide_all(flight, RC_NOT_CONNECTED);
        flight_deliver(flight);
    } else if (account->rc == RC_NO_KEY_OPENS && !flight->shows_reauthorization) {
        /* Shown, but it blocks no retry: a wrong key may be put right. */
        decide_all(flight, RC_STORAGE_UNAVAILABLE);
        flight_mark(flight, ACCOUNT_SYNC_PENDING, FRESH_TOKEN_REAUTHORIZE);
    } else {
        decide_all(flight, RC_STORAGE_UNAVAILABLE);
        flight_deliver(flight);
    }
}

static void flight_decide(struct fresh_token_flight *flight) {
    bool is_fresh = flight->expires_ms > wall_ms(flight) + FRESH_TOKEN_AHEAD_MS;
    if (list_is_empty(&flight->waiters)) {
        flight_deliver(flight); /* all have left: nobody needs a refresh */
    } else if (is_fresh && serve_stored(flight)) {
        if (flight->shows_reauthorization && !flight->needs_reauthorization) {
            flight_mark(flight, ACCOUNT_SYNC_SYNCED, SLICE_NULL);
        } else {
            flight_deliver(flight);
        }
    } else if (!provider_is_configured(flight->tokens->opts.provider)) {
        settle(flight, RC_NOT_CONFIGURED);
    } else if (flight->needs_reauthorization) {
        settle(flight, RC_PROVIDER_UNAVAILABLE);
    } else if (flight->refresh_token.len == 0) {
        audit(flight, "token_reauthorization_required", "no_refresh_token");
        if (flight->expires_ms > wall_ms(flight)) {
            serve_stored(flight);
        }
        decide_all(flight, RC_PROVIDER_UNAVAILABLE);
        flight_mark(flight, ACCOUNT_SYNC_FAILED, FRESH_TOKEN_REAUTHORIZE);
    } else if (now_ms(flight) < flight->refresh_from_ms) {
        metrics_add(flight->tokens->opts.metrics, METRIC_REFRESH_PAUSED, 1);
        settle(flight, flight->failure);
    } else {
        flight_refresh(flight);
    }
}

/* -- refresh: once -- */

static void flight_refresh(struct fresh_token_flight *flight) {
    flight->step = FLIGHT_REFRESH;
    const struct token_refresh refresh = {
        .refresh_token = secret_slice(&flight->refresh_token),
        .user_id = flight->user_id,
        .request_id = flight->request_id,
        .deadline_ms = now_ms(flight) + flight->tokens->opts.refresh_timeout_ms,
    };
    token_refresh(flight->tokens->opts.provider, &flight->refresh, &refresh, on_refreshed);
}

static const char *failure_cause(const struct token_op *refresh) {
    if (refresh->rc == RC_PROVIDER_UNAVAILABLE) {
        return refresh->is_refusing_us ? "client_refused" : "provider_unavailable";
    }
    return rc_name(refresh->rc);
}

static void on_refreshed(struct token_op *refresh) {
    struct fresh_token_flight *flight = LIST_ENTRY(refresh, struct fresh_token_flight, refresh);
    struct metrics *metrics = flight->tokens->opts.metrics;
    switch (refresh->rc) {
    case RC_OK:
        flight->new_access_token = secret_copy(refresh->access_token);
        flight->new_refresh_token = slice_is_null(refresh->refresh_token)
                                        ? (struct secret){0}
                                        : secret_copy(refresh->refresh_token);
        flight->new_expires_ms = wall_ms(flight) + refresh->expires_in_s * 1000;
        flight->store_tries = 0;
        flight_store(flight);
        break;
    case RC_GRANT_REFUSED:
        flight_believe(flight);
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

static void flight_store(struct fresh_token_flight *flight) {
    const struct secret *refresh_token =
        flight->new_refresh_token.at != NULL ? &flight->new_refresh_token : &flight->refresh_token;
    const struct account_tokens tokens = {
        .user_id = flight->user_id,
        .access_token = secret_slice(&flight->new_access_token),
        .refresh_token = secret_slice(refresh_token),
        .expires_ms = flight->new_expires_ms,
        .now_ms = wall_ms(flight),
        .fence = slice_str(flight->fence),
    };
    flight->step = FLIGHT_STORE;
    flight->store_at_ms = 0;
    flight->account.request_id = flight->request_id;
    accounts_swap(flight->tokens->opts.accounts, &flight->account, &tokens, on_stored);
}

static void take_new_tokens(struct fresh_token_flight *flight) {
    secret_free(&flight->access_token);
    flight->access_token = flight->new_access_token;
    flight->new_access_token = (struct secret){0};
    if (flight->new_refresh_token.at != NULL) {
        secret_free(&flight->refresh_token);
        flight->refresh_token = flight->new_refresh_token;
        flight->new_refresh_token = (struct secret){0};
    }
    flight->expires_ms = flight->new_expires_ms;
}

/* The store failed: those who wait hear it, the new tokens are kept and tried again. */
static void store_again(struct fresh_token_flight *flight) {
    int64_t pause_ms = STORE_PAUSE_FIRST_MS;
    for (unsigned i = 0; i < flight->store_tries && pause_ms < STORE_PAUSE_MAX_MS; i++) {
        pause_ms *= 2;
    }
    decide_all(flight, RC_STORAGE_UNAVAILABLE);
    if (++flight->store_tries < STORE_TRIES_MAX && !flight->tokens->is_closing) {
        flight->store_at_ms = now_ms(flight) + pause_ms;
    } else {
        metrics_add(flight->tokens->opts.metrics, METRIC_REFRESH_STORAGE, 1);
        audit(flight, "token_refresh_failed", "not_stored");
        forget_answer(flight);
    }
    flight_deliver(flight);
}

/* Someone unlinked the account meanwhile: that wins, and what we were given must not live on. */
static void give_back(struct fresh_token_flight *flight) {
    const struct fresh_tokens_opts *opts = &flight->tokens->opts;
    struct slice token = flight->new_refresh_token.at != NULL
                             ? secret_slice(&flight->new_refresh_token)
                             : secret_slice(&flight->refresh_token);
    audit(flight, "token_refresh_failed", "disconnected");
    revocation_start(opts->revocations,
                     &(struct revocation){.user_id = flight->user_id,
                                          .audible_user_id = slice_str(flight->audible_user_id),
                                          .request_id = flight->request_id,
                                          .client = flight->client,
                                          .token = token});
    forget_answer(flight);
    decide_all(flight, RC_NOT_CONNECTED);
    flight_deliver(flight);
}

static void on_stored(struct accounts_op *account) {
    struct fresh_token_flight *flight = of_account(account);
    switch (account->rc) {
    case RC_OK:
        mem_free(flight->fence);
        flight->fence = copy_or_null(account->sealed_refresh);
        take_new_tokens(flight);
        metrics_add(flight->tokens->opts.metrics, METRIC_REFRESH_OK, 1);
        audit(flight, "token_refreshed", NULL);
        serve_stored(flight);
        decide_all(flight, RC_PROVIDER_UNAVAILABLE);
        if (flight->shows_reauthorization) {
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

static void flight_believe(struct fresh_token_flight *flight) {
    flight->step = FLIGHT_BELIEVE;
    flight->account.request_id = flight->request_id;
    accounts_open(flight->tokens->opts.accounts, &flight->account, flight->user_id, on_believed);
}

/* The token that we sent is still the one that is stored (it may have been sealed anew). */
static bool is_still_ours(const struct fresh_token_flight *flight) {
    return slice_eq_ct(flight->account.refresh_token, secret_slice(&flight->refresh_token));
}

static void mark_refused(struct fresh_token_flight *flight) {
    metrics_add(flight->tokens->opts.metrics, METRIC_REFRESH_GRANT_REFUSED, 1);
    audit(flight, "token_reauthorization_required", "invalid_grant");
    if (flight->expires_ms > wall_ms(flight)) {
        serve_stored(flight);
    }
    decide_all(flight, RC_PROVIDER_UNAVAILABLE);
    flight_mark(flight, ACCOUNT_SYNC_FAILED, FRESH_TOKEN_REAUTHORIZE);
}

/* Another refresh or a new link stands: ours is forgotten, and those who wait get the winner's. */
static void take_winner(struct fresh_token_flight *flight) {
    forget_answer(flight);
    keep_record(flight);
    metrics_add(flight->tokens->opts.metrics, METRIC_REFRESH_OVERTAKEN, 1);
    audit(flight, "token_refresh_failed", "overtaken");
    if (flight->expires_ms > wall_ms(flight)) {
        serve_stored(flight);
    }
    decide_all(flight, RC_PROVIDER_UNAVAILABLE);
    flight_deliver(flight);
}

static void on_believed(struct accounts_op *account) {
    struct fresh_token_flight *flight = of_account(account);
    bool has_answer = flight->new_access_token.at != NULL;
    if (account->rc == RC_OK && is_still_ours(flight)) {
        keep_record(flight);
        if (has_answer) {
            flight_store(flight);
        } else {
            mark_refused(flight);
        }
    } else if (account->rc == RC_OK) {
        take_winner(flight);
    } else if (account->rc == RC_ABSENT && has_answer) {
        give_back(flight);
    } else if (account->rc == RC_ABSENT) {
        decide_all(flight, RC_NOT_CONNECTED);
        flight_deliver(flight);
    } else if (has_answer) {
        store_again(flight);
    } else {
        settle_failure(flight, RC_STORAGE_UNAVAILABLE);
    }
}

/* -- mark: what clients see in last_sync_error -- */

static void flight_mark(struct fresh_token_flight *flight, enum account_sync status,
                        struct slice error) {
    flight->step = FLIGHT_MARK;
    flight->account.request_id = flight->request_id;
    const struct account_mark mark = {.user_id = flight->user_id,
                                      .fence = slice_str(flight->fence),
                                      .sync_status = status,
                                      .last_sync_error = error};
    accounts_mark(flight->tokens->opts.accounts, &flight->account, &mark, on_marked);
}

/* Whatever became of it (a conflict: the record has moved on), the answers stand. */
static void on_marked(struct accounts_op *account) {
    flight_deliver(of_account(account));
}

/* -- deliver: the answers, some a turn -- */

static void flight_deliver(struct fresh_token_flight *flight) {
    flight->step = FLIGHT_DELIVER;
    if (!list_is_linked(&flight->deliver.node)) {
        loop_later(flight->tokens->opts.loop, &flight->deliver, on_deliver);
    }
}

static void tell(struct fresh_token_flight *flight, struct list *node) {
    struct fresh_token *op = LIST_ENTRY(node, struct fresh_token, node);
    bool good = op->rc == RC_OK;
    list_remove(node);
    op->access_token = good ? secret_slice(&flight->access_token) : SLICE_NULL;
    op->sealed_refresh = good ? slice_str(flight->fence) : SLICE_NULL;
    op->audible_user_id = good ? slice_str(flight->audible_user_id) : SLICE_NULL;
    op->done(op);
}

static void on_deliver(struct loop_task *task) {
    struct fresh_token_flight *flight = LIST_ENTRY(task, struct fresh_token_flight, deliver);
    int told = 0;
    while (!list_is_empty(&flight->canceled)) {
        tell(flight, flight->canceled.next);
    }
    while (!list_is_empty(&flight->decided) && told++ < DELIVER_MAX) {
        tell(flight, flight->decided.next);
    }
    if (!list_is_empty(&flight->decided) || !list_is_empty(&flight->canceled)) {
        loop_later(flight->tokens->opts.loop, &flight->deliver, on_deliver);
    } else if (flight->step == FLIGHT_DELIVER) {
        flight_rest(flight);
    }
}

/* -- rest: what is next for this user -- */

static void on_flight_closed(struct loop_timer *timer) {
    struct fresh_token_flight *flight = LIST_ENTRY(timer, struct fresh_token_flight, timer);
    struct fresh_tokens *tokens = flight->tokens;
    forget_record(flight);
    forget_answer(flight);
    mem_free(flight);
    tokens->flight_count--;
    if (tokens->is_closing && tokens->flight_count == 0) {
        loop_later(tokens->opts.loop, &tokens->close_task, on_close);
    }
}

static void flight_free(struct fresh_token_flight *flight) {
    HASH_DEL(flight->tokens->flights, flight);
    loop_timer_close(&flight->timer, on_flight_closed);
}

/* 0: never. */
static int64_t earlier(int64_t a_ms, int64_t b_ms) {
    if (a_ms == 0 || b_ms == 0) {
        return a_ms + b_ms;
    }
    return a_ms < b_ms ? a_ms : b_ms;
}

/* The nearest of what the flight's one timer is for; 0: nothing. */
static int64_t next_ms(const struct fresh_token_flight *flight) {
    bool rests = flight->step == FLIGHT_IDLE && flight->refresh_from_ms > now_ms(flight);
    int64_t at_ms = earlier(flight->store_at_ms, flight->first_deadline_ms);
    return rests ? earlier(at_ms, flight->refresh_from_ms) : at_ms;
}

static void on_timer(struct loop_timer *timer);

static void set_timer(struct fresh_token_flight *flight) {
    int64_t at_ms = next_ms(flight);
    if (at_ms == 0) {
        loop_timer_stop(&flight->timer);
    } else {
        loop_timer_start(&flight->timer, at_ms - now_ms(flight), 0, on_timer);
    }
}

static void expire_waiters(struct fresh_token_flight *flight) {
    enum rc rc = flight->step == FLIGHT_REFRESH ? RC_PROVIDER_UNAVAILABLE : RC_STORAGE_UNAVAILABLE;
    struct list *node = flight->waiters.next;
    flight->first_deadline_ms = 0;
    while (node != &flight->waiters) {
        struct fresh_token *op = LIST_ENTRY(node, struct fresh_token, node);
        node = node->next;
        if (op->deadline_ms <= now_ms(flight)) {
            decide(op, rc);
        } else {
            flight->first_deadline_ms = earlier(flight->first_deadline_ms, op->deadline_ms);
        }
    }
    if (!list_is_empty(&flight->decided) && !list_is_linked(&flight->deliver.node)) {
        loop_later(flight->tokens->opts.loop, &flight->deliver, on_deliver);
    }
}

static void on_timer(struct loop_timer *timer) {
    struct fresh_token_flight *flight = LIST_ENTRY(timer, struct fresh_token_flight, timer);
    expire_waiters(flight);
    bool stores = flight->store_at_ms != 0 && flight->store_at_ms <= now_ms(flight);
    if (stores && flight->step == FLIGHT_IDLE) {
        flight_store(flight);
    } else if (flight->step == FLIGHT_IDLE && !list_is_linked(&flight->deliver.node)) {
        flight_rest(flight);
        return;
    }
    set_timer(flight);
}

static void flight_rest(struct fresh_token_flight *flight) {
    flight->step = FLIGHT_IDLE;
    bool holds_tokens = flight->new_access_token.at != NULL;
    if (flight->tokens->is_closing && holds_tokens) {
        metrics_add(flight->tokens->opts.metrics, METRIC_REFRESH_STORAGE, 1);
        audit(flight, "token_refresh_failed", "not_stored");
        forget_answer(flight);
        flight_free(flight);
    } else if (holds_tokens) {
        set_timer(flight);
    } else if (!list_is_empty(&flight->waiters)) {
        flight_read(flight);
    } else if (!flight->tokens->is_closing && flight->refresh_from_ms > now_ms(flight)) {
        secret_free(&flight->access_token);
        secret_free(&flight->refresh_token);
        set_timer(flight);
    } else {
        flight_free(flight);
    }
}

/* -- in and out -- */

static struct fresh_token_flight *flight_of(struct fresh_tokens *tokens, struct slice user_id) {
    struct fresh_token_flight *flight = NULL;
    HASH_FIND(hh, tokens->flights, user_id.at, (unsigned)user_id.len, flight);
    if (flight != NULL || tokens->flight_count >= tokens->opts.flights_max) {
        return flight;
    }
    flight = mem_calloc(1, sizeof *flight);
    flight->tokens = tokens;
    flight->step = FLIGHT_IDLE;
    list_init(&flight->waiters);
    list_init(&flight->decided);
    list_init(&flight->canceled);
    memcpy(flight->user_id_at, user_id.at, user_id.len);
    flight->user_id = slice_make(flight->user_id_at, user_id.len);
    loop_timer_init(tokens->opts.loop, &flight->timer);
    HASH_ADD_KEYPTR(hh, tokens->flights, flight->user_id.at, (unsigned)user_id.len, flight);
    tokens->flight_count++;
    return flight;
}

static void join(struct fresh_token_flight *flight, struct fresh_token *op) {
    op->flight = flight;
    list_append(&flight->waiters, &op->node);
    bool is_first = earlier(flight->first_deadline_ms, op->deadline_ms) == op->deadline_ms;
    flight->first_deadline_ms = earlier(flight->first_deadline_ms, op->deadline_ms);
    if (flight->step == FLIGHT_IDLE && flight->new_access_token.at == NULL) {
        flight_read(flight);
    } else {
        metrics_add(flight->tokens->opts.metrics, METRIC_REFRESH_SHARED, 1);
    }
    if (is_first) {
        set_timer(flight);
    }
}

/* No flight to wait in: told on a later turn. */
static void on_refused(struct loop_task *task) {
    struct fresh_token *op = LIST_ENTRY(task, struct fresh_token, task);
    op->done(op);
}

void fresh_token_get(struct fresh_tokens *tokens, struct fresh_token *op,
                     void (*done)(struct fresh_token *op)) {
    op->done = done;
    op->flight = NULL;
    struct fresh_token_flight *flight =
        op->user_id.len <= LIMIT_USER_ID_BYTES ? flight_of(tokens, op->user_id) : NULL;
    if (flight != NULL) {
        join(flight, op);
    } else {
        op->rc = RC_OVERLOADED;
        loop_later(tokens->opts.loop, &op->task, on_refused);
    }
}

void fresh_token_cancel(struct fresh_tokens *tokens, struct fresh_token *op) {
    struct fresh_token_flight *flight = op->flight;
    if (flight == NULL) {
        return;
    }
    op->rc = RC_CANCELED;
    list_remove(&op->node);
    list_append(&flight->canceled, &op->node);
    if (!list_is_linked(&flight->deliver.node)) {
        loop_later(tokens->opts.loop, &flight->deliver, on_deliver);
    }
}

struct fresh_tokens *fresh_tokens_new(const struct fresh_tokens_opts *opts) {
    struct fresh_tokens *tokens = mem_calloc(1, sizeof *tokens);
    tokens->opts = *opts;
    return tokens;
}

static void on_close(struct loop_task *task) {
    struct fresh_tokens *tokens = LIST_ENTRY(task, struct fresh_tokens, close_task);
    void (*closed)(void *owner) = tokens->closed;
    void *owner = tokens->closed_owner;
    mem_free(tokens);
    closed(owner);
}

void fresh_tokens_close(struct fresh_tokens *tokens, void (*closed)(void *owner), void *owner) {
    struct fresh_token_flight *flight;
    struct fresh_token_flight *next;
    tokens->is_closing = true;
    tokens->closed = closed;
    tokens->closed_owner = owner;
    if (tokens->flight_count == 0) {
        loop_later(tokens->opts.loop, &tokens->close_task, on_close);
    }
    HASH_ITER(hh, tokens->flights, flight, next) {
        if (flight->step == FLIGHT_IDLE) {
            flight_rest(flight);
        }
    }
}
