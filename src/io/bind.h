// SPDX-License-Identifier: MIT
#pragma once

#include "base/rc.h"
#include "base/slice.h"

/* Sockets that are bound to an address and don't listen yet. */
enum bind_sharing {
    BIND_ALONE,
    /* One of several sockets with one address (SO_REUSEPORT), among which the system spreads
       clients. Any other process of this user might join them. */
    BIND_SHARED,
    /* The same, and refused where someone listens there already: for the first of them. */
    BIND_SHARED_FIRST,
};

enum { BIND_PROBLEM_BYTES = 256 };

/* `address`: "127.0.0.1:8090", "[::1]:8090" (port 0: any), or "unix:/path", which isn't shared like
 * that (a stale socket file is replaced, a live one is not). The descriptor is the caller's: it is
 * close-on-exec and does not block, and connections have TCP_NODELAY from it. RC_USAGE or RC_IO
 * with a sentence in `problem`. */
enum rc bind_socket(struct slice address, enum bind_sharing sharing, int *fd,
                    char problem[BIND_PROBLEM_BYTES]);

/* "cannot listen on <address>: <cause>" */
void bind_tell(char problem[BIND_PROBLEM_BYTES], struct slice address, const char *cause);

int bind_port(int fd); /* 0 for a unix socket */
bool bind_is_unix(int fd);
