// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* A thin reader over the JSON library (RFC 8259). A value borrowed from a document lives as long as
 * the document. Strings are UTF-8, may not hold U+0000. Strictly one value: trailing bytes fail. */
struct json_document;
struct json; /* a value, borrowed */

/* JSON_LAST_WINS: for bodies as FastAPI reads them; JSON_UNIQUE: refuses a doubled member (JWTs),
 * and an object of more than JSON_MEMBERS_MAX. */
enum json_members { JSON_LAST_WINS, JSON_UNIQUE };

enum json_kind {
    JSON_KIND_NULL,
    JSON_KIND_BOOL,
    JSON_KIND_INTEGER, /* of 64 bits, signed */
    JSON_KIND_REAL,
    JSON_KIND_STRING,
    JSON_KIND_ARRAY,
    JSON_KIND_OBJECT
};

/* The document, owned by the caller until json_close; NULL when it is not JSON, or nested deeper
 * than JSON_DEPTH_MAX. `text` is copied. */
enum { JSON_DEPTH_MAX = 256, JSON_MEMBERS_MAX = 256 };
struct json_document *json_parse(struct slice text, enum json_members members);
void json_close(struct json_document *document);                    /* fine on NULL */
const struct json *json_root(const struct json_document *document); /* NULL for NULL */

enum json_kind json_kind_of(const struct json *value); /* JSON_KIND_NULL for NULL */

/* The member of an object (the last of that name), NULL where absent or `value` isn't an object. */
const struct json *json_member(const struct json *value, const char *name);
size_t json_length(const struct json *value); /* of an array; 0 otherwise */
bool json_is_empty(const struct json *value); /* true for {} and [] only */
/* Walks there: for a whole array see json_items. */
const struct json *json_at(const struct json *value, size_t index);

/* The items of an array, one after the other; none of anything else. */
struct json_items {
    size_t left;
    const struct json *next;
};
struct json_items json_items(const struct json *array);
const struct json *json_items_next(struct json_items *items); /* NULL at the end */

/* False where the value (NULL too) is of another kind. */
bool json_to_slice(const struct json *value, struct slice *out);
bool json_to_i64(const struct json *value, int64_t *out);   /* integers only */
bool json_to_double(const struct json *value, double *out); /* integers and reals */
bool json_to_bool(const struct json *value, bool *out);

/* Of the JSON library that runs ("0.10.0"). */
const char *json_library_version(void);
