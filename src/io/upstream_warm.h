// SPDX-License-Identifier: MIT
#pragma once

#include <curl/curl.h>

#include "io/upstream.h"

/* Makes libcurl read the CA bundle now rather than on the loop, some 40 ms of it: begins a TLS
 * handshake with a socket of our own that never answers, which fills the cache of `multi`. Blocks.
 * CURLE_OK, or CURLE_SSL_CACERT_BADFILE where the bundle cannot be used, or what else went wrong.
 */
CURLcode upstream_warm(CURLM *multi, const struct upstream_opts *opts);
