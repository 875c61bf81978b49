// SPDX-License-Identifier: MIT
#pragma once

#include "api/reply.h"
#include "base/json.h"

/* The members of a JSON body, checked; what is wrong is gathered and told at once. */
enum { FIELDS_MAX = 4 };

struct fields {
    struct call *call;
    struct json_document *document;
    struct reply_field_error errors[FIELDS_MAX];
    size_t error_count;
};

/* False: the body is not JSON, and that has been answered. */
bool fields_open(struct fields *fields, struct call *call);

/* A required string of `min` to `max` bytes, copied into the call's arena. */
struct slice fields_text(struct fields *fields, const char *name, size_t min, size_t max);

/* Frees the document. False: something was wrong, and has been answered. */
bool fields_close(struct fields *fields);
