// SPDX-License-Identifier: MIT
#include "app/command_line.h"

#include <stdio.h>
#include <string.h>

#include "app/config_table.h"
#include "base/slice.h"

/* A setting ("SECRET_KEY=…"), or an option that is named after a secret. */
static bool is_setting(struct slice argument) {
    static const char *const words[] = {"secret", "password", "key", "token"};
    struct slice name = slice_head(argument, slice_find(argument, '='));
    while (name.len > 0 && name.at[0] == '-') {
        name = slice_from(name, 1);
    }
    if (config_table_find(name) != NULL) {
        return true;
    }
    for (size_t i = 0; i < name.len; i++) {
        for (size_t k = 0; k < sizeof words / sizeof words[0]; k++) {
            struct slice word = slice_str(words[k]);
            if (slice_ieq(slice_head(slice_from(name, i), word.len), word)) {
                return true;
            }
        }
    }
    return false;
}

int command_line_refuse(const struct command_line *line, const char *argument) {
    struct slice text = slice_str(argument);
    struct slice name = slice_head(text, slice_find(text, '='));
    const char *command = line->argv[0];
    if (is_setting(text)) {
        fprintf(stderr,
                "latchkey %s: settings and secrets are not taken from the command line, which "
                "every user of this machine can read; set the variable, or NAME_FILE, in the "
                "environment\n",
                command);
    } else if (text.len > 2 && slice_starts(text, SLICE("--")) && slice_is_printable(name)) {
        fprintf(stderr,
                "latchkey %s: the option %.*s is unknown, lacks its value or has one too many; "
                "latchkey --help lists the options\n",
                command, SLICE_ARGS(slice_head(name, 40)));
    } else {
        fprintf(stderr, "latchkey %s: there is an argument too many; see latchkey --help\n",
                command);
    }
    return COMMAND_USAGE;
}

int command_line_none(const struct command_line *line) {
    return line->argc < 2 ? COMMAND_GOOD : command_line_refuse(line, line->argv[1]);
}

void command_line_say(FILE *to, const struct notes *notes) {
    for (size_t i = 0; i < notes->count; i++) {
        const struct note *note = &notes->at[i];
        fprintf(to, "%s: %s: %s\n", note->is_problem ? "error" : "warning", note->name, note->text);
    }
    if (notes->problem_count > NOTES_MAX) {
        fprintf(to, "error: there are %zu errors; the first are said here\n", notes->problem_count);
    }
}

int command_line_config(const struct command_line *line, struct config **out) {
    struct notes notes;
    notes_init(&notes);
    enum rc rc = config_read(line->env, &notes, out);
    if (rc != RC_OK) {
        command_line_say(stderr, &notes);
    }
    notes_fini(&notes);
    return rc == RC_OK ? COMMAND_GOOD : COMMAND_USAGE;
}
