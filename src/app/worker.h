// SPDX-License-Identifier: MIT
#pragma once

#include <uv.h>

#include "base/limits.h"
#include "base/metrics_group.h"
#include "base/rc.h"
#include "io/loop.h"

/* A process of several that serve together, and the thread that ties it to its parent
 * (app/supervisor): a socket on which the parent says what to do, and on which its end is seen. */

/* Where the parent puts what a worker gets: these descriptors, then the bound sockets, in the order
 * of LATCHKEY_LISTEN and with that of LATCHKEY_METRICS_LISTEN at the end. */
enum { WORKER_CONTROL_FD = 3, WORKER_METRICS_FD = 4, WORKER_SOCKETS_FD = 5 };
enum { WORKER_SOCKETS_MAX = LIMIT_LISTENERS + 1 };

/* One byte each. */
enum worker_order { WORKER_DRAIN = 'd', WORKER_HURRY = 'h', WORKER_RELOAD = 'r' };
enum { WORKER_READY = 'R' }; /* its one answer */

struct worker {
    int number; /* from 1; slot 0 of the metrics is the parent's */
    int count;
    size_t sockets;
    struct metrics_group metrics;
};

/* Takes what the parent has left; `name` is "2/4", `sockets` how many there are. RC_USAGE where
 * this process has no such parent. */
enum rc worker_init(struct worker *worker, const char *name, const char *sockets);
void worker_fini(struct worker *worker);

/* Tells the parent that this worker serves. */
void worker_say_ready(const struct worker *worker);

static inline struct metrics *worker_metrics(const struct worker *worker) {
    return metrics_group_slot(&worker->metrics, (size_t)worker->number);
}

/* On the loop of a worker, from app's building to its closing. */
struct worker_link {
    uv_poll_t poll;
    struct loop_timer timer;
    struct metrics *metrics;
    void (*told)(void *owner, enum worker_order order);
    void (*closed)(void *owner);
    void *owner;
    int open_handles;
};

/* `told` hears what the parent says, WORKER_DRAIN too when the parent is gone. The link doesn't
 * keep the loop alive. */
enum rc worker_link_open(struct worker_link *link, struct loop *loop, const struct worker *worker,
                         void (*told)(void *owner, enum worker_order order), void *owner);
void worker_link_close(struct worker_link *link, void (*closed)(void *owner));
