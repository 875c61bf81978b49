// SPDX-License-Identifier: MIT
#pragma once

#include "kit/leases_stub.h"
#include "kit/provider_rig.h"
#include "kit/scratch.h"
#include "link/fresh_token.h"

/* Several processes that share accounts and leases, played on one loop beside a simulated provider:
 * each has fresh tokens of its own. One account. A failed expectation fails the test, and so does a
 * wait of more than WORLD_WAIT_MS. */
#define WORLD_USER "user-1"
#define WORLD_KEY "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
enum {
    WORLD_PROCESSES = 3,
    WORLD_ASKS = 50, /* of each */
    WORLD_PATIENCE_MS = 10 * 1000,
    WORLD_WAIT_MS = 20 * 1000,
};

struct world_process {
    struct leases *leases;
    struct revocations *revocations;
    struct fresh_tokens *tokens;
    bool is_closed;
};

struct world_asked {
    struct fresh_token op;
    struct world *world;
    int calls;
    bool is_slow; /* its owner takes long to hear it */
    bool asks_again;
    enum rc rc;
    char token[RIG_TEXT_BYTES];
    char refused[RIG_TEXT_BYTES];
};

struct world {
    struct rig *rig;
    struct scratch folder;
    struct fernet_keys *keys;
    struct accounts *accounts;
    struct leases_stub stub;
    struct rng rng;
    struct world_process processes[WORLD_PROCESSES];
    struct world_asked asked[WORLD_PROCESSES * WORLD_ASKS];
    size_t asked_count;
    size_t answered; /* of them */
    struct loop_timer watch;
    bool (*is_time)(struct world *world);
    int64_t until_ms;
    const struct world_asked *watched; /* of world_watched_is_answered */
    struct accounts_op account;
    int account_calls;
    char sync_error[64]; /* what it showed */
};

void world_open(struct world *world);
/* `keys` NULL: tokens are stored in plain. */
void world_open_with(struct world *world, const struct rig_opts *opts, const char *keys);
/* All that was asked is answered. Nothing may stay. */
void world_close(struct world *world);
/* Before it, where a test looks at what is left of them. */
void world_close_processes(struct world *world);

/* -- the account -- */

/* With what the provider gave; the access token ends in so many ms. */
void world_link(struct world *world, int64_t left_ms);
void world_remove(struct world *world);
/* As a rekey does it. */
void world_seal_anew(struct world *world);
void world_expect_sync_error(struct world *world, const char *error); /* "": none */

/* -- asking for a token -- */

/* `refused`: an access token that the provider answered with 401; NULL: none. */
struct world_asked *world_ask(struct world *world, int process, const char *refused,
                              int64_t patience_ms);
void world_ask_all(struct world *world, int each);
/* The first process asks the provider, which keeps it waiting until simprovider_release. */
struct world_asked *world_ask_held(struct world *world);
/* Of all that were asked since the last time. */
void world_expect_all(struct world *world, enum rc rc);
/* Asks for one more, and expects. */
void world_expect_one(struct world *world, int process, enum rc rc);

/* The provider answers the next `count` refreshes so; 0: all. */
void world_refuse(struct world *world, int status, const char *text, unsigned count);
int64_t world_refreshes(struct world *world); /* that have reached it */

/* -- time -- */

void world_advance_ms(struct world *world, int64_t ms);
void world_wait_until(struct world *world, bool (*is_time)(struct world *world));
bool world_is_answered(struct world *world); /* all that was asked */
bool world_watched_is_answered(struct world *world);
bool world_holds_nothing(struct world *world); /* nobody has the lease */
