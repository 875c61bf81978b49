// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/rc.h"
#include "base/slice.h"
#include "io/loop.h"
#include "store/accounts_backend.h"

/* Copies every account of one store to another, tokens as they are stored (no key is needed), and
 * reads each back. It notes nothing anywhere: stopped at any moment and run again, it passes over
 * what is equal already. Where both stores know a user, the newer record stands: the one that was
 * connected later; if that is the same, whose token expires later (each refresh moves that); then
 * the one that was synced later; else the source's. At the end the target is walked for users whom
 * the source does not know: they have disconnected since an earlier run, or are the target's own.
 *
 * The source may be served from meanwhile (a second run brings what has changed), the target must
 * not be: what is written to it between the look at an account and the copy is lost. */
struct accounts_migrate_counts {
    uint64_t accounts; /* of the source, looked at */
    uint64_t copied;   /* the target had none, read back and the same */
    uint64_t replaced; /* the target had an older one, read back and the same */
    uint64_t equal;    /* the target had the same */
    uint64_t kept;     /* the target has a newer one, which stays */
    uint64_t failed;   /* could not be read, written or deleted, or were read back differently */
    uint64_t others;   /* in the target only, and still there */
    uint64_t pruned;   /* were in the target only, and are deleted */
};

/* How it ended. RC_OK: both stores were walked to their ends, whatever the counts say. */
struct accounts_migrate_end {
    enum rc rc;          /* RC_OK or RC_STORAGE_UNAVAILABLE */
    const char *cause;   /* static text, of the first failure; NULL: none, or not known */
    bool is_target;      /* it was the target's */
    struct slice behind; /* where the walk ended: the user id before what could not be read */
};

struct accounts_migrate_opts {
    struct loop *loop;
    struct accounts_backend *from; /* borrowed until `done`, as the next */
    struct accounts_backend *to;
    struct log *log;
    bool prunes; /* deletes from the target whom the source does not know, unless that is empty */
    /* After each batch; may be NULL. */
    void (*progress)(void *owner, const struct accounts_migrate_counts *counts);
    /* Once, on a later turn. */
    void (*done)(void *owner, const struct accounts_migrate_end *end,
                 const struct accounts_migrate_counts *counts);
    void *owner;
};

void accounts_migrate_start(const struct accounts_migrate_opts *opts);
