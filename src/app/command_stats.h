// SPDX-License-Identifier: MIT
#pragma once

#include "app/command_line.h"

/* stats: accounts by status, tokens by the key that opens them; beside a running server or without
 * one. */
int command_stats_run(const struct command_line *line);
