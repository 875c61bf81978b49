// SPDX-License-Identifier: MIT
#include "base/b64.h"

#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

size_t b64_encode_unpadded(char *out, struct slice bytes) {
    const unsigned char *in = (const unsigned char *)bytes.at;
    size_t n = 0;
    size_t i = 0;
    for (; i + 3 <= bytes.len; i += 3) {
        uint32_t v = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];
        out[n++] = alphabet[v >> 18];
        out[n++] = alphabet[v >> 12 & 63];
        out[n++] = alphabet[v >> 6 & 63];
        out[n++] = alphabet[v & 63];
    }
    if (bytes.len - i == 1) {
        out[n++] = alphabet[in[i] >> 2];
        out[n++] = alphabet[(in[i] & 3) << 4];
    } else if (bytes.len - i == 2) {
        out[n++] = alphabet[in[i] >> 2];
        out[n++] = alphabet[(in[i] & 3) << 4 | in[i + 1] >> 4];
        out[n++] = alphabet[(in[i + 1] & 15) << 2];
    }
    return n;
}

size_t b64_encode(char *out, struct slice bytes) {
    size_t n = b64_encode_unpadded(out, bytes);
    while (n % 4 != 0) {
        out[n++] = '=';
    }
    return n;
}

enum { OUTSIDE = 64 };

/* The value of each character of the alphabet, OUTSIDE for all others. */
static const unsigned char values[256] = {
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 62, 64, 64,
    52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 64, 64, 64, 64, 64, 64, 0,  1,  2,  3,  4,  5,  6,
    7,  8,  9,  10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 64, 64, 64, 64, 63,
    64, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48,
    49, 50, 51, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64,
};

bool b64_decode_unpadded(unsigned char *out, size_t *out_len, struct slice text) {
    const unsigned char *in = (const unsigned char *)text.at;
    size_t tail = text.len % 4;
    size_t n = 0;
    uint32_t seen = 0; /* all values ORed: one look at the end tells whether any was outside */
    size_t i = 0;
    for (; i + 4 <= text.len; i += 4) {
        uint32_t a = values[in[i]];
        uint32_t b = values[in[i + 1]];
        uint32_t c = values[in[i + 2]];
        uint32_t d = values[in[i + 3]];
        uint32_t bits = a << 18 | b << 12 | c << 6 | d;
        seen |= a | b | c | d;
        out[n++] = (unsigned char)(bits >> 16);
        out[n++] = (unsigned char)(bits >> 8);
        out[n++] = (unsigned char)bits;
    }
    uint32_t unused = 0;
    if (tail >= 2) {
        uint32_t a = values[in[i]];
        uint32_t b = values[in[i + 1]];
        uint32_t c = tail == 3 ? values[in[i + 2]] : 0;
        uint32_t bits = a << 18 | b << 12 | c << 6;
        seen |= a | b | c;
        out[n++] = (unsigned char)(bits >> 16);
        if (tail == 3) {
            out[n++] = (unsigned char)(bits >> 8);
        }
        unused = tail == 3 ? bits & 0xFF : bits & 0xFFFF;
    }
    *out_len = n;
    return tail != 1 && seen < OUTSIDE && unused == 0;
}

bool b64_decode(unsigned char *out, size_t *out_len, struct slice text) {
    if (text.len % 4 != 0) {
        return false;
    }
    size_t padding = 0;
    while (padding < 2 && padding < text.len && text.at[text.len - 1 - padding] == '=') {
        padding++;
    }
    return b64_decode_unpadded(out, out_len, slice_head(text, text.len - padding));
}
