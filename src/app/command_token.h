// SPDX-License-Identifier: MIT
#pragma once

#include "app/command_line.h"

/* `latchkey token`: prints a JWT signed with SECRET_KEY, for trying things out. */
int command_token_run(const struct command_line *line);
