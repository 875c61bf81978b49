// SPDX-License-Identifier: MIT
#include "base/json.h"

#include <criterion/criterion.h>

#include "base/buf.h"
#include "kit/leaks.h"

Test(json, what_is_json) {
    static const struct {
        struct slice text;
        bool good;
    } cases[] = {
        {SLICE("{}"), true},
        {SLICE(" [1, 2.5e1, \"x\", true, null] \r\n\t"), true},
        {SLICE("3"), true},
        {SLICE("\"\""), true},
        {SLICE("null"), true},
        {SLICE_NULL, false},
        {SLICE(""), false},
        {SLICE(" "), false},
        {SLICE("{"), false},
        {SLICE("{}x"), false},
        {SLICE("{}{}"), false},
        {SLICE("{}\0"), false},
        {SLICE("{'a':1}"), false},
        {SLICE("{\"a\":1,}"), false},
        {SLICE("[1,]"), false},
        {SLICE("[01]"), false},
        {SLICE("[+1]"), false},
        {SLICE("[.5]"), false},
        {SLICE("[NaN]"), false},
        {SLICE("[1e999]"), false},
        {SLICE("\"\x01\""), false},
        {SLICE("\"\xFF\""), false},
        {SLICE("\"\xC0\x80\""), false},
        {SLICE("\"\xED\xA0\x80\""), false},
        {SLICE("\"\\ud800\""), false},
        {SLICE("\"\\u0000\""), false},
        {SLICE("\xEF\xBB\xBF{}"), false},
        {SLICE("/**/{}"), false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_document *document = json_parse(cases[i].text, JSON_LAST_WINS);
        cr_expect_eq(document != NULL, cases[i].good, "case %zu", i);
        json_close(document);
    }
    CHECK_LEAKS();
}

/* Deep nesting must not take the stack. */
Test(json, depth) {
    static char text[64 * 1024];
    memset(text, '[', sizeof text);
    cr_assert_null(json_parse(slice_make(text, sizeof text), JSON_LAST_WINS));
    CHECK_LEAKS();
}

/* Both caps, to the letter. */
Test(json, caps) {
    static char text[16 * JSON_MEMBERS_MAX];
    struct buf out;
    for (int over = 0; over <= 1; over++) {
        buf_init_fixed(&out, text, sizeof text);
        for (int i = 0; i < JSON_DEPTH_MAX + over; i++) {
            buf_append_char(&out, '[');
        }
        for (int i = 0; i < JSON_DEPTH_MAX + over; i++) {
            buf_append_char(&out, ']');
        }
        struct json_document *deep = json_parse(buf_slice(&out), JSON_LAST_WINS);
        cr_assert_eq(deep == NULL, over == 1, "%d levels", JSON_DEPTH_MAX + over);
        json_close(deep);

        buf_init_fixed(&out, text, sizeof text);
        for (int i = 0; i < JSON_MEMBERS_MAX + over; i++) {
            buf_append(&out, i == 0 ? SLICE("{\"m") : SLICE(",\"m"));
            buf_append_i64(&out, i);
            BUF_LIT(&out, "\":1");
        }
        buf_append_char(&out, '}');
        cr_assert(buf_ok(&out));
        struct json_document *wide = json_parse(buf_slice(&out), JSON_UNIQUE);
        cr_assert_eq(wide == NULL, over == 1, "%d members", JSON_MEMBERS_MAX + over);
        json_close(wide);
        wide = json_parse(buf_slice(&out), JSON_LAST_WINS);
        cr_assert_not_null(wide);
        json_close(wide);
    }
    CHECK_LEAKS();
}

Test(json, items) {
    struct json_document *document =
        json_parse(SLICE("[{\"a\":[1,2]},[],\"x\",[[3]],7]"), JSON_LAST_WINS);
    static const enum json_kind kinds[] = {JSON_KIND_OBJECT, JSON_KIND_ARRAY, JSON_KIND_STRING,
                                           JSON_KIND_ARRAY, JSON_KIND_INTEGER};
    struct json_items items = json_items(json_root(document));
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        cr_assert_eq(items.left, sizeof kinds / sizeof kinds[0] - i);
        const struct json *item = json_items_next(&items);
        cr_assert_eq(json_kind_of(item), kinds[i], "item %zu", i);
        cr_assert_eq(item, json_at(json_root(document), i), "item %zu", i);
    }
    cr_assert_eq(items.left, 0);
    cr_assert_null(json_items_next(&items));
    const struct json *object = json_at(json_root(document), 0);
    items = json_items(object);
    cr_assert(items.left == 0 && json_items_next(&items) == NULL, "an object has none");
    items = json_items(NULL);
    cr_assert(items.left == 0 && json_items_next(&items) == NULL);
    json_close(document);
    CHECK_LEAKS();
}

/* Integers are those of 64 bits; what is larger is a number all the same. */
Test(json, large_numbers) {
    static const struct {
        struct slice text;
        enum json_kind kind;
    } cases[] = {
        {SLICE("9223372036854775807"), JSON_KIND_INTEGER},
        {SLICE("-9223372036854775808"), JSON_KIND_INTEGER},
        {SLICE("9223372036854775808"), JSON_KIND_REAL},
        {SLICE("18446744073709551615"), JSON_KIND_REAL},
        {SLICE("99999999999999999999999999"), JSON_KIND_REAL},
        {SLICE("-99999999999999999999999999"), JSON_KIND_REAL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_document *document = json_parse(cases[i].text, JSON_UNIQUE);
        int64_t integer;
        double number = 0;
        bool is_integer = cases[i].kind == JSON_KIND_INTEGER;
        cr_assert_eq(json_kind_of(json_root(document)), cases[i].kind, "case %zu", i);
        cr_assert_eq(json_to_i64(json_root(document), &integer), is_integer, "case %zu", i);
        cr_assert(json_to_double(json_root(document), &number), "case %zu", i);
        cr_assert(number > 9e18 || number < -9e18, "case %zu: %f", i, number);
        json_close(document);
    }
    CHECK_LEAKS();
}

Test(json, doubled_members) {
    static const struct slice doubled[] = {
        SLICE("{\"a\":1,\"a\":2}"),
        SLICE("{\"a\":1,\"\\u0061\":2}"),
        SLICE("{\"o\":[{\"a\":1,\"a\":1}]}"),
    };
    for (size_t i = 0; i < sizeof doubled / sizeof doubled[0]; i++) {
        cr_expect_null(json_parse(doubled[i], JSON_UNIQUE), "case %zu", i);
    }
    struct json_document *document = json_parse(doubled[1], JSON_LAST_WINS);
    int64_t value = 0;
    cr_assert(json_to_i64(json_member(json_root(document), "a"), &value));
    cr_assert_eq(value, 2);
    json_close(document);
    CHECK_LEAKS();
}

Test(json, kinds) {
    struct json_document *document = json_parse(
        SLICE("{\"s\":\"x\\u00e4\\n\",\"i\":-7,\"r\":0.5,\"t\":true,\"f\":false,\"n\":null,"
              "\"l\":[1,\"b\"],\"o\":{}}"),
        JSON_UNIQUE);
    static const struct {
        const char *name;
        enum json_kind kind;
        bool slice;
        bool i64;
        bool real;
        bool boolean;
    } cases[] = {
        {"s", JSON_KIND_STRING, true, false, false, false},
        {"i", JSON_KIND_INTEGER, false, true, true, false},
        {"r", JSON_KIND_REAL, false, false, true, false},
        {"t", JSON_KIND_BOOL, false, false, false, true},
        {"f", JSON_KIND_BOOL, false, false, false, true},
        {"n", JSON_KIND_NULL, false, false, false, false},
        {"l", JSON_KIND_ARRAY, false, false, false, false},
        {"o", JSON_KIND_OBJECT, false, false, false, false},
        {"absent", JSON_KIND_NULL, false, false, false, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct json *value = json_member(json_root(document), cases[i].name);
        struct slice text;
        int64_t number;
        double real;
        bool truth;
        cr_expect_eq(json_kind_of(value), cases[i].kind, "%s", cases[i].name);
        cr_expect_eq(json_to_slice(value, &text), cases[i].slice, "%s", cases[i].name);
        cr_expect_eq(json_to_i64(value, &number), cases[i].i64, "%s", cases[i].name);
        cr_expect_eq(json_to_double(value, &real), cases[i].real, "%s", cases[i].name);
        cr_expect_eq(json_to_bool(value, &truth), cases[i].boolean, "%s", cases[i].name);
        cr_expect_null(json_member(value, "x"), "%s", cases[i].name);
        cr_expect_eq(json_length(value), cases[i].kind == JSON_KIND_ARRAY ? 2 : 0);
    }
    json_close(document);
    CHECK_LEAKS();
}

Test(json, values) {
    struct json_document *document =
        json_parse(SLICE("[\"x\\u00e4\\n\",-7,0.5,true,9223372036854775807]"), JSON_UNIQUE);
    struct slice text;
    int64_t number = 0;
    double real = 0;
    bool truth = false;
    cr_assert(json_to_slice(json_at(json_root(document), 0), &text));
    cr_assert(slice_eq(text, SLICE("x\xC3\xA4\n")));
    cr_assert(json_to_i64(json_at(json_root(document), 1), &number));
    cr_assert_eq(number, -7);
    cr_assert(json_to_double(json_at(json_root(document), 2), &real));
    cr_assert_float_eq(real, 0.5, 1e-12);
    cr_assert(json_to_bool(json_at(json_root(document), 3), &truth));
    cr_assert(truth);
    cr_assert(json_to_i64(json_at(json_root(document), 4), &number));
    cr_assert_eq(number, INT64_MAX);
    cr_assert_null(json_at(json_root(document), 5));
    cr_assert_null(json_at(NULL, 0));
    cr_assert_null(json_member(NULL, "x"));
    cr_assert_eq(json_length(NULL), 0);
    json_close(document);
    json_close(NULL);
    CHECK_LEAKS();
}
