// SPDX-License-Identifier: MIT
#include "http/server.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/conn.h"
#include "io/stream_tls.h"

struct http_server {
    struct http_conns conns;
    struct stream_tls tls;
    bool has_tls;
    struct stream_listener *listeners[LIMIT_LISTENERS];
    size_t listener_count;
    size_t open_listeners; /* those whose memory is still needed */
    bool is_listening;
    struct loop_timer drain_timer;
    struct loop_task drain_ends;
    struct loop_task end;
    size_t open_timers;
    void (*drained)(void *owner); /* NULL: told, or nobody asked */
    void *drained_owner;
    void (*closed)(void *owner);
    void *closed_owner;
    bool is_closing;
};

static struct http_server *server_of(struct http_conns *conns) {
    return LIST_ENTRY(conns, struct http_server, conns);
}

/* ------------------------------------------------------------------------------ the end of it */

static void on_end(struct loop_task *task) {
    struct http_server *server = LIST_ENTRY(task, struct http_server, end);
    void (*closed)(void *owner) = server->closed;
    void *owner = server->closed_owner;
    for (size_t i = 0; i < server->listener_count; i++) {
        mem_free(server->listeners[i]);
    }
    http_conns_fini(&server->conns);
    mem_free(server);
    closed(owner);
}

/* The one place where a server ends: when all that needs its memory is gone. On a later turn, since
 * a handler's last answer leads here. */
static void maybe_end(struct http_server *server) {
    if (server->is_closing && server->open_timers == 0 && server->open_listeners == 0 &&
        server->conns.live_count == 0 && !list_is_linked(&server->end.node)) {
        loop_later(server->conns.loop, &server->end, on_end);
    }
}

static void tell_drained(struct http_server *server) {
    void (*drained)(void *owner) = server->drained;
    server->drained = NULL;
    loop_timer_stop(&server->drain_timer);
    if (drained != NULL) {
        drained(server->drained_owner);
    }
}

static void on_drain_ends(struct loop_task *task) {
    tell_drained(LIST_ENTRY(task, struct http_server, drain_ends));
}

static void end_drain_later(struct http_server *server) {
    if (server->drained != NULL && !list_is_linked(&server->drain_ends.node)) {
        loop_later(server->conns.loop, &server->drain_ends, on_drain_ends);
    }
}

static void on_lessened(struct http_conns *conns) {
    struct http_server *server = server_of(conns);
    if (conns->open_count == 0) {
        end_drain_later(server);
    }
    maybe_end(server);
}

static void on_drain_timeout(struct loop_timer *timer) {
    struct http_server *server = LIST_ENTRY(timer, struct http_server, drain_timer);
    http_conns_cut(&server->conns);
    if (server->conns.open_count == 0) {
        end_drain_later(server);
    }
}

static void timer_closed(struct http_server *server) {
    server->open_timers--;
    maybe_end(server);
}

static void on_drain_timer_closed(struct loop_timer *timer) {
    timer_closed(LIST_ENTRY(timer, struct http_server, drain_timer));
}

static void on_deadline_timer_closed(struct loop_timer *timer) {
    timer_closed(LIST_ENTRY(timer, struct http_server, conns.deadlines.timer));
}

static void on_tls_timer_closed(struct loop_timer *timer) {
    timer_closed(LIST_ENTRY(timer, struct http_server, tls.timer));
}

/* --------------------------------------------------------------------------------- listeners */

static struct stream *on_accepting(struct stream_listener *listener) {
    struct http_server *server = listener->owner;
    return http_conns_accepting(&server->conns);
}

static void on_shed(struct stream_listener *listener) {
    struct http_server *server = listener->owner;
    metrics_add(server->conns.opts.metrics, METRIC_CONNECTIONS_REFUSED, 1);
}

static void on_listener_closed(struct stream_listener *listener) {
    struct http_server *server = listener->owner;
    server->open_listeners--;
    maybe_end(server);
}

static const struct stream_listener_events listener_events = {.accepting = on_accepting,
                                                              .accepted = http_conns_accepted,
                                                              .shed = on_shed,
                                                              .closed = on_listener_closed};

static void close_listeners(struct http_server *server) {
    if (server->is_listening) {
        server->is_listening = false;
        for (size_t i = 0; i < server->listener_count; i++) {
            stream_listener_close(server->listeners[i]);
        }
    }
}

/* Memory for one more, or NULL. */
static struct stream_listener *new_listener(const struct http_server *server,
                                            char problem[STREAM_PROBLEM_BYTES]) {
    if (server->listener_count == LIMIT_LISTENERS) {
        snprintf(problem, STREAM_PROBLEM_BYTES, "cannot listen on more than %d addresses",
                 LIMIT_LISTENERS);
        return NULL;
    }
    return mem_alloc(sizeof(struct stream_listener));
}

static void add_listener(struct http_server *server, struct stream_listener *listener, int *port) {
    if (server->has_tls && !listener->is_unix) {
        listener->tls = &server->tls;
    }
    server->listeners[server->listener_count++] = listener;
    server->open_listeners++;
    server->is_listening = true;
    *port = stream_listener_port(listener);
}

enum rc http_server_listen(struct http_server *server, struct slice address, int *port,
                           char problem[STREAM_PROBLEM_BYTES]) {
    struct stream_listener *listener = new_listener(server, problem);
    if (listener == NULL) {
        return RC_FULL;
    }
    enum rc rc =
        stream_listen(server->conns.loop, listener, address, &listener_events, server, problem);
    if (rc != RC_OK) {
        mem_free(listener);
        return rc;
    }
    add_listener(server, listener, port);
    return RC_OK;
}

enum rc http_server_listen_bound(struct http_server *server, int fd, int *port,
                                 char problem[STREAM_PROBLEM_BYTES]) {
    struct stream_listener *listener = new_listener(server, problem);
    if (listener == NULL) {
        return RC_FULL;
    }
    int error = stream_listen_bound(server->conns.loop, listener, fd, &listener_events, server);
    if (error != 0) {
        snprintf(problem, STREAM_PROBLEM_BYTES, "cannot listen: %s", strerror(error));
        mem_free(listener);
        return RC_IO;
    }
    add_listener(server, listener, port);
    return RC_OK;
}

void http_server_use_tls(struct http_server *server, struct tls *tls) {
    if (server->has_tls) {
        stream_tls_replace(&server->tls, tls);
        return;
    }
    assert(server->listener_count == 0 && !server->is_closing);
    stream_tls_init(&server->tls, server->conns.loop, tls);
    server->tls.handshake_timeout_ms = server->conns.opts.handshake_timeout_ms;
    server->tls.handshakes_max = server->conns.opts.handshakes_max;
    server->has_tls = true;
    server->open_timers++;
}

const struct tls *http_server_tls(const struct http_server *server) {
    return server->has_tls ? server->tls.tls : NULL;
}

/* ----------------------------------------------------------------------------- the server */

struct http_server *http_server_new(struct loop *loop, const struct http_server_opts *opts) {
    struct http_server *server = mem_calloc(1, sizeof *server);
    http_conns_init(&server->conns, loop, opts);
    server->conns.lessened = on_lessened;
    loop_timer_init(loop, &server->drain_timer);
    server->open_timers = 2;
    return server;
}

void http_server_drain(struct http_server *server, int64_t timeout_ms, void (*drained)(void *owner),
                       void *owner) {
    server->drained = drained;
    server->drained_owner = owner;
    close_listeners(server);
    http_conns_drain(&server->conns);
    loop_timer_start(&server->drain_timer, timeout_ms, 0, on_drain_timeout);
    if (server->conns.open_count == 0) {
        end_drain_later(server);
    }
}

void http_server_close(struct http_server *server, void (*closed)(void *owner), void *owner) {
    server->is_closing = true;
    server->closed = closed;
    server->closed_owner = owner;
    server->drained = NULL;
    loop_task_drop(&server->drain_ends);
    close_listeners(server);
    http_conns_cut(&server->conns);
    loop_timer_close(&server->drain_timer, on_drain_timer_closed);
    http_deadlines_close(&server->conns.deadlines, on_deadline_timer_closed);
    if (server->has_tls) {
        stream_tls_close(&server->tls, on_tls_timer_closed);
    }
}

size_t http_server_connections(const struct http_server *server) {
    return server->conns.open_count;
}
