// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "http/deadline.h"
#include "http/render.h"
#include "http/server.h"
#include "io/loop.h"
#include "io/stream.h"

/* The connections of a server: each is a state machine that reads one request at a time, gives it
 * to the handler and writes the replies in order. An idle one is a `struct http_conn` and nothing
 * more: what a request needs is lent to it from free lists. */
struct http_conns {
    struct loop *loop;
    struct http_server_opts opts;
    struct http_deadlines deadlines;
    struct http_render render;
    /* The replies of the connection whose bytes are being looked at, written together. */
    char *out;
    size_t out_len;
    struct http_conn *out_conn;
    struct list open; /* with an open stream */
    size_t open_count;
    size_t live_count; /* open, or closed with a reply still owed by the handler */
    struct list spare; /* http_conn */
    size_t spare_count;
    struct list spare_turns;
    size_t spare_turn_count;
    uint64_t next_id;
    char id_prefix[16];
    bool is_draining;
    struct metrics unused_metrics; /* where the opts give none */
    /* Called whenever open_count or live_count became less; the last thing that is done. */
    void (*lessened)(struct http_conns *conns);
};

/* The opts are copied. The caller sets `lessened`. */
void http_conns_init(struct http_conns *conns, struct loop *loop,
                     const struct http_server_opts *opts);
/* Once live_count is 0 and `deadlines` is closed. */
void http_conns_fini(struct http_conns *conns);

/* For stream_listener_events; `accepting` is NULL when the cap is reached. */
struct stream *http_conns_accepting(struct http_conns *conns);
void http_conns_accepted(struct stream *stream);

/* From now on every reply is the last of its connection; those that are idle close soon. */
void http_conns_drain(struct http_conns *conns);
/* Closes all of them; handlers that owe a reply hear `gone` on a later turn. */
void http_conns_cut(struct http_conns *conns);
