// SPDX-License-Identifier: MIT
#pragma once

#include "app/command_line.h"

/* backup FILE: a copy of the SQLite file as it is at one moment, beside a running server. */
int command_backup_run(const struct command_line *line);
