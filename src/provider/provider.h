// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/slice.h"
#include "io/upstream.h"

/* The OAuth 2.0 provider as data: where it is, what it calls things. A provider that renames a
 * field costs one line in provider.c. */
struct provider_names {
    const char *authorize_path; /* under auth_url */
    const char *token_path;
    struct slice scope;
    /* of the token answer */
    const char *access_token;
    const char *refresh_token;
    const char *expires_in;
    const char *token_type;
    const char *user_id;
    const char *error;
};

/* Filled by app from the configuration; borrowed strings outlive it. */
struct provider {
    struct slice auth_url;
    struct slice api_base_url;
    struct slice revoke_url;    /* null: none */
    struct slice issuer;        /* null: not checked */
    struct slice client_id;     /* null: not configured */
    struct slice client_secret; /* null: not configured */
    struct slice redirect_uri;  /* null: not configured */
    const struct slice *allowed_redirect_uris;
    size_t allowed_redirect_uri_count;
    const struct provider_names *names;
    struct upstream *upstream;
    struct metrics *metrics;
    struct log *log;
};

extern const struct provider_names provider_audible;

static inline bool provider_is_configured(const struct provider *provider) {
    return !slice_is_null(provider->client_id) && !slice_is_null(provider->client_secret) &&
           !slice_is_null(provider->redirect_uri);
}

/* The redirect URI to send: `wanted` where it is, to the letter, one that is allowed; else the
 * configured one. */
struct slice provider_redirect_uri(const struct provider *provider, struct slice wanted);
