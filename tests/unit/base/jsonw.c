// SPDX-License-Identifier: MIT
#include "base/jsonw.h"

#include <criterion/criterion.h>
#include <math.h>

#include "base/json.h"
#include "kit/leaks.h"

Test(jsonw, commas_and_kinds) {
    struct buf buf;
    buf_init(&buf, 1000);
    struct jsonw w = jsonw_start(&buf);
    jsonw_open(&w, '{');
    jsonw_member(&w, "text", SLICE("x"));
    jsonw_member(&w, "none", SLICE_NULL);
    jsonw_member(&w, "empty", SLICE(""));
    jsonw_name(&w, "list");
    jsonw_open(&w, '[');
    jsonw_i64(&w, -5);
    jsonw_bool(&w, true);
    jsonw_bool(&w, false);
    jsonw_null(&w);
    jsonw_open(&w, '{');
    jsonw_close(&w, '}');
    jsonw_open(&w, '[');
    jsonw_close(&w, ']');
    jsonw_double(&w, 4.5);
    jsonw_double(&w, NAN);
    jsonw_double(&w, HUGE_VAL);
    jsonw_close(&w, ']');
    jsonw_name(&w, "time");
    jsonw_time(&w, 1767323045678);
    jsonw_name(&w, "never");
    jsonw_time(&w, 0);
    jsonw_close(&w, '}');
    cr_assert(slice_eq(buf_slice(&buf),
                       SLICE("{\"text\":\"x\",\"none\":null,\"empty\":\"\",\"list\":[-5,true,false,"
                             "null,{},[],4.5,null,null],\"time\":\"2026-01-02T03:04:05.678Z\","
                             "\"never\":null}")),
              "%.*s", SLICE_ARGS(buf_slice(&buf)));
    buf_fini(&buf);
    CHECK_LEAKS();
}

static void check_string(struct slice text, struct slice wanted, const char *name) {
    struct buf buf;
    buf_init(&buf, 4000);
    struct jsonw w = jsonw_start(&buf);
    jsonw_slice(&w, text);
    cr_expect(slice_eq(buf_slice(&buf), wanted), "%s: %.*s", name, SLICE_ARGS(buf_slice(&buf)));
    cr_expect(slice_is_utf8(buf_slice(&buf)), "%s", name);
    buf_fini(&buf);
}

#define REPLACEMENT "\xEF\xBF\xBD"

Test(jsonw, escapes) {
    check_string(SLICE("a\"b\\c/d"), SLICE("\"a\\\"b\\\\c/d\""), "quotes");
    check_string(SLICE("\n\r\t\b\x01\x1F\x7F"), SLICE("\"\\n\\r\\t\\u0008\\u0001\\u001f\\u007f\""),
                 "controls");
    check_string(SLICE("a\0b"), SLICE("\"a\\u0000b\""), "NUL");
    check_string(SLICE("\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80"),
                 SLICE("\"\xC3\xA4\xE2\x82\xAC\xF0\x9F\x98\x80\""), "UTF-8 stays");
    check_string(SLICE("a\xFF"
                       "b"),
                 SLICE("\"a" REPLACEMENT "b\""), "a stray byte");
    check_string(SLICE("\xC3"), SLICE("\"" REPLACEMENT "\""), "cut short");
    check_string(SLICE("\xE2\x82"), SLICE("\"" REPLACEMENT REPLACEMENT "\""), "cut short, 2 of 3");
    check_string(SLICE("\xED\xA0\x80"), SLICE("\"" REPLACEMENT REPLACEMENT REPLACEMENT "\""),
                 "a surrogate");
    check_string(SLICE("\xC0\x80\""), SLICE("\"" REPLACEMENT REPLACEMENT "\\\"\""), "overlong");
    CHECK_LEAKS();
}

/* Each byte comes back through the reader, or as U+FFFD where it is no UTF-8. */
Test(jsonw, every_byte_gives_json) {
    for (int c = 1; c < 256; c++) {
        char text[3] = {'a', (char)c, 'b'};
        struct buf buf;
        struct slice back;
        buf_init(&buf, 100);
        struct jsonw w = jsonw_start(&buf);
        jsonw_slice(&w, slice_make(text, 3));
        struct json_document *document = json_parse(buf_slice(&buf), JSON_UNIQUE);
        cr_assert(json_to_slice(json_root(document), &back), "byte %d", c);
        struct slice wanted = c < 0x80 ? slice_make(text, 3) : SLICE("a" REPLACEMENT "b");
        cr_assert(slice_eq(back, wanted), "byte %d", c);
        json_close(document);
        buf_fini(&buf);
    }
    CHECK_LEAKS();
}

Test(jsonw, past_the_cap) {
    char at[8];
    struct buf buf;
    buf_init_fixed(&buf, at, sizeof at);
    struct jsonw w = jsonw_start(&buf);
    jsonw_slice(&w, SLICE("123456"));
    cr_assert(buf_ok(&buf));
    jsonw_slice(&w, SLICE(""));
    cr_assert(!buf_ok(&buf));
}
