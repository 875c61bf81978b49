// SPDX-License-Identifier: MIT
#pragma once

#include <uthash.h>

#include "base/limits.h"
#include "link/fresh_token.h"
#include "link/lease_keeper.h"
#include "link/record.h"
#include "link/waiters.h"
#include "provider/token.h"

/* One user's way to a fresh token (fresh_token.h has its rules). It lives from the first who asks
 * until nobody waits, nothing is to be stored and its pause is over. */
struct flight {
    const struct fresh_tokens_opts *opts;
    void (*ended)(struct flight *flight);
    void (*freed)(void *owner);
    void *owner;
    UT_hash_handle hh; /* the owner's */
    char user_id_at[LIMIT_USER_ID_BYTES];
    struct slice user_id;
    enum {
        FLIGHT_IDLE,    /* nothing under way */
        FLIGHT_READ,    /* the record is being read */
        FLIGHT_LEASE,   /* the right to refresh is being asked for */
        FLIGHT_CHECK,   /* is the record still the one that was read? */
        FLIGHT_REFRESH, /* the provider is being asked */
        FLIGHT_STORE,   /* what it gave is being committed */
        FLIGHT_BELIEVE, /* it refused the token: is it still the one that is stored? */
        FLIGHT_MARK,    /* what became of it is being noted */
        FLIGHT_DELIVER, /* the result is being handed out */
    } step;
    bool is_closing;
    struct waiters waiters;
    struct loop_timer timer; /* of the first deadline and all the pauses */
    int64_t store_at_ms;     /* 0: no store waits */
    int64_t check_at_ms;     /* another process has the lease; 0: not that we knew */
    int64_t refresh_from_ms; /* no refresh starts before */
    enum rc failure;         /* of the last refresh */

    struct lease_keeper lease; /* unused where opts->leases is NULL */
    int64_t rest_note;         /* of its end: the failure that others are to share; 0: none */

    struct record record;
    struct accounts_op account;

    struct token_op refresh;
    struct secret new_access_token;
    struct secret new_refresh_token; /* at is NULL: the old one stays */
    int64_t new_expires_ms;
    bool is_refused;        /* the record's refresh token was, which is not believed yet */
    char *refused_fence;    /* of the refusal that is still to be noted; NULL: none */
    int64_t store_pause_ms; /* after the next failure */
    int64_t store_until_ms; /* then it is given up */
    char request_id_at[LIMIT_REQUEST_ID_BYTES];
    char client_at[64];
    struct slice request_id; /* of the one who began it, for its log lines */
    struct slice client;
};

/* `ended`: nobody waits any more, and nothing is under way: it is to be freed. */
struct flight *flight_new(const struct fresh_tokens_opts *opts, struct slice user_id,
                          void (*ended)(struct flight *flight));
/* `freed` runs on a later turn. */
void flight_free(struct flight *flight, void (*freed)(void *owner), void *owner);

void flight_join(struct flight *flight, struct fresh_token *op);
void flight_cancel(struct flight *flight, struct fresh_token *op);

/* Nobody waits any more: it ends as soon as no refresh is under way. */
void flight_close(struct flight *flight);
