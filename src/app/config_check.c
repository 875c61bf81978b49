// SPDX-License-Identifier: MIT
#include "app/config_check.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "app/config_stores.h"
#include "app/config_table.h"
#include "io/tls.h"
#include "io/upstream_url.h"

enum { SECRET_BYTES_MIN = 32, SECRET_DISTINCT_BYTES_MIN = 10 };

static bool is_set(struct slice text) {
    return !slice_is_null(text);
}

static size_t distinct_bytes(struct slice text) {
    bool seen[256] = {false};
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        bool *at = &seen[(unsigned char)text.at[i]];
        count += *at ? 0 : 1;
        *at = true;
    }
    return count;
}

/* Words of the placeholders that examples come with. */
static bool has_placeholder(struct slice text) {
    static const char *const words[] = {"change", "secret", "password", "example", "your-"};
    for (size_t i = 0; i < text.len; i++) {
        for (size_t k = 0; k < sizeof words / sizeof words[0]; k++) {
            struct slice word = slice_str(words[k]);
            if (slice_ieq(slice_head(slice_from(text, i), word.len), word)) {
                return true;
            }
        }
    }
    return false;
}

static void warn_of_weakness(struct notes *notes, const char *name, struct slice secret) {
    if (distinct_bytes(secret) < SECRET_DISTINCT_BYTES_MIN || has_placeholder(secret)) {
        notes_warning(notes, name,
                      "looks easy to guess; use random bytes, for example of openssl rand -hex 32");
    }
    if (!slice_is_printable(secret)) {
        notes_warning(notes, name,
                      "holds a newline or another control character, which is part of the secret");
    }
    char first = secret.at[0];
    if ((first == '"' || first == '\'') && secret.at[secret.len - 1] == first) {
        notes_warning(notes, name, "is in quotes, which are part of the secret");
    }
}

static void check_secret_key(const struct config *config, struct notes *notes) {
    static const size_t wanted_bytes[] = {[HASH_HS256] = 32, [HASH_HS384] = 48, [HASH_HS512] = 64};
    struct slice secret = secret_slice(&config->secret_key);
    if (slice_is_null(secret)) {
        if (!notes_has_problem(notes, "SECRET_KEY") && slice_is_null(config->jwks_url)) {
            notes_problem(notes, "SECRET_KEY",
                          "is not set, nor is LATCHKEY_JWKS_URL; it is what callers' tokens are "
                          "signed with, at least %d bytes, for example of openssl rand -hex 32",
                          SECRET_BYTES_MIN);
        }
        return;
    }
    if (secret.len < SECRET_BYTES_MIN) {
        notes_problem(notes, "SECRET_KEY",
                      "has %zu bytes; it needs at least %d, for example of openssl rand -hex 32",
                      secret.len, SECRET_BYTES_MIN);
        return;
    }
    if (secret.len < wanted_bytes[config->algorithm]) {
        notes_warning(notes, "SECRET_KEY",
                      "has %zu bytes; ALGORITHM wants at least %zu (RFC 7518 section 3.2)",
                      secret.len, wanted_bytes[config->algorithm]);
    }
    warn_of_weakness(notes, "SECRET_KEY", secret);
}

static void check_secret_key_old(const struct config *config, struct notes *notes) {
    struct slice old = secret_slice(&config->secret_key_old);
    if (slice_is_null(old)) {
        return;
    }
    if (slice_is_null(secret_slice(&config->secret_key)) &&
        !notes_has_problem(notes, "SECRET_KEY")) {
        notes_problem(
            notes, "SECRET_KEY_OLD",
            "is set without SECRET_KEY; set that too, or leave both to LATCHKEY_JWKS_URL");
    }
    if (old.len < SECRET_BYTES_MIN) {
        notes_warning(notes, "SECRET_KEY_OLD", "has %zu bytes, fewer than the %d of a good secret",
                      old.len, SECRET_BYTES_MIN);
    }
    if (slice_eq_ct(old, secret_slice(&config->secret_key))) {
        notes_warning(notes, "SECRET_KEY_OLD", "is the same as SECRET_KEY; leave it out");
    }
    warn_of_weakness(notes, "SECRET_KEY_OLD", old);
}

static void check_integration(const struct config *config, struct notes *notes) {
    const struct {
        const char *name;
        bool is_set;
    } needed[] = {
        {"AUDIBLE_CLIENT_ID", is_set(config->client_id)},
        {"AUDIBLE_CLIENT_SECRET", config->client_secret.at != NULL},
        {"AUDIBLE_REDIRECT_URI", is_set(config->redirect_uri)},
    };
    bool any = needed[0].is_set || needed[1].is_set || needed[2].is_set;
    for (size_t i = 0; i < sizeof needed / sizeof needed[0] && any; i++) {
        if (!needed[i].is_set && !notes_has_problem(notes, needed[i].name)) {
            notes_warning(notes, needed[i].name,
                          "is not set: the integration answers 503 until all of "
                          "AUDIBLE_CLIENT_ID, AUDIBLE_CLIENT_SECRET and AUDIBLE_REDIRECT_URI are");
        }
    }
    bool any_wrong = notes_has_problem(notes, needed[0].name) ||
                     notes_has_problem(notes, needed[1].name) ||
                     notes_has_problem(notes, needed[2].name);
    if (!any && !any_wrong) {
        notes_warning(notes, "AUDIBLE_CLIENT_ID",
                      "is not set, nor are AUDIBLE_CLIENT_SECRET and AUDIBLE_REDIRECT_URI: the "
                      "integration answers 503");
    }
    if (config->encryption_keys == NULL &&
        !notes_has_problem(notes, "AUDIBLE_TOKEN_ENCRYPTION_KEY")) {
        notes_warning(notes, "AUDIBLE_TOKEN_ENCRYPTION_KEY",
                      "is not set: TOKENS ARE STORED IN PLAIN; latchkey keygen makes a key");
    }
}

static void check_redirect(struct notes *notes, const char *name, struct slice uri) {
    struct upstream_url url;
    if (is_set(uri) && upstream_url_read(uri.at, &url) == RC_OK && url.is_http &&
        !url.is_loopback) {
        notes_warning(notes, name,
                      "is an http:// URI to another machine: codes pass in the clear; use https");
    }
}

static void check_redirects(const struct config *config, struct notes *notes) {
    check_redirect(notes, "AUDIBLE_REDIRECT_URI", config->redirect_uri);
    for (size_t i = 0; i < config->allowed_redirect_uris.count; i++) {
        check_redirect(notes, "AUDIBLE_ALLOWED_REDIRECT_URIS", config->allowed_redirect_uris.at[i]);
    }
}

/* http:// only to loopback, unless allowed: client secret and tokens would pass in the clear. */
static void check_upstream_url(const struct config *config, struct notes *notes,
                               const struct config_var *var) {
    const struct slice *text = (const void *)((const char *)config + var->offset);
    struct upstream_url url;
    if (!is_set(*text) || upstream_url_read(text->at, &url) != RC_OK || url.is_https ||
        url.is_loopback) {
        return;
    }
    if (config->allow_insecure_upstream) {
        notes_warning(notes, var->name,
                      "is an http:// URL to another machine: secrets and tokens "
                      "pass in the clear; use https");
    } else {
        notes_problem(
            notes, var->name,
            "is an http:// URL to another machine: secrets and tokens would pass in the "
            "clear; use https (or, in a test network, LATCHKEY_ALLOW_INSECURE_UPSTREAM=1)");
    }
}

static void check_upstream(const struct config *config, struct notes *notes) {
    for (size_t i = 0; i < config_table_count; i++) {
        for (size_t k = 0; k < config_table[i].count; k++) {
            const struct config_var *var = &config_table[i].vars[k];
            if ((var->type == CONFIG_URL || var->type == CONFIG_BASE) &&
                !notes_has_problem(notes, var->name)) {
                check_upstream_url(config, notes, var);
            }
        }
    }
    if (is_set(config->upstream_ca_file) && access(config->upstream_ca_file.at, R_OK) != 0) {
        notes_problem(notes, "LATCHKEY_UPSTREAM_CA_FILE",
                      "names a file that can't be read (%s); name a PEM file", strerror(errno));
    }
}

static void say_of_file(struct notes *notes, const char *name, bool is_bad, const char *text) {
    if (is_bad) {
        notes_problem(notes, name, "%s", text);
    } else if (text[0] != '\0') {
        notes_warning(notes, name, "%s", text);
    }
}

static void check_tls(const struct config *config, struct notes *notes) {
    struct tls_report report;
    if (!is_set(config->tls_cert) && !is_set(config->tls_key)) {
        return;
    }
    if (!is_set(config->tls_cert) || !is_set(config->tls_key)) {
        bool lacks_key = is_set(config->tls_cert);
        notes_problem(notes, lacks_key ? "LATCHKEY_TLS_CERT" : "LATCHKEY_TLS_KEY",
                      "is set without %s; set both, or neither for plain HTTP",
                      lacks_key ? "LATCHKEY_TLS_KEY" : "LATCHKEY_TLS_CERT");
        return;
    }
    const struct tls_files files = {config->tls_cert.at, config->tls_key.at};
    tls_check(&files, &report);
    say_of_file(notes, "LATCHKEY_TLS_CERT", report.cert_is_bad, report.cert);
    say_of_file(notes, "LATCHKEY_TLS_KEY", report.key_is_bad, report.key);
}

static void check_listeners(const struct config *config, struct notes *notes) {
    const char *advice =
        is_set(config->tls_cert)
            ? "and LATCHKEY_TRUSTED_PROXIES is empty: where a proxy stands in front, name its "
              "addresses there, or all its clients count as one"
            : "without TLS, and LATCHKEY_TRUSTED_PROXIES is empty: put a TLS proxy in front and "
              "name its addresses there, or set LATCHKEY_TLS_CERT";
    for (size_t i = 0; i < config->listen.count; i++) {
        struct address address;
        char problem[ADDRESS_PROBLEM_BYTES];
        if (address_parse(config->listen.at[i], &address, problem) && !address_is_local(&address) &&
            config->trusted_proxies.count == 0) {
            notes_warning(notes, "LATCHKEY_LISTEN", "%s is reachable from other machines, %s",
                          config->listen.at[i].at, advice);
        }
    }
}

static void check_metrics(const struct config *config, struct notes *notes) {
    struct address address;
    char problem[ADDRESS_PROBLEM_BYTES];
    if (!is_set(config->metrics_listen) ||
        !address_parse(config->metrics_listen, &address, problem) ||
        (address.kind != ADDRESS_UNIX && address.port == 0)) {
        return; /* of the free ports each takes another */
    }
    for (size_t i = 0; i < config->listen.count; i++) {
        if (slice_eq(config->listen.at[i], config->metrics_listen)) {
            notes_problem(notes, "LATCHKEY_METRICS_LISTEN",
                          "is one of LATCHKEY_LISTEN; it needs an address of its own");
        }
    }
}

static void check_times(const struct config *config, struct notes *notes) {
    if (config->upstream_connect_timeout_ms > config->upstream_timeout_ms) {
        notes_warning(notes, "AUDIBLE_HTTP_CONNECT_TIMEOUT_SECONDS",
                      "is above AUDIBLE_HTTP_TIMEOUT_SECONDS, which ends the call first");
    }
    if (config->upstream_timeout_ms > config->request_timeout_ms) {
        notes_warning(notes, "LATCHKEY_REQUEST_TIMEOUT_SECONDS",
                      "is below AUDIBLE_HTTP_TIMEOUT_SECONDS: requests end before their calls do");
    }
    if (config->request_timeout_ms > config->drain_ms) {
        notes_warning(notes, "LATCHKEY_DRAIN_SECONDS",
                      "is below LATCHKEY_REQUEST_TIMEOUT_SECONDS: a drain may cut requests off");
    }
    if (config->upstream_keepalive_max > config->upstream_connections_max) {
        notes_warning(notes, "AUDIBLE_HTTP_KEEPALIVE_CONNECTIONS",
                      "is above AUDIBLE_HTTP_MAX_CONNECTIONS, which is the cap of both");
    }
}

void config_check(const struct config *config, struct notes *notes) {
    check_secret_key(config, notes);
    check_secret_key_old(config, notes);
    config_stores_check(config, notes);
    check_upstream(config, notes);
    check_integration(config, notes);
    check_redirects(config, notes);
    check_listeners(config, notes);
    check_tls(config, notes);
    check_metrics(config, notes);
    check_times(config, notes);
}
