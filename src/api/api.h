// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>

#include "auth/bearer.h"
#include "base/log.h"
#include "base/metrics.h"
#include "crypto/rng.h"
#include "http/server.h"
#include "io/loop.h"
#include "provider/provider.h"
#include "store/accounts.h"
#include "store/states.h"

/* The HTTP API of the contract: a handler for http/server. */
struct api;

/* Borrowed for the api's life. */
struct api_opts {
    struct loop *loop;
    struct log *log;
    struct metrics *metrics;
    struct rng *rng;
    struct bearer *bearer;
    struct provider *provider;
    struct states *states;
    struct accounts *accounts;
    struct slice prefix;     /* "/api/v1" */
    struct slice return_url; /* null: the browser's way back ends on a page of ours */
    const struct slice *cors_origins;
    size_t cors_origin_count;
    size_t body_max;
    int64_t request_timeout_ms;
    int64_t provider_timeout_ms; /* of one call to it */
};

struct api *api_new(const struct api_opts *opts); /* NULL: the crypto library failed */

/* What http_server_opts wants. `owner` is the api. */
extern const struct http_handler api_handler;
extern const char api_headers[]; /* the header lines on every response */
extern const char api_csp[];     /* the default Content-Security-Policy */

/* From now on /readyz says 503. */
void api_drain(struct api *api);

/* Frees it. `closed` runs on a later turn, when no flow is open any more: flows may outlive their
 * client (a code that was sent is spent, so its account is stored). */
void api_close(struct api *api, void (*closed)(void *owner), void *owner);
