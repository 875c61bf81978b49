// SPDX-License-Identifier: MIT
#pragma once

#include "link/linker.h"

/* Unlinks an account: what was stored is deleted, whatever the provider thinks of it; the provider
 * is told in the background. */
struct disconnect {
    void (*done)(struct disconnect *flow);
    /* set by the caller, borrowed until `done` */
    struct slice user_id;
    struct slice request_id;
    struct slice client;
    /* RC_OK, RC_NO_ACCOUNT, RC_STORAGE_UNAVAILABLE */
    enum rc rc;
    /* ours */
    struct linker *linker;
    struct accounts_op remove;
};

void disconnect_start(struct linker *linker, struct disconnect *flow,
                      void (*done)(struct disconnect *flow));
