// SPDX-License-Identifier: MIT
#include "app/config_text.h"

#include <string.h>

#include "app/config_table.h"
#include "app/config_value.h"

enum { LINE_COLUMNS = 96, INDENT = 6 };

/* Breaks at blanks. */
static void append_wrapped(struct buf *out, struct slice text) {
    size_t column = 0;
    struct slice word;
    while (slice_split(&text, ' ', &word)) {
        if (column == 0 || column + 1 + word.len > LINE_COLUMNS) {
            buf_append(out, column > 0 ? SLICE("\n") : SLICE(""));
            BUF_LIT(out, "      ");
            column = INDENT;
        } else {
            buf_append_char(out, ' ');
            column++;
        }
        buf_append(out, word);
        column += word.len;
    }
    buf_append_char(out, '\n');
}

static void help_var(struct buf *out, const struct config_var *var) {
    char at[1024];
    struct buf text;
    BUF_LIT(out, "  ");
    buf_append(out, slice_str(var->name));
    buf_append_char(out, '\n');
    buf_init_fixed(&text, at, sizeof at);
    append_wrapped(out, slice_str(var->help));
    BUF_LIT(&text, "(");
    config_value_form(var, &text);
    if (var->preset != NULL) {
        BUF_LIT(&text, "; default ");
        buf_append(&text, slice_str(var->preset));
    }
    BUF_LIT(&text, ")");
    append_wrapped(out, buf_slice(&text));
}

void config_text_help(struct buf *out) {
    BUF_LIT(out, "Settings are environment variables; each also as NAME_FILE, which names a file "
                 "that holds the value.\nLists are separated by commas. An empty value counts as "
                 "not set.\n");
    for (size_t i = 0; i < config_table_count; i++) {
        buf_append_char(out, '\n');
        buf_append(out, slice_str(config_table[i].title));
        BUF_LIT(out, ":\n");
        for (size_t k = 0; k < config_table[i].count; k++) {
            help_var(out, &config_table[i].vars[k]);
        }
    }
}

/* A cell of a table, where a bar would end it. */
static void append_cell(struct buf *out, struct slice text) {
    for (size_t i = 0; i < text.len; i++) {
        buf_append(out, text.at[i] == '|' ? SLICE("\\|") : slice_make(&text.at[i], 1));
    }
}

static void markdown_var(struct buf *out, const struct config_var *var) {
    char at[1024];
    struct buf text;
    buf_init_fixed(&text, at, sizeof at);
    BUF_LIT(out, "| `");
    buf_append(out, slice_str(var->name));
    BUF_LIT(out, "` | ");
    config_value_form(var, &text);
    append_cell(out, buf_slice(&text));
    BUF_LIT(out, " | ");
    if (var->preset != NULL) {
        BUF_LIT(out, "`");
        append_cell(out, slice_str(var->preset));
        BUF_LIT(out, "`");
    }
    BUF_LIT(out, " | ");
    buf_clear(&text);
    append_cell(out, slice_str(var->help));
    BUF_LIT(out, " |\n");
}

void config_text_markdown(struct buf *out) {
    BUF_LIT(out,
            "# Configuration\n\n"
            "<!-- Generated from the table in src/app/config_table.c: "
            "`latchkey --help-markdown > docs/configuration.md` -->\n\n"
            "Settings are environment variables. Each can also be given as `NAME_FILE`, the path "
            "of a file that\nholds the value (at most 64 KiB; one newline at its end is dropped); "
            "setting both is an error. Lists\nare separated by commas. An empty value counts as "
            "not set. Seconds may have up to three decimals.\n\n"
            "`latchkey check` reads all of it, starts nothing, and says everything that is wrong "
            "or unwise at once.\nAn unknown `LATCHKEY_` name is an error (but for "
            "`LATCHKEY_PORT*` and `LATCHKEY_SERVICE_*`, which\nKubernetes injects), an unknown "
            "`AUDIBLE_` name a warning.\n");
    for (size_t i = 0; i < config_table_count; i++) {
        BUF_LIT(out, "\n## ");
        buf_append(out, slice_str(config_table[i].title));
        BUF_LIT(out, "\n\n| name | value | default | what it is |\n| --- | --- | --- | --- |\n");
        for (size_t k = 0; k < config_table[i].count; k++) {
            markdown_var(out, &config_table[i].vars[k]);
        }
    }
}
