// SPDX-License-Identifier: MIT
#pragma once

#include "base/clock.h"
#include "crypto/rng.h"
#include "io/loop.h"
#include "store/leases.h"

/* A loop with a store of leases on it, and calls that wait. What is tested of every kind of store
 * is written against this, and runs on each: leases_rig_each. */
struct leases_rig {
    const struct leases_rig_kind *kind;
    struct clock clock;
    struct metrics metrics;
    struct loop loop;
    struct rng rng;
    struct log *log;
    struct leases *leases;
    void *server; /* the kind's */
};

struct leases_rig_kind {
    const char *name;
    struct leases_backend *(*open)(struct leases_rig *rig);
    void (*close)(struct leases_rig *rig); /* the leases are closed */
    /* What is stored of the user's lease: how long it lasts from now; -1: there is none. */
    int64_t (*left_ms)(struct leases_rig *rig, const char *user_id);
    /* It ends in `ms`; 0: it has ended when this returns. */
    void (*end_in)(struct leases_rig *rig, const char *user_id, int64_t ms);
};

extern const struct leases_rig_kind leases_rig_redis;
extern const struct leases_rig_kind leases_rig_mongo; /* where mongo_server_is_there() */

void leases_rig_open(struct leases_rig *rig, const struct leases_rig_kind *kind);
void leases_rig_close(struct leases_rig *rig); /* looks for leaks */

/* Runs the test on each kind of store. */
void leases_rig_each(void (*test)(struct leases_rig *rig));

/* A lease with the call that is under way about it. */
struct leases_rig_lease {
    struct lease_op op;
    struct loop *loop; /* of the rig */
    int calls;         /* of done, since the last call began */
};
void leases_rig_start_acquire(struct leases_rig *rig, struct leases_rig_lease *lease,
                              const char *user_id);
void leases_rig_wait(struct leases_rig_lease *lease);

/* Wait for the result. */
enum rc leases_rig_acquire(struct leases_rig *rig, struct leases_rig_lease *lease,
                           const char *user_id);
enum rc leases_rig_renew(struct leases_rig *rig, struct leases_rig_lease *lease);
enum rc leases_rig_rest(struct leases_rig *rig, struct leases_rig_lease *lease, int64_t rest_ms,
                        int64_t note);
enum rc leases_rig_release(struct leases_rig *rig, struct leases_rig_lease *lease);
