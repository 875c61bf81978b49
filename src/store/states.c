// SPDX-License-Identifier: MIT
#include "store/states.h"

#include <assert.h>

#include "base/b64.h"
#include "base/mem.h"

struct states {
    struct loop *loop;
    struct states_backend *backend;
    struct log *log;
    struct metrics *metrics;
    size_t open; /* operations */
};

#define STATE_OUTCOME_TEXT(name, text) [STATE_##name] = text,
static const char *const outcome_texts[STATE_OUTCOME_COUNT] = {
    STATE_OUTCOME_MAP(STATE_OUTCOME_TEXT)};

const char *state_outcome_text(enum state_outcome outcome) {
    return (unsigned)outcome < STATE_OUTCOME_COUNT ? outcome_texts[outcome] : "unknown";
}

struct states *states_new(struct loop *loop, struct states_backend *backend, struct log *log,
                          struct metrics *metrics) {
    struct states *states = mem_calloc(1, sizeof *states);
    states->loop = loop;
    states->backend = backend;
    states->log = log;
    states->metrics = metrics;
    return states;
}

void states_close(struct states *states) {
    assert(states->open == 0);
    states->backend->ops->close(states->backend);
    mem_free(states);
}

static void start(struct states *states, struct states_op *op, enum states_kind kind,
                  void (*done)(struct states_op *op)) {
    op->done = done;
    op->rc = RC_OK;
    op->cause = NULL;
    op->outcome = STATE_UNKNOWN;
    op->user_id_len = 0;
    op->redirect_uri_len = 0;
    op->task = (struct loop_task){0};
    op->states = states;
    op->kind = kind;
    states->open++;
}

static void deliver(struct loop_task *task) {
    struct states_op *op = LIST_ENTRY(task, struct states_op, task);
    op->states->open--;
    op->done(op);
}

static const enum metric outcome_metrics[STATE_OUTCOME_COUNT] = {
    [STATE_TAKEN] = METRIC_STATES_TAKEN,
    [STATE_UNKNOWN] = METRIC_STATES_UNKNOWN,
    [STATE_USED] = METRIC_STATES_REPLAYED,
    [STATE_EXPIRED] = METRIC_STATES_UNKNOWN, /* STATES_EXPIRED counts states, not tries */
    [STATE_USER_MISMATCH] = METRIC_STATES_MISMATCHED,
    [STATE_COOKIE_MISMATCH] = METRIC_STATES_MISMATCHED,
};

static const char *const kind_names[] = {
    [STATES_PUT] = "put", [STATES_TAKE] = "take", [STATES_PING] = "ping"};

static void note_failure(const struct states_op *op) {
    metrics_add(op->states->metrics, METRIC_STORE_FAILURES, 1);
    LOG(op->states->log, LOG_ERROR, "state_store_failed", op->request_id,
        log_text("operation", slice_str(kind_names[op->kind])),
        log_text("cause", slice_str(op->cause)));
}

static void count(const struct states_op *op) {
    struct metrics *metrics = op->states->metrics;
    if (op->rc == RC_STORAGE_UNAVAILABLE) {
        note_failure(op);
    } else if (op->rc == RC_OK && op->kind == STATES_PUT) {
        metrics_add(metrics, METRIC_STATES_CREATED, 1);
    } else if (op->rc == RC_OK && op->kind == STATES_TAKE) {
        metrics_add(metrics, outcome_metrics[op->outcome], 1);
    }
}

void states_complete(struct states_op *op, enum rc rc) {
    op->rc = rc;
    count(op);
    loop_later(op->states->loop, &op->task, deliver);
}

void states_put(struct states *states, struct states_op *op, const struct state_new *state,
                void (*done)(struct states_op *op)) {
    assert(state->user_id.len <= LIMIT_USER_ID_BYTES && state->redirect_uri.len <= LIMIT_URI_BYTES);
    start(states, op, STATES_PUT, done);
    states->backend->ops->put(states->backend, op, state);
}

static bool parse_state(struct slice text, unsigned char out[RANDOM_BYTES]) {
    unsigned char bytes[B64_DECODED_MAX(RANDOM_TEXT_BYTES)];
    size_t len = 0;
    bool good = text.len == RANDOM_TEXT_BYTES && b64_decode_unpadded(bytes, &len, text) &&
                len == RANDOM_BYTES;
    if (good) {
        memcpy(out, bytes, RANDOM_BYTES);
    }
    return good;
}

void states_take(struct states *states, struct states_op *op, struct slice text,
                 const struct state_claim *claim, void (*done)(struct states_op *op)) {
    unsigned char state[RANDOM_BYTES];
    assert(slice_is_null(claim->user_id) != (claim->cookie_hash == NULL));
    start(states, op, STATES_TAKE, done);
    if (!parse_state(text, state)) {
        states_complete(op, RC_OK);
        return;
    }
    states->backend->ops->take(states->backend, op, state, claim);
}

void states_ping(struct states *states, struct states_op *op, void (*done)(struct states_op *op)) {
    start(states, op, STATES_PING, done);
    states->backend->ops->ping(states->backend, op);
}
