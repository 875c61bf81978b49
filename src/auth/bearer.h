// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/rc.h"
#include "base/slice.h"
#include "crypto/hash.h"

/* From an Authorization header to the caller (RFC 6750, 7519). Verified tokens are remembered in a
 * bounded table, keyed by the whole token; expiry is checked at every use. */
struct bearer;

/* Who calls. `sub` is borrowed from the table until the next call of bearer_check. */
struct caller {
    struct slice sub;
    bool is_active; /* the claim is_active isn't false */
    bool is_admin;
    bool has_premium; /* subscription_tier is premium or family */
};

struct bearer_opts {
    enum hash_hmac_alg alg;
    struct slice secret;     /* SECRET_KEY */
    struct slice secret_old; /* null: none */
    struct slice issuer;     /* null: not checked */
    struct slice audience;   /* null: not checked */
    int64_t leeway_s;
    size_t cache_max; /* tokens */
    struct log *log;
};

struct bearer *bearer_new(const struct bearer_opts *opts); /* NULL: the crypto library failed */
void bearer_free(struct bearer *bearer);

/* RC_OK; RC_NOT_AUTHENTICATED (no header or another scheme); RC_BAD_CREDENTIALS;
 * RC_INACTIVE_USER. Logs why, never the token. */
enum rc bearer_check(struct bearer *bearer, struct slice authorization, int64_t now_s,
                     struct slice request_id, struct caller *out);
