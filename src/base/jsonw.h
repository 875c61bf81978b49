// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slice.h"

/* Writes JSON into a bounded buffer, member by member, with the commas put right. Strings are
 * escaped (RFC 8259 section 7); bytes that are not UTF-8 become U+FFFD, so that the output is
 * always valid. Past the buffer's cap: buf_ok() is false. */
struct jsonw {
    struct buf *out;
    bool comma; /* the next value needs one before it */
};

static inline struct jsonw jsonw_start(struct buf *out) {
    return (struct jsonw){out, false};
}

void jsonw_open(struct jsonw *w, char bracket);  /* '{' or '[' */
void jsonw_close(struct jsonw *w, char bracket); /* '}' or ']' */

/* A member's name, which needs no escape; the next call writes its value. */
void jsonw_name(struct jsonw *w, const char *name);

void jsonw_slice(struct jsonw *w, struct slice text); /* a null slice: null */
void jsonw_i64(struct jsonw *w, int64_t value);
void jsonw_double(struct jsonw *w, double value);
void jsonw_bool(struct jsonw *w, bool value);
void jsonw_null(struct jsonw *w);
void jsonw_time(struct jsonw *w, int64_t wall_ms); /* RFC 3339; 0: null */

/* name and value */
void jsonw_member(struct jsonw *w, const char *name, struct slice text);
