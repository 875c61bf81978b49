// SPDX-License-Identifier: MIT
#include "provider/retry.h"

const struct retry_opts retry_usual = {
    .retries_max = 2,
    .pause_first_ms = 200,
    .pause_max_ms = 2000,
};

static int64_t own_pause_ms(const struct retry_opts *opts, unsigned retries, uint32_t random) {
    int64_t pause_ms = opts->pause_first_ms;
    for (unsigned i = 0; i < retries && pause_ms < opts->pause_max_ms; i++) {
        pause_ms *= 2;
    }
    pause_ms = pause_ms < opts->pause_max_ms ? pause_ms : opts->pause_max_ms;
    return pause_ms - (int64_t)(random % (uint64_t)(pause_ms / 2 + 1));
}

int64_t retry_pause_ms(const struct retry_opts *opts, const struct retry_case *now) {
    if (now->retries >= opts->retries_max) {
        return -1;
    }
    int64_t room_ms =
        now->left_ms - now->left_min_ms - own_pause_ms(opts, now->retries, now->random);
    /* In seconds: what the peer asks for may be beyond what milliseconds can count. */
    int64_t asked_s = now->retry_after_s > 0 ? now->retry_after_s : 0;
    if (room_ms < 0 || asked_s > room_ms / 1000) {
        return -1;
    }
    return asked_s * 1000 + own_pause_ms(opts, now->retries, now->random);
}
