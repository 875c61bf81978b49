// SPDX-License-Identifier: MIT
#include "api/fields.h"

static void complain(struct fields *fields, const char *field, const char *message) {
    if (fields->error_count < FIELDS_MAX) {
        fields->errors[fields->error_count++] = (struct reply_field_error){"body", field, message};
    }
}

bool fields_open(struct fields *fields, struct call *call) {
    *fields = (struct fields){.call = call};
    fields->document = json_parse(call->request->body, JSON_LAST_WINS);
    if (fields->document == NULL) {
        reply_fail(call, RC_INVALID_JSON);
        return false;
    }
    if (json_kind_of(json_root(fields->document)) != JSON_KIND_OBJECT) {
        complain(fields, NULL, "must be an object");
    }
    return true;
}

struct slice fields_text(struct fields *fields, const char *name, size_t min, size_t max) {
    const struct json *value = json_member(json_root(fields->document), name);
    struct slice text = SLICE_NULL;
    if (json_kind_of(json_root(fields->document)) != JSON_KIND_OBJECT) {
        return SLICE_NULL;
    }
    if (value == NULL) {
        complain(fields, name, "field required");
    } else if (!json_to_slice(value, &text)) {
        complain(fields, name, "must be a string");
    } else if (text.len < min) {
        complain(fields, name, "must not be empty");
    } else if (text.len > max) {
        complain(fields, name, "too long");
    } else {
        return arena_copy(fields->call->request->arena, text);
    }
    return SLICE_NULL;
}

bool fields_close(struct fields *fields) {
    json_close(fields->document);
    if (fields->error_count > 0) {
        reply_invalid(fields->call, fields->errors, fields->error_count);
        return false;
    }
    return true;
}
