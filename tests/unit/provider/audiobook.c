// SPDX-License-Identifier: MIT
#include "provider/audiobook.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "kit/leaks.h"

static size_t map(const char *book, bool is_owned, struct buf *out) {
    struct json_document *document = json_parse(slice_str(book), JSON_LAST_WINS);
    cr_assert_not_null(document, "%s", book);
    buf_init(out, 1024 * 1024);
    struct jsonw w = jsonw_start(out);
    size_t defaults = audiobook_write(&w, &provider_audible, json_root(document), is_owned);
    json_close(document);
    return defaults;
}

static const char whole[] =
    "{\"asin\":\"B0ABC\",\"title\":\"T\",\"author_name\":\"A\","
    "\"narrators\":[{\"name\":\"N\"},{\"name\":\"M\"}],"
    "\"product_images\":{\"500\":\"https://i/5\",\"1000\":\"https://i/10\"},"
    "\"product_desc\":\"D\",\"runtime_length_ms\":36000000,\"rating\":4.5,\"other\":1}";

Test(audiobook, whole) {
    struct buf out;
    cr_assert_eq(map(whole, true, &out), 0);
    cr_assert(slice_eq(buf_slice(&out),
                       SLICE("{\"asin\":\"B0ABC\",\"title\":\"T\",\"author\":\"A\","
                             "\"narrator\":\"N\",\"image\":\"https://i/5\",\"description\":\"D\","
                             "\"duration_minutes\":600,\"rating\":4.5,\"is_owned\":true,"
                             "\"source\":\"audible\"}")),
              "%.*s", SLICE_ARGS(buf_slice(&out)));
    buf_fini(&out);
    CHECK_LEAKS();
}

Test(audiobook, empty) {
    struct buf out;
    cr_assert_eq(map("{}", false, &out), 8);
    cr_assert(slice_eq(buf_slice(&out),
                       SLICE("{\"asin\":\"\",\"title\":\"\",\"author\":\"\",\"narrator\":null,"
                             "\"image\":null,\"description\":null,\"duration_minutes\":0,"
                             "\"rating\":null,\"is_owned\":false,\"source\":\"audible\"}")),
              "%.*s", SLICE_ARGS(buf_slice(&out)));
    buf_fini(&out);
    CHECK_LEAKS();
}

/* A book with this one member, and what becomes of it. All other fields take their default: 7. */
static void assert_field(const char *name, const char *value, const char *expected,
                         bool is_default) {
    char book[256];
    char wanted[256];
    struct buf out;
    snprintf(book, sizeof book, "{\"%s\":%s}", name, value);
    size_t defaults = map(book, false, &out);
    cr_assert_eq(defaults, is_default ? 8 : 7, "%s: %zu defaults", book, defaults);
    buf_append_char(&out, '\0');
    snprintf(wanted, sizeof wanted, "%s,", expected);
    cr_assert_not_null(strstr(out.at, wanted), "%s: %s", book, out.at);
    buf_fini(&out);
}

Test(audiobook, fields) {
    static const struct {
        const char *name;
        const char *value;
        const char *expected;
        bool is_default;
    } cases[] = {
        {"asin", "\"B1\"", "\"asin\":\"B1\"", false},
        {"asin", "\"\"", "\"asin\":\"\"", false},
        {"asin", "null", "\"asin\":\"\"", true},
        {"asin", "17", "\"asin\":\"\"", true},
        {"asin", "[\"B1\"]", "\"asin\":\"\"", true},
        {"asin", "\"12345678901234567890123456789012\"",
         "\"asin\":\"12345678901234567890123456789012\"", false},
        {"asin", "\"123456789012345678901234567890123\"", "\"asin\":\"\"", true},
        {"title", "\"a\\\"b\\u0001\\u00e9\"", "\"title\":\"a\\\"b\\u0001\u00e9\"", false},
        {"title", "true", "\"title\":\"\"", true},
        {"title", "{}", "\"title\":\"\"", true},
        {"author_name", "\"A\"", "\"author\":\"A\"", false},
        {"author_name", "1.5", "\"author\":\"\"", true},
        {"author", "\"A\"", "\"author\":\"\"", true},
        {"narrators", "[{\"name\":\"N\"}]", "\"narrator\":\"N\"", false},
        {"narrators", "[{\"name\":\"\"}]", "\"narrator\":\"\"", false},
        {"narrators", "[]", "\"narrator\":null", true},
        {"narrators", "[{}]", "\"narrator\":null", true},
        {"narrators", "[null,{\"name\":\"N\"}]", "\"narrator\":null", true},
        {"narrators", "[\"N\"]", "\"narrator\":null", true},
        {"narrators", "[{\"name\":7}]", "\"narrator\":null", true},
        {"narrators", "{\"name\":\"N\"}", "\"narrator\":null", true},
        {"narrators", "\"N\"", "\"narrator\":null", true},
        {"product_images", "{\"500\":\"u\"}", "\"image\":\"u\"", false},
        {"product_images", "{\"1000\":\"u\"}", "\"image\":null", true},
        {"product_images", "{\"500\":500}", "\"image\":null", true},
        {"product_images", "[\"u\"]", "\"image\":null", true},
        {"product_images", "\"u\"", "\"image\":null", true},
        {"product_desc", "\"<p>D</p>\"", "\"description\":\"<p>D</p>\"", false},
        {"product_desc", "null", "\"description\":null", true},
        {"product_desc", "[]", "\"description\":null", true},
        {"runtime_length_ms", "0", "\"duration_minutes\":0", false},
        {"runtime_length_ms", "59999", "\"duration_minutes\":0", false},
        {"runtime_length_ms", "60000", "\"duration_minutes\":1", false},
        {"runtime_length_ms", "119999", "\"duration_minutes\":1", false},
        {"runtime_length_ms", "119999.999", "\"duration_minutes\":1", false},
        {"runtime_length_ms", "120000.0", "\"duration_minutes\":2", false},
        {"runtime_length_ms", "1.2e5", "\"duration_minutes\":2", false},
        {"runtime_length_ms", "-1", "\"duration_minutes\":0", true},
        {"runtime_length_ms", "-60000", "\"duration_minutes\":0", true},
        {"runtime_length_ms", "-0.0", "\"duration_minutes\":0", false},
        {"runtime_length_ms", "9007199254740992", "\"duration_minutes\":150119987579", false},
        {"runtime_length_ms", "9223372036854775807", "\"duration_minutes\":0", true},
        {"runtime_length_ms", "-9223372036854775808", "\"duration_minutes\":0", true},
        {"runtime_length_ms", "1e300", "\"duration_minutes\":0", true},
        {"runtime_length_ms", "\"60000\"", "\"duration_minutes\":0", true},
        {"runtime_length_ms", "true", "\"duration_minutes\":0", true},
        {"runtime_length_ms", "null", "\"duration_minutes\":0", true},
        {"rating", "5", "\"rating\":5", false},
        {"rating", "4.7", "\"rating\":4.7", false},
        {"rating", "0", "\"rating\":0", false},
        {"rating", "-1", "\"rating\":-1", false},
        {"rating", "1e300", "\"rating\":null", true},
        {"rating", "\"4.7\"", "\"rating\":null", true},
        {"rating", "{\"average\":4.7}", "\"rating\":null", true},
        {"rating", "false", "\"rating\":null", true},
        {"rating", "null", "\"rating\":null", true},
        {"is_owned", "true", "\"is_owned\":false", true},
        {"source", "\"x\"", "\"is_owned\":false", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_field(cases[i].name, cases[i].value, cases[i].expected, cases[i].is_default);
    }
    CHECK_LEAKS();
}

/* `n` times "é" (two bytes) after `head`: the cut falls between two characters. */
static void assert_cut(const char *name, const char *member, size_t n, size_t kept,
                       size_t defaults) {
    struct buf book;
    struct buf out;
    struct slice text;
    buf_init(&book, 1024 * 1024);
    BUF_LIT(&book, "{\"");
    buf_append(&book, slice_str(name));
    BUF_LIT(&book, "\":\"x");
    for (size_t i = 0; i < n; i++) {
        BUF_LIT(&book, "\u00e9");
    }
    BUF_LIT(&book, "\"}");
    buf_append_char(&book, '\0');
    cr_assert_eq(map(book.at, false, &out), defaults, "%s of %zu", name, n);
    struct json_document *audiobook = json_parse(buf_slice(&out), JSON_UNIQUE);
    cr_assert_not_null(audiobook, "%s of %zu is not JSON", name, n);
    cr_assert(json_to_slice(json_member(json_root(audiobook), member), &text));
    cr_assert_eq(text.len, kept, "%s of %zu: %zu", name, n, text.len);
    cr_assert(slice_is_utf8(text));
    json_close(audiobook);
    buf_fini(&book);
    buf_fini(&out);
}

Test(audiobook, long_texts_are_cut_between_characters) {
    assert_cut("title", "title", 511, 1023, 7);
    assert_cut("title", "title", 512, 1023, 8);
    assert_cut("title", "title", 100000, 1023, 8);
    assert_cut("author_name", "author", 512, 1023, 8);
    assert_cut("product_desc", "description", 16383, 32767, 7);
    assert_cut("product_desc", "description", 16384, 32767, 8);
    CHECK_LEAKS();
}

Test(audiobook, long_addresses_are_none) {
    for (size_t n = LIMIT_URI_BYTES; n <= LIMIT_URI_BYTES + 1; n++) {
        char *book = malloc(n + 64);
        struct buf out;
        int head = snprintf(book, 64, "{\"product_images\":{\"500\":\"");
        memset(book + head, 'u', n);
        memcpy(book + head + n, "\"}}", 4);
        cr_assert_eq(map(book, false, &out), n == LIMIT_URI_BYTES ? 7 : 8, "%zu bytes", n);
        buf_fini(&out);
        free(book);
    }
    CHECK_LEAKS();
}

Test(audiobook, past_the_cap_it_overflows_and_is_never_half) {
    char at[64];
    struct buf out;
    struct json_document *document = json_parse(SLICE(whole), JSON_LAST_WINS);
    buf_init_fixed(&out, at, sizeof at);
    struct jsonw w = jsonw_start(&out);
    audiobook_write(&w, &provider_audible, json_root(document), true);
    cr_assert_not(buf_ok(&out));
    json_close(document);
    CHECK_LEAKS();
}
