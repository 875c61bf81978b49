// SPDX-License-Identifier: MIT
#include "base/buf.h"

#include <string.h>

#include "base/mem.h"

enum { FIRST_BYTES = 256 };

void buf_init(struct buf *buf, size_t max) {
    *buf = (struct buf){.max = max};
}

void buf_init_arena(struct buf *buf, struct arena *arena, size_t max) {
    *buf = (struct buf){.max = max, .arena = arena};
}

void buf_init_fixed(struct buf *buf, char *at, size_t max) {
    *buf = (struct buf){.at = at, .cap = max, .max = max, .fixed = true};
}

void buf_fini(struct buf *buf) {
    if (buf->arena == NULL && !buf->fixed && buf->at != NULL) {
        /* Not only `len`: what stood there before a buf_clear is as secret. */
        mem_wipe(buf->at, buf->cap);
        mem_free(buf->at);
    }
    *buf = (struct buf){.max = buf->fixed ? 0 : buf->max, .arena = buf->arena};
}

void buf_clear(struct buf *buf) {
    buf->len = 0;
    buf->overflow = false;
}

static bool grow(struct buf *buf, size_t wanted) {
    size_t cap = buf->cap > 0 ? buf->cap : FIRST_BYTES;
    while (cap < wanted) {
        cap *= 2;
    }
    cap = cap > buf->max ? buf->max : cap;
    char *at = buf->arena != NULL ? arena_alloc(buf->arena, cap) : mem_alloc(cap);
    if (at == NULL) {
        return false;
    }
    if (buf->at != NULL) {
        memcpy(at, buf->at, buf->len);
    }
    if (buf->arena == NULL && buf->at != NULL) {
        mem_wipe(buf->at, buf->cap);
        mem_free(buf->at);
    }
    buf->at = at;
    buf->cap = cap;
    return true;
}

char *buf_reserve(struct buf *buf, size_t bytes) {
    if (buf->overflow || bytes > buf->max - buf->len) {
        buf->overflow = true;
        return NULL;
    }
    if ((buf->at == NULL || buf->len + bytes > buf->cap) && !grow(buf, buf->len + bytes)) {
        buf->overflow = true;
        return NULL;
    }
    return buf->at + buf->len;
}

void buf_append(struct buf *buf, struct slice bytes) {
    if (bytes.len == 0) {
        return;
    }
    char *at = buf_reserve(buf, bytes.len);
    if (at != NULL) {
        memcpy(at, bytes.at, bytes.len);
        buf->len += bytes.len;
    }
}

void buf_append_char(struct buf *buf, char c) {
    buf_append(buf, slice_make(&c, 1));
}

void buf_append_u64(struct buf *buf, uint64_t value) {
    char digits[20];
    size_t n = sizeof digits;
    do {
        digits[--n] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buf_append(buf, slice_make(digits + n, sizeof digits - n));
}

void buf_append_i64(struct buf *buf, int64_t value) {
    if (value < 0) {
        buf_append_char(buf, '-');
    }
    buf_append_u64(buf, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

static bool is_form_safe(unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_';
}

void buf_append_form(struct buf *buf, struct slice text) {
    static const char hex[] = "0123456789ABCDEF";
    size_t escaped = 0;
    for (size_t i = 0; i < text.len; i++) {
        escaped += !is_form_safe((unsigned char)text.at[i]) && text.at[i] != ' ';
    }
    char *out = buf_reserve(buf, text.len + 2 * escaped);
    if (out == NULL) {
        return;
    }
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (is_form_safe(c)) {
            out[n++] = (char)c;
        } else if (c == ' ') {
            out[n++] = '+';
        } else {
            out[n++] = '%';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        }
    }
    buf->len += n;
}
