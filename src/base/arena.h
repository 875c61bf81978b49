// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>

#include "base/slice.h"

/* One request's memory: everything that lives as long as the request is cut from it and given back
 * at once. Bounded: NULL past the cap, which the caller answers (RC_TOO_LARGE). */
struct arena_chunk;

struct arena {
    struct arena_chunk *first;
    struct arena_chunk *current;
    size_t taken; /* bytes of all chunks */
    size_t max;
};

/* Allocates nothing before the first use. */
void arena_init(struct arena *arena, size_t max);
void arena_fini(struct arena *arena);

/* Forgets everything. Wipes what was used (requests hold tokens and codes), keeps the first
 * chunk. */
void arena_reset(struct arena *arena);

/* 16-byte aligned, not zeroed; NULL past the cap. */
void *arena_alloc(struct arena *arena, size_t bytes);
void *arena_calloc(struct arena *arena, size_t bytes);

/* Copies; `at` is NULL past the cap. The copy is NUL-terminated beyond its length. */
struct slice arena_copy(struct arena *arena, struct slice bytes);
