// SPDX-License-Identifier: MIT
#include <criterion/criterion.h>
#include <stdio.h>

#include "kit/ask.h"
#include "kit/faults.h"
#include "kit/faults_sqlite.h"
#include "kit/leaks.h"
#include "kit/platform.h"

/* The whole server, in which the n-th call to libuv, libcurl or SQLite's disk fails while a user
 * comes back with a code, for each n. The user is linked and was told so, or was told 503 and is
 * not; the server goes on, and ends without a handle left open. */
static const char *const settings[] = {"LATCHKEY_HEAD_TIMEOUT_SECONDS=1",
                                       "AUDIBLE_HTTP_TIMEOUT_SECONDS=2",
                                       "AUDIBLE_HTTP_CONNECT_TIMEOUT_SECONDS=2",
                                       "AUDIBLE_RATE_LIMIT_PER_MINUTE=0",
                                       "LATCHKEY_RATE_LIMIT_PER_MINUTE=0",
                                       "LATCHKEY_RATE_LIMIT_CALLBACK_PER_ADDRESS_PER_MINUTE=0",
                                       NULL};

struct user {
    char sub[32];
    char token[KIT_JWT_BYTES];
    struct ask_grant grant;
};

static void new_user(struct platform *platform, struct user *user, const char *kind, int n) {
    snprintf(user->sub, sizeof user->sub, "%s-%d", kind, n);
    ask_premium(user->token, user->sub);
    ask_grant(platform->port, platform->sim, user->token, &user->grant);
}

/* 0: the connection was lost before an answer. */
static int come_back(struct platform *platform, const struct user *user) {
    struct client_response response;
    int status = ask_callback(platform->port, user->token, &user->grant, &response);
    client_response_fini(&response);
    return status;
}

static void assert_told_the_truth(struct platform *platform, const struct user *user, int status,
                                  const char *met) {
    cr_assert(status == 200 || status == 503 || status == 0, "%s, %s: %d", user->sub, met, status);
    bool is_connected = platform_is_connected(platform, user->sub);
    cr_assert(status == 0 || is_connected == (status == 200), "%s, %s: told %d", user->sub, met,
              status);
}

static void fail_each(enum faults_family family, const char *kind, int least) {
    struct platform platform;
    platform_start(&platform, settings);
    const char *met;
    int n = 0;
    do {
        struct user user;
        n++;
        new_user(&platform, &user, kind, n);
        faults_arm(family, n);
        int status = come_back(&platform, &user);
        met = faults_met(family);
        faults_arm(family, 0);
        assert_told_the_truth(&platform, &user, status, met != NULL ? met : "none");
    } while (met != NULL);
    cr_assert_gt(n, least, "only %d", n);
    platform_link(&platform, "the-last");
    platform_stop(&platform);
    CHECK_LEAKS();
}

Test(call_faults, libuv, .timeout = 120) {
    fail_each(FAULTS_UV, "uv", 5);
}

Test(call_faults, libcurl, .timeout = 120) {
    fail_each(FAULTS_CURL, "curl", 30);
}

Test(call_faults, sqlite, .timeout = 120) {
    struct platform platform;
    struct faults_sqlite *faults = faults_sqlite_install();
    platform_start(&platform, settings);
    bool met;
    int n = 0;
    do {
        struct user user;
        n++;
        new_user(&platform, &user, "sqlite", n);
        faults_sqlite_fail_nth(faults, FAULTS_SQLITE_ALL, n, 0);
        int status = come_back(&platform, &user);
        met = faults_sqlite_met(faults);
        faults_sqlite_heal(faults);
        assert_told_the_truth(&platform, &user, status, "disk");
    } while (met);
    cr_assert_gt(n, 5, "only %d", n);
    platform_link(&platform, "the-last");
    platform_stop(&platform);
    faults_sqlite_remove(faults);
    CHECK_LEAKS();
}
