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

static int value_of(char c) {
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

bool b64_decode_unpadded(unsigned char *out, size_t *out_len, struct slice text) {
    uint32_t bits = 0;
    unsigned held = 0;
    size_t n = 0;
    if (text.len % 4 == 1) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        int value = value_of(text.at[i]);
        if (value < 0) {
            return false;
        }
        bits = bits << 6 | (uint32_t)value;
        held += 6;
        if (held >= 8) {
            held -= 8;
            out[n++] = (unsigned char)(bits >> held);
            bits &= (1U << held) - 1;
        }
    }
    *out_len = n;
    return bits == 0;
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
