// SPDX-License-Identifier: MIT
#pragma once

#include "io/loop.h"
#include "io/redis.h"
#include "kit/redis_server.h"

/* A redis-server of a test's own, and connections to it on the test's loop. */
struct redis_place {
    struct redis_server server;
    struct redis_url url;
    struct redis *redis;
    struct loop *loop;
    struct log *log;
    struct metrics *metrics;
};

struct redis_place *redis_place_open(struct loop *loop, struct log *log, struct metrics *metrics);
/* Waits until the connection is closed; the server ends. */
void redis_place_close(struct redis_place *place);

/* One more connection to the same server. */
struct redis *redis_place_connect(struct redis_place *place);
void redis_place_disconnect(struct redis_place *place, struct redis *redis);
/* Runs the loop until the connection is ready (again), as it must be within 2 s of the server's
 * return. */
void redis_place_wait_ready(struct redis_place *place, struct redis *redis);

/* What the server answers to a command, printf-like, over a connection of its own
 * (kit/redis_server.h): it doesn't run the loop. */
const char *redis_place_ask(struct redis_place *place, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
int64_t redis_place_ask_number(struct redis_place *place, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for Lua: `args` end with NULL; there are no KEYS. */
const char *redis_place_eval(struct redis_place *place, const char *script,
                             const char *const *args);

/* Whether the bytes stand anywhere in what is stored, keys included. */
bool redis_place_finds(struct redis_place *place, const char *bytes);
/* How long, from now, until the last key ends by itself; 0: there is none; -1: one has no end. */
int64_t redis_place_last_end_ms(struct redis_place *place);
/* All that has an end is nearer to it, as if time had passed. */
void redis_place_pass(struct redis_place *place, int64_t ms);
