// SPDX-License-Identifier: MIT
#include "provider/retry.h"

#include <criterion/criterion.h>

static const struct retry_opts opts = {
    .retries_max = 5,
    .pause_first_ms = 200,
    .pause_max_ms = 1000,
};

Test(retry, pauses) {
    static const struct {
        struct retry_case now;
        int64_t pause_ms;
        const char *what;
    } cases[] = {
        {{0, -1, 10000, 50, 0}, 200, "the first"},
        {{1, -1, 10000, 50, 0}, 400, "twice that"},
        {{2, -1, 10000, 50, 0}, 800, "twice that again"},
        {{3, -1, 10000, 50, 0}, 1000, "the cap"},
        {{4, -1, 10000, 50, 0}, 1000, "the cap again"},
        {{5, -1, 10000, 50, 0}, -1, "too many"},
        {{6, -1, 10000, 50, 0}, -1, "far too many"},
        {{0, -1, 10000, 50, 1}, 199, "shortened"},
        {{0, -1, 10000, 50, 100}, 100, "shortened by a half"},
        {{0, -1, 10000, 50, 101}, 200, "never by more"},
        {{0, -1, 250, 50, 0}, 200, "fits to the millisecond"},
        {{0, -1, 249, 50, 0}, -1, "does not fit by one"},
        {{0, -1, 249, 50, 1}, 199, "fits when shortened"},
        {{0, -1, 0, 50, 0}, -1, "nothing left"},
        {{0, -1, -5000, 50, 0}, -1, "past the deadline"},
        {{0, 0, 10000, 50, 0}, 200, "asked to come at once"},
        {{0, 3, 10000, 50, 0}, 3200, "asked to come later"},
        {{1, 3, 10000, 50, 0}, 3400, "asked to come later, the second time"},
        {{0, 3, 10000, 50, 40}, 3160, "spread"},
        {{0, 3, 3250, 50, 0}, 3200, "asked, fits to the millisecond"},
        {{0, 3, 3249, 50, 0}, -1, "asked, does not fit by one"},
        {{0, 60, 40000, 50, 0}, -1, "asked to come after the deadline"},
        {{0, INT64_MAX, INT64_MAX, 50, 0}, -1, "asked to come never"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t pause_ms = retry_pause_ms(&opts, &cases[i].now);
        cr_assert_eq(pause_ms, cases[i].pause_ms, "%s: %lld", cases[i].what, (long long)pause_ms);
    }
}

/* Whatever chance says, a retry starts with enough left, and after what was asked for. */
Test(retry, bounds) {
    for (uint32_t random = 0; random < 5000; random++) {
        struct retry_case now = {random % 6, (int64_t)(random % 4) - 1, 1 + random, 50, random};
        int64_t pause_ms = retry_pause_ms(&opts, &now);
        cr_assert(pause_ms == -1 || (pause_ms + 50 <= now.left_ms && pause_ms >= 100 &&
                                     pause_ms >= now.retry_after_s * 1000),
                  "%u: %lld", random, (long long)pause_ms);
    }
}

Test(retry, without_opts_nothing_is_tried_again) {
    const struct retry_opts none = {0};
    cr_assert_eq(retry_pause_ms(&none, &(struct retry_case){.left_ms = 1000}), -1);
}

Test(retry, usual) {
    cr_assert_eq(retry_usual.retries_max, 2);
}
