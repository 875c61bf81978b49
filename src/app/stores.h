// SPDX-License-Identifier: MIT
#pragma once

#include "app/account_store.h"
#include "app/config.h"
#include "auth/users.h"
#include "base/log.h"
#include "base/metrics.h"
#include "crypto/rng.h"
#include "io/loop.h"
#include "io/redis.h"
#include "io/work.h"
#include "store/accounts.h"
#include "store/leases.h"
#include "store/states.h"

/* What LATCHKEY_STATE_STORE and LATCHKEY_ACCOUNT_STORE name, opened. */
struct stores {
    /* set by the owner, borrowed */
    const struct config *config;
    struct loop *loop;
    struct work *work;
    struct log *log;
    struct metrics *metrics;
    struct rng *rng;
    /* for whoever needs them, between open and close */
    struct redis *redis; /* of the states; NULL: they are in memory */
    struct states *states;
    struct accounts *accounts;
    struct leases *leases; /* NULL: no other process serves these accounts */
    struct users *users;   /* NULL: what a caller may do stands in the token */
    /* ours */
    struct redis_url redis_url;
    struct account_store account_store;
    void (*closed)(void *owner);
    void *closed_owner;
};

enum { STORES_PROBLEM_BYTES = 512 };

/* RC_IO or RC_USAGE with a sentence in `problem` that holds no secret; what was opened by then is
 * closed by stores_close all the same. */
enum rc stores_open(struct stores *stores, char problem[STORES_PROBLEM_BYTES]);
/* No operation is open. `closed` runs at once where nothing has to be waited for. */
void stores_close(struct stores *stores, void (*closed)(void *owner), void *owner);
