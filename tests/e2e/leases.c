// SPDX-License-Identifier: MIT
/* docs/failures.md: accounts that are fine, and leases in a Redis that is stopped, frozen or full.
 * Nothing is refreshed without a lease; whoever needs no refresh doesn't notice. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "base/clock.h"
#include "kit/leaks.h"
#include "kit/redis_server.h"
#include "kit/stage.h"

#define STORAGE "storage_unavailable"
enum {
    HOUR_MS = 3600 * 1000,
    SLACK_MS = 2000,   /* of a busy machine under the sanitizers */
    COMMAND_MS = 2000, /* a command's deadline */
    RETURN_MS = 2000,
};

/* Leases lie where the states lie. */
struct scene {
    struct redis_server leases;
    struct redis_server accounts;
    struct stage stage;
};

static void open_scene(struct scene *scene, int64_t late_ms) {
    char leases[160];
    char accounts[160];
    redis_server_start(&scene->leases, (struct redis_server_opts){0});
    redis_server_start(&scene->accounts, (struct redis_server_opts){0});
    snprintf(leases, sizeof leases, "LATCHKEY_STATE_STORE=%s", redis_server_url(&scene->leases));
    snprintf(accounts, sizeof accounts, "LATCHKEY_ACCOUNT_STORE=%s",
             redis_server_url(&scene->accounts));
    stage_start(&scene->stage,
                (struct stage_opts){.settings = (const char *const[]){leases, accounts, NULL},
                                    .late_ms = late_ms});
}

static void close_scene(struct scene *scene) {
    stage_stop(&scene->stage);
    redis_server_free(&scene->leases);
    redis_server_free(&scene->accounts);
    CHECK_LEAKS();
}

static int64_t now_ms(void) {
    static const struct clock clock;
    return clock_mono_ms(&clock);
}

static int64_t refreshes(struct scene *scene) {
    return simprovider_count(scene->stage.p.sim, SIMPROVIDER_REFRESHES);
}

/* Of the states in the same Redis as well. */
static const struct stage_exception without[] = {
    {STAGE_AUTHORIZE, 503, STORAGE}, {STAGE_CALLBACK, 503, STORAGE}, {STAGE_WAY_BACK, 400, STORAGE},
    {STAGE_READYZ, 503, ""},         {STAGE_LIBRARY, 503, STORAGE},  {STAGE_SYNC, 503, STORAGE},
};
enum { WITHOUT = sizeof without / sizeof without[0], WITHOUT_STATES = WITHOUT - 2 };

static void expect_all_but(struct scene *scene, size_t count) {
    stage_expect(&scene->stage, without, count, COMMAND_MS + SLACK_MS);
}

static void expect_return(struct scene *scene) {
    static const enum stage_endpoint endpoints[] = {STAGE_READYZ, STAGE_LIBRARY, STAGE_SYNC};
    int64_t since_ms = now_ms();
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        struct stage_answer answer = stage_ask(&scene->stage, endpoints[i]);
        while (answer.status != 200 && now_ms() - since_ms < RETURN_MS) {
            answer = stage_ask(&scene->stage, endpoints[i]);
        }
        cr_assert_eq(answer.status, 200, "%zu: %d %s", i, answer.status, answer.detail);
    }
    cr_assert_leq(now_ms() - since_ms, RETURN_MS + SLACK_MS);
    cr_assert_eq(refreshes(scene), 2);
    while (redis_server_ask(&scene->leases, "KEYS latchkey:lease:*")[0] != '\0') {
        cr_assert_leq(now_ms() - since_ms, RETURN_MS + SLACK_MS, "a lease stays");
    }
}

Test(leases, their_store_is_down, .timeout = 60) {
    struct scene scene;
    open_scene(&scene, HOUR_MS);
    redis_server_stop(&scene.leases);
    expect_all_but(&scene, WITHOUT);
    cr_assert_eq(refreshes(&scene), 0);
    redis_server_again(&scene.leases);
    expect_return(&scene);
    close_scene(&scene);
}

/* What was asked of it while it was frozen it does when it thaws: a lease that nobody holds. It is
 * given back at once. */
Test(leases, their_store_does_not_answer, .timeout = 60) {
    struct scene scene;
    open_scene(&scene, HOUR_MS);
    redis_server_freeze(&scene.leases);
    expect_all_but(&scene, WITHOUT);
    cr_assert_eq(refreshes(&scene), 0);
    redis_server_thaw(&scene.leases);
    expect_return(&scene);
    close_scene(&scene);
}

Test(leases, their_store_is_full, .timeout = 60) {
    static const struct stage_exception full[] = {
        {STAGE_AUTHORIZE, 503, STORAGE},
        {STAGE_READYZ, 503, ""},
        {STAGE_LIBRARY, 503, STORAGE},
        {STAGE_SYNC, 503, STORAGE},
    };
    struct scene scene;
    open_scene(&scene, HOUR_MS);
    cr_assert_str_eq(redis_server_ask(&scene.leases, "CONFIG SET maxmemory 1"), "OK");
    stage_expect(&scene.stage, full, sizeof full / sizeof full[0], COMMAND_MS + SLACK_MS);
    cr_assert_eq(refreshes(&scene), 0);
    cr_assert_str_eq(redis_server_ask(&scene.leases, "CONFIG SET maxmemory 0"), "OK");
    expect_return(&scene);
    close_scene(&scene);
}

Test(leases, who_has_a_token_that_works_does_not_notice, .timeout = 60) {
    struct scene scene;
    open_scene(&scene, HOUR_MS - 30 * 1000);
    redis_server_stop(&scene.leases);
    expect_all_but(&scene, WITHOUT_STATES);
    cr_assert_eq(refreshes(&scene), 0);
    redis_server_again(&scene.leases);
    expect_return(&scene);
    close_scene(&scene);
}
