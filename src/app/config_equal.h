// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>

#include "app/config.h"
#include "app/config_table.h"

/* Whether the variable has the same value in both. */
bool config_equal(const struct config_var *var, const struct config *a, const struct config *b);
