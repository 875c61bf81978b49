// SPDX-License-Identifier: MIT
#include "link/linker.h"

#include "base/limits.h"

void linker_open(struct linker *linker) {
    linker->revocations = revocations_new(&(const struct revocations_opts){
        .loop = linker->loop,
        .provider = linker->provider,
        .log = linker->log,
        .pending_max = LIMIT_REVOCATIONS,
        .timeout_ms = linker->provider_timeout_ms,
    });
    linker->fresh_tokens = fresh_tokens_new(&(const struct fresh_tokens_opts){
        .loop = linker->loop,
        .provider = linker->provider,
        .accounts = linker->accounts,
        .leases = linker->leases,
        .log = linker->log,
        .metrics = linker->metrics,
        .revocations = linker->revocations,
        .refresh_timeout_ms = linker->provider_timeout_ms,
        .flights_max = LIMIT_REFRESH_FLIGHTS,
    });
}

/* A refresh that lost against a disconnect revokes what it was given. */
static void on_fresh_tokens_closed(void *owner) {
    struct linker *linker = owner;
    revocations_close(linker->revocations, linker->closed, linker->closed_owner);
}

void linker_close(struct linker *linker, void (*closed)(void *owner), void *owner) {
    linker->closed = closed;
    linker->closed_owner = owner;
    fresh_tokens_close(linker->fresh_tokens, on_fresh_tokens_closed, linker);
}
