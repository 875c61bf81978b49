// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/log.h"

/* What there is to say about a configuration: every problem and every warning, each of one
 * variable. Bounded; past the cap only the count of problems grows. A note never holds a secret. */
struct note {
    bool is_problem;
    const char *name; /* of the variable */
    const char *text; /* what is wrong, and what would be right */
};

enum { NOTES_MAX = 128, NOTE_TEXT_BYTES = 512 };

struct notes {
    struct note at[NOTES_MAX];
    size_t count;
    size_t problem_count;
    struct arena memory;
};

void notes_init(struct notes *notes);
void notes_fini(struct notes *notes);

/* Copies; a text past NOTE_TEXT_BYTES is cut. */
__attribute__((format(printf, 3, 4))) void notes_problem(struct notes *notes, const char *name,
                                                         const char *format, ...);
__attribute__((format(printf, 3, 4))) void notes_warning(struct notes *notes, const char *name,
                                                         const char *format, ...);

/* The variable, or its NAME_FILE, has a problem already. */
bool notes_has_problem(const struct notes *notes, const char *name);

/* The warnings, a line each. NULL: there are none. */
void notes_log(const struct notes *notes, struct log *log);
