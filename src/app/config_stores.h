// SPDX-License-Identifier: MIT
#pragma once

#include "app/config.h"
#include "app/notes.h"

/* What there is to say about where states, accounts, rate limits and users are kept, each by itself
 * and together. */
void config_stores_check(const struct config *config, struct notes *notes);
