// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "io/loop.h"
#include "io/upstream.h"
#include "kit/peer.h"

/* A loop, an upstream on it and a peer that it calls: what the tests of io/upstream share. */
enum { CALLER_CALLS = 32, CALLER_BODY_BYTES = 8192 };

/* A call and what its completion said. */
struct caller_call {
    struct upstream_op op;
    struct caller *caller;
    int done; /* how often */
    enum rc rc;
    int status;
    bool sent;
    int64_t retry_after_s;
    int64_t duration_ms;
    size_t body_bytes;
    char body[CALLER_BODY_BYTES]; /* its start */
    void (*then)(struct caller_call *call);
};

struct caller {
    struct clock clock;
    struct loop loop;
    struct upstream *upstream;
    struct peer *peer;
    int closed; /* how often */
    struct caller_call calls[CALLER_CALLS];

    struct loop_timer watch;
    bool (*is_time)(struct caller *caller);
    void (*then)(struct caller *caller);
    int64_t seen_ms;
    int64_t longest_turn_ms; /* while watching */
};

extern const struct upstream_opts caller_usual;

/* Asserts that it starts, and without a warning. */
struct caller *caller_new(const struct upstream_opts *opts);
/* Closes and frees all of it, asserting that nothing stays. */
void caller_end(struct caller *caller);
/* The latter half: the upstream is closed already, or closing. */
void caller_end_closed(struct caller *caller);
/* For upstream_close. */
void caller_closed(void *owner);

struct caller_request {
    const char *method; /* NULL: GET */
    const char *path;
    const char *body;
    int64_t timeout_ms;
    size_t answer_max;  /* 0: 64 KiB */
    const char *scheme; /* NULL: http */
    const char *host;   /* NULL: 127.0.0.1 */
};

struct caller_call *caller_start(struct caller *caller, size_t i, struct caller_request request);
/* One call alone, to its end. */
struct caller_call *caller_ask(struct caller *caller, struct caller_request request);

/* Looks every millisecond whether it is time, then runs `then` once. */
void caller_when(struct caller *caller, bool (*is_time)(struct caller *caller),
                 void (*then)(struct caller *caller));
