// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>

#include "base/rc.h"
#include "base/slice.h"
#include "io/loop.h"
#include "io/redis.h"
#include "io/redis_tls.h"

/* One connection to one address, from connect() to its end: hiredis's asynchronous context on the
 * loop, by an adapter of our own. What it is given within a turn leaves in one write at its end.
 * Part of io/redis: nobody else includes this.
 *
 * hiredis frees a connection that failed by itself, and calls whoever waits for an answer while it
 * does: `answered` gets no value then. `connected` and `lost` are called when hiredis is off the
 * stack. */
struct redis_link;

struct redis_link_opts {
    struct loop *loop;
    const char *address; /* numeric */
    int port;
    struct redis_tls *tls; /* NULL: none */
    void *owner;
    void (*connected)(void *owner);
    /* The link is gone; not after redis_link_close. The cause is static text. */
    void (*lost)(void *owner, enum rc rc, const char *cause);
    /* `about` as given with the command. Without a value there will be no answer, and `rc` says
       why; in the order of the commands. */
    void (*answered)(void *owner, void *about, enum rc rc, const struct redis_value *value);
};

/* NULL where the system refuses at once. */
struct redis_link *redis_link_open(const struct redis_link_opts *opts);
/* Not while `answered` is on the stack. What is open is `answered` with RC_UNREACHABLE. */
void redis_link_close(struct redis_link *link);

/* One command, which is copied; a NUL must follow its bytes. False: there will be no call. */
bool redis_link_send(struct redis_link *link, struct slice command, void *about);
