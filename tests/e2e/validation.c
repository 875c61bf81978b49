// SPDX-License-Identifier: MIT
/* Bad input: media types, bodies, fields. A clear error, and nothing is lost. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "kit/ask.h"
#include "kit/leaks.h"

static void send_body(int port, const char *token, const char *path, const char *type,
                      struct slice body, struct client_response *response) {
    struct buf request;
    buf_init(&request, 1 << 20);
    BUF_LIT(&request, "POST " ASK_API "/");
    buf_append(&request, slice_str(path));
    BUF_LIT(&request, " HTTP/1.1\r\nHost: h\r\nConnection: close\r\nAuthorization: Bearer ");
    buf_append(&request, slice_str(token));
    BUF_LIT(&request, "\r\n");
    buf_append(&request, slice_str(type));
    BUF_LIT(&request, "Content-Length: ");
    buf_append_u64(&request, body.len);
    BUF_LIT(&request, "\r\n\r\n");
    buf_append(&request, body);
    client_ask(port, "POST", buf_slice(&request), response);
    buf_fini(&request);
}

#define JSON_TYPE "Content-Type: application/json\r\n"

Test(validation, bodies_of_every_wrong_kind) {
    static const struct {
        const char *path;
        const char *type;
        const char *body;
        int status;
        const char *answer;
    } cases[] = {
        {"oauth/authorize", "", "{\"redirect_uri\":\"\"}", 415,
         "{\"detail\":\"unsupported_media_type\"}"},
        {"oauth/authorize", "Content-Type: text/json\r\n", "{\"redirect_uri\":\"\"}", 415,
         "{\"detail\":\"unsupported_media_type\"}"},
        {"oauth/authorize", JSON_TYPE JSON_TYPE, "{\"redirect_uri\":\"\"}", 415,
         "{\"detail\":\"unsupported_media_type\"}"},
        {"oauth/authorize", "Content-Type: application/jsonp\r\n", "{}", 415,
         "{\"detail\":\"unsupported_media_type\"}"},
        {"oauth/authorize", "Content-Type: application/x-www-form-urlencoded\r\n", "a=b", 415,
         "{\"detail\":\"unsupported_media_type\"}"},
        {"oauth/callback", "", "", 415, "{\"detail\":\"unsupported_media_type\"}"},
        {"oauth/authorize", JSON_TYPE, "", 400, "{\"detail\":\"invalid_json\"}"},
        {"oauth/authorize", JSON_TYPE, "{", 400, "{\"detail\":\"invalid_json\"}"},
        {"oauth/authorize", JSON_TYPE, "{} {}", 400, "{\"detail\":\"invalid_json\"}"},
        {"oauth/authorize", JSON_TYPE, "{'redirect_uri':''}", 400, "{\"detail\":\"invalid_json\"}"},
        {"oauth/authorize", JSON_TYPE, "{\"redirect_uri\":\"\xff\"}", 400,
         "{\"detail\":\"invalid_json\"}"},
        {"oauth/authorize", JSON_TYPE, "[]", 400,
         "{\"detail\":\"invalid_request\",\"errors\":[{\"loc\":[\"body\"],"
         "\"msg\":\"must be an object\"}]}"},
        {"oauth/authorize", JSON_TYPE, "null", 400,
         "{\"detail\":\"invalid_request\",\"errors\":[{\"loc\":[\"body\"],"
         "\"msg\":\"must be an object\"}]}"},
        {"oauth/authorize", JSON_TYPE, "{}", 400,
         "{\"detail\":\"invalid_request\",\"errors\":[{\"loc\":[\"body\",\"redirect_uri\"],"
         "\"msg\":\"field required\"}]}"},
        {"oauth/authorize", JSON_TYPE, "{\"redirect_uri\":7}", 400,
         "{\"detail\":\"invalid_request\",\"errors\":[{\"loc\":[\"body\",\"redirect_uri\"],"
         "\"msg\":\"must be a string\"}]}"},
        {"oauth/authorize", JSON_TYPE, "{\"redirect_uri\":null}", 400,
         "{\"detail\":\"invalid_request\",\"errors\":[{\"loc\":[\"body\",\"redirect_uri\"],"
         "\"msg\":\"must be a string\"}]}"},
        {"oauth/callback", JSON_TYPE, "{}", 400,
         "{\"detail\":\"invalid_request\",\"errors\":[{\"loc\":[\"body\",\"code\"],"
         "\"msg\":\"field required\"},{\"loc\":[\"body\",\"state\"],\"msg\":\"field required\"}]}"},
        {"oauth/callback", JSON_TYPE, "{\"code\":\"\",\"state\":1}", 400,
         "{\"detail\":\"invalid_request\",\"errors\":[{\"loc\":[\"body\",\"code\"],"
         "\"msg\":\"must not be empty\"},{\"loc\":[\"body\",\"state\"],"
         "\"msg\":\"must be a string\"}]}"},
        {"oauth/callback", JSON_TYPE, "{\"code\":\"c\",\"state\":\"s\"}", 400,
         "{\"detail\":\"invalid_state_parameter\"}"},
        {"oauth/callback", JSON_TYPE, "{\"code\":\"c\",\"state\":\"s\",\"more\":[1]}", 400,
         "{\"detail\":\"invalid_state_parameter\"}"},
    };
    struct kit_server *server = kit_server_start_with((const char *const[]){NULL});
    char token[KIT_JWT_BYTES];
    ask_premium(token, "u");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client_response response;
        send_body(kit_server_port(server), token, cases[i].path, cases[i].type,
                  slice_str(cases[i].body), &response);
        cr_assert_eq(response.status, cases[i].status, "%s: %d", cases[i].body, response.status);
        cr_assert(slice_eq(response.body, slice_str(cases[i].answer)), "%s: %.*s", cases[i].body,
                  SLICE_ARGS(response.body));
        cr_assert(slice_eq(client_header(&response, "content-type"), SLICE("application/json")));
        client_response_fini(&response);
    }
    kit_server_stop(server);
    CHECK_LEAKS();
}

Test(validation, media_type_with_parameters_is_fine) {
    static const char *const types[] = {
        "Content-Type: application/json; charset=utf-8\r\n",
        "Content-Type: Application/JSON\r\n",
        "content-type:application/json ;charset=\"utf-8\"\r\n",
    };
    struct kit_server *server = kit_server_start_with((const char *const[]){NULL});
    char token[KIT_JWT_BYTES];
    ask_premium(token, "u");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        struct client_response response;
        send_body(kit_server_port(server), token, "oauth/authorize", types[i],
                  SLICE("{\"redirect_uri\":\"\"}"), &response);
        cr_assert_eq(response.status, 200, "%s", types[i]);
        client_response_fini(&response);
    }
    kit_server_stop(server);
    CHECK_LEAKS();
}

/* 4,096 bytes are taken as they are (and then aren't a state of ours), 4,097 are too many. */
Test(validation, the_cap_of_code_and_state) {
    static const struct {
        size_t code;
        size_t state;
        const char *detail;
    } cases[] = {
        {4096, 4096, "invalid_state_parameter"},
        {4097, 10, "invalid_request"},
        {10, 4097, "invalid_request"},
    };
    struct kit_server *server = kit_server_start_with((const char *const[]){NULL});
    char token[KIT_JWT_BYTES];
    char detail[64];
    ask_premium(token, "u");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct client_response response;
        struct buf body;
        char *filler = mem_alloc(5000);
        memset(filler, 'x', 5000);
        buf_init(&body, 1 << 16);
        BUF_LIT(&body, "{\"code\":\"");
        buf_append(&body, slice_make(filler, cases[i].code));
        BUF_LIT(&body, "\",\"state\":\"");
        buf_append(&body, slice_make(filler, cases[i].state));
        BUF_LIT(&body, "\"}");
        send_body(kit_server_port(server), token, "oauth/callback", JSON_TYPE, buf_slice(&body),
                  &response);
        cr_assert_eq(response.status, 400);
        ask_member(&response, "detail", detail, sizeof detail);
        cr_assert_str_eq(detail, cases[i].detail, "case %zu", i);
        client_response_fini(&response);
        buf_fini(&body);
        mem_free(filler);
    }
    kit_server_stop(server);
    CHECK_LEAKS();
}
