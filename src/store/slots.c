// SPDX-License-Identifier: MIT
#include "store/slots.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/mem.h"

/* A multiple of every page size that systems use. */
enum { PAGE_BYTES = 64 * 1024 };

/* Zeroed, and backed by nothing until it is written. As mem_alloc: no way on without it. */
static void *reserve(size_t bytes) {
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) {
        abort();
    }
    return at;
}

static size_t whole_pages(size_t bytes) {
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

static size_t reserved_bytes(const struct slots *slots) {
    return whole_pages(slots->max * slots->record_bytes);
}

void slots_init(struct slots *slots, size_t record_bytes, uint32_t max) {
    *slots = (struct slots){.record_bytes = record_bytes, .max = max};
    slots->at = reserve(reserved_bytes(slots));
}

void slots_fini(struct slots *slots) {
    mem_wipe(slots->at, slots->fresh * slots->record_bytes);
    munmap(slots->at, reserved_bytes(slots));
    *slots = (struct slots){0};
}

/* The link shares the place of the record's `next`. */
static uint32_t *link_of(const struct slots *slots, uint32_t number) {
    return slots_at(slots, number);
}

uint32_t slots_take(struct slots *slots) {
    uint32_t number = slots->free;
    if (number != 0) {
        slots->free = *link_of(slots, number);
    } else if (slots->fresh < slots->max) {
        number = ++slots->fresh;
        size_t end = slots->fresh * slots->record_bytes;
        slots->dirty_bytes = end > slots->dirty_bytes ? end : slots->dirty_bytes;
    } else {
        return 0;
    }
    *link_of(slots, number) = 0;
    slots->used++;
    return number;
}

void slots_give(struct slots *slots, uint32_t number) {
    mem_wipe(slots_at(slots, number), slots->record_bytes);
    *link_of(slots, number) = slots->free;
    slots->free = number;
    slots->used--;
    if (slots->used == 0) {
        slots->free = 0;
        slots->fresh = 0;
    }
}

bool slots_trim(struct slots *slots, size_t bytes_max) {
    size_t keep = whole_pages(slots->fresh * slots->record_bytes);
    size_t end = whole_pages(slots->dirty_bytes);
    if (end <= keep) {
        return false;
    }
    size_t span = whole_pages(bytes_max);
    size_t start = end - keep > span ? end - span : keep;
    madvise(slots->at + start, end - start, MADV_DONTNEED);
    slots->dirty_bytes = start;
    return start > keep;
}

void slots_index_init(struct slots_index *index, uint32_t max) {
    size_t count = PAGE_BYTES / sizeof(uint32_t);
    while (count < max) {
        count *= 2;
    }
    *index = (struct slots_index){.count = count};
    index->heads = reserve(count * sizeof(uint32_t));
}

void slots_index_fini(struct slots_index *index) {
    munmap(index->heads, index->count * sizeof(uint32_t));
    *index = (struct slots_index){0};
}

void slots_index_add(struct slots_index *index, const struct slots *slots, uint64_t hash,
                     uint32_t number) {
    uint32_t *head = slots_index_head(index, hash);
    *link_of(slots, number) = *head;
    *head = number;
    index->dirty = index->count;
}

void slots_index_drop(struct slots_index *index, const struct slots *slots, uint64_t hash,
                      uint32_t number) {
    uint32_t *at = slots_index_head(index, hash);
    while (*at != number) {
        at = link_of(slots, *at);
    }
    *at = *link_of(slots, number);
}

bool slots_index_trim(struct slots_index *index, size_t bytes_max) {
    size_t heads = whole_pages(bytes_max) / sizeof(uint32_t);
    size_t start = index->dirty > heads ? index->dirty - heads : 0;
    if (start < index->dirty) {
        madvise(index->heads + start, (index->dirty - start) * sizeof(uint32_t), MADV_DONTNEED);
    }
    index->dirty = start;
    return start > 0;
}
