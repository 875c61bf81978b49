// SPDX-License-Identifier: MIT
#include "app/config.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/config_table.h"
#include "base/limits.h"
#include "kit/leaks.h"
#include "kit/reading.h"
#include "kit/scratch.h"

Test(config, has_the_contracts_defaults) {
    struct reading reading = assert_good(READ("X=1"), "defaults");
    const struct config *config = reading.config;
    cr_assert(slice_is_null(config->client_id));
    cr_assert_null(config->client_secret.at);
    cr_assert(slice_is_null(config->redirect_uri));
    cr_assert_not(config_has_integration(config));
    cr_assert(slice_eq(config->auth_url, SLICE("https://www.audible.com/auth/oauth2")));
    cr_assert(slice_eq(config->api_base_url, SLICE("https://api.audible.com")));
    cr_assert_null(config->encryption_keys);
    cr_assert_eq(config->upstream_timeout_ms, 30000);
    cr_assert_eq(config->upstream_connect_timeout_ms, 10000);
    cr_assert_eq(config->upstream_connections_max, 100);
    cr_assert_eq(config->upstream_keepalive_max, 20);
    cr_assert_not(config->allow_insecure_upstream);
    cr_assert_eq(config->algorithm, HASH_HS256);
    cr_assert_eq(config->jwt_leeway_ms, 30000);
    cr_assert_eq(config->listen.count, 1);
    cr_assert(slice_eq(config->listen.at[0], SLICE("127.0.0.1:8090")));
    cr_assert(slice_eq(config->api_prefix, SLICE("/api/v1")));
    cr_assert_eq(config->connections_max, 10000);
    cr_assert_eq(config->head_timeout_ms, 10000);
    cr_assert_eq(config->idle_timeout_ms, 75000);
    cr_assert_eq(config->write_timeout_ms, 30000);
    cr_assert_eq(config->request_timeout_ms, 40000);
    cr_assert_eq(config->drain_ms, 45000);
    cr_assert_eq(config->drain_delay_ms, 0);
    cr_assert_eq(config->log_level, LOG_INFO);
    cr_assert_eq(config->workers, 1);
    cr_assert_eq(config->work_threads, 4);
    cr_assert(slice_eq(config->state_store, SLICE("memory")));
    cr_assert_str_eq(config_sqlite_path(config), "./data/latchkey.db");
    cr_assert_eq(config->states_max, 1000000);
    cr_assert_eq(config->rate_oauth_per_minute, 10);
    cr_assert_eq(config->rate_address_per_minute, 600);
    cr_assert_eq(config->rate_search_per_minute, 20);
    cr_assert_eq(config->rate_other_per_minute, 100);
    reading_free(&reading);
    CHECK_LEAKS();
}

/* Every variable stands here, but for secrets, keys and what this build refuses. */
static const struct {
    const char *setting;
    const char *says; /* NULL: it is good */
} values[] = {
    {"AUDIBLE_CLIENT_ID=amzn1.application-oa2-client.1234", NULL},
    {"AUDIBLE_CLIENT_ID=a\nb", "newline"},
    {"AUDIBLE_CLIENT_ID=\"abc\"", "quotes"},
    {"AUDIBLE_CLIENT_ID='abc'", "quotes"},
    {"AUDIBLE_CLIENT_ID= abc", "blank"},
    {"AUDIBLE_CLIENT_ID=abc ", "blank"},
    {"AUDIBLE_CLIENT_ID=\xff\xfe", "UTF-8"},
    {"AUDIBLE_REDIRECT_URI=https://app.example/cb?x=1", NULL},
    {"AUDIBLE_REDIRECT_URI=com.example.app:/cb", NULL},
    {"AUDIBLE_REDIRECT_URI=app.example/cb", "absolute URI"},
    {"AUDIBLE_REDIRECT_URI=/cb", "absolute URI"},
    {"AUDIBLE_REDIRECT_URI=a_b://app.example/cb", "absolute URI"},
    {"AUDIBLE_REDIRECT_URI=\"https://app.example/cb\"", "quotes"},
    {"AUDIBLE_REDIRECT_URI=https:/app.example/cb", "no host"},
    {"AUDIBLE_REDIRECT_URI=https:///cb", "no host"},
    {"AUDIBLE_REDIRECT_URI=https://app.example/cb#x", "#fragment"},
    {"AUDIBLE_REDIRECT_URI=https://app.example/a b", "%20"},
    {"AUDIBLE_REDIRECT_URI=https://app.example/\xc3\xa4", "escaped"},
    {"AUDIBLE_REDIRECT_URI=javascript:alert(1)", "scheme"},
    {"AUDIBLE_REDIRECT_URI=JavaScript:alert(1)", "scheme"},
    {"AUDIBLE_REDIRECT_URI=data:text/html,x", "scheme"},
    {"AUDIBLE_ALLOWED_REDIRECT_URIS=https://a.example/cb, app:/cb", NULL},
    {"AUDIBLE_ALLOWED_REDIRECT_URIS=https://a.example/cb,,app:/cb", "empty entry"},
    {"AUDIBLE_ALLOWED_REDIRECT_URIS=https://a.example/cb,", "empty entry"},
    {"AUDIBLE_ALLOWED_REDIRECT_URIS=https://a.example/cb,*", "absolute URI"},
    {"AUDIBLE_AUTH_URL=https://login.example/oauth2", NULL},
    {"AUDIBLE_AUTH_URL=http://127.0.0.1:9400/auth", NULL},
    {"AUDIBLE_AUTH_URL=http://localhost:9400/auth", NULL},
    {"AUDIBLE_AUTH_URL=http://[::1]:9400/auth", NULL},
    {"AUDIBLE_AUTH_URL=http://login.example/oauth2", "use https"},
    {"AUDIBLE_AUTH_URL=http://127.0.0.1.example.org/", "use https"},
    {"AUDIBLE_AUTH_URL=http://localhost.example.org/", "use https"},
    {"AUDIBLE_AUTH_URL=http://127.0.0.1@evil.example/", "user name"},
    {"AUDIBLE_AUTH_URL=login.example/oauth2", "https URL"},
    {"AUDIBLE_AUTH_URL=ftp://login.example/", "https URL"},
    {"AUDIBLE_AUTH_URL='https://login.example/'", "quotes"},
    {"AUDIBLE_AUTH_URL=https://", "https URL"},
    {"AUDIBLE_AUTH_URL=https://login.example:99999/", "https URL"},
    {"AUDIBLE_AUTH_URL=https://u:p@login.example/", "user name or password"},
    {"AUDIBLE_AUTH_URL=https://login.example/?a=b", "?query"},
    {"AUDIBLE_AUTH_URL=https://login.example/#a", "#fragment"},
    {"AUDIBLE_API_BASE_URL=https://api.example", NULL},
    {"AUDIBLE_API_BASE_URL=http://api.example", "LATCHKEY_ALLOW_INSECURE_UPSTREAM=1"},
    {"AUDIBLE_REVOKE_URL=https://login.example/revoke?a=b", NULL},
    {"AUDIBLE_REVOKE_URL=http://192.0.2.1/revoke", "use https"},
    {"AUDIBLE_ISSUER=https://login.example", NULL},
    {"AUDIBLE_ISSUER=a\tb", "control character"},
    {"AUDIBLE_HTTP_TIMEOUT_SECONDS=2.5", NULL},
    {"AUDIBLE_HTTP_TIMEOUT_SECONDS=0", "seconds from 0.1 to 300"},
    {"AUDIBLE_HTTP_TIMEOUT_SECONDS=301", "seconds from 0.1 to 300"},
    {"AUDIBLE_HTTP_TIMEOUT_SECONDS=30s", "\"30s\""},
    {"AUDIBLE_HTTP_TIMEOUT_SECONDS=1.2345", "seconds from 0.1 to 300"},
    {"AUDIBLE_HTTP_TIMEOUT_SECONDS=1.0001", "seconds from 0.1 to 300"},
    {"AUDIBLE_HTTP_TIMEOUT_SECONDS=.5", "seconds from 0.1 to 300"},
    {"AUDIBLE_HTTP_TIMEOUT_SECONDS=5.", "seconds from 0.1 to 300"},
    {"AUDIBLE_HTTP_CONNECT_TIMEOUT_SECONDS=5", NULL},
    {"AUDIBLE_HTTP_CONNECT_TIMEOUT_SECONDS=-5", "seconds from 0.1 to 300"},
    {"LATCHKEY_PROVIDER_RETRIES=0", NULL},
    {"LATCHKEY_PROVIDER_RETRIES=11", "from 0 to 10"},
    {"LATCHKEY_BREAKER_FAILURES=0", NULL},
    {"LATCHKEY_BREAKER_FAILURES=many", "\"many\""},
    {"LATCHKEY_BREAKER_PAUSE_SECONDS=0.5", NULL},
    {"LATCHKEY_BREAKER_PAUSE_SECONDS=0", "from 0.1 to 300"},
    {"LATCHKEY_BREAKER_PAUSE_MAX_SECONDS=60", NULL},
    {"LATCHKEY_BREAKER_PAUSE_MAX_SECONDS=-1", "from 0.1 to 3600"},
    {"AUDIBLE_HTTP_MAX_CONNECTIONS=1", NULL},
    {"AUDIBLE_HTTP_MAX_CONNECTIONS=0", "from 1 to 10000"},
    {"AUDIBLE_HTTP_KEEPALIVE_CONNECTIONS=0", NULL},
    {"AUDIBLE_HTTP_KEEPALIVE_CONNECTIONS=10001", "from 0 to 10000"},
    {"LATCHKEY_UPSTREAM_PROXY=http://user:pw@proxy.example:3128", NULL},
    {"LATCHKEY_UPSTREAM_PROXY=socks5h://127.0.0.1:1080", NULL},
    {"LATCHKEY_UPSTREAM_PROXY=\"http://proxy.example:3128\"", "quotes"},
    {"LATCHKEY_UPSTREAM_PROXY=proxy.example:3128", "http://proxy.example:3128"},
    {"LATCHKEY_UPSTREAM_PROXY=http://", "http://proxy.example:3128"},
    {"LATCHKEY_UPSTREAM_CA_FILE=/nonexistent/ca.pem", "can't be read"},
    {"LATCHKEY_ALLOW_INSECURE_UPSTREAM=1", NULL},
    {"LATCHKEY_ALLOW_INSECURE_UPSTREAM=true", "0 or 1"},
    {"ALGORITHM=HS512", NULL},
    {"ALGORITHM=RS256", "HS256, HS384, HS512"},
    {"ALGORITHM=none", "HS256, HS384, HS512"},
    {"ALGORITHM=hs256", "HS256, HS384, HS512"},
    {"LATCHKEY_JWKS_URL=https://login.example/.well-known/jwks.json", NULL},
    {"LATCHKEY_JWKS_URL=http://127.0.0.1:9400/jwks", NULL},
    {"LATCHKEY_JWKS_URL=http://login.example/jwks", "use https"},
    {"LATCHKEY_JWKS_URL=login.example/jwks", "https"},
    {"LATCHKEY_JWKS_URL=file:///etc/jwks.json", "https"},
    {"LATCHKEY_JWT_ISSUER=platform", NULL},
    {"LATCHKEY_JWT_ISSUER=a\rb", "control character"},
    {"LATCHKEY_JWT_AUDIENCE=latchkey", NULL},
    {"LATCHKEY_JWT_AUDIENCE=\"latchkey\"", "quotes"},
    {"LATCHKEY_JWT_LEEWAY_SECONDS=0", NULL},
    {"LATCHKEY_JWT_LEEWAY_SECONDS=300", NULL},
    {"LATCHKEY_JWT_LEEWAY_SECONDS=300.001", "seconds from 0 to 300"},
    {"LATCHKEY_USERS=claims", NULL},
    {"LATCHKEY_USERS=ldap", "claims, mongodb"},
    {"LATCHKEY_LISTEN=127.0.0.1:8090,[::1]:8090,unix:/tmp/x", NULL},
    {"LATCHKEY_LISTEN=localhost:8090", "names are not resolved"},
    {"LATCHKEY_LISTEN='127.0.0.1:8090'", "quotes"},
    {"LATCHKEY_LISTEN=8090", "127.0.0.1:8090"},
    {"LATCHKEY_LISTEN=[::1]:1,[::1]:2,[::1]:3,[::1]:4,[::1]:5,[::1]:6,[::1]:7,[::1]:8", NULL},
    {"LATCHKEY_LISTEN=[::1]:1,[::1]:2,[::1]:3,[::1]:4,[::1]:5,[::1]:6,[::1]:7,[::1]:8,[::1]:9",
     "at most 8"},
    {"LATCHKEY_LISTEN=::1:8090", "[::1]:8090"},
    {"LATCHKEY_API_PREFIX=/", NULL},
    {"LATCHKEY_API_PREFIX=/a-b/v2.0/x_y", NULL},
    {"LATCHKEY_API_PREFIX=api/v1", "/api/v1"},
    {"LATCHKEY_API_PREFIX=/api/v1/", "no slash at the end"},
    {"LATCHKEY_API_PREFIX=/api//v1", "/api/v1"},
    {"LATCHKEY_API_PREFIX=/api/../v1", "/api/v1"},
    {"LATCHKEY_API_PREFIX=/{x}", "/api/v1"},
    {"LATCHKEY_RETURN_URL=https://app.example/settings#audible", NULL},
    {"LATCHKEY_RETURN_URL=app.example", "absolute URI"},
    {"LATCHKEY_RETURN_URL=https://app.example/\r\nX: y", "newline"},
    {"LATCHKEY_CORS_ORIGINS=https://app.example,http://localhost:3000,capacitor://localhost", NULL},
    {"LATCHKEY_CORS_ORIGINS=http://[::1]:3000", NULL},
    {"LATCHKEY_CORS_ORIGINS=*", "* is not supported"},
    {"LATCHKEY_CORS_ORIGINS=null", "not an origin"},
    {"LATCHKEY_CORS_ORIGINS=app.example", "not an origin"},
    {"LATCHKEY_CORS_ORIGINS=https://app.example/", "without a slash"},
    {"LATCHKEY_CORS_ORIGINS=https://app.example/x", "with a path"},
    {"LATCHKEY_CORS_ORIGINS=https://*.app.example", "scheme://host[:port]"},
    {"LATCHKEY_CORS_ORIGINS=https://App.example", "small letters"},
    {"LATCHKEY_CORS_ORIGINS=https://app.example:443", "usual port"},
    {"LATCHKEY_CORS_ORIGINS=http://app.example:80", "usual port"},
    {"LATCHKEY_CORS_ORIGINS=https://app.example:80", NULL},
    {"LATCHKEY_TRUSTED_PROXIES=10.0.0.0/8, ::1", NULL},
    {"LATCHKEY_TRUSTED_PROXIES=10.0.0.1/8", "behind its first 8"},
    {"LATCHKEY_TRUSTED_PROXIES=10.0.0.0/8,proxy", "(entry 2)"},
    {"LATCHKEY_LOG_LEVEL=warning", NULL},
    {"LATCHKEY_LOG_LEVEL=warn", "debug, info, warning, error"},
    {"LATCHKEY_MAX_CONNECTIONS=1000000", NULL},
    {"LATCHKEY_MAX_CONNECTIONS=1e6", "from 1 to 1000000"},
    {"LATCHKEY_HEAD_TIMEOUT_SECONDS=0.2", NULL},
    {"LATCHKEY_HEAD_TIMEOUT_SECONDS=0.05", "seconds from 0.1 to 300"},
    {"LATCHKEY_IDLE_TIMEOUT_SECONDS=3600", NULL},
    {"LATCHKEY_IDLE_TIMEOUT_SECONDS=3601", "seconds from 0.1 to 3600"},
    {"LATCHKEY_WRITE_TIMEOUT_SECONDS=1", NULL},
    {"LATCHKEY_WRITE_TIMEOUT_SECONDS=x", "seconds from 0.1 to 300"},
    {"LATCHKEY_REQUEST_TIMEOUT_SECONDS=41", NULL},
    {"LATCHKEY_REQUEST_TIMEOUT_SECONDS=0", "seconds from 0.1 to 600"},
    {"LATCHKEY_DRAIN_SECONDS=0", NULL},
    {"LATCHKEY_DRAIN_SECONDS=-1", "seconds from 0 to 3600"},
    {"LATCHKEY_DRAIN_DELAY_SECONDS=5", NULL},
    {"LATCHKEY_DRAIN_DELAY_SECONDS=9999", "seconds from 0 to 3600"},
    {"LATCHKEY_WORKERS=1", NULL},
    {"LATCHKEY_WORKERS=1\n", "from 1 to 256"},
    {"LATCHKEY_WORKERS=11111111111111111111111111", "from 1 to 256"},
    {"LATCHKEY_WORKERS=0", "from 1 to 256"},
    {"LATCHKEY_WORK_THREADS=8", NULL},
    {"LATCHKEY_WORK_THREADS=0", "from 1 to 256"},
    {"LATCHKEY_STATE_STORE=memory", NULL},
    {"LATCHKEY_STATE_STORE='memory'", "quotes"},
    {"LATCHKEY_STATE_STORE=memcached", "memory, redis://"},
    {"LATCHKEY_STATE_MAX=100000000", NULL},
    {"LATCHKEY_STATE_MAX=100000001", "from 1 to 100000000"},
    {"LATCHKEY_STATE_MAX=99999999999999999999999", "from 1 to 100000000"},
    {"LATCHKEY_ACCOUNT_STORE=sqlite:/var/lib/latchkey.db", NULL},
    {"LATCHKEY_ACCOUNT_STORE=/var/lib/latchkey.db", "sqlite:"},
    {"LATCHKEY_ACCOUNT_STORE=sqlite:", "sqlite:"},
    {"LATCHKEY_ACCOUNT_STORE=sqlite:///data/x.db", "slashes"},
    {"LATCHKEY_ACCOUNT_STORE=sqlite::memory:", "name a file"},
    {"AUDIBLE_RATE_LIMIT_PER_MINUTE=0", NULL},
    {"AUDIBLE_RATE_LIMIT_PER_MINUTE=ten", "\"ten\""},
    {"LATCHKEY_RATE_LIMIT_CALLBACK_PER_ADDRESS_PER_MINUTE=0", NULL},
    {"LATCHKEY_RATE_LIMIT_CALLBACK_PER_ADDRESS_PER_MINUTE=-1", "from 0 to 1000000"},
    {"LATCHKEY_RATE_LIMIT_SEARCH_PER_MINUTE=1", NULL},
    {"LATCHKEY_RATE_LIMIT_SEARCH_PER_MINUTE=1 1", "from 0 to 1000000"},
    {"LATCHKEY_RATE_LIMIT_PER_MINUTE=1000000", NULL},
    {"LATCHKEY_RATE_LIMIT_PER_MINUTE=1000001", "from 0 to 1000000"},
    {"AUDIBLE_RATE_LIMIT_STORAGE=memory", NULL},
    {"AUDIBLE_RATE_LIMIT_STORAGE=file", "memory, redis"},
    {"LATCHKEY_STATE_STORE=redis://:pw@127.0.0.1:6379/0", NULL},
    {"LATCHKEY_STATE_STORE=redis://127.0.0.1:99999", "port"},
    {"LATCHKEY_ACCOUNT_STORE=redis://localhost", NULL},
    {"LATCHKEY_ACCOUNT_STORE=redis://cache:0", "port"},
    {"LATCHKEY_REDIS_CA_FILE=/no/such/file.pem", "can't be read"},
    {"LATCHKEY_ACCOUNT_CACHE_SECONDS=60", NULL},
    {"LATCHKEY_ACCOUNT_CACHE_SECONDS=61", "from 0 to 60"},
    {"LATCHKEY_ACCOUNT_STORE=mongodb://db/platform", NULL},
    {"LATCHKEY_ACCOUNT_STORE=mongodb://db", "names no database"},
    {"LATCHKEY_TLS_CERT=/etc/latchkey/cert.pem", "set without LATCHKEY_TLS_KEY"},
    {"LATCHKEY_TLS_KEY=/etc/latchkey/key.pem", "set without LATCHKEY_TLS_CERT"},
    {"LATCHKEY_TLS_HANDSHAKE_TIMEOUT_SECONDS=0.1", NULL},
    {"LATCHKEY_TLS_HANDSHAKE_TIMEOUT_SECONDS=0.05", "from 0.1 to 300"},
    {"LATCHKEY_TLS_HANDSHAKES_MAX=1000000", NULL},
    {"LATCHKEY_TLS_HANDSHAKES_MAX=0", "from 1 to 1000000"},
    {"LATCHKEY_METRICS_LISTEN=127.0.0.1:9100", NULL},
    {"LATCHKEY_METRICS_LISTEN=127.0.0.1:8090", "an address of its own"},
    {"LATCHKEY_DOCS_DIR=/usr/share/latchkey/docs", NULL},
    {"LATCHKEY_USERS=mongodb", "set that to mongodb://"},
    {"AUDIBLE_RATE_LIMIT_STORAGE=redis", "set that to redis://"},
};

Test(config, reads_good_values_and_says_what_is_wrong_with_bad_ones) {
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        const char *setting = values[i].setting;
        char name[96];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(setting, "="), setting);
        if (values[i].says == NULL) {
            struct reading reading = assert_good(READ(setting), setting);
            reading_free(&reading);
        } else {
            assert_refused(READ(setting), name, values[i].says, setting);
        }
    }
    CHECK_LEAKS();
}

/* "NAME=" and `n` times `unit`. */
static char *many(const char *name, const char *unit, size_t n) {
    size_t length = strlen(unit);
    size_t at = strlen(name) + 1;
    char *text = malloc(at + n * length + 1);
    snprintf(text, at + 1, "%s=", name);
    for (size_t i = 0; i < n; i++, at += length) {
        memcpy(text + at, unit, length + 1);
    }
    return text;
}

Test(config, values_that_are_too_long_are_refused) {
    static const struct {
        const char *name;
        const char *unit;
        size_t n;
        const char *says;
    } cases[] = {
        {"AUDIBLE_CLIENT_ID", "a", LIMIT_URI_BYTES + 1, "is too long"},
        {"SECRET_KEY_OLD", "0123456789abcdef", 257, "is too long"},
        {"LATCHKEY_TRUSTED_PROXIES", "10.0.0.1,", 256, "too many entries"},
        {"AUDIBLE_CLIENT_SECRET_FILE", "/a", 4096, "path is too long"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *setting = many(cases[i].name, cases[i].unit, cases[i].n);
        assert_refused(READ(setting), cases[i].name, cases[i].says, cases[i].name);
        free(setting);
    }
    CHECK_LEAKS();
}

/* The table above forgets none. */
Test(config, every_variable_is_tested) {
    const char *const elsewhere[] = {"AUDIBLE_CLIENT_SECRET", "AUDIBLE_TOKEN_ENCRYPTION_KEY",
                                     "SECRET_KEY", "SECRET_KEY_OLD",
                                     "LATCHKEY_DOCS_DIR" /* any text is a folder */};
    for (size_t i = 0; i < config_table_count; i++) {
        for (size_t k = 0; k < config_table[i].count; k++) {
            const char *name = config_table[i].vars[k].name;
            bool found = false;
            for (size_t n = 0; n < sizeof elsewhere / sizeof elsewhere[0]; n++) {
                found |= strcmp(elsewhere[n], name) == 0;
            }
            for (size_t n = 0; n < sizeof values / sizeof values[0]; n++) {
                found |=
                    values[n].says != NULL && strncmp(values[n].setting, name, strlen(name)) == 0;
            }
            cr_assert(found, "%s has no bad value in the table", name);
        }
    }
}

Test(config, stores_what_it_read) {
    struct reading reading = assert_good(
        READ("AUDIBLE_CLIENT_ID=id", "AUDIBLE_CLIENT_SECRET=sec", "AUDIBLE_REDIRECT_URI=app:/cb",
             "AUDIBLE_ALLOWED_REDIRECT_URIS= app:/a ,app:/b", "AUDIBLE_AUTH_URL=https://a.b/c///",
             "AUDIBLE_TOKEN_ENCRYPTION_KEY=" GOOD_KEY, "LATCHKEY_HEAD_TIMEOUT_SECONDS=0.25",
             "LATCHKEY_LOG_LEVEL=error", "ALGORITHM=HS384", "LATCHKEY_API_PREFIX=/",
             "LATCHKEY_TRUSTED_PROXIES=10.0.0.0/8,fd00::/8", "LATCHKEY_WORKERS= 1 "),
        "all good");
    const struct config *config = reading.config;
    cr_assert(config_has_integration(config));
    cr_assert(slice_eq(secret_slice(&config->client_secret), SLICE("sec")));
    cr_assert_eq(config->allowed_redirect_uris.count, 2);
    cr_assert(slice_eq(config->allowed_redirect_uris.at[0], SLICE("app:/a")));
    cr_assert(slice_eq(config->allowed_redirect_uris.at[1], SLICE("app:/b")));
    cr_assert_str_eq(config->auth_url.at, "https://a.b/c");
    cr_assert_eq(fernet_keys_count(config->encryption_keys), 1);
    cr_assert_eq(config->head_timeout_ms, 250);
    cr_assert_eq(config->log_level, LOG_ERROR);
    cr_assert_eq(config->algorithm, HASH_HS384);
    cr_assert_eq(config->api_prefix.len, 0);
    cr_assert_not(slice_is_null(config->api_prefix));
    cr_assert_eq(config->trusted_proxies.count, 2);
    cr_assert_eq(config->trusted_proxies.at[1].bits, 8);
    reading_free(&reading);
    CHECK_LEAKS();
}

Test(config, says_every_problem_at_once) {
    struct reading reading =
        READ("SECRET_KEY=short", "LATCHKEY_LISTEN=x", "AUDIBLE_AUTH_URL=http://a.example",
             "LATCHKEY_WORKERS=many", "LATCHKEY_LISTN=1", "AUDIBLE_TOKEN_ENCRYPTION_KEY=abc",
             "LATCHKEY_USERS=mongodb");
    const char *const names[] = {
        "SECRET_KEY",       "LATCHKEY_LISTEN", "AUDIBLE_AUTH_URL",
        "LATCHKEY_WORKERS", "LATCHKEY_LISTN",  "AUDIBLE_TOKEN_ENCRYPTION_KEY",
        "LATCHKEY_USERS",
    };
    cr_assert_eq(reading.rc, RC_USAGE);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        cr_assert_not_null(find_note(&reading, names[i], "", true), "%s", names[i]);
    }
    cr_assert_eq(reading.notes.problem_count, sizeof names / sizeof names[0]);
    reading_free(&reading);
    CHECK_LEAKS();
}

Test(config, says_exactly_what_is_wrong_with_a_fernet_key) {
    const struct {
        const char *value;
        const char *says;
    } cases[] = {
        {"AUDIBLE_TOKEN_ENCRYPTION_KEY=\"" GOOD_KEY "\"", "quote"},
        {"AUDIBLE_TOKEN_ENCRYPTION_KEY='" GOOD_KEY "'", "quote"},
        {"AUDIBLE_TOKEN_ENCRYPTION_KEY=" GOOD_KEY "\n", "newline"},
        {"AUDIBLE_TOKEN_ENCRYPTION_KEY=cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4",
         "end is missing"},
        {"AUDIBLE_TOKEN_ENCRYPTION_KEY=cw_0x689", "44"},
        {"AUDIBLE_TOKEN_ENCRYPTION_KEY=" GOOD_KEY ",cw_0x689", "2"},
        {"AUDIBLE_TOKEN_ENCRYPTION_KEY=cw+0x689RpI/jtRR7oE8h/eQsKImvJapLeSbXpwF4e4=", "base64url"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_refused(READ(cases[i].value), "AUDIBLE_TOKEN_ENCRYPTION_KEY", cases[i].says,
                       cases[i].value);
    }
    CHECK_LEAKS();
}

Test(config, needs_a_secret_of_32_bytes) {
    assert_refused(READ("SECRET_KEY="), "SECRET_KEY", "is not set", "empty");
    assert_refused(READ("SECRET_KEY=0123456789abcdef0123456789abcde"), "SECRET_KEY",
                   "has 31 bytes; it needs at least 32", "31 bytes");
    struct reading reading =
        assert_good(READ("SECRET_KEY=0123456789abcdef0123456789abcdef"), "32 bytes");
    reading_free(&reading);
    CHECK_LEAKS();
}

Test(config, published_keys_may_stand_for_the_secret) {
    struct reading reading =
        assert_good(READ("LATCHKEY_JWKS_URL=https://login.example/jwks", "SECRET_KEY="), "alone");
    cr_assert(slice_eq(reading.config->jwks_url, SLICE("https://login.example/jwks")));
    cr_assert_null(reading.config->secret_key.at);
    reading_free(&reading);
    assert_refused(READ("SECRET_KEY=", "LATCHKEY_JWKS_URL="), "SECRET_KEY", "LATCHKEY_JWKS_URL",
                   "neither");
    assert_refused(READ("LATCHKEY_JWKS_URL=https://login.example/jwks",
                        "SECRET_KEY=", "SECRET_KEY_OLD=c0ffee5ab1e5f00dba11ad0123456789"),
                   "SECRET_KEY_OLD", "without SECRET_KEY", "the old one alone");
    CHECK_LEAKS();
}

Test(config, warns_of_what_is_legal_but_unwise) {
    const struct {
        const char *setting;
        const char *name;
        const char *says;
    } cases[] = {
        {"SECRET_KEY=aaaaaaaabbbbbbbbccccccccdddddddd", "SECRET_KEY", "easy to guess"},
        {"SECRET_KEY=please-ChangeMe-0123456789abcdefghi", "SECRET_KEY", "easy to guess"},
        {"SECRET_KEY='0123456789abcdefghijklmnopqrstuv'", "SECRET_KEY", "quotes"},
        {"SECRET_KEY=0123456789abcdefghijklmnopqrstuv\n", "SECRET_KEY", "newline"},
        {"SECRET_KEY_OLD=0123456789", "SECRET_KEY_OLD", "fewer than the 32"},
        {"SECRET_KEY_OLD=c0ffee5ab1e5f00dba11ad0123456789", "SECRET_KEY_OLD", "same as SECRET_KEY"},
        {"ALGORITHM=HS512", "SECRET_KEY", "at least 64"},
        {"AUDIBLE_REDIRECT_URI=http://app.example/cb", "AUDIBLE_REDIRECT_URI", "use https"},
        {"AUDIBLE_ALLOWED_REDIRECT_URIS=app:/cb,http://app.example/cb",
         "AUDIBLE_ALLOWED_REDIRECT_URIS", "use https"},
        {"LATCHKEY_LISTEN=0.0.0.0:8090", "LATCHKEY_LISTEN", "LATCHKEY_TRUSTED_PROXIES"},
        {"LATCHKEY_LISTEN=[::]:8090", "LATCHKEY_LISTEN", "LATCHKEY_TRUSTED_PROXIES"},
        {"X=1", "AUDIBLE_TOKEN_ENCRYPTION_KEY", "STORED IN PLAIN"},
        {"X=1", "AUDIBLE_CLIENT_ID", "answers 503"},
        {"AUDIBLE_CLIENT_ID=a", "AUDIBLE_CLIENT_SECRET", "until all of"},
        {"AUDIBLE_CLIENT_ID=a", "AUDIBLE_REDIRECT_URI", "until all of"},
        {"AUDIBLE_CLIENT_SECRET=a", "AUDIBLE_CLIENT_ID", "until all of"},
        {"AUDIBLE_HTTP_CONNECT_TIMEOUT_SECONDS=31", "AUDIBLE_HTTP_CONNECT_TIMEOUT_SECONDS",
         "AUDIBLE_HTTP_TIMEOUT_SECONDS"},
        {"LATCHKEY_REQUEST_TIMEOUT_SECONDS=29", "LATCHKEY_REQUEST_TIMEOUT_SECONDS",
         "AUDIBLE_HTTP_TIMEOUT_SECONDS"},
        {"LATCHKEY_DRAIN_SECONDS=39", "LATCHKEY_DRAIN_SECONDS", "LATCHKEY_REQUEST_TIMEOUT_SECONDS"},
        {"AUDIBLE_HTTP_KEEPALIVE_CONNECTIONS=101", "AUDIBLE_HTTP_KEEPALIVE_CONNECTIONS",
         "AUDIBLE_HTTP_MAX_CONNECTIONS"},
        {"AUDIBLE_INTEGRATION_ENABLED=1", "AUDIBLE_INTEGRATION_ENABLED", "has no effect"},
        {"AUDIBLE_CLIENT_SECERT=1", "AUDIBLE_CLIENT_SECERT", "AUDIBLE_CLIENT_SECRET?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_warned(READ(cases[i].setting), cases[i].name, cases[i].says, cases[i].setting);
    }
    assert_warned(
        READ("AUDIBLE_AUTH_URL=http://login.example", "LATCHKEY_ALLOW_INSECURE_UPSTREAM=1"),
        "AUDIBLE_AUTH_URL", "in the clear", "insecure");
    CHECK_LEAKS();
}

Test(config, several_workers_need_stores_that_they_share) {
    static const char redis[] = "LATCHKEY_STATE_STORE=redis://127.0.0.1";
    static const char accounts[] = "LATCHKEY_ACCOUNT_STORE=redis://127.0.0.1";
    assert_refused(READ("LATCHKEY_WORKERS=2", accounts), "LATCHKEY_WORKERS",
                   "is 2, and LATCHKEY_STATE_STORE is memory", "no states");
    assert_refused(READ("LATCHKEY_WORKERS=256", redis), "LATCHKEY_WORKERS",
                   "one file has one server", "no accounts");
    struct reading reading = READ("LATCHKEY_WORKERS=2");
    cr_assert_eq(reading.rc, RC_USAGE);
    cr_assert_eq(reading.notes.problem_count, 2, "both are said");
    reading_free(&reading);
    assert_warned(READ("LATCHKEY_WORKERS=3", redis, accounts), "AUDIBLE_RATE_LIMIT_STORAGE",
                  "up to 3 times as many", "limits of each process");
    reading =
        assert_good(READ("LATCHKEY_WORKERS=3", redis, accounts, "AUDIBLE_RATE_LIMIT_STORAGE=redis"),
                    "all of it shared");
    cr_assert_eq(reading.config->workers, 3);
    cr_assert_null(find_note(&reading, "AUDIBLE_RATE_LIMIT_STORAGE", "", false));
    reading_free(&reading);
    reading = assert_good(READ("LATCHKEY_WORKERS=1"), "one");
    reading_free(&reading);
    CHECK_LEAKS();
}

/* A configuration can be without any warning, but for what this build lacks. */
Test(config, says_nothing_of_a_good_configuration) {
    struct reading reading = assert_good(
        READ("AUDIBLE_CLIENT_ID=id", "AUDIBLE_CLIENT_SECRET=sec",
             "AUDIBLE_REDIRECT_URI=https://app.example/cb",
             "AUDIBLE_TOKEN_ENCRYPTION_KEY=" GOOD_KEY, "AUDIBLE_RATE_LIMIT_PER_MINUTE=0",
             "LATCHKEY_RATE_LIMIT_SEARCH_PER_MINUTE=0", "LATCHKEY_RATE_LIMIT_PER_MINUTE=0"),
        "good");
    if (reading.notes.count > 0) {
        log_notes(&reading);
    }
    cr_assert_eq(reading.notes.count, 0);
    reading_free(&reading);
    CHECK_LEAKS();
}

Test(config, refuses_unknown_names_and_finds_what_was_meant) {
    const struct {
        const char *setting;
        const char *says;
    } cases[] = {
        {"LATCHKEY_LISTN=1", "did you mean LATCHKEY_LISTEN?"},
        {"LATCHKEY_LOGLEVEL=1", "did you mean LATCHKEY_LOG_LEVEL?"},
        {"LATCHKEY_CLIENT_ID=1", "did you mean AUDIBLE_CLIENT_ID?"},
        {"LATCHKEY_ACCUONT_STORE=1", "did you mean LATCHKEY_ACCOUNT_STORE?"},
        {"LATCHKEY_NONSENSE_WITHOUT_LIKENESS=1", "latchkey --help lists all"},
        {"LATCHKEY_FILE=1", "is no variable"},
        {"LATCHKEY_=1", "is no variable"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[96];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(cases[i].setting, "="), cases[i].setting);
        assert_refused(READ(cases[i].setting), name, cases[i].says, cases[i].setting);
    }
    struct reading reading =
        assert_good(READ("LATCHKEY_PORT=tcp://10.0.0.1:8090", "LATCHKEY_PORT_8090_TCP=x",
                         "LATCHKEY_SERVICE_HOST=10.0.0.1",
                         "LATCHKEY_EMPTY=", "LATCHKEY_LISTEN=", "latchkey_x=1", "AUDIBLE_NOTHING="),
                    "injected and empty");
    cr_assert_null(find_note(&reading, "AUDIBLE_NOTHING", "", false));
    reading_free(&reading);
    CHECK_LEAKS();
}

static void write_file(const struct scratch *file, const void *bytes, size_t n) {
    int fd = open(file->path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

/* "<name>_FILE=<path>" */
struct file_setting {
    char text[512];
};

static struct file_setting file_setting(const char *name, const char *path) {
    struct file_setting setting;
    snprintf(setting.text, sizeof setting.text, "%s_FILE=%s", name, path);
    return setting;
}

Test(config, reads_a_value_from_a_file) {
    const struct {
        const char *content;
        size_t secret_bytes;
    } cases[] = {
        {"0123456789abcdefghijklmnopqrstuvwx", 34},
        {"0123456789abcdefghijklmnopqrstuvwx\n", 34},
        {"0123456789abcdefghijklmnopqrstuvwx\r\n", 34},
        {"0123456789abcdefghijklmnopqrstuvwx\n\n", 35}, /* one newline is dropped, not all */
        {" 123456789abcdefghijklmnopqrstuvwx ", 35},
    };
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "secret");
    struct file_setting setting = file_setting("SECRET_KEY", file.path);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_file(&file, cases[i].content, strlen(cases[i].content));
        struct reading reading = assert_good(READ(setting.text), cases[i].content);
        cr_assert_eq(reading.config->secret_key.len, cases[i].secret_bytes, "%zu", i);
        reading_free(&reading);
    }
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(config, says_what_is_wrong_with_a_file) {
    static char large[LIMIT_SECRET_FILE_BYTES + 1];
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "value");
    struct file_setting setting = file_setting("SECRET_KEY", file.path);
    assert_refused(READ(setting.text), "SECRET_KEY_FILE", "No such file", "absent");
    write_file(&file, "short", 5);
    assert_refused(READ(setting.text), "SECRET_KEY", "has 5 bytes", "short");
    write_file(&file, "a\0b", 3);
    assert_refused(READ(setting.text), "SECRET_KEY_FILE", "NUL", "NUL");
    memset(large, 'x', sizeof large);
    write_file(&file, large, sizeof large);
    assert_refused(READ(setting.text), "SECRET_KEY_FILE", "larger than 64 KiB", "large");
    assert_refused(READ(setting.text, GOOD_SECRET), "SECRET_KEY", "are both set", "both");
    struct file_setting folder_setting = file_setting("SECRET_KEY", folder.path);
    assert_refused(READ(folder_setting.text), "SECRET_KEY_FILE", "not a regular file", "folder");
    struct file_setting listen = file_setting("LATCHKEY_LISTEN", file.path);
    write_file(&file, "nonsense\n", 9);
    assert_refused(READ(listen.text), "LATCHKEY_LISTEN_FILE", "127.0.0.1:8090", "bad value");
    struct scratch fifo = scratch_file(&folder, "fifo");
    cr_assert_eq(mkfifo(fifo.path, 0600), 0);
    struct file_setting fifo_setting = file_setting("SECRET_KEY", fifo.path);
    assert_refused(READ(fifo_setting.text), "SECRET_KEY_FILE", "not a regular file", "fifo");
    scratch_free(&folder);
    CHECK_LEAKS();
}

Test(config, an_empty_file_counts_as_not_set_and_is_said) {
    struct scratch folder = scratch_new();
    struct scratch file = scratch_file(&folder, "key");
    struct file_setting setting = file_setting("AUDIBLE_TOKEN_ENCRYPTION_KEY", file.path);
    write_file(&file, "\n", 1);
    assert_warned(READ(setting.text), "AUDIBLE_TOKEN_ENCRYPTION_KEY_FILE", "counts as not set",
                  "empty file");
    /* An empty NAME_FILE is not set at all, so NAME counts. */
    struct reading reading = assert_good(
        READ("AUDIBLE_TOKEN_ENCRYPTION_KEY=" GOOD_KEY, "AUDIBLE_TOKEN_ENCRYPTION_KEY_FILE="),
        "empty name");
    cr_assert_not_null(reading.config->encryption_keys);
    reading_free(&reading);
    scratch_free(&folder);
    CHECK_LEAKS();
}

/* Whatever is wrong, a note holds nothing of a secret. */
Test(config, never_says_a_secret) {
    const char *const settings[] = {
        "SECRET_KEY=5eed",
        "SECRET_KEY_OLD=5eed5eed5eed5eed5eed5eed",
        "AUDIBLE_CLIENT_SECRET=5eed",
        "AUDIBLE_TOKEN_ENCRYPTION_KEY=5eed",
        "AUDIBLE_TOKEN_ENCRYPTION_KEY=\"5eed_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=\"",
        "LATCHKEY_STATE_STORE=redis://u:5eed@cache",
        "LATCHKEY_STATE_STORE=5eed",
        "LATCHKEY_ACCOUNT_STORE=mongodb://u:5eed@db",
        "LATCHKEY_ACCOUNT_STORE=sqlite://5eed",
        "LATCHKEY_UPSTREAM_PROXY=u:5eed@proxy",
        "AUDIBLE_AUTH_URL=https://u:5eed@login.example",
        "LATCHKEY_TYPO=5eed",
        "AUDIBLE_TYPO=5eed",
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        struct reading reading = READ(settings[i]);
        for (size_t k = 0; k < reading.notes.count; k++) {
            cr_assert_null(strstr(reading.notes.at[k].text, "5eed"), "%s: %s", settings[i],
                           reading.notes.at[k].text);
        }
        reading_free(&reading);
    }
    CHECK_LEAKS();
}

Test(config, more_notes_than_fit_are_counted) {
    static char names[NOTES_MAX + 50][32];
    char *env[NOTES_MAX + 51];
    for (size_t i = 0; i < NOTES_MAX + 50; i++) {
        snprintf(names[i], sizeof names[i], "LATCHKEY_WRONG_%zu=1", i);
        env[i] = names[i];
    }
    env[NOTES_MAX + 50] = NULL;
    struct reading reading;
    notes_init(&reading.notes);
    cr_assert_eq(config_read(env, &reading.notes, &reading.config), RC_USAGE);
    cr_assert_eq(reading.notes.count, NOTES_MAX);
    cr_assert_eq(reading.notes.problem_count, NOTES_MAX + 50 + 1);
    reading_free(&reading);
    CHECK_LEAKS();
}
