// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>

#include "io/loop.h"
#include "store/accounts_backend.h"
#include "store/accounts_cache.h"

/* Keeps the cache honest about commands that work on the store beside its server (unlink, a
 * restore): asks now and then whether someone else has written, and empties the cache then. Only
 * store/accounts has one. */
struct accounts_watch {
    struct loop *loop;
    struct accounts_backend *backend;
    struct accounts_cache *cache;
    struct loop_timer timer;
    struct accounts_backend_op op;
    bool is_asking;
    bool timer_is_open;
    void (*closed)(struct accounts_watch *watch);
};

void accounts_watch_start(struct accounts_watch *watch);
/* `closed` on a later turn. */
void accounts_watch_close(struct accounts_watch *watch,
                          void (*closed)(struct accounts_watch *watch));
