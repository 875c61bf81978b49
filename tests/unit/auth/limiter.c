// SPDX-License-Identifier: MIT
#include "auth/limiter.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { MINUTE_MS = 60 * 1000 };

static struct limiter_answer take(struct limiter *limiter, const char *key, int64_t now_ms) {
    return limiter_take(limiter, 1, slice_str(key), 10, now_ms);
}

Test(limiter, a_burst_of_the_limit_then_one_each_interval) {
    struct limiter *limiter = limiter_new(64);
    int64_t now_ms = 1000;
    for (int i = 0; i < 10; i++) {
        struct limiter_answer answer = take(limiter, "u", now_ms);
        cr_assert(answer.is_allowed, "%d", i);
        cr_assert_eq(answer.remaining, 9 - i);
        cr_assert_eq(answer.limit, 10);
        cr_assert_eq(answer.retry_after_s, 0);
    }
    struct limiter_answer refused = take(limiter, "u", now_ms);
    cr_assert_not(refused.is_allowed);
    cr_assert_eq(refused.remaining, 0);
    cr_assert_eq(refused.retry_after_s, 6);
    cr_assert_eq(refused.reset_s, 60);
    cr_assert_not(take(limiter, "u", now_ms + 5999).is_allowed);
    cr_assert(take(limiter, "u", now_ms + 6000).is_allowed);
    cr_assert_not(take(limiter, "u", now_ms + 6001).is_allowed);
    limiter_free(limiter);
}

Test(limiter, retry_after_is_honest) {
    struct limiter *limiter = limiter_new(64);
    for (int64_t per_minute = 1; per_minute < 500; per_minute += 7) {
        char key[32];
        int64_t now_ms = 5000;
        snprintf(key, sizeof key, "k%d", (int)per_minute);
        struct limiter_answer answer;
        do {
            answer = limiter_take(limiter, 2, slice_str(key), per_minute, now_ms);
        } while (answer.is_allowed);
        now_ms += answer.retry_after_s * 1000;
        cr_assert(limiter_take(limiter, 2, slice_str(key), per_minute, now_ms).is_allowed, "%d",
                  (int)per_minute);
    }
    limiter_free(limiter);
}

Test(limiter, keys_and_buckets_are_apart) {
    struct limiter *limiter = limiter_new(64);
    for (int i = 0; i < 10; i++) {
        take(limiter, "u", 1);
    }
    cr_assert_not(take(limiter, "u", 1).is_allowed);
    cr_assert(take(limiter, "v", 1).is_allowed);
    cr_assert(limiter_take(limiter, 2, SLICE("u"), 10, 1).is_allowed);
    limiter_free(limiter);
}

Test(limiter, filling_the_table_resets_nobody) {
    struct limiter *limiter = limiter_new(32);
    char key[32];
    int64_t now_ms = 1000;
    for (int i = 0; i < 10; i++) {
        take(limiter, "victim", now_ms);
    }
    for (int i = 0; i < 10000; i++) {
        snprintf(key, sizeof key, "other-%d", i);
        take(limiter, key, now_ms);
        cr_assert_not(take(limiter, "victim", now_ms).is_allowed, "after %d", i);
    }
    cr_assert(take(limiter, "victim", now_ms + MINUTE_MS).is_allowed);
    limiter_free(limiter);
}

Test(limiter, looking_says_the_same_and_counts_nothing) {
    struct limiter *limiter = limiter_new(8);
    char key[16];
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "u%d", i % 23);
        int64_t now_ms = 1000 + i * 40;
        for (int looks = 0; looks < 20; looks++) {
            limiter_look(limiter, 1, slice_str(key), 10, now_ms);
            limiter_look(limiter, 1, SLICE("another"), 10, now_ms);
        }
        struct limiter_answer said = limiter_look(limiter, 1, slice_str(key), 10, now_ms);
        struct limiter_answer done = take(limiter, key, now_ms);
        cr_assert_eq(said.is_allowed, done.is_allowed, "%d", i);
        cr_assert_eq(said.remaining, done.remaining, "%d", i);
        cr_assert_eq(said.retry_after_s, done.retry_after_s, "%d", i);
    }
    limiter_free(limiter);
}
