// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/rc.h"
#include "base/slice.h"
#include "io/loop.h"

/* HTTP calls to another server: libcurl multi on the loop's timers and polls. Connections are
 * reused; HTTP/2 where the server offers it; redirects are never followed; certificates are
 * verified, TLS 1.2 at least; environment proxies are ignored; no cookie, no netrc; an answer is
 * bounded. */
struct upstream;

struct upstream_opts {
    int64_t connect_timeout_ms;
    int64_t timeout_ms;     /* of a call, queueing included; a call may ask for less */
    size_t connections_max; /* calls under way; the others wait in a queue of ours */
    size_t keepalive_max;   /* idle connections that are kept */
    size_t queue_max;       /* calls that wait; past it RC_FULL */
    const char *proxy;      /* NULL: none */
    const char *ca_file;    /* NULL: the system's */
    const char *user_agent;
};

struct upstream_header {
    const char *name;
    struct slice
        value; /* no CR, LF or NUL, else RC_MALFORMED; null: one of libcurl's is left out */
};

/* Borrowed until upstream_start returns. */
struct upstream_request {
    const char *method; /* "GET", "POST" */
    struct slice url;
    const struct upstream_header *headers;
    size_t header_count;
    struct slice body;  /* null: none. Our copy is wiped when sent or given up (libcurl's send
                           buffer is not ours to wipe) */
    int64_t timeout_ms; /* 0: the default; never more than it */
    size_t answer_max;  /* bytes of the body; past it RC_TOO_LARGE */
};

/* The caller's until `done` is called, and not touched after that. */
struct upstream_op {
    struct list node;
    void (*done)(struct upstream_op *op);
    /* the result, borrowed during `done` (to keep the body: upstream_take_body) */
    enum rc rc;            /* RC_OK: an answer arrived whole, whatever its status. RC_TIMEOUT,
                              RC_UNREACHABLE, RC_TOO_LARGE, RC_FULL, RC_CANCELED, RC_MALFORMED */
    int status;            /* 0 unless RC_OK */
    struct buf body;       /* empty unless RC_OK */
    int64_t retry_after_s; /* of a Retry-After in seconds, else -1 */
    int64_t duration_ms;   /* from the start, queueing included */
    bool sent;             /* true from the moment that the request may have reached the server: a
                              code in it is spent. Only a GET is ever sent a second time (on a new
                              connection, where the server had closed the old one) */
    struct upstream_call *call; /* ours */
};

/* Initialises libcurl, and the TLS library in it, for the process: call it after any fork. Reads
 * the CA bundle, which blocks for some 40 ms. NULL: failed, `*problem` says why. `*problem` beside
 * an upstream is a warning: https will not work, as the system's CA bundle can't be read. */
struct upstream *upstream_new(struct loop *loop, const struct upstream_opts *opts,
                              const char **problem);
/* Cancels what is under way; `closed` (may be NULL) runs on a later turn, when all of it has
 * completed. Starting is over: RC_CANCELED. */
void upstream_close(struct upstream *upstream, void (*closed)(void *owner), void *owner);

void upstream_start(struct upstream *upstream, struct upstream_op *op,
                    const struct upstream_request *request, void (*done)(struct upstream_op *op));
/* Ends it early: `done` follows on a later turn with RC_CANCELED, or with the answer if it had come
 * already. */
void upstream_cancel(struct upstream *upstream, struct upstream_op *op);

/* During `done` only: the body becomes the caller's, to buf_fini. */
struct buf upstream_take_body(struct upstream_op *op);

size_t upstream_active(const struct upstream *upstream); /* under way and queued */
