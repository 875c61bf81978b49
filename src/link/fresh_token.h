// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/rc.h"
#include "link/revocation.h"
#include "provider/provider.h"
#include "store/accounts.h"
#include "store/leases.h"

/* The only way to an access token (RFC 6749 section 6). It is refreshed when it is expired or
 * within FRESH_TOKEN_AHEAD_MS of it, or when the provider has refused it; and so that no account is
 * lost:
 *
 * - A user has one flight at a time; whoever comes while it is under way waits for it in its list.
 * - What the refresh brought is committed before anyone gets the new access token, under the fence
 *   of the stored refresh token that it started from. A refresh token is sent once.
 * - `invalid_grant` is believed only if the record, read again, still holds the token that was
 * sent.
 * - A disconnect in between wins: what was brought is revoked, the account does not come back.
 * - A rotated token that could not be stored is kept and stored later; nobody gets it until then.
 * - After a failure no refresh of that user starts for FRESH_TOKEN_PAUSE_MS.
 * - An access token that still works is served when refreshing ahead of time fails.
 *
 * Where other processes have the same accounts, all of this holds for all of them together: nothing
 * is sent without the user's lease (store/leases.h), under which the record is read once more, and
 * which is held until what the refresh brought is stored. Who finds it taken serves the stored
 * access token where that still works, else looks again now and then. What a lease can't promise
 * the fence does. */
struct fresh_tokens;

/* last_sync_error where only the user can help, by linking again. */
#define FRESH_TOKEN_REAUTHORIZE_TEXT "reauthorization_required"
#define FRESH_TOKEN_REAUTHORIZE SLICE(FRESH_TOKEN_REAUTHORIZE_TEXT)

enum { FRESH_TOKEN_AHEAD_MS = 60 * 1000, FRESH_TOKEN_PAUSE_MS = 2 * 1000 };

struct fresh_tokens_opts {
    struct loop *loop;
    struct provider *provider;
    struct accounts *accounts;
    struct leases *leases; /* NULL: no other process has these accounts */
    struct log *log;
    struct metrics *metrics;
    struct revocations *revocations;
    int64_t refresh_timeout_ms; /* of the provider's answer */
    size_t flights_max;         /* users; past it RC_OVERLOADED */
};

struct fresh_tokens *fresh_tokens_new(const struct fresh_tokens_opts *opts);

/* Nobody waits any more. `closed` runs, on a later turn, when no refresh is under way: one that was
 * sent must be stored. What could not be stored by then is given up. */
void fresh_tokens_close(struct fresh_tokens *tokens, void (*closed)(void *owner), void *owner);

/* The caller's until `done` is called. What the caller sets is borrowed until then. */
struct fresh_token {
    void (*done)(struct fresh_token *op);
    /* set by the caller */
    struct slice user_id;
    struct slice request_id;
    struct slice client;  /* address, for the audit */
    struct slice refused; /* an access token that the provider answered with 401; null: none */
    int64_t deadline_ms;  /* loop_now_ms */
    /* RC_OK; RC_NOT_CONNECTED; RC_PROVIDER_UNAVAILABLE (also: only the user can help, by linking
       again); RC_STORAGE_UNAVAILABLE; RC_NOT_CONFIGURED; RC_OVERLOADED; RC_CANCELED */
    enum rc rc;
    struct slice access_token;   /* borrowed during `done` */
    struct slice sealed_refresh; /* the fence of a mark; borrowed during `done` */
    struct slice audible_user_id;
    /* ours */
    struct list node;
    struct loop_task task;
    struct flight *flight;
};

void fresh_token_get(struct fresh_tokens *tokens, struct fresh_token *op,
                     void (*done)(struct fresh_token *op));

/* `done` follows on a later turn with RC_CANCELED, or with the result if it was there already. The
 * flight goes on without it. */
void fresh_token_cancel(struct fresh_token *op);
