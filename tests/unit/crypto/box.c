// SPDX-License-Identifier: MIT
#include "crypto/box.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "crypto/hash.h"
#include "kit/leaks.h"

enum { TEXT_MAX = 300 };

static void from_hex(const char *hex, unsigned char *out) {
    for (size_t i = 0; hex[2 * i] != '\0'; i++) {
        const char byte[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out[i] = (unsigned char)strtoul(byte, NULL, 16);
    }
}

static void count_up(unsigned char key[BOX_KEY_BYTES]) {
    for (int i = 0; i < BOX_KEY_BYTES; i++) {
        key[i] = (unsigned char)i;
    }
}

/* The first two are cases 13 and 14 of the GCM specification (McGrew and Viega, appendix B), whose
 * nonce is ours; the third is what Python's cryptography makes. */
Test(box, vectors) {
    static const unsigned char zeros[16];
    static const struct {
        bool counts; /* the key's bytes; else zeros */
        struct slice beside;
        struct slice plain;
        const char *box;
    } cases[] = {
        {false, {"", 0}, {"", 0}, "530f8afbc74536b9a963b4f1c4cb738b"},
        {false,
         {NULL, 0},
         {(const char *)zeros, 16},
         "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
        {true,
         {"what stands beside it", 21},
         {"what is sealed, of an odd length: 43 bytes..", 44},
         "79d4d4aa9545f09d7bcdc8597d48bdb9bd25763246a10f4be4bedfe6ab98293e747fd28f0a90c17256b05fdb"
         "a1e2ff96f09036e5d1d336b015b01dd7"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        unsigned char key[BOX_KEY_BYTES] = {0};
        unsigned char expected[TEXT_MAX];
        unsigned char box[TEXT_MAX];
        unsigned char plain[TEXT_MAX];
        size_t box_len = strlen(cases[i].box) / 2;
        if (cases[i].counts) {
            count_up(key);
        }
        from_hex(cases[i].box, expected);
        cr_assert_eq(cases[i].plain.len + BOX_TAG_BYTES, box_len);
        cr_assert_eq(box_seal(key, cases[i].beside, cases[i].plain, box), RC_OK);
        cr_assert_eq(memcmp(box, expected, box_len), 0, "case %zu", i);
        cr_assert_eq(box_open(key, cases[i].beside, slice_make(box, box_len), plain), RC_OK);
        cr_assert_eq(memcmp(plain, cases[i].plain.at, cases[i].plain.len), 0, "case %zu", i);
    }
    CHECK_LEAKS();
}

Test(box, a_key_is_made_of_a_secret_and_a_label) {
    unsigned char secret[BOX_KEY_BYTES];
    unsigned char expected[BOX_KEY_BYTES];
    unsigned char key[BOX_KEY_BYTES];
    cr_assert_eq(hash_init(), RC_OK);
    count_up(secret);
    from_hex("eedd6c951baafc722a4d8de5cd612483eac216f34cfae569be7d5a9f09a6a6eb", expected);
    struct slice all = slice_make(secret, sizeof secret);
    cr_assert_eq(box_key(all, SLICE("latchkey a label"), key), RC_OK);
    cr_assert_eq(memcmp(key, expected, sizeof key), 0);
    cr_assert_eq(box_key(all, SLICE("latchkey a labem"), key), RC_OK);
    cr_assert_neq(memcmp(key, expected, sizeof key), 0);
    secret[31] ^= 1;
    cr_assert_eq(box_key(all, SLICE("latchkey a label"), key), RC_OK);
    cr_assert_neq(memcmp(key, expected, sizeof key), 0);
    CHECK_LEAKS();
}

static void expect_shut(const unsigned char *key, struct slice beside, struct slice box,
                        const char *what) {
    unsigned char plain[TEXT_MAX];
    memset(plain, 'x', sizeof plain);
    cr_assert_eq(box_open(key, beside, box, plain), RC_NO_KEY_OPENS, "%s", what);
    for (size_t i = 0; i + BOX_TAG_BYTES < box.len; i++) {
        cr_assert_eq(plain[i], 0, "%s: something was given out", what);
    }
    cr_assert_eq(plain[box.len < BOX_TAG_BYTES ? 0 : box.len - BOX_TAG_BYTES], 'x');
}

Test(box, every_bit_counts) {
    unsigned char key[BOX_KEY_BYTES];
    unsigned char box[TEXT_MAX];
    char beside[] = "beside";
    const struct slice plain = SLICE("a verifier, and where to go");
    const struct slice near = slice_str(beside);
    size_t len = plain.len + BOX_TAG_BYTES;
    count_up(key);
    cr_assert_eq(box_seal(key, near, plain, box), RC_OK);
    for (size_t bit = 0; bit < len * 8; bit++) {
        box[bit / 8] ^= (unsigned char)(1U << bit % 8);
        expect_shut(key, near, slice_make(box, len), "a bit of the box");
        box[bit / 8] ^= (unsigned char)(1U << bit % 8);
    }
    for (size_t bit = 0; bit < sizeof key * 8; bit++) {
        key[bit / 8] ^= (unsigned char)(1U << bit % 8);
        expect_shut(key, near, slice_make(box, len), "a bit of the key");
        key[bit / 8] ^= (unsigned char)(1U << bit % 8);
    }
    for (size_t bit = 0; bit < near.len * 8; bit++) {
        beside[bit / 8] = (char)(beside[bit / 8] ^ (1 << bit % 8));
        expect_shut(key, near, slice_make(box, len), "a bit beside it");
        beside[bit / 8] = (char)(beside[bit / 8] ^ (1 << bit % 8));
    }
    expect_shut(key, slice_head(near, near.len - 1), slice_make(box, len), "less beside it");
    expect_shut(key, SLICE_NULL, slice_make(box, len), "nothing beside it");
    for (size_t cut = 0; cut < len; cut++) {
        expect_shut(key, near, slice_make(box, cut), "cut short");
    }
    unsigned char out[TEXT_MAX];
    cr_assert_eq(box_open(key, near, slice_make(box, len), out), RC_OK);
    cr_assert_eq(memcmp(out, plain.at, plain.len), 0);
    CHECK_LEAKS();
}
