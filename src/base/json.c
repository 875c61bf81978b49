// SPDX-License-Identifier: MIT
#include "base/json.h"

#include <malloc.h>
#include <string.h>
#include <yyjson.h>

#include "base/mem.h"

/* Documents may hold tokens: their memory is wiped. */
static void *alloc(void *unused, size_t bytes) {
    (void)unused;
    return mem_alloc(bytes);
}

static void wipe_and_free(void *unused, void *at) {
    (void)unused;
    mem_wipe(at, malloc_usable_size(at));
    mem_free(at);
}

static void *grow(void *unused, void *at, size_t old_bytes, size_t bytes) {
    void *grown = mem_alloc(bytes);
    memcpy(grown, at, old_bytes < bytes ? old_bytes : bytes);
    wipe_and_free(unused, at);
    return grown;
}

static const yyjson_alc wiping = {alloc, grow, wipe_and_free, NULL};

static const yyjson_val *inner(const struct json *value) {
    return (const yyjson_val *)value;
}

/* yyjson's readers take values that they don't change without saying so. */
static yyjson_val *loose(const yyjson_val *value) {
    return (yyjson_val *)(uintptr_t)value;
}

static bool holds_nul(const yyjson_val *text) {
    return memchr(yyjson_get_str(loose(text)), '\0', yyjson_get_len(loose(text))) != NULL;
}

static bool is_doubled(const yyjson_val *object, const yyjson_val *name, size_t before) {
    yyjson_obj_iter iter = yyjson_obj_iter_with(loose(object));
    for (size_t i = 0; i < before; i++) {
        if (yyjson_equals_strn(yyjson_obj_iter_next(&iter), yyjson_get_str(loose(name)),
                               yyjson_get_len(loose(name)))) {
            return true;
        }
    }
    return false;
}

static bool is_fit(const yyjson_val *value, enum json_members members, int depth);

static bool is_fit_object(const yyjson_val *object, enum json_members members, int depth) {
    if (members == JSON_UNIQUE && yyjson_obj_size(loose(object)) > JSON_MEMBERS_MAX) {
        return false; /* each is compared with all before it */
    }
    yyjson_obj_iter iter = yyjson_obj_iter_with(loose(object));
    const yyjson_val *name;
    for (size_t i = 0; (name = yyjson_obj_iter_next(&iter)) != NULL; i++) {
        if (holds_nul(name) || !is_fit(yyjson_obj_iter_get_val(loose(name)), members, depth) ||
            (members == JSON_UNIQUE && is_doubled(object, name, i))) {
            return false;
        }
    }
    return true;
}

static bool is_fit_array(const yyjson_val *array, enum json_members members, int depth) {
    yyjson_arr_iter iter = yyjson_arr_iter_with(loose(array));
    const yyjson_val *value;
    while ((value = yyjson_arr_iter_next(&iter)) != NULL) {
        if (!is_fit(value, members, depth)) {
            return false;
        }
    }
    return true;
}

/* What the library takes and we don't. */
static bool is_fit(const yyjson_val *value, enum json_members members, int depth) {
    switch (yyjson_get_type(loose(value))) {
    case YYJSON_TYPE_OBJ:
        return depth < JSON_DEPTH_MAX && is_fit_object(value, members, depth + 1);
    case YYJSON_TYPE_ARR:
        return depth < JSON_DEPTH_MAX && is_fit_array(value, members, depth + 1);
    case YYJSON_TYPE_STR:
        return !holds_nul(value);
    default:
        return true;
    }
}

struct json_document *json_parse(struct slice text, enum json_members members) {
    char *at = (char *)(uintptr_t)(text.len > 0 ? text.at : "");
    yyjson_doc *document = yyjson_read_opts(at, text.len, YYJSON_READ_NOFLAG, &wiping, NULL);
    if (document != NULL && !is_fit(yyjson_doc_get_root(document), members, 0)) {
        yyjson_doc_free(document);
        document = NULL;
    }
    return (struct json_document *)document;
}

void json_close(struct json_document *document) {
    yyjson_doc_free((yyjson_doc *)document);
}

const struct json *json_root(const struct json_document *document) {
    return (const struct json *)yyjson_doc_get_root((yyjson_doc *)(uintptr_t)document);
}

/* An unsigned number beyond that is no integer to anyone here. */
static bool is_i64(const yyjson_val *value) {
    return yyjson_is_sint(loose(value)) ||
           (yyjson_is_uint(loose(value)) && yyjson_get_uint(loose(value)) <= INT64_MAX);
}

enum json_kind json_kind_of(const struct json *value) {
    switch (yyjson_get_type(loose(inner(value)))) {
    case YYJSON_TYPE_OBJ:
        return JSON_KIND_OBJECT;
    case YYJSON_TYPE_ARR:
        return JSON_KIND_ARRAY;
    case YYJSON_TYPE_STR:
        return JSON_KIND_STRING;
    case YYJSON_TYPE_NUM:
        return is_i64(inner(value)) ? JSON_KIND_INTEGER : JSON_KIND_REAL;
    case YYJSON_TYPE_BOOL:
        return JSON_KIND_BOOL;
    default:
        return JSON_KIND_NULL;
    }
}

const struct json *json_member(const struct json *value, const char *name) {
    yyjson_obj_iter iter = yyjson_obj_iter_with(loose(inner(value)));
    size_t len = strlen(name);
    yyjson_val *found = NULL;
    yyjson_val *key;
    while ((key = yyjson_obj_iter_next(&iter)) != NULL) {
        if (yyjson_equals_strn(key, name, len)) {
            found = yyjson_obj_iter_get_val(key);
        }
    }
    return (const struct json *)found;
}

size_t json_length(const struct json *value) {
    return yyjson_arr_size(loose(inner(value)));
}

bool json_is_empty(const struct json *value) {
    return yyjson_is_ctn(loose(inner(value))) && yyjson_get_len(loose(inner(value))) == 0;
}

const struct json *json_at(const struct json *value, size_t index) {
    return (const struct json *)yyjson_arr_get(loose(inner(value)), index);
}

struct json_items json_items(const struct json *array) {
    return (struct json_items){json_length(array), json_at(array, 0)};
}

const struct json *json_items_next(struct json_items *items) {
    const struct json *item = items->next;
    if (items->left > 0 && --items->left > 0) {
        items->next = (const struct json *)unsafe_yyjson_get_next(loose(inner(item)));
    } else {
        items->next = NULL;
    }
    return item;
}

bool json_to_slice(const struct json *value, struct slice *out) {
    if (!yyjson_is_str(loose(inner(value)))) {
        return false;
    }
    *out = slice_make(yyjson_get_str(loose(inner(value))), yyjson_get_len(loose(inner(value))));
    return true;
}

bool json_to_i64(const struct json *value, int64_t *out) {
    if (value == NULL || !is_i64(inner(value))) {
        return false;
    }
    *out = yyjson_get_sint(loose(inner(value)));
    return true;
}

bool json_to_double(const struct json *value, double *out) {
    if (!yyjson_is_num(loose(inner(value)))) {
        return false;
    }
    *out = yyjson_get_num(loose(inner(value)));
    return true;
}

bool json_to_bool(const struct json *value, bool *out) {
    if (!yyjson_is_bool(loose(inner(value)))) {
        return false;
    }
    *out = yyjson_get_bool(loose(inner(value)));
    return true;
}

const char *json_library_version(void) {
    return YYJSON_VERSION_STRING;
}
