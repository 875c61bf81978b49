// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>

#include "base/rc.h"

/* Reads a URL as upstream's library will, so that a configuration is judged by what will be called.
 * A pure function. */
struct upstream_url {
    bool is_https;
    bool is_http;
    bool is_loopback; /* localhost, 127.0.0.0/8 or [::1], as written: no name is resolved */
    bool has_user;    /* "user@" or "user:password@" */
    bool has_query;
    bool has_fragment;
};

/* RC_MALFORMED where it is no absolute URL of a host. `text` is NUL-terminated. */
enum rc upstream_url_read(const char *text, struct upstream_url *out);

/* Of libcurl and what it was built on ("libcurl/7.88.1 OpenSSL/3.0.19 …"). */
const char *upstream_url_library_version(void);
