// SPDX-License-Identifier: MIT
#include "provider/token.h"

#include "base/limits.h"

enum {
    EXPIRES_IN_MIN_S = 1,
    EXPIRES_IN_MAX_S = 10 * 365 * 24 * 3600,
    EXPIRES_IN_DEFAULT_S = 3600,
    FORM_BYTES_MAX = 4 * LIMIT_CODE_BYTES + 16 * 1024,
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

static void write_form(struct buf *form, const struct provider *provider,
                       const struct token_exchange *exchange) {
    write_parameter(form, "grant_type", SLICE("authorization_code"));
    write_parameter(form, "code", exchange->code);
    write_parameter(form, "redirect_uri", exchange->redirect_uri);
    write_parameter(form, "client_id", provider->client_id);
    write_parameter(form, "client_secret", provider->client_secret);
    write_parameter(form, "code_verifier", exchange->verifier);
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
    metrics_add(op->provider->metrics, METRIC_DEFAULTS_TAKEN, 1);
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
    const struct provider_names *names = op->provider->names;
    const struct json *answer = op->answer;
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

/* Whom does the provider refuse: the code (the user may try again), or us? */
static enum rc read_refusal(int status, struct slice error) {
    bool names_an_error = (status == 400 || status == 403) && error.len > 0;
    bool refuses_us =
        slice_eq(error, SLICE("invalid_client")) || slice_eq(error, SLICE("unauthorized_client"));
    return names_an_error && !refuses_us ? RC_CODE_REFUSED : RC_PROVIDER_UNAVAILABLE;
}

static void log_failure(const struct token_op *op, const char *error) {
    const char *cause = error != NULL            ? error
                        : op->call.rc != RC_OK   ? rc_name(op->call.rc)
                        : op->call.status == 200 ? "unusable_answer"
                                                 : "http_status";
    metrics_add(op->provider->metrics, METRIC_PROVIDER_FAILURES, 1);
    LOG(op->provider->log, LOG_ERROR, "provider_failed", op->request_id,
        log_text("user_id", op->user_id), log_text("endpoint", SLICE("token")),
        log_text("error_code", slice_str(cause)), log_int("status", op->call.status),
        log_int("duration_ms", op->call.duration_ms));
}

static enum rc read_answer(struct token_op *op) {
    struct slice error = SLICE_NULL;
    enum rc rc = RC_PROVIDER_UNAVAILABLE;
    if (op->call.rc == RC_CANCELED) {
        return RC_CANCELED;
    }
    if (op->call.rc == RC_OK) {
        op->answer = json_parse(buf_slice(&op->call.body), JSON_LAST_WINS);
        json_to_slice(json_member(op->answer, op->provider->names->error), &error);
        rc = op->call.status == 200 ? read_tokens(op) : read_refusal(op->call.status, error);
    }
    if (rc != RC_OK) {
        log_failure(op, known_error(error));
    }
    return rc;
}

static void on_answer(struct upstream_op *call) {
    struct token_op *op = LIST_ENTRY(call, struct token_op, call);
    op->rc = read_answer(op);
    struct json *answer = op->answer;
    op->done(op);
    json_close(answer);
}

void token_exchange(const struct provider *provider, struct token_op *op,
                    const struct token_exchange *exchange, void (*done)(struct token_op *op)) {
    char url_at[LIMIT_URI_BYTES];
    struct buf url;
    struct buf form;
    *op = (struct token_op){.done = done,
                            .provider = provider,
                            .user_id = exchange->user_id,
                            .request_id = exchange->request_id};
    buf_init_fixed(&url, url_at, sizeof url_at);
    buf_append(&url, provider->auth_url);
    buf_append(&url, slice_str(provider->names->token_path));
    buf_init(&form, FORM_BYTES_MAX);
    write_form(&form, provider, exchange);
    const struct upstream_header headers[] = {
        {"Content-Type", SLICE("application/x-www-form-urlencoded")},
        {"Accept", SLICE("application/json")},
    };
    const struct upstream_request request = {
        .method = "POST",
        .url = buf_slice(&url),
        .headers = headers,
        .header_count = sizeof headers / sizeof headers[0],
        .body = buf_slice(&form),
        .timeout_ms = exchange->timeout_ms,
        .answer_max = LIMIT_TOKEN_ANSWER_BYTES,
    };
    metrics_add(provider->metrics, METRIC_PROVIDER_CALLS, 1);
    upstream_start(provider->upstream, &op->call, &request, on_answer);
    buf_fini(&form);
}

void token_cancel(struct token_op *op) {
    if (!op->call.sent) {
        upstream_cancel(op->provider->upstream, &op->call);
    }
}
