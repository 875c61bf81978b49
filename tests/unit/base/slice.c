// SPDX-License-Identifier: MIT
#include "base/slice.h"

#include <criterion/criterion.h>

Test(slice, null_and_empty_differ) {
    cr_assert(slice_is_null(SLICE_NULL));
    cr_assert(slice_is_null(slice_str(NULL)));
    cr_assert(!slice_is_null(SLICE("")));
    cr_assert(slice_eq(SLICE_NULL, SLICE("")), "both hold no bytes");
    cr_assert(slice_is_null(slice_from(SLICE_NULL, 0)));
    cr_assert(slice_is_null(slice_head(SLICE_NULL, 5)));
}

Test(slice, head_and_from_stay_inside) {
    struct slice s = SLICE("abcdef");
    cr_assert(slice_eq(slice_head(s, 2), SLICE("ab")));
    cr_assert(slice_eq(slice_head(s, 99), s));
    cr_assert(slice_eq(slice_from(s, 2), SLICE("cdef")));
    cr_assert_eq(slice_from(s, 6).len, 0);
    cr_assert_eq(slice_from(s, 99).len, 0);
    cr_assert_eq(slice_from(s, 99).at, s.at + 6);
}

Test(slice, equality) {
    static const struct {
        struct slice a;
        struct slice b;
        bool exact;
        bool folded;
    } cases[] = {
        {SLICE(""), SLICE(""), true, true},
        {SLICE("Bearer"), SLICE("Bearer"), true, true},
        {SLICE("Bearer"), SLICE("bEARER"), false, true},
        {SLICE("Bearer"), SLICE("Beare"), false, false},
        {SLICE("Bearer"), SLICE("Bearex"), false, false},
        {SLICE("a\0b"), SLICE("a\0c"), false, false},
        {SLICE("@"), SLICE("`"), false, false}, /* 0x40 and 0x60: no letters */
        {SLICE("["), SLICE("{"), false, false},
        {SLICE("\xC3\x84"), SLICE("\xC3\xA4"), false, false}, /* ASCII only */
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(slice_eq(cases[i].a, cases[i].b), cases[i].exact, "case %zu", i);
        cr_expect_eq(slice_eq_ct(cases[i].a, cases[i].b), cases[i].exact, "case %zu", i);
        cr_expect_eq(slice_ieq(cases[i].a, cases[i].b), cases[i].folded, "case %zu", i);
    }
}

Test(slice, starts_find_trim) {
    cr_assert(slice_starts(SLICE("abc"), SLICE("ab")));
    cr_assert(slice_starts(SLICE("abc"), SLICE("")));
    cr_assert(!slice_starts(SLICE("ab"), SLICE("abc")));
    cr_assert_eq(slice_find(SLICE("a.b.c"), '.'), 1);
    cr_assert_eq(slice_find(SLICE("abc"), '.'), 3);
    cr_assert_eq(slice_find(SLICE_NULL, '.'), 0);
    cr_assert(slice_eq(slice_trim(SLICE(" \t a b\t ")), SLICE("a b")));
    cr_assert(slice_eq(slice_trim(SLICE("\na")), SLICE("\na")), "only spaces and tabs");
    cr_assert_eq(slice_trim(SLICE(" \t ")).len, 0);
}

static size_t split_all(struct slice text, struct slice parts[8]) {
    size_t n = 0;
    while (n < 8 && slice_split(&text, ',', &parts[n])) {
        n++;
    }
    return n;
}

Test(slice, split_keeps_empty_parts) {
    struct slice parts[8];
    cr_assert_eq(split_all(SLICE("a,bc"), parts), 2);
    cr_assert(slice_eq(parts[0], SLICE("a")));
    cr_assert(slice_eq(parts[1], SLICE("bc")));
    cr_assert_eq(split_all(SLICE(",,"), parts), 3);
    cr_assert_eq(parts[0].len + parts[1].len + parts[2].len, 0);
    cr_assert_eq(split_all(SLICE("a,"), parts), 2);
    cr_assert_eq(split_all(SLICE(""), parts), 1);
    cr_assert_eq(split_all(SLICE_NULL, parts), 0);
}

Test(slice, to_u64_takes_digits_only) {
    static const struct {
        struct slice text;
        uint64_t max;
        bool good;
        uint64_t value;
    } cases[] = {
        {SLICE("0"), 10, true, 0},
        {SLICE("10"), 10, true, 10},
        {SLICE("11"), 10, false, 0},
        {SLICE("007"), 10, true, 7},
        {SLICE("18446744073709551615"), UINT64_MAX, true, UINT64_MAX},
        {SLICE("18446744073709551616"), UINT64_MAX, false, 0},
        {SLICE("99999999999999999999999"), UINT64_MAX, false, 0},
        {SLICE(""), 10, false, 0},
        {SLICE("+1"), 10, false, 0},
        {SLICE("-1"), 10, false, 0},
        {SLICE(" 1"), 10, false, 0},
        {SLICE("1 "), 10, false, 0},
        {SLICE("1\0"), 10, false, 0},
        {SLICE("0x1"), 10, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t value = 77;
        cr_expect_eq(slice_to_u64(cases[i].text, cases[i].max, &value), cases[i].good, "case %zu",
                     i);
        cr_expect_eq(value, cases[i].good ? cases[i].value : 77, "case %zu", i);
    }
}

Test(slice, printable) {
    cr_assert(slice_is_printable(SLICE("")));
    cr_assert(slice_is_printable(SLICE(" ~\xC3\xA4\x80\xFF")));
    for (int c = 0; c < 256; c++) {
        char text[3] = {'a', (char)c, 'b'};
        cr_expect_eq(slice_is_printable(slice_make(text, 3)), c >= 0x20 && c != 0x7F, "byte %d", c);
    }
}

/* The table of well-formed sequences is RFC 3629 section 4. */
Test(slice, utf8) {
    static const struct {
        struct slice text;
        bool good;
    } cases[] = {
        {SLICE(""), true},
        {SLICE("plain"), true},
        {SLICE("\x00\x7F"), true},
        {SLICE("\xC2\x80\xDF\xBF"), true},
        {SLICE("\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF"), true},
        {SLICE("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF"), true},
        {SLICE("\x80"), false},
        {SLICE("\xBF"), false},
        {SLICE("\xC0\x80"), false},         /* overlong NUL */
        {SLICE("\xC1\xBF"), false},         /* overlong */
        {SLICE("\xE0\x9F\xBF"), false},     /* overlong */
        {SLICE("\xF0\x8F\xBF\xBF"), false}, /* overlong */
        {SLICE("\xED\xA0\x80"), false},     /* surrogates */
        {SLICE("\xED\xBF\xBF"), false},
        {SLICE("\xF4\x90\x80\x80"), false}, /* above U+10FFFF */
        {SLICE("\xF5\x80\x80\x80"), false},
        {SLICE("\xFF"), false},
        {SLICE("\xC3"), false}, /* cut short */
        {SLICE("\xE2\x82"), false},
        {SLICE("\xF0\x9F\x98"), false},
        {SLICE("\xC3("), false},
        {SLICE("\xE2(\x80"), false},
        {SLICE("\xE2\x82("), false},
        {SLICE("\xF0\x9F\x98("), false},
        {SLICE("good \xC3\xA4 then \xFE"), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_expect_eq(slice_is_utf8(cases[i].text), cases[i].good, "case %zu", i);
    }
}
