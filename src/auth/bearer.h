// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "auth/jwks_source.h"
#include "auth/limiter.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rc.h"
#include "base/slice.h"
#include "crypto/hash.h"
#include "crypto/jwt.h"
#include "io/loop.h"
#include "io/work.h"

/* From an Authorization header to the caller (RFC 6750, 7519). Tokens are verified under
 * SECRET_KEY, at once, or under a published key, on another thread. Verified ones are remembered in
 * a bounded table, keyed by the whole token; expiry, and that its published key is still one, are
 * checked at every use. */
struct bearer;

/* Who calls. `sub` is borrowed: from the table until the next call of bearer_check, or from the
 * bearer_op. */
struct caller {
    struct slice sub;
    bool is_active; /* the claim is_active isn't false */
    bool is_admin;
    bool has_premium; /* subscription_tier is premium or family */
};

struct bearer_opts {
    enum hash_hmac_alg alg;
    struct slice secret;     /* SECRET_KEY; null: none */
    struct slice secret_old; /* null: none */
    struct slice issuer;     /* null: not checked */
    struct slice audience;   /* null: not checked */
    int64_t leeway_s;
    size_t cache_max; /* tokens */
    struct log *log;
    /* of published keys; without a source the others are not looked at */
    struct jwks_source *source;
    struct work_lane *lane; /* verifies */
    struct loop *loop;
    struct metrics *metrics;
};

struct bearer *bearer_new(const struct bearer_opts *opts); /* NULL: the crypto library failed */
void bearer_free(struct bearer *bearer);                   /* when no bearer_op is under way */

/* Other secrets from now on (null: none). Tokens that were verified under one that is no longer
 * there are forgotten. RC_CRYPTO: the old ones stay. */
enum rc bearer_set_secrets(struct bearer *bearer, struct slice secret, struct slice secret_old);

/* False while published keys are configured and none have ever come. */
bool bearer_is_ready(const struct bearer *bearer);

/* RC_OK; RC_NOT_AUTHENTICATED (no header or another scheme); RC_BAD_CREDENTIALS; RC_UNVERIFIED: it
 * may be signed with a published key, ask bearer_verify. Logs why, never the token. */
enum rc bearer_check(struct bearer *bearer, struct slice authorization, int64_t now_s,
                     struct slice request_id, struct caller *out);

/* RC_OK or RC_INACTIVE_USER, which it logs. Apart from the token, as a caller's activity may come
 * from elsewhere (auth/users). */
enum rc bearer_check_active(struct bearer *bearer, const struct caller *caller,
                            struct slice request_id);

/* Borrowed until `done`. */
struct bearer_request {
    struct slice authorization;
    struct slice request_id;
    struct slice client; /* its address, "" for none: failed signatures are limited by it */
    int64_t deadline_ms; /* loop_now_ms, of the wait for a key that is not there yet */
};

/* What bearer_check left open. Everything that is cheap comes first: form, claims, expiry, the key,
 * the address's failures. Then the signature, in the lane. */
struct bearer_op {
    void (*done)(struct bearer_op *op);
    /* the result: as of bearer_check, or RC_RATE_LIMITED (too many signatures from this address
       were wrong), RC_OVERLOADED, RC_STORAGE_UNAVAILABLE (no set of keys has ever come),
       RC_CANCELED */
    enum rc rc;
    struct caller caller;          /* with RC_OK */
    struct limiter_answer limited; /* with RC_RATE_LIMITED */
    /* ours */
    struct bearer *bearer;
    struct bearer_request request;
    struct slice token;
    struct jwt_published published;
    struct jwt jwt;
    struct jwks_source_set *set;
    const struct jwks_key *key; /* the first that fits; then the one that verified, or NULL */
    char sub[LIMIT_USER_ID_BYTES];
    bool has_waited;
    bool is_canceled;
    struct jwks_wait wait;
    struct work_op work;
    struct loop_task task;
};
void bearer_verify(struct bearer *bearer, struct bearer_op *op,
                   const struct bearer_request *request, void (*done)(struct bearer_op *op));
/* Ends a wait for a key; a signature that is being checked is waited for. */
void bearer_cancel(struct bearer_op *op);
