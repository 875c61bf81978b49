// SPDX-License-Identifier: MIT
#include "app/command_store.h"

#include <stdio.h>
#include <unistd.h>

#include "app/process.h"
#include "base/limits.h"
#include "crypto/hash.h"

static bool say(const struct command_store_opts *opts, const char *problem) {
    fprintf(stderr, "latchkey %s: %s\n", opts->command, problem);
    return false;
}

static bool open_account(struct command_store *store, const struct command_store_opts *opts) {
    char problem[ACCOUNT_STORE_PROBLEM_BYTES];
    struct slice url = slice_is_null(opts->url) ? opts->config->account_store : opts->url;
    enum rc rc = account_store_open(
        &(const struct account_store_opts){
            .loop = &store->loop,
            .log = store->log,
            .metrics = &store->metrics,
            .url = url,
            .ca_file = opts->config->redis_ca_file.at,
            .is_beside = true,
        },
        &store->account, problem);
    store->backend = store->account.backend;
    return rc == RC_OK || say(opts, problem);
}

bool command_store_open(struct command_store *store, const struct command_store_opts *opts) {
    *store = (struct command_store){.log = NULL};
    process_harden();
    if (hash_init() != RC_OK) {
        return say(opts, "the crypto library does not start");
    }
    if (loop_init(&store->loop, &store->clock) != RC_OK) {
        return say(opts, "the event loop does not start");
    }
    store->work = work_new(&store->loop, LIMIT_FAST_QUEUE);
    store->log = log_new(opts->log_fd > 0 ? opts->log_fd : STDOUT_FILENO, opts->config->log_level,
                         &store->clock, &store->metrics);
    bool is_open = store->work != NULL && store->log != NULL
                       ? open_account(store, opts)
                       : say(opts, "no thread can be started");
    if (!is_open) {
        command_store_close(store);
    }
    return is_open;
}

static void on_backend_closed(void *owner) {
    struct command_store *store = owner;
    account_store_close(&store->account, NULL, NULL);
}

void command_store_close(struct command_store *store) {
    if (store->backend != NULL) {
        store->backend->ops->close(store->backend, on_backend_closed, store);
    } else {
        on_backend_closed(store);
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
