// SPDX-License-Identifier: MIT
#pragma once

#include "app/config.h"
#include "app/notes.h"

/* The rules that no single value shows: what is required, what contradicts another variable
 * (problems), and what is legal but unwise (warnings). */
void config_check(const struct config *config, struct notes *notes);
