// SPDX-License-Identifier: MIT
#pragma once

#include "app/config.h"
#include "auth/bearer.h"
#include "base/log.h"
#include "http/server.h"
#include "provider/provider.h"
#include "store/accounts.h"

/* What SIGHUP does: reads the environment's NAME_FILE variables and the TLS pair again. Keys and
 * secrets are taken over while requests go on; values that belong together change together, and
 * where one of them is bad the old ones stay. What can't change while running is named in the log.
 * Loop thread; it reads a few small files there, once in months. */
struct reload {
    /* set by the owner, borrowed */
    char *const *env; /* NULL: there is nothing to read again */
    struct log *log;
    struct accounts *accounts;
    struct bearer *bearer;
    struct provider *provider;
    struct http_server *server;
    /* ours */
    const struct config *config; /* of the start */
    struct secret client_id;     /* as they are used */
    struct secret client_secret;
    struct secret secret_key;
    struct secret secret_key_old;
};

/* `config` is borrowed until reload_fini. */
void reload_init(struct reload *reload, const struct config *config);
void reload_fini(struct reload *reload);
void reload_run(struct reload *reload);
