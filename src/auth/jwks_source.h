// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "crypto/jwks.h"
#include "io/loop.h"
#include "io/upstream.h"
#include "io/work.h"

/* The published keys of LATCHKEY_JWKS_URL: fetched at start, again and again in the background, and
 * when a token names a key that isn't there. What was fetched once stays until a newer set has come
 * whole: an endpoint that fails takes no key away. Loop thread only. */
struct jwks_source;

struct jwks_source_times {
    int64_t refresh_ms; /* after a good answer; all of these are spread by a tenth to either side */
    int64_t retry_min_ms; /* after a failure, doubled each time */
    int64_t retry_max_ms;
    int64_t asked_ms;   /* at least between two fetches that requests ask for */
    int64_t timeout_ms; /* of a fetch, and of a wait for it */
};
extern const struct jwks_source_times jwks_source_usual;

struct jwks_source_opts {
    struct loop *loop;
    struct upstream *upstream;
    struct work *work; /* the FAST lane, which reads the answer */
    struct log *log;
    struct metrics *metrics;
    struct slice url;
    struct jwks_source_times times;
};

/* Starts the first fetch. NULL: the system gives no random bytes. */
struct jwks_source *jwks_source_new(const struct jwks_source_opts *opts);
/* `closed` runs on a later turn; waits end with it. Sets that are held are given back before. */
void jwks_source_close(struct jwks_source *source, void (*closed)(void *owner), void *owner);

/* NULL: none has ever come. Borrowed until the next turn of the loop. */
const struct jwks *jwks_source_keys(const struct jwks_source *source);

/* The same for longer: another thread may use it until it is given back. */
struct jwks_source_set;
struct jwks_source_set *jwks_source_hold(struct jwks_source *source);
const struct jwks *jwks_source_set_keys(const struct jwks_source_set *set);
void jwks_source_give_back(struct jwks_source_set *set);

/* Asks for a fetch, where none is under way and the last that was asked for is asked_ms ago. */
void jwks_source_ask(struct jwks_source *source);

/* The same, and `done` runs when the fetch that is under way has ended, well or not, at the
 * deadline, after timeout_ms, or at once (on a later turn) where there is none to wait for. */
struct jwks_wait {
    struct list node;
    void (*done)(struct jwks_wait *wait);
    struct jwks_source *source;
    int64_t deadline_ms; /* loop_now_ms */
};
void jwks_source_wait(struct jwks_source *source, struct jwks_wait *wait, int64_t deadline_ms,
                      void (*done)(struct jwks_wait *wait));
/* Hurries it. */
void jwks_source_cancel(struct jwks_wait *wait);
