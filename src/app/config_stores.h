// SPDX-License-Identifier: MIT
#pragma once

#include "app/config.h"
#include "app/notes.h"

/* What there is to say about where states, accounts, rate limits and users are kept, each by itself
 * and together. */
void config_stores_check(const struct config *config, struct notes *notes);

/* Of one URL of an account store, which `name` stands for in what is said. */
void config_stores_check_accounts(struct notes *notes, const char *name, struct slice url);
