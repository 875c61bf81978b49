// SPDX-License-Identifier: MIT
#include "base/b64.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/slice.h"

/* RFC 4648 section 10, in the URL-safe alphabet. */
static const struct {
    const char *bytes;
    const char *padded;
} vectors[] = {
    {"", ""},
    {"f", "Zg=="},
    {"fo", "Zm8="},
    {"foo", "Zm9v"},
    {"foob", "Zm9vYg=="},
    {"fooba", "Zm9vYmE="},
    {"foobar", "Zm9vYmFy"},
    {"\xFB\xFF\xBF", "-_-_"},
};

Test(b64, rfc4648_vectors) {
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        char out[16];
        unsigned char back[B64_DECODED_MAX(16)];
        size_t n = 99;
        struct slice bytes = slice_str(vectors[i].bytes);
        struct slice padded = slice_str(vectors[i].padded);
        struct slice unpadded = slice_head(padded, slice_find(padded, '='));

        cr_assert_eq(B64_BYTES(bytes.len), padded.len, "case %zu", i);
        cr_assert_eq(B64_BYTES_UNPADDED(bytes.len), unpadded.len, "case %zu", i);
        cr_assert(slice_eq(slice_make(out, b64_encode(out, bytes)), padded), "case %zu", i);
        cr_assert(slice_eq(slice_make(out, b64_encode_unpadded(out, bytes)), unpadded), "case %zu",
                  i);
        cr_assert(b64_decode(back, &n, padded), "case %zu", i);
        cr_assert(slice_eq(slice_make(back, n), bytes), "case %zu", i);
        cr_assert(b64_decode_unpadded(back, &n, unpadded), "case %zu", i);
        cr_assert(slice_eq(slice_make(back, n), bytes), "case %zu", i);
        if (padded.len != unpadded.len) {
            cr_assert(!b64_decode(back, &n, unpadded), "padding is required: case %zu", i);
            cr_assert(!b64_decode_unpadded(back, &n, padded), "and forbidden: case %zu", i);
        }
    }
}

Test(b64, every_length_comes_back) {
    unsigned char bytes[80];
    for (size_t len = 0; len <= sizeof bytes; len++) {
        char text[B64_BYTES(sizeof bytes)];
        unsigned char back[B64_DECODED_MAX(sizeof text)];
        size_t n = 0;
        for (size_t i = 0; i < len; i++) {
            bytes[i] = (unsigned char)(i * 37 + len * 101);
        }
        size_t chars = b64_encode(text, slice_make(bytes, len));
        cr_assert(b64_decode(back, &n, slice_make(text, chars)), "%zu bytes", len);
        cr_assert(slice_eq(slice_make(back, n), slice_make(bytes, len)), "%zu bytes", len);
    }
}

/* Each byte in each place of a group and of a tail: only the alphabet passes. */
Test(b64, alphabet_is_strict) {
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (int c = 0; c < 256; c++) {
        bool inside = c != 0 && strchr(alphabet, c) != NULL;
        for (size_t place = 0; place < 5; place++) {
            char text[6] = "AAAAAA";
            unsigned char back[B64_DECODED_MAX(6)];
            size_t n = 0;
            text[place] = (char)c;
            cr_assert_eq(b64_decode_unpadded(back, &n, slice_make(text, 6)), inside,
                         "byte %d in place %zu", c, place);
        }
    }
}

Test(b64, refused) {
    static const char *const padded[] = {
        "=",      "==",    "====",  "A===",     "A=======", "Zg=",        "Zg",   "Z",
        "Zg===",  "Zg=A",  "Zh==",  "Zm9=",     "Zm8=A",    "Zm8 ",       "Zm8+", "Zm8/",
        "Zm9v\n", " Zm9v", "Zm9v=", "Zm9v====", "Zg==Zg==", "\xC3\xA4zz",
    };
    static const char *const unpadded[] = {"A",    "AAAAA", "Zh",    "Zm9",
                                           "Zg==", "Zm8=",  "Zm9v ", "-_+"};
    unsigned char back[64];
    size_t n;
    for (size_t i = 0; i < sizeof padded / sizeof padded[0]; i++) {
        cr_expect(!b64_decode(back, &n, slice_str(padded[i])), "\"%s\"", padded[i]);
    }
    for (size_t i = 0; i < sizeof unpadded / sizeof unpadded[0]; i++) {
        cr_expect(!b64_decode_unpadded(back, &n, slice_str(unpadded[i])), "\"%s\"", unpadded[i]);
    }
    cr_expect(!b64_decode_unpadded(back, &n, SLICE("AA\0A")));
}
