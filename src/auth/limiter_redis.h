// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/limiter.h"
#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "io/loop.h"
#include "io/redis.h"

/* The limits of auth/limiter counted in Redis, for all processes together: one key for each key of
 * a bucket ("latchkey:rate:<bucket>:<hash>"), which ends when nothing of its limit is used, and one
 * round trip for all limits of a request. The time is this process's wall clock, so the clocks of
 * all of them have to agree.
 *
 * Redis is never a reason to refuse a request or to let all of them pass: where it is down, fails,
 * or has no answer in time, the process counts in its own memory. Loop thread only. */
struct limiter_redis;

enum {
    LIMITER_REDIS_WAIT_MS = 250,  /* for an answer */
    LIMITER_REDIS_KEEP_MS = 1000, /* a key is kept that much longer than it says anything */
    LIMITER_REDIS_LIMITS_MAX = 2, /* of one request */
};

struct limiter_redis_opts {
    struct loop *loop;
    struct log *log;
    struct metrics *metrics;
    struct redis *redis;        /* open until `closed` */
    struct limiter *local;      /* the process's own memory; borrowed */
    const char *const *buckets; /* their names in keys, by number; borrowed */
    int64_t wait_ms;            /* 0: LIMITER_REDIS_WAIT_MS */
    int64_t keep_ms;            /* 0: LIMITER_REDIS_KEEP_MS */
};

struct limiter_redis *limiter_redis_new(const struct limiter_redis_opts *opts);
/* No op is open. Waits for what is still on its way to Redis; `closed` on a later turn. */
void limiter_redis_close(struct limiter_redis *limiter, void (*closed)(void *owner), void *owner);

/* limiter_take_all in the process's memory, where Redis is known to be down or silent: true, and
 * `*refused` is what that returns. */
bool limiter_redis_fall_back(struct limiter_redis *limiter, const struct limiter_limit *limits,
                             size_t count, size_t *refused, struct limiter_answer *answer);

/* The caller's until `done`. It can't be canceled: it takes no longer than wait_ms. */
struct limiter_redis_op {
    void (*done)(struct limiter_redis_op *op);
    size_t refused; /* limiter_take_all's */
    struct limiter_answer answer;
    /* ours */
    const struct limiter_limit *limits;
    size_t count;
};

/* limiter_take_all for all processes. `limits` and their keys are borrowed until `done`. */
void limiter_redis_take(struct limiter_redis *limiter, struct limiter_redis_op *op,
                        const struct limiter_limit *limits, size_t count, int64_t wall_ms,
                        void (*done)(struct limiter_redis_op *op));
