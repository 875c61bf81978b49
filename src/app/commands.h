// SPDX-License-Identifier: MIT
#pragma once

/* The program's front: picks a command, reads the configuration where it needs one. Returns the
 * exit code: 0 good, 1 failed, 2 usage or configuration. `env` is "NAME=value", NULL at the end. */
int commands_run(int argc, char **argv, char *const *env);
