// SPDX-License-Identifier: MIT
#include "app/backoff.h"

#include "base/limits.h"

int64_t backoff_next_ms(struct backoff *backoff, int64_t served_ms) {
    int64_t pause_ms = 0;
    if (served_ms >= LIMIT_WORKER_STEADY_MS) {
        backoff->failures = 0;
    }
    for (unsigned i = 0; i < backoff->failures && pause_ms < LIMIT_WORKER_PAUSE_MAX_MS; i++) {
        pause_ms = pause_ms == 0 ? LIMIT_WORKER_PAUSE_MS : 2 * pause_ms;
    }
    backoff->failures++;
    return pause_ms < LIMIT_WORKER_PAUSE_MAX_MS ? pause_ms : LIMIT_WORKER_PAUSE_MAX_MS;
}
