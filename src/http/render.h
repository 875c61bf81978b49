// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* The head of a response: what is the same in all of them is written once, the date once a second.
 */
struct http_render {
    char *fixed; /* Date, the server's header lines, the default Content-Security-Policy */
    size_t fixed_len;
    size_t without_csp_len;
    int64_t second;              /* of the date that stands there */
    struct slice secure_headers; /* complete lines; borrowed */
};

struct http_render_head {
    int status;
    struct slice content_type; /* null: none */
    uint64_t content_length;
    struct slice headers;      /* further complete lines */
    struct slice more_headers; /* the same */
    struct slice csp;          /* null: the default */
    struct slice request_id;
    bool close;      /* says Connection: close */
    bool keep_alive; /* says Connection: keep-alive, for HTTP/1.0 */
    bool is_secure;  /* has the secure_headers */
};

/* Both are copied. */
void http_render_init(struct http_render *render, struct slice headers, struct slice csp);
void http_render_fini(struct http_render *render);

/* An upper bound of what http_render_head writes. */
size_t http_render_max(const struct http_render *render, const struct http_render_head *head);

/* Into `out`, without a NUL; returns the length. */
size_t http_render_head(struct http_render *render, const struct http_render_head *head,
                        int64_t wall_ms, char *out);
