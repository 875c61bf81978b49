// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "api/routes.h"
#include "base/buf.h"
#include "base/metrics.h"

/* What openapi.json says of each route beyond the route table, and what metrics call it. What the
 * checks of a route can answer is read from its `needs`, statuses and details of errors from
 * api/reply's table. Texts are JSON-safe constants; a schema is JSON. */
enum { OPENAPI_PARAMETERS_MAX = 4, OPENAPI_ANSWERS_MAX = 3, OPENAPI_ERRORS_MAX = 8 };

struct openapi_parameter {
    const char *name;
    const char *in; /* "query", "path" */
    bool is_required;
    const char *description;
    const char *schema;
};

struct openapi_answer {
    int status;
    const char *description;
    const char *media_type; /* NULL: no body */
    const char *schema;
    const char *headers; /* members of a JSON object, or NULL */
};

struct openapi_operation {
    enum http_method method;
    const char *path; /* these two as in the route table */
    enum metrics_route metric;
    const char *id; /* NULL: not shown */
    const char *tag;
    const char *summary;
    const char *description;
    struct openapi_parameter parameters[OPENAPI_PARAMETERS_MAX]; /* up to the first without name */
    const char *body;                                   /* schema of the request's body, or NULL */
    struct openapi_answer answers[OPENAPI_ANSWERS_MAX]; /* up to the first without status */
    enum rc errors[OPENAPI_ERRORS_MAX];                 /* those of the work itself; up to RC_OK */
    bool fails_with_a_page; /* the checks' errors are told as `answers` say */
};

extern const struct openapi_operation openapi_operations[];
extern const size_t openapi_operation_count;

/* The members of "components/schemas" and of "components/headers". */
extern const char openapi_schemas[];
extern const char openapi_headers[];

/* NULL: none, which a unit test keeps from happening. */
const struct openapi_operation *openapi_operation_of(const struct route *route);

/* The whole document, of the routes that have a path. */
void openapi_write(const struct slice *paths, struct buf *out);
