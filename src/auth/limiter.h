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

/* What limiter_take would say, without counting anything: for limits on what fails, which is known
 * only later. */
struct limiter_answer limiter_look(struct limiter *limiter, unsigned bucket, struct slice key,
                                   int64_t per_minute, int64_t now_ms);
