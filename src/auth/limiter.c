// SPDX-License-Identifier: MIT
#include "auth/limiter.h"

#include <sys/random.h>

#include "base/hash64.h"
#include "base/mem.h"

enum { WAYS = 8, MINUTE_US = 60 * 1000 * 1000, SECOND_US = 1000 * 1000 };

/* The theoretical arrival time of GCRA: when this key is back to nothing used. */
struct cell {
    uint64_t key;
    int64_t full_us; /* 0: never used */
};

struct limiter {
    struct hash64_seed seed;
    size_t mask;
    struct cell *cells;
};

struct limiter *limiter_new(size_t keys_max) {
    struct limiter *limiter = mem_calloc(1, sizeof *limiter);
    size_t sets = 1;
    while (sets * WAYS < keys_max) {
        sets *= 2;
    }
    if (getrandom(&limiter->seed, sizeof limiter->seed, 0) != sizeof limiter->seed) {
        mem_free(limiter);
        return NULL;
    }
    limiter->mask = sets - 1;
    limiter->cells = mem_calloc(sets * WAYS, sizeof *limiter->cells);
    return limiter;
}

void limiter_free(struct limiter *limiter) {
    mem_free(limiter->cells);
    mem_free(limiter);
}

/* The key's own cell, or the one of its set that is free first. */
static struct cell *place(struct limiter *limiter, uint64_t key) {
    struct cell *set = &limiter->cells[(key & limiter->mask) * WAYS];
    struct cell *first = &set[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].key == key) {
            return &set[i];
        }
        if (set[i].full_us < first->full_us) {
            first = &set[i];
        }
    }
    first->key = key;
    return first;
}

static int64_t up_to_seconds(int64_t us) {
    return us <= 0 ? 0 : (us + SECOND_US - 1) / SECOND_US;
}

struct limiter_answer limiter_take(struct limiter *limiter, unsigned bucket, struct slice key,
                                   int64_t per_minute, int64_t now_ms) {
    struct hash64_seed seed = {limiter->seed.k0 ^ bucket, limiter->seed.k1};
    struct cell *cell = place(limiter, hash64(&seed, key));
    int64_t now_us = now_ms * 1000;
    int64_t each_us = MINUTE_US / per_minute;
    int64_t burst_us = each_us * per_minute;
    int64_t full_us = cell->full_us > now_us ? cell->full_us : now_us;
    struct limiter_answer answer = {.limit = per_minute};
    answer.is_allowed = full_us + each_us - now_us <= burst_us;
    if (answer.is_allowed) {
        full_us += each_us;
        cell->full_us = full_us;
    } else {
        int64_t wait_s = up_to_seconds(full_us + each_us - burst_us - now_us);
        answer.retry_after_s = wait_s > 1 ? wait_s : 1;
    }
    int64_t left_us = burst_us - (full_us - now_us);
    answer.remaining = left_us > 0 ? left_us / each_us : 0;
    answer.reset_s = up_to_seconds(full_us - now_us);
    return answer;
}
