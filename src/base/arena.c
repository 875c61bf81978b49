// SPDX-License-Identifier: MIT
#include "base/arena.h"

#include <stdalign.h>
#include <string.h>

#include "base/mem.h"

enum { FIRST_CHUNK_BYTES = 8 * 1024, ALIGN = 16 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    size_t used;
    alignas(ALIGN) char bytes[];
};

void arena_init(struct arena *arena, size_t max) {
    *arena = (struct arena){.max = max};
}

/* Of `wanted` bytes, or more where the cap leaves them. */
static struct arena_chunk *chunk_new(struct arena *arena, size_t wanted) {
    size_t left = arena->max - arena->taken;
    if (wanted > left) {
        return NULL;
    }
    size_t usual = left < FIRST_CHUNK_BYTES ? left : FIRST_CHUNK_BYTES;
    size_t bytes = wanted > usual ? wanted : usual;
    struct arena_chunk *chunk = mem_alloc(sizeof *chunk + bytes);
    chunk->next = NULL;
    chunk->size = bytes;
    chunk->used = 0;
    arena->taken += bytes;
    return chunk;
}

static void chunks_free(struct arena *arena, struct arena_chunk *chunk) {
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        mem_wipe(chunk->bytes, chunk->used);
        arena->taken -= chunk->size;
        mem_free(chunk);
        chunk = next;
    }
}

void arena_fini(struct arena *arena) {
    chunks_free(arena, arena->first);
    arena_init(arena, arena->max);
}

void arena_reset(struct arena *arena) {
    struct arena_chunk *first = arena->first;
    if (first == NULL) {
        return;
    }
    chunks_free(arena, first->next);
    first->next = NULL;
    mem_wipe(first->bytes, first->used);
    first->used = 0;
    arena->current = first;
}

void *arena_alloc(struct arena *arena, size_t bytes) {
    if (bytes > arena->max) {
        return NULL; /* and what follows can't wrap around */
    }
    size_t rounded = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    struct arena_chunk *chunk = arena->current;
    if (chunk == NULL || chunk->size - chunk->used < rounded) {
        struct arena_chunk *fresh = chunk_new(arena, rounded);
        if (fresh == NULL) {
            return NULL;
        }
        if (chunk == NULL) {
            arena->first = fresh;
        } else {
            chunk->next = fresh;
        }
        arena->current = fresh;
        chunk = fresh;
    }
    void *at = chunk->bytes + chunk->used;
    chunk->used += rounded;
    return at;
}

void *arena_calloc(struct arena *arena, size_t bytes) {
    void *at = arena_alloc(arena, bytes);
    return at != NULL ? memset(at, 0, bytes) : NULL;
}

struct slice arena_copy(struct arena *arena, struct slice bytes) {
    char *copy = arena_alloc(arena, bytes.len + 1);
    if (copy == NULL) {
        return SLICE_NULL;
    }
    if (bytes.len > 0) {
        memcpy(copy, bytes.at, bytes.len);
    }
    copy[bytes.len] = '\0';
    return slice_make(copy, bytes.len);
}
