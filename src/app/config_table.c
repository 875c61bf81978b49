// SPDX-License-Identifier: MIT
#include "app/config_table.h"

#include "app/config.h"
#include "base/limits.h"

/* The field's place, which only compiles where the field has the type that the parser writes. */
#define FIELD(field, type)                                                                         \
    (offsetof(struct config, field) + 0 * sizeof(_Generic(((struct config *)0)->field, type : 1)))

#define TEXT(var, field, sentence)                                                                 \
    { .name = (var), .type = CONFIG_TEXT, .offset = FIELD(field, struct slice), .help = (sentence) }
#define SECRET(var, field, sentence)                                                               \
    {                                                                                              \
        .name = (var), .type = CONFIG_SECRET, .offset = FIELD(field, struct secret),               \
        .is_secret = true, .help = (sentence)                                                      \
    }
#define INT(var, field, low, high, default_text, sentence)                                         \
    {                                                                                              \
        .name = (var), .type = CONFIG_INT, .offset = FIELD(field, int64_t),                        \
        .preset = (default_text), .min = (low), .max = (high), .help = (sentence)                  \
    }
#define SECONDS(var, field, low_ms, high_ms, default_text, sentence)                               \
    {                                                                                              \
        .name = (var), .type = CONFIG_SECONDS, .offset = FIELD(field, int64_t),                    \
        .preset = (default_text), .min = (low_ms), .max = (high_ms), .help = (sentence)            \
    }
#define CHOICE(var, field, names, sentence)                                                        \
    {                                                                                              \
        .name = (var), .type = CONFIG_CHOICE, .offset = FIELD(field, unsigned),                    \
        .preset = names##_preset, .choices = (names), .help = (sentence)                           \
    }
#define SLICE_OF(kind, var, field, default_text, sentence)                                         \
    {                                                                                              \
        .name = (var), .type = (kind), .offset = FIELD(field, struct slice),                       \
        .preset = (default_text), .help = (sentence)                                               \
    }
#define LIST_OF(kind, var, field, default_text, sentence)                                          \
    {                                                                                              \
        .name = (var), .type = (kind), .offset = FIELD(field, struct config_list),                 \
        .preset = (default_text), .help = (sentence)                                               \
    }

/* In the order of the enums that they fill. */
static const char *const algorithms[] = {"HS256", "HS384", "HS512", NULL};
#define algorithms_preset "HS256"
static const char *const levels[] = {"debug", "info", "warning", "error", NULL};
#define levels_preset "info"
static const char *const storages[] = {"memory", "redis", NULL};
#define storages_preset "memory"
static const char *const users[] = {"claims", "mongodb", NULL};
#define users_preset "claims"

static const char *const state_stores[] = {"memory", "redis://", "rediss://", NULL};
static const char *const account_stores[] = {"sqlite:",    "redis://",       "rediss://",
                                             "mongodb://", "mongodb+srv://", NULL};

enum {
    MS = 1,
    SECOND = 1000 * MS,
    MINUTE = 60 * SECOND,
    HOUR = 60 * MINUTE,
    RATE_MAX = 1000000,
};

static const struct config_var provider_vars[] = {
    TEXT("AUDIBLE_CLIENT_ID", client_id, "The client id that the provider gave us."),
    SECRET("AUDIBLE_CLIENT_SECRET", client_secret, "The client secret that goes with it."),
    SLICE_OF(CONFIG_URI, "AUDIBLE_REDIRECT_URI", redirect_uri, NULL,
             "Where the provider sends the browser back to, as registered there. Without all of "
             "client id, client secret and redirect URI the integration answers 503."),
    LIST_OF(CONFIG_URIS, "AUDIBLE_ALLOWED_REDIRECT_URIS", allowed_redirect_uris, NULL,
            "Other redirect URIs that a caller of authorize may ask for, to the letter."),
    SLICE_OF(CONFIG_BASE, "AUDIBLE_AUTH_URL", auth_url, "https://www.audible.com/auth/oauth2",
             "The provider's OAuth endpoints lie under it: /authorize and /token."),
    SLICE_OF(CONFIG_BASE, "AUDIBLE_API_BASE_URL", api_base_url, "https://api.audible.com",
             "The provider's API lies under it: /1.0/library and /1.0/catalog."),
    SLICE_OF(CONFIG_URL, "AUDIBLE_REVOKE_URL", revoke_url, NULL,
             "Where refresh tokens are revoked on disconnect (RFC 7009); empty: nowhere."),
    TEXT("AUDIBLE_ISSUER", issuer,
         "The provider's issuer: an iss parameter of the browser's return must equal it (RFC "
         "9207); empty: it is not checked."),
    {.name = "AUDIBLE_TOKEN_ENCRYPTION_KEY",
     .type = CONFIG_KEYS,
     .offset = FIELD(encryption_keys, struct fernet_keys *),
     .is_secret = true,
     .help = "One or more Fernet keys, separated by commas: the first encrypts stored tokens, all "
             "decrypt them. `latchkey keygen` makes one. Empty: tokens are stored in plain."},
};

static const struct config_var upstream_vars[] = {
    SECONDS("AUDIBLE_HTTP_TIMEOUT_SECONDS", upstream_timeout_ms, 100 * MS, 5 * MINUTE, "30",
            "A call to the provider, from its start to its answer."),
    SECONDS("AUDIBLE_HTTP_CONNECT_TIMEOUT_SECONDS", upstream_connect_timeout_ms, 100 * MS,
            5 * MINUTE, "10", "Connecting to the provider, TLS included."),
    INT("AUDIBLE_HTTP_MAX_CONNECTIONS", upstream_connections_max, 1, 10000, "100",
        "Calls to the provider that are under way at once; others wait."),
    INT("AUDIBLE_HTTP_KEEPALIVE_CONNECTIONS", upstream_keepalive_max, 0, 10000, "20",
        "Idle connections to the provider that are kept open."),
    INT("LATCHKEY_PROVIDER_RETRIES", provider_retries, 0, 10, "2",
        "How often a GET that failed is made again, within the request's deadline."),
    INT("LATCHKEY_BREAKER_FAILURES", breaker_failures, 0, 10000, "10",
        "Failures in a row after which the provider is left alone for a while; 0: never."),
    SECONDS("LATCHKEY_BREAKER_PAUSE_SECONDS", breaker_pause_ms, 100 * MS, 5 * MINUTE, "1",
            "For how long at first; it doubles while the provider goes on failing."),
    SECONDS("LATCHKEY_BREAKER_PAUSE_MAX_SECONDS", breaker_pause_max_ms, 100 * MS, 60 * MINUTE, "30",
            "For how long at most."),
    {.name = "LATCHKEY_UPSTREAM_PROXY",
     .type = CONFIG_PROXY,
     .offset = FIELD(upstream_proxy, struct slice),
     .is_secret = true,
     .help = "A proxy for calls to the provider; https_proxy and its kin are ignored."},
    TEXT("LATCHKEY_UPSTREAM_CA_FILE", upstream_ca_file,
         "Certificates (PEM) to trust instead of the system's when calling the provider."),
    {.name = "LATCHKEY_ALLOW_INSECURE_UPSTREAM",
     .type = CONFIG_BOOL,
     .offset = FIELD(allow_insecure_upstream, bool),
     .preset = "0",
     .help = "1 allows http:// to hosts other than loopback, for test networks."},
};

static const struct config_var caller_vars[] = {
    SECRET("SECRET_KEY", secret_key,
           "The secret that callers' tokens are signed with, at least 32 bytes. Required unless "
           "LATCHKEY_JWKS_URL is set; with both, each verifies its own algorithms."),
    SECRET("SECRET_KEY_OLD", secret_key_old,
           "A former SECRET_KEY that is still accepted, and logged, while it rotates."),
    CHOICE("ALGORITHM", algorithm, algorithms, "How callers' tokens are signed with SECRET_KEY."),
    SLICE_OF(
        CONFIG_URL, "LATCHKEY_JWKS_URL", jwks_url, NULL,
        "Where the keys of RS256, PS256 and ES256 tokens are published (a JWK Set): fetched at "
        "start, every ten minutes, and for a key that is new; kept when that fails."),
    TEXT("LATCHKEY_JWT_ISSUER", jwt_issuer, "What iss of a caller's token must be."),
    TEXT("LATCHKEY_JWT_AUDIENCE", jwt_audience, "What aud of a caller's token must hold."),
    SECONDS("LATCHKEY_JWT_LEEWAY_SECONDS", jwt_leeway_ms, 0, 300 * SECOND, "30",
            "By how much clocks may differ when exp and nbf are checked."),
    CHOICE("LATCHKEY_USERS", users, users,
           "Where role, tier and activity of a caller come from: the token's claims, or the users "
           "collection of the account store's database."),
};

static const struct config_var server_vars[] = {
    LIST_OF(CONFIG_LISTENS, "LATCHKEY_LISTEN", listen, "127.0.0.1:8090",
            "One or more addresses to serve on: 127.0.0.1:8090, [::1]:8090, unix:/path."),
    SLICE_OF(CONFIG_PATH, "LATCHKEY_API_PREFIX", api_prefix, "/api/v1",
             "The path before every user endpoint; / for none."),
    SLICE_OF(CONFIG_URI, "LATCHKEY_RETURN_URL", return_url, NULL,
             "The page that the browser ends on, with ?audible=connected or ?audible=error added; "
             "empty: a small page of ours."),
    LIST_OF(CONFIG_ORIGINS, "LATCHKEY_CORS_ORIGINS", cors_origins, NULL,
            "Origins whose pages may call the API with credentials."),
    {.name = "LATCHKEY_TRUSTED_PROXIES",
     .type = CONFIG_BLOCKS,
     .offset = FIELD(trusted_proxies, struct config_blocks),
     .help = "Blocks of addresses whose X-Forwarded-For is believed; empty: none."},
    TEXT("LATCHKEY_TLS_CERT", tls_cert,
         "The file with the server's certificate and those that vouch for it (PEM): addresses of "
         "LATCHKEY_LISTEN are served over TLS, unix sockets aside. Read again on SIGHUP. Empty: "
         "plain HTTP."),
    TEXT("LATCHKEY_TLS_KEY", tls_key,
         "The file with its private key (PEM): P-256, or RSA with at least 2048 bits, which holds "
         "up the server longer at each handshake."),
    SECONDS("LATCHKEY_TLS_HANDSHAKE_TIMEOUT_SECONDS", tls_handshake_timeout_ms, 100 * MS,
            5 * MINUTE, "10", "A connection whose TLS handshake is not over by then is closed."),
    INT("LATCHKEY_TLS_HANDSHAKES_MAX", tls_handshakes_max, 1, 1000000, "1000",
        "TLS handshakes under way; the next connection is closed at once."),
    SLICE_OF(
        CONFIG_LISTEN, "LATCHKEY_METRICS_LISTEN", metrics_listen, NULL,
        "An address of its own for /metrics. Without one it is served beside the API, but only "
        "where all of LATCHKEY_LISTEN is loopback or a unix socket."),
    TEXT("LATCHKEY_DOCS_DIR", docs_dir,
         "Where the files of the page /docs are; empty: where the build or the installation puts "
         "them. Without them there is no such page."),
    CHOICE("LATCHKEY_LOG_LEVEL", log_level, levels,
           "The least level that is logged; audit lines always are."),
    INT("LATCHKEY_MAX_CONNECTIONS", connections_max, 1, 1000000, "10000",
        "Client connections; the next one is closed at once."),
    SECONDS("LATCHKEY_HEAD_TIMEOUT_SECONDS", head_timeout_ms, 100 * MS, 5 * MINUTE, "10",
            "A request's head, and its body, must be complete within it: else 408."),
    SECONDS("LATCHKEY_IDLE_TIMEOUT_SECONDS", idle_timeout_ms, 100 * MS, HOUR, "75",
            "A connection without a request is closed after it."),
    SECONDS("LATCHKEY_WRITE_TIMEOUT_SECONDS", write_timeout_ms, 100 * MS, 5 * MINUTE, "30",
            "A connection whose client does not take the answer is closed after it."),
    SECONDS("LATCHKEY_REQUEST_TIMEOUT_SECONDS", request_timeout_ms, 100 * MS, 10 * MINUTE, "40",
            "The whole of a request, but for library/sync."),
    SECONDS("LATCHKEY_DRAIN_SECONDS", drain_ms, 0, HOUR, "45",
            "How long requests in flight may take to finish after SIGTERM."),
    SECONDS("LATCHKEY_DRAIN_DELAY_SECONDS", drain_delay_ms, 0, HOUR, "0",
            "How long to go on accepting after SIGTERM with /readyz at 503, so that a load "
            "balancer sees it first."),
    INT("LATCHKEY_WORKERS", workers, 1, 256, "1",
        "Processes that serve, on the same addresses. More than one needs stores that they share: "
        "Redis for states, Redis or MongoDB for accounts. Caps, threads and connections are each "
        "process's own."),
    INT("LATCHKEY_WORK_THREADS", work_threads, 1, 256, "4",
        "Threads for encryption and name resolution; half as many verify tokens under published "
        "keys."),
};

static const struct config_var store_vars[] = {
    {.name = "LATCHKEY_STATE_STORE",
     .type = CONFIG_STORE,
     .offset = FIELD(state_store, struct slice),
     .preset = "memory",
     .choices = state_stores,
     .is_secret = true,
     .help = "Where pending authorizations are kept: memory, or "
             "redis://[[user]:password@]host[:port][/db]."},
    INT("LATCHKEY_STATE_MAX", states_max, 1, 100000000, "1000000",
        "Pending authorizations that the memory store holds at most."),
    {.name = "LATCHKEY_ACCOUNT_STORE",
     .type = CONFIG_STORE,
     .offset = FIELD(account_store, struct slice),
     .preset = "sqlite:./data/latchkey.db",
     .choices = account_stores,
     .is_secret = true,
     .help = "Where linked accounts are kept: sqlite:<path>, redis://… or mongodb://…"},
    TEXT("LATCHKEY_REDIS_CA_FILE", redis_ca_file,
         "Certificates (PEM) to trust instead of the system's when calling a rediss:// server."),
    SECONDS("LATCHKEY_ACCOUNT_CACHE_SECONDS", account_cache_ms, 0, 60 * SECOND, "0",
            "With Redis or MongoDB: for how long a process answers `connected` from its memory, "
            "behind what other processes write meanwhile; 0: never. With SQLite the memory is "
            "exact, and always used."),
};

static const struct config_var rate_vars[] = {
    INT("AUDIBLE_RATE_LIMIT_PER_MINUTE", rate_oauth_per_minute, 0, RATE_MAX, "10",
        "Calls of authorize, and of callback, a user and minute; 0: no limit."),
    INT("LATCHKEY_RATE_LIMIT_CALLBACK_PER_ADDRESS_PER_MINUTE", rate_address_per_minute, 0, RATE_MAX,
        "600", "Calls of callback a client address and minute; 0: no limit."),
    INT("LATCHKEY_RATE_LIMIT_SEARCH_PER_MINUTE", rate_search_per_minute, 0, RATE_MAX, "20",
        "Searches a user and minute; 0: no limit."),
    INT("LATCHKEY_RATE_LIMIT_PER_MINUTE", rate_other_per_minute, 0, RATE_MAX, "100",
        "All other calls together, a user and minute; 0: no limit."),
    CHOICE("AUDIBLE_RATE_LIMIT_STORAGE", rate_storage, storages,
           "Where the counts are kept; redis uses that of LATCHKEY_STATE_STORE."),
};

#define SECTION(heading, rows)                                                                     \
    { (heading), (rows), sizeof(rows) / sizeof(rows)[0] }

const struct config_section config_table[] = {
    SECTION("The provider", provider_vars), SECTION("Calls to the provider", upstream_vars),
    SECTION("Callers", caller_vars),        SECTION("The server", server_vars),
    SECTION("Stores", store_vars),          SECTION("Rate limits", rate_vars),
};
const size_t config_table_count = sizeof config_table / sizeof config_table[0];

const struct config_var *config_table_find(struct slice name) {
    for (size_t i = 0; i < config_table_count; i++) {
        for (size_t k = 0; k < config_table[i].count; k++) {
            if (slice_eq(name, slice_str(config_table[i].vars[k].name))) {
                return &config_table[i].vars[k];
            }
        }
    }
    return NULL;
}
