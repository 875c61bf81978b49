// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>

#include "app/account_store.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "io/loop.h"
#include "kit/account_place.h"
#include "store/accounts_backend.h"

/* A loop with backends on it, as several processes have them that share a store, and calls that
 * wait. */
enum { BACKEND_RIG_STORES = 2 };

struct backend_rig {
    struct clock clock;
    struct metrics metrics;
    struct loop loop;
    struct log *log;
    struct account_store stores[BACKEND_RIG_STORES];
    struct accounts_backend *backends[BACKEND_RIG_STORES];
    size_t open; /* calls under way */
};

/* Of a SQLite file the first is the server's, the second a command's. `log_fd` 0: nowhere. */
void backend_rig_open(struct backend_rig *rig, const struct account_place *place, int log_fd);
/* The first a command's of one place, the second the server's of another. */
void backend_rig_open_both(struct backend_rig *rig, const struct account_place *from,
                           const struct account_place *to);
/* Both a command's. */
void backend_rig_open_beside(struct backend_rig *rig, const struct account_place *place);
/* Expects that nothing was left open. */
void backend_rig_close(struct backend_rig *rig);

typedef void backend_rig_fn(struct accounts_backend *backend, struct accounts_backend_op *op);

/* One operation. `op` is filled before it starts; zeroed memory else. */
struct backend_call {
    struct accounts_backend_op op;
    struct backend_rig *rig;
    int calls; /* of done */
};
void backend_rig_start(struct backend_rig *rig, size_t which, struct backend_call *call,
                       backend_rig_fn *fn);
/* Until all that were started are done; fails the test after 20 s. */
void backend_rig_wait(struct backend_rig *rig);
/* Both; op.rc. */
enum rc backend_rig_run(struct backend_rig *rig, size_t which, struct backend_call *call,
                        backend_rig_fn *fn);

/* Each on `which`; backend_rig_run's result. */
enum rc backend_rig_put(struct backend_rig *rig, size_t which, const struct accounts_row *row);
enum rc backend_rig_ping(struct backend_rig *rig, size_t which);
/* False where none comes up to `ms` from now. */
bool backend_rig_ping_within(struct backend_rig *rig, size_t which, int ms);

/* Reads with a buffer that holds any row. op.bytes is the caller's to free (buf_fini). */
enum { BACKEND_RIG_ROW_BYTES = 64 * 1024 };
enum rc backend_rig_get(struct backend_rig *rig, size_t which, struct backend_call *call,
                        struct slice user_id);
enum rc backend_rig_next(struct backend_rig *rig, size_t which, struct backend_call *call,
                         struct slice after);
enum rc backend_rig_remove(struct backend_rig *rig, size_t which, struct backend_call *call,
                           struct slice user_id);

/* Expects every field to be the same, null and empty told apart. */
void backend_rig_expect_row(const struct accounts_row *row, const struct accounts_row *wanted);
/* Expects that the user has this row, as `which` sees it; NULL: no account. */
void backend_rig_expect(struct backend_rig *rig, size_t which, struct slice user_id,
                        const struct accounts_row *wanted);
