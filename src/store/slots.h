// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A pool of equal records that are addressed by numbers of 32 bits (0 is none), and a hash index
 * over them. Address space is reserved once for the cap, so that nothing ever grows or moves; pages
 * come as records are used, and go back to the system when none is.
 *
 * A record's first member is `uint32_t next`: the next of its chain in the index. */
struct slots {
    char *at;
    size_t record_bytes;
    uint32_t max;
    uint32_t used;
    uint32_t fresh;     /* numbers above it were not handed out since the pool was last empty */
    uint32_t free;      /* those that came back */
    size_t dirty_bytes; /* where pages that were ever written end */
};

void slots_init(struct slots *slots, size_t record_bytes, uint32_t max);
void slots_fini(struct slots *slots); /* wipes what was used */

/* A zeroed record, or 0 where all are in use. */
uint32_t slots_take(struct slots *slots);
/* Wipes it. */
void slots_give(struct slots *slots, uint32_t number);

static inline void *slots_at(const struct slots *slots, uint32_t number) {
    return slots->at + (size_t)(number - 1) * slots->record_bytes;
}

/* Gives pages that no record is in back to the system, at most `bytes_max` a call. True: there are
 * more. Only an empty pool starts from the bottom again, so this is of use once it was empty. */
bool slots_trim(struct slots *slots, size_t bytes_max);

/* Chains by hash, about one record each; sized once. */
struct slots_index {
    uint32_t *heads;
    size_t count; /* a power of two */
    size_t dirty; /* heads from here on lie in pages that were given back */
};

void slots_index_init(struct slots_index *index, uint32_t max);
void slots_index_fini(struct slots_index *index);

static inline uint32_t *slots_index_head(const struct slots_index *index, uint64_t hash) {
    return &index->heads[hash & (index->count - 1)];
}

void slots_index_add(struct slots_index *index, const struct slots *slots, uint64_t hash,
                     uint32_t number);
void slots_index_drop(struct slots_index *index, const struct slots *slots, uint64_t hash,
                      uint32_t number);

/* As slots_trim; the index is empty. */
bool slots_index_trim(struct slots_index *index, size_t bytes_max);
