// SPDX-License-Identifier: MIT
#include "base/buf.h"

#include <criterion/criterion.h>
#include <stdint.h>

#include "base/mem.h"
#include "kit/leaks.h"

Test(buf, grows_to_its_cap_and_no_further) {
    struct buf buf;
    buf_init(&buf, 1000);
    for (int i = 0; i < 1000; i++) {
        buf_append_char(&buf, (char)('a' + i % 26));
    }
    cr_assert(buf_ok(&buf));
    cr_assert_eq(buf.len, 1000);
    for (int i = 0; i < 1000; i++) {
        cr_assert_eq(buf.at[i], 'a' + i % 26, "at %d", i);
    }
    buf_append_char(&buf, 'x');
    cr_assert(!buf_ok(&buf));
    cr_assert_eq(buf.len, 1000);
    buf_fini(&buf);
    CHECK_LEAKS();
}

/* What comes after an overflow is dropped even where it would fit: no hole in the middle. */
Test(buf, overflow_sticks) {
    struct buf buf;
    buf_init(&buf, 10);
    BUF_LIT(&buf, "12345678");
    BUF_LIT(&buf, "too long");
    BUF_LIT(&buf, "9");
    cr_assert(!buf_ok(&buf));
    cr_assert(slice_eq(buf_slice(&buf), SLICE("12345678")));
    cr_assert_null(buf_reserve(&buf, 1));
    buf_clear(&buf);
    BUF_LIT(&buf, "again");
    cr_assert(buf_ok(&buf));
    cr_assert(slice_eq(buf_slice(&buf), SLICE("again")));
    buf_fini(&buf);
    buf_fini(&buf);
    CHECK_LEAKS();
}

Test(buf, reserve) {
    struct buf buf;
    buf_init(&buf, 600);
    cr_assert_not_null(buf_reserve(&buf, 0), "no bytes are not too many");
    char *at = buf_reserve(&buf, 600);
    cr_assert_not_null(at);
    memset(at, 'x', 600);
    buf.len += 600;
    cr_assert_not_null(buf_reserve(&buf, 0));
    cr_assert_null(buf_reserve(&buf, SIZE_MAX));
    buf_fini(&buf);

    buf_init(&buf, 0);
    buf_append(&buf, SLICE_NULL);
    cr_assert(buf_ok(&buf));
    buf_append_char(&buf, 'x');
    cr_assert(!buf_ok(&buf));
    buf_fini(&buf);
    CHECK_LEAKS();
}

Test(buf, over_fixed_memory) {
    char at[8];
    struct buf buf;
    buf_init_fixed(&buf, at, sizeof at);
    BUF_LIT(&buf, "12345678");
    cr_assert(buf_ok(&buf));
    cr_assert_eq(buf.at, at);
    buf_append_char(&buf, '9');
    cr_assert(!buf_ok(&buf));
    buf_fini(&buf);
    cr_assert_arr_eq(at, "12345678", 8);
    buf_append_char(&buf, 'x');
    cr_assert(!buf_ok(&buf), "the caller's memory may be gone: nothing takes its place");
    CHECK_LEAKS();
}

Test(buf, in_an_arena) {
    struct arena arena;
    struct buf buf;
    arena_init(&arena, 4096);
    buf_init_arena(&buf, &arena, 100000);
    for (int i = 0; i < 1500; i++) {
        buf_append_char(&buf, 'x');
    }
    cr_assert(buf_ok(&buf));
    for (int i = 0; i < 4096; i++) {
        buf_append_char(&buf, 'x');
    }
    cr_assert(!buf_ok(&buf), "the arena's cap counts too");
    buf_fini(&buf);
    arena_fini(&arena);
    CHECK_LEAKS();
}

Test(buf, numbers) {
    struct buf buf;
    buf_init(&buf, 200);
    buf_append_u64(&buf, 0);
    buf_append_char(&buf, ' ');
    buf_append_u64(&buf, UINT64_MAX);
    buf_append_char(&buf, ' ');
    buf_append_i64(&buf, INT64_MIN);
    buf_append_char(&buf, ' ');
    buf_append_i64(&buf, INT64_MAX);
    buf_append_char(&buf, ' ');
    buf_append_i64(&buf, -1);
    cr_assert(slice_eq(buf_slice(&buf), SLICE("0 18446744073709551615 -9223372036854775808 "
                                              "9223372036854775807 -1")));
    buf_fini(&buf);
    CHECK_LEAKS();
}

/* The form of the contract's auth_url: every form decoder reads it back. */
Test(buf, form_encoding) {
    struct buf buf;
    buf_init(&buf, 200);
    buf_append_form(&buf, SLICE("azAZ09-._ ~*!'()/?:@&=+$,%\x00\x7F\xC3\xA4"));
    cr_assert(slice_eq(buf_slice(&buf),
                       SLICE("azAZ09-._+%7E%2A%21%27%28%29%2F%3F%3A%40%26%3D%2B%24%2C%25%00%7F"
                             "%C3%A4")),
              "%.*s", SLICE_ARGS(buf_slice(&buf)));
    buf_fini(&buf);

    buf_init(&buf, 7);
    buf_append_form(&buf, SLICE("")); /* on a buffer without memory */
    buf_append_form(&buf, SLICE("abcd%"));
    cr_assert(buf_ok(&buf), "it needs exactly the cap, not three times its length");
    cr_assert(slice_eq(buf_slice(&buf), SLICE("abcd%25")));
    buf_append_form(&buf, SLICE("x"));
    cr_assert(!buf_ok(&buf));
    buf_fini(&buf);
    CHECK_LEAKS();
}
