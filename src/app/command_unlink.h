// SPDX-License-Identifier: MIT
#pragma once

#include "app/command_line.h"

/* unlink --sub ID: what POST disconnect does, by the operator: the account is deleted, and the
 * provider is told where it has a revocation endpoint. Beside a running server or without one. */
int command_unlink_run(const struct command_line *line);
