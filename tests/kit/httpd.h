// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/metrics.h"
#include "io/tls.h"

/* The http folder's server on a loop and a thread of its own, with a handler that does what the
 * path says:
 *
 *   /ok           200 {"status":"ok"}, at once
 *   /echo         200, the body as it came (text/plain)
 *   /later        200, on a later turn
 *   /echo-later   the same as /echo, but body and answer are asked for and given on later turns
 *   /hold         no answer until the client is gone, or httpd_release
 *   /release      answers what is held, then itself
 *   /big?n        200, n bytes
 *   /early        403, without asking for the body
 *   /close        200, and the connection's last
 *   /nothing      204
 *   /csp          200 with a Content-Security-Policy of its own
 *   /peer         200, the peer's address
 *   /long-headers a reply whose headers don't fit
 *
 * Everything else is 404. All calls from the test's thread. */
struct httpd;

struct httpd_opts {
    const char *address; /* NULL: 127.0.0.1:0 */
    size_t connections_max;
    int64_t head_timeout_ms;
    int64_t idle_timeout_ms;
    int64_t write_timeout_ms;
    size_t body_max;
    const struct tls_files *tls; /* NULL: plain */
    int64_t handshake_timeout_ms;
    size_t handshakes_max;
};
#define HTTPD_OPTS                                                                                 \
    (struct httpd_opts) {                                                                          \
        .connections_max = 1000, .head_timeout_ms = 10000, .idle_timeout_ms = 10000,               \
        .write_timeout_ms = 10000, .body_max = 1000, .handshake_timeout_ms = 10000,                \
        .handshakes_max = 1000                                                                     \
    }

struct httpd *httpd_start(struct httpd_opts opts);
/* Closes without a drain; asserts that no handle is left. */
void httpd_stop(struct httpd *httpd);

int httpd_port(const struct httpd *httpd);
void httpd_release(struct httpd *httpd);
/* New connections get this pair. */
void httpd_replace_tls(struct httpd *httpd, const struct tls_files *files);
void httpd_drain(struct httpd *httpd, int64_t timeout_ms);

enum httpd_count {
    HTTPD_HEADS,    /* on_head was called */
    HTTPD_BODIES,   /* on_body was called */
    HTTPD_HELD,     /* requests to /hold, ever */
    HTTPD_GONE,     /* `gone` was called */
    HTTPD_ANSWERED, /* http_reply was called */
    HTTPD_DRAINING, /* http_server_drain was called */
    HTTPD_DRAINED,
    HTTPD_COUNTS
};
int httpd_get(struct httpd *httpd, enum httpd_count count);
/* False where it isn't reached in 10 s. */
bool httpd_wait(struct httpd *httpd, enum httpd_count count, int at_least);
int64_t httpd_metric(const struct httpd *httpd, enum metric metric);
/* The same for a metric that is to become exactly this. */
bool httpd_wait_metric(struct httpd *httpd, enum metric metric, int64_t value);
