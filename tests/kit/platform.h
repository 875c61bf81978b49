// SPDX-License-Identifier: MIT
#pragma once

#include "kit/ask.h"

/* A server and a simulated provider that know each other. */
struct platform {
    struct simprovider *sim;
    struct kit_server *server;
    int port;
};

/* `settings` as in kit_server_opts; NULL: none. `clock` may be NULL. */
void platform_start(struct platform *platform, const char *const *settings);
/* Both end cleanly, or the test fails. */
void platform_stop(struct platform *platform);

/* Links this user's account through the whole flow; expects 200. */
void platform_link(struct platform *platform, const char *sub);

/* What GET connected says. */
bool platform_is_connected(struct platform *platform, const char *sub);
