// SPDX-License-Identifier: MIT
#include "app/command_backup.h"

#include "app/account_store.h"
#include "app/process.h"
#include "store/accounts_sqlite_backup.h"

static int backup(const struct config *config, const char *target) {
    char problem[ACCOUNTS_PROBLEM_BYTES];
    process_harden(); /* the copy is its user's alone too */
    if (accounts_sqlite_backup(config_sqlite_path(config), target, problem) != RC_OK) {
        fprintf(stderr, "latchkey backup: %s\n", problem);
        return COMMAND_FAILED;
    }
    return COMMAND_GOOD;
}

int command_backup_run(const struct command_line *line) {
    struct config *config;
    if (line->argc < 2) {
        fprintf(stderr, "latchkey backup: FILE is needed: where the copy goes\n");
        return COMMAND_USAGE;
    }
    if (line->argc > 2 || line->argv[1][0] == '-') {
        return command_line_refuse(line, line->argv[line->argc > 2 ? 2 : 1]);
    }
    int code = command_line_config(line, &config);
    if (code != COMMAND_GOOD) {
        return code;
    }
    if (account_store_is_shared(config->account_store)) {
        fprintf(stderr, "latchkey backup: LATCHKEY_ACCOUNT_STORE is no SQLite file; a Redis or a "
                        "MongoDB is copied by its own means, or into a file by latchkey migrate\n");
        code = COMMAND_USAGE;
    } else {
        code = backup(config, line->argv[1]);
    }
    config_free(config);
    return code;
}
