// SPDX-License-Identifier: MIT
/* Servers whose states are in one Redis: a flow may begin at one and end at another, and what each
 * endpoint answers while that Redis fails. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "kit/leaks.h"
#include "kit/redis_server.h"
#include "kit/stage.h"

#define STORAGE "storage_unavailable"
enum {
    SERVERS = 3,
    RIVALS = 50,
    SLACK_MS = 2000,    /* what "at once" may take on a busy machine */
    COMMAND_MS = 2000,  /* a command's deadline */
    RECOVERY_MS = 2000, /* from Redis's return to full service */
};

/* -- several servers -- */

struct scene {
    struct redis_server redis;
    struct simprovider *sim;
    struct kit_server *servers[SERVERS];
};

static void open_scene(struct scene *scene) {
    char store[300];
    char problem[SIMPROVIDER_PROBLEM_BYTES];
    redis_server_start(&scene->redis, (struct redis_server_opts){0});
    snprintf(store, sizeof store, "LATCHKEY_STATE_STORE=%s", redis_server_url(&scene->redis));
    scene->sim = simprovider_spawn(&(struct simprovider_opts){0}, problem);
    cr_assert_not_null(scene->sim, "%s", problem);
    for (int i = 0; i < SERVERS; i++) {
        scene->servers[i] = kit_server_start(
            (struct kit_server_opts){.settings = (const char *const[]){store, NULL},
                                     .provider_url = simprovider_url(scene->sim)});
    }
}

static void close_scene(struct scene *scene) {
    for (int i = 0; i < SERVERS; i++) {
        kit_server_stop(scene->servers[i]);
    }
    cr_assert(simprovider_join(scene->sim));
    redis_server_free(&scene->redis);
    CHECK_LEAKS();
}

static int port_of(const struct scene *scene, int i) {
    return kit_server_port(scene->servers[i % SERVERS]);
}

Test(state_store, a_flow_begins_at_one_server_and_ends_at_another) {
    struct scene scene;
    open_scene(&scene);
    for (int i = 0; i < SERVERS; i++) {
        struct ask_grant grant;
        struct client_response response;
        char token[KIT_JWT_BYTES];
        char other[KIT_JWT_BYTES];
        ask_premium(token, "user-1");
        ask_premium(other, "user-2");
        ask_grant(port_of(&scene, i), scene.sim, token, &grant);
        cr_assert_eq(ask_callback(port_of(&scene, i + 1), other, &grant, &response), 400);
        client_response_fini(&response);
        cr_assert_eq(ask_callback(port_of(&scene, i + 2), token, &grant, &response), 200);
        client_response_fini(&response);
        cr_assert_eq(ask_callback(port_of(&scene, i), token, &grant, &response), 400);
        client_response_fini(&response);
    }
    cr_assert_eq(simprovider_count(scene.sim, SIMPROVIDER_EXCHANGES), SERVERS);
    for (int i = 0; i < SERVERS; i++) {
        cr_assert_eq(kit_server_logged(scene.servers[i], "\"reason\":\"user_mismatch\""), 1);
        cr_assert_eq(kit_server_logged(scene.servers[i], "\"reason\":\"used\""), 1);
    }
    close_scene(&scene);
}

Test(state_store, the_way_back_may_lead_to_another_server) {
    struct scene scene;
    struct ask_grant grant;
    struct client_response response;
    char token[KIT_JWT_BYTES];
    char path[ASK_CALLBACK_BYTES];
    char cookie[256];
    open_scene(&scene);
    ask_premium(token, "user-1");
    ask_grant(port_of(&scene, 0), scene.sim, token, &grant);
    snprintf(path, sizeof path, "oauth/callback?code=%s&state=%s", grant.code, grant.state);
    snprintf(cookie, sizeof cookie, "Cookie: %s\r\n", grant.cookie);
    cr_assert_eq(ask_status(port_of(&scene, 1), (struct ask){.path = path}), 400, "no cookie");
    cr_assert_eq(ask(port_of(&scene, 1), (struct ask){.path = path, .headers = cookie}, &response),
                 200);
    client_response_fini(&response);
    ask_expect(port_of(&scene, 1), (struct ask){.path = "connected", .token = token}, 200, NULL);
    close_scene(&scene);
}

struct rival {
    pthread_t thread;
    int port;
    const char *token;
    const struct ask_grant *grant;
    pthread_barrier_t *start;
    int status;
};

static void *rival_main(void *arg) {
    struct rival *rival = arg;
    struct client_response response;
    pthread_barrier_wait(rival->start);
    rival->status = ask_callback(rival->port, rival->token, rival->grant, &response);
    client_response_fini(&response);
    return NULL;
}

Test(state_store, of_fifty_callbacks_at_three_servers_one_reaches_the_provider) {
    struct scene scene;
    struct ask_grant grant;
    struct rival rivals[RIVALS];
    pthread_barrier_t start;
    char token[KIT_JWT_BYTES];
    int won = 0;
    open_scene(&scene);
    ask_premium(token, "user-1");
    ask_grant(port_of(&scene, 0), scene.sim, token, &grant);
    pthread_barrier_init(&start, NULL, RIVALS);
    for (int i = 0; i < RIVALS; i++) {
        rivals[i] = (struct rival){
            .port = port_of(&scene, i), .token = token, .grant = &grant, .start = &start};
        cr_assert_eq(pthread_create(&rivals[i].thread, NULL, rival_main, &rivals[i]), 0);
    }
    for (int i = 0; i < RIVALS; i++) {
        pthread_join(rivals[i].thread, NULL);
        cr_assert(rivals[i].status == 200 || rivals[i].status == 400, "%d", rivals[i].status);
        won += rivals[i].status == 200;
    }
    cr_assert_eq(won, 1);
    cr_assert_eq(simprovider_count(scene.sim, SIMPROVIDER_EXCHANGES), 1);
    pthread_barrier_destroy(&start);
    close_scene(&scene);
}

/* -- what fails with it, and what does not -- */

#define EXPECT(stage, exceptions, within_ms)                                                       \
    stage_expect((stage), (exceptions), sizeof(exceptions) / sizeof(exceptions)[0], (within_ms))

static const struct stage_exception without_redis[] = {
    {STAGE_AUTHORIZE, 503, STORAGE},
    {STAGE_CALLBACK, 503, STORAGE},
    {STAGE_WAY_BACK, 400, STORAGE},
    {STAGE_READYZ, 503, ""},
};

static void start(struct stage *stage, struct redis_server *redis) {
    char store[300];
    redis_server_start(redis, (struct redis_server_opts){0});
    snprintf(store, sizeof store, "LATCHKEY_STATE_STORE=%s", redis_server_url(redis));
    stage_start(stage, (struct stage_opts){.settings = (const char *const[]){store, NULL}});
}

static void stop(struct stage *stage, struct redis_server *redis) {
    stage_stop(stage);
    redis_server_free(redis);
    CHECK_LEAKS();
}

static int64_t now_ms(void) {
    return clock_ns() / 1000000;
}

/* All is well again, in time. */
static void expect_recovery(struct stage *stage) {
    int64_t until_ms = now_ms() + RECOVERY_MS + SLACK_MS;
    while (ask_status(stage->p.port, (struct ask){.path = "/readyz"}) != 200) {
        cr_assert_lt(now_ms(), until_ms);
        nanosleep(&(struct timespec){.tv_nsec = 20 * 1000000}, NULL);
    }
    platform_link(&stage->p, "someone-new");
}

Test(state_store, redis_is_down, .timeout = 60) {
    struct stage stage;
    struct redis_server redis;
    start(&stage, &redis);
    redis_server_kill(&redis);
    EXPECT(&stage, without_redis, SLACK_MS);
    cr_assert_geq(kit_server_logged(stage.p.server, "\"event\":\"state_store_failed\""), 3);
    redis_server_again(&redis);
    expect_recovery(&stage);
    ask_expect(stage.p.port, (struct ask){.path = "/healthz"}, 200, NULL);
    stop(&stage, &redis);
}

Test(state_store, redis_is_frozen, .timeout = 60) {
    struct stage stage;
    struct redis_server redis;
    start(&stage, &redis);
    redis_server_freeze(&redis);
    EXPECT(&stage, without_redis, COMMAND_MS + SLACK_MS);
    redis_server_thaw(&redis);
    expect_recovery(&stage);
    stop(&stage, &redis);
}

Test(state_store, redis_is_out_of_memory, .timeout = 60) {
    static const struct stage_exception full[] = {
        {STAGE_AUTHORIZE, 503, STORAGE},
        {STAGE_READYZ, 503, ""},
    };
    struct stage stage;
    struct redis_server redis;
    start(&stage, &redis);
    cr_assert_str_eq(redis_server_ask(&redis, "CONFIG SET maxmemory 1"), "OK");
    EXPECT(&stage, full, SLACK_MS);
    cr_assert_str_eq(redis_server_ask(&redis, "CONFIG SET maxmemory 0"), "OK");
    expect_recovery(&stage);
    stop(&stage, &redis);
}

Test(state_store, redis_comes_back_empty, .timeout = 60) {
    static const struct stage_exception forgotten[] = {
        {STAGE_CALLBACK, 400, "invalid_state_parameter"},
        {STAGE_WAY_BACK, 400, "invalid_state_parameter"},
    };
    struct stage stage;
    struct redis_server redis;
    start(&stage, &redis);
    redis_server_kill(&redis);
    redis_server_again(&redis);
    expect_recovery(&stage);
    EXPECT(&stage, forgotten, SLACK_MS);
    stop(&stage, &redis);
}
