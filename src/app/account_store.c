// SPDX-License-Identifier: MIT
#include "app/account_store.h"

#include <stdio.h>

#include "store/accounts_mongo.h"

_Static_assert((int)ACCOUNT_STORE_PROBLEM_BYTES >= (int)ACCOUNTS_PROBLEM_BYTES &&
                   (int)ACCOUNT_STORE_PROBLEM_BYTES >= (int)REDIS_URL_PROBLEM_BYTES &&
                   (int)ACCOUNT_STORE_PROBLEM_BYTES >= (int)MONGO_PROBLEM_BYTES,
               "room for the problems of each");

static enum rc open_sqlite(const struct account_store_opts *opts, struct account_store *store,
                           char problem[ACCOUNT_STORE_PROBLEM_BYTES]) {
    const char *path = slice_from(opts->url, sizeof "sqlite:" - 1).at;
    return opts->is_beside ? accounts_sqlite_open_beside(opts->loop, path, &store->backend, problem)
                           : accounts_sqlite_open(opts->loop, path, &store->backend, problem);
}

static enum rc open_redis(const struct account_store_opts *opts, struct account_store *store,
                          char problem[ACCOUNT_STORE_PROBLEM_BYTES]) {
    struct redis *redis = opts->redis;
    if (redis == NULL) {
        enum rc rc = redis_url_parse(opts->url, &store->redis_url, problem);
        if (rc != RC_OK) {
            return rc;
        }
        store->redis = redis_new(&(const struct redis_opts){
            .loop = opts->loop,
            .log = opts->log,
            .metrics = opts->metrics,
            .url = &store->redis_url,
            .ca_file = opts->ca_file,
            .name = "accounts",
        });
        redis = store->redis;
    }
    store->backend = accounts_redis_new(opts->loop, redis, opts->log);
    return RC_OK;
}

static enum rc open_mongodb(const struct account_store_opts *opts, struct account_store *store,
                            char problem[ACCOUNT_STORE_PROBLEM_BYTES]) {
    enum rc rc = mongo_open(opts->loop, opts->url, &store->mongo, problem);
    if (rc == RC_OK) {
        store->backend = accounts_mongo_new(store->mongo);
    }
    return rc;
}

static const struct {
    const char *scheme;
    bool is_shared;
    enum rc (*open)(const struct account_store_opts *opts, struct account_store *store,
                    char problem[ACCOUNT_STORE_PROBLEM_BYTES]);
} kinds[] = {
    {"sqlite:", false, open_sqlite},        {"redis://", true, open_redis},
    {"rediss://", true, open_redis},        {"mongodb://", true, open_mongodb},
    {"mongodb+srv://", true, open_mongodb},
};
enum { KIND_COUNT = sizeof kinds / sizeof kinds[0] };

static size_t kind_of(struct slice url) {
    size_t i = 0;
    while (i < KIND_COUNT && !slice_starts(url, slice_str(kinds[i].scheme))) {
        i++;
    }
    return i;
}

bool account_store_is_shared(struct slice url) {
    size_t kind = kind_of(url);
    return kind < KIND_COUNT && kinds[kind].is_shared;
}

enum rc account_store_open(const struct account_store_opts *opts, struct account_store *out,
                           char problem[ACCOUNT_STORE_PROBLEM_BYTES]) {
    size_t kind = kind_of(opts->url);
    *out = (struct account_store){.backend = NULL};
    if (kind == KIND_COUNT) {
        snprintf(problem, ACCOUNT_STORE_PROBLEM_BYTES,
                 "an account store is sqlite:<path>, redis://…, rediss://… or mongodb://…");
        return RC_USAGE;
    }
    out->is_shared = kinds[kind].is_shared;
    return kinds[kind].open(opts, out, problem);
}

static void on_mongo_closed(void *owner) {
    struct account_store *store = owner;
    if (store->closed != NULL) {
        store->closed(store->closed_owner);
    }
}

static void on_redis_closed(void *owner) {
    struct account_store *store = owner;
    redis_url_fini(&store->redis_url);
    if (store->closed != NULL) {
        store->closed(store->closed_owner);
    }
}

void account_store_close(struct account_store *store, void (*closed)(void *owner), void *owner) {
    store->closed = closed;
    store->closed_owner = owner;
    if (store->redis != NULL) {
        redis_close(store->redis, on_redis_closed, store);
    } else if (store->mongo != NULL) {
        mongo_close(store->mongo, on_mongo_closed, store);
    } else if (closed != NULL) {
        closed(owner);
    }
}
