// SPDX-License-Identifier: MIT
#pragma once

#include "api/reply.h"

/* The parameters of a query, checked; what is wrong is gathered and told at once. */
enum { QUERY_ERRORS_MAX = 4 };

struct query {
    struct call *call;
    struct reply_field_error errors[QUERY_ERRORS_MAX];
    size_t error_count;
};

struct query query_open(struct call *call);

/* An integer of at least `min`; `fallback` where it is absent, UINT64_MAX above that. */
uint64_t query_integer(struct query *query, const char *name, uint64_t min, uint64_t fallback);

/* A required text. */
struct slice query_text(struct query *query, const char *name);

/* One of `choices` (NULL at the end); the first where it is absent. */
struct slice query_choice(struct query *query, const char *name, const char *const *choices);

/* False: something was wrong, and has been answered. */
bool query_close(struct query *query);
