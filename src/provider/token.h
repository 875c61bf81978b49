// SPDX-License-Identifier: MIT
#pragma once

#include <stdint.h>

#include "base/json.h"
#include "provider/call.h"
#include "provider/provider.h"

/* The provider's token endpoint (RFC 6749 sections 4.1.3, 5 and 6) and its revocation endpoint (RFC
 * 7009), authenticated in the body (client_secret_post). Each request is sent at most once, on a
 * new or a reused connection: a code or a refresh token may have been used by the first. */

/* Borrowed until the call returns, but for the two ids, which are logged: until `done`. */
struct token_exchange {
    struct slice code;
    struct slice verifier; /* RFC 7636 section 4.5 */
    struct slice redirect_uri;
    struct slice user_id;
    struct slice request_id;
    int64_t timeout_ms;
};

/* As above. A refresh token, to use or to revoke. */
struct token_refresh {
    struct slice refresh_token;
    struct slice user_id;
    struct slice request_id;
    int64_t deadline_ms; /* loop_now_ms */
};

/* The caller's until `done` is called; results are borrowed during `done`. */
struct token_op {
    void (*done)(struct token_op *op);
    /* RC_OK; RC_CODE_REFUSED or RC_GRANT_REFUSED (the provider refuses the code, the refresh
       token); RC_PROVIDER_UNAVAILABLE (it refuses us, can't be reached, or answers nonsense);
       RC_OVERLOADED (too many calls wait; nothing was sent); RC_CANCELED (before anything was sent)
     */
    enum rc rc;
    bool is_refusing_us; /* with RC_PROVIDER_UNAVAILABLE: the client id or secret is wrong, or may
                            not do this: for the operator to put right */
    bool was_sent;       /* the provider may have used the code or the refresh token, whatever rc */
    /* of an exchange or a refresh */
    struct slice access_token;
    struct slice refresh_token;    /* null: none; after a refresh: the old one stays */
    struct slice provider_user_id; /* null: none */
    int64_t expires_in_s;
    /* ours */
    struct provider_call call;
    struct json_document *answer;
    enum rc refused; /* what a refusal of what was sent is called */
};

void token_exchange(struct provider *provider, struct token_op *op,
                    const struct token_exchange *exchange, void (*done)(struct token_op *op));

void token_refresh(struct provider *provider, struct token_op *op,
                   const struct token_refresh *refresh, void (*done)(struct token_op *op));

/* RC_OK: the provider says that it works no more (it says so of unknown ones too). Only where
 * provider->revoke_url is set. */
void token_revoke(struct provider *provider, struct token_op *op,
                  const struct token_refresh *refresh, void (*done)(struct token_op *op));

/* Stops a call of which nothing has been sent yet; once it is sent the code or token is spent, and
 * the call goes on. `done` follows in any case. */
void token_cancel(struct token_op *op);
