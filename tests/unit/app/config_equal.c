// SPDX-License-Identifier: MIT
#include "app/config_equal.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "kit/leaks.h"

#define SECRET "SECRET_KEY=c0ffee5ab1e5f00dba11ad0123456789"
#define KEYS "AUDIBLE_TOKEN_ENCRYPTION_KEY="
#define KEY_A "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
#define KEY_B "ZHVtbXkta2V5LWZvci10ZXN0cy0tMzItYnl0ZXMtb2s="

/* One variable, two values; of each type. */
static const char *const pairs[][2] = {
    {"AUDIBLE_CLIENT_ID=a", "AUDIBLE_CLIENT_ID=b"},
    {"AUDIBLE_CLIENT_ID=a", "AUDIBLE_CLIENT_ID="},
    {"AUDIBLE_CLIENT_SECRET=a", "AUDIBLE_CLIENT_SECRET=b"},
    {"AUDIBLE_CLIENT_SECRET=a", "AUDIBLE_CLIENT_SECRET="},
    {"LATCHKEY_MAX_CONNECTIONS=10", "LATCHKEY_MAX_CONNECTIONS=11"},
    {"LATCHKEY_DRAIN_SECONDS=45.001", "LATCHKEY_DRAIN_SECONDS=45"},
    {"LATCHKEY_ALLOW_INSECURE_UPSTREAM=0", "LATCHKEY_ALLOW_INSECURE_UPSTREAM=1"},
    {"LATCHKEY_LOG_LEVEL=info", "LATCHKEY_LOG_LEVEL=debug"},
    {"AUDIBLE_REVOKE_URL=https://a.example/x", "AUDIBLE_REVOKE_URL=https://a.example/y"},
    {"AUDIBLE_AUTH_URL=https://a.example/x", "AUDIBLE_AUTH_URL=https://b.example/x"},
    {"LATCHKEY_UPSTREAM_PROXY=http://a.example:1", "LATCHKEY_UPSTREAM_PROXY=http://a.example:2"},
    {"AUDIBLE_REDIRECT_URI=https://a.example/", "AUDIBLE_REDIRECT_URI=https://b.example/"},
    {"AUDIBLE_ALLOWED_REDIRECT_URIS=https://a.example/",
     "AUDIBLE_ALLOWED_REDIRECT_URIS=https://a.example/,https://b.example/"},
    {"LATCHKEY_CORS_ORIGINS=https://a.example", "LATCHKEY_CORS_ORIGINS=https://b.example"},
    {"LATCHKEY_METRICS_LISTEN=127.0.0.1:1", "LATCHKEY_METRICS_LISTEN=127.0.0.1:2"},
    {"LATCHKEY_LISTEN=127.0.0.1:1,127.0.0.1:2", "LATCHKEY_LISTEN=127.0.0.1:2,127.0.0.1:1"},
    {"LATCHKEY_TRUSTED_PROXIES=10.0.0.0/8", "LATCHKEY_TRUSTED_PROXIES=10.0.0.0/9"},
    {"LATCHKEY_TRUSTED_PROXIES=10.0.0.0/8", "LATCHKEY_TRUSTED_PROXIES=11.0.0.0/8"},
    {KEYS KEY_A, KEYS KEY_B},
    {KEYS KEY_A, KEYS},
    {"LATCHKEY_ACCOUNT_STORE=sqlite:a", "LATCHKEY_ACCOUNT_STORE=sqlite:b"},
    {"LATCHKEY_API_PREFIX=/", "LATCHKEY_API_PREFIX=/a"},
};

static struct config *read(const char *setting) {
    char at[2][256];
    char *env[] = {at[0], at[1], NULL};
    struct notes notes;
    struct config *config;
    notes_init(&notes);
    snprintf(at[0], sizeof at[0], "%s", SECRET);
    snprintf(at[1], sizeof at[1], "%s", setting);
    cr_assert_eq(config_read(env, &notes, &config), RC_OK, "%s", setting);
    notes_fini(&notes);
    return config;
}

/* All other variables are the same, whatever this one is. */
static void check(const struct config *a, const struct config *b, const char *setting, bool same) {
    size_t length = strcspn(setting, "=");
    for (size_t i = 0; i < config_table_count; i++) {
        for (size_t k = 0; k < config_table[i].count; k++) {
            const struct config_var *var = &config_table[i].vars[k];
            bool is_it = strlen(var->name) == length && strncmp(var->name, setting, length) == 0;
            cr_assert_eq(config_equal(var, a, b), !is_it || same, "%s with %s", var->name, setting);
        }
    }
}

Test(config_equal, tells_values_of_every_type_apart) {
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct config *a = read(pairs[i][0]);
        struct config *again = read(pairs[i][0]);
        struct config *b = read(pairs[i][1]);
        check(a, again, pairs[i][0], true);
        check(a, b, pairs[i][0], false);
        check(b, a, pairs[i][0], false);
        config_free(a);
        config_free(again);
        config_free(b);
    }
    CHECK_LEAKS();
}
