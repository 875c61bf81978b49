// SPDX-License-Identifier: MIT
#pragma once

#include "base/log.h"
#include "base/metrics.h"
#include "link/fresh_token.h"
#include "link/revocation.h"
#include "provider/provider.h"
#include "store/accounts.h"
#include "store/states.h"

/* What the flows of link/ work on: borrowed parts, and two that live across requests. */
struct linker {
    struct loop *loop;
    struct provider *provider;
    struct states *states;
    struct accounts *accounts;
    struct leases *leases; /* NULL: no other process has these accounts */
    struct log *log;
    struct metrics *metrics;
    int64_t provider_timeout_ms; /* of one call */
    /* ours */
    struct fresh_tokens *fresh_tokens;
    struct revocations *revocations;
    void (*closed)(void *owner);
    void *closed_owner;
};

/* Completes a linker whose borrowed parts are set. */
void linker_open(struct linker *linker);

/* No flow is open. Refreshes under way are stored first; then `closed`, on a later turn. */
void linker_close(struct linker *linker, void (*closed)(void *owner), void *owner);
