// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* The strict reading of a request's bytes (RFC 9112), before llhttp sees them: everything that one
 * parser may take in two ways is refused here. Pure functions; what has been checked once is not
 * looked at again, however the bytes were cut. */

/* How far a head is checked. All zero at its start. */
struct http_guard_head {
    size_t line; /* where the line that is not complete starts */
    size_t seen; /* no line feed before here */
    unsigned lines;
};

/* `bytes` is everything of the head that has come, from its first byte; `*length` is the head's
 * once it is complete, else 0. Returns 0, or the status to refuse it with: 400, 414, 431, 505. */
int http_guard_head(struct http_guard_head *guard, struct slice bytes, size_t *length);

/* How far a chunked body is checked. All zero at its start. */
struct http_guard_chunks {
    uint8_t state;
    uint8_t digits;
    unsigned extra; /* bytes of extensions and trailers so far */
    uint64_t left;  /* of the chunk */
};

/* `*used` bytes of these belong to the body; `*done` once it is complete. Returns 0 or 400. */
int http_guard_chunks(struct http_guard_chunks *guard, struct slice bytes, size_t *used,
                      bool *done);

/* 1*tchar (RFC 9110 section 5.6.2). */
bool http_guard_is_token(struct slice text);

/* host [":" port], without user information (RFC 9110 section 7.2). */
bool http_guard_is_host(struct slice text);
