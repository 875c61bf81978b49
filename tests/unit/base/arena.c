// SPDX-License-Identifier: MIT
#include "base/arena.h"

#include <criterion/criterion.h>
#include <stdint.h>

#include "kit/leaks.h"

Test(arena, takes_nothing_before_the_first_use) {
    struct arena arena;
    arena_init(&arena, 100000);
    cr_assert_eq(arena.taken, 0);
    arena_reset(&arena);
    arena_fini(&arena);
    arena_fini(&arena);
    CHECK_LEAKS();
}

Test(arena, pieces_are_aligned_and_apart) {
    struct arena arena;
    unsigned char *pieces[200];
    arena_init(&arena, 1024 * 1024);
    for (size_t i = 0; i < 200; i++) {
        pieces[i] = arena_alloc(&arena, i);
        cr_assert_not_null(pieces[i]);
        cr_assert_eq((uintptr_t)pieces[i] % 16, 0, "piece %zu", i);
        memset(pieces[i], (int)i, i);
    }
    for (size_t i = 0; i < 200; i++) {
        for (size_t k = 0; k < i; k++) {
            cr_assert_eq(pieces[i][k], i, "piece %zu", i);
        }
    }
    arena_fini(&arena);
    cr_assert_eq(arena.taken, 0);
    CHECK_LEAKS();
}

Test(arena, cap) {
    struct arena arena;
    arena_init(&arena, 20000);
    cr_assert_null(arena_alloc(&arena, 20001));
    cr_assert_null(arena_alloc(&arena, SIZE_MAX));
    cr_assert_not_null(arena_alloc(&arena, 15000));
    cr_assert_null(arena_alloc(&arena, 6000));
    cr_assert_not_null(arena_alloc(&arena, 4000), "less than a usual chunk is left, but enough");
    cr_assert_leq(arena.taken, 20000);
    arena_fini(&arena);

    arena_init(&arena, 128);
    cr_assert_not_null(arena_alloc(&arena, 100), "a cap below the size of a usual chunk");
    cr_assert_null(arena_alloc(&arena, 100));
    arena_fini(&arena);
    CHECK_LEAKS();
}

/* All that fits is given, one piece after the other, and never more. */
Test(arena, fills_up) {
    struct arena arena;
    size_t given = 0;
    arena_init(&arena, 100000);
    while (arena_alloc(&arena, 160) != NULL) {
        given += 160;
        cr_assert_leq(given, 100000);
    }
    cr_assert_geq(given, 95000);
    arena_fini(&arena);
    CHECK_LEAKS();
}

Test(arena, reset_wipes_and_keeps_the_first_chunk) {
    struct arena arena;
    arena_init(&arena, 100000);
    struct slice secret = arena_copy(&arena, SLICE("a code that is secret"));
    cr_assert_not_null(arena_alloc(&arena, 50000));
    arena_reset(&arena);
    cr_assert_lt(arena.taken, 50000);
    cr_assert_gt(arena.taken, 0);
    for (size_t i = 0; i < secret.len; i++) {
        cr_assert_eq(secret.at[i], 0, "byte %zu", i);
    }
    cr_assert_eq(arena_alloc(&arena, 16), secret.at, "the same memory again");
    cr_assert_not_null(arena_alloc(&arena, 90000));
    arena_fini(&arena);
    CHECK_LEAKS();
}

Test(arena, copy_and_calloc) {
    struct arena arena;
    arena_init(&arena, 4096);
    struct slice copy = arena_copy(&arena, SLICE("abc"));
    cr_assert(slice_eq(copy, SLICE("abc")));
    cr_assert_eq(copy.at[3], '\0');
    cr_assert_eq(arena_copy(&arena, SLICE_NULL).len, 0);
    memset(arena_alloc(&arena, 64), 0xFF, 64);
    arena_reset(&arena);
    unsigned char *zeroed = arena_calloc(&arena, 64);
    for (size_t i = 0; i < 64; i++) {
        cr_assert_eq(zeroed[i], 0);
    }
    cr_assert_null(arena_calloc(&arena, 5000));
    char big[5000] = {0};
    cr_assert(slice_is_null(arena_copy(&arena, slice_make(big, sizeof big))));
    arena_fini(&arena);
    CHECK_LEAKS();
}
