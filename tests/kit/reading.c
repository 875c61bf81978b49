// SPDX-License-Identifier: MIT
#include "kit/reading.h"

#include <criterion/criterion.h>
#include <string.h>

struct reading reading_of(const char *const *settings) {
    struct reading reading;
    char *env[64];
    size_t count = 0;
    bool has_secret = false;
    for (size_t i = 0; settings[i] != NULL; i++) {
        env[count++] = (char *)(uintptr_t)settings[i];
        has_secret |= strncmp(settings[i], "SECRET_KEY=", 11) == 0 ||
                      strncmp(settings[i], "SECRET_KEY_FILE=", 16) == 0;
    }
    if (!has_secret) {
        env[count++] = (char *)(uintptr_t)GOOD_SECRET;
    }
    env[count] = NULL;
    notes_init(&reading.notes);
    reading.rc = config_read(env, &reading.notes, &reading.config);
    return reading;
}

void reading_free(struct reading *reading) {
    config_free(reading->config);
    notes_fini(&reading->notes);
}

const struct note *find_note(const struct reading *reading, const char *name, const char *text,
                             bool is_problem) {
    for (size_t i = 0; i < reading->notes.count; i++) {
        const struct note *note = &reading->notes.at[i];
        if (note->is_problem == is_problem && strcmp(note->name, name) == 0 &&
            strstr(note->text, text) != NULL) {
            return note;
        }
    }
    return NULL;
}

void log_notes(const struct reading *reading) {
    for (size_t i = 0; i < reading->notes.count; i++) {
        const struct note *note = &reading->notes.at[i];
        cr_log_error("%s: %s: %s", note->is_problem ? "error" : "warning", note->name, note->text);
    }
}

void assert_refused(struct reading reading, const char *name, const char *says, const char *label) {
    if (reading.rc == RC_OK || find_note(&reading, name, says, true) == NULL) {
        log_notes(&reading);
        cr_assert_fail("%s: wanted an error of %s that says \"%s\"", label, name, says);
    }
    cr_assert_null(reading.config);
    reading_free(&reading);
}

void assert_warned(struct reading reading, const char *name, const char *says, const char *label) {
    if (reading.rc != RC_OK || find_note(&reading, name, says, false) == NULL) {
        log_notes(&reading);
        cr_assert_fail("%s: wanted a warning of %s that says \"%s\"", label, name, says);
    }
    reading_free(&reading);
}

struct reading assert_good(struct reading reading, const char *label) {
    if (reading.rc != RC_OK) {
        log_notes(&reading);
        cr_assert_fail("%s: refused", label);
    }
    return reading;
}
