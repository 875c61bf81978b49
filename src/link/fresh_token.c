// SPDX-License-Identifier: MIT
#include "link/fresh_token.h"

#include "base/limits.h"
#include "base/mem.h"
#include "link/flight.h"

struct fresh_tokens {
    struct fresh_tokens_opts opts;
    struct flight *flights; /* by user id */
    size_t flight_count;
    bool is_closing;
    void (*closed)(void *owner);
    void *closed_owner;
    struct loop_task close_task;
};

static void on_close(struct loop_task *task) {
    struct fresh_tokens *tokens = LIST_ENTRY(task, struct fresh_tokens, close_task);
    void (*closed)(void *owner) = tokens->closed;
    void *owner = tokens->closed_owner;
    mem_free(tokens);
    closed(owner);
}

static void on_freed(void *owner) {
    struct fresh_tokens *tokens = owner;
    tokens->flight_count--;
    if (tokens->is_closing && tokens->flight_count == 0) {
        loop_later(tokens->opts.loop, &tokens->close_task, on_close);
    }
}

static void on_ended(struct flight *flight) {
    struct fresh_tokens *tokens = LIST_ENTRY(flight->opts, struct fresh_tokens, opts);
    HASH_DEL(tokens->flights, flight);
    flight_free(flight, on_freed, tokens);
}

/* NULL: there is no room for one more. */
static struct flight *flight_of(struct fresh_tokens *tokens, struct slice user_id) {
    struct flight *flight = NULL;
    if (user_id.len > LIMIT_USER_ID_BYTES) {
        return NULL;
    }
    HASH_FIND(hh, tokens->flights, user_id.at, (unsigned)user_id.len, flight);
    if (flight == NULL && tokens->flight_count < tokens->opts.flights_max) {
        flight = flight_new(&tokens->opts, user_id, on_ended);
        HASH_ADD_KEYPTR(hh, tokens->flights, flight->user_id.at, (unsigned)user_id.len, flight);
        tokens->flight_count++;
    }
    return flight;
}

/* No flight to wait in: told on a later turn. */
static void on_refused(struct loop_task *task) {
    struct fresh_token *op = LIST_ENTRY(task, struct fresh_token, task);
    op->done(op);
}

void fresh_token_get(struct fresh_tokens *tokens, struct fresh_token *op,
                     void (*done)(struct fresh_token *op)) {
    op->done = done;
    op->flight = flight_of(tokens, op->user_id);
    if (op->flight != NULL) {
        flight_join(op->flight, op);
    } else {
        op->rc = RC_OVERLOADED;
        loop_later(tokens->opts.loop, &op->task, on_refused);
    }
}

void fresh_token_cancel(struct fresh_token *op) {
    if (op->flight != NULL) {
        flight_cancel(op->flight, op);
    }
}

struct fresh_tokens *fresh_tokens_new(const struct fresh_tokens_opts *opts) {
    struct fresh_tokens *tokens = mem_calloc(1, sizeof *tokens);
    tokens->opts = *opts;
    return tokens;
}

void fresh_tokens_close(struct fresh_tokens *tokens, void (*closed)(void *owner), void *owner) {
    struct flight *flight;
    struct flight *next;
    tokens->is_closing = true;
    tokens->closed = closed;
    tokens->closed_owner = owner;
    if (tokens->flight_count == 0) {
        loop_later(tokens->opts.loop, &tokens->close_task, on_close);
    }
    HASH_ITER(hh, tokens->flights, flight, next) {
        flight_close(flight);
    }
}
