// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>

#include "app/config_table.h"
#include "app/notes.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/slice.h"

/* One value of a variable: its text, and where it goes. */
struct config_value {
    const struct config_var *var;
    struct slice text;    /* not empty */
    struct arena *memory; /* of copies; they live as long as the configuration */
    void *field;          /* of the type that var->type says; zeroed */
    char problem[NOTE_TEXT_BYTES];
};

/* True: the field is filled. False: `problem` says what is wrong and what would be right, in words
 * that follow the variable's name. Rules that need other variables are app/config_check's. */
bool config_value_parse(struct config_value *value);

/* Appends what a value looks like: "a whole number from 1 to 10000". */
void config_value_form(const struct config_var *var, struct buf *out);

/* Reads "1.5" as 1500; at most three decimals. False when it is not one, or above `max_ms`. */
bool config_value_seconds(struct slice text, int64_t max_ms, int64_t *out_ms);
