// SPDX-License-Identifier: MIT
#include "crypto/rng.h"

#include <criterion/criterion.h>
#include <string.h>

/* Not a test of the system's generator, but of our blocks: no byte given twice, none left over. */
Test(rng, every_draw_is_fresh_and_wiped) {
    static unsigned char drawn[200][32];
    struct rng rng;
    rng_init(&rng);
    for (size_t i = 0; i < 200; i++) {
        cr_assert_eq(rng_bytes(&rng, drawn[i], 32), RC_OK);
        for (size_t k = 0; k < i; k++) {
            cr_assert_neq(memcmp(drawn[i], drawn[k], 32), 0, "draw %zu is draw %zu", i, k);
        }
        size_t used = sizeof rng.block - rng.left;
        for (size_t k = 0; k < used; k++) {
            cr_assert_eq(rng.block[k], 0, "given out, but kept");
        }
    }
    rng_fini(&rng);
    cr_assert_eq(rng.left, 0);
}

/* All sizes around the block's, across its ends: each byte of the result is written. One that is
 * zero in eight draws was not. */
Test(rng, sizes) {
    enum { DRAWS = 8 };
    static unsigned char out[3000];
    static unsigned char seen[sizeof out];
    struct rng rng;
    rng_init(&rng);
    for (size_t n = 0; n < sizeof out; n = n * 3 / 2 + 7) {
        memset(seen, 0, sizeof seen);
        for (int draw = 0; draw < DRAWS; draw++) {
            memset(out, 0, sizeof out);
            cr_assert_eq(rng_bytes(&rng, out, n), RC_OK);
            for (size_t i = 0; i < n; i++) {
                seen[i] |= out[i];
            }
        }
        for (size_t i = 0; i < n; i++) {
            cr_assert_neq(seen[i], 0, "byte %zu of %zu is not written", i, n);
        }
        for (size_t i = n; i < sizeof out; i++) {
            cr_assert_eq(out[i], 0, "wrote past %zu", n);
        }
    }
    cr_assert_eq(rng_system(out, 0), RC_OK);
    cr_assert_eq(rng_system(out, sizeof out), RC_OK);
    rng_fini(&rng);
}

/* One byte short of what is left: a new block, not a byte past the old one. */
Test(rng, end_of_a_block) {
    static unsigned char out[sizeof((struct rng *)0)->block];
    struct rng rng;
    rng_init(&rng);
    for (size_t first = 1; first < sizeof out; first++) {
        size_t rest = sizeof out - first;
        rng.left = 0;
        cr_assert_eq(rng_bytes(&rng, out, first), RC_OK);
        cr_assert_eq(rng_bytes(&rng, out, rest + 1), RC_OK);
        cr_assert_eq(rng.left, sizeof out - rest - 1, "after %zu", first);
    }
    rng_fini(&rng);
}

Test(rng, two_of_them_differ) {
    unsigned char a[32];
    unsigned char b[32];
    struct rng first;
    struct rng second;
    rng_init(&first);
    rng_init(&second);
    cr_assert_eq(rng_bytes(&first, a, sizeof a), RC_OK);
    cr_assert_eq(rng_bytes(&second, b, sizeof b), RC_OK);
    cr_assert_neq(memcmp(a, b, sizeof a), 0);
    rng_fini(&first);
    rng_fini(&second);
}
