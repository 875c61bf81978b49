// SPDX-License-Identifier: MIT
#include "app/notes.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { NOTES_MEMORY_BYTES = NOTES_MAX * (NOTE_TEXT_BYTES + 128) };

void notes_init(struct notes *notes) {
    notes->count = 0;
    notes->problem_count = 0;
    arena_init(&notes->memory, NOTES_MEMORY_BYTES);
}

void notes_fini(struct notes *notes) {
    arena_fini(&notes->memory);
    notes->count = 0;
}

static void add(struct notes *notes, bool is_problem, const char *name, const char *text) {
    notes->problem_count += is_problem ? 1 : 0;
    if (notes->count == NOTES_MAX) {
        return;
    }
    struct slice name_copy = arena_copy(&notes->memory, slice_str(name));
    struct slice text_copy = arena_copy(&notes->memory, slice_str(text));
    if (!slice_is_null(name_copy) && !slice_is_null(text_copy)) {
        notes->at[notes->count++] = (struct note){is_problem, name_copy.at, text_copy.at};
    }
}

void notes_problem(struct notes *notes, const char *name, const char *format, ...) {
    char text[NOTE_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    add(notes, true, name, text);
}

void notes_warning(struct notes *notes, const char *name, const char *format, ...) {
    char text[NOTE_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    add(notes, false, name, text);
}

bool notes_has_problem(const struct notes *notes, const char *name) {
    for (size_t i = 0; i < notes->count; i++) {
        struct slice noted = slice_str(notes->at[i].name);
        if (notes->at[i].is_problem && slice_starts(noted, slice_str(name))) {
            struct slice rest = slice_from(noted, strlen(name));
            if (rest.len == 0 || slice_eq(rest, SLICE("_FILE"))) {
                return true;
            }
        }
    }
    return false;
}

void notes_log(const struct notes *notes, struct log *log) {
    for (size_t i = 0; notes != NULL && i < notes->count; i++) {
        LOG(log, LOG_WARNING, "config_warning", SLICE_NULL,
            log_text("variable", slice_str(notes->at[i].name)),
            log_text("text", slice_str(notes->at[i].text)));
    }
}
