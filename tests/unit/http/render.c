// SPDX-License-Identifier: MIT
#include "http/render.h"

#include <criterion/criterion.h>

#include "kit/leaks.h"

/* 2001-09-09T01:46:40Z */
static const int64_t wall_ms = 1000000000000;

static void check(const struct http_render_head *head, struct slice headers, struct slice csp,
                  const char *expected) {
    struct http_render render;
    char out[2048];
    http_render_init(&render, headers, csp);
    for (int again = 0; again < 2; again++) {
        size_t n = http_render_head(&render, head, wall_ms + again * 999, out);
        cr_assert(slice_eq(slice_make(out, n), slice_str(expected)), "%.*s", (int)n, out);
        cr_assert(n <= http_render_max(&render, head));
    }
    http_render_fini(&render);
}

Test(render, heads) {
    check(&(struct http_render_head){.status = 200,
                                     .content_type = SLICE("application/json"),
                                     .content_length = 15,
                                     .request_id = SLICE("id")},
          SLICE("A: b\r\nC: d\r\n"), SLICE("default-src 'none'"),
          "HTTP/1.1 200 OK\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\nA: b\r\nC: d\r\n"
          "Content-Security-Policy: default-src 'none'\r\nX-Request-ID: id\r\n"
          "Content-Type: application/json\r\nContent-Length: 15\r\n\r\n");
    check(&(struct http_render_head){.status = 303,
                                     .headers = SLICE("Location: /\r\n"),
                                     .csp = SLICE("own"),
                                     .request_id = SLICE("id"),
                                     .close = true,
                                     .keep_alive = true},
          SLICE_NULL, SLICE("default"),
          "HTTP/1.1 303 See Other\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\n"
          "Content-Security-Policy: own\r\nX-Request-ID: id\r\nContent-Length: 0\r\n"
          "Location: /\r\nConnection: close\r\n\r\n");
    check(&(struct http_render_head){.status = 204, .request_id = SLICE("id"), .keep_alive = true},
          SLICE_NULL, SLICE_NULL,
          "HTTP/1.1 204 No Content\r\nDate: Sun, 09 Sep 2001 01:46:40 GMT\r\n"
          "X-Request-ID: id\r\nConnection: keep-alive\r\n\r\n");
    CHECK_LEAKS();
}

Test(render, the_date_follows_the_clock) {
    static const struct {
        int64_t wall_ms;
        const char *date;
    } cases[] = {
        {0, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {999, "Thu, 01 Jan 1970 00:00:00 GMT"},
        {1000, "Thu, 01 Jan 1970 00:00:01 GMT"},
        {951782400000, "Tue, 29 Feb 2000 00:00:00 GMT"},
        {4102444799000, "Thu, 31 Dec 2099 23:59:59 GMT"},
        {1000, "Thu, 01 Jan 1970 00:00:01 GMT"},
    };
    struct http_render render;
    char out[2048];
    const struct http_render_head head = {.status = 200, .request_id = SLICE("id")};
    http_render_init(&render, SLICE_NULL, SLICE_NULL);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        http_render_head(&render, &head, cases[i].wall_ms, out);
        struct slice date = slice_make(out + strlen("HTTP/1.1 200 OK\r\nDate: "), 29);
        cr_assert(slice_eq(date, slice_str(cases[i].date)), "%.*s", SLICE_ARGS(date));
    }
    http_render_fini(&render);
    CHECK_LEAKS();
}

Test(render, long_numbers_and_strange_statuses_stay_within_the_bound) {
    struct http_render render;
    char out[2048];
    const struct http_render_head head = {.status = 431,
                                          .content_type = SLICE("text/plain"),
                                          .content_length = UINT64_MAX,
                                          .request_id = SLICE("id"),
                                          .close = true};
    http_render_init(&render, SLICE_NULL, SLICE_NULL);
    size_t n = http_render_head(&render, &head, wall_ms, out);
    out[n] = '\0';
    cr_assert(n < http_render_max(&render, &head));
    cr_assert_not_null(strstr(out, "HTTP/1.1 431 Request Header Fields Too Large\r\n"));
    cr_assert_not_null(strstr(out, "Content-Length: 18446744073709551615\r\n"));
    http_render_fini(&render);
    CHECK_LEAKS();
}
