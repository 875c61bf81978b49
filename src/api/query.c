// SPDX-License-Identifier: MIT
#include "api/query.h"

struct query query_open(struct call *call) {
    return (struct query){.call = call};
}

static void complain(struct query *query, const char *name, const char *message) {
    if (query->error_count < QUERY_ERRORS_MAX) {
        query->errors[query->error_count++] = (struct reply_field_error){"query", name, message};
    }
}

static bool is_digits(struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9') {
            return false;
        }
    }
    return text.len > 0;
}

uint64_t query_integer(struct query *query, const char *name, uint64_t min, uint64_t fallback) {
    struct slice text = http_query(query->call->request, name, NULL);
    uint64_t value = UINT64_MAX;
    if (slice_is_null(text)) {
        return fallback;
    }
    bool is_negative = text.len > 1 && text.at[0] == '-' && is_digits(slice_from(text, 1));
    if (!is_digits(text) && !is_negative) {
        complain(query, name, "must be an integer");
        return fallback;
    }
    if (is_negative || (slice_to_u64(text, UINT64_MAX, &value) && value < min)) {
        complain(query, name, min == 0 ? "must be at least 0" : "must be at least 1");
        return fallback;
    }
    return value;
}

struct slice query_text(struct query *query, const char *name) {
    struct slice text = http_query(query->call->request, name, NULL);
    if (slice_is_null(text)) {
        complain(query, name, "field required");
    }
    return text;
}

struct slice query_choice(struct query *query, const char *name, const char *const *choices) {
    struct slice text = http_query(query->call->request, name, NULL);
    if (slice_is_null(text)) {
        return slice_str(choices[0]);
    }
    for (size_t i = 0; choices[i] != NULL; i++) {
        if (slice_eq(text, slice_str(choices[i]))) {
            return text;
        }
    }
    complain(query, name, "not one of the known values");
    return text;
}

bool query_close(struct query *query) {
    if (query->error_count > 0) {
        reply_invalid(query->call, query->errors, query->error_count);
        return false;
    }
    return true;
}
