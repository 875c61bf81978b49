// SPDX-License-Identifier: MIT
#pragma once

#include <stdint.h>

/* How long to wait before a worker is started again: not at all once it has done well for a while,
 * else twice as long as the last time, up to a cap. All zero at first. */
struct backoff {
    unsigned failures; /* in a row */
};

/* It has ended; `served_ms` is how long it had served (0: it never did). */
int64_t backoff_next_ms(struct backoff *backoff, int64_t served_ms);
