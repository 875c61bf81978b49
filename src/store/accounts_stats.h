// SPDX-License-Identifier: MIT
#pragma once

#include <stdint.h>

#include "base/rc.h"
#include "crypto/fernet.h"
#include "io/loop.h"
#include "io/work.h"
#include "store/accounts_backend.h"

/* Counts what a store holds: accounts by what became of their last sync, tokens by the key that
 * opens them. Reads all of it, a row at a time. */
enum { ACCOUNTS_STATS_KEYS = 16, ACCOUNTS_STATS_SYNCS = 3 };

struct accounts_stats {
    uint64_t accounts;
    uint64_t by_sync[ACCOUNTS_STATS_SYNCS]; /* enum account_sync */
    uint64_t reauthorization_required;
    uint64_t without_refresh_token;
    uint64_t by_key[ACCOUNTS_STATS_KEYS]; /* tokens; the last: of all further positions */
    uint64_t plain;
    uint64_t closed; /* no key opens them */
};

struct accounts_stats_opts {
    struct loop *loop;
    struct work *work;
    struct accounts_backend *backend; /* borrowed until `done` */
    const struct fernet_keys *keys;   /* NULL: none */
    /* Once, on a later turn. RC_OK, or RC_STORAGE_UNAVAILABLE with what was counted by then;
       `cause` says why (static text, or NULL). */
    void (*done)(void *owner, enum rc rc, const char *cause, const struct accounts_stats *stats);
    void *owner;
};

void accounts_stats_start(const struct accounts_stats_opts *opts);

/* "pending", "synced", "failed" */
const char *accounts_stats_sync_name(enum account_sync sync);
