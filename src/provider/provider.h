// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"
#include "base/metrics.h"
#include "base/slice.h"
#include "io/loop.h"
#include "io/upstream.h"
#include "io/work.h"
#include "provider/breaker.h"
#include "provider/retry.h"

/* A parameter that is sent as it stands here, or a name alone. */
struct provider_parameter {
    const char *name;
    const char *value;
};

/* The OAuth 2.0 provider as data: where it is, what it calls things. A provider that renames a
 * field costs one line in provider.c. What RFC 6749, 7009 and 7636 name stands in token.c. */
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

    /* of the API, under api_base_url */
    const char *library_path;
    const char *search_path;
    const char *details_path;  /* before the asin */
    const char *authorization; /* the header with the access token */
    const char *authorization_scheme;
    const char *guest_token; /* where no user's is needed */
    struct provider_parameter library_sort;
    struct provider_parameter response_groups; /* of all three */
    const char *library_limit;
    const char *library_offset;
    const char *search_query;
    const char *search_limit;
    const char *product_page; /* of the shop, before the asin */
    size_t library_page_max;  /* books */
    size_t search_page_max;
    /* of its answers */
    const char *library_items;
    const char *library_item_book; /* of each item */
    const char *search_books;
    const char *details_book;
    /* of a book */
    const char *asin;
    const char *title;
    const char *author;
    const char *narrators; /* a list; the first one is taken */
    const char *narrator_name;
    const char *images; /* by size */
    const char *image_size;
    const char *description;
    const char *duration_ms;
    const char *rating;
};

/* Those that answer for themselves: one may be down while the other is not. */
enum provider_peer {
    PROVIDER_AUTH, /* token and revocation endpoints */
    PROVIDER_API,
    PROVIDER_PEERS
};

/* Filled by app from the configuration; borrowed strings outlive it. Loop thread only. */
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
    struct loop *loop;
    struct upstream *upstream;
    struct work *work; /* NULL: large answers are read on the loop too */
    struct metrics *metrics;
    struct log *log;
    struct retry_opts retry;                 /* all zero: nothing is tried again */
    struct breaker breakers[PROVIDER_PEERS]; /* all zero: they never open */
};

extern const struct provider_names provider_audible;

static inline bool provider_is_configured(const struct provider *provider) {
    return !slice_is_null(provider->client_id) && !slice_is_null(provider->client_secret) &&
           !slice_is_null(provider->redirect_uri);
}

/* The redirect URI to send: `wanted` where it is, to the letter, one that is allowed; else the
 * configured one. */
struct slice provider_redirect_uri(const struct provider *provider, struct slice wanted);

/* Closed breakers with these opts, one for each peer. Before the first call. */
void provider_set_breakers(struct provider *provider, const struct breaker_opts *opts);
