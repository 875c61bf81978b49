// SPDX-License-Identifier: MIT
#pragma once

#include "app/config.h"

#define GOOD_SECRET "SECRET_KEY=c0ffee5ab1e5f00dba11ad0123456789"
#define GOOD_KEY "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="

/* One reading of a configuration: what came of it, and what was said. */
struct reading {
    struct notes notes;
    struct config *config;
    enum rc rc;
};

/* Settings over a good secret, where they bring none of their own. NULL at the end. */
struct reading reading_of(const char *const *settings);
#define READ(...) reading_of((const char *const[]){__VA_ARGS__, NULL})
void reading_free(struct reading *reading);

/* A note of `name` with `text` in it. */
const struct note *find_note(const struct reading *reading, const char *name, const char *text,
                             bool is_problem);

void log_notes(const struct reading *reading);

/* These fail the test, with `label`; all but the last free the reading. */
void assert_refused(struct reading reading, const char *name, const char *says, const char *label);
void assert_warned(struct reading reading, const char *name, const char *says, const char *label);
struct reading assert_good(struct reading reading, const char *label);
