// SPDX-License-Identifier: MIT
#pragma once

#include "base/clock.h"
#include "io/loop.h"
#include "store/accounts.h"

/* A loop with the accounts of one SQLite file on it, and calls that wait. */
struct accounts_rig {
    struct clock clock;
    struct metrics metrics;
    struct loop loop;
    struct work *work;
    struct fernet_keys *keys;
    struct log *log;
    struct accounts *accounts;
    char problem[ACCOUNTS_PROBLEM_BYTES];
};

struct accounts_rig_opts {
    const char *path;
    const char *keys; /* NULL: none */
    size_t cache_max;
    int log_fd; /* 0: nowhere */
};

/* Not RC_OK: nothing is open, but `problem` and the loop are to be looked at, and
 * accounts_rig_close called all the same. */
enum rc accounts_rig_open(struct accounts_rig *rig, const struct accounts_rig_opts *opts);
/* RC_OK: nothing was left open. */
enum rc accounts_rig_close(struct accounts_rig *rig);

/* A key for tests. */
#define ACCOUNTS_RIG_KEY "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
#define ACCOUNTS_RIG_OTHER_KEY "ZHVtbXkta2V5LWZvci10ZXN0cy0tMzItYnl0ZXMtb2s="

/* Wait for the result. */
enum rc accounts_rig_link(struct accounts_rig *rig, const char *user_id, const char *access_token,
                          const char *refresh_token);
enum rc accounts_rig_ping(struct accounts_rig *rig);

/* What a call brought, copied. "" where there was none. */
struct accounts_rig_result {
    enum rc rc;
    int calls; /* of done */
    bool connected;
    bool sealed;
    int64_t synced_ms;
    char audible_user_id[256];
    char access_token[1024];
    char refresh_token[1024];
    char sealed_refresh[1024];
};
typedef void accounts_rig_call(struct accounts *accounts, struct accounts_op *op,
                               struct slice user_id, void (*done)(struct accounts_op *op));

/* `call`: accounts_get, accounts_open or accounts_remove. */
struct accounts_rig_result accounts_rig_ask(struct accounts_rig *rig, accounts_rig_call *call,
                                            const char *user_id);

/* An operation that is under way, for tests with several. */
struct accounts_rig_op {
    struct accounts_op op;
    struct accounts_rig_result result;
};
void accounts_rig_start_link(struct accounts_rig *rig, struct accounts_rig_op *op,
                             const char *user_id, const char *access_token);
void accounts_rig_start(struct accounts_rig *rig, struct accounts_rig_op *op,
                        accounts_rig_call *call, const char *user_id);
