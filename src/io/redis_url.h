// SPDX-License-Identifier: MIT
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"
#include "base/rc.h"
#include "base/slice.h"

enum { REDIS_URL_PROBLEM_BYTES = 256 };

/* redis://[[user]:password@]host[:port][/db], rediss:// for TLS (the provisional scheme of IANA's
 * registry). Owns its copies. */
struct redis_url {
    bool is_tls;
    char *host; /* a name or an address, without brackets */
    int port;   /* 6379 where none is written */
    int db;     /* 0 where none is written */
    char *user; /* NULL: none */
    struct secret password;
};

/* RC_USAGE with a sentence in `problem` that holds nothing of the password. User and password may
 * be percent-encoded. */
enum rc redis_url_parse(struct slice text, struct redis_url *out,
                        char problem[REDIS_URL_PROBLEM_BYTES]);
void redis_url_fini(struct redis_url *url); /* wipes */
/* The same server and database, as the same user. */
bool redis_url_eq(const struct redis_url *a, const struct redis_url *b);

/* Whether the hiredis that this was built with speaks TLS (from 1.0 on, where its library for it is
 * installed). */
bool redis_has_tls(void);
/* Of hiredis ("0.14.1"). */
const char *redis_library_version(void);
