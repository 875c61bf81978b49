// SPDX-License-Identifier: MIT
#pragma once

#include <stddef.h>

/* The kit's own settings of a server: keys, a client at the simulated provider, any free port of
 * loopback, a database in the folder, debug logs, no limits, no retries, no breaker. Nothing comes
 * from the process's environment. */
#define KIT_SECRET_KEY "kit: Qm9yZWQgb2YgdGVzdCBrZXlzPyBTbyBhcmUgd2Uu"
#define KIT_FERNET_KEY "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
#define KIT_CLIENT_ID "sim-client"
#define KIT_CLIENT_SECRET "sim-secret"
#define KIT_REDIRECT_URI "http://127.0.0.1:8090/api/v1/user/audible/oauth/callback"

enum { KIT_SETTINGS_MAX = 96 };

/* An environment: "NAME=value", NULL at the end. */
struct kit_settings {
    char *env[KIT_SETTINGS_MAX + 1];
    size_t count;
};

/* `over` (NULL: none) replaces; "NAME=" unsets. */
void kit_settings_init(struct kit_settings *settings, const char *folder, const char *provider_url,
                       const char *const *over);
void kit_settings_fini(struct kit_settings *settings);
