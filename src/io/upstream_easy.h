// SPDX-License-Identifier: MIT
#pragma once

#include <curl/curl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/rc.h"
#include "io/upstream.h"
#include "io/upstream_copy.h"

/* One transfer: what libcurl is told of it, and what its callbacks bring. */
struct upstream_easy {
    CURL *curl;
    struct upstream_copy request;
    struct buf body;
    size_t head_bytes; /* of all header lines, interim answers and trailers included */
    int64_t retry_after_s;
    bool *sent; /* set just before the first byte of the request is written */
    bool is_repeatable;
    bool is_too_large;
};

/* What all transfers have in common. False: an option could not be set, and the handle must not be
 * used: it might be less strict than it should be. */
bool upstream_easy_common(CURL *curl, const struct upstream_opts *opts);

/* All options of `easy->curl`, which is fresh or reset; `easy->request` is made. */
bool upstream_easy_prepare(struct upstream_easy *easy, const struct upstream_opts *opts,
                           size_t answer_max);

/* What the end of a transfer means; its status, 0 where there is none. */
enum rc upstream_easy_result(const struct upstream_easy *easy, CURLcode code, int *status);
