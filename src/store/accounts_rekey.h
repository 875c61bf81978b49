// SPDX-License-Identifier: MIT
#pragma once

#include <stdint.h>

#include "base/log.h"
#include "base/rc.h"
#include "crypto/fernet.h"
#include "io/loop.h"
#include "io/work.h"
#include "store/accounts_backend.h"

/* Brings every stored token under the first key of a list: what another key sealed is sealed anew,
 * legacy plaintext is sealed, what no key opens is left and counted. It walks by user id, some rows
 * at a time, and writes each only where it is still what was read, so that it may run beside
 * servers and be stopped at any moment: what is under the first key already is passed over. It
 * rests between batches, for the servers' writes. */
struct accounts_rekey_counts {
    uint64_t accounts; /* looked at */
    uint64_t current;  /* were under the first key already */
    uint64_t resealed;
    uint64_t sealed;  /* held plaintext */
    uint64_t left;    /* hold a token that no key opens */
    uint64_t failed;  /* could not be written, or changed at each try */
    uint64_t removed; /* disconnected meanwhile */
};

struct accounts_rekey_opts {
    struct loop *loop;
    struct work *work;
    struct accounts_backend *backend; /* borrowed until `done` */
    const struct fernet_keys *keys;   /* borrowed until `done` */
    struct log *log;                  /* an audit line for each account that is written or left */
    /* After each batch; may be NULL. */
    void (*progress)(void *owner, const struct accounts_rekey_counts *counts);
    /* Once, on a later turn. RC_OK: the end was reached (whatever the counts say);
       RC_STORAGE_UNAVAILABLE: rows could not be read, `cause` says why (static text, or NULL). */
    void (*done)(void *owner, enum rc rc, const char *cause,
                 const struct accounts_rekey_counts *counts);
    void *owner;
};

void accounts_rekey_start(const struct accounts_rekey_opts *opts);
