// SPDX-License-Identifier: MIT
#pragma once

#include <stdio.h>

#include "app/config.h"
#include "app/notes.h"

/* The arguments of one command: argv[0] is its name. */
struct command_line {
    int argc;
    char **argv;
    char *const *env;
};

enum command_exit { COMMAND_GOOD = 0, COMMAND_FAILED = 1, COMMAND_USAGE = 2 };

/* Says on stderr what is wrong with the arguments, without repeating a value: it may be a secret
 * that does not belong there. Returns COMMAND_USAGE. */
int command_line_refuse(const struct command_line *line, const char *argument);

/* COMMAND_GOOD where there are no arguments at all. */
int command_line_none(const struct command_line *line);

/* The configuration (config_free), for commands that only use it: warnings are not said. Problems
 * go to stderr, with COMMAND_USAGE. */
int command_line_config(const struct command_line *line, struct config **out);

/* "error: NAME: text" or "warning: …", a line each. */
void command_line_say(FILE *to, const struct notes *notes);
