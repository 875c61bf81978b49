// SPDX-License-Identifier: MIT
#include "store/slots.h"

#include <criterion/criterion.h>
#include <string.h>

#include "base/keyhash.h"
#include "kit/leaks.h"

struct record {
    uint32_t next;
    uint32_t value;
    char filler[192];
};

static struct record *at(const struct slots *slots, uint32_t number) {
    return slots_at(slots, number);
}

Test(slots, are_zeroed_reused_and_bounded) {
    struct slots slots;
    slots_init(&slots, sizeof(struct record), 3);
    uint32_t first = slots_take(&slots);
    uint32_t second = slots_take(&slots);
    uint32_t third = slots_take(&slots);
    cr_assert(first != 0 && second != 0 && third != 0);
    cr_assert_eq(slots_take(&slots), 0, "a fourth of three");
    memset(at(&slots, second), 0xAA, sizeof(struct record));
    slots_give(&slots, second);
    cr_assert_eq(slots_take(&slots), second);
    for (size_t i = 0; i < sizeof(struct record); i++) {
        cr_assert_eq(((char *)at(&slots, second))[i], 0, "byte %zu", i);
    }
    slots_give(&slots, first);
    slots_give(&slots, second);
    slots_give(&slots, third);
    cr_assert_eq(slots.used, 0);
    slots_fini(&slots);
    CHECK_LEAKS();
}

Test(slots, index_finds_what_was_added) {
    enum { COUNT = 5000 };
    struct slots slots;
    struct slots_index index;
    slots_init(&slots, sizeof(struct record), COUNT);
    slots_index_init(&index, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t number = slots_take(&slots);
        at(&slots, number)->value = i;
        slots_index_add(&index, &slots, i % 700, number); /* long chains */
    }
    for (uint32_t i = 0; i < COUNT; i += 2) {
        slots_index_drop(&index, &slots, i % 700, i + 1);
    }
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t number = *slots_index_head(&index, i % 700);
        while (number != 0 && at(&slots, number)->value != i) {
            number = at(&slots, number)->next;
        }
        cr_assert_eq(number != 0, i % 2 == 1, "record %u", i);
    }
    slots_index_fini(&index);
    slots_fini(&slots);
    CHECK_LEAKS();
}

Test(slots, trimming_ends_and_keeps_what_is_used) {
    enum { COUNT = 20000, STEP_BYTES = 256 * 1024 };
    struct slots slots;
    slots_init(&slots, sizeof(struct record), COUNT);
    for (uint32_t i = 1; i <= COUNT; i++) {
        at(&slots, slots_take(&slots))->value = i;
    }
    cr_assert(!slots_trim(&slots, STEP_BYTES), "nothing is unused");
    for (uint32_t i = 1; i <= COUNT; i++) {
        cr_assert_eq(at(&slots, i)->value, i);
        slots_give(&slots, i);
    }
    uint32_t kept = slots_take(&slots);
    at(&slots, kept)->value = 42;
    int steps = 1;
    while (slots_trim(&slots, STEP_BYTES)) {
        steps++;
    }
    cr_assert_eq(steps, (COUNT * (int)sizeof(struct record) - 1) / STEP_BYTES + 1, "%d", steps);
    cr_assert_eq(at(&slots, kept)->value, 42);
    slots_fini(&slots);
    CHECK_LEAKS();
}

/* The reference values of SipHash-1-3 for the seed 00 01 … 0f and the messages "", 00, 00 01, … as
 * other implementations give them; and that every byte and the length matter. */
Test(keyhash, depends_on_seed_length_and_every_byte) {
    struct keyhash hash = {{0x0706050403020100U, 0x0f0e0d0c0b0a0908U}};
    struct keyhash other = {{0x0706050403020100U, 0x0f0e0d0c0b0a0909U}};
    char bytes[64];
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)i;
    }
    cr_assert_eq(keyhash_of(&hash, slice_make(bytes, 0)), 0xabac0158050fc4dcU);
    cr_assert_eq(keyhash_of(&hash, slice_make(bytes, 1)), 0xc9f49bf37d57ca93U);
    for (size_t len = 0; len <= sizeof bytes; len++) {
        uint64_t whole = keyhash_of(&hash, slice_make(bytes, len));
        cr_assert_neq(whole, keyhash_of(&other, slice_make(bytes, len)), "length %zu", len);
        for (size_t i = 0; i < len; i++) {
            bytes[i] ^= 1;
            cr_assert_neq(whole, keyhash_of(&hash, slice_make(bytes, len)), "%zu of %zu", i, len);
            bytes[i] ^= 1;
        }
    }
    cr_assert_eq(keyhash_init(&hash), RC_OK);
    cr_assert_eq(keyhash_init(&other), RC_OK);
    cr_assert_neq(hash.seed[0], other.seed[0]);
}
