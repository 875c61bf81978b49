// SPDX-License-Identifier: MIT
#include "kit/ask.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "base/json.h"
#include "kit/secrets.h"

static void write_request(struct buf *out, struct ask ask) {
    buf_append(out, slice_str(ask.method != NULL ? ask.method : "GET"));
    BUF_LIT(out, " ");
    if (ask.path[0] != '/') {
        BUF_LIT(out, ASK_API "/");
    }
    buf_append(out, slice_str(ask.path));
    BUF_LIT(out, " HTTP/1.1\r\nHost: latchkey.test\r\nConnection: close\r\n");
    if (ask.token != NULL) {
        BUF_LIT(out, "Authorization: Bearer ");
        buf_append(out, slice_str(ask.token));
        BUF_LIT(out, "\r\n");
    }
    buf_append(out, slice_str(ask.headers));
    if (ask.json != NULL) {
        BUF_LIT(out, "Content-Type: application/json\r\nContent-Length: ");
        buf_append_u64(out, strlen(ask.json));
        BUF_LIT(out, "\r\n");
    }
    BUF_LIT(out, "\r\n");
    buf_append(out, slice_str(ask.json));
}

int ask(int port, struct ask ask_, struct client_response *response) {
    struct buf request;
    buf_init(&request, 1 << 20);
    write_request(&request, ask_);
    int status =
        client_ask(port, ask_.method != NULL ? ask_.method : "GET", buf_slice(&request), response);
    buf_fini(&request);
    secrets_expect_none(buf_slice(&response->bytes), ask_.path, false);
    return status;
}

int ask_status(int port, struct ask ask_) {
    struct client_response response;
    int status = ask(port, ask_, &response);
    client_response_fini(&response);
    return status;
}

void ask_member(const struct client_response *response, const char *name, char *out, size_t size) {
    struct slice text = SLICE_NULL;
    struct json_document *body = json_parse(response->body, JSON_UNIQUE);
    json_to_slice(json_member(json_root(body), name), &text);
    cr_assert_lt(text.len, size);
    snprintf(out, size, "%.*s", SLICE_ARGS(text));
    json_close(body);
}

void ask_expect(int port, struct ask ask_, int status, const char *detail) {
    struct client_response response;
    char got[256];
    int got_status = ask(port, ask_, &response);
    cr_assert_eq(got_status, status, "%s %s: %d instead of %d: %.*s",
                 ask_.method != NULL ? ask_.method : "GET", ask_.path, got_status, status,
                 SLICE_ARGS(response.body));
    if (detail != NULL) {
        ask_member(&response, "detail", got, sizeof got);
        cr_assert_str_eq(got, detail, "%s", ask_.path);
    }
    client_response_fini(&response);
}

void ask_premium(char out[KIT_JWT_BYTES], const char *sub) {
    kit_jwt(out, (struct kit_jwt){.sub = sub, .tier = "premium"});
}

static void keep_cookie(const struct client_response *response, char out[128]) {
    struct slice cookie = client_header(response, "set-cookie");
    cookie = slice_head(cookie, slice_find(cookie, ';'));
    cr_assert_lt(cookie.len, 128);
    snprintf(out, 128, "%.*s", SLICE_ARGS(cookie));
}

static void consent(struct simprovider *sim, const struct client_response *response,
                    struct ask_grant *out) {
    struct simprovider_return back;
    char auth_url[4096];
    char challenge[64];
    ask_member(response, "auth_url", auth_url, sizeof auth_url);
    ask_member(response, "code_challenge", challenge, sizeof challenge);
    secrets_add_challenge(slice_str(challenge));
    keep_cookie(response, out->cookie);
    cr_assert(simprovider_consent(sim, slice_str(auth_url), true, &back), "%s", back.error);
    snprintf(out->code, sizeof out->code, "%s", back.code);
    snprintf(out->state, sizeof out->state, "%.*s", (int)sizeof out->state - 1, back.state);
    secrets_add("a code", slice_str(out->code), SECRETS_NOWHERE);
    secrets_add("a state", slice_from(slice_str(out->state), STATE_SHOWN_BYTES),
                SECRETS_NOT_IN_LOGS);
    secrets_add("a flow cookie", slice_from(slice_str(out->cookie), strlen("latchkey-flow=")),
                SECRETS_NOT_IN_LOGS);
}

int ask_try_grant(int port, struct simprovider *sim, const char *token, struct ask_grant *out) {
    struct client_response response;
    int status = ask(port,
                     (struct ask){.method = "POST",
                                  .path = "oauth/authorize",
                                  .token = token,
                                  .json = "{\"redirect_uri\":\"\"}"},
                     &response);
    if (status == 200) {
        consent(sim, &response, out);
    }
    client_response_fini(&response);
    return status;
}

void ask_grant(int port, struct simprovider *sim, const char *token, struct ask_grant *out) {
    int status = ask_try_grant(port, sim, token, out);
    cr_assert_eq(status, 200, "authorize: %d", status);
}

void ask_callback_text(char out[ASK_CALLBACK_BYTES], const char *token,
                       const struct ask_grant *grant) {
    char body[512];
    snprintf(body, sizeof body, "{\"code\":\"%s\",\"state\":\"%s\"}", grant->code, grant->state);
    int n = snprintf(out, ASK_CALLBACK_BYTES,
                     "POST " ASK_API
                     "/oauth/callback HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %s\r\n"
                     "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                     token, strlen(body), body);
    cr_assert_lt(n, ASK_CALLBACK_BYTES);
}

int ask_callback(int port, const char *token, const struct ask_grant *grant,
                 struct client_response *response) {
    char body[512];
    snprintf(body, sizeof body, "{\"code\":\"%s\",\"state\":\"%s\"}", grant->code, grant->state);
    return ask(
        port,
        (struct ask){.method = "POST", .path = "oauth/callback", .token = token, .json = body},
        response);
}
