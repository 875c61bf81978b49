// SPDX-License-Identifier: MIT
#pragma once

#include "base/log.h"
#include "base/metrics.h"
#include "base/rc.h"
#include "base/slice.h"
#include "http/msg.h"
#include "io/loop.h"
#include "io/stream.h"
#include "io/tls.h"

/* An HTTP/1.1 server: listeners, their connections, the order of pipelined replies, every limit and
 * every deadline of the contract's "HTTP itself". One request of a connection is with the handler
 * at a time. */
struct http_server;

/* What answers requests. All calls on the loop.
 *
 * A request is with the handler from on_head to its answer, and again from on_body to its answer;
 * only then is `gone` told. Between http_read_body and on_body it is the server's, which answers
 * what goes wrong there by itself (the client leaves, 400, 408, 413): the handler hears nothing
 * more of that request, so it holds nothing across that wait but the request's arena. */
struct http_handler {
    /* The head is complete and well-formed, the body not yet read (nor asked for by a 100). Leads
       to exactly one of http_reply and http_read_body, now or later. */
    void (*on_head)(void *owner, struct http_request *request);
    /* request->body is whole (empty without one). Leads to exactly one http_reply, now or later. */
    void (*on_body)(void *owner, struct http_request *request);
    /* The body of the answer to what is no request (400, 408, 413 while reading, 414, 431, 501,
       505), and of 500 for a reply whose headers don't fit: JSON in static memory. */
    struct slice (*error_body)(void *owner, int status);
};

struct http_server_opts {
    const struct http_handler *handler;
    void *owner;
    size_t connections_max;
    int64_t head_timeout_ms;  /* head or body not complete: 408 */
    int64_t idle_timeout_ms;  /* between requests */
    int64_t write_timeout_ms; /* an answer that is not taken */
    size_t body_max;
    struct slice headers;     /* complete header lines on every response */
    struct slice csp;         /* the default Content-Security-Policy */
    struct slice tls_headers; /* further lines on those over TLS */
    int64_t handshake_timeout_ms;
    size_t handshakes_max; /* under way; the next connection is closed at once */
    struct metrics *metrics;
    uint64_t id_prefix; /* random: makes our request ids ours */
};

/* The opts are copied; what they point to must outlive the server. NULL metrics: nothing is
 * counted. */
struct http_server *http_server_new(struct loop *loop, const struct http_server_opts *opts);

/* Takes over this use of `tls`. Called before the first address: TCP is served over TLS (unix
 * sockets stay plain). Called again: new connections get this one, those that are open go on. */
void http_server_use_tls(struct http_server *server, struct tls *tls);
const struct tls *http_server_tls(const struct http_server *server); /* NULL: plain */

/* May be called for several addresses. `*port` is the one that was bound. */
enum rc http_server_listen(struct http_server *server, struct slice address, int *port,
                           char problem[STREAM_PROBLEM_BYTES]);

/* On a socket that is bound already (io/bind): the server's where RC_OK is returned. */
enum rc http_server_listen_bound(struct http_server *server, int fd, int *port,
                                 char problem[STREAM_PROBLEM_BYTES]);

/* Closes the listeners; every further reply says "Connection: close"; idle connections close after
 * LIMIT_DRAIN_GRACE_MS, so that a request that is on its way is still answered. `drained` runs when
 * the last connection is gone, or after `timeout_ms` (what is left is then cut: handlers hear
 * `gone` and still owe their answers). */
void http_server_drain(struct http_server *server, int64_t timeout_ms, void (*drained)(void *owner),
                       void *owner);

/* After the drain, or instead of it: cuts what is left. The loop must run on until `closed`, which
 * comes when the last handler has answered; the server's memory is gone then. */
void http_server_close(struct http_server *server, void (*closed)(void *owner), void *owner);

size_t http_server_connections(const struct http_server *server);

/* The handler's two answers. After http_read_body the request is the server's until on_body.
 * http_reply copies what it is given and ends the request: its memory and the arena are gone when
 * it returns. A HEAD request gets the headers only. Neither calls the handler back before it
 * returns. */
void http_read_body(struct http_request *request);
void http_reply(struct http_request *request, const struct http_reply *reply);

/* For a handler whose time is up while its own work can't be ended yet: the client gets this answer
 * and the connection closes, but the request's memory stays the handler's until its http_reply,
 * which is then dropped. Nothing is told of a client that leaves meanwhile. */
void http_reply_early(struct http_request *request, const struct http_reply *reply);

/* For peers that test clients, and need answers that are no HTTP: these bytes as they are, in place
 * of http_reply. MORE: others follow (the request stays the handler's); FIN and RESET end the
 * request and its connection. */
enum http_raw_end { HTTP_RAW_MORE, HTTP_RAW_FIN, HTTP_RAW_RESET };
void http_reply_raw(struct http_request *request, struct slice bytes, enum http_raw_end end);
