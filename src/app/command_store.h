// SPDX-License-Identifier: MIT
#pragma once

#include "app/account_store.h"
#include "app/config.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "io/loop.h"
#include "io/work.h"
#include "store/accounts_backend.h"

/* What commands that work on an account store have around it: a loop of their own, and the store
 * opened beside whoever serves from it. A connection keeps the loop alive: a command that has what
 * it wants says loop_stop. */
struct command_store {
    struct clock clock;
    struct metrics metrics;
    struct loop loop;
    struct log *log;
    struct work *work;
    struct account_store account;
    struct accounts_backend *backend; /* NULL: someone else has taken it over, and closes it */
};

struct command_store_opts {
    const struct config *config;
    const char *command; /* its name, for what is said */
    struct slice url;    /* NUL-terminated; null: LATCHKEY_ACCOUNT_STORE's */
    int log_fd;          /* 0: stdout */
};

/* False: said on stderr why ("latchkey <command>: …"), and nothing is open. */
bool command_store_open(struct command_store *store, const struct command_store_opts *opts);
/* Runs the loop to its end. */
void command_store_close(struct command_store *store);
