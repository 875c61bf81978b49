// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>

#include "auth/bearer.h"
#include "auth/users.h"
#include "base/address.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/metrics_group.h"
#include "crypto/rng.h"
#include "http/server.h"
#include "io/loop.h"
#include "io/redis.h"
#include "provider/provider.h"
#include "store/accounts.h"
#include "store/leases.h"
#include "store/states.h"

struct docs;

/* The HTTP API of the contract: a handler for http/server. */
struct api;

/* Requests a minute; 0: no limit. A burst is the limit. */
struct api_rates {
    int64_t oauth_per_minute; /* authorize, and callback: by user */
    int64_t search_per_minute;
    int64_t other_per_minute;
    int64_t address_per_minute; /* callback: by client address */
};

/* Borrowed for the api's life. */
struct api_opts {
    struct loop *loop;
    struct log *log;
    struct metrics *metrics;
    const struct metrics_group *metrics_group; /* with those of others; NULL: there are none */
    struct rng *rng;
    struct bearer *bearer;
    bool has_published_keys; /* /readyz tells of them */
    struct users *users;     /* NULL: role, tier and activity are the token's */
    struct provider *provider;
    struct states *states;
    struct accounts *accounts;
    struct leases *leases;   /* NULL: no other process has these accounts */
    struct slice prefix;     /* "/api/v1" */
    bool serves_metrics;     /* /metrics is a route of the main listeners too */
    const struct docs *docs; /* NULL: /docs is no route */
    struct slice return_url; /* null: the browser's way back ends on a page of ours */
    const struct slice *cors_origins;
    size_t cors_origin_count;
    struct api_rates rates;
    struct redis *rates_redis; /* open until `closed`; NULL: each process counts for itself */
    const struct address_block *trusted_proxies; /* whose X-Forwarded-For is believed */
    size_t trusted_proxy_count;
    size_t body_max;
    int64_t request_timeout_ms;
    int64_t provider_timeout_ms; /* of one call to it */
};

struct api *api_new(const struct api_opts *opts); /* NULL: the crypto library failed */

/* What http_server_opts wants. `owner` is the api. */
extern const struct http_handler api_handler;
/* The same for LATCHKEY_METRICS_LISTEN: /metrics and /healthz only. */
extern const struct http_handler api_metrics_handler;
extern const char api_headers[];     /* the header lines on every response */
extern const char api_tls_headers[]; /* those over TLS too */
extern const char api_csp[];         /* the default Content-Security-Policy */

/* From now on /readyz says 503. */
void api_drain(struct api *api);

/* Frees it. `closed` runs on a later turn, when no flow is open any more: flows may outlive their
 * client (a code that was sent is spent, so its account is stored). */
void api_close(struct api *api, void (*closed)(void *owner), void *owner);
