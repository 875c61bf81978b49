// SPDX-License-Identifier: MIT
#pragma once

#include "app/config.h"
#include "app/notes.h"

/* The rules that no single value shows: what is required, what contradicts another variable, what
 * this build does not do yet (problems), and what is legal but unwise (warnings). */
void config_check(const struct config *config, struct notes *notes);

/* What this build does not do yet with the variable, NULL where nothing is missing. */
const char *config_check_limit(const char *name);
