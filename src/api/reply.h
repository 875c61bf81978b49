// SPDX-License-Identifier: MIT
#pragma once

#include "api/call.h"
#include "base/buf.h"

/* Every reply of the API goes out here; each of these ends the call (its memory is gone). */
struct reply {
    int status;
    struct slice content_type; /* null: no body */
    struct slice body;
    struct slice headers; /* complete lines of this reply alone; may be empty */
    struct slice csp;     /* null: the default */
    bool close;
};

void reply_send(struct call *call, const struct reply *reply);
void reply_json(struct call *call, struct slice body);
void reply_fail(struct call *call, enum rc rc);
/* With complete header lines of its own. */
void reply_fail_with(struct call *call, enum rc rc, struct slice headers);

/* For what is large and open to everyone: where clients leave too much untaken already, 503
 * overloaded, so that answers which nobody reads can't fill the memory. */
void reply_open(struct call *call, const struct reply *reply);

/* A validation error: 400 with one entry a field. */
struct reply_field_error {
    const char *where; /* "body", "query" */
    const char *field; /* NULL: the whole */
    const char *message;
};
void reply_invalid(struct call *call, const struct reply_field_error *errors, size_t n);

/* The one table from rc to status and detail; anything that isn't in it is 500 internal_error. */
int reply_status(enum rc rc);
const char *reply_detail(enum rc rc);

/* The error body for what is no request at all. Static. */
struct slice reply_protocol_error(void *owner, int status);
