// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rc.h"
#include "base/slice.h"
#include "crypto/rng.h"
#include "io/loop.h"

/* Leases: at most one process at a time refreshes a user's token. Only a server whose accounts
 * other processes share has them. A lease is a key with an owner token of 16 random bytes and an
 * end; it is renewed while its owner works and released by compare-and-delete. A process that dies
 * leaves it to its end. What a lease can't promise (a store that loses it, a process that sleeps
 * past its end), the fence of the write does (accounts_swap). */
struct leases;

enum {
    LEASE_TTL_MS = 10 * 1000,
    LEASE_RENEW_MS = 2500,
    LEASE_OWNER_BYTES = 16,
};

/* The caller's until `done` is called; then it may be used for the next call about the same lease
 * (acquire, renew …, release). */
struct lease_op {
    void (*done)(struct lease_op *op);
    /* acquire: RC_OK; RC_CONFLICT: someone else's, until at most `left_ms`; RC_RATE_LIMITED: rests
       after a failure of its last owner, `left_ms` more, which left `note`.
       renew: RC_OK; RC_ABSENT: it is not ours any more.
       release, rest: RC_OK, also where it was not ours any more.
       All: RC_STORAGE_UNAVAILABLE. */
    enum rc rc;
    const char *cause;       /* static text, of RC_STORAGE_UNAVAILABLE; may be NULL */
    struct slice request_id; /* for log lines; set by the caller before each call, may be null */
    int64_t left_ms;
    int64_t note;
    /* the lease */
    unsigned char owner[LEASE_OWNER_BYTES];
    char user_id[LIMIT_USER_ID_BYTES + 1];
    size_t user_id_len;
    /* the front's and the backend's */
    struct loop_task task;
    struct leases *leases;
    enum leases_kind { LEASES_ACQUIRE, LEASES_RENEW, LEASES_REST, LEASES_RELEASE } kind;
    int64_t rest_ms;
    void *backend_op; /* made by the backend, freed before leases_complete */
};

struct leases_backend;
/* Each reads the op's kind, owner, user_id and, for rest, rest_ms and note; ends with
 * leases_complete. */
struct leases_backend_ops {
    void (*run)(struct leases_backend *backend, struct lease_op *op);
    /* No operation is open; frees the backend, then `closed` on a later turn. */
    void (*close)(struct leases_backend *backend, void (*closed)(void *owner), void *owner);
};
struct leases_backend {
    const struct leases_backend_ops *ops;
};

/* Takes the backend over. */
struct leases *leases_new(struct loop *loop, struct leases_backend *backend, struct rng *rng,
                          struct log *log, struct metrics *metrics);
void leases_close(struct leases *leases, void (*closed)(void *owner), void *owner);

void leases_acquire(struct leases *leases, struct lease_op *op, struct slice user_id,
                    void (*done)(struct lease_op *op));
void leases_renew(struct leases *leases, struct lease_op *op, void (*done)(struct lease_op *op));
/* Instead of releasing it after a failure: nobody acquires it for `rest_ms`, and who tries hears
 * `note`. */
void leases_rest(struct leases *leases, struct lease_op *op, int64_t rest_ms, int64_t note,
                 void (*done)(struct lease_op *op));
void leases_release(struct leases *leases, struct lease_op *op, void (*done)(struct lease_op *op));

/* For backends: the result is known; `done` follows on a later turn. Counts and logs. */
void leases_complete(struct lease_op *op, enum rc rc);

/* Values at `latchkey:lease:<user id>` that end by themselves. `redis` is borrowed and closed after
 * the leases. Never NULL. */
struct redis;
struct leases_backend *leases_redis_new(struct loop *loop, struct redis *redis);
