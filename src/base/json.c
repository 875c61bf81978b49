// SPDX-License-Identifier: MIT
#include "base/json.h"

#include <jansson.h>

struct json *json_parse(struct slice text, enum json_members members) {
    size_t flags = JSON_DECODE_ANY | (members == JSON_UNIQUE ? JSON_REJECT_DUPLICATES : 0);
    return (struct json *)json_loadb(text.len > 0 ? text.at : "", text.len, flags, NULL);
}

void json_close(struct json *document) {
    json_decref((json_t *)document);
}

static const json_t *inner(const struct json *value) {
    return (const json_t *)value;
}

enum json_kind json_kind_of(const struct json *value) {
    if (value == NULL) {
        return JSON_KIND_NULL;
    }
    switch (json_typeof(inner(value))) {
    case JSON_OBJECT:
        return JSON_KIND_OBJECT;
    case JSON_ARRAY:
        return JSON_KIND_ARRAY;
    case JSON_STRING:
        return JSON_KIND_STRING;
    case JSON_INTEGER:
        return JSON_KIND_INTEGER;
    case JSON_REAL:
        return JSON_KIND_REAL;
    case JSON_TRUE:
    case JSON_FALSE:
        return JSON_KIND_BOOL;
    case JSON_NULL:
        break;
    }
    return JSON_KIND_NULL;
}

const struct json *json_member(const struct json *value, const char *name) {
    return (const struct json *)json_object_get(inner(value), name);
}

size_t json_length(const struct json *value) {
    return json_array_size(inner(value));
}

bool json_is_empty(const struct json *value) {
    return (json_is_array(inner(value)) && json_array_size(inner(value)) == 0) ||
           (json_is_object(inner(value)) && json_object_size(inner(value)) == 0);
}

const struct json *json_at(const struct json *value, size_t index) {
    return (const struct json *)json_array_get(inner(value), index);
}

bool json_to_slice(const struct json *value, struct slice *out) {
    if (!json_is_string(inner(value))) {
        return false;
    }
    *out = slice_make(json_string_value(inner(value)), json_string_length(inner(value)));
    return true;
}

bool json_to_i64(const struct json *value, int64_t *out) {
    if (!json_is_integer(inner(value))) {
        return false;
    }
    *out = json_integer_value(inner(value));
    return true;
}

bool json_to_double(const struct json *value, double *out) {
    if (!json_is_number(inner(value))) {
        return false;
    }
    *out = json_number_value(inner(value));
    return true;
}

bool json_to_bool(const struct json *value, bool *out) {
    if (!json_is_boolean(inner(value))) {
        return false;
    }
    *out = json_boolean_value(inner(value));
    return true;
}

const char *json_library_version(void) {
    return jansson_version_str();
}
