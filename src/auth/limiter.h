// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* Rate limits by the generic cell rate algorithm (ITU-T I.371): one time a key, O(1), a burst of
 * the whole limit. The table is sized once. A key that has no place takes over the place, and with
 * it the time, of the key of its bucket that is nearest to being free: whoever was put out finds at
 * least its own time again, so nobody resets a limit by filling the table. Loop thread only. */
struct limiter;

struct limiter *limiter_new(size_t keys_max); /* NULL: the system gives no random bytes */
void limiter_free(struct limiter *limiter);

/* For RateLimit-* and Retry-After. */
struct limiter_answer {
    bool is_allowed;
    int64_t limit;
    int64_t remaining;     /* requests that would be allowed at once */
    int64_t reset_s;       /* until all of the limit is there again, rounded up */
    int64_t retry_after_s; /* until the next one is allowed, at least 1; 0 where this one was */
};

/* Counts one request of `key` in `bucket` (a small number: authorize, callback …) where it is
 * allowed; `per_minute` above 0. */
struct limiter_answer limiter_take(struct limiter *limiter, unsigned bucket, struct slice key,
                                   int64_t per_minute, int64_t now_ms);

/* A limit that a request counts against. */
struct limiter_limit {
    unsigned bucket;
    struct slice key;
    int64_t per_minute;
};

/* Counts one request against each of them, up to the first that refuses it. The index of that one,
 * or `count`; `*answer` is the last one's. */
size_t limiter_take_all(struct limiter *limiter, const struct limiter_limit *limits, size_t count,
                        int64_t now_ms, struct limiter_answer *answer);

/* The rule itself, for who keeps the times elsewhere (auth/limiter_redis). One request uses so much
 * time, of a minute. */
int64_t limiter_each_us(int64_t per_minute);
/* Of a request at this time, where the key has used all until `full_us`, which is moved where the
 * request is allowed. */
struct limiter_answer limiter_judge(int64_t *full_us, int64_t per_minute, int64_t now_us);

/* What limiter_take would say, without counting anything: for limits on what fails, which is known
 * only later. */
struct limiter_answer limiter_look(struct limiter *limiter, unsigned bucket, struct slice key,
                                   int64_t per_minute, int64_t now_ms);
