// SPDX-License-Identifier: MIT
#pragma once

#include "app/command_line.h"

/* migrate [--prune] FROM TO: every account of one store into another, read back and compared. */
int command_migrate_run(const struct command_line *line);
