// SPDX-License-Identifier: MIT
#pragma once

#include <stdint.h>

#include "base/json.h"
#include "provider/provider.h"

/* The provider's token endpoint (RFC 6749 sections 4.1.3, 5 and 6), authenticated in the body
 * (client_secret_post). */

/* Borrowed until the call returns. */
struct token_exchange {
    struct slice code;
    struct slice verifier; /* RFC 7636 section 4.5 */
    struct slice redirect_uri;
    struct slice user_id;    /* for the log */
    struct slice request_id; /* for the log */
    int64_t timeout_ms;
};

/* The caller's until `done` is called; results are borrowed during `done`. */
struct token_op {
    void (*done)(struct token_op *op);
    /* RC_OK; RC_CODE_REFUSED (the provider refuses the code); RC_PROVIDER_UNAVAILABLE (it refuses
       us, can't be reached, or answers nonsense); RC_CANCELED (before anything was sent) */
    enum rc rc;
    struct slice access_token;
    struct slice refresh_token;    /* null: none */
    struct slice provider_user_id; /* null: none */
    int64_t expires_in_s;
    /* ours */
    const struct provider *provider;
    struct upstream_op call;
    struct json *answer;
    struct slice user_id;
    struct slice request_id;
};

/* The slices user_id and request_id must live until `done`. */
void token_exchange(const struct provider *provider, struct token_op *op,
                    const struct token_exchange *exchange, void (*done)(struct token_op *op));

/* Stops a call whose code has not been sent yet; once it is sent the code is spent, and the call
 * goes on. `done` follows in any case. */
void token_cancel(struct token_op *op);
