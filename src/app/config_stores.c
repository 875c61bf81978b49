// SPDX-License-Identifier: MIT
#include "app/config_stores.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/address.h"
#include "io/redis_url.h"

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

static void check_ca_file(const struct config *config, struct notes *notes) {
    if (is_set(config->redis_ca_file) && access(config->redis_ca_file.at, R_OK) != 0) {
        notes_problem(notes, "LATCHKEY_REDIS_CA_FILE",
                      "names a file that can't be read (%s); name a PEM file", strerror(errno));
    }
}

static void check_sqlite(const struct config *config, struct notes *notes) {
    if (slice_starts(config->account_store, SLICE("sqlite://"))) {
        notes_problem(notes, "LATCHKEY_ACCOUNT_STORE",
                      "has slashes after sqlite:, where the file's path follows at once; write "
                      "sqlite:./data/latchkey.db or sqlite:/var/lib/latchkey/latchkey.db");
    } else if (slice_starts(config->account_store, SLICE("sqlite::"))) {
        notes_problem(notes, "LATCHKEY_ACCOUNT_STORE",
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

void config_stores_check(const struct config *config, struct notes *notes) {
    check_redis(notes, "LATCHKEY_STATE_STORE", config->state_store);
    check_redis(notes, "LATCHKEY_ACCOUNT_STORE", config->account_store);
    check_ca_file(config, notes);
    check_sqlite(config, notes);
    check_together(config, notes);
}
