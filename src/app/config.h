// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "app/notes.h"
#include "base/address.h"
#include "base/arena.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"
#include "crypto/fernet.h"
#include "crypto/hash.h"

/* The configuration: a checked value, read once from the environment and passed down. Which
 * variables there are, with their types, bounds and defaults, is app/config_table. */
enum config_choice_storage { CONFIG_STORAGE_MEMORY, CONFIG_STORAGE_REDIS };
enum config_choice_users { CONFIG_USERS_CLAIMS, CONFIG_USERS_MONGODB };

struct config_list {
    const struct slice *at;
    size_t count;
};

struct config_blocks {
    const struct address_block *at;
    size_t count;
};

/* All texts are NUL-terminated beyond their length; a null slice, an `at` of NULL in a secret and
 * NULL keys mean "not set". */
struct config {
    /* the provider */
    struct slice client_id;
    struct secret client_secret;
    struct slice redirect_uri;
    struct config_list allowed_redirect_uris;
    struct slice auth_url;     /* no slash at the end */
    struct slice api_base_url; /* no slash at the end */
    struct slice revoke_url;
    struct slice issuer;
    struct fernet_keys *encryption_keys;

    /* calls to it */
    int64_t upstream_timeout_ms;
    int64_t provider_retries;
    int64_t breaker_failures; /* 0: no breaker */
    int64_t breaker_pause_ms;
    int64_t breaker_pause_max_ms;
    int64_t upstream_connect_timeout_ms;
    int64_t upstream_connections_max;
    int64_t upstream_keepalive_max;
    struct slice upstream_proxy;
    struct slice upstream_ca_file;
    bool allow_insecure_upstream;

    /* callers */
    struct secret secret_key;
    struct secret secret_key_old;
    enum hash_hmac_alg algorithm;
    struct slice jwks_url;
    struct slice jwt_issuer;
    struct slice jwt_audience;
    int64_t jwt_leeway_ms;
    enum config_choice_users users;

    /* the server */
    struct config_list listen;
    struct slice tls_cert;
    struct slice tls_key;
    int64_t tls_handshake_timeout_ms;
    int64_t tls_handshakes_max;
    struct slice metrics_listen;
    struct slice docs_dir;
    struct config_blocks trusted_proxies;
    struct config_list cors_origins;
    struct slice return_url;
    struct slice api_prefix; /* "" or "/a/b" */
    int64_t connections_max;
    int64_t head_timeout_ms;
    int64_t idle_timeout_ms;
    int64_t write_timeout_ms;
    int64_t request_timeout_ms;
    int64_t drain_ms;
    int64_t drain_delay_ms;
    enum log_level log_level;
    int64_t workers;
    int64_t work_threads;

    /* stores */
    struct slice state_store;   /* may hold a password */
    struct slice account_store; /* may hold a password */
    struct slice redis_ca_file;
    int64_t states_max;
    int64_t account_cache_ms; /* 0: off */

    /* rate limits, 0: off */
    int64_t rate_oauth_per_minute;
    int64_t rate_address_per_minute;
    int64_t rate_search_per_minute;
    int64_t rate_other_per_minute;
    enum config_choice_storage rate_storage;

    struct arena memory; /* of the texts and lists; wiped */
};

/* Reads `env` ("NAME=value", NULL at the end), and says everything that there is to say about it.
 * RC_OK: `*out` is the caller's (config_free), `notes` holds warnings at most. RC_USAGE: there are
 * problems, and `*out` is NULL. */
enum rc config_read(char *const *env, struct notes *notes, struct config **out);
void config_free(struct config *config); /* wipes; fine on NULL */

/* The same once more, for a server that runs: always a configuration, in which a variable that has
 * a problem is as good as not set, or has its default. */
struct config *config_read_again(char *const *env, struct notes *notes);

/* All three of client id, secret and redirect URI are set. */
static inline bool config_has_integration(const struct config *config) {
    return !slice_is_null(config->client_id) && config->client_secret.at != NULL &&
           !slice_is_null(config->redirect_uri);
}

/* LATCHKEY_STATE_STORE is a Redis. */
static inline bool config_has_redis_states(const struct config *config) {
    return slice_starts(config->state_store, SLICE("redis"));
}

/* The file of "sqlite:<path>". */
static inline const char *config_sqlite_path(const struct config *config) {
    return config->account_store.at + (sizeof "sqlite:" - 1);
}
