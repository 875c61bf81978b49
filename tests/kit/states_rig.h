// SPDX-License-Identifier: MIT
#pragma once

#include "base/clock.h"
#include "io/loop.h"
#include "store/states.h"

/* A loop with a store of states on it, and calls that wait. What is tested of every kind of store
 * is written against this, and runs on each: states_rig_each. */
struct states_rig {
    const struct states_rig_kind *kind;
    struct clock clock;
    struct metrics metrics;
    struct loop loop;
    struct log *log;
    struct states *states;
    size_t max;                /* of the states in memory */
    struct redis_place *redis; /* of the kind redis */
};

struct states_rig_kind {
    const char *name;
    struct states_backend *(*open)(struct states_rig *rig);
    void (*close)(struct states_rig *rig); /* the states are closed */
    bool has_max;                          /* is full at rig->max */
    /* How long a used state is remembered: since it was made, or since it was used. */
    bool remembers_since_made;
    int operations; /* that a long test may do: some 10 s under the sanitizers */
};

extern const struct states_rig_kind states_rig_memory;
extern const struct states_rig_kind states_rig_redis;

void states_rig_open(struct states_rig *rig, const struct states_rig_kind *kind, size_t max);
void states_rig_close(struct states_rig *rig); /* looks for leaks */

/* Runs the test on each kind of store. */
void states_rig_each(size_t max, void (*test)(struct states_rig *rig));

/* Time as rules see it. */
void states_rig_advance(struct states_rig *rig, int64_t ms);

/* A call that is under way, for tests with several. */
struct states_rig_call {
    struct states_op op;
    struct loop *loop; /* of the rig */
    int calls;         /* of done */
};
void states_rig_done(struct states_op *op);
/* Until it is done; it was then called once. */
void states_rig_wait(struct states_rig_call *call);

/* A state that is told by a number, and its text as a client gives it. */
struct state_new states_rig_state(uint64_t number, const char *user_id);
struct states_rig_text {
    char at[RANDOM_TEXT_BYTES + 2];
    size_t len;
};
struct states_rig_text states_rig_text(uint64_t number);

/* Wait for the result. */
enum rc states_rig_put(struct states_rig *rig, const struct state_new *state);
enum rc states_rig_put_number(struct states_rig *rig, uint64_t number, const char *user_id);
struct states_op states_rig_take(struct states_rig *rig, struct slice text,
                                 const struct state_claim *claim);
struct states_op states_rig_take_number(struct states_rig *rig, uint64_t number,
                                        const char *user_id);
/* With the cookie of another state, or its own. */
struct states_op states_rig_take_by_cookie(struct states_rig *rig, uint64_t number,
                                           uint64_t cookie);
enum rc states_rig_ping(struct states_rig *rig);

void states_rig_expect(const struct states_rig *rig, struct states_op op,
                       enum state_outcome expected, const char *what);
