// SPDX-License-Identifier: MIT
#pragma once

#include "link/library.h"

/* Walks every page of a user's library, counts the books, and notes in the account when that was or
 * that it failed. */
struct sync {
    void (*done)(struct sync *flow);
    /* set by the caller, borrowed until `done` is called */
    struct slice user_id;
    struct slice request_id;
    struct slice client;
    int64_t deadline_ms;
    /* RC_OK; RC_NOT_CONNECTED; RC_PROVIDER_UNAVAILABLE; RC_STORAGE_UNAVAILABLE; RC_NOT_CONFIGURED;
       RC_OVERLOADED; RC_CANCELED */
    enum rc rc;
    uint64_t audiobooks;
    int64_t synced_ms;
    /* ours */
    struct linker *linker;
    struct library library;
    struct accounts_op account; /* its mark, and its record where that met another */
    unsigned pages;
    unsigned marks;
    bool is_canceled;
};

void sync_start(struct linker *linker, struct sync *flow, void (*done)(struct sync *flow));

/* The client is gone: no further page is asked for. */
void sync_cancel(struct sync *flow);
