// SPDX-License-Identifier: MIT
/* Every request is answered within its deadline, even while a disk hangs; and what hung ends well.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/clock.h"
#include "kit/faults_sqlite.h"
#include "kit/leaks.h"
#include "kit/platform.h"

enum { DEADLINE_MS = 1000, SLACK_MS = 4000 };

static const struct clock real;

struct hung {
    struct faults_sqlite *disk;
    struct platform p;
};

static void start(struct hung *hung) {
    hung->disk = faults_sqlite_install();
    platform_start(&hung->p, (const char *const[]){"LATCHKEY_REQUEST_TIMEOUT_SECONDS=1",
                                                   "AUDIBLE_HTTP_TIMEOUT_SECONDS=1",
                                                   "AUDIBLE_HTTP_CONNECT_TIMEOUT_SECONDS=1", NULL});
}

static void stop(struct hung *hung) {
    platform_stop(&hung->p);
    faults_sqlite_remove(hung->disk);
}

static void expect_in_time(struct platform *p, struct ask ask_) {
    int64_t before_ms = clock_mono_ms(&real);
    ask_expect(p->port, ask_, 503, "storage_unavailable");
    int64_t took_ms = clock_mono_ms(&real) - before_ms;
    cr_assert(took_ms >= DEADLINE_MS && took_ms < DEADLINE_MS + SLACK_MS, "%s: %d ms", ask_.path,
              (int)took_ms);
}

Test(deadline, a_disk_that_hangs_on_writing) {
    struct hung hung;
    char token[KIT_JWT_BYTES];
    char body[512];
    struct ask_grant grant;
    start(&hung);
    platform_link(&hung.p, "user-1");
    ask_premium(token, "user-1");
    ask_grant(hung.p.port, hung.p.sim, token, &grant);
    snprintf(body, sizeof body, "{\"code\":\"%s\",\"state\":\"%s\"}", grant.code, grant.state);
    faults_sqlite_hold(hung.disk, FAULTS_SQLITE_WRITE | FAULTS_SQLITE_SYNC);
    expect_in_time(&hung.p, (struct ask){.method = "POST", .path = "disconnect", .token = token});
    expect_in_time(
        &hung.p,
        (struct ask){.method = "POST", .path = "oauth/callback", .token = token, .json = body});
    cr_assert_eq(ask_status(hung.p.port, (struct ask){.path = "/healthz"}), 200);
    faults_sqlite_heal(hung.disk);
    platform_link(&hung.p, "user-2");
    cr_assert(platform_is_connected(&hung.p, "user-2"));
    stop(&hung);
    CHECK_LEAKS();
}

Test(deadline, a_disk_that_hangs_on_reading) {
    struct hung hung;
    char token[KIT_JWT_BYTES];
    start(&hung);
    platform_link(&hung.p, "user-1");
    ask_premium(token, "nobody-yet");
    faults_sqlite_hold(hung.disk, FAULTS_SQLITE_ALL);
    expect_in_time(&hung.p, (struct ask){.path = "connected", .token = token});
    expect_in_time(&hung.p, (struct ask){.path = "library", .token = token});
    cr_assert(platform_is_connected(&hung.p, "user-1"), "what is known needs no disk");
    faults_sqlite_heal(hung.disk);
    cr_assert_not(platform_is_connected(&hung.p, "nobody-yet"));
    stop(&hung);
    CHECK_LEAKS();
}

/* The browser hears it in its own form. */
Test(deadline, the_way_back_while_the_disk_hangs) {
    struct hung hung;
    char token[KIT_JWT_BYTES];
    char path[512];
    char cookie[256];
    struct ask_grant grant;
    struct client_response response;
    start(&hung);
    platform_link(&hung.p, "user-1");
    ask_premium(token, "user-1");
    ask_grant(hung.p.port, hung.p.sim, token, &grant);
    snprintf(path, sizeof path, "oauth/callback?code=%s&state=%s", grant.code, grant.state);
    snprintf(cookie, sizeof cookie, "Cookie: %s\r\n", grant.cookie);
    faults_sqlite_hold(hung.disk, FAULTS_SQLITE_WRITE | FAULTS_SQLITE_SYNC);
    cr_assert_eq(ask(hung.p.port, (struct ask){.path = path, .headers = cookie}, &response), 400);
    cr_assert_not_null(memmem(response.body.at, response.body.len, "storage_unavailable", 19));
    client_response_fini(&response);
    faults_sqlite_heal(hung.disk);
    stop(&hung);
    CHECK_LEAKS();
}
