// SPDX-License-Identifier: MIT
#include "app/config_text.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/config_table.h"
#include "kit/leaks.h"

enum { TEXT_BYTES_MAX = 256 * 1024 };

static void assert_names_all(const struct buf *text) {
    for (size_t i = 0; i < config_table_count; i++) {
        for (size_t k = 0; k < config_table[i].count; k++) {
            const struct config_var *var = &config_table[i].vars[k];
            cr_assert_not_null(memmem(text->at, text->len, var->name, strlen(var->name)), "%s",
                               var->name);
            cr_assert_not_null(var->help, "%s", var->name);
        }
    }
}

Test(config_text, help_names_every_variable_in_lines_of_a_terminal) {
    struct buf help;
    buf_init(&help, TEXT_BYTES_MAX);
    config_text_help(&help);
    cr_assert(buf_ok(&help));
    assert_names_all(&help);
    struct slice rest = buf_slice(&help);
    struct slice line;
    while (slice_split(&rest, '\n', &line)) {
        cr_assert_leq(line.len, 110, "%.*s", SLICE_ARGS(line));
    }
    buf_fini(&help);
    CHECK_LEAKS();
}

/* `latchkey --help-markdown > docs/configuration.md` brings it up to date. */
Test(config_text, the_documentation_is_up_to_date) {
    static char text[TEXT_BYTES_MAX];
    struct buf wanted;
    FILE *file = fopen(TEST_SOURCE_DIR "/docs/configuration.md", "r");
    cr_assert_not_null(file, "docs/configuration.md is missing");
    size_t length = fread(text, 1, sizeof text, file);
    fclose(file);
    buf_init(&wanted, TEXT_BYTES_MAX);
    config_text_markdown(&wanted);
    cr_assert(buf_ok(&wanted));
    assert_names_all(&wanted);
    cr_assert(slice_eq(buf_slice(&wanted), slice_make(text, length)),
              "docs/configuration.md is not what the table says: run "
              "latchkey --help-markdown > docs/configuration.md");
    buf_fini(&wanted);
    CHECK_LEAKS();
}

/* A row of a table has as many cells as its head: no bar in a text breaks it. */
Test(config_text, the_documentations_tables_are_whole) {
    struct buf text;
    buf_init(&text, TEXT_BYTES_MAX);
    config_text_markdown(&text);
    struct slice rest = buf_slice(&text);
    struct slice line;
    while (slice_split(&rest, '\n', &line)) {
        size_t bars = 0;
        for (size_t i = 0; i < line.len; i++) {
            bars += line.at[i] == '|' && (i == 0 || line.at[i - 1] != '\\') ? 1 : 0;
        }
        cr_assert(bars == 0 || bars == 5, "%.*s", SLICE_ARGS(line));
    }
    buf_fini(&text);
    CHECK_LEAKS();
}
