// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>

/* TLS of a connection to Redis: hiredis's own, over OpenSSL. The server's certificate must be valid
 * for the host of the URL; hiredis alone would accept any name. TLS 1.2 at least. */
struct redis_tls;
struct redisContext;

/* `ca_file` NULL: the system's certificates, which takes some 40 ms. NULL with a static sentence in
 * `problem` where there is no TLS, or no certificates. */
struct redis_tls *redis_tls_new(const char *host, const char *ca_file, const char **problem);
void redis_tls_free(struct redis_tls *tls);

/* Over a connection that stands, one at a time. False: it is of no use. */
bool redis_tls_start(struct redis_tls *tls, struct redisContext *context);
/* Before hiredis is called: it takes what any other use of OpenSSL left in this thread's queue of
 * errors for its own. */
void redis_tls_enter(void);

/* Of the connection that was started last: its server's certificate was refused. Before its end. */
bool redis_tls_is_refused(const struct redis_tls *tls);
/* The connection is gone. */
void redis_tls_end(struct redis_tls *tls);
