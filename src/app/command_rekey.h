// SPDX-License-Identifier: MIT
#pragma once

#include "app/command_line.h"

/* Every stored token under the first key of AUDIBLE_TOKEN_ENCRYPTION_KEY, beside a running server
 * or without one. Audit lines go to stdout, progress to stderr. */
int command_rekey_run(const struct command_line *line);
