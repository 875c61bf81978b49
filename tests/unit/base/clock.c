// SPDX-License-Identifier: MIT
#include "base/clock.h"

#include <criterion/criterion.h>

Test(clock, text) {
    static const struct {
        int64_t wall_ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {-1000, "1969-12-31T23:59:59.000Z"},
        {1767323045678, "2026-01-02T03:04:05.678Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {4102444799999, "2099-12-31T23:59:59.999Z"},
        {253402300799999, "9999-12-31T23:59:59.999Z"},
        {253402300800000, "9999-12-31T23:59:59.999Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {-62167219200000, "0000-01-01T00:00:00.000Z"},
        {-62167219200001, "0000-01-01T00:00:00.000Z"},
        {INT64_MIN, "0000-01-01T00:00:00.000Z"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[CLOCK_TEXT_BYTES];
        clock_text(cases[i].wall_ms, out);
        cr_expect_str_eq(out, cases[i].text);
    }
}

Test(clock, offset_shifts_both) {
    struct clock real = {0};
    struct clock shifted = {0};
    atomic_store(&shifted.offset_ms, 900000);
    int64_t wall_ms = clock_wall_ms(&shifted) - clock_wall_ms(&real);
    int64_t mono_ms = clock_mono_ms(&shifted) - clock_mono_ms(&real);
    cr_assert(wall_ms > 890000 && wall_ms <= 900000, "%lld", (long long)wall_ms);
    cr_assert(mono_ms > 890000 && mono_ms <= 900000, "%lld", (long long)mono_ms);
    cr_assert_gt(clock_wall_ms(&real), 1700000000000);
}
