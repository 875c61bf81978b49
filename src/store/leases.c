// SPDX-License-Identifier: MIT
#include "store/leases.h"

#include <assert.h>
#include <string.h>

#include "base/mem.h"

struct leases {
    struct loop *loop;
    struct leases_backend *backend;
    struct rng *rng;
    struct log *log;
    struct metrics *metrics;
    void (*closed)(void *owner);
    void *closed_owner;
    size_t open; /* operations */
};

struct leases *leases_new(struct loop *loop, struct leases_backend *backend, struct rng *rng,
                          struct log *log, struct metrics *metrics) {
    struct leases *leases = mem_calloc(1, sizeof *leases);
    leases->loop = loop;
    leases->backend = backend;
    leases->rng = rng;
    leases->log = log;
    leases->metrics = metrics;
    return leases;
}

static void on_backend_closed(void *owner) {
    struct leases *leases = owner;
    void (*closed)(void *) = leases->closed;
    void *closed_owner = leases->closed_owner;
    mem_free(leases);
    if (closed != NULL) {
        closed(closed_owner);
    }
}

void leases_close(struct leases *leases, void (*closed)(void *owner), void *owner) {
    assert(leases->open == 0);
    leases->closed = closed;
    leases->closed_owner = owner;
    leases->backend->ops->close(leases->backend, on_backend_closed, leases);
}

static void deliver(struct loop_task *task) {
    struct lease_op *op = LIST_ENTRY(task, struct lease_op, task);
    op->leases->open--;
    op->done(op);
}

static const char *const kind_names[] = {
    [LEASES_ACQUIRE] = "acquire",
    [LEASES_RENEW] = "renew",
    [LEASES_REST] = "rest",
    [LEASES_RELEASE] = "release",
};

static void note_failure(const struct lease_op *op) {
    metrics_add(op->leases->metrics, METRIC_STORE_FAILURES, 1);
    LOG(op->leases->log, LOG_ERROR, "lease_store_failed", op->request_id,
        log_text("user_id", slice_make(op->user_id, op->user_id_len)),
        log_text("operation", slice_str(kind_names[op->kind])),
        log_text("cause", slice_str(op->cause)));
}

static void count(const struct lease_op *op) {
    struct metrics *metrics = op->leases->metrics;
    if (op->rc == RC_STORAGE_UNAVAILABLE) {
        note_failure(op);
    } else if (op->kind == LEASES_ACQUIRE) {
        metrics_add(metrics,
                    op->rc == RC_OK         ? METRIC_LEASES_ACQUIRED
                    : op->rc == RC_CONFLICT ? METRIC_LEASES_HELD
                                            : METRIC_LEASES_RESTING,
                    1);
    } else if (op->kind == LEASES_RENEW && op->rc == RC_ABSENT) {
        metrics_add(metrics, METRIC_LEASES_LOST, 1);
    }
}

void leases_complete(struct lease_op *op, enum rc rc) {
    op->rc = rc;
    count(op);
    loop_later(op->leases->loop, &op->task, deliver);
}

static void start(struct leases *leases, struct lease_op *op, enum leases_kind kind,
                  void (*done)(struct lease_op *op)) {
    op->done = done;
    op->rc = RC_OK;
    op->cause = NULL;
    op->left_ms = 0;
    op->task = (struct loop_task){0};
    op->leases = leases;
    op->kind = kind;
    op->backend_op = NULL;
    leases->open++;
}

static void run(struct lease_op *op) {
    op->leases->backend->ops->run(op->leases->backend, op);
}

void leases_acquire(struct leases *leases, struct lease_op *op, struct slice user_id,
                    void (*done)(struct lease_op *op)) {
    assert(user_id.len <= LIMIT_USER_ID_BYTES);
    start(leases, op, LEASES_ACQUIRE, done);
    op->note = 0;
    memcpy(op->user_id, user_id.len > 0 ? user_id.at : "", user_id.len);
    op->user_id[user_id.len] = '\0';
    op->user_id_len = user_id.len;
    /* without randomness two owners could be taken for one */
    if (rng_bytes(leases->rng, op->owner, sizeof op->owner) != RC_OK) {
        op->cause = "the system gives no random bytes";
        leases_complete(op, RC_STORAGE_UNAVAILABLE);
        return;
    }
    run(op);
}

void leases_renew(struct leases *leases, struct lease_op *op, void (*done)(struct lease_op *op)) {
    start(leases, op, LEASES_RENEW, done);
    run(op);
}

void leases_rest(struct leases *leases, struct lease_op *op, int64_t rest_ms, int64_t note,
                 void (*done)(struct lease_op *op)) {
    assert(rest_ms > 0);
    start(leases, op, LEASES_REST, done);
    op->rest_ms = rest_ms;
    op->note = note;
    run(op);
}

void leases_release(struct leases *leases, struct lease_op *op, void (*done)(struct lease_op *op)) {
    start(leases, op, LEASES_RELEASE, done);
    run(op);
}
