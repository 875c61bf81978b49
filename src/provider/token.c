// SPDX-License-Identifier: MIT
#include "provider/token.h"

#include "base/limits.h"

enum {
    EXPIRES_IN_MIN_S = 1,
    EXPIRES_IN_MAX_S = 10 * 365 * 24 * 3600,
    EXPIRES_IN_DEFAULT_S = 3600,
    /* every byte of a token may be escaped as three */
    FORM_BYTES_MAX = 3 * LIMIT_TOKEN_BYTES + 3 * LIMIT_CODE_BYTES + 32 * 1024,
};

/* The errors of RFC 6749 section 5.2, and no other text of the provider's, may reach the log. */
static const char *const known_errors[] = {
    "invalid_request",        "invalid_client", "invalid_grant", "unauthorized_client",
    "unsupported_grant_type", "invalid_scope",  "access_denied", "server_error",
};

static const char *known_error(struct slice error) {
    for (size_t i = 0; i < sizeof known_errors / sizeof known_errors[0]; i++) {
        if (slice_eq(error, slice_str(known_errors[i]))) {
            return known_errors[i];
        }
    }
    return slice_is_null(error) ? NULL : "other";
}

static void write_parameter(struct buf *form, const char *name, struct slice value) {
    if (form->len > 0) {
        buf_append_char(form, '&');
    }
    buf_append(form, slice_str(name));
    buf_append_char(form, '=');
    buf_append_form(form, value);
}

/* client_secret_post (RFC 6749 section 2.3.1) */
static void write_client(struct buf *form, const struct provider *provider) {
    write_parameter(form, "client_id", provider->client_id);
    write_parameter(form, "client_secret", provider->client_secret);
}

/* A number, or digits in a string; anything else, or out of bounds, is an hour. */
static int64_t read_expires_in(struct token_op *op, const struct json *value) {
    struct slice text;
    uint64_t digits;
    double number = 0;
    if (json_to_slice(value, &text) && slice_to_u64(text, EXPIRES_IN_MAX_S, &digits)) {
        number = (double)digits;
    } else {
        json_to_double(value, &number);
    }
    if (number >= EXPIRES_IN_MIN_S && number <= EXPIRES_IN_MAX_S) {
        return (int64_t)number;
    }
    metrics_add(op->call.provider->metrics, METRIC_DEFAULTS_TAKEN, 1);
    return EXPIRES_IN_DEFAULT_S;
}

/* A string of 1 to `max` bytes; null where it is absent, empty or of another type. */
static enum rc read_text(const struct json *answer, const char *name, size_t max,
                         struct slice *out) {
    struct slice text = SLICE_NULL;
    json_to_slice(json_member(answer, name), &text);
    *out = text.len > 0 ? text : SLICE_NULL;
    return text.len > max ? RC_TOO_LARGE : RC_OK;
}

static bool is_bearer(const struct json *token_type) {
    struct slice text;
    return token_type == NULL ||
           (json_to_slice(token_type, &text) && slice_ieq(text, SLICE("bearer")));
}

/* RFC 6749 section 5.1, and what the contract makes of missing or odd members. */
static enum rc read_tokens(struct token_op *op) {
    const struct provider_names *names = op->call.provider->names;
    const struct json *answer = json_root(op->answer);
    enum rc access = read_text(answer, names->access_token, LIMIT_TOKEN_BYTES, &op->access_token);
    enum rc refresh =
        read_text(answer, names->refresh_token, LIMIT_TOKEN_BYTES, &op->refresh_token);
    enum rc user =
        read_text(answer, names->user_id, LIMIT_PROVIDER_USER_ID_BYTES, &op->provider_user_id);
    if (access != RC_OK || refresh != RC_OK || user != RC_OK || slice_is_null(op->access_token) ||
        !is_bearer(json_member(answer, names->token_type))) {
        return RC_PROVIDER_UNAVAILABLE;
    }
    op->expires_in_s = read_expires_in(op, json_member(answer, names->expires_in));
    return RC_OK;
}

/* Whom does the provider refuse? What was sent (the user may try again, or has to link again), or
 * us. Of a refresh token only `invalid_grant` is believed: it costs the user the link. */
static enum rc read_refusal(struct token_op *op, struct slice error) {
    int status = op->call.status;
    bool is_in_form = (status == 400 || status == 403) && error.len > 0;
    op->is_refusing_us = status >= 400 && status < 500 &&
                         (status == 401 || slice_eq(error, SLICE("invalid_client")) ||
                          slice_eq(error, SLICE("unauthorized_client")));
    if (!is_in_form || op->is_refusing_us ||
        (op->refused == RC_GRANT_REFUSED && !slice_eq(error, SLICE("invalid_grant")))) {
        return RC_PROVIDER_UNAVAILABLE;
    }
    return op->refused;
}

static enum rc read_answer(struct token_op *op) {
    bool is_revoke = op->call.request.endpoint == PROVIDER_CALL_REVOKE;
    struct slice error = SLICE_NULL;
    if (op->call.rc != RC_OK) {
        if (op->call.rc != RC_CANCELED) {
            provider_call_failed(&op->call, NULL);
        }
        return op->call.rc;
    }
    if (is_revoke && op->call.status == 200) {
        return RC_OK; /* its body says nothing */
    }
    op->answer = json_parse(op->call.body, JSON_LAST_WINS);
    if (op->call.status == 200) {
        enum rc rc = read_tokens(op);
        if (rc != RC_OK) {
            provider_call_failed(&op->call, "unusable_answer");
        }
        return rc;
    }
    json_to_slice(json_member(json_root(op->answer), op->call.provider->names->error), &error);
    provider_call_failed(&op->call, known_error(error));
    return read_refusal(op, error);
}

static void on_answer(struct provider_call *call) {
    struct token_op *op = LIST_ENTRY(call, struct token_op, call);
    op->was_sent = call->was_sent;
    op->rc = read_answer(op);
    struct json_document *answer = op->answer;
    op->done(op);
    json_close(answer);
}

/* `url` and `form` are written; a part that did not fit leaves nothing to send. */
static void post(struct provider *provider, struct token_op *op,
                 struct provider_call_request *request, const struct buf *url,
                 const struct buf *form) {
    const struct upstream_header headers[] = {
        {"Content-Type", SLICE("application/x-www-form-urlencoded")},
        {"Accept", SLICE("application/json")},
    };
    request->headers = headers;
    request->header_count = sizeof headers / sizeof headers[0];
    request->url = buf_ok(url) && buf_ok(form) ? buf_slice(url) : SLICE_NULL;
    request->body = buf_slice(form);
    request->answer_max = LIMIT_TOKEN_ANSWER_BYTES;
    provider_call_start(provider, &op->call, request, on_answer);
}

static void post_token(struct provider *provider, struct token_op *op,
                       struct provider_call_request *request, const struct buf *form) {
    char url_at[LIMIT_URI_BYTES];
    struct buf url;
    buf_init_fixed(&url, url_at, sizeof url_at);
    buf_append(&url, provider->auth_url);
    buf_append(&url, slice_str(provider->names->token_path));
    post(provider, op, request, &url, form);
}

void token_exchange(struct provider *provider, struct token_op *op,
                    const struct token_exchange *exchange, void (*done)(struct token_op *op)) {
    struct buf form;
    *op = (struct token_op){.done = done, .refused = RC_CODE_REFUSED};
    buf_init(&form, FORM_BYTES_MAX);
    write_parameter(&form, "grant_type", SLICE("authorization_code"));
    write_parameter(&form, "code", exchange->code);
    write_parameter(&form, "redirect_uri", exchange->redirect_uri);
    write_client(&form, provider);
    write_parameter(&form, "code_verifier", exchange->verifier);
    struct provider_call_request request = {
        .endpoint = PROVIDER_CALL_TOKEN,
        .user_id = exchange->user_id,
        .request_id = exchange->request_id,
        .deadline_ms = loop_now_ms(provider->loop) + exchange->timeout_ms,
    };
    post_token(provider, op, &request, &form);
    buf_fini(&form);
}

void token_refresh(struct provider *provider, struct token_op *op,
                   const struct token_refresh *refresh, void (*done)(struct token_op *op)) {
    struct buf form;
    *op = (struct token_op){.done = done, .refused = RC_GRANT_REFUSED};
    buf_init(&form, FORM_BYTES_MAX);
    write_parameter(&form, "grant_type", SLICE("refresh_token"));
    write_parameter(&form, "refresh_token", refresh->refresh_token);
    write_client(&form, provider);
    struct provider_call_request request = {
        .endpoint = PROVIDER_CALL_REFRESH,
        .user_id = refresh->user_id,
        .request_id = refresh->request_id,
        .deadline_ms = refresh->deadline_ms,
    };
    post_token(provider, op, &request, &form);
    buf_fini(&form);
}

void token_revoke(struct provider *provider, struct token_op *op,
                  const struct token_refresh *refresh, void (*done)(struct token_op *op)) {
    char url_at[LIMIT_URI_BYTES];
    struct buf url;
    struct buf form;
    *op = (struct token_op){.done = done, .refused = RC_PROVIDER_UNAVAILABLE};
    buf_init_fixed(&url, url_at, sizeof url_at);
    buf_append(&url, provider->revoke_url);
    buf_init(&form, FORM_BYTES_MAX);
    write_parameter(&form, "token", refresh->refresh_token);
    write_parameter(&form, "token_type_hint", SLICE("refresh_token"));
    write_client(&form, provider);
    struct provider_call_request request = {
        .endpoint = PROVIDER_CALL_REVOKE,
        .user_id = refresh->user_id,
        .request_id = refresh->request_id,
        .deadline_ms = refresh->deadline_ms,
    };
    post(provider, op, &request, &url, &form);
    buf_fini(&form);
}

void token_cancel(struct token_op *op) {
    if (!provider_call_was_sent(&op->call)) {
        provider_call_cancel(&op->call);
    }
}
