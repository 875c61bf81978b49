// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>

#include "base/slice.h"

/* A server that speaks Redis's protocol and misbehaves on request. It runs on threads of its own
 * and knows nothing of libuv or hiredis. Without a rule it answers PING with PONG, SCRIPT LOAD with
 * a name, and all else with OK. */
struct fake_redis;

struct fake_redis *fake_redis_new(void); /* on 127.0.0.1; NULL: it could not start */
void fake_redis_free(struct fake_redis *fake);
int fake_redis_port(const struct fake_redis *fake);

/* What it does about a command: writes `bytes` as they are, `repeat` until the client leaves (NULL:
 * nothing), and then goes on, closes, resets the connection, or says no more. */
enum fake_redis_then { FAKE_REDIS_STAY, FAKE_REDIS_CLOSE, FAKE_REDIS_RESET, FAKE_REDIS_SILENT };
struct fake_redis_rule {
    const char *command; /* its first word, in capitals; "": a connection that was accepted */
    const char *bytes;   /* NULL: none */
    const char *repeat;
    enum fake_redis_then then;
    int times; /* how often it holds; 0: always */
};
/* The newest rule for a command is the one that holds. Strings must live as long as the server. */
void fake_redis_set(struct fake_redis *fake, struct fake_redis_rule rule);
void fake_redis_unset(struct fake_redis *fake); /* all of them */

size_t fake_redis_accepts(struct fake_redis *fake);                    /* connections, ever */
size_t fake_redis_open(struct fake_redis *fake);                       /* connections, now */
size_t fake_redis_count(struct fake_redis *fake, const char *command); /* "" : all */
size_t fake_redis_reads(struct fake_redis *fake); /* in how many pieces they came */
