// SPDX-License-Identifier: MIT
#pragma once

#include "base/log.h"
#include "base/slice.h"
#include "provider/provider.h"

/* Tells the provider that a token is no longer used (RFC 7009): best effort, in the background, a
 * few times. Its outcome is an audit line: token_revoked or token_revoke_failed. Without a
 * revocation endpoint nothing is done. */
struct revocations;

struct revocations_opts {
    struct loop *loop;
    struct provider *provider;
    struct log *log;
    size_t pending_max; /* past it a revocation fails at once */
    int64_t timeout_ms; /* of one try */
};

struct revocations *revocations_new(const struct revocations_opts *opts);

/* Calls under way end by themselves, no further try is made; then `closed`, on a later turn. */
void revocations_close(struct revocations *revocations, void (*closed)(void *owner), void *owner);

/* Borrowed until the call returns. */
struct revocation {
    struct slice user_id;
    struct slice audible_user_id;
    struct slice request_id;
    struct slice client; /* address, for the audit */
    /* the refresh token, with which the provider ends the access tokens too; the access token where
       there is no other; null: there is nothing to do */
    struct slice token;
};

void revocation_start(struct revocations *revocations, const struct revocation *revocation);
