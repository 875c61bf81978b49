// SPDX-License-Identifier: MIT
#include "api/reply.h"

#include "api/deadline.h"
#include "api/routes.h"
#include "base/jsonw.h"

enum {
    ERROR_BODY_BYTES = 1024,
    UNSENT_BYTES_MAX = 32 * 1024 * 1024,
};

struct answer {
    int status;
    const char *detail;
    const char *header; /* a complete line, or NULL */
};

static const struct answer answers[RC_COUNT] = {
    [RC_ROUTE_UNKNOWN] = {404, "Not Found", NULL},
    [RC_METHOD_UNKNOWN] = {405, "Method Not Allowed", NULL},
    [RC_BODY_TOO_LARGE] = {413, "payload_too_large", NULL},
    [RC_NOT_AUTHENTICATED] = {401, "Not authenticated", "WWW-Authenticate: Bearer\r\n"},
    [RC_BAD_CREDENTIALS] = {401, "Could not validate credentials",
                            "WWW-Authenticate: Bearer error=\"invalid_token\"\r\n"},
    [RC_INACTIVE_USER] = {400, "Inactive user", NULL},
    [RC_RATE_LIMITED] = {429, "rate_limit_exceeded", NULL},
    [RC_TIER_REQUIRED] = {403, "audible_requires_premium", NULL},
    [RC_NOT_CONFIGURED] = {503, "audible_integration_not_configured", NULL},
    [RC_MEDIA_TYPE] = {415, "unsupported_media_type", NULL},
    [RC_INVALID_JSON] = {400, "invalid_json", NULL},
    [RC_INVALID_REQUEST] = {400, "invalid_request", NULL},
    [RC_INVALID_STATE] = {400, "invalid_state_parameter", NULL},
    [RC_ACCESS_DENIED] = {400, "access_denied", NULL},
    [RC_CODE_REFUSED] = {400, "audible_oauth_failed", NULL},
    [RC_PROVIDER_UNAVAILABLE] = {503, "audible_service_unavailable", NULL},
    [RC_STORAGE_UNAVAILABLE] = {503, "storage_unavailable", NULL},
    [RC_OVERLOADED] = {503, "overloaded", "Retry-After: 1\r\n"},
    [RC_NOT_CONNECTED] = {400, "Audible account not connected", NULL},
    [RC_NO_ACCOUNT] = {404, "No Audible account connected", NULL},
    [RC_QUERY_TOO_SHORT] = {400, "Search query must be at least 2 characters", NULL},
    [RC_BOOK_ABSENT] = {404, "audiobook_not_found", NULL},
    [RC_AUTHORIZE_FAILED] = {500, "failed_to_generate_oauth_url", NULL},
    [RC_INTERNAL] = {500, "internal_error", NULL},
};

static const struct answer *answer_of(enum rc rc) {
    const struct answer *answer = (unsigned)rc < RC_COUNT ? &answers[rc] : NULL;
    return answer != NULL && answer->detail != NULL ? answer : &answers[RC_INTERNAL];
}

int reply_status(enum rc rc) {
    return answer_of(rc)->status;
}

const char *reply_detail(enum rc rc) {
    return answer_of(rc)->detail;
}

static void count(struct api *api, const struct call *call, int status) {
    enum metrics_route route =
        call->route != NULL ? api->metrics_of[call->route - routes] : METRICS_ROUTE_NONE;
    metrics_count_request(api->opts.metrics, route, status);
    metrics_observe(api->opts.metrics, (enum metrics_histogram)(METRICS_REQUEST_NONE + (int)route),
                    clock_ns() - call->request->started_ns);
}

void reply_send(struct call *call, const struct reply *reply) {
    struct api *api = call->api;
    bool was_open = call->is_open;
    const struct http_reply answer = {.status = reply->status,
                                      .content_type = reply->content_type,
                                      .body = reply->body,
                                      .headers = reply->headers,
                                      .csp = reply->csp,
                                      .close = reply->close};
    if (call->time != CALL_EXPIRED) {
        count(api, call, reply->status);
    }
    if (call->time == CALL_EXPIRING) {
        call->time = CALL_EXPIRED;
        http_reply_early(call->request, &answer);
        return;
    }
    deadline_forget(call);
    http_reply(call->request, &answer);
    if (was_open) {
        api_call_ended(api);
    }
}

void reply_open(struct call *call, const struct reply *reply) {
    if (call->api->opts.loop->unsent_bytes > UNSENT_BYTES_MAX) {
        reply_fail(call, RC_OVERLOADED);
    } else {
        reply_send(call, reply);
    }
}

void reply_json(struct call *call, struct slice body) {
    reply_send(call, &(struct reply){
                         .status = 200, .content_type = SLICE("application/json"), .body = body});
}

void reply_fail_with(struct call *call, enum rc rc, struct slice headers) {
    char at[ERROR_BODY_BYTES];
    struct buf body;
    const struct answer *answer = answer_of(rc);
    buf_init_fixed(&body, at, sizeof at);
    BUF_LIT(&body, "{\"detail\":\"");
    buf_append(&body, slice_str(answer->detail));
    BUF_LIT(&body, "\"}");
    reply_send(call, &(struct reply){
                         .status = answer->status,
                         .content_type = SLICE("application/json"),
                         .body = buf_slice(&body),
                         .headers = headers,
                     });
}

void reply_fail(struct call *call, enum rc rc) {
    reply_fail_with(call, rc, slice_str(answer_of(rc)->header));
}

void reply_invalid(struct call *call, const struct reply_field_error *errors, size_t n) {
    char at[ERROR_BODY_BYTES];
    struct buf body;
    buf_init_fixed(&body, at, sizeof at);
    struct jsonw w = jsonw_start(&body);
    jsonw_open(&w, '{');
    jsonw_member(&w, "detail", slice_str(reply_detail(RC_INVALID_REQUEST)));
    jsonw_name(&w, "errors");
    jsonw_open(&w, '[');
    for (size_t i = 0; i < n; i++) {
        jsonw_open(&w, '{');
        jsonw_name(&w, "loc");
        jsonw_open(&w, '[');
        jsonw_slice(&w, slice_str(errors[i].where));
        if (errors[i].field != NULL) {
            jsonw_slice(&w, slice_str(errors[i].field));
        }
        jsonw_close(&w, ']');
        jsonw_member(&w, "msg", slice_str(errors[i].message));
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, ']');
    jsonw_close(&w, '}');
    reply_send(call, &(struct reply){
                         .status = reply_status(RC_INVALID_REQUEST),
                         .content_type = SLICE("application/json"),
                         .body = buf_slice(&body),
                     });
}

struct slice reply_protocol_error(void *owner, int status) {
    (void)owner;
    switch (status) {
    case 408:
        return SLICE("{\"detail\":\"request_timeout\"}");
    case 413:
        return SLICE("{\"detail\":\"payload_too_large\"}");
    case 414:
        return SLICE("{\"detail\":\"uri_too_long\"}");
    case 431:
        return SLICE("{\"detail\":\"request_header_fields_too_large\"}");
    case 501:
        return SLICE("{\"detail\":\"not_implemented\"}");
    case 505:
        return SLICE("{\"detail\":\"http_version_not_supported\"}");
    default:
        return SLICE("{\"detail\":\"bad_request\"}");
    }
}
