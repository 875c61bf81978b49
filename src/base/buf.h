// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/slice.h"

/* A growing buffer with a cap given when it is made. Appending past the cap sets `overflow`, drops
 * the bytes and everything after them, and is asked once at the end (buf_ok): a half-written value
 * is never used by accident. On the heap, or in an arena that it may outgrow only up to the cap. */
struct buf {
    char *at;
    size_t len;
    size_t cap;
    size_t max;
    struct arena *arena; /* NULL: the heap */
    bool overflow;
    bool fixed; /* the caller's memory */
};

void buf_init(struct buf *buf, size_t max);
void buf_init_arena(struct buf *buf, struct arena *arena, size_t max);
/* Over the caller's fixed memory, which is the cap too. */
void buf_init_fixed(struct buf *buf, char *at, size_t max);

/* Wipes and frees (heap), or forgets. Fine to call twice. Usable again, but for one over the
 * caller's memory, whose cap is then 0. */
void buf_fini(struct buf *buf);

/* Empties; keeps the memory; wipes nothing. */
void buf_clear(struct buf *buf);

/* Room for `bytes` more, or NULL past the cap. The caller adds what it wrote to buf->len. */
char *buf_reserve(struct buf *buf, size_t bytes);

void buf_append(struct buf *buf, struct slice bytes);
void buf_append_char(struct buf *buf, char c);
void buf_append_u64(struct buf *buf, uint64_t value);
void buf_append_i64(struct buf *buf, int64_t value);
#define BUF_LIT(buf, literal) buf_append((buf), SLICE(literal))

/* application/x-www-form-urlencoded: space as '+', all but A-Z a-z 0-9 - . _ escaped: every form
 * decoder reads it back. */
void buf_append_form(struct buf *buf, struct slice text);

static inline bool buf_ok(const struct buf *buf) {
    return !buf->overflow;
}

static inline struct slice buf_slice(const struct buf *buf) {
    return (struct slice){buf->at, buf->len};
}
