// SPDX-License-Identifier: MIT
#include "app/command_store.h"

#include <stdio.h>
#include <unistd.h>

#include "app/process.h"
#include "base/limits.h"
#include "crypto/hash.h"

static bool say(const char *command, const char *problem) {
    fprintf(stderr, "latchkey %s: %s\n", command, problem);
    return false;
}

bool command_store_open(struct command_store *store, const struct config *config,
                        const char *command) {
    char problem[ACCOUNTS_PROBLEM_BYTES];
    *store = (struct command_store){.log = NULL};
    process_harden();
    if (hash_init() != RC_OK) {
        return say(command, "the crypto library does not start");
    }
    if (loop_init(&store->loop, &store->clock) != RC_OK) {
        return say(command, "the event loop does not start");
    }
    if (accounts_sqlite_open_beside(&store->loop, config_sqlite_path(config), &store->backend,
                                    problem) != RC_OK) {
        say(command, problem);
        loop_run(&store->loop);
        loop_fini(&store->loop);
        return false;
    }
    store->work = work_new(&store->loop, LIMIT_FAST_QUEUE);
    store->log = log_new(STDOUT_FILENO, config->log_level, &store->clock, &store->metrics);
    if (store->work == NULL || store->log == NULL) {
        say(command, "no thread can be started");
        command_store_close(store);
        return false;
    }
    return true;
}

void command_store_close(struct command_store *store) {
    if (store->backend != NULL) {
        store->backend->ops->close(store->backend, NULL, NULL);
    }
    if (store->work != NULL) {
        work_close(store->work, NULL, NULL);
    }
    loop_run(&store->loop);
    if (store->log != NULL) {
        log_free(store->log);
    }
    loop_fini(&store->loop);
}
