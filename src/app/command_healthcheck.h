// SPDX-License-Identifier: MIT
#pragma once

#include "app/command_line.h"

/* `latchkey healthcheck`: asks the server of this configuration for /healthz; for a container. */
int command_healthcheck_run(const struct command_line *line);
