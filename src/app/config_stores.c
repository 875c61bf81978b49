// SPDX-License-Identifier: MIT
#include "app/config_stores.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/address.h"
#include "io/redis_url.h"
#include "store/mongo.h"

static bool is_set(struct slice text) {
    return !slice_is_null(text);
}

static bool is_redis(struct slice url) {
    return slice_starts(url, SLICE("redis://")) || slice_starts(url, SLICE("rediss://"));
}

static bool is_mongodb(struct slice url) {
    return slice_starts(url, SLICE("mongodb://")) || slice_starts(url, SLICE("mongodb+srv://"));
}

static bool is_local(const char *host) {
    struct slice name = slice_str(host);
    return slice_eq(name, SLICE("localhost")) || slice_eq(name, SLICE("::1")) ||
           slice_starts(name, SLICE("127."));
}

static void check_redis(struct notes *notes, const char *name, struct slice text) {
    struct redis_url url;
    char problem[REDIS_URL_PROBLEM_BYTES];
    if (!is_redis(text)) {
        return;
    }
    if (redis_url_parse(text, &url, problem) != RC_OK) {
        notes_problem(notes, name, "%s", problem);
        return;
    }
    if (url.is_tls && !redis_has_tls()) {
        notes_problem(notes, name,
                      "is a rediss:// URL, and hiredis %s of this build has no TLS (it comes with "
                      "1.0); use redis:// inside a network that you trust, or a TLS tunnel",
                      redis_library_version());
    } else if (!url.is_tls && !is_local(url.host)) {
        notes_warning(notes, name,
                      "is a redis:// URL to another machine: its password and what is stored pass "
                      "in the clear; use rediss://, or a network that you trust");
    }
    redis_url_fini(&url);
}

static void check_mongodb(struct notes *notes, const char *name, struct slice url) {
    char problem[MONGO_PROBLEM_BYTES];
    if (!is_mongodb(url)) {
        return;
    }
    if (mongo_url_check(url, problem) != RC_OK) {
        notes_problem(notes, name, "%s", problem);
    } else if (mongo_url_is_exposed(url)) {
        notes_warning(notes, name,
                      "is a mongodb:// URL to another machine without tls=true: its password and "
                      "what is stored pass in the clear; add it, or use a network that you trust");
    }
}

static void check_ca_file(const struct config *config, struct notes *notes) {
    if (is_set(config->redis_ca_file) && access(config->redis_ca_file.at, R_OK) != 0) {
        notes_problem(notes, "LATCHKEY_REDIS_CA_FILE",
                      "names a file that can't be read (%s); name a PEM file", strerror(errno));
    }
}

static void check_sqlite(struct notes *notes, const char *name, struct slice url) {
    if (slice_starts(url, SLICE("sqlite://"))) {
        notes_problem(notes, name,
                      "has slashes after sqlite:, where the file's path follows at once; write "
                      "sqlite:./data/latchkey.db or sqlite:/var/lib/latchkey/latchkey.db");
    } else if (slice_starts(url, SLICE("sqlite::"))) {
        notes_problem(notes, name,
                      "keeps nothing beyond the process; name a file: sqlite:./data/latchkey.db");
    }
}

static void check_together(const struct config *config, struct notes *notes) {
    if (config->rate_storage == CONFIG_STORAGE_REDIS && !is_redis(config->state_store)) {
        notes_problem(notes, "AUDIBLE_RATE_LIMIT_STORAGE",
                      "is redis, and LATCHKEY_STATE_STORE is none; set that to redis://…, or this "
                      "to memory");
    }
    if (config->users == CONFIG_USERS_MONGODB && !is_mongodb(config->account_store)) {
        notes_problem(notes, "LATCHKEY_USERS",
                      "is mongodb, and LATCHKEY_ACCOUNT_STORE is none; set that to mongodb://…, or "
                      "this to claims");
    }
}

/* What one process keeps to itself the others don't have. */
static void check_workers(const struct config *config, struct notes *notes) {
    bool is_limited = config->rate_oauth_per_minute > 0 || config->rate_address_per_minute > 0 ||
                      config->rate_search_per_minute > 0 || config->rate_other_per_minute > 0;
    int workers = (int)config->workers;
    if (workers == 1) {
        return;
    }
    if (!is_redis(config->state_store)) {
        notes_problem(notes, "LATCHKEY_WORKERS",
                      "is %d, and LATCHKEY_STATE_STORE is memory, of which each process has its "
                      "own: a flow that begins at one could not end at another; set that to "
                      "redis://…, or this to 1",
                      workers);
    }
    if (slice_starts(config->account_store, SLICE("sqlite:"))) {
        notes_problem(notes, "LATCHKEY_WORKERS",
                      "is %d, and LATCHKEY_ACCOUNT_STORE is SQLite: one file has one server; set "
                      "that to redis://… or mongodb://…, or this to 1",
                      workers);
    }
    if (config->rate_storage == CONFIG_STORAGE_MEMORY && is_limited) {
        notes_warning(notes, "AUDIBLE_RATE_LIMIT_STORAGE",
                      "is memory, where each of the %d workers counts for itself: a limit lets up "
                      "to %d times as many requests pass; set it to redis",
                      workers, workers);
    }
}

void config_stores_check_accounts(struct notes *notes, const char *name, struct slice url) {
    check_redis(notes, name, url);
    check_mongodb(notes, name, url);
    check_sqlite(notes, name, url);
}

void config_stores_check(const struct config *config, struct notes *notes) {
    check_redis(notes, "LATCHKEY_STATE_STORE", config->state_store);
    config_stores_check_accounts(notes, "LATCHKEY_ACCOUNT_STORE", config->account_store);
    check_ca_file(config, notes);
    check_together(config, notes);
    check_workers(config, notes);
}
