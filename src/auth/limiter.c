// SPDX-License-Identifier: MIT
#include "auth/limiter.h"

#include "base/keyhash.h"
#include "base/mem.h"

enum { WAYS = 8, MINUTE_US = 60 * 1000 * 1000, SECOND_US = 1000 * 1000 };

/* The theoretical arrival time of GCRA: when this key is back to nothing used. */
struct cell {
    uint64_t key;
    int64_t full_us; /* 0: never used */
};

struct limiter {
    struct keyhash key_hash;
    size_t mask;
    struct cell *cells;
};

struct limiter *limiter_new(size_t keys_max) {
    struct limiter *limiter = mem_calloc(1, sizeof *limiter);
    size_t sets = 1;
    while (sets * WAYS < keys_max) {
        sets *= 2;
    }
    if (keyhash_init(&limiter->key_hash) != RC_OK) {
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
    return first;
}

static int64_t up_to_seconds(int64_t us) {
    return us <= 0 ? 0 : (us + SECOND_US - 1) / SECOND_US;
}

int64_t limiter_each_us(int64_t per_minute) {
    return MINUTE_US / per_minute;
}

struct limiter_answer limiter_judge(int64_t *full_us, int64_t per_minute, int64_t now_us) {
    int64_t each_us = limiter_each_us(per_minute);
    int64_t burst_us = each_us * per_minute;
    int64_t from_us = *full_us > now_us ? *full_us : now_us;
    struct limiter_answer answer = {.limit = per_minute};
    answer.is_allowed = from_us + each_us - now_us <= burst_us;
    if (answer.is_allowed) {
        from_us += each_us;
        *full_us = from_us;
    } else {
        int64_t wait_s = up_to_seconds(from_us + each_us - burst_us - now_us);
        answer.retry_after_s = wait_s > 1 ? wait_s : 1;
    }
    int64_t left_us = burst_us - (from_us - now_us);
    answer.remaining = left_us > 0 ? left_us / each_us : 0;
    answer.reset_s = up_to_seconds(from_us - now_us);
    return answer;
}

static uint64_t key_of(const struct limiter *limiter, unsigned bucket, struct slice key) {
    struct keyhash hash = limiter->key_hash;
    hash.seed[0] ^= bucket; /* a hash of its own for each bucket */
    return keyhash_of(&hash, key);
}

struct limiter_answer limiter_take(struct limiter *limiter, unsigned bucket, struct slice key,
                                   int64_t per_minute, int64_t now_ms) {
    uint64_t hash = key_of(limiter, bucket, key);
    struct cell *cell = place(limiter, hash);
    cell->key = hash;
    return limiter_judge(&cell->full_us, per_minute, now_ms * 1000);
}

size_t limiter_take_all(struct limiter *limiter, const struct limiter_limit *limits, size_t count,
                        int64_t now_ms, struct limiter_answer *answer) {
    for (size_t i = 0; i < count; i++) {
        *answer =
            limiter_take(limiter, limits[i].bucket, limits[i].key, limits[i].per_minute, now_ms);
        if (!answer->is_allowed) {
            return i;
        }
    }
    return count;
}

struct limiter_answer limiter_look(struct limiter *limiter, unsigned bucket, struct slice key,
                                   int64_t per_minute, int64_t now_ms) {
    int64_t full_us = place(limiter, key_of(limiter, bucket, key))->full_us;
    return limiter_judge(&full_us, per_minute, now_ms * 1000);
}
