// SPDX-License-Identifier: MIT
#include "api/openapi.h"

#include "api/reply.h"
#include "base/jsonw.h"

/* The checks' errors and the work's together. */
enum { ERRORS_MAX = OPENAPI_ERRORS_MAX + 14, SLUG_BYTES = 64, TEXT_BYTES = 512 };

/* As reply_protocol_error tells them. */
static const char *const no_request[] = {
    "bad_request",     "request_timeout",
    "uri_too_long",    "request_header_fields_too_large",
    "not_implemented", "http_version_not_supported",
};

const struct openapi_operation *openapi_operation_of(const struct route *route) {
    for (size_t i = 0; i < openapi_operation_count; i++) {
        if (openapi_operations[i].method == route->method &&
            slice_eq(slice_str(openapi_operations[i].path), slice_str(route->path))) {
            return &openapi_operations[i];
        }
    }
    return NULL;
}

/* --- small parts ------------------------------------------------------------------------------ */

static void text(struct jsonw *w, const char *name, const char *value) {
    jsonw_member(w, name, slice_str(value));
}

/* JSON that stands here as it is. */
static void raw(struct jsonw *w, const char *json) {
    buf_append(w->out, slice_str(json));
    w->comma = true;
}

static void raw_member(struct jsonw *w, const char *name, const char *json) {
    jsonw_name(w, name);
    raw(w, json);
}

static void open_object(struct jsonw *w, const char *name) {
    jsonw_name(w, name);
    jsonw_open(w, '{');
}

static void header(struct jsonw *w, const char *name, const char *component) {
    open_object(w, name);
    jsonw_name(w, "$ref");
    BUF_LIT(w->out, "\"#/components/headers/");
    raw(w, component);
    BUF_LIT(w->out, "\"");
    jsonw_close(w, '}');
}

static void write_headers(struct jsonw *w, int status, const char *more) {
    open_object(w, "headers");
    header(w, "X-Request-ID", "RequestId");
    if (status == 401) {
        header(w, "WWW-Authenticate", "Challenge");
    }
    if (status == 429 || status == 503) {
        header(w, "Retry-After", "RetryAfter");
    }
    if (status == 429) {
        header(w, "RateLimit-Limit", "RateLimitLimit");
        header(w, "RateLimit-Remaining", "RateLimitRemaining");
        header(w, "RateLimit-Reset", "RateLimitReset");
    }
    if (more != NULL) {
        buf_append_char(w->out, ',');
        raw(w, more);
    }
    jsonw_close(w, '}');
}

/* The name of an example: of letters, digits and underscores. */
static void write_example(struct jsonw *w, const char *detail) {
    char slug[SLUG_BYTES];
    size_t n = 0;
    for (; detail[n] != '\0' && n < sizeof slug - 1; n++) {
        slug[n] = detail[n];
        if (slug[n] == ' ') {
            slug[n] = '_';
        }
    }
    slug[n] = '\0';
    open_object(w, slug);
    open_object(w, "value");
    text(w, "detail", detail);
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}

static void open_status(struct jsonw *w, int status) {
    char name[4] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10),
                    (char)('0' + status % 10), '\0'};
    open_object(w, name);
}

/* --- responses -------------------------------------------------------------------------------- */

static void write_answer(struct jsonw *w, const struct openapi_answer *answer) {
    open_status(w, answer->status);
    text(w, "description", answer->description);
    write_headers(w, answer->status, answer->headers);
    if (answer->media_type != NULL) {
        open_object(w, "content");
        open_object(w, answer->media_type);
        raw_member(w, "schema", answer->schema);
        jsonw_close(w, '}');
        jsonw_close(w, '}');
    }
    jsonw_close(w, '}');
}

struct errors {
    enum rc at[ERRORS_MAX];
    size_t count;
};

static void add_error(struct errors *errors, enum rc rc) {
    for (size_t i = 0; i < errors->count; i++) {
        if (errors->at[i] == rc) {
            return;
        }
    }
    errors->at[errors->count++] = rc;
}

/* As dispatch checks them. */
static void add_checks(struct errors *errors, unsigned needs) {
    static const struct {
        unsigned need;
        enum rc rc;
    } checks[] = {
        {ROUTE_CALLER, RC_NOT_AUTHENTICATED}, {ROUTE_CALLER, RC_BAD_CREDENTIALS},
        {ROUTE_CALLER, RC_INACTIVE_USER},     {ROUTE_CALLER, RC_RATE_LIMITED},
        {ROUTE_TIER, RC_TIER_REQUIRED},       {ROUTE_CONFIG, RC_NOT_CONFIGURED},
        {ROUTE_JSON, RC_MEDIA_TYPE},          {ROUTE_JSON, RC_INVALID_JSON},
        {ROUTE_JSON, RC_INVALID_REQUEST},     {ROUTE_CALLER, RC_STORAGE_UNAVAILABLE},
        {ROUTE_CALLER, RC_OVERLOADED},        {ROUTE_CALLER, RC_INTERNAL},
    };
    for (size_t i = 0; i < sizeof checks / sizeof checks[0]; i++) {
        if (needs & checks[i].need) {
            add_error(errors, checks[i].rc);
        }
    }
}

/* One response a status, with the details that it may hold. */
static void write_error(struct jsonw *w, const struct errors *errors, int status) {
    char at[TEXT_BYTES];
    struct buf description;
    const char *separator = "`detail` is ";
    buf_init_fixed(&description, at, sizeof at);
    open_status(w, status);
    for (size_t i = 0; i < errors->count; i++) {
        if (reply_status(errors->at[i]) == status) {
            buf_append(&description, slice_str(separator));
            BUF_LIT(&description, "`");
            buf_append(&description, slice_str(reply_detail(errors->at[i])));
            BUF_LIT(&description, "`");
            separator = " or ";
        }
    }
    jsonw_member(w, "description", buf_slice(&description));
    write_headers(w, status, NULL);
    open_object(w, "content");
    open_object(w, "application/json");
    raw_member(w, "schema", "{\"$ref\":\"#/components/schemas/Error\"}");
    open_object(w, "examples");
    for (size_t i = 0; i < errors->count; i++) {
        if (reply_status(errors->at[i]) == status) {
            write_example(w, reply_detail(errors->at[i]));
        }
    }
    jsonw_close(w, '}');
    jsonw_close(w, '}');
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}

static void write_responses(struct jsonw *w, const struct route *route,
                            const struct openapi_operation *operation) {
    struct errors errors = {.count = 0};
    open_object(w, "responses");
    for (size_t i = 0; i < OPENAPI_ANSWERS_MAX && operation->answers[i].status != 0; i++) {
        write_answer(w, &operation->answers[i]);
    }
    add_error(&errors, RC_BODY_TOO_LARGE);
    if (!operation->fails_with_a_page) {
        add_checks(&errors, route->needs);
    }
    for (size_t i = 0; i < OPENAPI_ERRORS_MAX && operation->errors[i] != RC_OK; i++) {
        add_error(&errors, operation->errors[i]);
    }
    for (int status = 400; status < 600; status++) {
        bool any = false;
        for (size_t i = 0; i < errors.count; i++) {
            any |= reply_status(errors.at[i]) == status;
        }
        if (any) {
            write_error(w, &errors, status);
        }
    }
    raw_member(w, "default", "{\"$ref\":\"#/components/responses/NoRequest\"}");
    jsonw_close(w, '}');
}

/* --- operations and paths --------------------------------------------------------------------- */

static void write_parameters(struct jsonw *w, const struct openapi_operation *operation) {
    jsonw_name(w, "parameters");
    jsonw_open(w, '[');
    for (size_t i = 0; i < OPENAPI_PARAMETERS_MAX && operation->parameters[i].name != NULL; i++) {
        const struct openapi_parameter *parameter = &operation->parameters[i];
        jsonw_open(w, '{');
        text(w, "name", parameter->name);
        text(w, "in", parameter->in);
        jsonw_name(w, "required");
        jsonw_bool(w, parameter->is_required);
        text(w, "description", parameter->description);
        raw_member(w, "schema", parameter->schema);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

static void write_operation(struct jsonw *w, const struct route *route,
                            const struct openapi_operation *operation) {
    open_object(w, route->method == HTTP_POST ? "post" : "get");
    text(w, "operationId", operation->id);
    jsonw_name(w, "tags");
    jsonw_open(w, '[');
    jsonw_slice(w, slice_str(operation->tag));
    jsonw_close(w, ']');
    text(w, "summary", operation->summary);
    text(w, "description", operation->description);
    raw_member(w, "security", route->needs & ROUTE_CALLER ? "[{\"bearer\":[]}]" : "[]");
    write_parameters(w, operation);
    if (operation->body != NULL) {
        open_object(w, "requestBody");
        jsonw_name(w, "required");
        jsonw_bool(w, true);
        open_object(w, "content");
        open_object(w, "application/json");
        raw_member(w, "schema", operation->body);
        jsonw_close(w, '}');
        jsonw_close(w, '}');
        jsonw_close(w, '}');
    }
    write_responses(w, route, operation);
    jsonw_close(w, '}');
}

/* Of two names for one operation the first is shown. */
static bool is_alias(size_t i, const struct openapi_operation *operation) {
    for (size_t k = 0; k < i; k++) {
        if (openapi_operation_of(&routes[k]) == operation) {
            return true;
        }
    }
    return false;
}

static bool is_shown(const struct slice *paths, size_t i) {
    const struct openapi_operation *operation = openapi_operation_of(&routes[i]);
    return paths[i].len > 0 && operation != NULL && operation->id != NULL &&
           !is_alias(i, operation);
}

static bool is_first_of_path(const struct slice *paths, size_t i) {
    for (size_t k = 0; k < i; k++) {
        if (is_shown(paths, k) && slice_eq(paths[k], paths[i])) {
            return false;
        }
    }
    return true;
}

static void write_path(struct jsonw *w, const struct slice *paths, size_t first) {
    /* a path of ours needs no escape: app/config allows none that would */
    jsonw_slice(w, paths[first]);
    buf_append_char(w->out, ':');
    w->comma = false;
    jsonw_open(w, '{');
    for (size_t i = first; i < route_count; i++) {
        if (is_shown(paths, i) && slice_eq(paths[i], paths[first])) {
            write_operation(w, &routes[i], openapi_operation_of(&routes[i]));
        }
    }
    jsonw_close(w, '}');
}

/* --- the document ----------------------------------------------------------------------------- */

static void write_start(struct jsonw *w) {
    text(w, "openapi", "3.1.0");
    open_object(w, "info");
    text(w, "title", "Latchkey");
    text(w, "version", LATCHKEY_VERSION);
    text(w, "summary", "Links a platform's users to their account at Audible.");
    text(w, "description",
         "An error's body is `{\"detail\": \"<code>\"}`. Checks run in this order, and the first "
         "that fails answers: route, body size, authentication, rate limit, tier, configuration, "
         "media type and validation, the work itself. HEAD works wherever GET does, but for "
         "oauth/callback. Every response carries `X-Request-ID`.");
    raw_member(w, "license", "{\"name\":\"MIT\",\"identifier\":\"MIT\"}");
    jsonw_close(w, '}');
    raw_member(w, "servers", "[{\"url\":\"/\",\"description\":\"this one\"}]");
    raw_member(w, "tags",
               "[{\"name\":\"link\",\"description\":\"A user's account at the provider\"},"
               "{\"name\":\"books\",\"description\":\"Library and catalog\"},"
               "{\"name\":\"operation\",\"description\":\"For those who run it\"}]");
}

static void write_no_request(struct jsonw *w) {
    open_object(w, "NoRequest");
    text(w, "description",
         "What is no HTTP request, or comes too large or too slowly: 400 `bad_request`, 408 "
         "`request_timeout`, 414 `uri_too_long`, 431 "
         "`request_header_fields_too_large`, 501 `not_implemented`, 505 "
         "`http_version_not_supported`. The connection ends.");
    write_headers(w, 0, NULL);
    open_object(w, "content");
    open_object(w, "application/json");
    raw_member(w, "schema", "{\"$ref\":\"#/components/schemas/Error\"}");
    open_object(w, "examples");
    for (size_t i = 0; i < sizeof no_request / sizeof no_request[0]; i++) {
        write_example(w, no_request[i]);
    }
    jsonw_close(w, '}');
    jsonw_close(w, '}');
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}

static void write_components(struct jsonw *w) {
    open_object(w, "components");
    raw_member(w, "securitySchemes",
               "{\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\",\"bearerFormat\":\"JWT\","
               "\"description\":\"A token of the platform's, for a user with the tier premium or "
               "family, or an admin.\"}}");
    open_object(w, "headers");
    raw(w, openapi_headers);
    jsonw_close(w, '}');
    open_object(w, "responses");
    write_no_request(w);
    jsonw_close(w, '}');
    open_object(w, "schemas");
    raw(w, openapi_schemas);
    jsonw_close(w, '}');
    jsonw_close(w, '}');
}

void openapi_write(const struct slice *paths, struct buf *out) {
    struct jsonw w = jsonw_start(out);
    jsonw_open(&w, '{');
    write_start(&w);
    open_object(&w, "paths");
    for (size_t i = 0; i < route_count; i++) {
        if (is_shown(paths, i) && is_first_of_path(paths, i)) {
            write_path(&w, paths, i);
        }
    }
    jsonw_close(&w, '}');
    write_components(&w);
    jsonw_close(&w, '}');
}
