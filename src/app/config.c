// SPDX-License-Identifier: MIT
#include "app/config.h"

#include <stdio.h>

#include "app/config_check.h"
#include "app/config_table.h"
#include "app/config_value.h"
#include "app/value_file.h"

enum { CONFIG_MEMORY_BYTES = 1024 * 1024, NAME_BYTES_MAX = 96 };

/* A NULL slice where it isn't there; empty counts as not there. */
static struct slice env_find(char *const *env, struct slice name) {
    for (size_t i = 0; env[i] != NULL; i++) {
        struct slice entry = slice_str(env[i]);
        if (entry.len > name.len && entry.at[name.len] == '=' &&
            slice_eq(slice_head(entry, name.len), name)) {
            struct slice value = slice_from(entry, name.len + 1);
            return value.len > 0 ? value : SLICE_NULL;
        }
    }
    return SLICE_NULL;
}

/* How many letters must be inserted, dropped, changed or swapped with their neighbour (optimal
 * string alignment); names are at most NAME_BYTES_MAX long. */
static size_t distance(struct slice a, struct slice b) {
    size_t rows[3][NAME_BYTES_MAX + 1];
    size_t *two_up = rows[0];
    size_t *up = rows[1];
    size_t *row = rows[2];
    for (size_t k = 0; k <= b.len; k++) {
        up[k] = k;
    }
    for (size_t i = 1; i <= a.len; i++) {
        row[0] = i;
        for (size_t k = 1; k <= b.len; k++) {
            size_t best = up[k - 1] + (a.at[i - 1] == b.at[k - 1] ? 0 : 1);
            best = up[k] + 1 < best ? up[k] + 1 : best;
            best = row[k - 1] + 1 < best ? row[k - 1] + 1 : best;
            if (i > 1 && k > 1 && a.at[i - 1] == b.at[k - 2] && a.at[i - 2] == b.at[k - 1] &&
                two_up[k - 2] + 1 < best) {
                best = two_up[k - 2] + 1;
            }
            row[k] = best;
        }
        size_t *spare = two_up;
        two_up = up;
        up = row;
        row = spare;
    }
    return up[b.len];
}

/* LATCHKEY_CLIENT_ID is meant as AUDIBLE_CLIENT_ID, though it is far from it. */
static struct slice without_prefix(struct slice name) {
    size_t underscore = slice_find(name, '_');
    return slice_from(name, underscore + 1);
}

/* The variable that was probably meant, or NULL. */
static const char *nearest(struct slice name) {
    const char *found = NULL;
    size_t least = name.len / 6 + 2;
    for (size_t i = 0; i < config_table_count; i++) {
        for (size_t k = 0; k < config_table[i].count; k++) {
            struct slice known = slice_str(config_table[i].vars[k].name);
            size_t far =
                slice_eq(without_prefix(name), without_prefix(known)) ? 0 : distance(name, known);
            if (far < least) {
                least = far;
                found = known.at;
            }
        }
    }
    return found;
}

/* "NAME_FILE" is known where NAME is. */
static bool is_known(struct slice name) {
    struct slice suffix = SLICE("_FILE");
    if (config_table_find(name) != NULL) {
        return true;
    }
    return name.len > suffix.len && slice_eq(slice_from(name, name.len - suffix.len), suffix) &&
           config_table_find(slice_head(name, name.len - suffix.len)) != NULL;
}

/* Kubernetes puts these into the environment of every container beside a service "latchkey". */
static bool is_injected(struct slice name) {
    return slice_starts(name, SLICE("LATCHKEY_PORT")) ||
           slice_starts(name, SLICE("LATCHKEY_SERVICE_"));
}

static void note_unknown(struct slice name, struct notes *notes) {
    char text[NAME_BYTES_MAX + 1];
    bool is_ours = slice_starts(name, SLICE("LATCHKEY_"));
    if (name.len > NAME_BYTES_MAX) {
        name.len = NAME_BYTES_MAX;
    }
    snprintf(text, sizeof text, "%.*s", SLICE_ARGS(name));
    const char *meant = nearest(name);
    const char *hint = meant != NULL ? "did you mean " : "latchkey --help lists all";
    if (is_ours) {
        notes_problem(notes, text, "is no variable of this program; %s%s%s", hint,
                      meant != NULL ? meant : "", meant != NULL ? "?" : "");
    } else {
        notes_warning(notes, text, "is no variable of this program and has no effect; %s%s%s", hint,
                      meant != NULL ? meant : "", meant != NULL ? "?" : "");
    }
}

static void check_names(char *const *env, struct notes *notes) {
    for (size_t i = 0; env[i] != NULL; i++) {
        struct slice entry = slice_str(env[i]);
        struct slice name = slice_head(entry, slice_find(entry, '='));
        bool is_ours = slice_starts(name, SLICE("LATCHKEY_")) && !is_injected(name);
        bool is_empty = entry.len <= name.len + 1;
        if ((is_ours || slice_starts(name, SLICE("AUDIBLE_"))) && !is_empty && !is_known(name)) {
            note_unknown(name, notes);
        }
    }
}

/* One reading of the environment. */
struct reading {
    char *const *env;
    struct notes *notes;
    struct config *config;
};

static void read_value(const struct reading *reading, const struct config_var *var,
                       const char *said_by, struct slice text) {
    struct config_value value = {
        .var = var,
        .text = text,
        .memory = &reading->config->memory,
        .field = (char *)reading->config + var->offset,
    };
    if (config_value_parse(&value)) {
        return;
    }
    notes_problem(reading->notes, said_by, "%s", value.problem);
    if (var->preset != NULL) {
        /* Nobody will use this configuration, but the rules across variables still judge it. */
        value.text = slice_str(var->preset);
        config_value_parse(&value);
    }
}

static void read_value_file(const struct reading *reading, const struct config_var *var,
                            const char *file_name, struct slice path) {
    struct buf content;
    struct slice text;
    const char *problem = value_file_read(path, &content, &text);
    if (problem != NULL) {
        notes_problem(reading->notes, file_name,
                      "names a file that can't be read (%s); name a readable file that holds the "
                      "value of %s",
                      problem, var->name);
    } else if (slice_find(text, '\0') < text.len) {
        notes_problem(reading->notes, file_name,
                      "names a file that holds a NUL byte; write the value of %s as text",
                      var->name);
    } else if (text.len > 0) {
        read_value(reading, var, file_name, text);
    } else {
        notes_warning(reading->notes, file_name, "names an empty file, so %s counts as not set",
                      var->name);
    }
    buf_fini(&content);
}

static void read_var(const struct reading *reading, const struct config_var *var) {
    char file_name[NAME_BYTES_MAX + 1];
    snprintf(file_name, sizeof file_name, "%s_FILE", var->name);
    struct slice text = env_find(reading->env, slice_str(var->name));
    struct slice path = env_find(reading->env, slice_str(file_name));
    if (!slice_is_null(text) && !slice_is_null(path)) {
        notes_problem(reading->notes, var->name, "and %s are both set; leave one of them out",
                      file_name);
    } else if (!slice_is_null(path)) {
        read_value_file(reading, var, file_name, path);
    } else if (!slice_is_null(text)) {
        read_value(reading, var, var->name, text);
    } else if (var->preset != NULL) {
        read_value(reading, var, var->name, slice_str(var->preset));
    }
}

struct config *config_read_again(char *const *env, struct notes *notes) {
    struct config *config = mem_calloc(1, sizeof *config);
    arena_init(&config->memory, CONFIG_MEMORY_BYTES);
    struct reading reading = {env, notes, config};
    check_names(env, notes);
    for (size_t i = 0; i < config_table_count; i++) {
        for (size_t k = 0; k < config_table[i].count; k++) {
            read_var(&reading, &config_table[i].vars[k]);
        }
    }
    config_check(config, notes);
    return config;
}

enum rc config_read(char *const *env, struct notes *notes, struct config **out) {
    struct config *config = config_read_again(env, notes);
    *out = config;
    if (notes->problem_count > 0) {
        config_free(config);
        *out = NULL;
        return RC_USAGE;
    }
    return RC_OK;
}

void config_free(struct config *config) {
    if (config == NULL) {
        return;
    }
    secret_free(&config->client_secret);
    secret_free(&config->secret_key);
    secret_free(&config->secret_key_old);
    fernet_keys_free(config->encryption_keys);
    arena_fini(&config->memory);
    mem_free(config);
}
