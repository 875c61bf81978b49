// SPDX-License-Identifier: MIT
/* docs/failures.md, with accounts and leases in a Redis: it is stopped, frozen, full, a replica, or
 * comes back with nothing. What doesn't need it doesn't notice; what does says so in time; and all
 * is well within 2 s of its return. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "kit/leaks.h"
#include "kit/redis_server.h"
#include "kit/stage.h"

#define STORAGE "storage_unavailable"

enum {
    SLACK_MS = 2000,   /* of a busy machine under the sanitizers */
    COMMAND_MS = 2000, /* a command's deadline */
    RETURN_MS = 2000,
    HOUR_MS = 3600 * 1000,
};

struct scene {
    struct redis_server redis;
    struct stage stage;
};

static void open_scene(struct scene *scene, bool appends) {
    char store[160];
    redis_server_start(&scene->redis, (struct redis_server_opts){.appends = appends});
    snprintf(store, sizeof store, "LATCHKEY_ACCOUNT_STORE=%s", redis_server_url(&scene->redis));
    stage_start(&scene->stage, (struct stage_opts){.settings = (const char *const[]){store, NULL}});
}

static void close_scene(struct scene *scene) {
    stage_stop(&scene->stage);
    redis_server_free(&scene->redis);
    CHECK_LEAKS();
}

static int64_t now_ms(void) {
    static const struct clock clock;
    return clock_mono_ms(&clock);
}

static void expect_redis(struct scene *scene, const char *command, const char *wanted) {
    const char *answer = redis_server_ask(&scene->redis, command);
    cr_assert_str_eq(answer, wanted, "%s: %s", command, answer);
}

static void expect_return(struct scene *scene) {
    static const enum stage_endpoint endpoints[] = {STAGE_READYZ, STAGE_COLD, STAGE_LIBRARY,
                                                    STAGE_SYNC};
    int64_t since_ms = now_ms();
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        struct stage_answer answer = stage_ask(&scene->stage, endpoints[i]);
        while (answer.status != 200 && now_ms() - since_ms < RETURN_MS) {
            answer = stage_ask(&scene->stage, endpoints[i]);
        }
        cr_assert_eq(answer.status, 200, "%zu: %d %s", i, answer.status, answer.detail);
    }
    platform_link(&scene->stage.p, "afterwards");
    cr_assert(platform_is_connected(&scene->stage.p, "afterwards"));
}

static void expect_all_but(struct scene *scene, const struct stage_exception *exceptions,
                           size_t count) {
    stage_expect(&scene->stage, exceptions, count, COMMAND_MS + SLACK_MS);
}

/* Nothing of it is remembered, as others may write to it. */
static const struct stage_exception without[] = {
    {STAGE_CALLBACK, 503, STORAGE},   {STAGE_WAY_BACK, 400, STORAGE}, {STAGE_WARM, 503, STORAGE},
    {STAGE_COLD, 503, STORAGE},       {STAGE_LIBRARY, 503, STORAGE},  {STAGE_SYNC, 503, STORAGE},
    {STAGE_DISCONNECT, 503, STORAGE}, {STAGE_READYZ, 503, ""},
};
enum { WITHOUT = sizeof without / sizeof without[0] };

Test(failures_redis, the_server_is_down) {
    struct scene scene;
    open_scene(&scene, true);
    redis_server_kill(&scene.redis);
    expect_all_but(&scene, without, WITHOUT);
    redis_server_again(&scene.redis);
    expect_return(&scene);
    cr_assert_eq(stage_ask(&scene.stage, STAGE_DISCONNECT).status, 200, "it was there all along");
    close_scene(&scene);
}

Test(failures_redis, the_server_does_not_answer) {
    struct scene scene;
    open_scene(&scene, true);
    redis_server_freeze(&scene.redis);
    expect_all_but(&scene, without, WITHOUT);
    redis_server_thaw(&scene.redis);
    expect_return(&scene);
    close_scene(&scene);
}

/* Who reads, and who leaves, needs no memory. */
Test(failures_redis, the_server_is_full) {
    static const struct stage_exception full[] = {
        {STAGE_CALLBACK, 503, STORAGE},
        {STAGE_WAY_BACK, 400, STORAGE},
        {STAGE_SYNC, 503, STORAGE},
        {STAGE_READYZ, 503, ""},
    };
    struct scene scene;
    open_scene(&scene, true);
    expect_redis(&scene, "CONFIG SET maxmemory 1", "OK");
    expect_all_but(&scene, full, sizeof full / sizeof full[0]);
    expect_redis(&scene, "EXISTS latchkey:account:newcomer latchkey:account:browser", "0");
    expect_redis(&scene, "CONFIG SET maxmemory 0", "OK");
    expect_return(&scene);
    close_scene(&scene);
}

/* After a failover the old name may stand for a replica, until it doesn't. */
Test(failures_redis, the_server_became_a_replica) {
    struct scene scene;
    open_scene(&scene, true);
    expect_redis(&scene, "REPLICAOF 127.0.0.1 1", "OK");
    struct stage_answer answer = stage_ask(&scene.stage, STAGE_DISCONNECT);
    cr_assert_eq(answer.status, 503);
    cr_assert_str_eq(answer.detail, STORAGE);
    cr_assert_eq(stage_ask(&scene.stage, STAGE_READYZ).status, 503);
    expect_redis(&scene, "REPLICAOF NO ONE", "OK");
    expect_return(&scene);
    cr_assert_eq(stage_ask(&scene.stage, STAGE_DISCONNECT).status, 200);
    close_scene(&scene);
}

/* That is what its settings are warned of for; but it is no reason to fail. */
Test(failures_redis, the_server_comes_back_empty) {
    static const struct stage_exception forgotten[] = {
        {STAGE_WARM, 0, NULL},
        {STAGE_COLD, 0, NULL},
        {STAGE_LIBRARY, 400, "Audible account not connected"},
        {STAGE_SYNC, 400, "Audible account not connected"},
        {STAGE_DISCONNECT, 404, "No Audible account connected"},
    };
    struct scene scene;
    open_scene(&scene, false);
    cr_assert_eq(kit_server_logged(scene.stage.p.server, "account_store_not_durable"), 1u);
    redis_server_kill(&scene.redis);
    cr_assert_eq(stage_ask(&scene.stage, STAGE_READYZ).status, 503);
    redis_server_again(&scene.redis);
    int64_t since_ms = now_ms();
    while (stage_ask(&scene.stage, STAGE_READYZ).status != 200) {
        cr_assert_leq(now_ms() - since_ms, RETURN_MS);
    }
    expect_all_but(&scene, forgotten, sizeof forgotten / sizeof forgotten[0]);
    cr_assert_not(platform_is_connected(&scene.stage.p, "warm"));
    platform_link(&scene.stage.p, "warm");
    cr_assert(platform_is_connected(&scene.stage.p, "warm"));
    cr_assert_eq(kit_server_logged(scene.stage.p.server, "account_store_not_durable"), 1u,
                 "once, as nothing has changed");
    close_scene(&scene);
}

/* -- a refresh holds a lease of the same server, and what it brought is stored there -- */

static void expect_no_refresh(struct scene *scene, int64_t refreshes) {
    struct stage_answer answer = stage_ask(&scene->stage, STAGE_LIBRARY);
    cr_assert_eq(answer.status, 503);
    cr_assert_str_eq(answer.detail, STORAGE);
    cr_assert_eq(simprovider_count(scene->stage.p.sim, SIMPROVIDER_REFRESHES), refreshes,
                 "none was sent");
}

Test(failures_redis, no_refresh_is_sent_whose_tokens_could_not_be_stored) {
    struct scene scene;
    open_scene(&scene, true);
    kit_server_advance_ms(scene.stage.p.server, HOUR_MS);
    cr_assert_eq(stage_ask(&scene.stage, STAGE_LIBRARY).status, 200);
    cr_assert_eq(simprovider_count(scene.stage.p.sim, SIMPROVIDER_REFRESHES), 1);
    kit_server_advance_ms(scene.stage.p.server, HOUR_MS);
    expect_redis(&scene, "CONFIG SET maxmemory 1", "OK");
    expect_no_refresh(&scene, 1);
    expect_redis(&scene, "CONFIG SET maxmemory 0", "OK");
    redis_server_kill(&scene.redis);
    expect_no_refresh(&scene, 1);
    redis_server_again(&scene.redis);
    expect_return(&scene);
    cr_assert_eq(simprovider_count(scene.stage.p.sim, SIMPROVIDER_REFRESH_REUSES), 0);
    close_scene(&scene);
}

/* -- what lies there is not what was stored -- */

Test(failures_redis, records_that_are_damaged) {
    static const struct stage_exception damaged[] = {
        {STAGE_COLD, 503, STORAGE},
        {STAGE_LIBRARY, 503, STORAGE},
        {STAGE_SYNC, 503, STORAGE},
        {STAGE_DISCONNECT, 503, STORAGE},
    };
    struct scene scene;
    open_scene(&scene, true);
    expect_redis(&scene, "DEL latchkey:account:cold latchkey:account:leaver", "2");
    expect_redis(&scene, "SET latchkey:account:cold text", "OK");
    expect_redis(&scene, "SET latchkey:account:leaver text", "OK");
    expect_redis(&scene, "HSET latchkey:account:reader expires_at_ms soon", "0");
    char large[80 * 1024]; /* more than any of ours */
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    const char *const args[] = {"HSET", "latchkey:account:syncer", "access_token", large, NULL};
    cr_assert_str_eq(redis_server_ask_args(&scene.redis, args), "0");
    expect_all_but(&scene, damaged, sizeof damaged / sizeof damaged[0]);
    close_scene(&scene);
}
