// SPDX-License-Identifier: MIT
#include "base/slice.h"

static unsigned char fold(char c) {
    unsigned char u = (unsigned char)c;
    return (u >= 'A' && u <= 'Z') ? (unsigned char)(u | 0x20) : u;
}

bool slice_ieq(struct slice a, struct slice b) {
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (fold(a.at[i]) != fold(b.at[i])) {
            return false;
        }
    }
    return true;
}

bool slice_eq_ct(struct slice a, struct slice b) {
    if (a.len != b.len) {
        return false;
    }
    unsigned char differs = 0;
    for (size_t i = 0; i < a.len; i++) {
        differs |= (unsigned char)((unsigned char)a.at[i] ^ (unsigned char)b.at[i]);
    }
    return *(volatile unsigned char *)&differs == 0;
}

bool slice_starts(struct slice s, struct slice prefix) {
    return s.len >= prefix.len && slice_eq(slice_head(s, prefix.len), prefix);
}

size_t slice_find(struct slice s, char c) {
    const char *found = s.len > 0 ? memchr(s.at, c, s.len) : NULL;
    return found != NULL ? (size_t)(found - s.at) : s.len;
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s) {
    while (s.len > 0 && is_blank(s.at[0])) {
        s.at++;
        s.len--;
    }
    while (s.len > 0 && is_blank(s.at[s.len - 1])) {
        s.len--;
    }
    return s;
}

bool slice_split(struct slice *rest, char sep, struct slice *part) {
    if (rest->at == NULL) {
        return false;
    }
    size_t end = slice_find(*rest, sep);
    *part = slice_head(*rest, end);
    *rest = end < rest->len ? slice_from(*rest, end + 1) : SLICE_NULL;
    return true;
}

bool slice_to_u64(struct slice s, uint64_t max, uint64_t *out) {
    uint64_t value = 0;
    if (s.len == 0) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(s.at[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (value > max) {
        return false;
    }
    *out = value;
    return true;
}

bool slice_is_printable(struct slice s) {
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.at[i];
        if (c < 0x20 || c == 0x7F) {
            return false;
        }
    }
    return true;
}

static bool is_continuation(unsigned char c) {
    return (c & 0xC0) == 0x80;
}

/* Length of the well-formed sequence at `p` of at most `n` bytes, or 0 (RFC 3629 section 4). */
static size_t utf8_length(const unsigned char *p, size_t n) {
    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        return n >= 2 && is_continuation(p[1]) ? 2 : 0;
    }
    if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        if (n < 3 || !is_continuation(p[1]) || !is_continuation(p[2]) ||
            (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F)) {
            return 0;
        }
        return 3;
    }
    if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        if (n < 4 || !is_continuation(p[1]) || !is_continuation(p[2]) || !is_continuation(p[3]) ||
            (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F)) {
            return 0;
        }
        return 4;
    }
    return 0;
}

bool slice_is_utf8(struct slice s) {
    size_t i = 0;
    while (i < s.len) {
        size_t length = utf8_length((const unsigned char *)s.at + i, s.len - i);
        if (length == 0) {
            return false;
        }
        i += length;
    }
    return true;
}
