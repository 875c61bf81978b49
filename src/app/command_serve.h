// SPDX-License-Identifier: MIT
#pragma once

#include "app/command_line.h"

int command_serve_run(const struct command_line *line);

/* What `serve` starts where LATCHKEY_WORKERS is above 1: "worker 2/4 1", the second of four,
 * with one address. */
int command_worker_run(const struct command_line *line);
