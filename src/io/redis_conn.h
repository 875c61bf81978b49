// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "io/loop.h"
#include "io/redis.h"
#include "io/redis_link.h"

/* How io/redis has a connection at all times: it resolves the name, connects to one address after
 * the other, greets (AUTH, SELECT, CLIENT SETNAME, PING), is ready; and after it was lost it rests
 * and begins anew. Part of io/redis: nobody else includes this.
 *
 * A connection that is lost after it has served for a while is made again at once, and commands
 * wait for that one attempt; after a failure they don't, until it is ready. */
enum redis_conn_state {
    REDIS_CONN_RESTING,
    REDIS_CONN_RESOLVING,
    REDIS_CONN_CONNECTING,
    REDIS_CONN_GREETING,
    REDIS_CONN_READY,
    REDIS_CONN_BREAKING, /* its end is decided: it comes before the loop blocks */
    REDIS_CONN_CLOSED
};

struct redis_conn;

enum redis_greeting {
    REDIS_GREETING_AUTH,
    REDIS_GREETING_SELECT,
    REDIS_GREETING_NAME,
    REDIS_GREETING_PING,
    REDIS_GREETINGS
};

struct redis_conn {
    const struct redis_opts *opts; /* the owner's copy */
    enum redis_conn_state state;
    struct redis_link *link;
    struct redis_tls *tls;
    struct loop_timer timer; /* of the attempt, or of the rest */
    struct loop_task break_task;
    uv_getaddrinfo_t resolver;
    bool is_resolving; /* the resolver is under way, wanted or not */
    struct addrinfo *addresses;
    struct addrinfo *next; /* to be tried */
    int64_t attempt_ends_ms;
    int64_t ready_at_ms;
    unsigned failures; /* in a row */
    bool is_loss_logged;
    bool is_hopeful;
    enum rc rc; /* why it broke */
    const char *cause;
    char greetings[REDIS_GREETINGS]; /* whose addresses stand for them */

    /* The owner's. `ready` and `down` with hiredis off the stack; after `down` either it is made
       again (redis_conn_may_wait) or it rests. `closed` is the last. */
    void (*ready)(struct redis_conn *conn);
    void (*down)(struct redis_conn *conn, enum rc rc, const char *cause);
    void (*answered)(struct redis_conn *conn, void *about, enum rc rc,
                     const struct redis_value *value);
    void (*closed)(struct redis_conn *conn);
};

/* After opts and the owner's functions were set. Begins on a later turn. */
void redis_conn_start(struct redis_conn *conn);
/* Anywhere: the link is closed on a later turn, then `closed`. */
void redis_conn_close(struct redis_conn *conn);

/* Anywhere: ends the link before the loop blocks, as if it had failed so. */
void redis_conn_break(struct redis_conn *conn, enum rc rc, const char *cause);

/* Whether a command that can't be sent now is kept until the attempt under way has ended. */
bool redis_conn_may_wait(const struct redis_conn *conn);

/* Where it is ready. `command` must be followed by a NUL. */
bool redis_conn_send(struct redis_conn *conn, struct slice command, void *about);
