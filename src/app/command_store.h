// SPDX-License-Identifier: MIT
#pragma once

#include "app/config.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/metrics.h"
#include "io/loop.h"
#include "io/work.h"
#include "store/accounts_backend.h"

/* What commands that work on the account store have around it: a loop of their own, and the store
 * opened beside whoever serves from it. */
struct command_store {
    struct clock clock;
    struct metrics metrics;
    struct loop loop;
    struct log *log;
    struct work *work;
    struct accounts_backend *backend; /* NULL: someone else has taken it over */
};

/* False: said on stderr why ("latchkey <command>: …"), and nothing is open. */
bool command_store_open(struct command_store *store, const struct config *config,
                        const char *command);
/* Runs the loop to its end. */
void command_store_close(struct command_store *store);
