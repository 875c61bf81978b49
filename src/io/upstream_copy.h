// SPDX-License-Identifier: MIT
#pragma once

#include <curl/curl.h>
#include <stddef.h>

#include "base/rc.h"
#include "base/slice.h"
#include "io/upstream.h"

/* A request as libcurl wants it, in one piece of memory: what is in it (codes, tokens, client
 * secrets) is copied once, and wiped whole. libcurl reads from here; only the URL and what is in
 * its send buffer are copies of its own. */
struct upstream_copy {
    char *at;
    size_t bytes;
    const char *method;
    const char *url;
    struct curl_slist *headers; /* in `at`, not libcurl's to free */
    struct slice body;          /* null: none */
};

/* RC_MALFORMED: the URL is not http(s), or it or a header has a character that could end it early.
 */
enum rc upstream_copy_make(struct upstream_copy *copy, const struct upstream_request *request);
/* Fine to call twice. */
void upstream_copy_wipe(struct upstream_copy *copy);
