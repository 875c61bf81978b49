// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "auth/bearer.h"
#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rc.h"
#include "base/slice.h"
#include "io/loop.h"

/* What a user may do, from the platform's own records instead of his token's claims
 * (LATCHKEY_USERS=mongodb): his roles, tier and activity. An answer is kept for USERS_KEPT_MS, that
 * there is no such user for USERS_ABSENT_KEPT_MS (someone whose account is deleted may go on asking
 * with a good token), a failure not at all. All who ask for one user meanwhile share one question.
 * Loop thread only. */
struct users;

enum {
    USERS_KEPT_MS = 30 * 1000, /* since it was asked for */
    USERS_ABSENT_KEPT_MS = 2 * 1000,
    USERS_WAIT_MS = 5 * 1000, /* for an answer; the question goes on, and who asks next shares it */
};

/* --- the source: a small table of functions, given by app ----------------------------------- */

/* What the platform says of a user. */
struct users_record {
    const struct slice *roles; /* of the field `role`, or `roles`; unknown ones are no harm */
    size_t role_count;
    struct slice subscription_tier; /* null: none */
    bool is_active;                 /* a field that is absent or no boolean: true */
};

/* One question. The front's, valid until users_answer. */
struct users_lookup {
    struct slice user_id; /* 1 to LIMIT_USER_ID_BYTES bytes; borrowed until users_answer */
    void *op;             /* the source's, freed before users_answer */
};

struct users_source;
struct users_source_ops {
    /* Leads to exactly one users_answer, on the loop, never before this has returned, and within
     * a deadline of the source's own. At most LIMIT_USER_LOOKUPS are open at a time. */
    void (*look_up)(struct users_source *source, struct users_lookup *lookup);
    /* Frees it. No look-up is open. `closed` runs on a later turn. */
    void (*close)(struct users_source *source, void (*closed)(void *owner), void *owner);
};
struct users_source {
    const struct users_source_ops *ops;
};

/* For sources. RC_OK with `record`, of which all is borrowed during this call; RC_ABSENT: there is
 * no such user; anything else: the source can't say (the front logs it by its name). */
void users_answer(struct users_lookup *lookup, enum rc rc, const struct users_record *record);

/* --- the front -------------------------------------------------------------------------------- */

struct users_opts {
    struct loop *loop;
    struct log *log;
    struct metrics *metrics;
    struct users_source *source; /* taken over */
    size_t cache_max;            /* users; LIMIT_USER_CACHE */
};

struct users *
users_new(const struct users_opts *opts); /* NULL: no random bytes; no source closed */
/* No users_op is open. Waits for open questions, closes the source. `closed` on a later turn. */
void users_close(struct users *users, void (*closed)(void *owner), void *owner);

/* Where it is known what `caller->sub` may do: true, and `*rc` as users_op's, with RC_OK the
 * caller's role, tier and activity in place of the claims'. */
bool users_cached(struct users *users, struct caller *caller, struct slice request_id, enum rc *rc);

/* The caller's until `done`. */
struct users_op {
    void (*done)(struct users_op *op);
    /* RC_OK; RC_BAD_CREDENTIALS: there is no such user (logged as auth_rejected);
     * RC_STORAGE_UNAVAILABLE: the source failed, or had no answer in time; RC_OVERLOADED: too many
     * questions are open; RC_CANCELED */
    enum rc rc;
    /* ours */
    struct users *users;
    struct caller *caller;
    struct slice request_id;
    int64_t deadline_ms;
    struct list node;
    struct loop_task task;
};

/* The same with a wait, until the deadline (loop_now_ms) or for USERS_WAIT_MS. `caller` and
 * `request_id` are borrowed until `done`; the caller is filled with RC_OK only. */
void users_find(struct users *users, struct users_op *op, struct caller *caller,
                struct slice request_id, int64_t deadline_ms, void (*done)(struct users_op *op));
/* Hurries it. */
void users_cancel(struct users_op *op);
