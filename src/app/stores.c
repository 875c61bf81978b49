// SPDX-License-Identifier: MIT
#include "app/stores.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "base/mem.h"

static enum rc open_states(struct stores *stores, char problem[STORES_PROBLEM_BYTES]) {
    struct states_backend *backend =
        states_mem_new(stores->loop, (size_t)stores->config->states_max, stores->metrics);
    if (backend == NULL) {
        snprintf(problem, STORES_PROBLEM_BYTES, "there is no memory for LATCHKEY_STATE_MAX states");
        return RC_IO;
    }
    stores->states = states_new(stores->loop, backend, stores->log, stores->metrics);
    return RC_OK;
}

/* The folder of the database, one level of it: a first start should just work. */
static enum rc make_folder(const char *path, char problem[STORES_PROBLEM_BYTES]) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL || slash == path) {
        return RC_OK;
    }
    char *folder = mem_strdup(slice_make(path, (size_t)(slash - path)));
    enum rc rc = RC_OK;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST) {
        snprintf(problem, STORES_PROBLEM_BYTES,
                 "the folder %s of LATCHKEY_ACCOUNT_STORE can't be made: %s", folder,
                 strerror(errno));
        rc = RC_IO;
    }
    mem_free(folder);
    return rc;
}

static enum rc open_accounts(struct stores *stores, char problem[STORES_PROBLEM_BYTES]) {
    const char *path = config_sqlite_path(stores->config);
    struct accounts_backend *backend = NULL;
    char cause[ACCOUNTS_PROBLEM_BYTES];
    enum rc rc = make_folder(path, problem);
    if (rc != RC_OK) {
        return rc;
    }
    rc = accounts_sqlite_open(stores->loop, path, &backend, cause);
    if (rc != RC_OK) {
        snprintf(problem, STORES_PROBLEM_BYTES, "LATCHKEY_ACCOUNT_STORE: %s", cause);
        return rc;
    }
    stores->accounts = accounts_new(&(const struct accounts_opts){
        .loop = stores->loop,
        .work = stores->work,
        .backend = backend,
        .keys = stores->config->encryption_keys,
        .log = stores->log,
        .metrics = stores->metrics,
        .cache_max = LIMIT_ACCOUNT_CACHE,
    });
    return RC_OK;
}

enum rc stores_open(struct stores *stores, char problem[STORES_PROBLEM_BYTES]) {
    enum rc rc = open_states(stores, problem);
    return rc == RC_OK ? open_accounts(stores, problem) : rc;
}

static void close_states(void *owner) {
    struct stores *stores = owner;
    if (stores->states != NULL) {
        states_close(stores->states);
    }
    stores->closed(stores->closed_owner);
}

void stores_close(struct stores *stores, void (*closed)(void *owner), void *owner) {
    stores->closed = closed;
    stores->closed_owner = owner;
    if (stores->accounts != NULL) {
        accounts_close(stores->accounts, close_states, stores);
    } else {
        close_states(stores);
    }
}
