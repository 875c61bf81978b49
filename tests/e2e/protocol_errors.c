// SPDX-License-Identifier: MIT
/* What HTTP itself refuses, before any route is looked at, is said in the API's form. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "kit/ask.h"
#include "kit/leaks.h"

#define HOST "Host: h\r\n"
enum { TARGET_BYTES = 9 * 1024, HEADER_BYTES = 17 * 1024, REQUEST_BYTES = 20 * 1024 };

static void expect(int port, const char *request, int status, const char *detail) {
    struct client_response response;
    char got[64];
    int got_status = client_ask(port, "GET", slice_str(request), &response);
    cr_assert_eq(got_status, status, "%.40s: %d", request, got_status);
    ask_member(&response, "detail", got, sizeof got);
    cr_assert_str_eq(got, detail, "%.40s: %s", request, got);
    cr_assert(slice_eq(client_header(&response, "content-type"), SLICE("application/json")),
              "%.40s", request);
    cr_assert_eq(client_header_count(&response, "x-request-id"), 1, "%.40s", request);
    client_response_fini(&response);
}

static void expect_long(int port, const char *before, size_t n, const char *after, int status,
                        const char *detail) {
    static char request[REQUEST_BYTES];
    size_t at = strlen(before);
    memcpy(request, before, at);
    memset(request + at, 'a', n);
    snprintf(request + at + n, sizeof request - at - n, "%s", after);
    expect(port, request, status, detail);
}

Test(protocol_errors, each_has_its_status_and_detail) {
    static const struct {
        const char *request;
        int status;
        const char *detail;
    } cases[] = {
        {"GET /healthz HTTP/1.1\r\n\r\n", 400, "bad_request"},
        {"GET /healthz HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", 400, "bad_request"},
        {"POST " ASK_API "/disconnect HTTP/1.1\r\n" HOST "Content-Length: 9999999\r\n\r\n", 413,
         "payload_too_large"},
        {"POST /healthz HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501,
         "not_implemented"},
        {"GET /healthz HTTP/2.0\r\n" HOST "\r\n", 505, "http_version_not_supported"},
        /* the rest of the head does not come */
        {"GET /healthz HTTP/1.1\r\nHost:", 408, "request_timeout"},
    };
    struct kit_server *server =
        kit_server_start_with((const char *const[]){"LATCHKEY_HEAD_TIMEOUT_SECONDS=0.3", NULL});
    int port = kit_server_port(server);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        expect(port, cases[i].request, cases[i].status, cases[i].detail);
    }
    expect_long(port, "GET /", TARGET_BYTES, " HTTP/1.1\r\n" HOST "\r\n", 414, "uri_too_long");
    expect_long(port, "GET /healthz HTTP/1.1\r\n" HOST "X: ", HEADER_BYTES, "\r\n\r\n", 431,
                "request_header_fields_too_large");
    kit_server_stop(server);
    CHECK_LEAKS();
}
