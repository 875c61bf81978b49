// SPDX-License-Identifier: MIT
#pragma once

#include "api/call.h"
#include "base/buf.h"

/* The contract's rate limits: in this process's memory, or in Redis for all processes. */

/* What a call counts against. */
struct limits {
    struct limiter_limit at[LIMITER_REDIS_LIMITS_MAX];
    size_t count;
};

/* While Redis is asked. In the request's arena. */
struct limits_op {
    void (*done)(struct limits_op *op);
    enum rc rc; /* limits_check's */
    struct call *call;
    struct limits limits;
    struct limiter_redis_op redis;
};

/* Counts the call, once its caller is known, where that needs no wait: RC_OK or RC_RATE_LIMITED,
 * then with call->limited. RC_PENDING: it does, and nothing is counted (limits_ask). */
enum rc limits_check(struct call *call);
/* The same with a wait, which is over soon. `op` stays where it is until `done`. */
void limits_ask(struct call *call, struct limits_op *op, void (*done)(struct limits_op *op));

/* Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset. */
void limits_write_headers(const struct limiter_answer *limited, struct buf *headers);

/* The names of the limiter's buckets, by number. */
extern const char *const limits_buckets[];
