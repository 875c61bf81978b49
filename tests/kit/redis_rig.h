// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/metrics.h"
#include "io/loop.h"
#include "io/redis.h"

/* A loop and a connection to Redis on it. A failed expectation fails the test; so does a wait of
 * more than REDIS_RIG_WAIT_MS. */
enum { REDIS_RIG_CALLS = 16, REDIS_RIG_TEXT_BYTES = 512, REDIS_RIG_WAIT_MS = 15 * 1000 };

/* A command and what its completion said. */
struct redis_rig_call {
    struct redis_op op;
    struct redis_rig *rig;
    int done; /* how often */
    enum rc rc;
    enum redis_kind kind;
    char text[REDIS_RIG_TEXT_BYTES]; /* a list as "[a 1 nil]" */
    char cause[64];
    int64_t took_ms;
    int64_t started_ns;
    bool is_starting;
    void (*then)(struct redis_rig_call *call);
};

struct redis_rig {
    struct clock clock;
    struct loop loop;
    struct metrics metrics;
    struct log *log;
    FILE *log_file;
    struct redis_url url;
    struct redis *redis;
    int readies; /* how often it was ready */
    int closed;  /* how often */
    struct redis_rig_call calls[REDIS_RIG_CALLS];
    struct loop_timer watch; /* what a wait looks at again */
    char log_text[64 * 1024];
};

/* `given` without loop, log, metrics and url; NULL: the defaults. Doesn't wait. */
struct redis_rig *redis_rig_new(const char *url, const struct redis_opts *given);
/* Closes and frees all of it, asserting that nothing stays, and that each call was done once. */
void redis_rig_end(struct redis_rig *rig);

/* Starts; words are split at spaces. */
struct redis_rig_call *redis_rig_start(struct redis_rig *rig, size_t i, const char *command);
struct redis_rig_call *redis_rig_start_eval(struct redis_rig *rig, size_t i,
                                            const struct redis_script *script, const char *key,
                                            const char *arg);
/* Runs the loop until it is done. */
struct redis_rig_call *redis_rig_wait(struct redis_rig *rig, size_t i);
/* One alone, to its end. */
struct redis_rig_call *redis_rig_ask(struct redis_rig *rig, const char *command);
void redis_rig_wait_ready(struct redis_rig *rig);
/* Until it was ready so often, and is. */
void redis_rig_wait_readies(struct redis_rig *rig, int count);
/* Runs the loop until it says so. */
void redis_rig_until(struct redis_rig *rig, bool (*is_time)(struct redis_rig *rig, void *about),
                     void *about);
void redis_rig_run_ms(struct redis_rig *rig, int64_t ms);

/* All lines so far. */
const char *redis_rig_log(struct redis_rig *rig);
int64_t redis_rig_metric(const struct redis_rig *rig, enum metric metric);
