// SPDX-License-Identifier: MIT
#include "kit/settings.h"

#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SETTING_BYTES = 512 };

/* A later one replaces an earlier one of the same name. */
static void set(struct kit_settings *settings, const char *setting) {
    size_t length = strcspn(setting, "=") + 1;
    for (size_t i = 0; i < settings->count; i++) {
        if (strncmp(settings->env[i], setting, length) == 0) {
            free(settings->env[i]);
            settings->env[i] = strdup(setting);
            return;
        }
    }
    cr_assert_lt(settings->count, (size_t)KIT_SETTINGS_MAX, "too many settings for the kit");
    settings->env[settings->count++] = strdup(setting);
}

__attribute__((format(printf, 2, 3))) static void setf(struct kit_settings *settings,
                                                       const char *format, ...) {
    char text[SETTING_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    set(settings, text);
}

void kit_settings_init(struct kit_settings *settings, const char *folder, const char *provider_url,
                       const char *const *over) {
    *settings = (struct kit_settings){0};
    set(settings, "SECRET_KEY=" KIT_SECRET_KEY);
    set(settings, "AUDIBLE_TOKEN_ENCRYPTION_KEY=" KIT_FERNET_KEY);
    set(settings, "AUDIBLE_CLIENT_ID=" KIT_CLIENT_ID);
    set(settings, "AUDIBLE_CLIENT_SECRET=" KIT_CLIENT_SECRET);
    set(settings, "AUDIBLE_REDIRECT_URI=" KIT_REDIRECT_URI);
    set(settings, "LATCHKEY_LISTEN=127.0.0.1:0");
    set(settings, "LATCHKEY_LOG_LEVEL=debug");
    set(settings, "LATCHKEY_PROVIDER_RETRIES=0");
    set(settings, "LATCHKEY_BREAKER_FAILURES=0");
    set(settings, "AUDIBLE_RATE_LIMIT_PER_MINUTE=0");
    set(settings, "LATCHKEY_RATE_LIMIT_CALLBACK_PER_ADDRESS_PER_MINUTE=0");
    set(settings, "LATCHKEY_RATE_LIMIT_SEARCH_PER_MINUTE=0");
    set(settings, "LATCHKEY_RATE_LIMIT_PER_MINUTE=0");
    setf(settings, "AUDIBLE_AUTH_URL=%s/auth/oauth2", provider_url);
    setf(settings, "AUDIBLE_API_BASE_URL=%s/api", provider_url);
    setf(settings, "LATCHKEY_ACCOUNT_STORE=sqlite:%s/latchkey.db", folder);
    for (size_t i = 0; over != NULL && over[i] != NULL; i++) {
        set(settings, over[i]);
    }
}

void kit_settings_fini(struct kit_settings *settings) {
    for (size_t i = 0; i < settings->count; i++) {
        free(settings->env[i]);
    }
    *settings = (struct kit_settings){0};
}
