// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/list.h"
#include "base/rc.h"
#include "io/loop.h"

/* Work off the loop, in two lanes.
 *
 * FAST: pure computing of microseconds (Fernet, signatures), on the uv work-queue. What one turn of
 * the loop submits is handed off together, so that the cost of waking a thread is paid once a turn;
 * a large batch is split over the pool's threads.
 *
 * SLOW (struct work_lane): what waits for a disk or a driver, on threads of its own, so that it can
 * never keep Fernet from a thread. A lane's thread takes all that is queued at once and gives it to
 * `run_batch`: with SQLite that batch is one transaction.
 *
 * Work that runs can't be stopped; the operation's memory is its owner's until `done`. */
struct work_op {
    struct list node;
    void (*run)(struct work_op *op);              /* on another thread */
    void (*done)(struct work_op *op, enum rc rc); /* on the loop; RC_OK: it ran; RC_FULL or
                                                     RC_CANCELED: it did not */
    enum rc rc;
    int64_t submitted_ns;
};

/* The FAST lane. */
struct work;
/* `queue_max`: ops submitted and not yet done; past it RC_FULL. The pool's size is libuv's
 * (UV_THREADPOOL_SIZE, set before). */
struct work *work_new(struct loop *loop, size_t queue_max);
/* `closed` (may be NULL) runs on a later turn, once everything submitted is done. Submitting is
 * over: RC_CANCELED. */
void work_close(struct work *work, void (*closed)(void *owner), void *owner);
void work_submit(struct work *work, struct work_op *op, void (*run)(struct work_op *op),
                 void (*done)(struct work_op *op, enum rc rc));
size_t work_depth(const struct work *work);

/* A SLOW lane. `run_batch` gets the ops of one batch in the order of their submission, runs each
 * (it may call op->run, or know better) and leaves each in the list; `done` of all of them follows
 * on the loop in the same order. NULL: every op->run in turn. */
struct work_lane;
struct work_lane_opts {
    size_t threads;
    size_t queue_max; /* ops submitted and not yet done; past it RC_FULL */
    size_t batch_max; /* ops a batch; 0: all that wait */
    void (*run_batch)(void *owner, struct list *ops);
    void *owner;
    const char *name;       /* of its threads, 15 bytes */
    enum metrics_lane lane; /* as what it counts in the loop's metrics; 0: not at all */
};
/* NULL where the system has no thread for it. An idle lane does not keep the loop alive. */
struct work_lane *work_lane_new(struct loop *loop, const struct work_lane_opts *opts);
/* As work_close. */
void work_lane_close(struct work_lane *lane, void (*closed)(void *owner), void *owner);
void work_lane_submit(struct work_lane *lane, struct work_op *op, void (*run)(struct work_op *op),
                      void (*done)(struct work_op *op, enum rc rc));
size_t work_lane_depth(const struct work_lane *lane);
