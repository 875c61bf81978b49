// SPDX-License-Identifier: MIT
#include "app/stores.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "app/users_source.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/leases_mongo.h"

/* -- states -- */

static enum rc open_redis(struct stores *stores, char problem[STORES_PROBLEM_BYTES]) {
    const struct config *config = stores->config;
    char cause[REDIS_URL_PROBLEM_BYTES];
    enum rc rc = redis_url_parse(config->state_store, &stores->redis_url, cause);
    if (rc != RC_OK) {
        snprintf(problem, STORES_PROBLEM_BYTES, "LATCHKEY_STATE_STORE %s", cause);
        return rc;
    }
    stores->redis = redis_new(&(const struct redis_opts){
        .loop = stores->loop,
        .log = stores->log,
        .metrics = stores->metrics,
        .url = &stores->redis_url,
        .ca_file = config->redis_ca_file.at,
        .name = "state",
    });
    return RC_OK;
}

static struct states_backend *new_memory(struct stores *stores,
                                         char problem[STORES_PROBLEM_BYTES]) {
    struct states_backend *backend =
        states_mem_new(stores->loop, (size_t)stores->config->states_max, stores->metrics);
    if (backend == NULL) {
        snprintf(problem, STORES_PROBLEM_BYTES, "there is no memory for LATCHKEY_STATE_MAX states");
    }
    return backend;
}

static enum rc open_states(struct stores *stores, char problem[STORES_PROBLEM_BYTES]) {
    if (config_has_redis_states(stores->config)) {
        enum rc rc = open_redis(stores, problem);
        if (rc != RC_OK) {
            return rc;
        }
    }
    struct states_backend *backend =
        stores->redis != NULL ? states_redis_new(stores->loop, stores->redis, stores->metrics)
                              : new_memory(stores, problem);
    if (backend == NULL) {
        return RC_IO;
    }
    stores->states = states_new(stores->loop, backend, stores->log, stores->metrics);
    return RC_OK;
}

/* -- accounts -- */

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

/* The states' connection, where it is one to the accounts' Redis and database. */
static struct redis *same_redis(struct stores *stores) {
    struct redis_url url;
    char cause[REDIS_URL_PROBLEM_BYTES];
    if (stores->redis == NULL ||
        redis_url_parse(stores->config->account_store, &url, cause) != RC_OK) {
        return NULL;
    }
    bool is_same = redis_url_eq(&url, &stores->redis_url);
    redis_url_fini(&url);
    return is_same ? stores->redis : NULL;
}

static enum rc open_account_store(struct stores *stores, char problem[STORES_PROBLEM_BYTES]) {
    const struct config *config = stores->config;
    char cause[ACCOUNT_STORE_PROBLEM_BYTES];
    enum rc rc = RC_OK;
    if (!account_store_is_shared(config->account_store)) {
        rc = make_folder(config_sqlite_path(config), problem);
    }
    if (rc != RC_OK) {
        return rc;
    }
    rc = account_store_open(
        &(const struct account_store_opts){
            .loop = stores->loop,
            .log = stores->log,
            .metrics = stores->metrics,
            .url = config->account_store,
            .ca_file = config->redis_ca_file.at,
            .redis = same_redis(stores),
        },
        &stores->account_store, cause);
    if (rc != RC_OK) {
        snprintf(problem, STORES_PROBLEM_BYTES, "LATCHKEY_ACCOUNT_STORE: %s", cause);
    }
    return rc;
}

static void open_accounts(struct stores *stores) {
    bool is_shared = stores->account_store.is_shared;
    int64_t keep_ms = is_shared ? stores->config->account_cache_ms : 0;
    stores->accounts = accounts_new(&(const struct accounts_opts){
        .loop = stores->loop,
        .work = stores->work,
        .backend = stores->account_store.backend,
        .keys = stores->config->encryption_keys,
        .log = stores->log,
        .metrics = stores->metrics,
        .cache_max = is_shared && keep_ms == 0 ? 0 : LIMIT_ACCOUNT_CACHE,
        .cache_keep_ms = keep_ms,
    });
}

/* Where there is a Redis, in it: it is quicker than the accounts' own store. */
static void open_leases(struct stores *stores) {
    struct redis *redis = stores->redis != NULL ? stores->redis : stores->account_store.redis;
    if (stores->account_store.is_shared) {
        struct leases_backend *backend = redis != NULL
                                             ? leases_redis_new(stores->loop, redis)
                                             : leases_mongo_new(stores->account_store.mongo);
        stores->leases =
            leases_new(stores->loop, backend, stores->rng, stores->log, stores->metrics);
    }
}

static void on_unused_closed(void *owner) {
    (void)owner;
}

static enum rc open_users(struct stores *stores, char problem[STORES_PROBLEM_BYTES]) {
    if (stores->config->users != CONFIG_USERS_MONGODB) {
        return RC_OK;
    }
    struct users_source *source = users_source_new(stores->account_store.mongo);
    stores->users = users_new(&(const struct users_opts){
        .loop = stores->loop,
        .log = stores->log,
        .metrics = stores->metrics,
        .source = source,
        .cache_max = LIMIT_USER_CACHE,
    });
    if (stores->users == NULL) {
        source->ops->close(source, on_unused_closed, NULL);
        snprintf(problem, STORES_PROBLEM_BYTES, "the system gives no random bytes");
        return RC_CRYPTO;
    }
    return RC_OK;
}

enum rc stores_open(struct stores *stores, char problem[STORES_PROBLEM_BYTES]) {
    enum rc rc = open_states(stores, problem);
    if (rc == RC_OK) {
        rc = open_account_store(stores, problem);
    }
    if (rc == RC_OK) {
        open_accounts(stores);
        open_leases(stores);
        rc = open_users(stores, problem);
    }
    return rc;
}

/* -- closing, in reverse: what is not there is passed over -- */

static void on_redis_closed(void *owner) {
    struct stores *stores = owner;
    redis_url_fini(&stores->redis_url);
    stores->closed(stores->closed_owner);
}

static void on_account_store_closed(void *owner) {
    struct stores *stores = owner;
    if (stores->states != NULL) {
        states_close(stores->states);
    }
    if (stores->redis != NULL) {
        redis_close(stores->redis, on_redis_closed, stores);
    } else {
        on_redis_closed(stores);
    }
}

static void on_accounts_closed(void *owner) {
    struct stores *stores = owner;
    account_store_close(&stores->account_store, on_account_store_closed, stores);
}

static void on_leases_closed(void *owner) {
    struct stores *stores = owner;
    if (stores->accounts != NULL) {
        accounts_close(stores->accounts, on_accounts_closed, stores);
    } else {
        on_accounts_closed(stores);
    }
}

static void on_users_closed(void *owner) {
    struct stores *stores = owner;
    if (stores->leases != NULL) {
        leases_close(stores->leases, on_leases_closed, stores);
    } else {
        on_leases_closed(stores);
    }
}

void stores_close(struct stores *stores, void (*closed)(void *owner), void *owner) {
    stores->closed = closed;
    stores->closed_owner = owner;
    if (stores->users != NULL) {
        users_close(stores->users, on_users_closed, stores);
    } else {
        on_users_closed(stores);
    }
}
