// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rc.h"
#include "base/slice.h"
#include "io/loop.h"

/* OAuth states (RFC 6749 section 10.12, RFC 9700 section 4.7): made at authorize, taken at most
 * once by the flow that made them, gone after STATE_TTL_MS. The front checks and counts; a backend
 * keeps. */
struct states;

enum { STATE_COOKIE_HASH_BYTES = 32 };

/* Borrowed until states_put returns. */
struct state_new {
    unsigned char state[RANDOM_BYTES];
    unsigned char verifier[RANDOM_BYTES]; /* its base64url text is what the provider gets */
    unsigned char cookie_hash[STATE_COOKIE_HASH_BYTES];
    struct slice user_id;
    struct slice redirect_uri; /* as sent to the provider: the exchange must repeat it */
};

/* Who takes it: exactly one of the two is set. */
struct state_claim {
    struct slice user_id;             /* POST: the caller */
    const unsigned char *cookie_hash; /* GET: SHA-256 of the browser's flow cookie */
};

#define STATE_OUTCOME_MAP(X)                                                                       \
    X(TAKEN, "taken")                                                                              \
    X(UNKNOWN, "unknown")                                                                          \
    X(USED, "used")                                                                                \
    X(EXPIRED, "expired")                                                                          \
    X(USER_MISMATCH, "user_mismatch")                                                              \
    X(COOKIE_MISMATCH, "cookie_mismatch")
#define STATE_OUTCOME_ENUM(name, text) STATE_##name,
enum state_outcome { STATE_OUTCOME_MAP(STATE_OUTCOME_ENUM) STATE_OUTCOME_COUNT };
#undef STATE_OUTCOME_ENUM
const char *state_outcome_text(enum state_outcome outcome);

/* The caller's until `done` is called, and not touched after that. */
struct states_op {
    void (*done)(struct states_op *op);
    /* put: RC_OK, RC_OVERLOADED (the cap), RC_STORAGE_UNAVAILABLE.
       take: RC_OK with `outcome`, RC_STORAGE_UNAVAILABLE.
       ping: RC_OK, RC_STORAGE_UNAVAILABLE. */
    enum rc rc;
    const char *cause;       /* static text, of RC_STORAGE_UNAVAILABLE; may be NULL */
    struct slice request_id; /* for log lines; set by the caller before the call, may be null */
    enum state_outcome outcome;
    /* of a state that was TAKEN (all) or mismatched (user_id only) */
    unsigned char verifier[RANDOM_BYTES];
    char user_id[LIMIT_USER_ID_BYTES + 1];
    size_t user_id_len;
    char redirect_uri[LIMIT_URI_BYTES + 1];
    size_t redirect_uri_len;
    /* the front's */
    struct loop_task task;
    struct states *states;
    enum states_kind { STATES_PUT, STATES_TAKE, STATES_PING } kind;
};

/* What a backend does; each call follows the completion contract by way of states_complete. */
struct states_backend {
    const struct states_backend_ops *ops;
};
struct states_backend_ops {
    void (*put)(struct states_backend *backend, struct states_op *op,
                const struct state_new *state);
    void (*take)(struct states_backend *backend, struct states_op *op,
                 const unsigned char state[RANDOM_BYTES], const struct state_claim *claim);
    void (*ping)(struct states_backend *backend, struct states_op *op);
    /* No operation is open; frees the backend. */
    void (*close)(struct states_backend *backend);
};

/* Takes the backend over. */
struct states *states_new(struct loop *loop, struct states_backend *backend, struct log *log,
                          struct metrics *metrics);
void states_close(struct states *states); /* no operation may be open */

void states_put(struct states *states, struct states_op *op, const struct state_new *state,
                void (*done)(struct states_op *op));
/* `text`: the state as the client gave it; anything that isn't one of ours is UNKNOWN. A mismatch
 * spends nothing. Compares in constant time. */
void states_take(struct states *states, struct states_op *op, struct slice text,
                 const struct state_claim *claim, void (*done)(struct states_op *op));
void states_ping(struct states *states, struct states_op *op, void (*done)(struct states_op *op));

/* For backends: the result is known; `done` follows on a later turn. Fills nothing, counts and logs
 * (a failure with op->cause). */
void states_complete(struct states_op *op, enum rc rc);

/* In memory, of this process: O(1) put, take and expiry; tables sized once from `max` and mapped
 * lazily; under 300 bytes a pending state; used states are remembered (for the log) in a bounded
 * table. Expired states leave within a second of STATE_TTL_MS, whether anyone asks or not. */
struct states_backend *states_mem_new(struct loop *loop, size_t max, struct metrics *metrics);

/* In Redis, shared by all processes that use its database; see store/states_redis.c for what lies
 * there. `redis` is borrowed and closed after the states. Never NULL. */
struct redis;
struct states_backend *states_redis_new(struct loop *loop, struct redis *redis,
                                        struct metrics *metrics);
