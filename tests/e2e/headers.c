// SPDX-License-Identifier: MIT
/* What every response carries, and what it carries for a listed origin. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "kit/ask.h"
#include "kit/leaks.h"

static void expect_header(const struct client_response *response, const char *what,
                          const char *name, const char *value) {
    struct slice got = client_header(response, name);
    cr_assert(slice_eq(got, slice_str(value)) && slice_is_null(got) == (value == NULL),
              "%s: %s is \"%.*s\"", what, name, SLICE_ARGS(got));
    cr_assert_leq(client_header_count(response, name), 1, "%s: %s", what, name);
}

static void expect_always(const struct client_response *response, const char *what) {
    expect_header(response, what, "x-content-type-options", "nosniff");
    expect_header(response, what, "cache-control", "no-store");
    expect_header(response, what, "referrer-policy", "no-referrer");
    expect_header(response, what, "x-frame-options", "DENY");
    cr_assert(client_header(response, "x-request-id").len > 0, "%s", what);
    cr_assert(client_header(response, "date").len == 29, "%s", what);
    cr_assert(slice_is_null(client_header(response, "strict-transport-security")));
    cr_assert(slice_is_null(client_header(response, "server")));
}

Test(headers, on_every_response) {
    static const struct {
        const char *what;
        const char *raw;
        int status;
    } cases[] = {
        {"healthz", "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 200},
        {"HEAD", "HEAD /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 200},
        {"404", "GET /x HTTP/1.1\r\nHost: h\r\n\r\n", 404},
        {"405", "POST /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 405},
        {"OPTIONS", "OPTIONS /healthz HTTP/1.1\r\nHost: h\r\n\r\n", 204},
        {"401", "GET " ASK_API "/connected HTTP/1.1\r\nHost: h\r\n\r\n", 401},
        {"413",
         "POST " ASK_API "/oauth/authorize HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\n",
         413},
        {"400", "GET / HTTP/1.1\r\n\r\n", 400},
        {"505", "GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505},
        {"501", "POST /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n", 501},
    };
    struct kit_server *server = kit_server_start_with((const char *const[]){NULL});
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client_response response;
        const char *method = strcmp(cases[i].what, "HEAD") == 0 ? "HEAD" : "GET";
        int status =
            client_ask(kit_server_port(server), method, slice_str(cases[i].raw), &response);
        cr_assert_eq(status, cases[i].status, "%s: %d", cases[i].what, status);
        expect_always(&response, cases[i].what);
        expect_header(&response, cases[i].what, "content-security-policy", "default-src 'none'");
        if (status != 204) {
            expect_header(&response, cases[i].what, "content-type", "application/json");
        }
        client_response_fini(&response);
    }
    kit_server_stop(server);
    CHECK_LEAKS();
}

Test(headers, request_id_is_echoed_where_it_is_sane) {
    static const struct {
        const char *sent;
        bool echoed;
    } cases[] = {
        {"a", true},
        {"A-z_0.9", true},
        {"0123456789012345678901234567890123456789012345678901234567890123"
         "0123456789012345678901234567890123456789012345678901234567890123",
         true},
        {"0123456789012345678901234567890123456789012345678901234567890123"
         "01234567890123456789012345678901234567890123456789012345678901234",
         false},
        {"", false},
        {"a b", false},
        {"a\"b", false},
        {"<script>", false},
        {"a,b", false},
    };
    struct kit_server *server = kit_server_start_with((const char *const[]){NULL});
    char fresh[129] = "";
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char line[512];
        struct client_response response;
        snprintf(line, sizeof line, "X-Request-ID: %s\r\n", cases[i].sent);
        ask(kit_server_port(server), (struct ask){.path = "/healthz", .headers = line}, &response);
        struct slice id = client_header(&response, "x-request-id");
        cr_assert_eq(slice_eq(id, slice_str(cases[i].sent)), cases[i].echoed, "%s", cases[i].sent);
        cr_assert(id.len > 0 && id.len <= 128);
        if (!cases[i].echoed) {
            cr_assert_not(slice_eq(id, slice_str(fresh)), "a fresh id is fresh");
            snprintf(fresh, sizeof fresh, "%.*s", SLICE_ARGS(id));
        }
        client_response_fini(&response);
    }
    kit_server_stop(server);
    CHECK_LEAKS();
}

#define LISTED "https://app.example"

static struct kit_server *start_with_origins(void) {
    return kit_server_start_with(
        (const char *const[]){"LATCHKEY_CORS_ORIGINS=https://other.example," LISTED, NULL});
}

Test(cors, a_listed_origin_is_named_on_every_answer) {
    static const struct ask asks[] = {
        {.path = "/healthz"},
        {.path = "/nothing"},
        {.path = "connected"},
        {.method = "POST", .path = "/healthz"},
        {.method = "POST", .path = "oauth/authorize", .headers = NULL},
        {.path = "oauth/callback?code=c&state=s"},
    };
    struct kit_server *server = start_with_origins();
    for (size_t i = 0; i < sizeof asks / sizeof asks[0]; i++) {
        struct client_response response;
        struct ask listed = asks[i];
        listed.headers = "Origin: " LISTED "\r\n";
        ask(kit_server_port(server), listed, &response);
        expect_header(&response, asks[i].path, "access-control-allow-origin", LISTED);
        expect_header(&response, asks[i].path, "access-control-allow-credentials", "true");
        expect_header(&response, asks[i].path, "access-control-expose-headers",
                      "X-Request-ID, Retry-After");
        expect_header(&response, asks[i].path, "vary", "Origin");
        client_response_fini(&response);
    }
    kit_server_stop(server);
    CHECK_LEAKS();
}

/* Once the head is there, the server's own answers are answers to it. */
Test(cors, a_listed_origin_is_named_on_errors_in_the_body) {
    static const struct {
        const char *what;
        const char *more;
        int status;
    } cases[] = {
        {"a chunk too many", "Transfer-Encoding: chunked\r\n\r\n20000\r\n", 413},
        {"no chunk", "Transfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
        {"too slow", "Content-Length: 100\r\n\r\n{", 408},
    };
    struct kit_server *server = kit_server_start_with((const char *const[]){
        "LATCHKEY_CORS_ORIGINS=" LISTED, "LATCHKEY_HEAD_TIMEOUT_SECONDS=1", NULL});
    char token[KIT_JWT_BYTES];
    ask_premium(token, "u");
    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        char text[KIT_JWT_BYTES + 1024 + LIMIT_BODY_BYTES];
        struct client_response response;
        bool is_listed = i % 2 == 0;
        snprintf(text, sizeof text,
                 "POST " ASK_API
                 "/oauth/authorize HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n"
                 "Content-Type: application/json\r\n%s%s",
                 token, is_listed ? "Origin: " LISTED "\r\n" : "", cases[i / 2].more);
        size_t sent = strlen(text);
        memset(text + sent, '1', sizeof text - sent);
        sent = cases[i / 2].status == 413 ? sizeof text : sent;
        int status = client_ask(kit_server_port(server), "POST", slice_make(text, sent), &response);
        cr_assert_eq(status, cases[i / 2].status, "%s: %d", cases[i / 2].what, status);
        expect_header(&response, cases[i / 2].what, "access-control-allow-origin",
                      is_listed ? LISTED : NULL);
        expect_header(&response, cases[i / 2].what, "vary", is_listed ? "Origin" : NULL);
        client_response_fini(&response);
    }
    kit_server_stop(server);
    CHECK_LEAKS();
}

Test(cors, no_other_origin_is) {
    static const char *const origins[] = {
        "Origin: https://evil.example\r\n",
        "Origin: https://app.example.evil.example\r\n",
        "Origin: https://app.example:8443\r\n",
        "Origin: http://app.example\r\n",
        "Origin: null\r\n",
        "Origin: *\r\n",
        "Origin: https://app.example, x\r\n",
        "",
        "Origin: https://APP.example/\r\n",
    };
    struct kit_server *server = start_with_origins();
    for (size_t i = 0; i < sizeof origins / sizeof origins[0]; i++) {
        struct client_response response;
        ask(kit_server_port(server), (struct ask){.path = "/healthz", .headers = origins[i]},
            &response);
        cr_assert_eq(response.status, 200);
        expect_header(&response, origins[i], "access-control-allow-origin", NULL);
        expect_header(&response, origins[i], "access-control-allow-credentials", NULL);
        client_response_fini(&response);
    }
    kit_server_stop(server);
    CHECK_LEAKS();
}

Test(cors, preflight) {
    struct client_response response;
    struct kit_server *server = start_with_origins();
    struct ask preflight = {.method = "OPTIONS",
                            .path = "oauth/authorize",
                            .headers = "Origin: " LISTED "\r\n"
                                       "Access-Control-Request-Method: POST\r\n"
                                       "Access-Control-Request-Headers: authorization\r\n"};
    cr_assert_eq(ask(kit_server_port(server), preflight, &response), 204);
    expect_header(&response, "preflight", "access-control-allow-origin", LISTED);
    expect_header(&response, "preflight", "access-control-allow-methods", "POST, OPTIONS");
    expect_header(&response, "preflight", "access-control-allow-headers",
                  "Authorization, Content-Type, X-Request-ID");
    expect_header(&response, "preflight", "access-control-max-age", "600");
    expect_header(&response, "preflight", "allow", "POST, OPTIONS");
    expect_header(&response, "preflight", "content-length", NULL);
    client_response_fini(&response);
    preflight.headers = "Origin: https://evil.example\r\n";
    cr_assert_eq(ask(kit_server_port(server), preflight, &response), 204);
    expect_header(&response, "evil preflight", "access-control-allow-methods", NULL);
    expect_header(&response, "evil preflight", "allow", "POST, OPTIONS");
    client_response_fini(&response);
    kit_server_stop(server);
    CHECK_LEAKS();
}
