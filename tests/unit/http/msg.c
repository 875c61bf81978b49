// SPDX-License-Identifier: MIT
#include "http/msg.h"

#include <criterion/criterion.h>

#include "base/limits.h"
#include "kit/leaks.h"

Test(msg, query_parameters) {
    static const struct {
        const char *query;
        const char *name;
        const char *value; /* NULL: absent */
        size_t count;
    } cases[] = {
        {"a=1", "a", "1", 1},
        {"a=1&b=2", "b", "2", 1},
        {"a=1&a=2", "a", "1", 2},
        {"a=1", "b", NULL, 0},
        {"ab=1", "a", NULL, 0},
        {"", "a", NULL, 0},
        {"a", "a", "", 1},
        {"a=", "a", "", 1},
        {"&&a=1&", "a", "1", 1},
        {"a=b=c", "a", "b=c", 1},
        {"a=x+y%20z", "a", "x y z", 1},
        {"a=%41%6a%6A", "a", "Ajj", 1},
        {"%61=1", "a", "1", 1},
        {"a=%2", "a", "%2", 1},
        {"a=%", "a", "%", 1},
        {"a=%zz", "a", "%zz", 1},
        {"a=%4", "a", "%4", 1},
        {"a=1;b=2", "b", NULL, 0},
        {"a=%C3%A9", "a", "\xC3\xA9", 1},
        {"a=%FF", "a", "\xEF\xBF\xBD", 1},
        {"a=x%C3y", "a", "x\xEF\xBF\xBDy", 1},
        {"a=%E2%82", "a", "\xEF\xBF\xBD\xEF\xBF\xBD", 1},
        {"a=%26%3D", "a", "&=", 1},
    };
    struct arena arena;
    arena_init(&arena, LIMIT_REQUEST_ARENA_BYTES);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_request request = {.query = slice_str(cases[i].query), .arena = &arena};
        size_t count = 99;
        struct slice value = http_query(&request, cases[i].name, &count);
        cr_assert_eq(count, cases[i].count, "%s: %zu", cases[i].query, count);
        cr_assert_eq(slice_is_null(value), cases[i].value == NULL, "%s", cases[i].query);
        cr_assert(slice_eq(value, slice_str(cases[i].value)), "%s: %.*s", cases[i].query,
                  SLICE_ARGS(value));
        cr_assert(slice_eq(value, http_query(&request, cases[i].name, NULL)));
    }
    struct http_request without = {.arena = &arena};
    cr_assert(slice_is_null(http_query(&without, "a", NULL)));
    struct http_request nul = {.query = SLICE("a=x%00y"), .arena = &arena};
    cr_assert(slice_eq(http_query(&nul, "a", NULL), SLICE("x\0y")));
    arena_fini(&arena);
    CHECK_LEAKS();
}

Test(msg, cookies) {
    static const struct {
        const char *header;
        const char *value;
    } cases[] = {
        {"n=1", "1"},         {"a=2; n=1", "1"}, {"a=2;n=1;b=3", "1"}, {"n=1; n=2", "1"},
        {"n=", ""},           {"nn=1", NULL},    {"n", NULL},          {"", NULL},
        {" n = 1 ", "1"},     {"a=n=1", NULL},   {"n=a=b", "a=b"},     {"N=1", NULL},
        {"n=\"1\"", "\"1\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_request request = {0};
        request.known[HTTP_HEADER_COOKIE] = slice_str(cases[i].header);
        request.known_count[HTTP_HEADER_COOKIE] = 1;
        struct slice value = http_cookie(&request, SLICE("n"));
        cr_assert_eq(slice_is_null(value), cases[i].value == NULL, "%s", cases[i].header);
        cr_assert(slice_eq(value, slice_str(cases[i].value)), "%s", cases[i].header);
    }
    const struct http_header headers[] = {{SLICE("Cookie"), SLICE("a=1")},
                                          {SLICE("X"), SLICE("n=9")},
                                          {SLICE("cookie"), SLICE("n=2")}};
    struct http_request two = {.headers = headers, .header_count = 3};
    two.known[HTTP_HEADER_COOKIE] = headers[0].value;
    two.known_count[HTTP_HEADER_COOKIE] = 2;
    cr_assert(slice_eq(http_cookie(&two, SLICE("n")), SLICE("2")));
    cr_assert(slice_is_null(http_cookie(&two, SLICE("z"))));
    struct http_request none = {0};
    cr_assert(slice_is_null(http_cookie(&none, SLICE("n"))));
}

Test(msg, reasons) {
    static const int statuses[] = {200, 204, 303, 400, 401, 403, 404, 405, 408,
                                   413, 414, 415, 429, 431, 500, 501, 503, 505};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        cr_assert_str_neq(http_reason(statuses[i]), "Unknown", "%d", statuses[i]);
    }
    cr_assert_str_eq(http_reason(404), "Not Found");
    cr_assert_str_eq(http_reason(299), "Unknown");
}
