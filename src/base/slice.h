// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed bytes: a pointer and a length, never NUL-terminated by contract. `at` may be NULL only
 * where `len` is 0; slice_is_null tells "absent" from "empty". */
struct slice {
    const char *at;
    size_t len;
};

#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})
#define SLICE_NULL ((struct slice){NULL, 0})
/* For printf's "%.*s". */
#define SLICE_ARGS(s) (int)(s).len, (s).at

static inline struct slice slice_make(const void *at, size_t len) {
    return (struct slice){at, len};
}

static inline struct slice slice_str(const char *text) {
    return (struct slice){text, text != NULL ? strlen(text) : 0};
}

static inline bool slice_is_null(struct slice s) {
    return s.at == NULL;
}

static inline struct slice slice_head(struct slice s, size_t n) {
    return (struct slice){s.at, s.len < n ? s.len : n};
}

static inline struct slice slice_from(struct slice s, size_t start) {
    size_t skipped = start < s.len ? start : s.len;
    /* Even 0 may not be added to a null pointer. */
    return (struct slice){skipped > 0 ? s.at + skipped : s.at, s.len - skipped};
}

static inline bool slice_eq(struct slice a, struct slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

/* ASCII case folded. */
bool slice_ieq(struct slice a, struct slice b);

/* In time that depends on the lengths only. */
bool slice_eq_ct(struct slice a, struct slice b);

bool slice_starts(struct slice s, struct slice prefix);

/* Index of the first `c`, or s.len. */
size_t slice_find(struct slice s, char c);

/* Without leading and trailing spaces and tabs. */
struct slice slice_trim(struct slice s);

/* Takes the part before the first `sep` off `*rest` (all of it where there is none). False when
 * `*rest` is exhausted; an empty part between two separators is returned as such. */
bool slice_split(struct slice *rest, char sep, struct slice *part);

/* Digits only, no sign, no leading "+"; false when empty or above `max`. */
bool slice_to_u64(struct slice s, uint64_t max, uint64_t *out);

/* True where no byte is below 0x20 or 0x7F. */
bool slice_is_printable(struct slice s);

/* True for well-formed UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool slice_is_utf8(struct slice s);
