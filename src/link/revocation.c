// SPDX-License-Identifier: MIT
#include "link/revocation.h"

#include "base/list.h"
#include "base/mem.h"
#include "provider/token.h"

enum { TRIES_MAX = 4, PAUSE_FIRST_MS = 1000, PAUSE_FACTOR = 4 };

struct pending {
    struct list node;
    struct revocations *owner;
    struct token_op call;
    struct loop_timer timer;
    struct secret token;
    char *user_id;
    char *audible_user_id;
    char *request_id;
    char *client;
    unsigned tries;
    int64_t pause_ms;
    bool waits; /* for its next try */
};

struct revocations {
    struct revocations_opts opts;
    struct list pending;
    size_t count;
    bool is_closing;
    void (*closed)(void *owner);
    void *closed_owner;
    struct loop_task task;
};

static void try_once(struct pending *pending);
static void on_revoked(struct token_op *call);

struct revocations *revocations_new(const struct revocations_opts *opts) {
    struct revocations *revocations = mem_calloc(1, sizeof *revocations);
    revocations->opts = *opts;
    list_init(&revocations->pending);
    return revocations;
}

static void audit(const struct revocations *revocations, const struct revocation *what,
                  const char *cause) {
    LOG_AUDIT(revocations->opts.log, cause == NULL ? "token_revoked" : "token_revoke_failed",
              what->request_id, log_text("user_id", what->user_id),
              log_text("audible_user_id", what->audible_user_id), log_text("client", what->client),
              log_text("outcome", cause == NULL ? SLICE("ok") : SLICE("failed")),
              log_text("cause", slice_str(cause)));
}

static char *copy_or_null(struct slice text) {
    return slice_is_null(text) ? NULL : mem_strdup(text);
}

void revocation_start(struct revocations *revocations, const struct revocation *revocation) {
    if (slice_is_null(revocations->opts.provider->revoke_url) || revocation->token.len == 0) {
        return;
    }
    if (revocations->count >= revocations->opts.pending_max) {
        audit(revocations, revocation, "overloaded");
        return;
    }
    struct pending *pending = mem_calloc(1, sizeof *pending);
    pending->owner = revocations;
    pending->token = secret_copy(revocation->token);
    pending->user_id = mem_strdup(revocation->user_id);
    pending->audible_user_id = copy_or_null(revocation->audible_user_id);
    pending->request_id = copy_or_null(revocation->request_id);
    pending->client = copy_or_null(revocation->client);
    pending->pause_ms = PAUSE_FIRST_MS;
    loop_timer_init(revocations->opts.loop, &pending->timer);
    list_append(&revocations->pending, &pending->node);
    revocations->count++;
    try_once(pending);
}

static void try_once(struct pending *pending) {
    const struct revocations_opts *opts = &pending->owner->opts;
    const struct token_refresh revoke = {
        .refresh_token = secret_slice(&pending->token),
        .user_id = slice_str(pending->user_id),
        .request_id = slice_str(pending->request_id),
        .deadline_ms = loop_now_ms(opts->loop) + opts->timeout_ms,
    };
    pending->tries++;
    pending->waits = false;
    token_revoke(opts->provider, &pending->call, &revoke, on_revoked);
}

static void on_closed(struct loop_task *task) {
    struct revocations *revocations = LIST_ENTRY(task, struct revocations, task);
    void (*closed)(void *owner) = revocations->closed;
    void *owner = revocations->closed_owner;
    mem_free(revocations);
    closed(owner);
}

static void close_when_empty(struct revocations *revocations) {
    if (revocations->is_closing && revocations->count == 0) {
        loop_later(revocations->opts.loop, &revocations->task, on_closed);
    }
}

static void on_timer_closed(struct loop_timer *timer) {
    struct pending *pending = LIST_ENTRY(timer, struct pending, timer);
    struct revocations *revocations = pending->owner;
    secret_free(&pending->token);
    mem_free(pending->user_id);
    mem_free(pending->audible_user_id);
    mem_free(pending->request_id);
    mem_free(pending->client);
    mem_free(pending);
    revocations->count--;
    close_when_empty(revocations);
}

static void finish(struct pending *pending, const char *cause) {
    audit(pending->owner,
          &(struct revocation){.user_id = slice_str(pending->user_id),
                               .audible_user_id = slice_str(pending->audible_user_id),
                               .request_id = slice_str(pending->request_id),
                               .client = slice_str(pending->client)},
          cause);
    list_remove(&pending->node);
    loop_timer_close(&pending->timer, on_timer_closed);
}

static void on_pause_over(struct loop_timer *timer) {
    try_once(LIST_ENTRY(timer, struct pending, timer));
}

static void on_revoked(struct token_op *call) {
    struct pending *pending = LIST_ENTRY(call, struct pending, call);
    if (call->rc == RC_OK) {
        finish(pending, NULL);
    } else if (pending->tries == TRIES_MAX || pending->owner->is_closing) {
        finish(pending, rc_name(call->rc));
    } else {
        pending->waits = true;
        loop_timer_start(&pending->timer, pending->pause_ms, 0, on_pause_over);
        pending->pause_ms *= PAUSE_FACTOR;
    }
}

void revocations_close(struct revocations *revocations, void (*closed)(void *owner), void *owner) {
    revocations->is_closing = true;
    revocations->closed = closed;
    revocations->closed_owner = owner;
    struct list *node = revocations->pending.next;
    while (node != &revocations->pending) {
        struct pending *pending = LIST_ENTRY(node, struct pending, node);
        node = node->next;
        if (pending->waits) {
            finish(pending, "shutdown");
        }
    }
    if (revocations->count == 0) {
        close_when_empty(revocations);
    }
}
